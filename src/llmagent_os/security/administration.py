"""Administration: every act of it is a call of a service, permitted by what its caller holds, and journalled.

An act's row has who did it, with which key and scopes, and in its decision what changed: `wrote`, the digests of
records, which are committed with it, and `processes`. The audit log signs those (see `stamps`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..core.errors import PermissionDenied
from ..core.holdings import Holdings, everything, too_nice
from ..core.ports import Syscall, own
from ..core.records import Call, Json
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from .identity import SCOPES, Caller
from .stamps import written

SYSTEM = "service/system"
"""The one service that needs nobody's authority."""

Deed = Callable[[Call, Caller], Awaitable[Json]]
"""What does an act: `(call, by) -> result`; its records go into `call.writes`, what follows from them `call.after`."""


@dataclass(frozen=True, slots=True)
class Act:
    """An act: the scope that it takes, what it does, and how long it may take (seconds)."""

    scope: str
    about: str
    deadline: float = 60.0


ACTS: Mapping[str, Act] = {
    "agents.create": Act("agents:write", "Store a new agent."),
    "agents.configure": Act("agents:write", "Store a new version of an agent; its processes use it from then on."),
    "agents.delete": Act("agents:write", "End an agent's processes and forget its definition."),
    "agents.scale": Act("agents:write", "Start or retire replicas."),
    "agents.pause": Act("agents:write", "Hold every process of an agent at its next step."),
    "agents.resume": Act("agents:write", "Let the paused processes of an agent go on."),
    "agents.terminate": Act("agents:write", "End every process of an agent."),
    "agents.nice": Act("agents:write", "Change how the processes of an agent stand in line."),
    "tasks.cancel": Act("chat", "Stop the turn that works on a task, or take the task back."),
    "feedback.give": Act("chat", "Keep what a person says of an answer."),
    "files.put": Act("chat", "Put a file into the workspace of an agent and a person."),
    "knowledge.add": Act("chat", "Add a document to what is known.", 600.0),
    "knowledge.remove": Act("chat", "Remove the documents of a source.", 600.0),
    "knowledge.facts": Act("chat", "Add facts to what is known.", 600.0),
    "knowledge.forget": Act("chat", "Remove facts.", 600.0),
    "knowledge.merge": Act("chat", "Let two names stand for the same thing."),
    "knowledge.part": Act("chat", "Take the merging of two names back."),
    "knowledge.rules": Act("chat", "Keep a file of rules."),
    "knowledge.drop_rules": Act("chat", "Remove a file of rules."),
    "knowledge.extract": Act("chat", "Read facts in documents.", 86400.0),
    "knowledge.stop": Act("system", "Stop what has a folder be known; it goes on when it is asked for again."),
    "knowledge.sync": Act("system", "Have what is known of a folder be what is in it.", 86400.0),
    "memory.edit": Act("chat", "Have a memory of an agent's say something else.", 600.0),
    "memory.forget": Act("chat", "Forget memories of agents.", 600.0),
    "memory.pin": Act("chat", "Change a note that agents are always shown, or take it away."),
    "processes.pause": Act("processes:write", "Hold a process at its next step."),
    "processes.resume": Act("processes:write", "Let a paused process go on."),
    "processes.trigger": Act("processes:write", "Store a trigger, or change one."),
    "topics.retry": Act("processes:write", "Have a group of a topic be given dead letters once more."),
    "topics.tries": Act("processes:write", "Say after how many tries a group's messages are dead letters."),
    "processes.nice": Act("processes:write", "Change how a process stands in line."),
    "anomalies.quarantine": Act("processes:write", "Let no process of an agent call a tool or send a message."),
    "anomalies.release": Act("processes:write", "End a quarantine."),
    "approvals.answer": Act("approvals", "Allow or refuse what an agent waits for."),
    "keys.mint": Act("keys", "Make a key."),
    "keys.revoke": Act("keys", "End a key and all that were minted from it."),
    "tenants.grant": Act("tenants", "Say what the people and agents of a tenant may have."),
    "tenants.reset": Act("tenants", "Let a tenant have what is ordinary."),
    "accounts.credit": Act("system", "Give an account of a budget back what was drawn on it."),
    "privacy.consent": Act("privacy", "Say whether somebody's traffic may be learned from."),
    "privacy.erase": Act("privacy", "Erase everything that is a person's.", 86400.0),
    "privacy.tidy": Act("system", "Delete what is past its time.", 86400.0),
    "plugins.reload": Act("system", "Load the files of plugins again."),
    "models.add": Act("models:write", "Register a model."),
    "models.pull": Act("models:write", "Fetch a model.", 86400.0),
    "models.adapt": Act("models:write", "Serve a model with an adapter that was tuned for it.", 600.0),
    "models.unadapt": Act("models:write", "Serve a model without an adapter from now on.", 600.0),
    "models.remove": Act("models:write", "Close a model and forget it."),
}
"""All there are. What is not here is no act: nobody can do it."""


class Administration:
    """The acts, as rows of the syscall table. Who does the work says so with `takes`."""

    def __init__(self) -> None:
        self._work: dict[str, Deed] = {}

    def takes(self, work: Mapping[str, Deed]) -> None:
        """Have acts done by these."""
        self._work.update(work)

    def table(self) -> dict[str, Syscall]:
        """The rows: only services get past them, whatever a process holds."""
        made = partial(Syscall, self._do, brings=own, spends=False)
        return {name: made(act.deadline, covers=partial(_covers, name)) for name, act in ACTS.items()}

    async def _do(self, call: Call, process: Process) -> Json:
        if process.service is None:
            raise PermissionDenied(f"{call.name} is for people and the system itself, not for process {process.pid}")
        if call.args.get("by") is None and process.name != SYSTEM:
            raise PermissionDenied(
                f"{call.name} takes somebody's authority (see `Sys.under`), and {process.name} has none"
            )
        by = acting(call)
        by.need(ACTS[call.name].scope)
        result = await self._work[call.name](call, by)
        call.decision |= {"key": by.key, "scope": ACTS[call.name].scope, "wrote": written(call.writes)}
        return result


def processes(kernel: Kernel, holdings: Holdings = everything) -> dict[str, Deed]:
    """What does the acts about single processes (`pid`); none goes before what its tenant may (`holdings`)."""

    async def pause(call: Call, by: Caller) -> None:
        await kernel.runner.pause(changed(call, by))

    async def resume(call: Call, by: Caller) -> None:
        await kernel.runner.resume(changed(call, by))

    async def nice(call: Call, by: Caller) -> None:
        if (nice := call.args["nice"]) < (least := holdings(call.tenant).nice):
            raise too_nice(call.tenant, nice, least)
        await kernel.renice(changed(call, by), nice)

    def changed(call: Call, by: Caller) -> int:
        pid: int = kernel.table.of(call.args["pid"], call.tenant, by.sight).pid
        call.decision["processes"] = [pid]
        return pid

    return {"processes.pause": pause, "processes.resume": resume, "processes.nice": nice}


def _covers(name: str, args: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("syscalls", name)]


def authority(caller: Caller) -> Json:
    """A caller's authority, as an act's row has it (see `Sys.under`)."""
    return {"key": caller.key, "scopes": sorted(caller.scopes),
            "expires": None if math.isinf(caller.expires) else caller.expires}  # fmt: skip


def acting(call: Call) -> Caller:
    """Who does an act: whose authority it has, or the system itself."""
    by = call.args.get("by")
    if by is None:
        return Caller(call.tenant, call.principal, SCOPES, "system")
    expires = math.inf if by["expires"] is None else by["expires"]
    return Caller(call.tenant, call.principal, frozenset(by["scopes"]), by["key"], expires)
