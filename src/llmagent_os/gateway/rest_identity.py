"""REST: keys that are minted and revoked, and what people may have done with their data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from ..core import codec
from ..core.records import Hidden, Json
from ..security.identity import shown
from .desk import Desk, Here
from .rest_agents import Strict
from .routes import Route

_DAY = 86400.0  # seconds


class NewKey(Strict):
    """A key to mint; it can hold no more, and live no longer, than the one it is minted with."""

    name: str = Field("", max_length=128, description="what it is for")
    roles: list[str] = Field(default_factory=list, description="owner, admin, user, viewer")
    scopes: list[str] = Field(default_factory=list, description="such as chat or agents:read; added to those of roles")
    tenant: str | None = Field(None, description="the minter's own without it")
    principal: str | None = Field(None, description="whom it speaks for; its minter without it")
    days: float | None = Field(None, gt=0, description="how long it lives; as long as its minter without it")
    rate: float = Field(0, ge=0, description="requests a minute; 0: as many as its minter's")


class Whose(Strict):
    """A person; the caller without it."""

    principal: str | None = None
    tenant: str | None = None


class Erasure(Whose):
    """Whose data to erase, and texts that are to be nowhere afterwards."""

    prove: list[str] = Field(default_factory=list, max_length=100)


class Consent(Whose):
    """Whether somebody's traffic may be learned from."""

    learning: bool


class Identity:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, privacy = APIRouter(route_class=Route, tags=["identity"]), "/v1/privacy"
        router.get("/v1/keys")(self.keys)
        router.post("/v1/keys", status_code=201)(self.mint)
        router.delete("/v1/keys/{identifier}")(self.revoke)
        router.get(f"{privacy}/export", response_class=StreamingResponse)(self.export)
        router.post(f"{privacy}/erase")(self.erase)
        router.get(f"{privacy}/consent")(self.consent)
        router.put(f"{privacy}/consent")(self.decide)
        router.get(f"{privacy}/retention")(self.retention)
        router.post(f"{privacy}/retention")(self.tidy)
        return router

    async def keys(self, here: Here) -> dict[str, Any]:
        """The keys that were minted from the caller's, or with `keys:write` all of the tenant."""
        return {"keys": [shown(key) for key in here.system.keys.listed(here.caller)]}

    async def mint(self, here: Here, body: NewKey) -> dict[str, Any]:
        """Mint a key. Its secret is in the answer and nowhere else."""
        wanted = body.model_dump(exclude={"days"})
        expires = None if body.days is None else time.time() + body.days * _DAY
        made = await here.sys.act("keys.mint", **wanted, expires=expires)
        return made | {"key": made["key"].value}

    async def revoke(self, here: Here, identifier: str) -> dict[str, list[str]]:
        """End a key and every key that was minted from it, at once."""
        return {"revoked": await here.sys.act("keys.revoke", id=identifier)}

    async def export(self, here: Here, whose: Annotated[Whose, Query()]) -> StreamingResponse:
        """Everything that is a person's, a JSON object a line."""
        lines = _lines(here.system.privacy.export(*_person(here, whose)))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def erase(self, here: Here, body: Erasure) -> dict[str, Any]:
        """Erase everything that is a person's, keys included; says where the texts to be proved gone still are."""
        tenant, principal = _person(here, body)
        erased = await here.sys.act("privacy.erase", person=Hidden((tenant, principal)), prove=Hidden(body.prove))
        return erased | {"found": erased["found"].value}

    async def consent(self, here: Here, whose: Annotated[Whose, Query()]) -> dict[str, bool]:
        """Whether a person lets their traffic be learned from."""
        return {"learning": here.system.privacy.consents(*_person(here, whose))}

    async def decide(self, here: Here, body: Consent) -> dict[str, bool]:
        """Say whether a person's traffic may be learned from, from now on."""
        tenant, principal = _person(here, body)
        await here.sys.act("privacy.consent", tenant=tenant, principal=principal, learning=body.learning)
        return {"learning": body.learning}

    async def retention(self, here: Here) -> dict[str, float | None]:
        """After how many days data is deleted, by kind; null: never."""
        return asdict(here.system.privacy.keep)

    async def tidy(self, here: Here) -> dict[str, int]:
        """Delete what is past its time now; says how much, by kind."""
        return await here.sys.act("privacy.tidy")


PIECE = 1 << 16  # bytes of an answer that are sent at once


async def _lines(exported: Iterable[Json]) -> AsyncIterator[bytes]:
    """An object a line; made in a thread, and handed on in pieces, for a line may be of any length."""
    found = iter(exported)

    def line() -> bytes | None:
        each = next(found, None)
        return None if each is None else codec.dumps(each) + b"\n"

    while (told := await asyncio.to_thread(line)) is not None:
        for begin in range(0, len(told), PIECE):
            yield told[begin : begin + PIECE]


def _person(here: Desk, whose: Whose) -> tuple[str, str]:
    return here.caller.person(whose.tenant, whose.principal)
