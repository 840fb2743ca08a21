"""REST: what was drawn on the accounts of budgets, and giving some of it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from .desk import Here
from .rest_agents import Strict

if TYPE_CHECKING:
    from ..boot import System

Resource = Literal["tokens", "money", "steps", "seconds"]


class Drawn(BaseModel):
    """What was drawn on an account in a period."""

    account: str = Field(description="whose it is: agent/NAME, session/NAME@SESSION/PERSON, person/NAME, process/PID")
    resource: Resource
    period: str = Field(description="such as 2026-11-29; empty: for ever")
    used: float


class Credit(Strict):
    """What an account is given back."""

    account: str = Field(min_length=1)
    resource: Resource
    period: str = Field("", description="a label or hour, day, month; without it for ever, or else the present one")
    amount: float = Field(gt=0, allow_inf_nan=False)


class Accounts:
    """The handlers."""

    def __init__(self, system: System) -> None:
        self._ledger = system.kernel.ledger

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["accounts"])
        router.get("/v1/accounts")(self.listed)
        router.post("/v1/accounts", status_code=204)(self.credit)
        return router

    async def listed(self, here: Here) -> dict[str, list[Drawn]]:
        """What was drawn on the tenant's accounts, as far as a budget limits it."""
        found = self._ledger.listed(here.caller.tenant)
        return {"accounts": [Drawn(**dict(zip(Drawn.model_fields, row, strict=True))) for row in found]}

    async def credit(self, here: Here, body: Credit) -> None:
        """Give something back, so that who has used it up may go on: an act, which is journalled."""
        await here.sys.act("accounts.credit", **body.model_dump())
