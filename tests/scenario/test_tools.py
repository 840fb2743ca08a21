"""Tools as agents use them: endless loops, results that are too large, agents asking agents, the gateway's listing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmagent_os import LLMAgentOS, ToolKit
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import BudgetExceeded, NotFound
from llmagent_os.core.records import GenerateRequest, ModelSpec
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.plugins import hookimpl
from tests.stand_ins.shell import Shell

Start = Callable[..., Awaitable[System]]


TIMED = ToolKit()


@TIMED.add(effect="read")
def crashes() -> dict[str, Any]:
    """Run code that fails after another while each time, as real code does."""
    return {"stdout": "", "stderr": "KeyError: 'amount'", "exit": 1, "seconds": time.monotonic()}


class Timed:
    """Brings it."""

    @hookimpl
    def tools(self) -> ToolKit:
        """What a plugin's tools are."""
        return TIMED


@pytest.fixture
async def start(tmp_path: Path, models_folder: Path) -> AsyncIterator[Start]:
    """Boots a system on one data folder; starting again is a restart."""
    systems: list[System] = []

    async def begin(**options: Any) -> System:
        if systems:
            await systems[-1].close()
        system = await boot(load({"data": tmp_path / "data", "model": "scripted"}), [Timed()])
        system.add_engine("script", await open_engine(ModelSpec("script", "scripted", options=options)))
        systems.append(system)
        return system

    yield begin
    if systems:
        await systems[-1].close()


@pytest.mark.parametrize(("tool", "arguments"), [("calculator", {"expression": "1 + 1"}), ("crashes", {})])
async def test_the_same_call_with_the_same_result_ends_the_tool_loop(
    start: Start, tool: str, arguments: dict[str, str]
) -> None:
    asked: list[GenerateRequest] = []

    def stubborn(request: GenerateRequest) -> Reply | str:
        asked.append(request)
        if not request.tools:
            return "I give up."
        return Reply(calls=((tool, arguments),))

    system = await start(script=stubborn)
    await system.agents.create({"name": "bot", "model": "script", "tools": [tool], "max_steps": 50})
    reply = await system.agents.ask("bot", "go", timeout=20)
    assert reply["text"] == "I give up."
    assert reply["stopped"] == f"{tool} was called 3 times with the same arguments and returned the same"
    assert len(asked) == 4 and "answer with what you have" in asked[-1].messages[-1].text


async def test_a_tool_that_fails_for_the_same_reason_ends_the_tool_loop(start: Start) -> None:
    def stubborn(request: GenerateRequest) -> Reply | str:
        if not request.tools:
            return "I give up."
        done = sum(message.role == "tool" for message in request.messages)
        return Reply(calls=(("read_file", {"path": "gone.txt", "first": done + 1}),))

    system = await start(script=stubborn)
    grant = {"policy": {"untrusted": "allow"}}
    await system.agents.create({"name": "bot", "model": "script", "tools": ["read_file"], "grant": grant})
    reply = await system.agents.ask("bot", "go", timeout=10)
    assert reply["text"] == "I give up." and reply["stopped"] == "read_file failed 3 times for the same reason"


async def test_calls_that_get_somewhere_are_not_stopped(start: Start) -> None:
    def counting(request: GenerateRequest) -> Reply | str:
        done = sum(message.role == "tool" for message in request.messages)
        return Reply(calls=(("calculator", {"expression": f"{done} + 1"}),)) if done < 8 else "done"

    system = await start(script=counting)
    await system.agents.create({"name": "bot", "model": "script", "tools": ["calculator"]})
    reply = await system.agents.ask("bot", "go", timeout=10)
    assert reply["text"] == "done" and "stopped" not in reply


async def test_what_acts_outside_is_not_done_again_unless_the_model_asks_twice(start: Start) -> None:
    """A weak model sends a mail again to see that it went."""
    sent: list[str] = []
    calls = [("mail", "ann"), ("mail", "ann"), ("mail", "bob"), ("mail", "ann"), ("look", "ann"), ("look", "ann")]

    def script(request: GenerateRequest) -> Reply | str:
        done = sum(message.role == "tool" for message in request.messages)
        if done == len(calls):
            return " / ".join(message.text for message in request.messages if message.role == "tool")
        return Reply(calls=((calls[done][0], {"to": calls[done][1]}),))

    system = await start(script=script)
    kit = ToolKit()
    kit.add(lambda to: sent.append(to) or f"sent to {to}", "mail", trusted=True)
    kit.add(lambda to: sent.append(f"looked at {to}"), "look", effect="read", trusted=True)
    system.tools.update(kit)
    await system.agents.create({"name": "bot", "model": "script", "tools": ["mail", "look"]})
    told = (await system.agents.ask("bot", "go", timeout=10))["text"].split(" / ")
    assert sent == ["ann", "bob", "ann", "looked at ann", "looked at ann"]
    assert told[1].startswith(
        "not done again: mail did this before, with the same arguments, and returned: sent to ann"
    )
    assert told[2:4] == ["sent to bob", "sent to ann"]


async def test_what_acts_outside_is_done_as_often_as_is_asked_for_at_once_or_anew(start: Start) -> None:
    sent: list[str] = []

    def script(request: GenerateRequest) -> Reply | str:
        if request.messages[-1].role == "tool":
            return "done"
        return Reply(calls=(("mail", {"to": "ann"}), ("mail", {"to": "ann"})))

    system = await start(script=script)
    kit = ToolKit()
    kit.add(lambda to: sent.append(to), "mail", trusted=True)
    system.tools.update(kit)
    await system.agents.create({"name": "bot", "model": "script", "tools": ["mail"]})
    await system.agents.ask("bot", "twice", session="s", timeout=10)
    await system.agents.ask("bot", "and again", session="s", timeout=10)
    assert len(sent) == 4


async def test_a_large_result_is_shown_in_part_and_kept_whole(start: Start) -> None:
    seen: list[str] = []

    def script(request: GenerateRequest) -> Reply | str:
        if request.messages[-1].role != "tool":
            return Reply(calls=(("read_file", {"path": "big.txt"}),))
        seen.append(request.messages[-1].text)
        return "read"

    system = await start(script=script)
    await system.agents.create({"name": "bot", "model": "script", "tools": ["read_file"]})
    folder = system.config.data / "workspaces" / "default" / "bot@owner"
    folder.mkdir(parents=True)
    (folder / "big.txt").write_text("0123456789" * 5000)
    reply = await system.agents.ask("bot", "go", timeout=10)
    part = next(part for part in reply["parts"] if part["type"] == "file")
    assert part["name"] == "read_file.txt" and system.kernel.journal.blob(part["blob"]) == b"0123456789" * 5000
    assert "0123456789" * 2000 in seen[0] and len(seen[0]) < 20_500
    assert "30000 more characters" in seen[0] and part["blob"] in seen[0]


async def test_an_agent_asks_another_one_and_two_may_ask_one_another(start: Start) -> None:
    system = await start()
    create = system.agents.create
    await create({"name": "boss", "model": "script", "tools": ["agent:maths.expert"]})
    await create({"name": "maths.expert", "model": "script", "tools": ["calculator", "agent:boss"]})
    call = json.dumps({"message": 'call calculator with {"expression": "6 * 7"}'})
    reply = await system.agents.ask("boss", f"call ask_maths_expert with {call}", timeout=10)
    assert "Done: 42" in reply["text"]
    calls = {row[3] for row in system.kernel.store.read("call.after", system.kernel.table.named("boss")[0], 0)}
    assert {"send", "answer"} <= calls
    system = await start()
    reply = await system.agents.ask("boss", f"call ask_maths_expert with {call}", session="s", timeout=10)
    assert "Done: 42" in reply["text"]


async def test_an_agent_that_is_not_there_is_named_when_it_is_needed(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "boss", "model": "script", "tools": ["agent:nobody"]})
    with pytest.raises(NotFound, match="nobody"):
        await system.agents.ask("boss", "hello", timeout=10)


async def test_another_agent_s_failure_is_told(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "boss", "model": "script", "tools": ["agent:poor"]})
    await system.agents.create({"name": "poor", "model": "script"})
    reply = await system.agents.ask("boss", 'call ask_poor with {"message": ""}', timeout=10)
    assert "error: a message to an agent is text" in reply["text"]


def test_a_program_declares_what_its_tool_does(tmp_path: Path, models_folder: Path) -> None:
    with LLMAgentOS(tmp_path, model="scripted") as system:

        @system.tool(effect="read", timeout=0.1)
        def lookup(name: str) -> str:
            """Look up."""
            return name.upper()

        assert system.system.tools["lookup"].traits.timeout == 0.1
        system.create(name="bot", tools=["lookup"])
        assert "ANN" in system.ask("bot", 'call lookup with {"name": "Ann"}')


def test_the_command_line_lists_tries_and_adds_tools(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    listed = {tool["name"]: tool for tool in shell.json("tools", "list")}
    assert listed["fetch"]["effect"] == "external" and listed["read_file"]["source"] == "built in"
    assert shell.ok("tools", "test", "calculator", '{"expression": "2 ** 10"}') == "1024\n"
    assert "no JSON" in shell.fails("tools", "test", "clock", "{")
    assert "did you mean 'clock'" in shell.fails("tools", "test", "clok")
    (tmp_path / "shop.yaml").write_text(
        "openapi: 3.1.0\nservers: [{url: 'http://127.0.0.1:1'}]\npaths: {/a: {get: {operationId: look}}}"
    )
    (tmp_path / "mine.py").write_text(
        "from llmagent_os import ToolKit\nfrom llmagent_os.plugins import hookimpl\nkit = ToolKit()\n"
        "@kit.add(effect='read')\ndef mine() -> str:\n    'Mine.'\n    return 'mine'\n"
        "@hookimpl\ndef tools():\n    return kit\n"
    )
    assert "shop_look" in shell.run("tools", "add", "shop.yaml").stderr
    shell.ok("tools", "add", "mine.py")
    before = (shell.data / "config.yaml").read_text()
    assert "is not there" in shell.fails("tools", "add", "other.py")
    assert (shell.data / "config.yaml").read_text() == before
    with shell.system():
        again = shell.run("tools", "add", "shop.yaml", "--name", "late").stderr
        assert "late_look" in again and "the system that runs knows nothing of it yet" in again
        assert "calculator: expression" in shell.fails("tools", "test", "calculator", "{}")
        sources = {tool["name"]: tool["source"] for tool in shell.json("tools", "list")}
        assert sources["shop_look"] == "openapi shop" and sources["mine"] == "python"
        assert shell.ok("tools", "test", "mine") == "mine\n"


def test_a_source_of_tools_is_taken_out_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    for name in ("shop", "other"):
        document = (
            f"openapi: 3.1.0\nservers: [{{url: 'http://127.0.0.1:1'}}]\npaths: {{/a: {{get: {{operationId: {name}}}}}}}"
        )
        (tmp_path / f"{name}.yaml").write_text(document)
        assert "taken as a yes" in shell.run("tools", "add", f"{name}.yaml").stderr
    assert (
        "taken as a yes" not in shell.run("tools", "add", "--yes", "--mcp", "--name", "away", "/no/such/program").stderr
    )
    (tmp_path / "mine.py").write_text(
        "from llmagent_os.plugins import hookimpl\n@hookimpl\ndef tools():\n    return {}\n"
    )
    shell.ok("tools", "add", "mine.py")
    (shell.data / "mcp").mkdir(exist_ok=True)
    (shell.data / "mcp" / "away.login").touch()
    (shell.data / "config.yaml").chmod(0o600)
    for name, was in (("shop", "openapi shop"), ("away", "mcp away"), ("mine.py", "plugin ")):
        assert was in shell.run("tools", "remove", name).stderr
    assert not (shell.data / "mcp" / "away.login").exists()
    values = yaml.safe_load((shell.data / "config.yaml").read_text())
    assert values["plugins"] == [] and values["tools"]["mcp"] == {} and [*values["tools"]["openapi"]] == ["other"]
    assert "mine.py" in (shell.data / "config.yaml.bak").read_text()
    assert (shell.data / "config.yaml.bak").stat().st_mode & 0o077 == 0  # as what it is a copy of
    names = {tool["name"] for tool in shell.json("tools", "list")}
    assert "other_other" in names and "shop_shop" not in names
    assert "no source of tools named 'othr'; did you mean 'other'?" in shell.fails("tools", "remove", "othr")


async def test_what_a_call_costs_is_booked_and_bounded(start: Start) -> None:
    system = await start()
    kit = ToolKit()
    kit.add(lambda: "looked", "lookup", effect="read", cost=0.25)
    system.tools.update(kit)
    await system.agents.create({"name": "bot", "model": "script", "tools": ["lookup"], "budget": {"money": 0.5}})
    assert "looked" in (await system.agents.ask("bot", "call lookup", session="s", timeout=10))["text"]
    with pytest.raises(BudgetExceeded, match="money"):
        await system.agents.ask("bot", "call lookup then call lookup", session="s", timeout=10)


async def test_a_question_to_another_agent_survives_a_restart(start: Start, models_folder: Path) -> None:
    models_folder.mkdir()
    (models_folder / "rules.yaml").write_text("- {match: ^slowly$, text: done slowly, delay: 1}")
    robot = {"engine": "scripted", "source": str(models_folder / "rules.yaml")}
    (models_folder / "models.yaml").write_text(json.dumps({"models": {"robot": robot}}))
    system = await start()
    await system.agents.create({"name": "boss", "model": "robot", "tools": ["agent:helper"]})
    await system.agents.create({"name": "helper", "model": "robot"})
    task = await system.agents.send("boss", 'call ask_helper with {"message": "slowly"}')
    await asyncio.sleep(0.5)
    system = await start()
    assert "done slowly" in (await system.agents.reply(task, timeout=10))["text"]
    table = system.kernel.table
    assert table.get(table.named("helper")[0]).turn == 1  # asked once
