"""OpenAI's responses API: answers as items, and conversations that go on from an earlier response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..core.errors import InvalidRequest, LLMAgentOSError, Unsupported
from ..core.records import GenerateRequest, Message
from .answering import Answerers
from .asgi import Exchange
from .background import Background
from .desk import Desk
from .kept import Kept, numbered
from .responses_bodies import ResponsesBody, take_response
from .responses_items import messages
from .responses_wire import Wire
from .streaming import stream


class Responses:
    """The handlers of /v1/responses. What was said and answered is kept, unless `store` is false."""

    def __init__(self, desk: Desk) -> None:
        self._sys, self._answerers, self._kept = desk.sys, Answerers(desk), Kept(desk)
        self._whose = desk.caller.tenant, desk.caller.principal

    async def create(self, http: Exchange) -> None:
        """POST /v1/responses."""
        body = await take_response(http)
        request, said = await self._request(body, http)
        wire = Wire(body, request.model)

        async def keep() -> None:
            if body.store is not False or body.conversation_id:
                items = numbered(said, wire.hex)
                await self._kept.keep(wire.response, items, body.conversation_id, body.store is not False)

        if body.background:
            background: Background = http.scope["background"]
            background.check(self._whose)
            await keep()
            background.start(wire.id, self._work(request, wire, keep, background), self._whose)
            await http.json(200, wire.response)
            return
        async with http.attended():
            if body.stream:
                await stream(http, self._answerers, request, wire, keep)
                return
            wire.whole(await self._answerers.answer(request))
        await keep()
        await http.json(200, wire.response)

    async def _work(
        self, request: GenerateRequest, wire: Wire, keep: Callable[[], Awaitable[None]], background: Background
    ) -> None:
        """Answer in the background; how that ended is kept."""
        try:
            wire.whole(await self._answerers.answer(request))
        except (LLMAgentOSError, TimeoutError) as error:
            wire.failed(error)
        except asyncio.CancelledError:
            if not background.keeps(wire.id):
                return
            wire.told("cancelled")
        await keep()

    async def _request(
        self, body: ResponsesBody, http: Exchange
    ) -> tuple[GenerateRequest, Sequence[Mapping[str, Any]]]:  # fmt: skip
        """What is asked, and the items that are new in it."""
        model, said = self._answerers.named(body.model), self._kept.resolved(body.items)
        now = await http.beside(lambda: messages(said))
        earlier: list[Message] = []
        if body.previous_response_id is not None:
            earlier = self._kept.said_until(body.previous_response_id)
        elif body.conversation_id is not None:
            earlier = self._kept.said_in(body.conversation_id)
        if not now and not earlier:
            raise InvalidRequest("input is empty: it holds nothing that can be answered", parameter="input")
        whole = [*_instructions(body), *earlier, *now]
        return await http.beside(lambda: body.request(model, whole)), said

    async def count(self, http: Exchange) -> None:
        """POST /v1/responses/input_tokens: what the model itself counts."""
        body = await take_response(http)
        request, _ = await self._request(body, http)
        if not self._answerers.is_model(request.model):
            raise Unsupported(f"{request.model!r} is an agent, which adds to what it is sent", parameter="model")
        async with http.attended():
            tokens, _ = await self._sys.measure(request)
        await http.json(200, {"object": "response.input_tokens", "input_tokens": tokens})


def _instructions(body: ResponsesBody) -> list[Message]:
    """What stands before the conversation, and is not kept with it."""
    given = body.instructions
    if isinstance(given, str):
        return [Message("system", given)] if given else []
    return messages(given or (), "instructions")


STOPPED = {"code": "server_error", "message": "the system was stopped before this was answered; send it again"}


def as_it_is(response: dict[str, Any], background: Background) -> dict[str, Any]:
    """A response that is kept, with how it stands now: what was not answered when the system stopped, will not be."""
    if response["status"] not in ("queued", "in_progress"):
        return response
    return response | ({"status": "in_progress"} if background.runs(response["id"]) else
                       {"status": "failed", "error": STOPPED})  # fmt: skip
