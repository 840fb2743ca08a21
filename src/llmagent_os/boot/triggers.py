"""Triggers on a whole system: what stores one. Here the rooms meet, which do not know each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from ..agent.manager import AgentManager
from ..core.errors import InvalidRequest
from ..core.places import steps
from ..core.records import Call, Json, Supervision
from ..core.secrets import missing, secret
from ..kernel.kernel import Kernel
from ..security.administration import Deed
from ..security.identity import Caller
from ..triggers.loop import CHANGED, NAMED, PROGRAM
from ..triggers.spec import TriggerSpec, parse

MOST = 1000  # triggers of a person


def trigger_acts(kernel: Kernel, agents: Callable[[Call], Awaitable[AgentManager]]) -> dict[str, Deed]:
    """What does the acts about triggers: a trigger is a process of the person who stores it."""
    one_by_one = asyncio.Lock()  # of one name there is one

    async def put(call: Call, by: Caller) -> Json:
        spec = parse(call.args["definition"])
        by.need("chat")
        _check(spec, by)
        workspace = (await agents(call)).workspace(spec.agent)
        args = {"spec": spec.lean(), "home": workspace.home, "key": by.key}
        async with one_by_one:
            return await _put(call, spec, args)

    async def _put(call: Call, spec: TriggerSpec, args: Json) -> Json:
        sys, full = await kernel.service("gateway", call.principal, call.tenant), NAMED + spec.name
        for pid in kernel.table.named(full, call.tenant, call.principal):
            process = kernel.table.get(pid)
            if changed := process.args != args:
                call.decision["processes"] = [pid]
                await kernel.runner.configure(pid, args, process.grant)
                await sys.send(pid, CHANGED)
            return {"pid": pid, "created": False, "changed": changed}
        if len(kernel.table.named_like(NAMED, call.tenant, call.principal)) >= MOST:
            raise InvalidRequest(f"{call.principal} has {MOST} triggers, and that is the most; delete one")
        pid = await sys.spawn(PROGRAM, args, full, supervision=Supervision("temporary"), first={"body": None})
        return {"pid": pid, "created": True, "changed": False}

    return {"processes.trigger": put}


def _check(spec: TriggerSpec, by: Caller) -> None:
    """Raise for a folder that is not the caller's to look into, and for a secret that is nowhere."""
    if spec.folder is not None and os.path.isabs(spec.folder):
        by.need("system")
    elif spec.folder is not None:
        steps(spec.folder)
    if spec.webhook is not None and not secret(spec.webhook.secret):
        raise InvalidRequest(
            f"there is no secret {spec.webhook.secret}: {missing(spec.webhook.secret)}", parameter="webhook"
        )
