"""REST: a browser's login and logout."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .desk import Here
from .login import Logins
from .routes import Route


class Entrance:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["identity"])
        router.post("/v1/login", status_code=204)(self.enter)
        router.delete("/v1/login", status_code=204)(self.leave)
        return router

    async def enter(self, here: Here, request: Request, response: Response) -> None:
        """Get a cookie for the key that this request carries, to be used by pages of this origin on this machine."""
        logins: Logins = request.scope["logins"]
        response.headers["Set-Cookie"] = logins.open(request.scope, here.caller)
        response.headers["Cache-Control"] = "no-store"

    async def leave(self, request: Request, response: Response) -> None:
        """Forget the login that this request's cookie belongs to."""
        logins: Logins = request.scope["logins"]
        response.headers["Set-Cookie"] = logins.close(request.scope)
