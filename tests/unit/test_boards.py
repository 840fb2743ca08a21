"""Boards on a kernel alone: versions, whoever writes at once, and what does not fit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import Conflict, InvalidRequest, LLMAgentOSError
from llmagent_os.core.records import Call
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.teamwork import boards, places
from llmagent_os.teamwork.calls import Calls, Served, tools
from tests.stand_ins.kernels import Boot, kernels


async def _writer(sys: Sys, args: Any, state: Any) -> Any:
    """Make calls one after another; of each its result, or what it failed with."""
    found = []
    for name, given_ in args:
        try:
            found.append(await sys.syscall(name, **given_))
        except LLMAgentOSError as error:
            found.append(error.to_data())
    return found


@asynccontextmanager
async def sharing(folder: Path, **more: Any) -> AsyncIterator[Boot]:
    """Boots kernels with boards and topics."""
    running: list[Kernel] = []
    calls = Calls(lambda: running[-1])
    programs = {"writer": Program(_writer), **more.pop("programs", {})}
    options = {"tools": tools(), "syscalls": calls.table(), "filters": [Served(calls.table())], **more}
    async with kernels(folder, programs, **options) as boot:

        async def again(**given_: Any) -> Kernel:
            running.append(await boot(**given_))
            return running[-1]

        yield again


async def did(kernel: Kernel, *calls: tuple[str, dict[str, Any]], tenant: str = "default", who: str = "owner") -> Any:
    """What came of the calls of one process."""
    sys = await kernel.service("test", who, tenant)
    return await sys.wait(await sys.spawn("writer", list(calls)), 60)


def put(key: str, value: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "board_write", {"key": key, "value": value, "of": "person", **more}


def read(key: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    return "board_read", {"of": "person", **({} if key is None else {"key": key}), **more}


async def test_a_value_has_versions_and_a_history_also_after_a_restart(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        steps = (read("plan"), put("plan", {"a": 1}), put("plan", [2]), put("plan", [2]), read("plan"))
        assert await did(kernel, *steps) == [
            {"value": None, "version": 0}, {"version": 1}, {"version": 2}, {"version": 2}, {"value": [2], "version": 2},
        ]  # fmt: skip
        kernel = await boot()
        (found, keys) = await did(kernel, read("plan", history=True), read())
        assert [(each["version"], each["value"]) for each in found["history"]] == [(2, [2]), (1, {"a": 1})]
        assert keys == {"keys": {"plan": 2}}


async def test_who_expects_another_version_is_told_which_there_is(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        made, late, missing = await did(
            kernel, put("a", 1, expect=0), put("a", 2, expect=0), put("b", 2, expect=1)
        )  # fmt: skip
        assert made == {"version": 1}
        assert (late["type"], late["facts"]["version"]) == ("Conflict", 1) and "not 0" in late["message"]
        assert (missing["type"], missing["facts"]["version"]) == ("Conflict", 0)


async def test_null_takes_a_value_away_and_its_version_goes_on(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        found = await did(await boot(), put("a", 1), put("a", None), read(), read("a"), put("a", 2, expect=2))
        assert found[2:] == [{"keys": {}}, {"value": None, "version": 2}, {"version": 3}]


async def test_a_board_is_of_a_run_of_a_person_or_of_a_tenant(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        for of in ("run", "person", "tenant"):
            await did(kernel, put("a", of, of=of))
        assert await did(kernel, read("a", of="run"), read("a"), read("a", of="tenant")) == [
            {"value": None, "version": 0}, {"value": "person", "version": 1}, {"value": "tenant", "version": 1},
        ]  # fmt: skip
        nothing = {"value": None, "version": 0}
        other = await did(kernel, read("a"), read("a", of="tenant"), who="bob")
        assert other == [nothing, {"value": "tenant", "version": 1}]
        assert await did(kernel, read("a", of="tenant"), tenant="acme") == [nothing]


async def test_children_share_the_board_of_their_run(tmp_path: Path) -> None:
    async def parent(sys: Sys, args: Any, state: Any) -> Any:
        await sys.wait(await sys.spawn("writer", [("board_write", {"key": "a", "value": 7})]))
        return await sys.syscall("board_read", key="a")

    async with sharing(tmp_path, programs={"parent": Program(parent)}) as boot:
        sys = (await boot()).service("test")
        handle = await sys
        assert await handle.wait(await handle.spawn("parent"), 60) == {"value": 7, "version": 1}
        with pytest.raises(InvalidRequest, match="belongs to no run"):
            await handle.syscall("board_read", key="a", of="run")


async def test_what_a_board_does_not_take_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(boards, "KEYS", 2)
    monkeypatch.setattr(boards, "SIZE", 20_000)
    async with sharing(tmp_path) as boot:
        kernel, long = await boot(), "x" * 8000
        expected = {
            "write a file": put("a", "x" * places.VALUE), "`key` is a name": put("", 1), "in one line": put("a\nb", 1),
            "200 characters": put("k" * 201, 1), "value": ("board_write", {"key": "a"}), "to": put("a", 1, to="me"),
        }  # fmt: skip
        found = await did(kernel, *expected.values())
        for said, error in zip(expected, found, strict=True):
            assert said in error["message"]
        *well, keys, size = await did(kernel, put("a", long), put("b", long), put("c", 1), put("b", f"{long}y"))
        assert well == [{"version": 1}] * 2 and "2 keys" in keys["message"] and "holds" in size["message"]


async def test_the_oldest_versions_go(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        await did(kernel, *(put("a", n) for n in range(25)))
        (found,) = await did(kernel, read("a", history=True))
        assert [each["version"] for each in found["history"]] == list(range(25, 5, -1))


async def test_no_version_is_written_over_whatever_became_of_a_commit(tmp_path: Path) -> None:
    """A commit that came through after its writer was told that nobody knows: the version is there, and stays."""
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        await did(kernel, put("a", 1))
        stale = kernel.journal.store.read("record.get", "default/person/owner/board", "a")
        await did(kernel, put("a", 2))
        with pytest.raises(Conflict, match="somebody else wrote this version"):
            await kernel.journal.append([("record.add", ("default/person/owner/board", "a", 2, stale[0][1], 0.0))])
        assert await did(kernel, read("a")) == [{"value": 2, "version": 2}]


async def test_what_was_cut_off_is_not_written_twice(tmp_path: Path) -> None:
    """A call whose row is there is answered by it, although the value is another one by now."""
    gate = asyncio.Event()

    async def slow(sys: Sys, args: Any, state: Any) -> Any:
        made = await sys.syscall("board_write", key="a", value="mine", of="person")
        await gate.wait()
        return made

    async with sharing(tmp_path, programs={"slow": Program(slow)}) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        pid = await sys.spawn("slow")
        while (await did(kernel, read("a")))[0]["version"] == 0:
            await asyncio.sleep(0.01)
        await did(kernel, put("a", "theirs"))
        kernel = await boot()
        gate.set()
        assert await (await kernel.service("test")).wait(pid, 60) == {"version": 1}
        assert await did(kernel, read("a")) == [{"value": "theirs", "version": 2}]


STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["set", "add", "drop"])), min_size=1, max_size=6)


async def _adds(sys: Sys, args: Any, state: Any) -> Any:
    """Write, and where a value is added to read first and expect that; tells what came of each step."""
    told = []
    for n, (key, step) in enumerate(args):
        before = await sys.syscall("board_read", key=key, of="person")
        value = None if step == "drop" else [sys.pid, n]
        expect = {"expect": before["version"]} if step == "add" else {}
        try:
            made = await sys.syscall("board_write", key=key, value=value, of="person", **expect)
        except Conflict as error:
            assert step == "add" and error.facts["version"] > before["version"]
        else:
            told.append([key, made["version"], value, step, before["version"]])
    return told


@settings(max_examples=12, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=5))
def test_whoever_writes_at_once_each_version_has_one_writer(teams: list[Any]) -> None:
    """For any steps of several processes: every version was written by one of them, `expect` stands for what was there,

    and nothing that was told to be written is missing.
    """

    async def work() -> None:
        with TemporaryDirectory() as folder:
            async with sharing(Path(folder), programs={"adds": Program(_adds)}) as boot:
                kernel = await boot()
                sys = await kernel.service("test")
                pids = [await sys.spawn("adds", [list(each) for each in steps]) for steps in teams]
                told = [each for pid in pids for each in await sys.wait(pid, 60)]
                for key in "ab":
                    mine = [each for each in told if each[0] == key]
                    ((last,),) = [await did(kernel, read(key, history=True))]
                    kept = {each["version"]: each["value"] for each in last.get("history", ())}
                    assert sorted(kept) == list(range(1, last["version"] + 1))
                    made = Counter(version for _, version, value, *_ in mine if value is not None)
                    assert all(number == 1 for number in made.values())
                    assert all(kept[version] == value for _, version, value, *_ in mine)
                    assert {each[1] for each in mine} == set(kept)
                    assert all(version == before + 1 for *_, version, _, step, before in mine if step == "add")

    asyncio.run(work())


def test_a_tool_takes_what_its_syscall_takes() -> None:
    calls = Calls(lambda: None)  # type: ignore[arg-type, return-value]
    assert tools().keys() == calls.table().keys()
    call = Call(1, "call", {"tool": "board_read", "arguments": {"key": None}}, "k", "default", "owner", 1.0)
    assert places.given(call) == {}
