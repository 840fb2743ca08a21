"""Mailboxes: whose box a name is, and who hears of what comes."""

from __future__ import annotations

import asyncio

import pytest

from llmagent_os.core.errors import Conflict, NotFound
from llmagent_os.core.records import Supervision
from llmagent_os.kernel.journal import Journal
from llmagent_os.kernel.mailbox import Mailbox
from llmagent_os.kernel.process import Process
from llmagent_os.kernel.table import ProcessTable
from llmagent_os.stores.sqlite import SQLiteStore


class Post:
    """A table, its mailbox, and whom that woke."""

    def __init__(self) -> None:
        self.table = ProcessTable(Journal(SQLiteStore()))
        self.woken: list[int] = []
        self.mail = Mailbox(self.table, self.woken.append)

    def process(self, name: str | None = None, tenant: str = "default") -> Process:
        made = self.table.create("worker", None, name, None, (), Supervision(), True, tenant)
        self.table._store.write([("process.add", made.values(b"null"))])
        return made

    def put(self, box: str, body: bytes, identifier: str) -> None:
        """A message is committed."""
        row = (identifier, box, body, "", None, None, 0.0, None, "default", "owner")
        self.table._store.write([("message.add", row)])
        self.mail.notify(box)


@pytest.fixture
def post() -> Post:
    return Post()


def test_a_pid_a_name_and_a_box_lead_to_the_same_place(post: Post) -> None:
    process = post.process("clerk")
    for to in (process.pid, "clerk", f"pid/{process.pid}"):
        assert post.mail.address(to) == process.box
    assert post.mail.address("task/a") == "task/a"


def test_of_several_of_a_name_the_least_busy_one_gets_it(post: Post) -> None:
    first, second = post.process("clerk"), post.process("clerk")
    post.put(first.box, b"1", "m")
    assert post.mail.address("clerk") == second.box


@pytest.mark.parametrize("to", [4711, "nobody", "pid/4711"])
def test_what_is_not_there_cannot_be_written_to(post: Post, to: int | str) -> None:
    with pytest.raises(NotFound):
        post.mail.address(to)


def test_another_tenants_boxes_are_not_found(post: Post) -> None:
    theirs = post.process("clerk", "theirs")
    for to in (theirs.pid, "clerk", theirs.box, "task/theirs/a"):
        with pytest.raises(NotFound):
            post.mail.address(to)


@pytest.mark.parametrize("event", ["kill", "quarantine"])
def test_who_has_ended_gets_nothing_and_the_reason_is_told(post: Post, event: str) -> None:
    process = post.process("clerk")
    post.table._store.write([process.move(event, "why")])  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="why"):
        post.mail.address(process.pid)
    with pytest.raises(NotFound):
        post.mail.address("clerk")


async def test_a_message_wakes_its_process_and_all_who_wait_at_its_box(post: Post) -> None:
    process = post.process()
    waits = [asyncio.ensure_future(post.mail.wait(process.box, 20)) for _ in range(2)]
    await asyncio.sleep(0)
    post.put(process.box, b'"hello"', "m")
    assert [message.body for message in await asyncio.gather(*waits)] == ["hello", "hello"]
    assert post.woken == [process.pid] and not post.mail._watchers


async def test_who_waits_at_several_boxes_hears_of_each_and_leaves_nothing_behind(post: Post) -> None:
    for box in ("task/a", "task/b", "end/7"):
        news = asyncio.ensure_future(post.mail.news(("task/a", "task/b", "end/7")))
        await asyncio.sleep(0)
        post.mail.notify("task/c")
        await asyncio.sleep(0)
        assert not news.done()
        post.mail.notify(box)
        await asyncio.wait_for(news, 20)
    assert post.woken == [] and not post.mail._watchers


async def test_nobody_waits_longer_than_he_wants(post: Post) -> None:
    with pytest.raises(TimeoutError):
        await post.mail.wait("task/a", 0.01)
    assert not post.mail._watchers
