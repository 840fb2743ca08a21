"""OpenAI's responses API: answers as items, and conversations that go on from an earlier response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from ..core import codec
from ..core.errors import InvalidRequest, LLMAgentOSError, NotFound
from ..core.records import GenerateRequest, Generation, Message, owned
from .answering import Answerers, follow
from .asgi import Exchange
from .bodies import read
from .desk import Desk
from .notices import Notes
from .responses_bodies import ResponsesBody, refuse
from .responses_wire import Wire

SPACE = "response"


class Responses:
    """The handler of /v1/responses. What was said and answered is kept, unless `store` is false."""

    def __init__(self, desk: Desk) -> None:
        self._answerers = Answerers(desk)
        self._facts = desk.system.facts
        self._space, self._principal = owned(desk.caller.tenant, SPACE), desk.caller.principal

    async def create(self, http: Exchange) -> None:
        """POST /v1/responses."""
        body = await _take(http)
        said = body.said()
        request = body.request(self._conversation(body.previous_response_id), said)
        wire = Wire(body)

        async def keep(answer: Generation) -> None:
            if body.store is not False:
                await self._keep(wire.id, body.previous_response_id, [*said, _spoken(answer)])

        async with http.attended():
            if body.stream:
                await self._stream(http, request, wire, keep)
                return
            answer = await self._answerers.answer(request)
        await keep(answer)
        await http.json(200, wire.whole(answer))

    async def _stream(
        self, http: Exchange, request: GenerateRequest, wire: Wire, keep: Callable[[Generation], Awaitable[None]]
    ) -> None:
        notes = Notes()
        try:
            async with aclosing(follow(self._answerers, [request], notes.take)) as batches:
                async for batch in batches:
                    begun = b"" if http.started else wire.begin()  # also before a comment
                    for answer in (piece for _, piece in batch if isinstance(piece, Generation)):
                        await keep(answer)
                    await http.events(begun + notes.sent() + b"".join(wire.piece(piece) for _, piece in batch))
        except (LLMAgentOSError, TimeoutError) as error:
            if not http.started:
                raise
            await http.events(wire.failed(error))
        await http.end()

    def _conversation(self, identifier: str | None) -> list[Message]:
        """Everything said up to a response; raises NotFound."""
        parts: list[list[Message]] = []
        while identifier is not None:
            found = self._facts.get(self._space, identifier)
            if found is None or found[1]["principal"] != self._principal:
                text = f"no response {identifier!r} is kept; send the conversation in `input`"
                raise NotFound(text, kind="response", name=identifier, parameter="previous_response_id")
            parts.append([codec.message(message) for message in found[1]["messages"]])
            identifier = found[1]["previous"]
        return [message for part in reversed(parts) for message in part]

    async def _keep(self, identifier: str, previous: str | None, messages: Sequence[Message]) -> None:
        kept = {"previous": previous, "messages": list(messages), "principal": self._principal}
        await self._facts.put(self._space, identifier, kept)


async def _take(http: Exchange) -> ResponsesBody:
    """Read and check the body; what OpenAI's API knows and this one does not is refused by its name."""
    data = await http.body()
    try:
        body = read(ResponsesBody, data)
    except InvalidRequest:
        try:
            found = codec.loads(data)
        except ValueError:
            found = None
        if isinstance(found, dict):
            refuse(found)
        raise
    http.wrote = body.model_fields_set
    return body


def _spoken(answer: Generation) -> Message:
    return Message("assistant", answer.text, answer.tool_calls)
