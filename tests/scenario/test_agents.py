"""Agents end to end on the scripted engine: tools, memory, window, intents, files, replicas, versions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from llmagent_os import File, LLMAgentOS, ToolKit
from llmagent_os.agent.loop import Agent, Turn
from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import (
    BudgetExceeded,
    Conflict,
    EngineFailed,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ProcessFailed,
)
from llmagent_os.core.records import GenerateRequest, Json, ModelSpec, Needs, ToolCall
from llmagent_os.core.sys import Sys
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.plugins import hookimpl

TOOLS = ToolKit()


@TOOLS.add(effect="read", trusted=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@TOOLS.add(effect="write", meanings={"title": "text"})
async def draw(title: str) -> File:
    """Draw a picture."""
    return File(f"{title}.svg", b"<svg/>", "image/svg+xml")


@TOOLS.add(effect="read")
def breaks() -> None:
    """Fail."""
    raise LookupError("no such thing")


class Shouting(Agent):
    """A loop with one step replaced."""

    async def post_process(self, sys: Sys, turn: Turn) -> None:
        await super().post_process(sys, turn)
        turn.answer = type(turn.answer)(turn.answer.text.upper())


class Reaching(Agent):
    """A loop that calls a tool whatever its definition names."""

    async def post_process(self, sys: Sys, turn: Turn) -> None:
        await sys.call("add", {"a": 2, "b": 3})


class Plugin:
    """What a third party would bring."""

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(TOOLS)

    @hookimpl
    def loops(self) -> dict[str, type[Agent]]:
        return {"shouting": Shouting, "reaching": Reaching}


Start = Callable[..., Awaitable[System]]


@pytest.fixture
async def start(tmp_path: Path, models_folder: Path) -> AsyncIterator[Start]:
    """Boots a system on one data folder; starting again is a restart."""
    systems: list[System] = []

    async def begin(**options: Any) -> System:
        if systems:
            await systems[-1].close()
        system = await boot(load({"data": tmp_path / "data", "model": "scripted"}), [Plugin()])
        spec = ModelSpec("script", "scripted", window=options.pop("window", 0), options=options)
        system.add_engine("script", await open_engine(spec))
        systems.append(system)
        return system

    yield begin
    if systems:
        await systems[-1].close()


async def test_a_tool_loop_calls_what_the_model_asks_for_and_shows_it_the_results(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "sums", "model": "script", "tools": ["add", "breaks"]})
    text = 'call add with {"a": 2, "b": 3} then call add with {"a": 10, "b": 1} then call breaks'
    reply = await system.agents.ask("sums", text, timeout=20)
    assert "5" in reply["text"] and "11" in reply["text"] and "no such thing" in reply["text"]
    assert reply["usage"]["input_tokens"] > 0


async def test_a_wrong_argument_or_tool_is_told_to_the_model(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "sums", "model": "script", "tools": ["add"]})
    reply = await system.agents.ask("sums", 'call add with {"a": "x", "c": 1}', timeout=20)
    assert "add: a:" in reply["text"] or "add: c:" in reply["text"]


async def test_an_agent_holds_the_tools_that_its_definition_names_and_no_other(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "drawer", "model": "script", "tools": ["draw"]})
    reply = await system.agents.ask("drawer", 'call add with {"a": 2, "b": 3}', timeout=20)
    assert "5" not in reply["text"] and "add" in reply["text"]
    for tools in ([], ["draw"]):  # not even a loop of somebody's own reaches another
        name = "reaches" + "".join(tools)
        await system.agents.create({"name": name, "model": "script", "loop": "reaching", "tools": tools})
        with pytest.raises(PermissionDenied, match="add"):
            await system.agents.ask(name, "good day", timeout=20)


async def test_tools_are_offered_when_they_are_asked_for(start: Start) -> None:
    def offered(request: GenerateRequest) -> str:
        return " ".join(tool.name for tool in request.tools)

    system = await start(script=offered)
    when = {"add": ["0", "1", "2", "Plus"], "agent:assistant": ["colleague"], "breaks": []}
    tools = ["agent:assistant", "add", "draw", "breaks"]
    await system.agents.create({"name": "sums", "model": "script", "tools": tools, "when": when})
    for said, names in (
        ("hello", "draw"),
        ("what is 2 and 4?", "add draw"),
        ("four plus four", "add draw"),
        ("ask your COLLEAGUE", "ask_assistant draw"),
        ("hello again", "draw"),
    ):
        assert (await system.agents.ask("sums", said, session="s", timeout=20))["text"] == names, said
    with pytest.raises(InvalidRequest, match=r"when\.ad: it is none of its tools; did you mean 'add'"):
        await system.agents.create({"name": "sums", "model": "script", "tools": ["add"], "when": {"ad": ["1"]}})
    with pytest.raises(InvalidRequest, match=r"when\.add"):
        await system.agents.create({"name": "sums", "tools": ["add"], "when": {"add": ["1"] * 101}})


async def test_the_assistant_is_offered_a_calculator_and_a_clock_for_what_takes_them(start: Start) -> None:
    def offered(request: GenerateRequest) -> str:
        return " ".join(tool.name for tool in request.tools)

    system = await start(script=offered)
    await system.agents.configure("assistant", {"model": "script"})
    for said, names in (
        ("hello, who are you?", ""),
        ("中国最长的河是哪条？", ""),
        ("write a haiku about rain", ""),
        ("What is 17.5 % of 2340?", "calculator"),
        ("２３４０的百分之五是多少？", "calculator"),
        ("What time is it in Tokyo?", "clock"),
        ("今天星期几？", "clock"),
        ("How many days until 24 December?", "calculator clock"),
    ):
        assert (await system.agents.ask("assistant", said, timeout=20))["text"] == names, said


async def test_a_session_remembers_and_replicas_do_not(start: Start) -> None:
    def count(request: GenerateRequest) -> str:
        return str(sum(message.role == "user" for message in request.messages))

    system = await start(script=count)
    await system.agents.create({"name": "counter", "model": "script"})
    ask = system.agents.ask
    assert [(await ask("counter", "x", session="a", timeout=20))["text"] for _ in range(3)] == ["1", "2", "3"]
    system = await start(script=count)
    assert (await system.agents.ask("counter", "x", session="a", timeout=20))["text"] == "4"
    assert (await system.agents.ask("counter", "x", session="b", timeout=20))["text"] == "1"


async def test_replicas_remember_nothing_of_one_caller_for_the_next(start: Start) -> None:
    system = await start(script=lambda request: " ".join(message.text for message in request.messages))
    await system.agents.create({"name": "counter", "model": "script"})
    await system.agents.ask("counter", "my secret is 42", timeout=20)
    assert "42" not in (await system.agents.ask("counter", "what is the secret?", timeout=20))["text"]
    assert len(system.kernel.table.named("counter")) == 1


async def test_a_session_forgets_its_last_message_where_it_is_told_to(start: Start) -> None:
    seen: list[tuple[str, ...]] = []

    def script(request: GenerateRequest) -> str | list[ToolCall]:
        seen.append(tuple(message.text for message in request.messages if message.role != "system"))
        if request.messages[-1].text == "sum":
            return [ToolCall("1", "add", {"a": 1, "b": 2})]
        return f"answer {len(seen)}"

    system = await start(script=script)
    await system.agents.create({"name": "bot", "model": "script", "tools": ["add"]})

    async def ask(body: Json, session: str | None = "s") -> Json:
        return await system.agents.ask("bot", body, session=session, timeout=20)

    await ask("first")
    await ask("sum")
    rewound = await ask({"rewind": True})
    assert (rewound["rewound"], rewound["text"]) == ({"text": "sum", "tools": ["add"]}, "")
    await ask("second")
    assert seen[-1] == ("first", "answer 1", "second")
    system = await start(script=script)  # also after a restart
    assert [(await ask({"rewind": True}))["rewound"]["text"] for _ in "ab"] == ["second", "first"]
    for session in ("s", None):  # nothing is left; a replica remembers nothing
        with pytest.raises(InvalidRequest, match="no message to take back"):
            await ask({"rewind": True}, session)
    await ask("third")
    assert seen[-1] == ("third",)


async def test_first_messages_sent_at_once_share_one_session_and_one_replica(start: Start) -> None:
    system = await start()
    send = system.agents.send
    await asyncio.gather(*(send("assistant", f"{n}", session=s) for n in range(5) for s in ("one", None)))
    assert len(system.kernel.table.named("assistant@one")) == len(system.kernel.table.named("assistant")) == 1


@pytest.mark.parametrize("policy", ["drop", "summarise"])
async def test_a_long_conversation_never_fails_and_keeps_what_the_policy_keeps(start: Start, policy: str) -> None:
    asked: list[GenerateRequest] = []

    def script(request: GenerateRequest) -> str:
        asked.append(request)
        return "SUMMARY" if "Summarise" in request.messages[-1].text else "ok " * 20

    system = await start(script=script, window=400)
    await system.agents.create({"name": "talker", "model": "script", "window": policy, "prompt": "Be kind."})
    for n in range(25):
        reply = await system.agents.ask("talker", f"message {n} " + "word " * 40, session="s", timeout=20)
        assert reply["text"].startswith("ok")
    last = asked[-1]
    assert last.messages[0].text.startswith("Be kind.") and "message 24" in last.messages[-1].text
    assert ("SUMMARY" in last.messages[0].text) == (policy == "summarise")


async def test_a_message_longer_than_the_window_is_shortened(start: Start) -> None:
    system = await start(script=lambda request: request.messages[-1].text[:20], window=200)
    await system.agents.create({"name": "short", "model": "script"})
    reply = await system.agents.ask("short", "begin " + "x " * 5000 + "end", timeout=20)
    assert reply["text"].startswith("begin")


async def test_tool_results_that_outgrow_the_window_are_cut_within_the_turn(start: Start) -> None:
    @TOOLS.add
    def long() -> str:
        """Say a lot."""
        return "much " * 3000

    try:
        system = await start(window=600)
        await system.agents.create({"name": "reader", "model": "script", "tools": ["long"]})
        assert (await system.agents.ask("reader", "call long", timeout=20))["text"]
    finally:
        del TOOLS["long"]


async def test_intents_are_classified_by_the_model_and_add_their_instructions(start: Start) -> None:
    def script(request: GenerateRequest) -> str:
        if request.choices:
            return "complaint" if "broken" in request.messages[-1].text else "praise"
        return request.messages[0].text

    system = await start(script=script)
    intents = {"complaint": "Apologise.", "praise": "Say thanks."}
    await system.agents.create({"name": "desk", "model": "script", "intents": intents})
    reply = await system.agents.ask("desk", "it is broken", timeout=20)
    assert reply["intent"] == "complaint" and "Apologise." in reply["text"]


async def test_an_answer_schema_and_a_message_s_own_sampling_reach_the_model(start: Start) -> None:
    seen: list[GenerateRequest] = []

    def script(request: GenerateRequest) -> str:
        seen.append(request)
        return '{"n": 3}'

    system = await start(script=script)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    await system.agents.create({"name": "json", "model": "script", "schema": schema, "sampling": {"seed": 1}})
    body = {"text": "go", "options": {"sampling": {"temperature": 0.5, "stop": "END"}}}
    assert (await system.agents.ask("json", body, timeout=20))["text"] == '{"n": 3}'
    assert seen[0].schema == schema
    assert seen[0].sampling.sent() == {"seed": 1, "temperature": 0.5, "stop": ("END",)}


async def test_how_an_agent_s_answers_are_decoded_and_what_it_needs_reach_the_model(start: Start) -> None:
    seen: list[GenerateRequest] = []

    def script(request: GenerateRequest) -> str:
        seen.append(request)
        return "yes"

    system = await start(script=script)
    decoding = {"strategy": "vote", "width": 3}
    needs = {"task": "chat", "language": "de", "max_price": 0.5}
    await system.agents.create({"name": "voter", "model": "script", "decoding": decoding, "needs": needs})
    assert (await system.agents.ask("voter", "go", timeout=20))["text"] == "yes"
    assert len(seen) == 3
    assert {request.needs for request in seen} == {Needs("chat", "de", 0.5)}
    for wrong in ({"decoding": {"widht": 3}}, {"needs": {"languages": "de"}}):
        with pytest.raises(InvalidRequest, match=r"widht|languages"):
            await system.agents.create({"name": "wrong", **wrong})


async def test_a_picture_a_tool_made_is_part_of_the_reply(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "artist", "model": "script", "tools": ["draw"]})
    reply = await system.agents.ask("artist", 'call draw with {"title": "sun"}', timeout=20)
    picture = next(part for part in reply["parts"] if part["type"] == "image")
    assert picture["name"] == "sun.svg" and picture["mime"] == "image/svg+xml"
    assert system.kernel.journal.blob(picture["blob"]) == b"<svg/>"


async def test_a_plugin_s_loop_replaces_a_step(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "loud", "model": "script", "loop": "shouting"})
    assert (await system.agents.ask("loud", "hello", timeout=20))["text"].isupper()


async def test_replicas_share_the_work_and_retire_after_answering(start: Start) -> None:
    system = await start(rules=[{"match": "(.*)", "text": "{1}", "delay": 0.05}])
    agents = system.agents
    await agents.create({"name": "worker", "model": "script"})
    pids = await agents.deploy("worker", 3)
    tasks = [await agents.send("worker", f"job {n}") for n in range(9)]
    assert len(await agents.scale("worker", 1)) == 1
    replies = [await agents.reply(task, timeout=20) for task in tasks]
    assert [reply["text"] for reply in replies] == [f"job {n}" for n in range(9)]
    await asyncio.gather(*(system.kernel.runner.ended(pid) for pid in pids[1:]))
    monitored = await agents.monitor("worker")
    assert [process["pid"] for process in monitored["processes"]] == pids[:1]
    turns = [system.kernel.table.get(pid).turn for pid in pids]
    assert all(turn >= 3 for turn in turns)


async def test_a_new_version_reaches_running_agents_at_their_next_turn(start: Start) -> None:
    system = await start(script=lambda request: request.messages[0].text)
    agents = system.agents
    await agents.create({"name": "poet", "model": "script", "prompt": "old"})
    assert (await agents.ask("poet", "x", session="s", timeout=20))["text"] == "old"
    assert (await agents.configure("poet", {"prompt": "new"})).version == 2
    assert (await agents.ask("poet", "x", session="s", timeout=20))["text"] == "new"


async def test_pause_holds_messages_and_terminate_answers_them_with_an_error(start: Start) -> None:
    system = await start()
    agents = system.agents
    await agents.create({"name": "bot", "model": "script"})
    await agents.deploy("bot")
    assert await agents.pause("bot") and not await agents.pause("bot")
    task = await agents.send("bot", "hi")
    with pytest.raises(TimeoutError):
        await agents.reply(task, timeout=0.1)
    await agents.resume("bot")
    assert "hi" in (await agents.reply(task, timeout=20))["text"]
    await agents.pause("bot")
    task = await agents.send("bot", "again")
    await agents.terminate("bot")
    with pytest.raises(ProcessFailed, match="terminated"):
        await agents.reply(task, timeout=20)


async def test_an_engine_s_error_is_the_answer_and_the_agent_lives_on(start: Start) -> None:
    system = await start(rules=[{"match": "bad", "error": "it broke"}, {"match": "(.*)", "text": "fine"}])
    await system.agents.create({"name": "bot", "model": "script"})
    with pytest.raises(EngineFailed, match="it broke"):
        await system.agents.ask("bot", "bad", session="s", timeout=20)
    assert (await system.agents.ask("bot", "good", session="s", timeout=20))["text"] == "fine"


async def test_a_budget_ends_the_agent_and_says_so(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "poor", "model": "script", "budget": {"tokens": 40}})
    await system.agents.ask("poor", "hi", session="s", timeout=20)
    with pytest.raises(BudgetExceeded, match="tokens"):
        await system.agents.ask("poor", "x" * 400, session="s", timeout=20)


async def test_the_same_task_is_accepted_once(start: Start) -> None:
    system = await start()
    await system.agents.create({"name": "bot", "model": "script"})
    first = await system.agents.send("bot", "one", task="t1")
    again = await system.agents.send("bot", "one", task="t1")
    assert first == again == "t1"
    await system.agents.reply("t1", timeout=20)
    await asyncio.sleep(0.05)
    assert sum(process["turns"] for process in (await system.agents.monitor("bot"))["processes"]) == 1


@pytest.mark.parametrize(
    ("definition", "error", "says"),
    [
        ({"name": "x", "model": "smol"}, NotFound, "model"),
        ({"name": "x", "tools": ["ad"]}, NotFound, "did you mean 'add'"),
        ({"name": "x", "promt": "hi"}, InvalidRequest, "did you mean 'prompt'"),
        ({"name": "x", "sampling": {"top_pp": 1}}, InvalidRequest, "did you mean 'top_p'"),
        ({"name": "x", "loop": "shout"}, NotFound, "did you mean 'shouting'"),
        ({"name": "a/b"}, InvalidRequest, "name"),
        ({"name": "x", "prompt": "{who}", "variables": {"woh": "you"}}, InvalidRequest, "'who'"),
        ({"name": "x", "prompt": "no variable", "loop": "template"}, InvalidRequest, "none"),
        ({"name": "assistant"}, Conflict, "assistant"),
        ("text", InvalidRequest, "mapping"),
    ],
)
async def test_a_bad_definition_is_refused_naming_what_is_wrong(
    start: Start, definition: Json, error: type[Exception], says: str
) -> None:
    system = await start()
    with pytest.raises(error, match=says):
        await system.agents.create(definition)


async def test_unknown_names_say_the_nearest(start: Start) -> None:
    system = await start()
    with pytest.raises(NotFound, match="did you mean 'assistant'"):
        await system.agents.ask("asistant", "hi")
    with pytest.raises(NotFound, match="no task"):
        await system.agents.reply("nothing")


def test_a_program_runs_the_whole_system_in_a_few_lines(tmp_path: Path, models_folder: Path) -> None:
    with LLMAgentOS(tmp_path, model="scripted") as system:
        system.tool(add)
        system.create(name="sums", tools=["add"])
        assert "5" in system.ask("sums", 'call add with {"a": 2, "b": 3}')


async def test_agents_whose_names_are_alike_to_a_model_are_told_apart(start: Start) -> None:
    system = await start(script=lambda request: request.messages[0].text)
    for name in ("a.b", "a_b"):
        await system.agents.create({"name": name, "model": "script", "prompt": f"I am {name}."})
    tools = ["agent:a.b", "agent:a_b", "agent:a.b", "add", "add"]
    await system.agents.create({"name": "boss", "model": "scripted", "tools": tools})
    names = [each.name for each in Agent(system.agents.get("boss").spec, system.tools).tools]
    assert len(names) == len(set(names)) == 3 and names[0] == "ask_a_b" and names[2] == "add"
    for name, said in zip(names, ("I am a.b.", "I am a_b."), strict=False):
        assert said in (await system.agents.ask("boss", f'call {name} with {{"message": "x"}}', timeout=20))["text"]


def asks_the_other(request: GenerateRequest) -> Reply:
    """`ping` asks `pong` and the other way round, `echo` itself; whatever comes of it is the answer."""
    who, last = request.messages[0].text, request.messages[-1]
    if last.role == "tool":
        return Reply(f"{who} heard: {last.text}")
    return Reply(calls=((f"ask_{ {'ping': 'pong', 'pong': 'ping', 'echo': 'echo'}[who] }", {"message": "and you?"}),))


@pytest.mark.parametrize(("name", "replicas"), [("ping", 1), ("ping", 2), ("echo", 1), ("echo", 2)])
async def test_agents_that_ask_each_other_in_a_circle_are_told(start: Start, name: str, replicas: int) -> None:
    system = await start(script=asks_the_other)
    for each, other in (("ping", "pong"), ("pong", "ping"), ("echo", "echo")):
        await system.agents.create({"name": each, "model": "script", "prompt": each, "tools": [f"agent:{other}"]})
    await system.agents.scale(name, replicas)
    reply = await system.agents.ask(name, "hello", timeout=20)
    assert reply["text"].count("heard: ") == {"ping": 1, "echo": 0}[name] + replicas
    assert f"error: {'pong' if (name, replicas) == ('ping', 2) else name} waits" in reply["text"]
    assert (await system.agents.ask(name, "hello again", timeout=20))["text"] == reply["text"]


async def test_agents_that_ask_each_other_at_the_same_time_do_not_wait_for_ever(start: Start) -> None:
    system = await start(script=asks_the_other)
    for each, other in (("ping", "pong"), ("pong", "ping")):
        await system.agents.create({"name": each, "model": "script", "prompt": each, "tools": [f"agent:{other}"]})
    for each in ("ping", "pong"):
        await system.agents.deploy(each)
    asked = (system.agents.ask(name, f"hello {n}", timeout=20) for n in range(5) for name in ("ping", "pong"))
    assert all("heard: " in reply["text"] for reply in await asyncio.gather(*asked))


class Clinging:
    """Whether a tool was called, is told to stop, and may."""

    def __init__(self) -> None:
        self.called, self.stopping, self.released = asyncio.Event(), asyncio.Event(), asyncio.Event()


async def test_nobody_starts_an_agent_that_is_being_deleted(start: Start) -> None:
    clinging = Clinging()

    @TOOLS.add(effect="read")
    async def clings() -> None:
        """Stop only when it is let go."""
        clinging.called.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            clinging.stopping.set()
            await clinging.released.wait()
            raise

    try:
        system = await start()
    finally:
        del TOOLS["clings"]
    await system.agents.create({"name": "bot", "model": "scripted", "tools": ["clings"]})
    await system.agents.send("bot", "call clings", session="a")
    await asyncio.wait_for(clinging.called.wait(), 30)
    deleting = asyncio.create_task(system.agents.delete("bot"))
    await asyncio.wait_for(clinging.stopping.wait(), 30)
    for session in ("b", None):
        with pytest.raises(NotFound):
            await system.agents.send("bot", "hello", session=session)
    assert not deleting.done()
    clinging.released.set()
    await deleting
    assert system.kernel.table.named("bot") == system.kernel.table.named_like("bot@") == []
    await system.agents.create({"name": "bot", "model": "scripted"})
    assert (await system.agents.ask("bot", "hello", timeout=20))["text"] == "hello"
