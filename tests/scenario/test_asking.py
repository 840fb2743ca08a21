"""Whoever waits is told why, and one question holds up one conversation: over REST and OpenAI's API, and in `ps`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from llmagent_os import LLMAgentOS
from llmagent_os.core import codec
from llmagent_os.core.records import GenerateRequest, Json, ModelSpec, Question
from llmagent_os.gateway.console.audit import line
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.offline import tool_calls
from tests.stand_ins.bank import Bank
from tests.stand_ins.gateway import Gate, gate

ASKED = "pay GB33-EVIL"
POLICY = {"tools": {"pay": "ask"}}


def script(request: GenerateRequest) -> Reply:
    """`pay WHOM` pays 5 to somebody; `clerk: ...` hands it on to the clerk; anything else is repeated."""
    last = max(n for n, message in enumerate(request.messages) if message.role == "user")
    said, done = request.messages[last].text, request.messages[last + 1 :]
    if done or not said.startswith(("pay ", "clerk: ")):
        return Reply(done[-1].text if done else said)
    if said.startswith("pay "):
        return Reply(calls=(("pay", {"to": said.split()[1], "amount": 5}),))
    return Reply(calls=(("ask_clerk", {"message": said.removeprefix("clerk: ")}),))


class Office:
    """A system with the agents `clerk`, who pays, `boss`, who asks the clerk, and people with keys."""

    def __init__(self, api: Gate, bank: Bank) -> None:
        self.api, self.bank, self.system = api, bank, api.system
        self._keys: dict[str, str] = {}

    async def begin(self) -> None:
        self.system.add_engine("script", await open_engine(ModelSpec("script", "scripted", options={"script": script})))
        await self.system.agents.create({"name": "clerk", "model": "script", "tools": ["pay"], "policy": POLICY})
        await self.system.agents.create({"name": "boss", "model": "script", "tools": ["agent:clerk"]})

    async def key(self, who: str) -> dict[str, Any]:
        if who not in self._keys:
            _, minted = await self.api.post("/v1/keys", {"name": who, "roles": ["user"], "principal": who})
            self._keys[who] = minted["key"]
        return {"headers": {"Authorization": f"Bearer {self._keys[who]}"}}

    async def send(self, text: str, who: str = "ada", agent: str = "clerk", wait: float = 5, **fields: Any) -> Json:
        body = {"text": text, "wait": wait, **fields}
        return (await self.api.post(f"/v1/agents/{agent}/messages", body, **await self.key(who)))[1]

    async def question(self, who: str = "ada") -> Json:
        return (await self.until(lambda: self.open(who)))[0]

    async def open(self, who: str) -> Json:
        return (await self.api.get("/v1/approvals", **await self.key(who)))[1]["approvals"]

    async def answer(self, which: str, allow: bool = True, who: str = "ada", **more: Any) -> tuple[int, Json]:
        return await self.api.post(f"/v1/approvals/{which}", {"allow": allow, **more}, **await self.key(who))

    async def until(self, found: Callable[[], Awaitable[Any]]) -> Any:
        for _ in range(2000):
            if there := await found():
                return there
            await asyncio.sleep(0.02)
        raise AssertionError("it never came")

    async def living(self) -> dict[int, tuple[str, str]]:
        """Name and status of what lives, by pid."""
        _, found = await self.api.get("/v1/processes")
        alive = (each for each in found["processes"] if each["status"] not in ("done", "stopped"))
        return {each["pid"]: (each["name"], each["status"]) for each in alive}

    async def events(self, text: str, who: str = "ada", **fields: Any) -> asyncio.Queue[tuple[str, Json]]:
        """The events of an answer as they come."""
        queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        key, url = await self.key(who), self.api.running.url

        async def read() -> None:
            body = {"text": text, "stream": True, **fields}
            async with self.api.session.post(f"{url}/v1/agents/clerk/messages", json=body, **key) as response:
                name = ""
                async for row in response.content:
                    field, _, value = row.decode().rstrip("\n").partition(": ")
                    name = value if field == "event" else name
                    if field == "data":
                        queue.put_nowait((name, codec.loads(value)))

        self.reading = asyncio.ensure_future(read())
        return queue

    def decisions(self) -> list[str]:
        return [line(*each)["decision"] for each in tool_calls(self.system.config, None, 10)]


async def soon(queue: asyncio.Queue[tuple[str, Json]]) -> tuple[str, Json]:
    return await asyncio.wait_for(queue.get(), 20)


@pytest.fixture
async def office(tmp_path: Path, models_folder: Path) -> AsyncIterator[Office]:
    bank = Bank("page", "fetch")
    async with gate(tmp_path / "data", bank) as api:
        made = Office(api, bank)
        await made.begin()
        yield made


# -- whoever waits is told


async def test_a_stream_has_the_question_and_what_became_of_it(office: Office) -> None:
    events = await office.events(ASKED)
    assert (await soon(events))[0] == "task"
    name, asked = await soon(events)
    assert (name, asked["tool"], asked["arguments"]) == ("question", "pay", {"to": "GB33-EVIL", "amount": 5})
    assert asked["why"] == "the policy has every call of it asked about" and asked["editable"]
    assert asked["origins"] == {} and asked["sources"] == {"to": "user", "amount": "the model"}
    assert (await office.living())[asked["pid"]] == ("clerk", "asks")
    await office.answer(asked["id"])
    name, told = await soon(events)
    assert (name, told["id"], told["allowed"], told["by"]) == ("answered", asked["id"], True, "ada")
    while (name := (await soon(events))[0]) != "reply":
        assert name == "chunk"
    assert office.bank.paid == [("GB33-EVIL", 5)]


async def test_a_task_that_waits_says_so(office: Office) -> None:
    found = await office.send(ASKED, wait=0.5)
    assert (found["done"], found["status"], [each["tool"] for each in found["questions"]]) == (False, "asks", ["pay"])
    _, again = await office.api.get(f"/v1/tasks/{found['task']}", **await office.key("ada"))
    assert again["questions"] == found["questions"]
    _, others = await office.api.get("/v1/processes?limit=1000")
    assert "asks" in {each["status"] for each in others["processes"]}
    await office.answer(found["questions"][0]["id"], False)
    status, done = await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert status == 200 and done["done"] and done["status"] is None and office.bank.paid == []


async def test_who_asks_through_another_agent_is_told_as_well(office: Office) -> None:
    found = await office.send(f"clerk: {ASKED}", agent="boss", wait=1)
    assert [each["agent"] for each in found["questions"]] == ["clerk"]
    await office.answer(found["questions"][0]["id"])
    await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert office.bank.paid == [("GB33-EVIL", 5)]


async def test_a_paused_agent_is_said_to_be_paused(office: Office) -> None:
    await office.send("hello", session="s")
    await office.api.post("/v1/agents/clerk/pause")
    (pid,) = office.system.kernel.table.named("clerk@s")
    events = await office.events("hello again", session="s")
    await soon(events)
    name, told = await soon(events)
    assert (name, told["status"], told["pid"]) == ("waiting", "paused", pid) and f"resume {pid}" in told["text"]
    assert str(pid) in (await office.send("and again", session="s", wait=0.4))["waiting"]
    await office.api.post("/v1/agents/clerk/resume")
    while (found := await soon(events))[0] != "reply":
        pass
    assert found[1]["text"] == "hello again"


async def test_who_waits_behind_a_question_in_a_conversation_is_shown_it(office: Office) -> None:
    first = await office.send(ASKED, session="s", wait=0.5)
    events = await office.events("hello", session="s")
    await soon(events)
    name, asked = await soon(events)
    assert name == "question" and [asked] == first["questions"]
    await office.answer(asked["id"], False)
    while (found := await soon(events))[0] != "reply":
        pass
    assert found[1]["text"] == "hello"


async def test_who_waits_for_an_answer_that_is_not_theirs_to_give_is_told_so(office: Office) -> None:
    await office.system.agents.configure("clerk", {"shared": True})
    first = await office.send(ASKED, session="s", wait=0.5)
    (asked,) = first["questions"]
    found = await office.send("hello", "bob", session="s", wait=0.5)
    assert (
        found["questions"] == [] and "somebody else to answer a question about an earlier message" in found["waiting"]
    )
    await office.answer(asked["id"], False)
    _, done = await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("bob"))
    assert done["reply"]["text"] == "hello"


async def test_streams_of_openais_api_have_comments_that_clients_leave_out(office: Office) -> None:
    body = {"model": "clerk", "stream": True, "messages": [{"role": "user", "content": ASKED}]}
    rows: list[str] = []

    async def read() -> None:
        url = f"{office.api.running.url}/v1/chat/completions"
        async with office.api.session.post(url, json=body, **await office.key("ada")) as response:
            rows.extend([row.decode().rstrip("\n") async for row in response.content])

    reading = asyncio.ensure_future(read())
    asked = await office.question()
    await asyncio.sleep(0.4)
    await office.answer(asked["id"])
    await asyncio.wait_for(reading, 20)
    (said, *_) = [row for row in rows if row.startswith(":")]
    assert asked["id"] in said and "\n\n" not in said and not said.startswith(": ping")
    data = [row.removeprefix("data: ") for row in rows if row and not row.startswith(":")]
    assert data[-1] == "[DONE]" and all(codec.loads(each)["choices"] for each in data[:-1])


# -- one question holds up one conversation


@pytest.mark.parametrize("session", [None, "work"])
async def test_others_are_answered_while_one_is_asked(office: Office, session: str | None) -> None:
    asking = asyncio.ensure_future(office.send(ASKED, session=session))
    asked = await office.question()
    assert (await office.send("hello", "bob"))["reply"]["text"] == "hello"
    assert (await office.send("hello", "bob", session=session))["reply"]["text"] == "hello"
    assert (await office.send("hello", "ada", session="another"))["reply"]["text"] == "hello"
    assert (await office.send("hello", "ada"))["reply"]["text"] == "hello"
    await office.answer(asked["id"])
    assert (await asking)["done"] and office.bank.paid == [("GB33-EVIL", 5)]


async def test_what_was_sent_to_a_replica_before_it_asked_is_answered_by_another(office: Office) -> None:
    await office.api.post("/v1/agents/clerk/deploy", {"replicas": 1})
    sent = [office.send(text, who) for text, who in ((ASKED, "ada"), ("hello", "bob"), ("hello", "eve"))]
    asking, *others = [asyncio.ensure_future(each) for each in sent]
    assert [each["reply"]["text"] for each in await asyncio.gather(*others)] == ["hello", "hello"]
    await office.answer((await office.question())["id"])
    assert (await asking)["done"]

    async def as_before() -> bool:
        return [name for name, _ in (await office.living()).values() if name.startswith("clerk")] == ["clerk"]

    assert await office.until(as_before)  # who stood in has ended


async def test_agents_that_wait_for_one_that_asks_hold_nobody_up_either(office: Office) -> None:
    asking = asyncio.ensure_future(office.send(f"clerk: {ASKED}", agent="boss"))
    asked = await office.question()
    assert (await office.send("clerk: hello", "bob", "boss"))["reply"]["text"].splitlines()[1] == "hello"
    await office.answer(asked["id"])
    assert (await asking)["done"]


# -- a question is gone with what it was about


async def test_cancelling_a_task_takes_its_question_back_and_says_so(office: Office) -> None:
    found = await office.send(ASKED, wait=0.5)
    (asked,) = found["questions"]
    key = await office.key("ada")
    assert (await office.api.ask("DELETE", f"/v1/tasks/{found['task']}", **key))[0] == 204
    assert await office.open("ada") == []
    _, told = await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **key)
    assert "is taken back" in told["error"]["message"]
    _, kept = await office.api.get(f"/v1/approvals/{asked['id']}", **key)
    assert kept["allowed"] is False and kept["by"] is None and "cancelled" in kept["over"]
    status, late = await office.answer(asked["id"])
    assert status == 409 and "too late" in late["error"]["message"] and kept["over"] in late["error"]["message"]
    assert office.bank.paid == [] and office.decisions() == ["unanswered"]


async def test_a_question_of_somebody_else_is_not_found(office: Office) -> None:
    (asked,) = (await office.send(ASKED, wait=0.5))["questions"]
    assert (await office.api.get(f"/v1/approvals/{asked['id']}", **await office.key("bob")))[0] == 404


# -- what the audit says


async def test_the_audit_says_who_refused(office: Office) -> None:
    found = await office.send(ASKED, wait=0.5)
    await office.answer(found["questions"][0]["id"], False)
    await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert office.decisions() == ["refused by ada"]
    _, kept = await office.api.get(f"/v1/approvals/{found['questions'][0]['id']}", **await office.key("ada"))
    assert (kept["allowed"], kept["by"]) == (False, "ada")


async def test_the_audit_says_allowed_of_no_call_that_nobody_allowed(office: Office) -> None:
    definition = {"name": "poor", "model": "script", "prompt": "Pay.", "tools": ["pay"], "budget": {"steps": 2}}
    await office.system.agents.create(definition)
    await office.send("pay Ann", agent="poor")
    assert office.bank.paid == [] and office.decisions() == ["refused"]


# -- an answer with other arguments


async def test_a_person_may_put_other_arguments(office: Office) -> None:
    found = await office.send(ASKED, wait=0.5)
    (asked,) = found["questions"]
    _, told = await office.answer(asked["id"], arguments={"to": "DE-ALICE", "amount": 5})
    assert told["changed"] == {"to": "DE-ALICE", "amount": 5}
    _, done = await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert office.bank.paid == [("DE-ALICE", 5)] and "the user changed the arguments" in done["reply"]["text"]
    (row,) = [each for each, *_ in tool_calls(office.system.config, None, 10)]
    assert codec.loads(row.decision)["consent"]["arguments"]["to"] == "DE-ALICE"


async def test_what_a_person_puts_keeps_to_the_rules(office: Office) -> None:
    rules = {"pay": {"ask": "always", "most": {"amount": 10}}}
    await office.system.agents.configure("clerk", {"policy": {"tools": rules}})
    found = await office.send(ASKED, wait=0.5)
    await office.answer(found["questions"][0]["id"], arguments={"to": "DE-ALICE", "amount": 500})
    await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert office.bank.paid == []


@pytest.mark.parametrize(
    ("put", "said"),
    [
        ({"to": "DE-ALICE", "amount": 5, "WRONG": "x"}, "pay has amount, to, not WRONG"),
        ({"to": "DE-ALICE", "amount": "much"}, "amount"),
        ({"to": "DE-ALICE"}, "amount"),
    ],
)
async def test_arguments_that_the_tool_does_not_take_do_not_spend_the_question(
    office: Office, put: Json, said: str
) -> None:
    found = await office.send(ASKED, wait=0.5)
    (asked,) = found["questions"]
    status, told = await office.answer(asked["id"], arguments=put)
    assert status == 400 and said in told["error"]["message"]
    assert [each["id"] for each in await office.open("ada")] == [asked["id"]]
    await office.answer(asked["id"], arguments={"to": "DE-ALICE", "amount": 5})
    await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert office.bank.paid == [("DE-ALICE", 5)]


async def test_what_a_program_asks_has_the_arguments_that_it_said(office: Office) -> None:
    node = {"human": "Pay it?", "ask": "approve", "value": "${input.text}"}
    await office.system.agents.create({"name": "desk", "flow": {"nodes": {"ok": node}}})
    found = await office.send("5", agent="desk", wait=0.5)
    asked = await office.question()
    shown = {"question": "Pay it?", "value": "5"}
    status, told = await office.answer(asked["id"], arguments={**shown, "WRONG": "x"})
    assert status == 400 and "the question has question, value, not WRONG" in told["error"]["message"]
    await office.answer(asked["id"], arguments={**shown, "value": "4"})
    _, done = await office.api.get(f"/v1/tasks/{found['task']}?wait=5", **await office.key("ada"))
    assert '"4"' in done["reply"]["text"] or done["reply"]["output"]["value"] == "4"


async def test_a_no_comes_without_arguments(office: Office) -> None:
    (asked,) = (await office.send(ASKED, wait=0.5))["questions"]
    assert (await office.answer(asked["id"], False, arguments={}))[0] == 400
    assert len(await office.open("ada")) == 1


async def test_a_rule_for_no_tool_is_told(office: Office) -> None:
    changes = {"policy": {"tools": {"pya": "ask"}}}
    status, told = await office.api.ask("PATCH", "/v1/agents/clerk", json=changes)
    assert status == 400 and "did you mean 'pay'?" in told["error"]["message"]


# -- in a program


class Shop:
    """A program's own system whose clerk asks before it pays."""

    def __init__(self, data: Path, **options: Any) -> None:
        self.system, self.paid = LLMAgentOS(data, model="scripted", **options), list[str]()
        self.system.tool(self.pay)
        self.system.create(name="clerk", tools=["pay"], policy=POLICY)

    def pay(self, to: str) -> str:
        """Pay money."""
        self.paid.append(to)
        return "paid"


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_program_says_what_its_agents_may_do(tmp_path: Path, models_folder: Path, answer: bool | None) -> None:
    asked: list[Question] = []

    def approve(question: Question) -> bool:
        asked.append(question)
        if answer is None:
            raise ValueError("nobody is there")
        return answer

    shop = Shop(tmp_path / "data", approve=approve)
    with shop.system as system:
        system.ask("clerk", 'call pay with {"to": "Ann"}', timeout=10)
    assert shop.paid == (["Ann"] if answer else []) and [each.arguments for each in asked] == [{"to": "Ann"}]


def test_a_program_is_warned_of_a_question_and_answers_it_later(
    tmp_path: Path, models_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(tmp_path / "data")
    with shop.system as system:
        with pytest.raises(TimeoutError):
            system.ask("clerk", 'call pay with {"to": "Ann"}', session="s", timeout=3)
        assert "clerk@s waits for a person: may it pay?" in caplog.text
        (asked,) = system.questions()
        system.answer(asked["id"], allow=True)
        system.ask("clerk", "hello", session="s", timeout=10)
    assert shop.paid == ["Ann"]


def test_a_tool_that_ends_the_program_has_only_failed(tmp_path: Path, models_folder: Path) -> None:
    with LLMAgentOS(tmp_path / "data", model="scripted") as system:

        @system.tool(effect="read", trusted=True)
        async def leave() -> None:
            """Leave."""
            raise SystemExit(3)

        system.create(name="clerk", tools=["leave"])
        assert "leave failed: SystemExit: 3" in system.ask("clerk", "call leave with {}", timeout=10)
        assert system.ask("clerk", "hello", timeout=10) == "hello"
