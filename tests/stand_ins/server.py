"""A player of scripts behind HTTP: it answers as the scripted model does, in the words of the face that it wears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from llmagent_os.core import codec
from llmagent_os.core.errors import ContextOverflow, EngineUnavailable, InvalidRequest, LLMAgentOSError
from llmagent_os.core.records import Chunk, GenerateRequest, Generation, ModelSpec
from llmagent_os.core.stream import collect
from llmagent_os.llm.scripted import ScriptedEngine, open_engine

WINDOW = 4096
"""Tokens of four characters that the model behind a stand-in reads."""

RULES = [{"match": "slowly", "text": "one two three four " * 100, "pace": 0.01}]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """What a server answers instead of a generation: a status and its words."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


@dataclass
class StandIn:
    """A running server: where it is, what it got, and what to do instead of answering (`instead`) in a test.

    A face says what is served (`routes`) and how things are put: see the methods that have no body here.
    """

    model: ScriptedEngine
    key: str = ""
    url: str = ""
    instead: Handler | None = None
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last(self) -> dict[str, Any]:
        """The body of the last request."""
        return self.received[-1][1]

    async def read(self, request: web.Request, key: str, known: frozenset[str]) -> dict[str, Any]:
        """Check the key and the fields, and record the body."""
        if self.key and key != self.key:
            raise Refused(401, "authentication_error", f"Incorrect API key provided: {key}")
        body = codec.loads(await request.read())
        self.received.append((request.path, body))
        if unknown := sorted(set(body) - known):
            raise Refused(400, "invalid_request_error", f"Unrecognized request argument supplied: {unknown[0]}")
        if body["model"] != "stand-in":
            raise Refused(404, "not_found_error", f"The model {body['model']!r} does not exist")
        return body

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Play an answer: whole, or in pieces from when there is a first one."""
        body = await self.body(request)
        wanted = self.asked(body)
        chunks = self.chunks(wanted)
        if not body.get("stream"):
            return web.json_response(self.whole(await collect(chunks), body))
        first = await anext(chunks)
        response = await event_stream(request)
        for event in [*await self.opening(wanted), *self.piece(first, body)]:
            await response.write(event)
        async for chunk in chunks:
            for event in self.piece(chunk, body):
                await response.write(event)
        await response.write(self.closing())
        return response

    async def chunks(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """The model's answer; its refusals as the server's."""
        try:
            async for chunk in self.model.generate(request):
                yield chunk
        except ContextOverflow as error:
            raise Refused(400, "context_length_exceeded", self.over_window(**error.facts)) from error
        except InvalidRequest as error:
            raise Refused(400, "invalid_request_error", error.message) from error
        except EngineUnavailable as error:
            raise Refused(503, "overloaded_error", error.message) from error
        except LLMAgentOSError as error:
            raise Refused(500, "api_error", error.message) from error

    def over_window(self, tokens: int, window: int) -> str:
        """How this server words a prompt that is too long."""
        raise NotImplementedError

    def error(self, refused: Refused) -> dict[str, Any]:
        """The body of an error answer."""
        raise NotImplementedError

    def routes(self) -> list[web.RouteDef]:
        """What it serves."""
        raise NotImplementedError

    async def body(self, request: web.Request) -> dict[str, Any]:
        """The body of a request, once it has been checked (see `read`)."""
        raise NotImplementedError

    def asked(self, body: Mapping[str, Any]) -> GenerateRequest:
        """Read a body as the model is asked, or refuse it."""
        raise NotImplementedError

    def whole(self, answer: Generation, body: Mapping[str, Any]) -> dict[str, Any]:
        """An answer that is not streamed."""
        raise NotImplementedError

    async def opening(self, wanted: GenerateRequest) -> Iterable[bytes]:
        """The events before the first piece."""
        raise NotImplementedError

    def piece(self, chunk: Chunk, body: Mapping[str, Any]) -> Iterator[bytes]:
        """The events of a chunk."""
        raise NotImplementedError

    def closing(self) -> bytes:
        """The event that ends a stream."""
        raise NotImplementedError

    async def middle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer errors in the server's shape, and notice callers that leave."""
        try:
            return await (self.instead or handler)(request)
        except Refused as refused:
            return web.json_response(self.error(refused), status=refused.status)
        except (asyncio.CancelledError, ConnectionResetError):
            self.abandoned.set()
            raise


async def model(**options: Any) -> ScriptedEngine:
    """The scripted model behind a stand-in."""
    return await open_engine(ModelSpec("stand-in", "scripted", window=WINDOW, options={"rules": RULES, **options}))


@asynccontextmanager
async def playing(stand_in: StandIn) -> AsyncIterator[StandIn]:
    """Run it on a free port of 127.0.0.1."""

    @web.middleware
    async def middle(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await stand_in.middle(request, handler)

    app = web.Application(middlewares=[middle], client_max_size=2**26)
    app.add_routes(stand_in.routes())
    async with serving(app) as url:
        stand_in.url = f"{url}/v1"
        yield stand_in


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve anything on a free port of 127.0.0.1; gives the URL, without a slash at its end."""
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def event_stream(request: web.Request) -> web.StreamResponse:
    """Begin an answer of server-sent events, with a comment as servers send to keep a connection open."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b": still here\r\n\r\n")
    return response
