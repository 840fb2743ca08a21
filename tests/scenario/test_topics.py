"""Topics: who is given what, what becomes of messages that nobody settles, back-pressure, and kills."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys as python
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.sys import Sys
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Idle, Program
from llmagent_os.teamwork import topics
from tests.stand_ins.kernels import until
from tests.unit.test_boards import did, sharing

PLACE = "default/person/owner"


def publish(value: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "publish", {"topic": "t", "value": value, **more}


def take(group: str = "g", **more: Any) -> tuple[str, dict[str, Any]]:
    return "topic_take", {"topic": "t", "group": group, **more}


def settle(*numbers: int, group: str = "g", **more: Any) -> tuple[str, dict[str, Any]]:
    return "topic_settle", {"topic": "t", "group": group, "numbers": list(numbers), **more}


def values(taken: list[dict[str, Any]]) -> list[Any]:
    return [each["value"] for each in taken]


async def _all(sys: Sys, args: Any, state: Any) -> Any:
    """Take and settle until so many came."""
    found: list[Any] = []
    while len(found) < args["count"]:
        name, more = take(args["group"], most=args.get("most", 1), wait=60)
        taken = await sys.syscall(name, **more)
        found += values(taken)
        await sys.syscall("topic_settle", topic="t", group=args["group"], numbers=[each["n"] for each in taken])
    return found


async def _holds(sys: Sys, args: Any, state: Any) -> Any:
    """Take what there is, and park, fail, or stay with it until a message comes."""
    name, more = take(most=10, **args.get("take", {}))
    await sys.receive()
    taken = await sys.syscall(name, **more)
    if args["then"] == "fail":
        raise RuntimeError("it cannot go on")
    if args["then"] == "stay":
        await sys.receive()
    return Idle(values(taken))


MORE = {"all": Program(_all), "holds": Program(_holds, wakes=True)}
EVERYBODYS = {"of": "tenant"}


def seen(kernel: Kernel) -> dict[str, Any]:
    """What people are shown of the topic."""
    found: dict[str, Any] = topics.Topics(lambda: kernel).listed(PLACE)["t"]
    return found


async def held(kernel: Kernel, lease: float) -> None:
    """A message that a process has taken, and stays with."""
    sys = await kernel.service("test")
    await did(kernel, publish(1))
    await sys.send(await sys.spawn("holds", {"then": "stay", "take": {"lease": lease}}), "go")
    await until(lambda: seen(kernel)["groups"].get("g", {}).get("held"))


async def test_each_group_is_given_every_message_in_order(tmp_path: Path) -> None:
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        await did(kernel, take("a"), take("b"))
        pids = [await sys.spawn("all", {"group": group, "count": 5, "most": 2}) for group in "ab"]
        await did(kernel, *(publish(n) for n in range(5)))
        assert [await sys.wait(pid, 60) for pid in pids] == [[0, 1, 2, 3, 4]] * 2
        nothing = {"waiting": 0, "held": 0, "dead": 0, "tries": 5}
        assert seen(kernel) == {"messages": 0, "groups": {"a": nothing, "b": nothing}}


async def test_the_consumers_of_a_group_share_the_messages(tmp_path: Path) -> None:
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        pids = [await sys.spawn("all", {"group": "g", "count": 1}) for _ in range(6)]
        await did(kernel, *(publish(n) for n in range(6)))
        assert sorted([(await sys.wait(pid, 60))[0] for pid in pids]) == list(range(6))


async def test_the_first_group_has_what_was_before_it_and_a_later_one_what_comes(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        *_, first = await did(kernel, publish(1), publish(2), take(most=9))
        assert values(first) == [1, 2]
        late, _, found = await did(kernel, take("late", most=9), publish(3), take("late", most=9))
        assert (late, values(found)) == ([], [3])


async def test_under_one_key_there_is_one_message(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        one, same, other, found = await did(
            kernel, publish(1, key="k"), publish(1, key="k"), publish(2, key="k"), take(most=9)
        )  # fmt: skip
        assert (one, same, other["type"], values(found), found[0]["id"]) == ("k", "k", "Conflict", [1], "k")
        done, again, nothing = await did(kernel, settle(found[0]["n"]), publish(1, key="k"), take(most=9))
        assert done == {"settled": 0}  # another process holds it
        assert (again, nothing) == ("k", [{**found[0], "tries": 2}])  # which has ended, so that it is given once more


@pytest.mark.parametrize("then", ["park", "fail"])
async def test_what_was_not_settled_is_given_to_another_when_a_turn_ends(tmp_path: Path, then: str) -> None:
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        await did(kernel, publish(then))
        pid = await sys.spawn("holds", {"then": then})
        await sys.send(pid, "go")
        await until(lambda: kernel.table.get(pid).turn or kernel.table.get(pid).life.ended)
        (found,) = await did(kernel, take(wait=60))
        assert (values(found), found[0]["tries"]) == ([then], 2)


async def test_what_is_held_too_long_is_given_to_another_and_the_first_has_no_say(tmp_path: Path) -> None:
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        await held(kernel, lease=1)
        (found,) = await did(kernel, take(wait=60))
        assert (values(found), found[0]["tries"]) == ([1], 2)


async def test_after_so_many_tries_a_message_is_a_dead_letter(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        await did(kernel, publish("bad"), publish("good"))
        for tries in (1, 2):
            ((found,),) = [await did(kernel, take(tries=3))]
            assert (values(found), found[0].get("tries", 1)) == (["bad"], tries)
            n = found[0]["n"]

        async def refuses(sys: Sys, args: Any, state: Any) -> Any:
            name, more = take(tries=3)
            (taken,) = await sys.syscall(name, **more)
            return await sys.syscall("topic_settle", topic="t", group="g", numbers=[taken["n"]], failed="no such order")

        kernel.programs["refuses"] = Program(refuses)
        sys = await kernel.service("test")
        assert await sys.wait(await sys.spawn("refuses"), 60) == {"settled": 1}
        (found,) = await did(kernel, take(most=9, tries=3))
        assert values(found) == ["good"] and found[0]["n"] > n
        kernel = await boot()
        (dead,) = topics.Topics(lambda: kernel).dead(PLACE, "t")
        assert (dead["group"], dead["value"], dead["why"]) == ("g", "bad", "no such order")
        assert seen(kernel)["groups"]["g"]["dead"] == 1


async def test_who_takes_later_does_not_bury_what_others_of_its_group_hold(tmp_path: Path) -> None:
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        await did(kernel, publish("order"))
        pid = await sys.spawn("holds", {"then": "park"})
        await sys.send(pid, "go")
        await until(lambda: kernel.table.get(pid).turn)
        (refused,) = await did(kernel, take(tries=1))
        assert refused["type"] == "InvalidRequest" and "after 5 tries" in refused["message"]
        *_, found = await did(kernel, take("other", tries=2), take(tries=5))
        assert (values(found), seen(kernel)["groups"]["g"]["dead"]) == (["order"], 0)


async def test_one_that_nobody_settles_in_time_is_dead_as_well_and_others_come(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        await did(kernel, publish("bad"))
        for _ in range(2):
            await did(kernel, take(tries=2))
        assert await did(kernel, take(tries=2)) == [[]]
        (dead,) = topics.Topics(lambda: kernel).dead(PLACE, "t")
        assert dead["why"] == "nobody settled it in time" and seen(kernel)["messages"] == 0


async def test_a_full_topic_refuses_or_has_its_publisher_wait(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(topics, "MOST", 3)
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        await did(kernel, *(publish(n) for n in range(3)))
        (refused,) = await did(kernel, publish(3))
        assert refused["type"] == "Conflict" and "wait: true" in refused["message"]
        waits = await sys.spawn("writer", [list(publish(3, wait=True)), list(publish(4, wait=True))])
        assert await sys.wait(await sys.spawn("all", {"group": "g", "count": 5}), 60) == [0, 1, 2, 3, 4]
        assert len(await sys.wait(waits, 60)) == 2


async def test_nobody_settles_what_another_took_by_the_same_service(tmp_path: Path) -> None:
    """As the gateway makes the calls of everybody, with one process."""
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        ann, bob = [await kernel.service("gateway", who) for who in ("ann", "bob")]

        async def does(sys: Sys, call: tuple[str, dict[str, Any]]) -> Any:
            return await sys.syscall(call[0], **call[1], **EVERYBODYS)

        await does(ann, publish("order"))
        (found,) = await does(ann, take())
        assert await does(bob, settle(found["n"])) == {"settled": 0}
        assert await does(bob, settle(found["n"], failed="not mine")) == {"settled": 0}
        assert await does(bob, take()) == []  # it is ann's still
        assert await does(ann, settle(found["n"])) == {"settled": 1}


@pytest.mark.parametrize("by", ["ann", "bob"])
async def test_what_a_replica_took_is_not_settled_in_a_later_turn_of_anybodys(tmp_path: Path, by: str) -> None:
    """It was lost with the turn; a replica answers one person after the other."""
    came: list[Any] = []

    async def replica(sys: Sys, args: Any, state: Any) -> Any:
        name, more = (await sys.receive()).body
        came.append(await sys.syscall(name, **more))
        return Idle()

    async with sharing(tmp_path, programs={"replica": Program(replica, wakes=True)}) as boot:
        kernel = await boot()
        people = {who: await kernel.service("gateway", who) for who in ("ann", "bob", "carl")}
        pid = await people["ann"].spawn("replica")

        async def does(who: str, call: tuple[str, dict[str, Any]]) -> Any:
            turn = kernel.table.get(pid).turn
            await people[who].send(pid, [call[0], call[1] | EVERYBODYS])
            await until(lambda: kernel.table.get(pid).turn > turn)
            return came[-1]

        await does("ann", publish("order"))
        (found,) = await does("ann", take(lease=600))
        assert await does(by, settle(found["n"])) == {"settled": 0}
        assert await does("carl", take()) == [{**found, "tries": 2, "origins": ["person ann"]}]


async def test_what_is_taken_stays_with_its_process_over_a_restart(tmp_path: Path) -> None:
    async with sharing(tmp_path, programs=MORE) as boot:
        kernel = await boot()
        await held(kernel, lease=600)
        kernel = await boot()
        assert await did(kernel, take()) == [[]]  # not to others, for it goes on


async def test_numbers_are_not_given_twice_though_the_newest_messages_were_erased(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        name, more = take(most=9)

        async def done(sys: Sys, args: Any, state: Any) -> Any:
            taken = await sys.syscall(name, **more)
            await sys.syscall("topic_settle", topic="t", group="g", numbers=[each["n"] for each in taken])
            return values(taken)

        kernel.programs["done"] = Program(done)
        sys = await kernel.service("test")
        await did(kernel, *(publish(n) for n in range(5)))
        assert await sys.wait(await sys.spawn("done"), 60) == [0, 1, 2, 3, 4]
        kernel.store.write([("erase.messages", ("default", "owner"))])
        kernel = await boot()
        kernel.programs["done"] = Program(done)
        sys = await kernel.service("test")
        await did(kernel, publish("new"))
        assert await sys.wait(await sys.spawn("done"), 60) == ["new"]


async def test_nobody_sends_past_a_topic_into_its_box(tmp_path: Path) -> None:
    async with sharing(tmp_path) as boot:
        kernel = await boot()
        await did(kernel, publish(1))
        (found,) = await did(kernel, ("send", {"to": topics.Topic(PLACE, "t").box, "body": 1}))
        assert found["type"] == "NotFound"


async def test_who_waits_does_not_hold_up_its_group(tmp_path: Path) -> None:
    """A cancelled taker loses nothing and blocks nobody."""

    async def gives_up(sys: Sys, args: Any, state: Any) -> Any:
        waits = asyncio.ensure_future(sys.syscall("topic_take", topic="t", group="g", wait=600))
        await asyncio.sleep(0.05)
        waits.cancel()
        await asyncio.wait({waits})
        return waits.cancelled()

    async with sharing(tmp_path, programs={"gives_up": Program(gives_up)}) as boot:
        kernel = await boot()
        sys = await kernel.service("test")
        assert await sys.wait(await sys.spawn("gives_up"), 60) is True
        _, found = await did(kernel, publish(1), take())
        assert values(found) == [1]


def test_after_kills_no_message_is_lost_and_none_done_twice(tmp_path: Path) -> None:
    """Two groups of two consumers that keep keys, killed with -9 again and again; 0 lost, 0 twice, nothing dead."""
    chance, count = random.Random(7), 60
    command = [
        python.executable,
        "-m",
        "tests.stand_ins.topic_victim",
        str(tmp_path / "data"),
        str(tmp_path),
        str(count),
    ]
    root = Path(__file__).parents[2]
    for _ in range(2):
        before = _lines(tmp_path / "deliveries")
        with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as victim:
            end = time.monotonic() + 60
            while victim.poll() is None and _lines(tmp_path / "deliveries") == before and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.15))
            victim.send_signal(signal.SIGKILL)
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert ended.stdout.strip() == "settled", ended.stderr
    done = Counter((tmp_path / "ledger").read_text().splitlines())
    assert done == Counter(f"{group} m{n}" for group in "ab" for n in range(count))


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0
