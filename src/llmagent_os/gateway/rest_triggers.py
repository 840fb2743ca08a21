"""REST: triggers, which start agents and flows by themselves, and the webhooks by which some are called."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request

from ..core import codec, documents
from ..core.errors import InvalidRequest, PermissionDenied, from_data, not_found
from ..core.records import Json, owned
from ..core.secrets import secret
from ..kernel.journal import Row
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from ..security.webhooks import signed
from ..triggers.loop import NAMED, PROGRAM, SIGNED
from ..triggers.plan import QUEUED, State
from ..triggers.spec import TriggerSpec, stored
from .desk import Desk, Here
from .errors import TooLarge, TooManyRequests
from .rest_flows import Newest, Waited
from .routes import Route

if TYPE_CHECKING:
    from ..boot import System

log = logging.getLogger(__name__)

HOOKS = "/v1/hooks/"
LONGEST = 128 << 10  # bytes that a webhook may send: what more becomes, in a model, is held as an anomaly
_NOT_IT = "this is not signed as the trigger wants it; see `webhook` in its definition"


class Fired(Waited):
    """What it is started with by hand: the event, as a message would bring it."""

    input: Any = None


class Triggers:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, one = APIRouter(route_class=Route, tags=["triggers"]), "/v1/triggers/{name}"
        router.get("/v1/triggers")(self.list)
        router.get(one)(self.get)
        router.put(one)(self.put)
        router.delete(one, status_code=204)(self.delete)
        router.post(f"{one}/pause")(self.pause)
        router.post(f"{one}/resume")(self.resume)
        router.post(f"{one}/fire", status_code=201)(self.fire)
        router.get(f"{one}/starts")(self.history)
        router.post(HOOKS + "{pid}", status_code=202)(self.hook)
        return router

    async def list(self, here: Here) -> dict[str, Any]:
        """The caller's triggers by name; with the scope `people` all of the tenant."""
        table, caller = here.system.kernel.table, here.caller
        found = [here.process(pid) for pid in table.named_like(NAMED, caller.tenant, caller.sight)]
        told = [_told(here.system, each) for each in found if each.program == PROGRAM]
        return {"triggers": sorted(told, key=lambda each: each["name"])}

    async def get(self, here: Here, name: str) -> dict[str, Any]:
        """A trigger: its definition, when it is due next, and what runs and waits."""
        return _told(here.system, _found(here, name))

    async def put(self, here: Here, name: str, definition: TriggerSpec) -> dict[str, Any]:
        """Store a trigger, or change one: then times are due by the new definition from now on."""
        if definition.name != name:
            raise InvalidRequest(f"this is the definition of {definition.name!r}, not of {name!r}", parameter="name")
        done = await here.sys.act("processes.trigger", definition=definition.lean())
        return _told(here.system, here.process(done["pid"])) | {**done, "definition": definition.lean()}

    async def delete(self, here: Here, name: str) -> None:
        """Delete a trigger; what it has started and still runs is ended."""
        await here.sys.kill(_found(here, name).pid, "it was deleted")

    async def pause(self, here: Here, name: str) -> dict[str, Any]:
        """Hold a trigger: nothing is started until it goes on; what is due meanwhile is missed, messages wait."""
        await here.sys.act("processes.pause", pid=_found(here, name).pid)
        return await self.get(here, name)

    async def resume(self, here: Here, name: str) -> dict[str, Any]:
        """Let a trigger go on, by its rule for what was missed."""
        await here.sys.act("processes.resume", pid=_found(here, name).pid)
        return await self.get(here, name)

    async def fire(self, here: Here, name: str, body: Fired) -> dict[str, Any]:
        """Start it now, by its rule for overlap: `pid`, how many wait before it (`waits`), or why not.

        `accepted` alone where that takes longer than `wait`, as with one that is paused.
        """
        box, process = f"task/{owned(here.caller.tenant, uuid.uuid4().hex)}", _found(here, name)
        if process.principal != here.caller.principal:  # what it starts works for whom it belongs to
            raise PermissionDenied(f"trigger {name} is {process.principal}'s, who alone may start it")
        await here.sys.send(process.pid, {"input": body.input}, reply_to=box)
        try:
            reply = (await here.system.kernel.mail.wait(box, body.wait)).body
        except TimeoutError:
            reply = {}
        if "error" in reply:
            raise from_data(reply["error"])
        return {"accepted": True, **reply}

    async def history(self, here: Here, name: str, query: Annotated[Newest, Query()]) -> dict[str, Any]:
        """What it has started, and what it has not and why, the last first, as far back as its calls are kept."""
        kernel, process = here.system.kernel, _found(here, name)
        rows = await asyncio.to_thread(kernel.store.scan, "call.starts", process.pid, query.limit)
        spec = stored(process.args["spec"])
        return {"starts": [_start(kernel, spec, Row(*each)) for each in rows]}

    async def hook(self, pid: int, request: Request) -> None:
        """Call a trigger from outside, signed with its secret; it takes no key. What is sent again counts once."""
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LONGEST:
                raise TooLarge(f"a webhook may send {LONGEST >> 10} KiB")
        kernel: Kernel = request.scope["system"].kernel
        process = kernel.table.find(pid)
        if process is None or process.program != PROGRAM or process.life.ended:
            raise PermissionDenied(_NOT_IT)
        hook = stored(process.args["spec"]).webhook
        if hook and not secret(hook.secret):
            log.warning("%s was called, and there is no secret %s: nothing is taken", process.name, hook.secret)
        identifier = signed(hook.form, secret(hook.secret), request.headers, bytes(body), time.time()) if hook else None
        if identifier is None:
            raise PermissionDenied(_NOT_IT)
        if kernel.table.waiting_messages(process.box) >= QUEUED:
            raise TooManyRequests("more came than is taken up; send it again later", retry_after=60)
        sys = await kernel.service("gateway", process.principal, process.tenant)
        await sys.send(pid, {"messages": [{"role": SIGNED, "content": _data(bytes(body))}]}, id=identifier)


def _data(body: bytes) -> Json:
    """What a webhook sent: JSON where it is some, else its text."""
    try:
        return documents.plain(codec.loads(body), "the body") if body else None
    except ValueError:
        return body.decode(errors="replace")


def _found(here: Desk, name: str) -> Process:
    """A living trigger by its name: the caller's own, or, where they see others', the only one; raises NotFound."""
    table, caller = here.system.kernel.table, here.caller
    pids = table.named(NAMED + name, caller.tenant, caller.principal)
    if not pids and caller.sight is None:
        pids = table.named(NAMED + name, caller.tenant)
    if len(pids) != 1 or (process := table.get(pids[0])).program != PROGRAM:
        near = [each.removeprefix(NAMED) for each in table.near(NAMED + name, caller.tenant, caller.principal)
                if each.startswith(NAMED) and table.named(each, caller.tenant, caller.sight)]  # fmt: skip
        raise not_found("trigger", name, near)
    return process


def _told(system: System, process: Process) -> dict[str, Any]:
    spec, ((packed,),) = stored(process.args["spec"]), system.kernel.store.read("process.state", process.pid)
    data = system.kernel.journal.unpack(packed)  # as it is stored: parts of a newer one may not be there yet
    state = State() if data is None else State.load(data)
    at = spec.after(state.begun, state.last) if state.begun is not None else None
    return {
        "name": spec.name, "pid": process.pid, "status": _status(system, spec, process, state),
        "next": None if at is None else spec.told(at), "starts": state.count, "running": state.running,
        "waiting": len(state.queue), "hook": f"{HOOKS}{process.pid}" if spec.webhook else None,
        "definition": spec.lean(),
    }  # fmt: skip


def _status(system: System, spec: TriggerSpec, process: Process, state: State) -> str:
    """`on`, `paused`, or what keeps it from starting anything: no key, no secret, or a run that waits for a person."""
    if process.life.paused:
        return "paused"
    if (key := process.args.get("key")) and not system.keys.lives(key):
        return f"no key {key}"
    if spec.webhook and not secret(spec.webhook.secret):
        return f"no secret {spec.webhook.secret}"
    runs = [run for pid in state.running if (run := system.kernel.table.find(pid)) is not None]
    held = next((run for run in runs if run.status in ("paused", "asks")), None)
    return f"{held.pid} {held.status}" if held is not None else "on"


def _start(kernel: Kernel, spec: TriggerSpec, row: Row) -> dict[str, Json]:
    args, made = kernel.journal.unpack(row.args), kernel.journal.unpack(row.result)
    told = {"due": spec.told(args["due"]), "at": row.started, "missed": args.get("missed", 0), "pid": None}
    if not isinstance(made, int):
        return told | {"status": "left out" if made is None else "failed", "why": args.get("why", made)}
    run = kernel.table.find(made)
    result = kernel.journal.unpack(run.result) if run is not None and run.life.ended else None
    why = result["error"]["message"] if isinstance(result, dict) and "error" in result else run and run.reason
    status = "gone" if run is None else "failed" if why and run.life.ended else run.status
    return told | {"pid": made, "status": status, "why": why}
