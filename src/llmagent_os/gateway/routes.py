"""Routes of the REST application: what is long is taken apart, and put together, beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ..core import codec, documents
from ..core.records import Json
from .asgi import LONG
from .reading import received


class Sent(Request):
    """A request whose body, where it is long, is read and checked in a thread, once."""

    checked = False

    async def json(self) -> Any:
        """The body as JSON; of a long one raises InvalidRequest for what is none, and for what nobody could keep."""
        data = await self.body()
        if len(data) <= LONG or hasattr(self, "_json"):
            return await super().json()
        self._json = await asyncio.to_thread(checked, data)
        self.checked = True
        return self._json


def checked(data: bytes) -> Json:
    """The JSON of a body that a journal can keep; raises InvalidRequest."""
    return documents.plain(received(data), "the body")


class Route(APIRoute):
    """A route that is given such requests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As the framework's."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(Sent(request.scope, request.receive))

        return handle


def told(data: Json) -> Response:
    """An answer in JSON that may be long: the framework would take it apart value by value."""
    return Response(codec.dumps(data), media_type="application/json")
