"""Anthropic's Messages API: what their SDKs and Claude Code speak. `model` names a model or an agent."""

from __future__ import annotations

from ..core.errors import Unsupported
from ..core.records import GenerateRequest
from .answering import Answerers
from .asgi import Exchange
from .desk import Desk
from .messages_bodies import REFUSED, CountBody, MessagesBody
from .messages_wire import Wire
from .open_bodies import take_open
from .streaming import stream


class Messages:
    """Handlers, each given one exchange whose body is not read yet."""

    def __init__(self, desk: Desk) -> None:
        self._sys, self._answerers = desk.sys, Answerers(desk)

    async def create(self, http: Exchange) -> None:
        """POST /v1/messages."""
        body = await take_open(MessagesBody, http, REFUSED)
        model = self._answerers.named(body.model)
        request, left_out = await http.beside(lambda: (body.request(model), body.left_out()))
        wire = Wire(model, body.single, left_out)
        async with http.attended():
            if body.stream:
                wire.read = await self._read(request)
                await stream(http, self._answerers, request, wire)
                return
            answer = await self._answerers.answer(request)
        await http.json(200, wire.whole(answer))

    async def _read(self, request: GenerateRequest) -> int:
        """The tokens of a prompt, which their clients want to know from the first event on.

        0 for those of an agent, and of a model elsewhere, whom it would cost a request.
        """
        if not self._answerers.is_local(request.model):
            return 0
        tokens, _ = await self._sys.measure(request)
        return tokens

    async def count(self, http: Exchange) -> None:
        """POST /v1/messages/count_tokens: what the model itself counts."""
        body = await take_open(CountBody, http, REFUSED)
        model = self._answerers.named(body.model)
        if not self._answerers.is_model(model):
            text = f"{model!r} is an agent, which adds to what it is sent; name a model to have tokens counted"
            raise Unsupported(text, parameter="model")
        async with http.attended():
            tokens, _ = await self._sys.measure(await http.beside(lambda: body.request(model)))
        await http.json(200, {"input_tokens": tokens})
