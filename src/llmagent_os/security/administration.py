"""Administration: every act of it is a call of a service, permitted by what its caller holds, and journalled.

An act's row has who did it, with which key and scopes, and, in `decision.wrote`, the records that it wrote, which are
committed with it: the audit log signs those, so that a change behind the system's back is found.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..core.errors import PermissionDenied
from ..core.ports import Syscall, own
from ..core.records import Call, Json
from ..kernel.process import Process
from .identity import SCOPES, Caller

Work = Callable[[Call, Caller], Awaitable[Json]]
"""What does an act: `(call, by) -> result`; its records go into `call.writes`, what follows from them `call.after`."""


@dataclass(frozen=True, slots=True)
class Act:
    """An act: the scope that it takes, what it does, and how long it may take (seconds)."""

    scope: str
    about: str
    deadline: float = 60.0


ACTS: Mapping[str, Act] = {
    "approvals.answer": Act("approvals", "Allow or refuse what an agent waits for."),
}


class Administration:
    """The acts, as rows of the syscall table. Who does the work says so with `takes`."""

    def __init__(self) -> None:
        self._work: dict[str, Work] = {}

    def takes(self, work: Mapping[str, Work]) -> None:
        """Have acts done by these."""
        self._work.update(work)

    def table(self) -> dict[str, Syscall]:
        """The rows: only services get past them, whatever a process holds."""
        return {name: Syscall(self._do, act.deadline, partial(_covers, name), own) for name, act in ACTS.items()}

    async def _do(self, call: Call, process: Process) -> Json:
        if process.service is None:
            raise PermissionDenied(f"{call.name} is for people and the system itself, not for process {process.pid}")
        by = acting(call)
        by.need(ACTS[call.name].scope)
        result = await self._work[call.name](call, by)
        written = (values[:2] for name, values in call.writes if name in ("record.put", "record.drop"))
        call.decision |= {"key": by.key, "scope": ACTS[call.name].scope, "wrote": sorted(map(list, set(written)))}
        return result


def _covers(name: str, args: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("syscalls", name)]


def authority(caller: Caller) -> Json:
    """A caller's authority, as an act's row has it (see `Sys.under`)."""
    return {"key": caller.key, "scopes": sorted(caller.scopes),
            "expires": None if math.isinf(caller.expires) else caller.expires}  # fmt: skip


def acting(call: Call) -> Caller:
    """Who does an act; without any other authority it is the system itself."""
    by = call.args.get("by")
    if by is None:
        return Caller(call.tenant, call.principal, SCOPES, "system")
    expires = math.inf if by["expires"] is None else by["expires"]
    return Caller(call.tenant, call.principal, frozenset(by["scopes"]), by["key"], expires)
