"""What a flow asks of the kernel beyond what every program may: children with the origins of what they are given.

Four syscalls. Each row of them names nodes and holds results; what a node is given stands in its own process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core import codec
from ..core import declared as by
from ..core.errors import InvalidRequest, LLMAgentOSError, PermissionDenied
from ..core.errors import text as words
from ..core.ports import Syscall, own, uncovered
from ..core.records import Budget, Call, Grant, Json, Rule, agent_of
from ..core.sys import Sys
from ..kernel import budget
from ..kernel.kernel import Kernel
from ..kernel.process import Process, Program
from ..kernel.syscalls import Builtins
from .trace import Trace

LOOP = "flow"
"""The loop of agents that are flows."""
AGENT, TOOL = "agent", "flow_tool"
"""The programs of a flow's children."""
ASK = "ask"
"""The syscall by which a person is asked."""
PERSON = "person"
"""The kind of child that asks one."""
MONTH = 30 * 86400.0
Hire = Callable[[Call, str, Json], Awaitable[tuple[dict[str, Any], Sequence[Budget]]]]
"""What a process of an agent is started with, that answers one message; and on which accounts it draws."""


class Steps:
    """The syscalls. `hire` knows the agents."""

    def __init__(self, kernel: Callable[[], Kernel], hire: Hire) -> None:
        self._kernel, self._hire = kernel, hire

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table."""
        return {
            "flow_step": Syscall(self.step, 60.0, uncovered, own, spends=False, prompt=True),
            "flow_start": Syscall(self.start, 60.0, _hired, own, spends=False, prompt=True),
            "flow_collect": Syscall(self.collect, MONTH, uncovered, own, words=by.answered, spends=False, prompt=True),
            "flow_recall": Syscall(self.recall, 60.0, uncovered, own, spends=False, prompt=True, words=by.answered,
                                   takes={"pid": by.WHOLE, "without": (list,)}),
        }  # fmt: skip

    async def step(self, call: Call, process: Process) -> list[list[Json]]:
        """Call functions, one after the other: what came of each (see `called`), of those named first, then of more."""
        made: list[list[Json]] = call.args["work"].value()
        return made

    async def start(self, call: Call, process: Process) -> list[Json]:
        """Start children in one commit: of each the pid, or why it cannot be started."""
        return await self._all(call, process, call.args["children"].value)

    async def _all(self, call: Call, process: Process, children: Sequence[Mapping[str, Any]]) -> list[Json]:
        for draft in call.ledger.drawn(process, call.principal):
            budget.refuse(draft, "depth", draft.above + 1, draft.budget.depth)
        return [await self._started(call, process, each) for each in children]

    async def _started(self, call: Call, process: Process, child: Mapping[str, Any]) -> Json:
        drawn: Sequence[Budget] = ()
        try:
            if child["kind"] == AGENT:
                wanted, drawn = await self._hire(call, child["name"], child["body"])
            else:
                wanted = _alone(process, child)
            wanted["name"] += f"{process.pid}.{child['node']}"
            wanted["nice"] = max(wanted.get("nice", 0), process.nice)
        except LLMAgentOSError as error:
            return words(error.message)
        if child["budget"]:
            wanted["budget"] = dict(child["budget"])
        made_of = [*process.origins.get("args", ()), *process.origins.get("state", ()), *child["origins"]]
        origins = list(dict.fromkeys(made_of)) if is_flow(process) else None
        return Builtins(self._kernel()).child(call, process, wanted, tuple(drawn), origins)

    async def collect(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """Wait until one of some children has ended; what became of each that has.

        `of` holds their pids, and None or what says, told of that, which children to start in the same commit: their
        `nodes` and `pids` come last.
        """
        kernel, (of, follows) = self._kernel(), call.args["of"].value
        process.doing = "waiting"
        try:
            while not (ended := [row for pid in of if (row := kernel.table.get(pid)).life.ended]):
                await kernel.mail.news([f"end/{pid}" for pid in of])
        finally:
            process.doing = "running"
        call.origins = tuple(dict.fromkeys(o for row in ended for o in row.origins.get("result", ())))
        found = [self._outcome(row) for row in ended]
        if children := follows(found) if follows is not None else ():
            nodes = [each["node"] for each in children]
            found.append({"nodes": nodes, "pids": await self._all(call, process, children)})
        return found

    def _outcome(self, row: Process) -> dict[str, Json]:
        told: dict[str, Json] = {"pid": row.pid}
        if whose := row.origins.get("result"):
            told["origins"] = whose
        result = self._kernel().journal.unpack(row.result) if row.life.phase == "done" else None
        if row.life.phase != "done":
            return told | {"error": row.reason or "it was stopped"}
        if row.program != AGENT:
            return told | {"value": result}
        if not isinstance(result, Mapping) or "error" in result:
            return told | {"error": result["error"]["message"] if result else "it gave no answer"}
        verdict = result.get("verdict") or {}
        if verdict.get("passed") is False:
            return told | {"error": f"not accepted after {verdict['tries']} tries: {verdict['why']}"}
        return told | {"value": result.get("output", result.get("text")), "usage": result.get("usage")}

    async def recall(self, call: Call, process: Process) -> dict[str, Json]:
        """What an earlier run of the same flow, for the same person, was given, and what its pieces of work made.

        Raises NotFound, and InvalidRequest for what is no such run.
        """
        kernel, pid = self._kernel(), call.args["pid"]
        row = kernel.table.of(pid, call.tenant, call.principal)
        if not is_flow(row) or not is_flow(process) or row.args["spec"]["name"] != process.args["spec"]["name"]:
            raise InvalidRequest(f"process {pid} is no run of this flow", parameter="retry")
        found = Trace(kernel.journal.rows(pid), kernel.journal.unpack).recalled(call.args["without"])
        call.origins = tuple(dict.fromkeys(o for _, whose in found["known"].values() for o in whose))
        return found


def called(work: Callable[[], Json], label: str = "") -> list[Json]:
    """What a function returns, as it would be read back, if that is data: `[result]`, or `[null, error]`.

    Whatever it raises is its own. With a `label` that comes third.
    """
    made: list[Json]
    try:
        made = [codec.loads(codec.canonical(work()))]
    except Exception as error:  # other people's code
        made = [None, f"{type(error).__name__}: {words(error)}"]
    return [*made, *[None][: 2 - len(made)], label] if label else made


def _hired(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The agents that are started; a tool's process holds that tool alone, and is judged by itself."""
    return [("agents", each["name"]) for each in args["children"].value if each["kind"] == AGENT]


def is_flow(process: Process) -> bool:
    """Whether a process runs a graph, and nothing else: then what it passes on is made of what it says."""
    spec = process.args.get("spec") if process.program == AGENT and isinstance(process.args, Mapping) else None
    return isinstance(spec, Mapping) and spec.get("loop") == LOOP


def _alone(process: Process, child: Mapping[str, Any]) -> dict[str, Any]:
    """What the process is started with that calls a tool, or asks a person: it holds that alone, under the policy of
    the flow.
    """
    policy, asks, tool = process.grant.policy, child["kind"] == PERSON, child["name"]
    if not (asks or isinstance(child["body"], Mapping)):
        raise InvalidRequest(f"tool {tool} takes arguments by name, not {type(child['body']).__name__}")
    if child["ask"]:
        rule = replace(policy.tools.get(tool, Rule()), ask="always")
        policy = replace(policy, tools={**policy.tools, tool: rule})
    grant = Grant(() if asks else (tool,), models=(), agents=(), syscalls=(ASK,) if asks else (), policy=policy,
                  shared=process.grant.shared)  # fmt: skip
    args = {"asks": child["body"]} if asks else {"tool": tool, "arguments": child["body"]}
    name = f"{agent_of(process.name or 'flow')}~"
    return {"program": TOOL, "args": args, "name": name, "grant": codec.loads(codec.canonical(grant))}


async def tool(sys: Sys, args: Json, state: Json) -> Json:
    """The program of a tool's process: call it, or ask a person, and end with the result."""
    if "asks" not in args:
        return await sys.call(args["tool"], args["arguments"])
    try:
        return await sys.syscall(ASK, **args["asks"])
    except PermissionDenied as error:
        if args["asks"]["kind"] != "approve":
            raise
        return {"approved": False, "why": error.message}


PROGRAMS: Mapping[str, Program] = {TOOL: Program(tool)}
