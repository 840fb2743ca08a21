"""The local engine: llama.cpp inside this process (xllamacpp), its slots decoding together.

A fault in the C++ code ends the process; everything short of that reaches the caller or `health`.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import xllamacpp
from pydantic import Field, TypeAdapter, ValidationError

from ..core import codec
from ..core.errors import (
    ContextOverflow,
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    LLMAgentOSError,
    NotFound,
    not_found,
)
from ..core.records import (
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    ModelSpec,
    Sampling,
    TokenLogprob,
    Usage,
)
from . import constrain, toolcalls
from .answer import Answer
from .engines import check, refuse_unknown
from .workers import Workers

_NAME = "llamacpp"
_SLOTS = 8
_WINDOW = 4096  # tokens a slot; the engine lowers it to what the model was trained for
_BATCH = 128  # small prompt batches: a neighbour's first token comes ten times sooner for 10 % of prefill speed
_EMBED_WINDOW = 2048  # tokens; a text is embedded in one batch, so this is memory

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
    "stop": "stop",
    "logit_bias": "logit_bias",
    "top_logprobs": "n_probs",
}
"""Sampling parameter -> llama.cpp's request field."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `ModelSpec.options` may hold: concurrent streams, threads (0: one a core), adapters (name -> GGUF file)."""

    slots: Annotated[int, Field(ge=1)] = _SLOTS
    threads: Annotated[int, Field(ge=0)] = 0
    adapters: Mapping[str, str] = field(default_factory=dict)


async def open_engine(spec: ModelSpec) -> LlamaCpp:
    """Load the GGUF file at `spec.source`. Raises NotFound for a missing file, EngineFailed for one it cannot load."""
    refuse_unknown(spec.options, Options.__dataclass_fields__, "option of the llamacpp engine")
    try:
        options = TypeAdapter(Options).validate_python(dict(spec.options))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"option {name} of the llamacpp engine: {first['msg']}", parameter=name) from error
    options = replace(options, slots=spec.limit or options.slots)
    server = await asyncio.to_thread(_load, spec, options)
    return LlamaCpp(spec, options, server)


class LlamaCpp:
    """An Engine over one GGUF model; see `core.ports.Engine` for the contract.

    Log-probabilities are the model's own, before sampling. A token that ends inside a character or inside what may be
    a stop string is reported with the token that completes it, without an entry of its own.
    """

    def __init__(self, spec: ModelSpec, options: Options, server: Server) -> None:
        abilities = {"chat", "prompt", "tools", "schema", "choices", "embed"}
        self.info = EngineInfo(
            name=_NAME,
            model=spec.name,
            window=server.window,
            abilities=frozenset(abilities | {"adapters"} if options.adapters else abilities),
            limit=options.slots,
            input_price=spec.input_price,
            output_price=spec.output_price,
        )
        self._spec = spec
        self._options = options
        self._workers = Workers(_NAME, options.slots)
        self._server = server
        self._embedder: Server | None = None
        self._embedding = asyncio.Lock()

    @property
    def server(self) -> Server:
        """The loaded model; raises EngineUnavailable once closed."""
        self._workers.check_open()
        return self._server

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer of one slot; closing the iterator frees the slot at the next token or prompt batch."""
        check(request, self.info)
        native = self.server.native
        handle = native.handle_chat_completions if request.messages else native.handle_completions
        answer, top = Answer(request), request.sampling.top_logprobs
        with self._workers.run(partial(handle, codec.dumps(self._body(request)))) as events, _refusals():
            async for raw in events:
                choice, timings = _choice(raw)
                if choice["finish_reason"] is not None:
                    yield answer.last(choice["finish_reason"], _usage(timings))
                    return
                if text := choice["delta"].get("content") if "delta" in choice else choice["text"]:
                    logprobs = choice.get("logprobs")
                    yield answer.piece(text, _logprobs(logprobs["content"], top) if logprobs else ())

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Mean-pooled, normalised vectors, from a second server on the same file that is opened at the first call."""
        self._workers.check_open()
        async with self._embedding:
            if self._embedder is None:
                self._embedder = await asyncio.to_thread(_load, self._spec, self._options, embedding=True)
            body = codec.dumps({"input": request.texts})
            answer = codec.loads(await asyncio.to_thread(self._embedder.native.handle_embeddings, body))
        if "error" in answer:
            raise _error(answer["error"])
        vectors = tuple(tuple(item["embedding"]) for item in answer["data"])
        return Embeddings(vectors, Usage(answer["usage"]["prompt_tokens"]), self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The exact length of the prompt after the chat template."""
        server = self.server
        if request.prompt is not None:
            tokens = await asyncio.to_thread(server.post, "/tokenize", {"content": request.prompt, "add_special": True})
            return len(tokens["tokens"])
        body = {"messages": toolcalls.render(request)}
        counted: int = (await asyncio.to_thread(server.post, "/chat/completions/input_tokens", body))["input_tokens"]
        return counted

    def health(self) -> str | None:
        """None while the engine can serve; see `Workers.health`."""
        return self._workers.health()

    async def close(self) -> None:
        """End running streams and unload the model."""
        await self._workers.close()
        for server in (self._server, self._embedder):
            if server is not None:
                await asyncio.to_thread(server.release)

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        """The request in llama.cpp's words. Progress reports are what lets a prompt be cancelled between batches."""
        body: dict[str, Any] = {"stream": True, "return_progress": True, **_sampling(request.sampling)}
        body["repeat_last_n"] = self.info.window  # penalties look at the whole context, as their papers do
        if request.messages:
            body["messages"] = toolcalls.render(request)
        else:
            body["prompt"] = request.prompt
        grammar = constrain.grammar(request)
        if grammar is not None:
            body["grammar"] = grammar  # `json_schema` would go through the chat parser, which drops it
        if self._options.adapters:
            body["lora"] = self._scales(request.adapter)
        return body

    def _scales(self, adapter: str | None) -> list[dict[str, float]]:
        """A scale for every adapter in every request: an empty list would mean "all of them"."""
        names = list(self._options.adapters)
        if adapter is not None and adapter not in names:
            raise not_found("adapter", adapter, names)
        return [{"id": i, "scale": float(name == adapter)} for i, name in enumerate(names)]


@contextmanager
def _refusals() -> Iterator[None]:
    """How llama.cpp refuses before the first token: ValueError for a bad request, RuntimeError for the rest."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    except RuntimeError as error:
        raise EngineFailed(str(error), engine=_NAME) from error


def _choice(raw: bytes) -> tuple[dict[str, Any], dict[str, int]]:
    """The choice in an event, and its timings (with the last one); raises what it reports instead."""
    event = codec.loads(raw)
    if "error" in event:
        raise _error(event["error"])
    return event["choices"][0], event.get("timings", {})


def _usage(timings: dict[str, int]) -> Usage:
    return Usage(timings["cache_n"] + timings["prompt_n"], timings["predicted_n"], timings["cache_n"])


def _logprobs(entries: list[dict[str, Any]], top: int | None) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            entry["token"],
            entry["logprob"],
            tuple((other["token"], other["logprob"]) for other in entry["top_logprobs"][:top]),
        )
        for entry in entries
    )


class Server:
    """A loaded model: xllamacpp's server and its HTTP side on the loopback, locked by a random key."""

    def __init__(self, native: xllamacpp.Server, key: str) -> None:
        self.native = native
        self._address = native.listening_address
        self._key = key
        self.window: int = self.get("/props")["default_generation_settings"]["n_ctx"]

    def get(self, path: str) -> Any:
        """Blocking GET of JSON."""
        return self._call(urllib.request.Request(self._address + path))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Blocking POST of JSON."""
        request = urllib.request.Request(self._address + path, codec.dumps(body))
        request.add_header("Content-Type", "application/json")
        return self._call(request)

    def _call(self, request: urllib.request.Request) -> Any:
        request.add_header("Authorization", f"Bearer {self._key}")
        with _DIRECT.open(request, timeout=60) as answer:
            return codec.loads(answer.read())

    def release(self) -> None:
        """Unload the model: the last reference's destructor joins the engine's threads. Harmless when done twice."""
        self.native = None


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _load(spec: ModelSpec, options: Options, embedding: bool = False) -> Server:
    path = Path(spec.source).expanduser()
    if not path.is_file():
        raise NotFound(f"no model file at {path}; fetch it with `llmagent-os models pull {spec.name}`", path=str(path))
    for name, file in options.adapters.items():
        if not Path(file).expanduser().is_file():
            raise NotFound(f"no file of the adapter {name!r} at {file}", path=file)
    key = secrets.token_urlsafe(32)
    params = _params(path, spec.window or _WINDOW, options, key)
    if embedding:
        _embed(params, spec.window)
    try:
        return Server(xllamacpp.Server(params), key)
    except RuntimeError as error:
        raise EngineFailed(
            f"llama.cpp cannot load {path}: damaged, or not a GGUF model it knows; fetch it again", path=str(path)
        ) from error


def _params(path: Path, window: int, options: Options, key: str) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = options.slots
    params.n_ctx = window * options.slots
    params.kv_unified = False
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads or os.cpu_count() or 1
    params.cache_ram_mib = 0  # the engine's prompt cache mixes adapters
    params.fit_params = False
    params.force_pure_content_parser = True  # tool calls and reasoning are ours to read
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    params.verbosity = 0
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [key]
    files = map(Path, options.adapters.values())
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(file.expanduser()), 1.0) for file in files]
    return params


def _embed(params: xllamacpp.CommonParams, window: int) -> None:
    params.embedding = True
    params.lora_adapters = []
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_parallel = 1
    params.n_ctx = params.n_batch = params.n_ubatch = min(window or _WINDOW, _EMBED_WINDOW)


def _sampling(sampling: Sampling) -> dict[str, Any]:
    body = {FIELDS[name]: value for name, value in sampling.sent().items()}
    if sampling.top_logprobs == 0:
        body["n_probs"] = 1  # 0 would switch them off
    return body


_TOO_LONG = re.compile(r"input \((\d+) tokens\) is too large.*current batch size: (\d+)")


def _error(data: dict[str, Any]) -> LLMAgentOSError:
    """llama.cpp's error object as ours."""
    message, code = data["message"], data.get("code", 500)
    if data.get("type") == "exceed_context_size_error":
        tokens, window = data["n_prompt_tokens"], data["n_ctx"]
        return ContextOverflow(
            f"the prompt has {tokens} tokens, the window {window}; shorten it", tokens=tokens, window=window
        )
    if too_long := _TOO_LONG.search(message):
        tokens, window = map(int, too_long.groups())
        return ContextOverflow(
            f"a text to embed has {tokens} tokens, at most {window} fit; split it", tokens=tokens, window=window
        )
    if code == 400:
        return InvalidRequest(message)
    return (EngineUnavailable if code == 503 else EngineFailed)(message, engine=_NAME, status=code)
