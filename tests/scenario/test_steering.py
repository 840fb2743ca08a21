"""Messages to a turn that runs: queued, taken in at its next step, or at once; also over a stop, and the same again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Chunk, GenerateRequest, Json, ModelSpec
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import ScriptedEngine
from llmagent_os.monitoring.replay import replay
from llmagent_os.offline import rerun
from tests.stand_ins.gateway import gate
from tests.stand_ins.kernels import until
from tests.stand_ins.teams import Team, at_work


@pytest.fixture
async def team(tmp_path: Path, models_folder: Path) -> AsyncIterator[Team]:
    async with at_work(tmp_path / "data") as made:
        yield made


def heard(request: GenerateRequest) -> str:
    return " | ".join(message.text for message in request.messages if message.role == "user")


def clerk(request: GenerateRequest) -> Reply:
    """Calls `hold` once for each user message but those that steer, and then says what users said."""
    if any(message.role == "tool" for message in request.messages):
        return Reply(heard(request))
    return Reply(calls=(("hold", {"what": "it"}),))


async def say(team: Team, text: str, when: str = "queue", session: str | None = "s") -> str:
    body = {"text": text} if when == "queue" else {"text": text, "when": when}
    return await team.system.agents.send("clerk", body, session=session)


async def reply(team: Team, task: str) -> dict[str, Any]:
    told: dict[str, Any] = await team.system.agents.reply(task, 60)
    return told


async def begun(team: Team) -> str:
    """The task of a turn that waits for its tool."""
    task = await say(team, "one")
    await until(lambda: team.calls.get("hold it"))
    return task


def rows(team: Team) -> list[tuple[str, str]]:
    (pid,) = team.system.kernel.table.named("clerk@s", "default")
    return [(row.name, row.outcome) for row in team.system.kernel.journal.rows(pid)]


async def the_same_again(team: Team) -> bool:
    kernel = team.system.kernel
    (pid,) = kernel.table.named("clerk@s", "default")
    await until(lambda: kernel.table.get(pid).task is None)
    here = await replay(kernel.store, pid, kernel.programs, kernel.door.table)
    (beside,) = await rerun(team.system.config, pid, [team])  # as the command `replay` does it, without a system
    return here.diverged is beside.diverged is None


async def test_what_steers_is_taken_in_at_the_next_step_and_what_is_queued_waits(team: Team) -> None:
    await team.agent("clerk", clerk, tools=["hold"])
    first, queued = await begun(team), await say(team, "two")
    steered, later = await say(team, "three", "steer"), await say(team, "four", "steer")
    team.gate.set()
    assert (await reply(team, first))["text"] == "one | three | four"
    assert [(await reply(team, each))["finish"] for each in (steered, later)] == ["steered"] * 2
    assert (await reply(team, queued))["text"] == "one | three | four | two"  # the session remembers them
    assert rows(team).count(("steer", "ok")) == 1 and await the_same_again(team)


async def test_a_turn_without_such_messages_has_no_row_more(team: Team) -> None:
    await team.agent("clerk", clerk, tools=["hold"])
    team.gate.set()
    await reply(team, await say(team, "one"))
    assert ("steer", "ok") not in rows(team)


async def test_what_interrupts_breaks_off_a_call_and_goes_first(team: Team) -> None:
    await team.agent("clerk", clerk, tools=["hold"])
    first = await begun(team)  # nobody lets it go on
    second = await say(team, "no, two", "interrupt")
    assert (await reply(team, first))["text"] == "one | no, two"
    assert (await reply(team, second))["finish"] == "steered"
    assert ("call", "error") in rows(team) and await the_same_again(team)


class Held(ScriptedEngine):
    """An engine that waits before its first answer until it is let go."""

    def __init__(self) -> None:
        super().__init__(ModelSpec("held", "scripted"), heard)
        self.asked, self.go = 0, asyncio.Event()

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        self.asked += 1
        if self.asked == 1:
            await self.go.wait()
        async for chunk in super().generate(request):
            yield chunk


async def held(team: Team) -> tuple[Held, str]:
    """A turn that waits for its model."""
    engine = Held()
    team.system.add_engine("held", engine)
    await team.system.agents.create({"name": "clerk", "model": "held"})
    task = await say(team, "one")
    await until(lambda: engine.asked)
    return engine, task


async def test_what_steers_during_the_last_answer_makes_one_more(team: Team) -> None:
    engine, first = await held(team)
    second = await say(team, "two", "steer")
    engine.go.set()
    assert (await reply(team, first))["text"] == "one | two" and engine.asked == 2
    assert (await reply(team, second))["finish"] == "steered" and await the_same_again(team)


async def test_what_interrupts_breaks_off_an_answer(team: Team) -> None:
    engine, first = await held(team)
    second = await say(team, "two", "interrupt")
    assert (await reply(team, first))["text"] == "one | two" and engine.asked == 2
    assert (await reply(team, second))["finish"] == "steered"
    assert ("generate", "error") in rows(team) and await the_same_again(team)


@pytest.mark.parametrize("when", ["steer", "interrupt"])
async def test_what_was_sent_before_a_kill_is_taken_in_after_it(team: Team, tmp_path: Path, when: str) -> None:
    await team.agent("clerk", clerk, tools=["hold"])
    first = await begun(team)
    second = await say(team, "two", when)
    shutil.copytree(tmp_path / "data", tmp_path / "killed")  # what `kill -9` leaves in this moment
    after = Team(tmp_path / "killed")
    after.scripts = team.scripts
    await after.start()
    after.gate.set()
    assert (await reply(after, first))["text"] == "one | two"
    assert (await reply(after, second))["finish"] == "steered" and await the_same_again(after)
    await after.system.close()


async def test_a_stop_after_it_was_taken_in_takes_it_in_once(team: Team) -> None:
    def script(request: GenerateRequest) -> Reply:
        steered = any("two" in message.text for message in request.messages if message.role == "user")
        done = sum(message.role == "tool" for message in request.messages)
        if done < 1 + steered:
            return Reply(calls=(("hold", {"what": f"{done}"}),))
        return Reply(heard(request))

    await team.agent("clerk", script, tools=["hold"])
    first = await say(team, "one")
    await until(lambda: team.calls.get("hold 0"))
    second = await say(team, "two", "interrupt")
    await until(lambda: team.calls.get("hold 1"))
    await team.system.close()
    await team.start()
    await until(lambda: team.calls.get("hold 1") == 2)
    team.gate.set()
    assert (await reply(team, first))["text"] == "one | two" and team.calls["hold 0"] == 1
    assert (await reply(team, second))["finish"] == "steered" and await the_same_again(team)


async def test_to_a_session_that_is_idle_it_is_a_message_as_any(team: Team) -> None:
    await team.agent("clerk", heard)
    for when in ("steer", "interrupt"):
        told = await reply(team, await say(team, when, when))
        assert told["finish"] == "stop" and told["text"].endswith(when)
    assert ("generate", "error") not in rows(team)


async def test_who_takes_nothing_in_says_so(team: Team) -> None:
    await team.agent("clerk", heard)
    await team.flow("f", {"nodes": {"a": {"function": "pass"}}})
    bad: list[tuple[str, Json, str | None]] = [
        ("clerk", {"text": "x", "when": "steer"}, None), ("clerk", {"text": "x", "when": "soon"}, "s"),
        ("clerk", {"messages": [{"role": "user", "content": "x"}], "when": "steer"}, "s"),
        ("f", {"text": "x", "when": "interrupt"}, "s"),
    ]  # fmt: skip
    for name, body, session in bad:
        with pytest.raises(InvalidRequest):
            await team.system.agents.send(name, body, session=session)


async def test_no_process_breaks_off_another(team: Team) -> None:
    """What an agent sends waits for its turn, whatever it says of itself."""
    await team.agent("clerk", clerk, tools=["hold"])
    first = await begun(team)
    (pid,) = team.system.kernel.table.named("clerk@s", "default")
    kernel = team.system.kernel
    other = await team.system.sys.spawn("agent", {"spec": {"name": "clerk", "model": "clerk"}}, name="other")
    await kernel.door.syscall(
        kernel.table.get(other), "send", {"to": pid, "body": {"text": "two", "when": "interrupt"}}
    )
    await asyncio.sleep(0)
    assert ("call", "error") not in rows(team)
    team.gate.set()
    assert (await reply(team, first))["text"] == "one"


async def test_it_is_sent_over_http(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", model="scripted") as api:
        engine = Held()
        api.system.add_engine("held", engine)
        assert (await api.post("/v1/agents", {"name": "clerk", "model": "held"}))[0] == 201
        body = {"text": "one", "session": "s", "wait": 60}
        first = asyncio.ensure_future(api.post("/v1/agents/clerk/messages", body))
        await until(lambda: engine.asked)
        status, told = await api.post("/v1/agents/clerk/messages", body | {"text": "two", "when": "interrupt"})
        assert status == 200 and told["reply"]["finish"] == "steered", told
        assert (await first)[1]["reply"]["text"] == "one | two"
        status, told = await api.post("/v1/agents/clerk/messages", {"text": "two", "when": "steer"})
        assert status == 400 and "session" in str(told)
