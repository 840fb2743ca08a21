"""REST: flows, what is wrong with one, and their runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field, model_validator

from ..agent.spec import AgentSpec, parse, stored
from ..boot.flows import again, check, graph_of, world
from ..boot.planning import is_planner, planned, settings_of
from ..core.errors import InvalidRequest, LLMAgentOSError, not_found
from ..core.outside import outside
from ..core.records import Json
from ..flow import compose, graph
from ..flow.draw import mermaid, progress
from ..flow.steps import is_flow
from ..flow.svg import svg
from ..flow.trace import Trace, leaves_rows, node_of
from ..kernel.process import Process
from .desk import Desk, Here
from .rest_agents import LONGEST, WAIT, Names, Strict
from .rest_events import LIFE
from .rest_runs import RunStream, rows_of
from .routes import Route

RUNS = 100


class Text(Strict):
    """Definitions as they stand in a file: YAML or JSON, of flows and of agents that they name."""

    text: str


class Waited(Strict):
    """For how long somebody waits for a run."""

    wait: float = Field(WAIT, ge=0, le=LONGEST, description="seconds to wait for its end; 0 answers at once")


class Given(Waited):
    """What a run is given: any `input`, or `text`, which is read as JSON where the flow does not take text."""

    input: Any = None
    text: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Given:
        if self.text is not None and self.input is not None:
            raise ValueError("send either input or text")
        return self


class Again(Waited):
    """From which node on a run is done again, with what it was given."""

    from_: str = Field(alias="from")


class Fork(Again):
    """The same with another input for that node, whatever its template says."""

    input: Any


class Alive(Strict):
    """How often a run that is followed shows that it is there."""

    heartbeat: float = LIFE


class Other(Strict):
    """With which run one is compared."""

    other: int


class Drawn(Strict):
    """As what it is drawn beside Mermaid's words."""

    svg: bool = Field(False, description="as an SVG image too")


class Newest(Strict):
    """How many runs."""

    limit: int = Field(20, ge=1, le=RUNS)


class Run(BaseModel):
    """A run: what it has made or why it failed, and how far each node is; of a planner also what it decided."""

    pid: int
    flow: str
    version: int
    status: str
    done: bool
    output: Any = None
    error: str | None = None
    created: float
    plan: dict[str, Any] | None = Field(
        None, description="of a planner: by (whom the plan is), sources, missing, notes, decisions with their reasons"
    )
    mermaid: str = Field("", description="the graph as a picture, with these states")
    svg: str | None = Field(None, description="the same as an image, where `svg` was asked for")
    nodes: dict[str, dict[str, Any]] = Field(
        description="by node: state (waiting, running, asks, done, failed, undone, not done), tries, seconds, tokens, "
        "money, error, pids"
    )


class Flows:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["flows"])
        router.get("/v1/flows")(self.list)
        router.post("/v1/flows/check")(self.check)
        router.get("/v1/flows/{name}")(self.get)
        router.post("/v1/flows/{name}/runs", status_code=201)(self.run)
        router.get("/v1/flows/{name}/runs")(self.history)
        router.get("/v1/runs/{pid}")(self.state)
        router.post("/v1/runs/{pid}/retry", status_code=201)(self.retry)
        router.post("/v1/runs/{pid}/fork", status_code=201)(self.fork)
        router.get("/v1/runs/{pid}/diff")(self.diff)
        router.get("/v1/runs/{pid}/events", response_class=Response)(self.events)
        return router

    async def list(self, here: Here, page: Annotated[Names, Query()]) -> dict[str, Any]:
        """The flows by name, with version, description and how many nodes each has. Flows are agents."""
        found: list[dict[str, Any]] = []
        for name in here.agents.names():
            if len(found) == page.limit:
                break
            if name > page.after and (defined := here.agents.get(name)).spec.flow is not None:
                told = {"name": name, "version": defined.version, "description": defined.spec.description}
                found.append(told | {"nodes": len(graph_of(defined.spec).nodes)})
        return {"flows": found}

    async def check(self, here: Here, body: Text) -> dict[str, Any]:
        """What is wrong with the flows of a file, each fault with its node and line; nothing is stored.

        `graph` is a flow in nodes and edges, null where it cannot be read, and `definition` the agent that it is.
        """
        definitions = await outside(graph.load, body.text, "the file", source="the file")
        specs = {each.name: each for each in map(parse, definitions)}

        def find(name: str) -> AgentSpec:
            if name in specs:
                return specs[name]
            if not here.agents.knows(name):
                raise not_found("agent", name, [*specs, *here.agents.near(name)])
            return here.agents.get(name).spec

        flows = [(specs[each["name"]], each["flow"]) for each in definitions if each.get("flow") is not None]
        return {"flows": [_checked(here, spec, data, find) for spec, data in flows]}

    async def get(self, here: Here, name: str, query: Annotated[Drawn, Query()]) -> dict[str, Any]:
        """A flow's graph: as JSON, for an editor, and as a picture in Mermaid's words, or as an image."""
        defined = here.agents.get(name)
        found = graph_of(defined.spec)
        told = {"name": name, "version": defined.version, "graph": found.data(), "mermaid": mermaid(found)}
        return told | ({"svg": await asyncio.to_thread(svg, found)} if query.svg else {})

    async def run(self, here: Here, name: str, body: Given) -> Run:
        """Run a flow, or a planner, in a process of its own, and wait for its end."""
        _runs(here.agents.get(name).spec)
        said = {"text": body.text} if body.text is not None else {"input": body.input}
        return await self._begun(here, name, said, body.wait)

    async def retry(self, here: Here, pid: int, body: Again) -> Run:
        """Run a flow again as an earlier run, from a node on: what is not after it is taken over."""
        return await self._again(here, pid, body, {})

    async def fork(self, here: Here, pid: int, body: Fork) -> Run:
        """Run a flow again as an earlier run, which stays as it is, from a node on that is given something else."""
        return await self._again(here, pid, body, {"input": body.input})

    async def _again(self, here: Desk, pid: int, body: Again, given: dict[str, Json]) -> Run:
        spec, journal, node = _spec(here.process(pid)), here.system.kernel.journal, body.from_
        flow = graph_of(here.agents.get(spec.name).spec)
        again(flow, node)
        if given and leaves_rows(flow.by_id[node]):
            begun = set(map(node_of, Trace(await rows_of(journal, pid), journal.unpack).pieces()))
            if node not in begun:
                told = f"{node!r} was not begun in run {pid}, so what it is given would be left out"
                raise InvalidRequest(f"{told}; begun were: {', '.join(sorted(begun)) or 'none'}", parameter="from")
        return await self._begun(here, spec.name, {"retry": pid, "from": node, **given}, body.wait)

    async def diff(self, here: Here, pid: int, query: Annotated[Other, Query()]) -> dict[str, Any]:
        """Two runs of a flow: where their work came out otherwise, and how much of it is the same."""
        journal, both = here.system.kernel.journal, [await self._state(here, each) for each in (pid, query.other)]
        one, two = [Trace(await rows_of(journal, each.pid), journal.unpack).pieces() for each in both]
        differs = {piece: [one.get(piece), two.get(piece)] for piece in one | two if one.get(piece) != two.get(piece)}
        runs = [each.model_dump(exclude={"mermaid", "svg"}) for each in both]
        return {"runs": runs, "differs": differs, "same": len(one | two) - len(differs)}

    async def events(
        self, here: Here, pid: int, query: Annotated[Alive, Query()],
        last_event_id: Annotated[int | None, Header(ge=0, lt=2**63)] = None,
    ) -> Response:  # fmt: skip
        """Follow a run until its end, from its beginning on: an event `nodes` whenever some of them begin or end, at
        last `end`. After a break `Last-Event-ID` goes on after that one.
        """
        process = here.process(pid)
        if not is_planner(process):
            _spec(process)
        return RunStream(here, process, query.heartbeat, last_event_id or 0, lambda: _told(here, process))

    async def _begun(self, here: Desk, name: str, said: Json, wait: float) -> Run:
        pid, task = await here.agents.once(name, said, uuid.uuid4().hex)
        with suppress(TimeoutError, LLMAgentOSError):  # the run says how it stands
            await here.agents.reply(task, wait)
        for _ in range(100):  # its reply is there a moment before its end
            if wait == 0 or here.process(pid).life.ended or here.process(pid).status != "running":
                break
            await asyncio.sleep(0.01)
        return await self._state(here, pid)

    async def history(self, here: Here, name: str, query: Annotated[Newest, Query()]) -> dict[str, Any]:
        """The newest runs of a flow that had a process of their own, the last first."""
        _runs(here.agents.get(name).spec)
        store, sight = here.system.kernel.store, here.caller.sight
        pids = await asyncio.to_thread(store.scan, "past.runs", here.caller.tenant, f"{name}~once-", sight, query.limit)
        found = [here.process(pid) for (pid,) in pids]
        return {
            "runs": [_told(here, each) for each in found if each.parent == 0 and (is_flow(each) or is_planner(each))]
        }

    async def state(self, here: Here, pid: int, query: Annotated[Drawn, Query()]) -> Run:
        """A run with the state of each node, live."""
        return await self._state(here, pid, query.svg)

    async def _state(self, here: Desk, pid: int, drawn: bool = False) -> Run:
        process = here.process(pid)
        kernel, flow = here.system.kernel, None if is_planner(process) else graph_of(_spec(process))
        rows, told = await rows_of(kernel.journal, pid), _told(here, process)
        made, decisions = (flow, None) if flow is not None else planned(rows, kernel.journal.unpack)
        if flow is None:
            told["plan"] = told["plan"] or {"decisions": decisions}
        if made is None:
            return Run(**told, nodes={})

        def child(number: int) -> Mapping[str, Any] | None:
            found = kernel.table.find(number)
            return found.info() if found is not None else None

        nodes = progress(made, rows, kernel.journal.unpack, child, process.life.phase != "running")
        image = await asyncio.to_thread(svg, made, nodes) if drawn else None
        return Run(**told, nodes=nodes, mermaid=mermaid(made, nodes), svg=image)


def _checked(here: Desk, spec: AgentSpec, data: Any, find: Any) -> dict[str, Any]:
    try:
        made = compose.read(data).data()
    except InvalidRequest:
        made = None
    said = {"name": spec.name, **{field: each for field, each in spec.lean().items() if field != "flow"}}
    return {"name": spec.name, "faults": list(_faults(here, spec, data, find)), "graph": made, "definition": said}


def _faults(here: Desk, spec: AgentSpec, data: Any, find: Any) -> Iterator[str]:
    system = here.system
    try:
        made = compose.read(data)
    except InvalidRequest as error:
        yield error.message
        return
    functions = system.plugins.mapping("functions")
    yield from map(str, check(made, world(spec, system.tools, functions, find)))


def _runs(spec: AgentSpec) -> None:
    """Raise InvalidRequest for an agent that is neither a flow nor a planner."""
    graph_of(spec) if spec.plan is None else settings_of(spec)


def _spec(process: Process) -> AgentSpec:
    if is_planner(process):
        text = f"run {process.pid} is a planner's, which plans anew each time: have it run again with the same goal"
        raise InvalidRequest(text, parameter="pid")
    if not is_flow(process):
        raise InvalidRequest(
            f"process {process.pid} is no run of a flow; `flow history NAME` lists them", parameter="pid"
        )
    return stored(process.args["spec"])


def _told(here: Desk, process: Process) -> dict[str, Any]:
    result = here.system.kernel.journal.unpack(process.result)
    error = process.reason if process.life.ended and process.life.phase != "done" else None
    if isinstance(result, Mapping) and "error" in result:
        error = result["error"]["message"]
    said = result if isinstance(result, Mapping) else {}
    return {
        "pid": process.pid, "flow": process.args["spec"]["name"], "version": process.args.get("version", 0),
        "status": "failed" if error else process.status, "done": process.life.ended,
        "output": said.get("output", said.get("text")), "error": error, "created": process.created,
        "plan": said.get("plan"),
    }  # fmt: skip
