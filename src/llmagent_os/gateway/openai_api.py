"""The OpenAI-compatible paths: chats, raw completions, embeddings. `model` names a model or an agent."""

from __future__ import annotations

import array
import base64
import sys as interpreter
from collections.abc import Sequence
from contextlib import aclosing

from ..core.errors import LLMAgentOSError, Unsupported
from ..core.records import GenerateRequest, Generation
from .answering import Answerers, follow
from .asgi import Exchange
from .bodies import ChatBody, CompletionBody, EmbeddingsBody, StreamOptions, take
from .chat_wire import DONE, Chat, Completion, event
from .desk import Desk
from .errors import openai_body
from .notices import Notes


class OpenAI:
    """Handlers, each given one exchange whose body is not read yet."""

    def __init__(self, desk: Desk) -> None:
        self._sys = desk.sys
        self.answerers = Answerers(desk)

    async def chat(self, http: Exchange) -> None:
        """POST /v1/chat/completions."""
        body = await take(ChatBody, http)
        wire = Chat(self.answerers.named(body.model), body.served, single=body.parallel_tool_calls is False)
        await self._answer(http, body, wire)

    async def completions(self, http: Exchange) -> None:
        """POST /v1/completions."""
        body = await take(CompletionBody, http)
        await self._answer(http, body, Completion(self.answerers.named(body.model), body.served))

    async def _answer(self, http: Exchange, body: ChatBody | CompletionBody, wire: Chat) -> None:
        requests = await http.beside(body.requests)
        async with http.attended():
            if body.stream:
                await self._stream(http, requests, wire, body.stream_options)
                return
            answers = await self.answerers.all(requests)
        await http.json(200, wire.whole(answers))

    async def _stream(
        self, http: Exchange, requests: Sequence[GenerateRequest], wire: Chat, options: StreamOptions | None
    ) -> None:
        answers, notes = list[Generation](), Notes()
        try:
            async with aclosing(follow(self.answerers, requests, notes.take)) as batches:
                async for batch in batches:
                    answers += [piece for _, piece in batch if isinstance(piece, Generation)]
                    if data := notes.sent() + b"".join(wire.piece(i, piece) for i, piece in batch):
                        await http.events(data)
        except (LLMAgentOSError, TimeoutError) as error:
            if not http.started:
                raise
            await http.events(event(openai_body(error, http.wrote)))
        else:
            with_usage = options is not None and options.include_usage
            await http.events((wire.usage(answers) if with_usage else b"") + DONE)
        await http.end()

    async def embeddings(self, http: Exchange) -> None:
        """POST /v1/embeddings."""
        body = await take(EmbeddingsBody, http)
        model = self.answerers.named(body.model)
        if not self.answerers.is_model(model):
            raise Unsupported(f"{model!r} is an agent; name a model", parameter="model")
        async with http.attended():
            found = await self._sys.embed(model, body.texts())
        if body.dimensions not in (None, length := len(found.vectors[0])):
            raise Unsupported(f"vectors of {model!r} have {length} dimensions, no others", parameter="dimensions")
        encode = _base64 if body.encoding_format == "base64" else list
        data = [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(found.vectors)]
        tokens = found.usage.input_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await http.json(200, {"object": "list", "data": data, "model": model, "usage": usage})


def _base64(vector: Sequence[float]) -> str:
    """32-bit floats, least byte first."""
    floats = array.array("f", vector)
    if interpreter.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
