"""AgentManager: the life of agents, from a definition to running replicas and conversations, and back."""

from __future__ import annotations

import asyncio
import copy
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, get_args
from weakref import WeakValueDictionary

from ..core import codec, outcomes, worded
from ..core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ProcessFailed,
    from_data,
    nearest,
    not_found,
)
from ..core.holdings import Holdings, everything, lacking, too_nice
from ..core.ports import Facts, Tool
from ..core.records import DEFAULT, SHARED, Budget, Call, Envelope, Json, Ticket, owned, personal
from ..core.rows import answer
from ..core.sys import Sys
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from .loop import STOP, Loops
from .spec import ASKED, AgentSpec, parse, stored
from .steering import When

SPACE = "agent"
PROGRAM = "agent"
PAGE = 1000  # agents that are listed at once
REPLICAS = 1000  # of one agent, at most
NEAR = 50  # names that a hint is looked for among
CROWD = 10_000  # messages that are handed on by a replica at most


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition as stored. Versions count from 1; the newest is what runs."""

    spec: AgentSpec
    version: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a definition: what is stored now, and each field that changed, as it was and as it is."""

    defined: Defined
    created: bool
    changed: Mapping[str, tuple[Json, Json]]


class AgentManager:
    """Create, configure, deploy, list, monitor, pause, resume, scale, terminate; and talk to agents.

    A deployed agent has replicas: processes of one name, each message without a session going to the least busy one,
    as a conversation of its own. A session is a process of its own, `NAME@SESSION`, that remembers its conversation.
    All of it is one tenant's. `shared` names definitions of the default tenant that the others may use, not change.

    Sessions, tasks and processes that answer once belong to a person, whom the handle `sys` names: two people who
    choose the same name have two of them, and what is another's is not found. Replicas are everybody's, and so are the
    sessions of an agent that is declared shared.
    """

    def __init__(
        self, kernel: Kernel, facts: Facts, sys: Sys, tools: Mapping[str, Tool], loops: Loops,
        tenant: str = DEFAULT, shared: Iterable[str] = (), holdings: Holdings = everything,
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._facts = facts
        self._sys = sys
        self._tools = tools
        self._loops = loops
        self._tenant, self._space = tenant, owned(tenant, SPACE)
        self._holdings = holdings
        self._shared: frozenset[str] = frozenset(shared if tenant != DEFAULT else ())
        self._everybody = True  # whether it shows what belongs to others of the tenant
        self._going: set[str] = set()  # agents that are being deleted: nobody starts anything for them
        self._starting: dict[tuple[str, str], asyncio.Future[Any]] = {}
        self._accepting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._scaling = asyncio.Lock()
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._parsed: dict[str, tuple[tuple[int, Json], Defined]] = {}  # by name, with what it was parsed from

    def acting(self, sys: Sys, everybody: bool = False) -> AgentManager:
        """The same agents, for somebody else of the tenant: what is sent and started is theirs.

        With `everybody` they are shown what belongs to others of the tenant, too.
        """
        other = copy.copy(self)
        other._sys, other._everybody = sys, everybody
        return other

    @property
    def person(self) -> str:
        """Whose sessions and tasks these are."""
        return self._sys.principal or SHARED

    def of(self, tenant: str, sys: Sys, shared: Iterable[str]) -> AgentManager:
        """The agents of another tenant."""
        own = (tenant, shared, self._holdings)
        return AgentManager(self._kernel, self._facts, sys, self._tools, self._loops, *own)

    # -- definitions

    async def create(self, definition: AgentSpec | Mapping[str, Any]) -> Defined:
        """Store a new agent. Raises Conflict if the name is taken, InvalidRequest or NotFound for a bad definition."""
        spec = definition if isinstance(definition, AgentSpec) else parse(definition)
        return _defined(await self._sys.act("agents.create", definition=spec.data()))

    async def _create(self, call: Call, definition: Json) -> Json:
        spec = self._check(definition)
        await self._alone(call, spec.name)
        if self._facts.get(self._space, spec.name) is not None:
            raise Conflict(f"there is an agent named {spec.name!r}; configure it, or choose another name")
        return self._store(call, Defined(spec, 1))

    async def _alone(self, call: Call, name: str) -> None:
        """Change an agent's definition alone, until the call is over and so committed."""
        lock = self._changing.setdefault(name, asyncio.Lock())
        await lock.acquire()
        call.ends.append(lock.release)

    def _store(self, call: Call, defined: Defined) -> Json:
        data = defined.spec.data()
        call.writes.append(self._facts.written(self._space, defined.spec.name, data, defined.version))
        return {"spec": data, "version": defined.version}

    async def configure(self, name: str, changes: Mapping[str, Any]) -> Defined:
        """Store a new version with some fields changed; running processes use it from their next turn on."""
        return _defined(await self._sys.act("agents.configure", name=name, changes=dict(changes)))

    async def _configure(self, call: Call, name: str, changes: Mapping[str, Any]) -> Json:
        await self._alone(call, name)
        old = self._changeable(name)
        if changes.get("name", name) != name:
            raise InvalidRequest("an agent keeps its name; create another one", parameter="name")
        spec = self._check(_over(old.spec.data(), changes))
        new = {"spec": spec.lean(), "version": old.version + 1}
        processes = [self._kernel.table.get(pid) for pid in self._pids(name)]
        processes = [each for each in processes if each.program == PROGRAM]  # and not tools that work for it
        await asyncio.gather(  # at once, so that all of it is one commit
            *(self._try(self._reconfigure(process, spec, new)) for process in processes)
        )
        return self._store(call, Defined(spec, old.version + 1))

    async def apply(self, definition: AgentSpec | Mapping[str, Any], check: bool = False) -> Applied:
        """Create an agent, or change one so that it is as the definition says: what that leaves out is as by default.

        With `check` nothing is stored. Raises as `create` and `configure` do.
        """
        spec = definition if isinstance(definition, AgentSpec) else parse(definition)
        if self._facts.get(self._space, spec.name) is None:
            return Applied(Defined(self._check(spec.data()), 1) if check else await self.create(spec), True, {})
        old = self.get(spec.name)
        now, wanted = old.spec.data(), spec.data()
        changed = {field: (now[field], value) for field, value in wanted.items() if value != now[field]}
        if check or not changed:
            return Applied(Defined(self._check(wanted), old.version + bool(changed)), False, changed)
        done = await self.configure(spec.name, {field: value for field, (_, value) in changed.items()})
        return Applied(done, False, changed)

    async def _reconfigure(self, process: Process, spec: AgentSpec, new: dict[str, Json]) -> None:
        drawn = spec.drawn(process.name or "", process.principal)
        await self._kernel.runner.configure(process.pid, process.args | new, spec.granted(), drawn)

    def _check(self, definition: Mapping[str, Any]) -> AgentSpec:
        spec = parse(definition)
        self._within(spec)
        if spec.loop not in self._loops:
            raise not_found("loop", spec.loop, self._loops)
        self._loops[spec.loop](spec, self._tools).check(lambda name: self.get(name).spec)
        for tool in spec.grant.policy.tools:
            if tool.startswith(ASKED):
                text = (
                    f"its policy has a rule for {tool!r}: agents are sent messages, and do what their own policy says"
                )
                raise InvalidRequest(text, parameter=f"grant.policy.tools.{tool}")
            if tool not in spec.tools and tool not in self._tools:  # misspelt, it would hold for nothing
                text = f"its policy has a rule for {tool!r}, which is no tool; {nearest(tool, spec.tools)}"
                raise InvalidRequest(text, parameter=f"grant.policy.tools.{tool}")
        self._kernel.engines.resolve(spec.model)
        return spec

    def _within(self, spec: AgentSpec) -> None:
        """Raise PermissionDenied, or NotFound, for a definition that asks for more than the tenant holds."""
        held = self._holdings(self._tenant)
        for tool in spec.tools if held.tools is not None else ():
            if not tool.startswith(ASKED) and not held.tool(tool):
                if tool not in self._tools:
                    raise not_found("tool", tool, filter(held.tool, self._tools))
                raise lacking(self._tenant, "tool", tool)
        if held.models is not None and not held.model(spec.model, self._kernel.engines):
            raise lacking(self._tenant, "model", spec.model)
        if spec.nice < held.nice:
            raise too_nice(self._tenant, spec.nice, held.nice)

    def get(self, name: str) -> Defined:
        """The newest version of an agent; raises NotFound with the nearest name."""
        found = self._there(name)
        seen, defined = self._parsed.get(name, (None, None))
        if defined is None or seen != found:
            defined = Defined(stored(found[1]), found[0])
            self._parsed[name] = found, defined
        return defined

    def _changeable(self, name: str) -> Defined:
        self._own(name)
        return self.get(name)

    def _own(self, name: str) -> None:
        """Raise NotFound, or PermissionDenied for a definition that is not this tenant's to change."""
        self._there(name)
        if self._facts.get(self._space, name) is None:
            raise PermissionDenied(f"agent {name!r} is everybody's; create one of your own, which may have its name")

    def _there(self, name: str) -> tuple[int, Json]:
        """The version and definition of an agent, readable or not; raises NotFound with the nearest name."""
        found = self._found(name)
        if found is None:
            raise not_found("agent", name, self.near(name))
        return found

    def _found(self, name: str) -> tuple[int, Json] | None:
        if name in self._going:
            return None
        found = self._facts.get(self._space, name)
        return self._facts.get(SPACE, name) if found is None and name in self._shared else found

    def knows(self, name: str) -> bool:
        """Whether there is an agent of that name."""
        return self._found(name) is not None

    def near(self, name: str) -> list[str]:
        """Some names of agents, those beside a wrong one in the alphabet: a hint that costs no more with many."""
        return sorted({*self._facts.near(self._space, name), *islice(self._shared, NEAR)})

    def names(self) -> list[str]:
        """The agents that are defined."""
        return sorted({*self._facts.keys(self._space), *(name for name in self._shared if self.knows(name))})

    def listed(self, after: str = "", limit: int = PAGE) -> list[dict[str, Json]]:
        """The agents after a name, with their versions, models and how many replicas and sessions live."""
        found = self._facts.list(self._space, after, limit)
        for name in sorted(self._shared):
            if name > after and name not in found and (shared := self._facts.get(SPACE, name)) is not None:
                found[name] = shared
        names = sorted(found)[:limit]
        alive = self._kernel.table.alive(names, self._tenant, self._sight)
        return [self._summary(name, *found[name], *alive.get(name, (0, 0))) for name in names]

    def _summary(self, name: str, version: int, data: Json, replicas: int, sessions: int) -> dict[str, Json]:
        shown = {key: data[key] for key in ("description", "model", "tools")}
        return {"name": name, "version": version, **shown, "replicas": replicas, "sessions": sessions}

    @property
    def _sight(self) -> str | None:
        """The one person whose sessions are shown; None: everybody's."""
        return None if self._everybody else self.person

    async def delete(self, name: str) -> None:
        """Terminate an agent and forget its definition."""
        await self._sys.act("agents.delete", name=name)

    async def _delete(self, call: Call, name: str) -> None:
        await self._alone(call, name)
        self._own(name)
        self._going.add(name)  # what is sent meanwhile would be nobody's
        call.ends.append(partial(self._going.discard, name))
        await self._terminate(call, name)
        call.writes.append(self._facts.dropped(self._space, name))

    # -- processes

    async def deploy(self, name: str, replicas: int = 1) -> list[int]:
        """Make sure that the agent runs with this many replicas; returns their pids."""
        return await self.scale(name, replicas)

    async def scale(self, name: str, replicas: int) -> list[int]:
        """Start or retire replicas; one that retires answers what it was sent first. Returns the pids that stay."""
        pids: list[int] = await self._sys.act("agents.scale", name=name, replicas=replicas)
        return pids

    async def _scale(self, call: Call, name: str, replicas: int) -> list[int]:
        if not 0 <= replicas <= REPLICAS:
            raise InvalidRequest(f"replicas is {replicas}; it goes from 0 to {REPLICAS}", parameter="replicas")
        defined = self.get(name)
        async with self._scaling:
            self._room(name, replicas)
            pids = [pid for pid in self._named(name) if self._stands_in(pid) is None]
            for _ in range(replicas - len(pids)):
                pids.append(await self._spawn(defined, name, SHARED))
            call.decision["processes"] = pids[replicas:]
            for pid in pids[replicas:]:
                await self._retire(pid, name)
        return pids[:replicas]

    def _room(self, name: str, replicas: int) -> None:
        """Raise PermissionDenied for more replicas than the tenant may have of all its agents together."""
        most, names = self._holdings(self._tenant).replicas, self.names()
        if most is None:
            return
        alive = self._kernel.table.alive(names, self._tenant)
        mine = alive.get(name, (0, 0))[0]
        others = sum(alive[each][0] for each in names if each in alive) - mine
        if replicas > max(mine, most - others):  # fewer than there are is always fine
            text = f"tenant {self._tenant!r} may have {most} replicas in all, and its other agents have {others}; ask "
            text += f"for at most {max(0, most - others)}, scale another agent down, or have whoever runs this system "
            text += f"allow more: `llmagent-os tenants grant {self._tenant} --replicas {others + replicas}`"
            raise PermissionDenied(text, tenant=self._tenant, parameter="replicas", most=most)

    async def _spawn(
        self, defined: Defined, name: str, whose: str, first: Mapping[str, Json] | None = None, **args: Json
    ) -> int:
        spec = defined.spec
        helpers = [self.get(each) for each in spec.asks]
        pid = await self._sys.acting(whose).spawn(
            PROGRAM,
            {"spec": spec.lean(), "version": defined.version, **args},
            name=name,
            budget=spec.drawn(name, whose),
            supervision=spec.supervision.supervision(bool(args.get("once"))),
            nice=max(spec.nice, self._holdings(self._tenant).nice),
            grant=spec.granted(),
            first=first,
        )
        for each in helpers:  # after it, so that agents may ask one another
            await self._one(each.spec.name, SHARED, partial(self._spawn, each, each.spec.name, SHARED))
        return pid

    async def hire(self, name: str, body: Json) -> tuple[dict[str, Any], tuple[Budget, ...]]:
        """What a process of an agent is started with, as somebody else's child that answers one message and ends; and
        on which accounts it draws. Raises NotFound.
        """
        defined = self.get(name)
        spec = defined.spec
        await self._ready(body)
        for each in spec.asks:
            await self._one(each, SHARED, partial(self._spawn, self.get(each), each, SHARED))
        wanted = {
            "program": PROGRAM, "args": {"spec": spec.lean(), "version": defined.version, "once": True},
            "name": f"{name}~once-", "supervision": spec.supervision.supervision(True), "nice": spec.nice,
            "grant": spec.granted(), "first": {"body": body},
        }  # fmt: skip
        return codec.loads(codec.canonical(wanted)), spec.drawn(name, self.person)

    async def monitor(self, name: str) -> dict[str, Json]:
        """An agent's definition, its processes with their states and usage, and the sum of that usage.

        Of sessions and of what answers once, those that belong to this person or to everybody.
        """
        defined = self.get(name)
        processes = [self._kernel.table.get(pid).info() for pid in self._pids(name, self._sight)]
        for process in processes:
            process["queued"] = self._kernel.table.waiting_messages(f"pid/{process['pid']}")
        usage: dict[str, float] = {}
        for process in processes:
            for key, value in process["usage"].items():
                usage[key] = usage.get(key, 0) + value
        spec = defined.spec.data()
        return {"name": name, "version": defined.version, "spec": spec, "processes": processes, "usage": usage}

    async def pause(self, name: str) -> list[int]:
        """Hold every process of an agent at its next step; returns those that were not paused before."""
        return await self._sys.act("agents.pause", name=name)

    async def _pause(self, call: Call, name: str) -> list[int]:
        return [pid for pid in self._pids(name) if await self._try(self._kernel.runner.pause(pid))]

    async def resume(self, name: str) -> list[int]:
        """Let the paused processes of an agent go on; returns them."""
        return await self._sys.act("agents.resume", name=name)

    async def _resume(self, call: Call, name: str) -> list[int]:
        return [pid for pid in self._pids(name) if await self._try(self._kernel.runner.resume(pid))]

    async def terminate(self, name: str) -> list[int]:
        """End every replica and session of an agent now; messages they have not answered are answered with an error."""
        return await self._sys.act("agents.terminate", name=name)

    async def _terminate(self, call: Call, name: str) -> list[int]:
        reason = f"agent {name} was terminated"
        return [pid for pid in self._pids(name) if await self._try(self._sys.kill(pid, reason))]

    async def stand_in(self, pid: int) -> list[Process]:
        """Have nobody held up by a process that asks a person, or by who waits for its answer; returns all of these.

        Of a replica another one does the work meanwhile, and takes what was sent to it and not taken up. A session is
        one conversation, which waits.
        """
        held, process = list[Process](), self._kernel.table.find(pid)
        while process is not None and process not in held and process.program == PROGRAM:
            held.append(process)
            process.asking += 1
            if process.name is not None and "@" not in process.name and self.knows(process.name):
                async with self._scaling:
                    await self._relieve(process, process.name)
            sender = process.serving.sender if process.serving is not None else ""
            process = self._kernel.table.find(int(sender[4:])) if sender.startswith("pid/") else None
        return held

    async def _relieve(self, process: Process, name: str) -> None:
        table, mail = self._kernel.table, self._kernel.mail
        if all(table.get(each).asking for each in self._named(name)):
            await self._spawn(self.get(name), name, SHARED, stands_in=process.pid)
        for n, _ in table.messages(process.box, CROWD):
            box = mail.address(name, self._tenant)
            await self._kernel.journal.append([("message.move", (box, n))], partial(mail.notify, box))

    async def stand_back(self, held: Iterable[Process]) -> None:
        """Those do not wait for a person any more: who stood in for them answers what it was sent, and ends."""
        for process in held:
            process.asking -= 1
            async with self._scaling:
                for pid in self._named(process.name or ""):
                    if not process.asking and self._stands_in(pid) == process.pid:
                        await self._retire(pid, process.name or "")

    def _stands_in(self, pid: int) -> int | None:
        args = self._kernel.table.get(pid).args
        return args.get("stands_in") if isinstance(args, Mapping) else None

    async def _retire(self, pid: int, name: str) -> None:
        await self._kernel.runner.rename(pid, f"{name}~retired-{pid}")
        await self._sys.send(pid, STOP)

    async def renice(self, name: str, nice: int) -> list[int]:
        """Change how the living processes of an agent stand in line; returns them."""
        return await self._sys.act("agents.nice", name=name, nice=nice)

    async def _nice(self, call: Call, name: str, nice: int) -> list[int]:
        if nice < (least := self._holdings(self._tenant).nice):
            raise too_nice(self._tenant, nice, least)
        pids = call.decision["processes"] = self._pids(name)
        for pid in pids:
            await self._kernel.renice(pid, nice)
        return pids

    async def _try(self, work: Any) -> bool:
        """Do it, unless the process is in that state already."""
        try:
            await work
        except (Conflict, NotFound):
            return False
        return True

    def _pids(self, name: str, sight: str | None = None) -> list[int]:
        if name not in self._going:
            self._there(name)
        table = self._kernel.table
        more = [table.named_like(f"{name}{sign}", self._tenant, sight) for sign in "@~"]
        return [*self._named(name), *chain(*more)]

    def _named(self, name: str) -> list[int]:
        return self._kernel.table.named(name, self._tenant)

    # -- what agents work on

    def workspace(self, name: str) -> Ticket:
        """Which workspace is an agent's and this person's, and what of it the agent may touch; raises NotFound.

        A session, `AGENT@SESSION`, works in that of its agent.
        """
        agent = name.partition("@")[0]
        grant = self.get(agent).spec.granted()
        home = f"{self._tenant}/{agent}" + ("" if grant.shared else f"@{self.person}")  # as `Process.home`
        return Ticket("", 0, self._tenant, self.person, home, grant)

    # -- talking to agents

    async def send(self, name: str, body: Json, session: str | None = None, task: str | None = None) -> str:
        """Accept a message and return its task; once this returns the message survives a crash.

        The same `task` is accepted once: the same message to the same agent under it changes nothing, and any other
        one is a Conflict.
        """
        if task is None:
            task = uuid.uuid4().hex
            await self._hand(name, session, body, task)
            return task
        if not re.fullmatch(r"[\w.:-]{1,128}", task):
            text = "a task (an Idempotency-Key) is up to 128 letters, digits and _.:-"
            raise InvalidRequest(text, parameter="Idempotency-Key")
        kept = self._kept(task)
        async with self._accepting.setdefault(kept, asyncio.Lock()):  # sent twice at once, it is accepted once too
            if (known := self.accepted(task)) is None:
                await self._hand(name, session, body, task)
            elif not self._same(known, f"{name}@{session}" if session else name, body):
                raise Conflict(f"task {task!r} is another message; send this one under a new Idempotency-Key")
        return task

    def _kept(self, task: str) -> str:
        """What the kernel knows a task of this person by: the id of its message, and the end of its box's name."""
        return personal(self._tenant, self.person, task)

    async def _ready(self, body: Json) -> None:
        """Have who judges the outcome that a message asks for, if any; raises NotFound, InvalidRequest."""
        wanted = outcomes.of(body)
        if wanted is not None and wanted.judge:
            await self._replica(wanted.judge)

    def _timed(self, name: str, session: str | None, body: Json) -> None:
        """Raise InvalidRequest for a message to a turn that nobody can be told of, or that takes nothing in.

        Its `when` says when it is taken in (see `agent.steering`).
        """
        when = body.get("when", "queue") if isinstance(body, Mapping) else "queue"
        if when not in get_args(When):
            raise InvalidRequest(f"`when` is one of {', '.join(get_args(When))}", parameter="when")
        if when != "queue" and (session is None or not isinstance(body.get("text"), str)):
            raise InvalidRequest(f"what is to {when} is a text to a session", parameter="when")
        if when != "queue" and self.get(name).spec.runs:
            raise InvalidRequest(f"{name} takes nothing in while it runs; cancel its task, or wait", parameter="when")

    async def _hand(self, name: str, session: str | None, body: Json, task: str) -> None:
        """Give a message to who answers it; without a session one to a flow, or a planner, is a run of its own."""
        self._timed(name, session, body)
        if not session and self.knows(name) and self.get(name).spec.runs:
            await self.once(name, body, task)
            return
        await self._ready(body)
        to, kept = await (self._session(name, session) if session else self._replica(name)), self._kept(task)
        await self._sys.send(to, body, reply_to=f"task/{kept}", task=kept, id=kept)

    def _same(self, known: Envelope, receiver: str, body: Json) -> bool:
        """Whether a message that was accepted is this one; of a receiver that is gone nobody knows."""
        process = self._kernel.table.find(int(known.box.removeprefix("pid/")))
        there = process is None or process.name is None or process.name.split("~")[0] == receiver
        return there and known.body == codec.loads(codec.canonical(body))

    def accepted(self, task: str) -> Envelope | None:
        """The message that a task of this person began with; None for what was never accepted, or is another's."""
        for kept in (self._kept(task), owned(self._tenant, task)):  # the latter: accepted before tasks were a person's
            found = self._kernel.table.message(kept, self._tenant, principal=self.person, reply_to=f"task/{kept}")
            if found is not None:
                return found
        return None

    def _asked(self, task: str) -> Envelope:
        found = self.accepted(task)
        if found is None:
            raise NotFound(f"no task {task!r}; tasks are named by what accepted them", kind="task", name=task)
        return found

    def watch(self, task: str) -> AbstractContextManager[asyncio.Queue[Any]]:
        """The pieces (`Chunk`) of a task's answer from now on, as a queue that exists for the block."""
        return self._kernel.streams.watch(self._kept(task))

    async def ask(self, name: str, body: Json, session: str | None = None, timeout: float | None = None) -> Json:
        """Send a message and wait for its reply; raises what the agent failed with, or TimeoutError."""
        return await self.reply(await self.send(name, body, session), timeout)

    async def reply(self, task: str, timeout: float | None = None) -> Json:
        """The reply to a task, waited for; raises NotFound for a task that was never accepted."""
        body = (await self._kernel.mail.wait(str(self._asked(task).reply_to), timeout)).body
        if isinstance(body, dict) and "error" in body:
            raise from_data(body["error"])
        return body

    def answered(self, task: str) -> Envelope | None:
        """The reply to a task if it is there; raises NotFound for a task that was never accepted."""
        found = self._kernel.table.messages(str(self._asked(task).reply_to))
        return found[0][1] if found else None

    async def cancel(self, task: str) -> None:
        """Stop the turn that works on a task, or take back one that nobody took up; its reply is an error.

        Raises NotFound for a task that was never accepted, Conflict for one that is answered.
        """
        await self._sys.act("tasks.cancel", task=task)

    async def _cancel(self, call: Call, task: str) -> None:
        asked, why = self._asked(task), "its caller gave up"
        for process in list(self._kernel.table.live.values()):
            if process.serving is not None and process.serving.task == asked.task:
                if process.asking:
                    why += "; what was asked about it is taken back"
                return await self._kernel.runner.interrupt(process.pid, why)
        receiver = self._kernel.table.find(int(asked.box.removeprefix("pid/")))
        if receiver is not None and receiver.life.paused and asked.id in self._owed_by(receiver):
            return await self._kernel.runner.interrupt(receiver.pid, why)
        waiting = self._kernel.store.read("message.waiting", self._tenant, asked.id, asked.box)
        if not waiting or (receiver is not None and waiting[0][0] in receiver.taking):
            raise Conflict(f"nobody works on task {task!r}: it is answered, or is taken up just now")
        told = answer(asked, "error", {"error": ProcessFailed(why, reason=why).to_data()}, self._tenant)
        call.writes += [("message.take", waiting[0]), told]
        if receiver is not None:
            receiver.taking.add(waiting[0][0])
            call.ends.append(partial(receiver.taking.discard, waiting[0][0]))
        call.after.append(partial(self._kernel.mail.notify, str(asked.reply_to)))

    def _owed_by(self, receiver: Process) -> list[str]:
        """What a process that was paused before the system started took up and did not answer."""
        return [] if receiver.task is not None else [each.id for each in self._kernel.runner.owing(receiver)]

    async def once(self, name: str, body: Json, task: str | None = None) -> tuple[int, str]:
        """Start a process that answers one message and ends; returns its pid and the task."""
        await self._ready(body)
        task = task or uuid.uuid4().hex
        kept = self._kept(task)
        first = {"id": kept, "body": body, "reply_to": f"task/{kept}", "task": kept}
        return await self._spawn(self.get(name), f"{name}~once-{task[:12]}", self.person, first, once=True), task

    async def _session(self, name: str, session: str) -> int:
        defined = self.get(name)
        if not re.fullmatch(r"[\w.:-]{1,128}", session):
            raise InvalidRequest("a session is up to 128 letters, digits and _.:-", parameter="session")
        full, whose = f"{name}@{session}", SHARED if defined.spec.granted().shared else self.person
        return await self._one(full, whose, partial(self._spawn, defined, full, whose, session=True))

    async def _replica(self, name: str) -> str:
        if re.fullmatch(worded.AGENT, name) is None:  # what is called so is no agent: somebody's trigger, or one run
            self.get(name)
        await self._one(name, SHARED, partial(self._first, name))
        return name

    async def _first(self, name: str) -> None:
        """Start an agent that somebody talks to, which takes no more than talking does."""
        async with self._scaling:
            if not self._named(name):
                await self._spawn(self.get(name), name, SHARED)

    async def _one(self, full: str, whose: str, start: Callable[[], Coroutine[Any, Any, Any]]) -> int:
        """Somebody's process of that name, started if there is none; who asks meanwhile waits for the same start."""
        if not (pids := self._theirs(full, whose)):
            starting = self._starting.get((full, whose))
            if starting is None:
                starting = self._starting[full, whose] = asyncio.ensure_future(start())
                starting.add_done_callback(lambda _: self._starting.pop((full, whose), None))
            await asyncio.shield(starting)
            pids = self._theirs(full, whose)
        return pids[0]

    def _theirs(self, full: str, whose: str) -> list[int]:
        """The living processes of a name; of sessions those of one owner, the shared ones having none."""
        return self._kernel.table.named(full, self._tenant, whose if "@" in full else None)

    async def stop_task(self, pid: int) -> None:
        """End a one-shot process whose caller has gone; one that has ended is fine."""
        try:
            await self._sys.kill(pid, "its caller has gone")
        except (Conflict, NotFound):
            return


Deed = Callable[[Call, Any], Awaitable[Json]]


def acts(agents: Callable[[Call], Awaitable[AgentManager]]) -> dict[str, Deed]:
    """What does the acts about agents (see `security.administration`): on those that a call is about."""

    def on(work: Callable[..., Awaitable[Json]]) -> Deed:
        async def does(call: Call, by: Any) -> Json:
            given = {name: value for name, value in call.args.items() if name != "by"}
            return await work(await agents(call), call, **given)

        return does

    manager = AgentManager
    return {
        "agents.create": on(manager._create), "agents.configure": on(manager._configure),
        "agents.delete": on(manager._delete), "agents.scale": on(manager._scale), "agents.pause": on(manager._pause),
        "agents.resume": on(manager._resume), "agents.terminate": on(manager._terminate),
        "agents.nice": on(manager._nice), "tasks.cancel": on(manager._cancel),
    }  # fmt: skip


def _over(now: dict[str, Json], changes: Mapping[str, Any]) -> dict[str, Json]:
    """A definition with some fields changed; a policy alone is changed where it stands, in the grant."""
    rest = {name: value for name, value in changes.items() if name != "policy"}
    if len(rest) == len(changes):
        return now | rest
    held = rest.get("grant", now["grant"])
    return now | rest | {"grant": {**held, "policy": changes["policy"]}} if isinstance(held, Mapping) else now | rest


def _defined(stored: Json) -> Defined:
    return Defined(parse(stored["spec"]), stored["version"])
