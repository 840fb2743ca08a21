"""Anomalies that can be said exactly, and so stop an agent before it has done it: the filter, and who is in quarantine.

A planted string (canary) or a key on its way out, more of something in one turn than the limits allow. What only
statistics say (`anomaly_statistics`) comes from the rows of finished calls; what is to be done about that is done here,
at the next call. This is telemetry, not the boundary (the boundary is `policy`).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ..core import codec
from ..core.errors import Conflict, LLMAgentOSError, PermissionDenied, not_found
from ..core.ports import Facts, Proceed
from ..core.records import Call, Json, Traits, owned, owner_of
from ..kernel.process import Process
from .labels import definition
from .masking import aside
from .recognisers import keys

log = logging.getLogger(__name__)

Action = Literal["note", "slow", "pause", "quarantine"]
Feature = Literal["calls", "again", "places", "odd", "tokens", "largest", "errors", "refusals"]
"""What is counted in a turn: tool calls; those in a row that were all made before, with the same arguments; recipients
and hosts never seen before; how odd the sequence of steps is (nats, see `anomaly_statistics.Habits`); tokens, and those
of the largest generation; calls that failed, and that were refused."""

SPACE = "quarantine"
MOST: Mapping[Feature, float] = {
    "calls": 300, "again": 20, "tokens": 2_000_000, "largest": 100_000, "errors": 100, "refusals": 30
}  # fmt: skip
"""What one turn may come to where nothing else is configured: far more than work takes, less than a night's loop.
What is not here takes statistics to count; a limit for it holds from the call after."""
LATELY = 200  # verdicts that are kept to be shown
LABEL = "anomaly:"
"""What begins the label of a call that was stopped, and of the last one before its process was paused."""


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """How anomalies are judged. Nothing may send out one of `canaries`, nor, with `keys`, what looks like a secret key.

    `most` is what one turn may come to, by feature, beside `MOST`. Counts are held against earlier turns from the
    `warm`-th on: from a z-score of `note` they are noted; from `slow` each further call waits `delay` seconds; from
    `pause` the process is paused at its next call (None: never, for some of them would be innocent). `profiles` is how
    many agents and tenants are remembered.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where the configuration enters
    canaries: tuple[str, ...] = ()
    keys: bool = True
    most: Mapping[Feature, float] = field(default_factory=dict)
    note: float = 3.2
    slow: float | None = None
    pause: float | None = None
    warm: int = 30
    delay: float = 1.0
    profiles: int = 1000


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What was out of the ordinary, and what was done; `cause` is a feature, `canary`, `key` or `quarantine`."""

    action: Action
    cause: str
    reason: str

    @property
    def stops(self) -> bool:
        """Whether nothing goes on until somebody has looked."""
        return self.action in ("pause", "quarantine")


def over(feature: Feature, count: float, most: float) -> Anomaly:
    """What is said of a turn that came to more than its limit."""
    return Anomaly("pause", feature, f"{feature} {count:g}, over the limit of {most:g} in a turn")


class TurnCounts:
    """What a turn of a process came to so far, and what statistics want done about it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts: defaultdict[Feature, float] = defaultdict(float)
        self.passed: set[Feature] = set()  # somebody looked, and let it go on
        self.slow = False
        self.due: Anomaly | None = None
        self.alive: Any = None  # ends it with its process
        self._row = 0

    def begins(self, call: Call) -> None:
        """Count a tool call that is about to be made."""
        self._row = self._row + 1 if call.times else 0
        self.counts["calls"] += 1
        self.counts["again"] = max(self.counts["again"], self._row)

    def ends(self, call: Call, failure: LLMAgentOSError | None) -> None:
        """Count what a call came to."""
        tokens, counts = call.cost.input_tokens + call.cost.output_tokens, self.counts
        if tokens:
            counts["tokens"] += tokens
            counts["largest"] = max(counts["largest"], tokens)
        if failure is not None:
            counts["refusals" if isinstance(failure, PermissionDenied) else "errors"] += 1

    def judge(self, limits: Mapping[Feature, float]) -> Anomaly | None:
        """What is over its limit, said once."""
        for feature, count in self.counts.items():
            if count > limits[feature] and feature not in self.passed:
                self.passed.add(feature)
                return over(feature, count, limits[feature])
        return None


class Anomalies:
    """The filter. It stands outside the gate, so that it sees what that refuses.

    `traits` says what a tool declares, `pause` holds a process, `facts` keep who is in quarantine. `seen` counts
    what was done, by action and cause; `lately` holds the last of it.
    """

    calls = frozenset({"call", "generate", "send"})

    def __init__(
        self, settings: AnomalySettings, traits: Callable[[str], Traits], pause: Callable[[int, str], Awaitable[None]],
        facts: Facts, clock: Callable[[], float] = time.time,
        keep: Callable[[str, str, str], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        """`keep(tenant, agent, reason)` makes a quarantine last, by the act `anomalies.quarantine`."""
        self.settings, self._traits, self._pause = settings, traits, pause
        self._facts, self._clock, self._keep = facts, clock, keep
        self._limits = {feature: settings.most.get(feature, most) for feature, most in MOST.items()}
        self._turns: dict[int, TurnCounts] = {}
        self._canaries = [form for canary in settings.canaries for form in _forms(canary)]
        held = {name: str(reason) for name, (_, reason) in facts.list(SPACE).items()}
        self._held = {(owner_of(name), name.rpartition("/")[2]): reason for name, reason in held.items()}
        self.seen: Counter[tuple[str, str]] = Counter()
        self.lately: deque[dict[str, Json]] = deque(maxlen=LATELY)

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Let a call proceed, or raise PermissionDenied; the process is then paused until somebody has looked."""
        turn, is_tool = None if process.service is not None else self._turn(process), call.name == "call"
        if turn is not None and is_tool:
            turn.begins(call)
        found = await self._exact(call, process)
        if turn is not None and found is None:
            found = turn.judge(self._limits)
        if found is not None:
            self._note(found, call.tenant, agent_of(process), call.pid)
        elif turn is not None and turn.due is not None:  # noted when it was seen
            found, turn.due = turn.due, None
        if found is not None:
            await self._stop(found, call, process)
            text = f"stopped: {found.reason}; look at `logs {call.pid}`, then {_way_on(found, process)}"
            raise PermissionDenied(text, anomaly=found.cause, pid=call.pid)
        if turn is None:
            return await proceed(call)
        if turn.slow and is_tool:
            await asyncio.sleep(self.settings.delay)
        return await self._counted(call, process, proceed, turn)

    async def _counted(self, call: Call, process: Process, proceed: Proceed, turn: TurnCounts) -> Any:
        failure: LLMAgentOSError | None = None
        try:
            return await proceed(call)
        except LLMAgentOSError as error:
            failure = error
            raise
        finally:
            turn.ends(call, failure)
            if (found := turn.judge(self._limits)) is not None:
                self._note(found, call.tenant, agent_of(process), call.pid)
                await self._stop(found, call, process)

    def report(self, found: Anomaly, tenant: str, agent: str, pid: int, turn: int | None = None) -> None:
        """Take down what statistics found, and have it done at the next call of that turn."""
        self._note(found, tenant, agent, pid)
        held = self._turns.get(pid)
        if held is not None and held.number == turn:
            held.slow |= found.action == "slow"
            held.due = found if found.stops else held.due

    def quarantined(self, tenant: str) -> dict[str, str]:
        """The agents of a tenant that may do nothing, and why."""
        return {agent: reason for (owner, agent), reason in self._held.items() if owner == tenant}

    async def quarantine(self, tenant: str, agent: str, reason: str) -> None:
        """Let no process of an agent call a tool or send a message, until it is released; from now on."""
        self._held[tenant, agent] = reason
        if self._keep is not None:
            await self._keep(tenant, agent, reason)

    async def hold(self, call: Call, by: Any) -> None:
        """The act `anomalies.quarantine` (`agent`, `reason`)."""
        agent, reason = call.args["agent"], call.args["reason"]
        self._held[call.tenant, agent] = reason
        call.writes.append(self._facts.written(SPACE, owned(call.tenant, agent), reason))

    async def release(self, call: Call, by: Any) -> None:
        """The act `anomalies.release` (`agent`): its processes stay paused until they are resumed. Raises NotFound."""
        agent = call.args["agent"]
        if (call.tenant, agent) not in self._held:
            raise not_found("quarantine", agent, self.quarantined(call.tenant))
        call.writes.append(self._facts.dropped(SPACE, owned(call.tenant, agent)))
        call.after.append(lambda: self.lift(call.tenant, agent))

    def lift(self, tenant: str, agent: str) -> None:
        """Let an agent act again, as far as it is not for the records to say."""
        self._held.pop((tenant, agent), None)

    async def _exact(self, call: Call, process: Process) -> Anomaly | None:
        """What a call itself shows."""
        if call.name == "generate":
            return None
        agent = agent_of(process) if self._held else ""
        if (reason := self._held.get((call.tenant, agent))) is not None:
            return Anomaly("pause", "quarantine", f"{agent} is in quarantine ({reason})")
        looks = call.name == "call" and self.settings.keys and self._traits(call.args["tool"]).effect == "external"
        if not looks and not self._canaries:
            return None
        data = codec.dumps(call.args["arguments" if call.name == "call" else "body"])
        if any(form in data for form in self._canaries):
            return Anomaly("quarantine", "canary", "a planted string that nothing may send was about to go out")
        if looks and await aside(lambda: keys(data.decode()), len(data)):
            return Anomaly("pause", "key", f"what {call.args['tool']} was to send looks like a secret key")
        return None

    async def _stop(self, found: Anomaly, call: Call, process: Process) -> None:
        call.labels += (LABEL + found.cause,)
        if found.action == "quarantine":
            await self.quarantine(call.tenant, agent_of(process), found.reason)
        if process.service is None:
            with suppress(Conflict):  # paused already
                await self._pause(call.pid, found.reason)

    def _note(self, found: Anomaly, tenant: str, agent: str, pid: int) -> None:
        self.seen[found.action, found.cause] += 1
        self.lately.append({
            "at": self._clock(), "tenant": tenant, "agent": agent, "pid": pid, "action": found.action,
            "cause": found.cause, "reason": found.reason,
        })  # fmt: skip
        log.warning("%s: process %d (%s): %s", found.action, pid, agent, found.reason)

    def _turn(self, process: Process) -> TurnCounts:
        pid, number = process.pid, process.turn + 1
        turn = self._turns.get(pid)
        if turn is None or turn.number != number:
            turn = self._turns[pid] = TurnCounts(number)
            turn.alive = weakref.ref(process, lambda gone: self._forget(pid, gone))  # parked, or ended
        return turn

    def _forget(self, pid: int, gone: Any) -> None:
        turn = self._turns.get(pid)
        if turn is not None and turn.alive is gone:
            del self._turns[pid]


def _way_on(found: Anomaly, process: Process) -> str:
    if process.service is not None:
        return "ask again without it"
    lifted = found.cause in ("canary", "quarantine")
    release = f"`anomalies release {agent_of(process)}` and " if lifted else ""
    return f"{release}`resume {process.pid}` or `kill {process.pid}`"


def agent_of(process: Process) -> str:
    """Whose habits a call belongs to: an agent's over all its processes, else a program's."""
    spec = definition(process.args)
    return str((spec and spec.get("name")) or process.name or process.program)


def _forms(canary: str) -> Iterator[bytes]:
    """A string as it may stand in JSON: plain, in hexadecimal, in Base64 at each of three offsets."""
    data = canary.encode()
    yield codec.dumps(canary)[1:-1]
    yield data.hex().encode()
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + data)
        yield whole[offset + (offset > 0) : len(whole) - 4 if (offset + len(data)) % 3 else None]
