"""The program of a trigger: a turn is one thing that happened. It waits, decides, starts, and parks.

In its box is always one message of its own, which makes the next turn begin. What others send comes before or after it.
A start is one commit with its row, and how far due times are settled is parked with it: each has one start, or one row
that says why not, wherever the system is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..core import templates
from ..core.errors import Conflict, InvalidRequest, NotFound
from ..core.records import Envelope, Hidden, Json
from ..core.sys import Sys
from ..kernel.process import Idle, Program
from . import plan
from .plan import Event, State
from .spec import FILES_OF, TriggerSpec, stored

PROGRAM = "trigger"
NAMED = "trigger:"
"""What stands before the name of a trigger in its process's; no agent's name has a colon."""
CHANGED = {"$changed": True}
"""The message after which a trigger goes by its new definition; from a service alone."""
SIGNED = "webhook"
"""The role of a conversation's message in which what was called with is sent: nobody vouches for it."""


async def run(sys: Sys, args: Json, state: Json) -> Any:
    """Take the next message: the trigger's own has it wait for what it is to be started by."""
    spec, envelope = stored(args["spec"]), await sys.receive()
    now = State() if state is None else State.load(state)
    if state is None or envelope.sender == f"pid/{sys.pid}":
        await _watch(sys, spec, now)
        await sys.send(sys.pid, None)
    elif envelope.body == CHANGED and not envelope.sender:
        now.begun = None
    elif envelope.sender and not spec.message:
        await sys.syscall("trigger_skip", due=await sys.now(), why=f"it is not started by messages: {envelope.sender}")
        await sys.reply(envelope, {"skipped": "it is not started by messages"})
    else:
        await sys.reply(envelope, await _admit(sys, spec, now, _event(envelope, await sys.now())))
    return Idle(now.kept())


PROGRAMS: Mapping[str, Program] = {PROGRAM: Program(run, wakes=True)}


def _event(envelope: Envelope, now: float) -> Event:
    """What somebody sent, and in whose words."""
    body, origins = envelope.body, list(envelope.origins)
    said = body.get("messages") if isinstance(body, Mapping) and not envelope.sender else None
    if said and said[0]["role"] == SIGNED:
        return Event(now, said[0]["content"], [*origins, f"{SIGNED} of the caller"])
    data = body.get("input", body) if isinstance(body, Mapping) else body
    return Event(now, data, origins, sender=envelope.sender)


async def _watch(sys: Sys, spec: TriggerSpec, state: State) -> None:
    """Wait for news, and do what follows from it."""
    if state.folder != spec.folder:
        state.folder, state.seen = spec.folder, None
    news = await sys.syscall("trigger_wait", begun=state.begun, last=state.last, of=Hidden(state.running),
                             seen=Hidden(state.seen), crowded=state.crowded)  # fmt: skip
    now: float = news["now"]
    if state.begun is None:
        state.begun = state.last = now  # from now on times are due by this definition
    state.running = [pid for pid in state.running if pid not in news["ended"]]
    events, left = plan.catch_up(spec, news["due"], now)
    for due, why in left:
        await sys.syscall("trigger_skip", due=due, why=why)
    if news["due"]:
        state.last = news["due"][-1]
    events += await _files(sys, spec, state, news["files"], now)
    while state.queue and len(state.running) < plan.room(spec):
        await _start(sys, spec, state, state.queue.pop(0))
    for event in events:
        await _admit(sys, spec, state, event)


async def _files(sys: Sys, spec: TriggerSpec, state: State, found: Json, now: float) -> list[Event]:
    """The starts for files that came or changed. What is there at the first look is no news."""
    if found is None:
        return []
    state.crowded = bool(found["crowd"])
    if state.crowded:
        why = f"{found['crowd']} files match: that is too many to look at; move away what is done with"
        await sys.syscall("trigger_skip", due=now, why=why)
        return []
    before, first = state.seen or {}, state.seen is None
    state.seen = {name: sign for name, sign in before.items() if name not in found["gone"]} | found["changed"]
    if own := found.get("own", ()):
        why = f"{len(own)} files were written by what it has started itself, and start nothing"
        await sys.syscall("trigger_skip", due=now, why=why)
    news = [] if first else [each for each in found["changed"].items() if each[0] not in own]
    told = sorted(news, key=lambda each: (each[1][0], each[0]))
    return [
        Event(now, {"name": name, "path": f"{spec.folder}/{name}", "size": size, "modified": spec.told(modified / 1e9),
                    "change": "changed" if name in before else "appeared"}, [FILES_OF])
        for name, (modified, size) in told
    ]  # fmt: skip


async def _admit(sys: Sys, spec: TriggerSpec, state: State, event: Event) -> dict[str, Json]:
    """Start, or do what the rule says while something runs; says what became of it."""
    verdict, why = plan.decide(spec, len(state.running), len(state.queue), event)
    if verdict == "skip":
        await sys.syscall("trigger_skip", due=event.due, why=why)
        return {"skipped": why}
    if verdict == "queue":
        state.queue.append(event)
        return {"waits": len(state.queue)}
    if verdict == "replace":
        for pid in state.running:
            with suppress(Conflict, NotFound):
                await sys.kill(pid, f"the next one of trigger {spec.name} takes its place")
        state.running = []
    return await _start(sys, spec, state, event)


async def _start(sys: Sys, spec: TriggerSpec, state: State, event: Event) -> dict[str, Json]:
    state.count += 1
    template = spec.input if spec.input is not None else "${due}" if spec.timed else "${event}"
    try:
        given = templates.fill(template, plan.scope(spec, event, state.count))
    except InvalidRequest as error:  # a text beyond what may be passed on
        await sys.syscall("trigger_skip", due=event.due, why=error.message)
        return {"skipped": error.message}
    child = Hidden({"body": {"text": templates.text(given) or " ", "input": given}, "origins": list(event.origins),
                    "sender": event.sender})  # fmt: skip
    label = f"{datetime.fromtimestamp(event.due, UTC):%Y-%m-%dT%H:%M:%SZ}.{state.count}"
    made = await sys.syscall("trigger_start", label=label, agent=spec.agent, due=event.due,
                             missed=event.missed, child=child)  # fmt: skip
    state.running += [made] if isinstance(made, int) else []
    return {"pid" if isinstance(made, int) else "failed": made}
