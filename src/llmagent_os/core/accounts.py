"""Accounts: what was drawn on each in its present period, and what calls in flight may still draw.

They are rows of their own, written with the row of what was paid for: no process and no retention takes them along.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from .errors import not_found
from .ports import Store
from .records import Budget, Call, Period, Usage

MOST = 4096  # accounts in memory
HOUR = 3600.0  # seconds; every period begins with one
PERIODS: Mapping[Period, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


class Drawer(Protocol):
    """A process, as far as accounts need to know it."""

    pid: int
    tenant: str
    budgets: tuple[Budget, ...]
    turn_began: float

    @property
    def up(self) -> Drawer | None:
        """Its parent."""
        ...


@dataclass(slots=True, eq=False)
class Account:
    """An account in its present period, by whose name its rows go; until `until` it surely lasts."""

    name: str
    period: str = ""
    until: float = 0.0
    used: dict[str, float] = field(default_factory=dict)  # by resource
    reserved: dict[str, float] = field(default_factory=dict)  # by resource, what calls in flight may still draw
    pending: int = 0  # generations in flight that may draw less than is reserved for them
    settled: asyncio.Event | None = None  # set when less is reserved

    def gone(self, resource: str) -> float:
        """What is used, or reserved for calls in flight."""
        return self.used.get(resource, 0.0) + self.reserved.get(resource, 0.0)

    def reserve(self, call: Call, resource: str, amount: float) -> None:
        """Set aside what a call may draw, until it is over."""
        self.change(resource, amount)
        call.ends.append(lambda: self.change(resource, -amount))

    def change(self, resource: str, amount: float) -> None:
        """Reserve so much more, or less; who waits for that looks again."""
        self.reserved[resource] = self.reserved.get(resource, 0.0) + amount
        if self.settled is not None:
            self.settled.set()
            self.settled = None


@dataclass(slots=True, eq=False)
class Reserve:
    """What a generation may draw on accounts, set aside at first, until it is known what it has drawn."""

    accounts: Sequence[Account]
    tokens: float
    money: float
    open: int = 1

    def __post_init__(self) -> None:
        self._change(self.tokens, self.money, 1)

    def settle(self, cost: Usage) -> None:
        """It has drawn so much, which is reserved until it is booked; the rest is free for others."""
        tokens, money = cost.input_tokens + cost.output_tokens, cost.money
        self._change(tokens - self.tokens, money - self.money, -self.open)
        self.tokens, self.money, self.open = tokens, money, 0

    def _change(self, tokens: float, money: float, pending: int) -> None:
        for account in self.accounts:
            account.pending += pending
            account.change("tokens", tokens)
            account.change("money", money)


class Draft(NamedTuple):
    """A budget that a call comes under, its account, whose budget it is, and how far above the caller that stands."""

    budget: Budget
    account: Account
    holder: Drawer
    above: int


Entry = tuple[Account, str, str, float]
"""An account, its period, a resource, and how much of that was drawn."""


class Ledger:
    """All accounts. `standing` are budgets that every call comes under, such as those of a tenant and a person."""

    def __init__(self, store: Store, standing: Sequence[Budget] = (), clock: Callable[[], float] = time.time) -> None:
        self._store, self.standing, self._clock = store, tuple(standing), clock
        self._accounts: dict[tuple[str, Period | None], Account] = {}

    def drawn(self, process: Drawer, principal: str) -> list[Draft]:
        """What a call of a process for somebody is charged to: its budgets, those above it, and the standing ones."""
        found: list[Draft] = []
        holder: Drawer | None = process
        above = 0
        while holder is not None:
            for budget in holder.budgets:
                found.append(Draft(budget, self._account(budget, holder, principal), holder, above))
            holder, above = holder.up, above + 1
        found += [Draft(each, self._account(each, process, principal), process, 0) for each in self.standing]
        return found

    def _account(self, budget: Budget, holder: Drawer, principal: str) -> Account:
        name = f"{holder.tenant}/{budget.account}" if budget.account else f"process/{holder.pid}"
        key = (f"{name}/{quote(principal, '')}" if budget.apiece else name, budget.period)
        now, account = self._clock(), self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= MOST:
                self._accounts = {key: each for key, each in self._accounts.items() if any(each.reserved.values())}
            account = self._accounts[key] = Account(key[0])
        if now >= account.until:
            label = time.strftime(PERIODS[budget.period], time.gmtime(now)) if budget.period is not None else ""
            if label != account.period or not account.until:
                account.period, account.used = label, dict(self._store.read("account.get", account.name, label))
            account.until = (now // HOUR + 1) * HOUR
        return account

    def listed(self, tenant: str) -> list[tuple[str, str, str, float]]:
        """What was drawn on a tenant's accounts: account, resource, period, amount."""
        rows = self._store.read("account.list", tenant)
        return [(name.removeprefix(f"{tenant}/"), *drawn) for name, *drawn in rows]

    def credit(self, tenant: str, name: str, resource: str, period: str, amount: float) -> list[Entry]:
        """What gives an account something back: of `period`, a label or a kind, or of the one that is drawn on now.

        Raises NotFound where nothing was drawn on it, and where several periods are drawn on now.
        """
        now: dict[str, str] = {kind: time.strftime(form, time.gmtime(self._clock())) for kind, form in PERIODS.items()}
        drawn, label = [each[:3] for each in self.listed(tenant)], now.get(period, period)
        if (name, resource, label) not in drawn:
            present = [each for each in drawn if each[:2] == (name, resource) and each[2] in now.values()]
            if period or len(present) != 1:
                said = (" ".join(filter(None, each)) for each in present or drawn)
                raise not_found("account", " ".join(filter(None, (name, resource, period))), said)
            label = present[0][2]
        full = name if name.startswith("process/") else f"{tenant}/{name}"
        known = [each for each in self._accounts.values() if (each.name, each.period) == (full, label)]
        return [(known[0] if known else Account(full, label), label, resource, -amount)]

    def wrote(self, writes: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Statements are written: let those that draw on accounts count."""
        for name, resource, period, amount in (values for statement, values in writes if statement == "account.add"):
            for kind in (None, *PERIODS):
                if (account := self._accounts.get((name, kind))) is not None:
                    book([(account, period, resource, amount)])

    def entries(self, process: Drawer, principal: str, amounts: Mapping[str, float]) -> list[Entry]:
        """What a process draws now, on each account once: of a resource that some budget limits."""
        drafts = self.drawn(process, principal)
        if not drafts:
            return []
        found = {
            (draft.account.name, draft.account.period, name): (draft.account, draft.account.period, name, amount)
            for draft in drafts
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
