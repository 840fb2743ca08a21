"""Acts of administration: each has a row that says who did it, with what right, and holds nothing that is secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core import codec
from llmagent_os.core.errors import Conflict, LLMAgentOSError, PermissionDenied
from llmagent_os.core.records import Document, Hidden, Place, Question
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.journal import Row
from llmagent_os.kernel.process import Program
from llmagent_os.knowledge.memory import Memory
from llmagent_os.security.administration import ACTS, authority
from llmagent_os.security.identity import ROLES, Caller
from tests.stand_ins.gateway import Gate, gate

PASSWORD = "correct-horse-battery"
PATTERN = 'pattern("{S} was born in {O}", born).'
FACT = {"subject": "Ann", "predicate": "born", "object": 1948}


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


def acts(api: Gate) -> list[Row]:
    """The rows of acts, in order."""
    pids = [pid for name in ("gateway", "system") for pid in api.kernel.table.named(f"service/{name}")]
    rows = [row for pid in pids for row in api.kernel.journal.rows(pid)]
    return sorted((row for row in rows if row.name in ACTS), key=lambda row: row.started)


async def does(api: Gate, act: str, who: str, role: str, **args: Any) -> Any:
    caller = Caller("default", who, ROLES[role], f"key of {who}")
    return await (await api.kernel.service("gateway", who)).under(authority(caller)).act(act, **args)


async def everything(api: Gate, boss: dict[str, Any]) -> None:
    """Every act there is, once, by somebody whose key `boss` is."""

    async def ask(method: str, path: str, body: Any = None) -> Any:
        sent = {"data": body} if isinstance(body, str) else {"json": body}
        status, answer = await api.ask(method, path, **sent, **boss)
        assert status < 300, (method, path, answer)
        return answer

    await ask("POST", "/v1/agents", {"name": "bot", "model": "scripted", "budget": {"tokens": 1000}})
    await ask("PATCH", "/v1/agents/bot", {"description": "a bot"})
    await ask("PUT", "/v1/agents/bot/files/notes.txt", {"secret": PASSWORD})
    task = (await ask("POST", "/v1/agents/bot/messages", {"text": "hi", "wait": 5}))["task"]
    await ask("POST", f"/v1/tasks/{task}/feedback", {"good": True})
    await ask("POST", "/v1/accounts", {"account": "agent/bot", "resource": "tokens", "amount": 1})
    (pid,) = (await ask("POST", "/v1/agents/bot/scale", {"replicas": 1}))["pids"]
    for which in ("agents/bot", f"processes/{pid}"):
        for verb in ("pause", "resume"):
            await ask("POST", f"/v1/{which}/{verb}")
    for path in ("/v1/agents/bot/nice", f"/v1/processes/{pid}/nice"):
        await ask("POST", path, {"nice": 3})
    await ask("PUT", "/v1/triggers/daily", {"name": "daily", "agent": "bot", "every": "1d"})
    (api.system.config.data / "notes").mkdir(exist_ok=True)
    await ask("PUT", "/v1/knowledge/documents?source=notes.txt", {"secret": PASSWORD})
    await ask("DELETE", "/v1/knowledge/documents?source=notes.txt")
    await ask("POST", "/v1/knowledge/sync", {"folder": str(api.system.config.data / "notes")})
    await ask("DELETE", f"/v1/knowledge/sync?folder={api.system.config.data / 'notes'}")
    await ask("POST", "/v1/knowledge/facts", {"facts": [FACT], "source": "book"})
    await ask("DELETE", "/v1/knowledge/facts?source=book")
    merged = await ask("POST", "/v1/knowledge/names", {"kept": "Ann", "other": "Anna"})
    await ask("DELETE", f"/v1/knowledge/names?number={merged['number']}")
    await ask("PUT", "/v1/knowledge/rules?name=family", PATTERN)
    await ask("POST", "/v1/knowledge/extract", {})
    await ask("DELETE", "/v1/knowledge/rules?name=family")
    await Memory(api.system.knowledge).keep(Place("default", "bot", "boss"), Document("", "Ann lives in Rome"))
    (memory,) = (await ask("GET", "/v1/memory"))["memories"]
    edited = await ask("PUT", f"/v1/memory/{memory['memory']}", {"text": "Ann lives in Oslo"})
    await ask("DELETE", f"/v1/memory/{edited['memory']}")
    await ask("PUT", "/v1/memory/pinned/house", {"text": "We answer in English."})
    await (await api.kernel.service("test")).syscall("topic_take", topic="t", group="g", of="tenant")
    await ask("POST", "/v1/topics/t/retry", {"group": "g", "of": "tenant"})
    await ask("POST", "/v1/topics/t/tries", {"group": "g", "of": "tenant", "tries": 2})
    await ask("PUT", "/v1/anomalies/bot", {"reason": "it was odd"})
    await ask("DELETE", "/v1/anomalies/bot")
    await ask("POST", "/v1/agents/bot/terminate")
    await ask("DELETE", "/v1/agents/bot")
    key = await ask("POST", "/v1/keys", {"roles": ["user"], "principal": "eve"})
    await ask("DELETE", f"/v1/keys/{key['id']}")
    await ask("PUT", "/v1/tenants/acme", {"tools": ["python"]})
    await ask("DELETE", "/v1/tenants/acme")
    await ask("PUT", "/v1/privacy/consent", {"learning": True})
    await ask("POST", "/v1/privacy/erase", {"principal": "nobody", "prove": [PASSWORD]})
    await ask("POST", "/v1/privacy/retention")
    await ask("POST", "/v1/plugins/reload")
    source = f"https://me:{PASSWORD}@models.example/v1?token={PASSWORD}"
    options = {"headers": {"X-Key": PASSWORD}}
    await ask("POST", "/v1/models", {"name": "x", "engine": "scripted", "source": source, "options": options})
    await ask("DELETE", "/v1/models/x")


async def test_every_act_has_a_row_that_says_who_did_it_and_with_what_right(api: Gate) -> None:
    _, key = await api.post("/v1/keys", {"roles": ["owner"], "principal": "boss"})
    before = len(acts(api))
    await everything(api, {"headers": {"Authorization": f"Bearer {key['key']}"}})
    rows = acts(api)[before:]
    assert {row.name for row in rows} == ACTS.keys() - {
        "approvals.answer",
        "tasks.cancel",
        "models.pull",
        "models.adapt",
        "models.unadapt",
    }  # see test_approvals, test_people, test_desktop_tasks, test_deployed_adapters
    for row in rows:
        told = codec.loads(row.decision or b"{}")
        assert (row.principal, told["key"], told["scope"]) == ("boss", key["id"], ACTS[row.name].scope), row.name
        assert row.outcome == "ok"
    wrote = {row.name: codec.loads(row.decision or b"{}")["wrote"] for row in rows}
    ((space, name, made),) = wrote["agents.configure"]
    assert (space, name, len(made)) == ("agent", "bot", 64) and wrote["privacy.consent"][0][:2] == ["consent", "boss"]
    assert wrote["keys.revoke"] == [[*wrote["keys.mint"][0][:2], None]]


async def test_nothing_secret_is_in_a_row(api: Gate) -> None:
    await everything(api, {})
    _, made = await api.post("/v1/keys", {"roles": ["user"]})
    (digest,) = [key.digest for key in api.system.keys.listed(Caller("default", "owner", ROLES["owner"], "owner"))]
    secrets = [PASSWORD, made["key"], digest]
    unpack = api.kernel.journal.unpack
    text = codec.dumps([[unpack(row.args), unpack(row.result), unpack(row.error)] for row in acts(api)]).decode()
    assert made["id"] in text and "(hidden)" in text
    assert not any(secret in text for secret in secrets)


async def test_an_act_is_permitted_by_what_its_caller_holds_and_a_refusal_is_a_row(api: Gate) -> None:
    for role in ("user", "viewer"):
        with pytest.raises(PermissionDenied, match="agents:write"):
            await does(api, "agents.create", "ann", role, definition={"name": "bot", "model": "scripted"})
    with pytest.raises(PermissionDenied, match="models:write"):
        await does(api, "models.remove", "ann", "admin", name="scripted")
    assert "bot" not in api.system.agents.names()
    assert [(row.name, row.principal, row.outcome) for row in acts(api)[-3:]] == [
        ("agents.create", "ann", "error"), ("agents.create", "ann", "error"), ("models.remove", "ann", "error"),
    ]  # fmt: skip


async def test_a_front_end_that_brings_nobodys_authority_has_none(api: Gate) -> None:
    with pytest.raises(PermissionDenied, match="authority"):
        await (await api.kernel.service("another gateway")).act("agents.delete", name="assistant")
    assert "assistant" in api.system.agents.names()


async def test_what_the_system_does_by_itself_is_an_act_too(api: Gate) -> None:
    await api.system.anomalies.quarantine("acme", "bot", "it was odd")
    row = [row for pid in api.kernel.table.named("service/system", "acme") for row in api.kernel.journal.rows(pid)][-1]
    assert (row.name, codec.loads(row.decision or b"")["key"]) == ("anomalies.quarantine", "system")


async def test_processes_administer_nothing(api: Gate) -> None:
    caught: list[LLMAgentOSError] = []

    async def program(sys: Sys, args: Any, state: Any) -> None:
        by = authority(Caller("default", "owner", ROLES["owner"], "forged"))
        for act in ACTS:
            for handle in (sys, sys.under(by)):
                try:
                    await handle.act(act, name="assistant", spec=Hidden(None))
                except PermissionDenied as error:
                    caught.append(error)

    api.kernel.programs["usurper"] = Program(program)
    await api.system.sys.wait(await api.system.sys.spawn("usurper"), timeout=10)
    assert len(caught) == 2 * len(ACTS) and "assistant" in api.system.agents.names()


async def test_what_fails_changes_nothing(api: Gate) -> None:
    status, _ = await api.post("/v1/agents", {"name": "bot", "model": "no such model"})
    assert status == 404 and "bot" not in api.system.agents.names()
    row = acts(api)[-1]
    assert (row.name, row.outcome) == ("agents.create", "error") and row.decision is None


async def test_changes_at_once_come_one_after_the_other(api: Gate) -> None:
    agents = api.system.agents
    definition = {"name": "bot", "model": "scripted"}
    made = await asyncio.gather(*(agents.create(definition) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in made if isinstance(each, BaseException)] == [Conflict] * 2
    changes = [{"prompt": "Be brief."}, {"description": "brief"}, {"nice": 2}]
    versions = [each.version for each in await asyncio.gather(*(agents.configure("bot", each) for each in changes))]
    assert versions == [2, 3, 4]
    spec = agents.get("bot").spec
    assert (spec.prompt, spec.description, spec.nice) == ("Be brief.", "brief", 2)


async def test_talking_to_an_agent_that_does_not_run_yet_is_no_administration(api: Gate) -> None:
    _, key = await api.post("/v1/keys", {"roles": ["user"], "principal": "ann"})
    ann = {"headers": {"Authorization": f"Bearer {key['key']}"}}
    status, _ = await api.post("/v1/agents/assistant/messages", {"text": "hi"}, **ann)
    assert status == 200


async def test_who_is_erased_is_in_no_row_of_an_act_either(api: Gate) -> None:
    """Also not in those of others: who gave them a key, or answered what was asked about their work."""
    name = "ann.smith@mail.example"
    await api.post("/v1/keys", {"roles": ["user"], "principal": name})
    await api.ask("PUT", "/v1/privacy/consent", json={"principal": name, "learning": True})
    question = Question("q", 1, "default", name, "clerk", "pay", {"to": name}, {}, name)
    api.kernel.worker("asks", api.system.approvals.ask(question))
    await asyncio.sleep(0)
    assert (await api.post("/v1/approvals/q", {"allow": False}))[1]["arguments"] == {"to": name}
    _, erased = await api.post("/v1/privacy/erase", {"principal": name, "prove": [name]})
    assert erased["found"] == {name: []}


async def test_a_start_does_not_create_again_what_is_there(tmp_path: Path, models_folder: Path) -> None:
    for _ in range(2):
        async with gate(tmp_path / "data") as api:
            made = [row for row in acts(api) if row.name == "agents.create"]
            assert [row.outcome for row in made] == ["ok"]
