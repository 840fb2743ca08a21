"""Budgets: what may be drawn on accounts, checked before every call; and the accounts, rows that outlive processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple
from urllib.parse import quote

from ..core.errors import BudgetExceeded
from ..core.ports import Proceed, Store
from ..core.records import Budget, Call, GenerateRequest, Period
from .process import Process

MOST = 4096  # accounts in memory


@dataclass(slots=True, eq=False)
class Account:
    """An account in its present period, by whose name its rows go; `until` is when that ends."""

    name: str
    period: str = ""
    until: float = inf
    used: dict[str, float] = field(default_factory=dict)  # by resource
    reserved: int = 0  # tokens that calls in flight may still draw
    settled: asyncio.Event | None = None  # set when one of those is over


class Draft(NamedTuple):
    """A budget that a call comes under, its account, whose budget it is, and how far above the caller that stands."""

    budget: Budget
    account: Account
    holder: Process
    above: int


Entry = tuple[Account, str, str, float]
"""An account, its period, a resource, and how much of that was drawn."""


class Ledger:
    """All accounts. `standing` are budgets that every call comes under, such as those of a tenant and a person."""

    def __init__(self, store: Store, standing: Sequence[Budget] = (), clock: Callable[[], float] = time.time) -> None:
        self._store, self._standing, self._clock = store, tuple(standing), clock
        self._accounts: dict[tuple[str, Period | None], Account] = {}

    def drawn(self, process: Process, principal: str) -> list[Draft]:
        """What a call of a process for somebody is charged to: its budgets, those above it, and the standing ones."""
        found = [
            Draft(budget, self._account(budget, holder, principal), holder, above)
            for above, holder in enumerate(process.lineage())
            for budget in holder.budgets
        ]
        return found + [Draft(each, self._account(each, process, principal), process, 0) for each in self._standing]

    def _account(self, budget: Budget, holder: Process, principal: str) -> Account:
        name = f"{holder.tenant}/{budget.account}" if budget.account else f"process/{holder.pid}"
        key = (f"{name}/{quote(principal, '')}" if budget.apiece else name, budget.period)
        now, account = self._clock(), self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= MOST:
                self._accounts = {key: each for key, each in self._accounts.items() if each.reserved}
            account = self._accounts[key] = Account(key[0], until=0.0)
        if now >= account.until:
            account.period, account.until = _span(budget.period, now)
            account.used = dict(self._store.read("account.get", account.name, account.period))
        return account

    def entries(self, process: Process, principal: str, amounts: Mapping[str, float]) -> list[Entry]:
        """What a process draws now, on each account once: of a resource that some budget limits."""
        found = {
            (draft.account.name, draft.account.period, name): (draft.account, draft.account.period, name, amount)
            for draft in self.drawn(process, principal)
            for name, amount in amounts.items()
            if amount and getattr(draft.budget, name) is not None
        }
        return list(found.values())


def statements(entries: Sequence[Entry]) -> list[tuple[str, tuple[str, str, str, float]]]:
    """What writes them, together with what was paid for."""
    return [("account.add", (account.name, name, period, amount)) for account, period, name, amount in entries]


def book(entries: Sequence[Entry]) -> None:
    """They are written: let them count."""
    for account, period, name, amount in entries:
        if account.period == period:
            account.used[name] = account.used.get(name, 0.0) + amount


def _span(period: Period | None, now: float) -> tuple[str, float]:
    """The name of the present period, and when it ends (UTC)."""
    if period is None:
        return "", inf
    day = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return day.strftime("%Y-%m-%dT%H"), (day + timedelta(hours=1)).timestamp()
    day = day.replace(hour=0)
    if period == "day":
        return day.strftime("%Y-%m-%d"), (day + timedelta(days=1)).timestamp()
    return day.strftime("%Y-%m"), (day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()


async def budgets(call: Call, process: Process, proceed: Proceed) -> Any:
    """A filter: refuse a call that would go over a budget that it comes under, cut its deadline to fit."""
    for draft in call.ledger.drawn(process, call.principal):
        if not (draft.budget.apiece and call.name == "receive"):  # whom it is for is not known before
            _check(call, draft, process)
    return await proceed(call)


def _check(call: Call, draft: Draft, process: Process) -> None:
    limit, used = draft.budget, draft.account.used.get
    _refuse(draft, "steps", used("steps", 0.0) + 1, limit.steps)
    _refuse(draft, "money", used("money", 0.0), limit.money, spent=True)
    _refuse(draft, "tokens", used("tokens", 0.0), limit.tokens, spent=True)
    if limit.seconds is not None:
        began = min(each.turn_began or time.monotonic() for each in (draft.holder, process))
        seconds = used("seconds", 0.0) + time.monotonic() - began
        _refuse(draft, "seconds", seconds, limit.seconds, spent=True)
        call.deadline = min(call.deadline, limit.seconds - seconds)
    if call.name == "spawn":
        _refuse(draft, "depth", draft.above + 1, limit.depth)


def _refuse(draft: Draft, resource: str, used: float, limit: float | None, spent: bool = False) -> None:
    """`spent`: `used` is what is gone already, so reaching the limit is enough."""
    if limit is None or used < limit or (used == limit and not spent):
        return
    budget, name = draft.budget, draft.account.name
    when = f"wait for the next {budget.period}, or " if budget.period is not None else ""
    raise BudgetExceeded(
        f"{name} has used its budget of {resource} ({used:g} of {limit:g}); {when}raise it, and send the message again",
        resource=resource, used=used, limit=limit, account=name, pid=draft.holder.pid,
    )  # fmt: skip


async def reserve(
    call: Call, process: Process, request: GenerateRequest, count: Callable[[GenerateRequest], Awaitable[int]],
    times: int = 1,
) -> GenerateRequest:  # fmt: skip
    """Set aside, until the call is over, what `times` such generations may take, and limit each to what there is.

    Where calls of the same account have set aside what this one needs, it waits for them. Raises BudgetExceeded.
    """
    drawn: list[Draft] = call.ledger.drawn(process, call.principal)
    bounds = [(each.budget.tokens, each.account) for each in drawn if each.budget.tokens is not None]
    if not bounds:
        return request
    prompt = await count(request)
    while _left(bounds) // times <= prompt and any(account.reserved for _, account in bounds):
        tight = min((each for each in bounds if each[1].reserved), key=lambda each: _left([each]))[1]
        settled = tight.settled = tight.settled or asyncio.Event()
        await settled.wait()
    request = _cut(request, prompt, bounds, times)
    _set_aside(call, {account for _, account in bounds}, times * (prompt + (request.sampling.max_tokens or 0)))
    return request


def _left(bounds: Sequence[tuple[int, Account]]) -> int:
    return min(limit - int(account.used.get("tokens", 0)) - account.reserved for limit, account in bounds)


def _set_aside(call: Call, accounts: set[Account], tokens: int) -> None:
    for account in accounts:
        account.reserved += tokens

    def release() -> None:
        for account in accounts:
            account.reserved -= tokens
            if account.settled is not None:
                account.settled.set()
                account.settled = None

    call.ends.append(release)


def _cut(request: GenerateRequest, prompt: int, bounds: Sequence[tuple[int, Account]], times: int) -> GenerateRequest:
    """Limit a generation to the tokens that are left after its prompt; raises BudgetExceeded where there are none."""
    left = _left(bounds) // times
    room = left - prompt
    if room < 1:
        name = min(bounds, key=lambda each: _left([each]))[1].name
        raise BudgetExceeded(
            f"the prompt takes {prompt} tokens and the budget of {name} leaves {left}; raise it",
            resource="tokens", used=prompt, limit=left, account=name,
        )  # fmt: skip
    wanted = request.sampling.max_tokens
    if wanted is not None and wanted <= room:
        return request
    return replace(request, sampling=replace(request.sampling, max_tokens=room))
