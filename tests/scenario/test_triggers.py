"""Triggers on a whole system: each time has one start, by its rules, whatever happens to the system."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import boot
from llmagent_os.config import load
from llmagent_os.core.errors import InvalidRequest, NotFound, PermissionDenied
from llmagent_os.core.places import folders
from llmagent_os.core.records import Call
from llmagent_os.core.rows import Row
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.process import Process, Program
from llmagent_os.plugins import hookimpl
from llmagent_os.security.administration import authority
from llmagent_os.security.identity import ROLES, Caller
from llmagent_os.triggers.calls import LOOK
from llmagent_os.triggers.plan import State
from tests.stand_ins.clocks import Clocked, Hands
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import Team

HOUR = 3600.0
BEGIN = 1_780_272_000.0  # 2026-06-01T00:00:00Z


class Timed(Team):
    """A team whose triggers go by a clock that is set by hand. `tell` is a program that sends what it is given."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.clock = Hands(BEGIN)
        self.made: Path  # what the tool `write` writes

        @self._kit.add(effect="write", trusted=True)
        async def write() -> None:
            """Write a file."""
            self.made.write_text("more")

    async def start(self, *more: object) -> None:
        plugins = [self, Clocked(self.clock, lambda: self.system.kernel, self._data / "workspaces"), *more]
        self.system = await boot(load({"data": self._data, "model": "scripted"}), plugins)

    @hookimpl
    def programs(self) -> dict[str, Program]:
        async def tell(sys: Sys, args: Any, state: Any) -> Any:
            return (await sys.ask(args["to"], args["body"], timeout=20)).body

        return {"tell": Program(tell)}

    async def put(self, name: str, by: Caller | None = None, **fields: Any) -> int:
        """Store a trigger, and wait until it is ready; its pid."""
        sys = self.system.sys if by is None else await self.system.kernel.service("gateway", by.principal, by.tenant)
        sys = sys if by is None else sys.under(authority(by))
        pid: int = (await sys.act("processes.trigger", definition={"name": name, **fields}))["pid"]
        await until(lambda: self.rests(pid))
        return pid

    def rests(self, pid: int) -> bool:
        """Whether a trigger waits for news, and has taken up all that there was."""
        process = self.system.kernel.table.get(pid)
        ready = process.status == "waiting" and not self.system.kernel.table.messages(process.box)
        return ready and process.state is not None and self.state(pid).begun is not None

    def state(self, pid: int) -> State:
        return State.load(self.system.kernel.journal.unpack(self.system.kernel.table.get(pid).state))

    def rows(self, pid: int) -> list[Row]:
        return [row for row in self.system.kernel.journal.rows(pid) if row.name in ("trigger_start", "trigger_skip")]

    def told(self, pid: int) -> list[tuple[float, Any]]:
        """Of each start the hours since the beginning, and its answer where it has one; of what was left out, why."""
        found: list[tuple[float, Any]] = []
        unpack = self.system.kernel.journal.unpack
        for row in self.rows(pid):
            args, made = unpack(row.args), unpack(row.result)
            run = self.system.kernel.table.get(made) if isinstance(made, int) else None
            answer = unpack(run.result) if run is not None and run.life.phase == "done" else None
            said = answer.get("output", answer.get("text")) if answer else "runs" if run is not None else made
            found.append(((args["due"] - BEGIN) / HOUR, args.get("why", said)))
        return found

    async def at(self, hours: float, pid: int, rows: int) -> None:
        """Set the clock, and wait until so many starts and omissions are there, and what was started has ended."""
        self.clock.move(BEGIN + hours * HOUR)
        await until(lambda: len(self.rows(pid)) >= rows and self.rests(pid) and not self.state(pid).running)


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Timed]:
    made = Timed(tmp_path / "data")
    await made.start()
    await made.system.agents.create({"name": "echo", "model": "scripted"})
    yield made
    await made.system.close()


async def test_an_agent_and_a_flow_are_started_at_their_times(team: Timed) -> None:
    await team.flow("twice", {"nodes": {"a": {"function": "double"}}})
    one = await team.put("one", agent="echo", cron="0 7 * * *", zone="Asia/Shanghai", input="It is ${due}, ${number}.")
    two = await team.put("two", agent="twice", every="12h", input="${name}")
    await team.at(23, one, 1)  # 07:00 in Shanghai
    await team.at(23, two, 1)
    assert team.told(one) == [(23, "It is 2026-06-02T07:00:00+08:00, 1.")] and team.told(two) == [(12, "twotwo")]
    await team.at(24, two, 2)
    assert team.told(two) == [(12, "twotwo"), (24, "twotwo")] and len(team.told(one)) == 1


async def test_a_run_is_the_triggers_child_for_whoever_made_it(team: Timed) -> None:
    pid = await team.put("t", Caller("default", "ann", ROLES["admin"], "key"), agent="echo", every="1h")
    await team.at(1, pid, 1)
    run = team.system.kernel.table.get(team.system.kernel.journal.unpack(team.rows(pid)[0].result))
    assert (run.parent, run.principal, run.name) == (pid, "ann", f"echo~once-{pid}.2026-06-01T01:00:00Z.1")


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("skip", [(1, "hours 1"), (4, "3 times were missed"), (5, "hours 5")]),
        ("once", [(1, "hours 1"), (4, "hours 4"), (5, "hours 5")]),
        ("all", [(1, "hours 1"), (2, "it was missed; the last 2 are made up for"), (3, "hours 3"),
                 (4, "hours 4"), (5, "hours 5")]),
    ],
)  # fmt: skip
async def test_what_was_missed_while_the_system_was_off(team: Timed, rule: str, found: list[tuple[float, str]]) -> None:
    pid = await team.put("t", agent="echo", cron="0 * * * *", input="${due}", missed=rule, most=2)
    await team.at(1, pid, 1)
    await team.system.close()
    team.clock.at = BEGIN + 4.5 * HOUR  # 2, 3 and 4 are missed
    await team.start()
    await team.at(4.5, pid, len(found) - 1)
    await team.at(5, pid, len(found))
    told = [(due, f"hours {int(said[11:13])}" if said.startswith("2026") else said) for due, said in team.told(pid)]
    assert told == found


async def test_what_is_due_while_it_is_paused_is_missed(team: Timed) -> None:
    pid = await team.put("t", agent="echo", every="1h", input="${missed}")
    await team.system.sys.act("processes.pause", pid=pid)
    team.clock.move(BEGIN + 3.5 * HOUR)
    await team.system.sys.act("processes.resume", pid=pid)
    await team.at(3.5, pid, 1)
    assert team.told(pid) == [(3, "3")]


@pytest.mark.parametrize("rule", ["skip", "queue", "allow", "replace"])
async def test_overlap(team: Timed, rule: str) -> None:
    await team.flow("slow", {"nodes": {"a": {"tool": "hold", "input": {"what": "${input}"}}}})
    pid = await team.put("t", agent="slow", every="1h", input="n${number}", overlap=rule, at_once=2)
    for hour in (1, 2, 3):
        team.clock.move(BEGIN + hour * HOUR)
        await until(lambda hour=hour: team.state(pid).last == BEGIN + hour * HOUR and team.rests(pid))
    assert len(team.state(pid).running) == {"skip": 1, "queue": 1, "allow": 2, "replace": 1}[rule]
    team.gate.set()
    await team.at(3, pid, 1 if rule == "skip" else 3)
    assert team.told(pid) == {
        "skip": [(1, "held n1"), (2, SKIPPED), (3, SKIPPED)],
        "queue": [(1, "held n1"), (2, "held n2"), (3, "held n3")],
        "allow": [(1, "held n1"), (2, "held n2"), (3, "2 that were started before still run")],
        "replace": [(1, "runs"), (2, "runs"), (3, "held n3")],
    }[rule]  # fmt: skip
    table = team.system.kernel.table
    if rule == "replace":
        first = table.get(team.system.kernel.journal.unpack(team.rows(pid)[0].result))
        assert first.status == "stopped" and first.reason == "the next one of trigger t takes its place"


SKIPPED = "what was started before still runs"


async def test_a_start_that_fails_and_an_agent_that_is_gone_stop_nothing(team: Timed) -> None:
    await team.flow("f", {"nodes": {"a": {"function": "broken"}}})
    pid = await team.put("t", agent="f", every="1h")
    await team.at(1, pid, 1)
    await team.system.agents.delete("f")
    await team.at(2, pid, 2)
    await team.system.agents.create({"name": "f", "model": "scripted"})
    await team.at(3, pid, 3)
    assert team.told(pid)[2] == (3, "2026-06-01T03:00:00+00:00")
    assert "no agent" in team.told(pid)[1][1]


async def test_a_changed_definition_holds_from_now_on_and_keeps_what_runs(team: Timed) -> None:
    await team.flow("slow", {"nodes": {"a": {"tool": "hold", "input": {"what": "${input}"}}}})
    pid = await team.put("t", agent="slow", every="1h", input="old")
    team.clock.move(BEGIN + 1 * HOUR)
    await until(lambda: team.state(pid).running != [])
    team.clock.move(BEGIN + 1.5 * HOUR)
    assert await team.put("t", agent="echo", every="1h", input="new", overlap="allow") == pid
    await until(lambda: team.state(pid).begun == BEGIN + 1.5 * HOUR and team.rests(pid))
    assert len(team.state(pid).running) == 1
    team.clock.move(BEGIN + 2.5 * HOUR)
    await until(lambda: len(team.rows(pid)) == 2)
    team.gate.set()
    await team.at(2.5, pid, 2)
    assert team.told(pid) == [(1, "held old"), (2.5, "new")]


async def test_it_is_deleted_with_what_it_has_started(team: Timed) -> None:
    await team.flow("slow", {"nodes": {"a": {"tool": "hold", "input": {"what": "${input}"}}}})
    pid = await team.put("t", agent="slow", every="1h")
    team.clock.move(BEGIN + 1 * HOUR)
    await until(lambda: team.state(pid).running != [])
    (run,) = team.state(pid).running
    await team.system.sys.kill(pid)
    assert team.system.kernel.table.get(run).life.ended and team.system.kernel.table.named("trigger:t") == []


async def test_a_person_has_no_folders_of_the_machine_and_no_secret_that_is_not_there(team: Timed) -> None:
    boss = Caller("default", "ann", ROLES["admin"], "key")
    with pytest.raises(PermissionDenied, match="system"):
        await team.put("t", boss, agent="echo", folder="/etc")
    with pytest.raises(PermissionDenied, match="no path in the workspace"):
        await team.put("t", boss, agent="echo", folder="../other")
    with pytest.raises(InvalidRequest, match="there is no secret WEBHOOK_NOWHERE"):
        await team.put("t", boss, agent="echo", webhook={"secret": "WEBHOOK_NOWHERE"})
    with pytest.raises(NotFound, match="no agent named 'ecko'"):
        await team.put("t", boss, agent="ecko", every=60)
    with pytest.raises(PermissionDenied):
        await team.put("t", Caller("default", "bea", ROLES["user"], "key"), agent="echo", every=60)


# -- files and messages


async def files(team: Timed, pid: int, rows: int) -> list[Any]:
    """Move the clock until so many starts are there; the answers."""

    def there() -> bool:
        team.clock.move(team.clock.at + LOOK)
        return len(team.rows(pid)) >= rows and team.rests(pid) and not team.state(pid).running

    await until(there)
    return [said for _, said in team.told(pid)]


async def test_a_file_that_appears_or_changes_starts_one_run(team: Timed) -> None:
    home = team.system.config.data.joinpath("workspaces", *folders("default/echo@owner"), "in")
    home.mkdir(parents=True)
    (home / "there.txt").write_text("before")
    (home.parent / "secret.txt").write_text("x")
    pid = await team.put(
        "t", agent="echo", folder="in", match="*.txt", input="${event.change} ${event.path} ${event.size}"
    )
    (home / "new.txt").write_text("12345")
    (home / "other.csv").write_text("1")
    (home / "link.txt").symlink_to(home.parent / "secret.txt")
    assert await files(team, pid, 1) == ["appeared in/new.txt 5"]
    (home / "there.txt").write_text("changed")
    assert await files(team, pid, 2) == ["appeared in/new.txt 5", "changed in/there.txt 7"]
    await team.system.close()
    (home / "new.txt").unlink()
    for name in ("b.txt", "a.txt"):  # while the system is off
        (home / name).write_text(name)
        os.utime(home / name, (1e9, 1e9))
    await team.start()
    assert (await files(team, pid, 4))[2:] == ["appeared in/a.txt 5", "appeared in/b.txt 5"]
    (home / "new.txt").write_text("again")
    assert (await files(team, pid, 5))[4:] == ["appeared in/new.txt 5"]


async def test_a_folder_that_is_a_link_is_not_looked_into(team: Timed, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    home = team.system.config.data.joinpath("workspaces", *folders("default/echo@owner"))
    home.mkdir(parents=True)
    (home / "in").symlink_to(tmp_path / "elsewhere")
    pid = await team.put("t", agent="echo", folder="in")
    own = await team.put("own", agent="echo", folder=str(tmp_path / "elsewhere"), input="${event.name}")
    (tmp_path / "elsewhere" / "a.txt").write_text("x")
    assert await files(team, own, 1) == ["a.txt"] and team.rows(pid) == []


async def test_with_too_many_files_it_says_so_once_and_goes_on_when_there_are_fewer(
    team: Timed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.triggers.calls.FILES", 2)
    pid = await team.put("t", agent="echo", folder=str(tmp_path), match="*.x", input="${event.name}")
    for name in ("a.x", "b.x", "c.x"):
        (tmp_path / name).write_text("x")
    assert await files(team, pid, 1) == ["3 files match: that is too many to look at; move away what is done with"]
    (tmp_path / "a.x").unlink()
    assert sorted((await files(team, pid, 3))[1:]) == ["b.x", "c.x"]


async def tell(team: Timed, to: Any, body: Any) -> Any:
    pid = await team.system.sys.spawn("tell", {"to": to, "body": body})
    return await team.system.sys.wait(pid, 20)


async def test_a_message_starts_what_wants_it_and_nothing_else(team: Timed) -> None:
    wants = await team.put("wants", agent="echo", message=True, input="got ${event.order}")
    not_ = await team.put("not", agent="echo", every="1h")
    assert (await tell(team, "trigger:wants", {"order": 7})).keys() == {"pid"}
    assert await tell(team, not_, {"order": 7}) == {"skipped": "it is not started by messages"}
    await team.at(0, wants, 1)
    assert [said for _, said in team.told(wants)] == ["got 7"]
    assert "not started by messages" in team.told(not_)[0][1]


async def test_by_hand_each_is_started_and_messages_wait_for_one_another(team: Timed) -> None:
    await team.flow("slow", {"nodes": {"a": {"tool": "hold", "input": {"what": "${input}"}}}})
    pid = await team.put("t", agent="slow", message=True)
    for n in (1, 2, 3):
        await team.system.sys.send(pid, {"input": f"n{n}"})
    await until(lambda: len(team.state(pid).queue) == 2)
    team.gate.set()
    await team.at(0, pid, 3)
    assert [said for _, said in team.told(pid)] == ["held n1", "held n2", "held n3"]


async def test_whose_words_started_it_goes_along(team: Timed) -> None:
    """What a file is called, and what a webhook says, may not have a tool reach out; what the owner says may."""
    await team.flow("payer", {"nodes": {"a": {"tool": "pay", "input": {"to": "${input}"}}}})
    pid = await team.put("t", agent="payer", message=True, overlap="allow")
    await team.system.sys.send(pid, {"messages": [{"role": "webhook", "content": "GB33 9999"}]})
    await until(lambda: team.system.approvals.waiting())
    await team.system.sys.send(pid, {"input": "GB33 1111"})
    await until(lambda: team.paid == ["GB33 1111"])
    (question,) = team.system.approvals.waiting()
    assert "webhook of the caller" in str(question) and team.paid == ["GB33 1111"]
    await team.system.sys.act("approvals.answer", id=question["id"], allow=False)
    await until(lambda: not team.state(pid).running)


# -- kill -9


class Copies:
    """A filter that copies the data folder before each call of a trigger: what a kill -9 leaves at that moment."""

    calls = ("receive", "trigger_wait", "trigger_start", "trigger_skip", "send")

    def __init__(self, data: Path, to: Path) -> None:
        self._data, self._to = data, to
        self.on, self.made = False, list[tuple[str, Path]]()

    async def __call__(self, call: Call, process: Process, proceed: Any) -> Any:
        if self.on and process.program == "trigger" and process.service is None:
            self.made.append((call.name, self._to / str(len(self.made))))
            shutil.copytree(self._data, self.made[-1][1])
        return await proceed(call)

    @hookimpl
    def filters(self) -> list[Any]:
        return [self]


async def test_wherever_it_is_killed_each_time_has_one_start(tmp_path: Path, models_folder: Path) -> None:
    copies = Copies(tmp_path / "data", tmp_path / "copies")
    team = Timed(tmp_path / "data")
    await team.start(copies)
    await team.system.agents.create({"name": "echo", "model": "scripted"})
    pid = await team.put("t", agent="echo", cron="0 * * * *", input="${due}", missed="all", overlap="queue")
    copies.on = True
    await team.at(2, pid, 2)  # 1 is made up for, 2 waits for it
    copies.on = False
    await team.system.close()
    assert {name for name, _ in copies.made} == set(copies.calls) - {"trigger_skip"} and len(copies.made) > 6
    for _, folder in copies.made:
        again = Timed(folder)
        again.clock.at = team.clock.at
        await again.start()
        await again.at(3, pid, 3)
        assert [due for due, _ in again.told(pid)] == [1, 2, 3]
        assert all(said for _, said in again.told(pid))
        await again.system.close()


# -- what would start itself for ever


async def test_what_its_own_run_sends_starts_nothing(team: Timed) -> None:
    """Directly, and from a node of a flow that it has started."""
    await team.system.agents.create({"name": "again", "model": "scripted", "tools": ["trigger:t"]})
    await team.flow("outer", {"nodes": {"a": {"agent": "again", "input": "${input}"}}})
    pid = await team.put("t", agent="outer", message=True, overlap="allow")
    await team.system.sys.send(pid, {"input": 'call start_t with {"message": "on and on"}'})
    await team.at(0, pid, 2)
    (_, answer), (_, why) = team.told(pid)
    assert "would start it without end" in why and why in answer


async def test_a_file_that_its_own_run_writes_starts_nothing(team: Timed) -> None:
    home = team.system.config.data.joinpath("workspaces", *folders("default/clerk@owner"), "in")
    home.mkdir(parents=True)
    team.made = home / "made.txt"
    allowing = set[asyncio.Task[Any]]()

    def allow(question: Any) -> None:
        act = team.system.sys.act("approvals.answer", id=question.id, allow=True)
        allowing.add(asyncio.ensure_future(act))

    team.system.approvals.told.append(allow)
    await team.flow("clerk", {"nodes": {"a": {"tool": "write", "input": {}}}})
    pid = await team.put("t", agent="clerk", folder="in")
    (home / "first.txt").write_text("1")
    found = await files(team, pid, 2)
    assert found[1] == "1 files were written by what it has started itself, and start nothing"
    (home / "second.txt").write_text("2")  # somebody else's
    os.utime(home / "second.txt", (1e9, 1e9))
    found = await files(team, pid, 4)
    assert len(found) == 4 and "written by what it has started" in found[3] and not team.state(pid).queue
