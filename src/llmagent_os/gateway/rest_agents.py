"""REST: agents from definition to termination, and messages to them."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.types import Receive, Scope, Send

from ..agent.manager import PAGE, REPLICAS, AgentManager
from ..agent.spec import AgentSpec
from ..agent.steering import When
from ..core import codec, outcomes
from ..core.errors import InvalidRequest, LLMAgentOSError
from ..core.records import Chunk, Json
from .answering import live
from .asgi import Exchange
from .desk import Desk, Here
from .errors import rest_body
from .lookout import lookout, standing
from .notices import Notice
from .routes import Route

WAIT = 60.0  # seconds
LONGEST = 3600.0  # seconds


class Strict(BaseModel):
    """A body or query without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Replicas(Strict):
    """How many processes share an agent's work."""

    replicas: int = Field(1, ge=0, le=REPLICAS)


ONE = Replicas()


class Options(Strict):
    """How one message is answered."""

    sampling: dict[str, Any] = Field(default_factory=dict, description="over the agent's own; see `AgentSpec.sampling`")
    answer_schema: dict[str, Any] | None = Field(None, alias="schema", description="JSON schema of the answer")
    adapter: str | None = Field(None, description="a LoRA adapter of the agent's model; empty: none")
    outcome: dict[str, Any] | None = Field(
        None, description="what the result has to be, worked on until it is: schema, function, tests, or rubric and "
        "judge; and tries. The reply has the `verdict` {passed, why, by, tries}",
    )  # fmt: skip

    @field_validator("outcome")
    @classmethod
    def _outcome(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            outcomes.read(value)
        except InvalidRequest as error:
            raise ValueError(error.message) from None
        return value


class Said(Strict):
    """A message to an agent: `text`, or any `body` that its loop understands."""

    text: str | None = Field(None, min_length=1)
    body: Any = Field(
        None,
        description="such as {messages: [...]} for a caller that keeps the history itself, or {rewind: true}, which "
        "has the session forget the last message and its answer",
    )
    session: str | None = Field(None, description="the conversation it belongs to; without one it stands alone")
    when: When = Field(
        "queue", description="of a text to a session whose turn runs: queue (it is the next turn), steer (it is taken "
        "in at the next step), interrupt (at once: what is done is broken off). What was taken in is answered with "
        "`finish: steered`; the turn's answer goes to who began it",
    )  # fmt: skip
    options: Options | None = None
    wait: float = Field(WAIT, ge=0, le=LONGEST, description="seconds to wait for the reply; 0 answers at once")
    stream: bool = Field(
        False,
        description="answer in events: `task`, `chunk` {text}, then `reply` or `error`; meanwhile `question` and "
        "`answered` (as `GET /v1/approvals` has them), `waiting` {status, pid, text}",
    )
    calls: bool = Field(
        False,
        description="with `stream`: also `calling` {tool} before the agent calls one; who holds `processes:read` is "
        "told the `arguments` too; and `reading` {read, of} while a long prompt is read, in tokens",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Said:
        if (self.text is None) == (self.body is None):
            raise ValueError("send either text or body")
        return self

    def message(self) -> Json:
        """What the agent is sent."""
        body = {"text": self.text} if self.text is not None else self.body
        if self.when != "queue":
            if not isinstance(body, dict):
                raise InvalidRequest("`when` goes with text", parameter="when")
            body = {**body, "when": self.when}
        if self.options is None:
            return body
        if not isinstance(body, dict):
            raise InvalidRequest("options go with text, or with a body that is an object", parameter="options")
        return {**body, "options": self.options.model_dump(by_alias=True, exclude_unset=True)}


class Waiting(Strict):
    """How long to wait."""

    wait: float = Field(0, ge=0, le=LONGEST, description="seconds")


class Whose(Strict):
    """Whose task it is."""

    principal: str | None = Field(None, description="the caller's own without it; another's needs the scope `people`")


class Answered(Waiting, Whose):
    """A task's answer."""


class Names(Strict):
    """A part of a listing: names after `after`."""

    after: str = Field("", max_length=64)
    limit: int = Field(100, ge=1, le=PAGE)


class Niceness(Strict):
    """How a process, or all of an agent's, stands in line."""

    nice: int = Field(ge=-20, le=19, description="-20 goes first, 19 last")


class Pids(BaseModel):
    """The processes that were started, kept or changed."""

    pids: list[int]


class Task(BaseModel):
    """A message that was accepted: it survives a crash, and is answered once."""

    task: str
    done: bool
    status: str | None = Field(None, description="of its process, while it is not done; `asks`: see `questions`")
    questions: list[dict[str, Any]] = Field(
        default_factory=list, description="what it waits for a person to allow, as `GET /v1/approvals` has it"
    )
    waiting: str | None = Field(None, description="what else it waits for")
    reply: dict[str, Any] | None = Field(None, description="text, parts, finish, usage, model; files are blobs")


class Change(BaseModel):
    """A field of a definition, before and after."""

    old: Any
    new: Any


class Check(Strict):
    """Whether anything is done."""

    check: bool = Field(False, description="only say what would be changed, and what is wrong with the definition")


class Defined(BaseModel):
    """An agent's definition and its version, counted from 1."""

    name: str
    version: int
    spec: dict[str, Any]


class Applied(Defined):
    """What a definition changed: `changed` has each field with what it was and what it is."""

    created: bool
    changed: dict[str, Change]


class Agents:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, one = APIRouter(route_class=Route, tags=["agents"]), "/v1/agents/{name}"
        router.get("/v1/agents")(self.list)
        router.post("/v1/agents", status_code=201)(self.create)
        router.get(one)(self.monitor)
        router.put(one)(self.apply)
        router.patch(one)(self.configure)
        router.delete(one, status_code=204)(self.delete)
        router.post(f"{one}/deploy")(self.deploy)
        router.post(f"{one}/scale")(self.scale)
        router.post(f"{one}/pause")(self.pause)
        router.post(f"{one}/resume")(self.resume)
        router.post(f"{one}/terminate")(self.terminate)
        router.post(f"{one}/nice")(self.nice)
        router.post(f"{one}/messages", response_model=Task, responses={202: {"model": Task}})(self.send)
        router.get("/v1/tasks/{task}", response_model=Task, responses={202: {"model": Task}})(self.task)
        router.delete("/v1/tasks/{task}", status_code=204)(self.cancel)
        return router

    async def list(self, here: Here, page: Annotated[Names, Query()]) -> dict[str, Any]:
        """The agents by name, each with its version, model, tools, replicas and the sessions that the caller sees."""
        return {"agents": here.agents.listed(page.after, page.limit)}

    async def create(self, here: Here, definition: AgentSpec) -> Defined:
        """Define an agent; its first message, or `deploy`, starts it."""
        return self._defined(await here.agents.create(definition.data()))

    async def monitor(self, here: Here, name: str) -> dict[str, Any]:
        """An agent's definition, its processes with their states and usage, and the sum of that usage."""
        return await here.agents.monitor(name)

    async def apply(self, here: Here, name: str, definition: AgentSpec, query: Annotated[Check, Query()]) -> Applied:
        """Create an agent, or change one to be as this definition says, with what it leaves out as by default."""
        if definition.name != name:
            raise InvalidRequest(f"this is the definition of {definition.name!r}, not of {name!r}", parameter="name")
        done = await here.agents.apply(definition, query.check)
        stored = self._defined(done.defined).model_dump()
        changed = {field: Change(old=old, new=new) for field, (old, new) in done.changed.items()}
        return Applied(**stored, created=done.created, changed=changed)

    async def configure(
        self, here: Here, name: str, changes: Annotated[dict[str, Any], Body(description="fields of AgentSpec")]
    ) -> Defined:
        """Change some fields, which makes a new version; running processes use it from their next turn on."""
        return self._defined(await here.agents.configure(name, changes))

    def _defined(self, defined: Any) -> Defined:
        return Defined(name=defined.spec.name, version=defined.version, spec=defined.spec.data())

    async def delete(self, here: Here, name: str) -> None:
        """End an agent and forget its definition."""
        await here.agents.delete(name)

    async def deploy(self, here: Here, name: str, body: Replicas = ONE) -> Pids:
        """Start an agent, with one replica unless more are asked for."""
        return Pids(pids=await here.agents.deploy(name, body.replicas))

    async def scale(self, here: Here, name: str, body: Replicas) -> Pids:
        """Start or retire replicas; one that retires answers first what it was sent."""
        return Pids(pids=await here.agents.scale(name, body.replicas))

    async def pause(self, here: Here, name: str) -> Pids:
        """Hold every process of an agent at its next step."""
        return Pids(pids=await here.agents.pause(name))

    async def resume(self, here: Here, name: str) -> Pids:
        """Let the paused processes of an agent go on."""
        return Pids(pids=await here.agents.resume(name))

    async def terminate(self, here: Here, name: str) -> Pids:
        """End every process of an agent now; what they have not answered is answered with an error."""
        return Pids(pids=await here.agents.terminate(name))

    async def nice(self, here: Here, name: str, body: Niceness) -> Pids:
        """Change how the living processes of an agent stand in line."""
        return Pids(pids=await here.agents.renice(name, body.nice))

    async def send(
        self,
        here: Here,
        name: str,
        said: Said,
        request: Request,
        response: Response,
        idempotency_key: Annotated[
            str | None, Header(description="names the task: the same key again is the same task, not run twice")
        ] = None,
    ) -> Any:
        """Send a message and wait for its reply; 202 with the task where that takes longer than `wait` seconds."""
        if said.stream:
            return Live(self, here, name, said, idempotency_key)
        task = await here.agents.send(name, said.message(), said.session, idempotency_key)
        return await self._wait(here, here.agents, task, said.wait, request, response)

    async def task(
        self, here: Here, task: str, query: Annotated[Answered, Query()], request: Request, response: Response
    ) -> Task:
        """The reply to a task, 202 while there is none, or the error that it ended with."""
        return await self._wait(here, here.tasks(query.principal), task, query.wait, request, response)

    async def cancel(self, here: Here, task: str, query: Annotated[Whose, Query()]) -> None:
        """Stop the turn that works on a task, or take back one that nobody took up: its reply is an error."""
        await here.tasks(query.principal).cancel(task)

    async def _wait(
        self, here: Desk, agents: AgentManager, task: str, seconds: float, request: Request, response: Response
    ) -> Task:
        try:
            async with Exchange(request.scope, request.receive).attended():
                reply = await agents.reply(task, seconds)
            return Task(task=task, done=True, reply=reply)
        except TimeoutError:
            response.status_code = 202
            response.headers["Location"] = f"/v1/tasks/{task}"
            now = standing(here, agents, task)
            waiting = now.waiting["text"] if now.waiting is not None else None
            return Task(task=task, done=False, status=now.status, questions=now.questions, waiting=waiting)

    async def events(self, http: Exchange, here: Desk, name: str, said: Said, key: str | None) -> None:
        """Answer with events. A caller that leaves ends only the events: the task goes on."""
        task = key or uuid.uuid4().hex
        with here.agents.watch(task) as chunks:
            await here.agents.send(name, said.message(), said.session, task)
            async with http.attended(), aclosing(live(chunks, here.agents.reply(task, LONGEST), said.calls)) as pieces:
                await http.events(_event("task", {"task": task}))
                try:
                    with lookout(here, here.agents, task, chunks.put_nowait, said.calls):
                        async for piece in pieces:
                            await http.events(_piece(piece, task, here))
                except (LLMAgentOSError, TimeoutError) as error:
                    await http.events(_event("error", rest_body(error)))
        await http.end()


def _piece(piece: Chunk | Notice | dict[str, Json], task: str, here: Desk) -> bytes:
    if isinstance(piece, Chunk):
        return _event("chunk", {"text": piece.text})
    if isinstance(piece, Notice):
        told = piece.name != "calling" or "processes:read" in here.caller.scopes
        return _event(piece.name, piece.data if told else {"tool": piece.data["tool"]})
    return _event("reply", {**piece, "task": task})


def _event(name: str, data: Json) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + codec.dumps(data) + b"\n\n"


class Live(Response):
    """An answer in events, sent as they come."""

    def __init__(self, agents: Agents, here: Desk, name: str, said: Said, key: str | None) -> None:
        super().__init__()
        self._work = (here, name, said, key)
        self._agents = agents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        await self._agents.events(Exchange(scope, receive, send), *self._work)
