"""The local engine: llama.cpp inside this process (xllamacpp), its slots decoding together.

A fault in the C++ code ends the process; everything short of that reaches the caller or `health`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..core import codec, schemas
from ..core.errors import EngineFailed, InvalidRequest, not_found
from ..core.records import (
    LETTERS,
    NOTHING,
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    ModelSpec,
    Sampling,
    Usage,
)
from . import toolcalls
from .constrain import grammar_of
from .engines import check, refuse_unknown
from .known import known_model
from .llamacpp_server import LoadedModel, Marks, Options, failure, fingerprint, load, read, refusals, too_long
from .llamacpp_work import LlamaWork
from .manners import manner_of
from .workers import Workers

_NAME = "llamacpp"
PAGED = 1.0  # seconds that a page may take to be written from a server that retires

FIELDS = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repetition_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",  # not sent: see `LlamaWork`
    "logit_bias": "logit_bias",
    "top_logprobs": "n_probs",
}
"""Sampling parameter -> llama.cpp's request field."""

_LENGTHS = frozenset({"max_tokens", "stop", "seed", "top_logprobs"})
"""What does not say how tokens are drawn."""


async def open_engine(spec: ModelSpec) -> LlamaCpp:
    """Load the GGUF file at `spec.source`. Raises NotFound for a missing file, EngineFailed for one it cannot load."""
    refuse_unknown(spec.options, Options.__dataclass_fields__, "option of the llamacpp engine")
    known = known_model(spec.name)
    try:
        options = TypeAdapter(Options).validate_python(({"answer": known.answer} if known else {}) | dict(spec.options))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"option {name} of the llamacpp engine: {first['msg']}", parameter=name) from error
    options = replace(options, slots=spec.limit or options.slots)
    server = await asyncio.to_thread(load, spec, options)
    return LlamaCpp(spec, options, server, await asyncio.to_thread(server.marks))


class LlamaCpp:
    """An Engine over one GGUF model; see `core.ports.Engine` for the contract.

    Log-probabilities are the model's own, before sampling. A token that ends inside a character or inside what may be
    a stop string is reported with the token that completes it, without an entry of its own.
    """

    def __init__(self, spec: ModelSpec, options: Options, server: LoadedModel, marks: Marks) -> None:
        abilities = {"chat", "prompt", "tools", "schema", "choices", "embed", "said"}
        self.info = EngineInfo(
            name=_NAME,
            model=spec.name,
            window=server.window,
            abilities=frozenset(abilities | {"adapters"} if options.adapters else abilities),
            limit=options.slots,
            input_price=spec.input_price,
            output_price=spec.output_price,
        )
        self.slots = options.slots
        self.fingerprint = fingerprint(spec, server.window)
        self._spec = spec
        self._manner = manner_of(spec.name)
        self._options = options
        self.workers = Workers(_NAME, options.slots)
        self._server = server
        self._marks = marks
        self._leased, self._adopting = asyncio.Lock(), asyncio.Lock()
        self._leaving: list[asyncio.Task[None]] = []
        self._embedder: LoadedModel | None = None
        self._embedding = asyncio.Lock()

    @property
    def server(self) -> LoadedModel:
        """The loaded model; raises EngineUnavailable once closed."""
        self.workers.check_open()
        return self._server

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer of one slot; closing the iterator frees the slot at the next token or prompt batch."""
        async with aclosing((await self.begin(request)).run(-1)) as chunks:
            async for chunk in chunks:
                if chunk != NOTHING:
                    yield chunk

    async def begin(self, request: GenerateRequest) -> LlamaWork:
        """Read a request into token ids; see `core.ports.Slotted`."""
        request = check(request, self.info)
        bound = toolcalls.insisted(request, self._manner)
        again = bound is not request and toolcalls.anew(request, self._manner)
        prompt, grammar = await self.encode(request), await grammar_of(bound)
        work = LlamaWork(self, bound, self._body(request, again), prompt, grammar)
        if len(work.prompt) >= self.info.window:
            raise too_long(len(work.prompt), self.info.window)
        return work

    async def encode(self, request: GenerateRequest) -> list[int]:
        """The token ids of the prompt after the chat template, and of what was said already.

        Raises ContextOverflow, before the template and the tokens are made, where it surely does not fit.
        """
        if (least := _least(request)) > self.info.window:
            raise too_long(least, self.info.window)
        text = request.prompt
        if text is None:
            messages = toolcalls.render(schemas.fitted(request), self._manner)
            text = await asyncio.to_thread(toolcalls.templated, self.server.prompt, messages)
        tokens = await self.tokenize(text, add_special=True, parse_special=bool(request.messages))
        return tokens + (await self.tokenize(request.said) if request.said else [])

    async def tokenize(self, text: str, **options: bool) -> list[int]:
        """The token ids of a text, without those that begin a prompt."""
        body = {"content": text, "parse_special": False, **options}
        tokens: list[int] = (await asyncio.to_thread(self.server.post, "/tokenize", body))["tokens"]
        return tokens

    async def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids of an answer; see `core.ports.Stepper`."""
        body = {"tokens": [token for token in tokens if token not in self._marks.ends]}
        text: str = (await asyncio.to_thread(self.server.post, "/detokenize", body))["content"]
        return text

    def ends(self) -> frozenset[int]:
        """The ids of the tokens that end an answer."""
        return self._marks.ends

    @asynccontextmanager
    async def lease(self, width: int) -> AsyncIterator[Sequence[int]]:
        """The first slots, for one caller at a time; raises InvalidRequest for more than there are."""
        if width > self.slots:
            raise InvalidRequest(f"width is {width}; this engine has {self.slots} slots", parameter="width")
        async with self._leased:
            yield range(width)

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        """See `core.ports.Stepper`; the requests are sent at once, for llama.cpp to decode in one batch."""
        body = self._body(GenerateRequest(self.info.model, adapter=adapter)) | {"max_tokens": 1, "n_probs": top}
        # A token that is no whole character comes without probabilities: draw one that is, which does not move them.
        body |= {"temperature": 0.0, "logit_bias": {str(self._marks.letter): 1000.0}}
        pairs = zip(contexts, slots, strict=True)
        return await asyncio.gather(*(self._next(body | {"prompt": c, "id_slot": s}, adapter) for c, s in pairs))

    async def _next(self, body: dict[str, Any], adapter: str | None) -> list[tuple[int, float]]:
        body |= self.scaled(adapter)
        work = partial(self.server.native.handle_completions, codec.dumps(body))
        with refusals(), self.workers.run(work) as events:
            try:
                async for raw in events:
                    event = read(raw)
                    if logprobs := "choices" in event and event["choices"][0].get("logprobs"):
                        return [(each["id"], each["logprob"]) for each in logprobs["content"][0]["top_logprobs"]]
            finally:
                await events.stop()
        raise EngineFailed("llama.cpp gave no log-probabilities", engine=_NAME)

    async def save(self, slot: int, path: Path) -> int:
        """Write a slot's context to a file; see `core.ports.Slotted`."""
        return await asyncio.to_thread(self.server.page, slot, "save", path)

    async def restore(self, slot: int, path: Path, adapter: str | None = None) -> int:
        """Fill a slot from a file; see `core.ports.Slotted`."""
        if self._options.adapters:  # a slot that served another adapter would throw away what it is given
            body = {"prompt": [0], "max_tokens": 0, "id_slot": slot, "stream": True} | self.scaled(adapter)
            await asyncio.to_thread(self.server.native.handle_completions, codec.dumps(body), lambda event: False)
        return await asyncio.to_thread(self.server.page, slot, "restore", path)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Mean-pooled, normalised vectors, from a second server on the same file that is opened at the first call."""
        self.workers.check_open()
        async with self._embedding:
            if self._embedder is None:
                self._embedder = await asyncio.to_thread(load, self._spec, self._options, embedding=True)
            body = codec.dumps({"input": request.texts})
            answer = codec.loads(await asyncio.to_thread(self._embedder.native.handle_embeddings, body))
        if "error" in answer:
            raise failure(answer["error"])
        vectors = tuple(tuple(item["embedding"]) for item in answer["data"])
        return Embeddings(vectors, Usage(answer["usage"]["prompt_tokens"]), self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The exact length of the prompt after the chat template; of one that is far too long a length that it has."""
        least = _least(request)
        return least if least > self.info.window else len(await self.encode(request))

    def health(self) -> str | None:
        """None while the engine can serve; see `Workers.health`."""
        return self.workers.health()

    async def close(self) -> None:
        """End running streams and unload the model."""
        await self.workers.close()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for server in (self._server, self._embedder):
            if server is not None:
                await asyncio.to_thread(server.release)

    def _body(self, request: GenerateRequest, again: bool = False) -> dict[str, Any]:
        """What all slices of a request share. Progress reports are what lets a prompt be cancelled between batches."""
        body: dict[str, Any] = {"stream": True, "return_progress": True, "return_tokens": True, "verbose": True}
        body |= _sampling(request.sampling)
        if request.offered() and request.sampling.sent().keys() <= _LENGTHS:
            drawn = self._manner.anew if again else self._manner.sampling
            body |= {FIELDS[name]: value for name, value in drawn.items()}
        if self._options.answer:
            body.setdefault(FIELDS["max_tokens"], self._options.answer)
        body["repeat_last_n"] = self.info.window  # penalties look at the whole context, as their papers do
        self.scaled(request.adapter)  # an unknown one is refused before anything is read
        return body

    def scaled(self, adapter: str | None) -> dict[str, Any]:
        """A scale for every adapter in every request: without, or with an empty list, all of them would hold.

        Asked for whenever something is sent: the server, and with it the adapters, may be another by then.
        """
        names = list(self._options.adapters)
        adapter = self._options.adapter if adapter is None else adapter
        if adapter and adapter not in names:
            raise not_found("adapter", adapter, names)
        return {"lora": [{"id": i, "scale": float(name == adapter)} for i, name in enumerate(names)]} if names else {}

    async def adopt(self, adapters: Mapping[str, str]) -> None:
        """See `core.ports.Adaptable`: another server is built beside the one that serves, which ends what it does.

        What lay on slots is read again. llama.cpp holds the interpreter while it loads.
        """
        self.workers.check_open()
        options = replace(self._options, adapters=dict(adapters))
        async with self._adopting:
            fresh = await asyncio.to_thread(load, self._spec, options)
            old, self._server, self._options = self._server, fresh, options
            self.info = replace(self.info, abilities=self.info.abilities | {"adapters"})
            self._leaving.append(asyncio.ensure_future(self._retire(old)))

    async def _retire(self, server: LoadedModel) -> None:
        try:
            await self.workers.drained()
            await asyncio.sleep(PAGED)
        finally:
            await asyncio.to_thread(server.release)


def _least(request: GenerateRequest) -> int:
    """Tokens that a prompt has at the least: the template and the tokenizer keep everybody waiting meanwhile."""
    size = len(request.prompt or "") + sum(len(message.text) for message in request.messages)
    return (size + (len(codec.dumps(request.tools)) if request.tools else 0)) // LETTERS


def _sampling(sampling: Sampling) -> dict[str, Any]:
    body = {FIELDS[name]: value for name, value in sampling.sent().items() if name != "stop"}
    if sampling.top_logprobs == 0:
        body["n_probs"] = 1  # 0 would switch them off
    return body
