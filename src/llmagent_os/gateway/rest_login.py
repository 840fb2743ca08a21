"""REST: a browser's login and logout, and who it is that is logged in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from .. import __version__
from .desk import Here
from .login import TICKET, Logins
from .routes import Route


class Entrance:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["identity"])
        router.get("/v1/login")(self.who)
        router.post("/v1/login", status_code=204)(self.enter)
        router.delete("/v1/login", status_code=204)(self.leave)
        router.post("/v1/login/ticket", status_code=201)(self.ticket)
        return router

    async def who(self, here: Here) -> dict[str, Any]:
        """Whom this request comes from, and what they may do."""
        caller = here.caller
        return {
            "tenant": caller.tenant, "principal": caller.principal, "scopes": sorted(caller.scopes),
            "version": __version__,
        }  # fmt: skip

    async def enter(self, here: Here, request: Request, response: Response) -> None:
        """Get a cookie for the key that this request carries, to be used by pages of this origin on this machine.

        Instead of a key it may be `Authorization: Ticket TICKET`.
        """
        logins: Logins = request.scope["logins"]
        response.headers["Set-Cookie"] = logins.open(request.scope, here.caller)
        response.headers["Cache-Control"] = "no-store"

    async def leave(self, request: Request, response: Response) -> None:
        """Forget the login that this request's cookie belongs to."""
        logins: Logins = request.scope["logins"]
        response.headers["Set-Cookie"] = logins.close(request.scope)

    async def ticket(self, here: Here, request: Request, response: Response) -> dict[str, Any]:
        """Get a ticket, which logs a browser on this machine in, once: `/#ticket=TICKET` is the desktop's address."""
        logins: Logins = request.scope["logins"]
        response.headers["Cache-Control"] = "no-store"
        return {"ticket": logins.ticket(here.caller), "seconds": TICKET}
