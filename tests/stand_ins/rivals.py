"""People with keys of one system, a furnished one and a rival: every route filled with the names of things."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from llmagent_os import File, ToolKit
from llmagent_os.core.records import Document, Place, Question
from llmagent_os.knowledge.memory import Memory
from llmagent_os.plugins import hookimpl
from tests.stand_ins.gateway import Gate, user

SECRET = "peregrine"  # in everything that the first tenant has
TOOLS = ToolKit()
WHO: list[tuple[str, str, str]] = []


@TOOLS.add
def draw(title: str) -> File:
    """Draw a picture."""
    return File(f"{title}.svg", f"<svg>{title}</svg>".encode(), "image/svg+xml")


class Plugin:
    """A tool, and a filter that notes for whom it was called."""

    @hookimpl
    def tools(self) -> Any:
        return TOOLS

    @hookimpl
    def filters(self) -> Any:
        async def note(call: Any, process: Any, proceed: Any) -> Any:
            if call.name == "call":
                WHO.append((call.args["tool"], call.tenant, call.principal))
            return await proceed(call)

        return [note]


class Tenant:
    """Somebody with a key."""

    def __init__(self, api: Gate, key: dict[str, Any]) -> None:
        self.api, self.key = api, key

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.key['key']}", **headers}
        return await self.api.ask(method, path, json=body, headers=sent)


async def tenant(api: Gate, name: str, principal: str = "ann", role: str = "admin") -> Tenant:
    """Somebody with a key of a tenant that holds every tool."""
    if name != "default":  # which is the machine's owner's, and holds all there is
        assert (await api.ask("PUT", f"/v1/tenants/{name}", json={"tools": None}))[0] == 200
    _, made = await api.post("/v1/keys", {"roles": [role], "tenant": name, "principal": principal})
    return Tenant(api, made)


BODIES: dict[str, Any] = {
    "POST /v1/chat/completions": {"model": "{name}", "messages": user("hi")},
    "POST /v1/completions": {"model": "{name}", "prompt": "hi"},
    "POST /v1/responses": {"model": "scripted", "input": "hi", "previous_response_id": "{response}"},
    "POST /v1/responses/input_tokens": {"model": "scripted", "input": "hi", "previous_response_id": "{response}"},
    "POST /v1/conversations": {"items": user("hi")},
    "POST /v1/conversations/{conversation}": {"metadata": {"a": "b"}},
    "POST /v1/conversations/{conversation}/items": {"items": user("hi")},
    "POST /v1/messages": {"model": "{name}", "messages": user("hi")},
    "POST /v1/messages/count_tokens": {"model": "{name}", "messages": user("hi")},
    "POST /v1/embeddings": {"model": "{name}", "input": "hi"},
    "POST /v1/route": {"model": "{name}", "messages": user("hi")},
    "POST /v1/models": {"name": "x", "engine": "scripted"},
    "POST /v1/agents": {"name": "fresh", "model": "scripted"},
    "PUT /v1/agents/{name}": {"name": "{name}", "model": "nothing"},
    "PATCH /v1/agents/{name}": {"prompt": "x"},
    "PUT /v1/agents/{name}/files/{path:path}": "x",
    "POST /v1/agents/{name}/scale": {"replicas": 1},
    "POST /v1/agents/{name}/nice": {"nice": 1},
    "POST /v1/agents/{name}/messages": {"text": "hi"},
    "POST /v1/processes": {"program": "nothing"},
    "POST /v1/processes/{pid}/nice": {"nice": 1},
    "POST /v1/approvals/{identifier}": {"allow": True},
    "POST /v1/tools/{name}": {"arguments": {}},
    "POST /v1/keys": {"scopes": ["chat"], "principal": "ann"},
    "POST /v1/privacy/erase": {"principal": "ann", "prove": ["nothing"]},
    "PUT /v1/anomalies/{name}": {"reason": "x"},
    "PUT /v1/triggers/{name}": {"name": "{name}", "agent": "{name}", "every": 3600},
    "POST /v1/triggers/{name}/fire": {"input": "x", "wait": 0},
    "PUT /v1/memory/{memory}": {"text": "x"},
    "POST /v1/topics/{topic:path}/retry": {"group": "g", "of": "tenant"},
    "POST /v1/topics/{topic:path}/tries": {"group": "g", "of": "tenant", "tries": 2},
    "POST /v1/models/{name}/adapters": {"source": "nothing"},
    "POST /v1/tasks/{task}/feedback": {"good": True},
    "PUT /v1/privacy/consent": {"learning": True, "principal": "ann"},
}


async def talk(owner: Tenant) -> dict[str, str]:
    """A response, and a conversation with an item, each with the secret in it."""
    status, kept = await owner.ask("POST", "/v1/responses", {"model": "scripted", "input": SECRET})
    assert status == 200, kept
    status, begun = await owner.ask("POST", "/v1/conversations", {"items": user(SECRET), "metadata": {"is": SECRET}})
    assert status == 200, begun
    at = f"/v1/conversations/{begun['id']}/items"
    return {"response": kept["id"], "conversation": begun["id"], "item": (await owner.ask("GET", at))[1]["last_id"]}


async def keep(owner: Tenant, agent: str) -> str:
    """A file in a workspace, with the secret in it; returns its path."""
    status, kept = await owner.ask("PUT", f"/v1/agents/{agent}/files/{SECRET}.txt", SECRET)
    assert status == 200, kept
    return str(kept["path"])


async def furnished(owner: Tenant, api: Gate) -> dict[str, str]:
    """One of everything, each with the secret in it; returns their names."""
    agent = f"{SECRET}-agent"
    status, _ = await owner.ask("POST", "/v1/agents", {"name": agent, "model": "scripted", "tools": ["draw"]})
    assert status == 201
    path, task = f"/v1/agents/{agent}/messages", f"{SECRET}-task"
    body = {"text": f'call draw with {{"title": "{SECRET}"}}', "session": f"{SECRET}-session"}
    status, answer = await owner.ask("POST", path, body, **{"Idempotency-Key": task})
    assert status == 200, answer
    blob = next(part["blob"] for part in answer["reply"]["parts"] if "blob" in part)
    file = await keep(owner, agent)
    processes = (await owner.ask("GET", "/v1/processes"))[1]["processes"]
    pid = next(process["pid"] for process in processes if process["name"] == f"{agent}@{SECRET}-session")
    identifier = f"{SECRET}-question"
    question = Question(identifier, pid, "acme", "ann", agent, "draw", {"title": SECRET}, {}, SECRET)
    api.kernel.worker("asks", api.system.approvals.ask(question))
    await asyncio.sleep(0)
    await api.system.anomalies.quarantine("acme", agent, SECRET)
    return {"pid": str(pid), "task": task, "blob": blob, "name": agent, "key": owner.key["id"], "question": identifier,
            "path": file, "memory": await remembered(owner, api, agent), "session": f"{SECRET}-session",
            **await talk(owner)}  # fmt: skip


async def remembered(owner: Tenant, api: Gate, agent: str) -> str:
    """A memory that an agent has for Ann, with the secret in it; returns its number."""
    await Memory(api.system.knowledge).keep(Place("acme", agent, "ann"), Document("", f"The word is {SECRET}"))
    (found,) = (await owner.ask("GET", f"/v1/memory?agent={agent}"))[1]["memories"]
    return str(found["memory"])


NOWHERE = {
    "pid": "999999", "response": "resp_nobodys", "conversation": "conv_nobodys", "item": "msg_nobodys",
    "task": "nobodys", "blob": "0" * 32, "name": "nobodys", "key": "key-nobodys", "question": "nobodys",
    "path": "nobodys", "memory": "999999", "session": "nobodys",
}  # fmt: skip


def filled(route: str, things: dict[str, str]) -> tuple[str, str, Any]:
    """A route's method, path and body with the names of things in it."""
    method, path = route.split()
    names = (
        {"topic": "nothing", "adapter": "0" * 64}
        | things
        | {"identifier": things["question" if "approvals" in path else "key"]}
    )
    if "blobs" in path:
        names["name"] = things["blob"]
    path = re.sub(r"\{(\w+)(:path)?\}", lambda found: names[found[1]], path)
    if path == "/v1/events":  # all there are, and to the end
        path += "?after=0&follow=false"

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], value) if isinstance(value, str) else value

    return method, path, fill(BODIES.get(route))


def blurred(answer: Any, things: dict[str, str]) -> str:
    """An answer without the names that it was asked by."""
    text = str(answer)
    for value in sorted(things.values(), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])", "*", text)
    return text
