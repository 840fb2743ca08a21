"""REST: what was drawn on the accounts of budgets, and giving some of it back."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ..core.accounts import PERIODS
from ..core.records import Budget
from .desk import Desk, Here
from .rest_agents import Strict
from .routes import Route

Resource = Literal["tokens", "money", "steps", "seconds"]


class Drawn(BaseModel):
    """What was drawn on an account in a period."""

    account: str = Field(description="whose it is: agent/NAME, session/NAME@SESSION/PERSON, person/NAME, process/PID")
    resource: Resource
    period: str = Field(description="such as 2026-11-29; empty: for ever")
    used: float
    limit: float | None = Field(None, description="the least of the budgets that hold now; null where none does")


class Credit(Strict):
    """What an account is given back."""

    account: str = Field(min_length=1)
    resource: Resource
    period: str = Field("", description="a label or hour, day, month; without it for ever, or else the present one")
    amount: float = Field(gt=0, allow_inf_nan=False)


class Accounts:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["accounts"])
        router.get("/v1/accounts")(self.listed)
        router.post("/v1/accounts", status_code=204)(self.credit)
        return router

    async def listed(self, here: Here) -> dict[str, list[Drawn]]:
        """What was drawn on the tenant's accounts, as far as a budget limits it."""
        found = here.system.kernel.ledger.listed(here.caller.tenant)
        return {"accounts": [self._drawn(here, *row) for row in found]}

    def _drawn(self, here: Desk, account: str, resource: Any, period: str, used: float) -> Drawn:
        kind = next((kind for kind, form in PERIODS.items() if _fits(period, form)), None)
        limits = [
            most for each in self._budgets(here, account)
            if each.period == kind and (most := getattr(each, resource)) is not None
        ]  # fmt: skip
        return Drawn(account=account, resource=resource, period=period, used=used, limit=min(limits, default=None))

    def _budgets(self, here: Desk, account: str) -> list[Budget]:
        """The budgets on an account: those of the agent that it names, of a process, or of every tenant or person."""
        kind, _, rest = account.partition("/")
        name, _, person = rest.partition("/")
        if kind == "process":
            process = here.system.kernel.table.find(int(rest))
            return [each for each in process.budgets if not each.account] if process is not None else []
        agent = name.partition("@")[0]
        if kind in ("agent", "session") and here.agents.knows(agent):
            drawn = here.agents.get(agent).spec.drawn(name, person)
            return [each for each in drawn if each.account.startswith(f"{kind}/") and each.apiece == _apiece(account)]
        return [each for each in here.system.kernel.ledger.standing if each.account == kind]

    async def credit(self, here: Here, body: Credit) -> None:
        """Give something back, so that who has used it up may go on: an act, which is journalled."""
        await here.sys.act("accounts.credit", **body.model_dump())


def _apiece(account: str) -> bool:
    """Whether an account is each person's own of an agent: agent/NAME/PERSON."""
    return account.startswith("agent/") and account.count("/") == 2


def _fits(period: str, form: str) -> bool:
    """Whether a label is one of a kind of period."""
    try:
        return time.strftime(form, time.strptime(period, form)) == period
    except ValueError:
        return False
