"""A model loaded by llama.cpp inside this process (xllamacpp): its server, and how that refuses."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..core import codec
from ..core.errors import (
    ContextOverflow,
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    LLMAgentOSError,
    NotFound,
)
from ..core.records import ModelSpec
from .known import damaged
from .llamacpp_library import xllamacpp
from .memory import SLOTS, WINDOW
from .toolcalls import refused
from .tuned import deployed

_WHOLE = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
"""Read, not mapped: what is repacked for the processor would be in memory twice (600 MB of the default model)."""
_BATCH = 128  # small prompt batches: a neighbour's first token comes ten times sooner for 10 % of prefill speed
_EMBED_WINDOW = 2048  # tokens; a text is embedded in one batch, so this is memory
_TOO_LONG = re.compile(r"input \((\d+) tokens\) is too large.*current batch size: (\d+)")


@dataclass(frozen=True, slots=True)
class Options:
    """What `ModelSpec.options` may hold: concurrent streams, threads (0: one a core), adapters (name -> GGUF file).

    `adapter` is the one that holds where a request names none; one that asks for none at all says "". `answer` is the
    most tokens of an answer where the request names no number; 0: until the window is full.
    """

    slots: Annotated[int, Field(ge=1)] = SLOTS
    threads: Annotated[int, Field(ge=0)] = 0
    adapters: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""
    answer: Annotated[int, Field(ge=0)] = 2048


@dataclass(frozen=True, slots=True)
class Marks:
    """Tokens that one must know of a vocabulary: those that end an answer, and one that is a letter."""

    ends: frozenset[int]
    letter: int


class LoadedModel:
    """A loaded model: xllamacpp's server and its HTTP side on the loopback, locked by a random key."""

    def __init__(self, native: xllamacpp.Server, key: str, links: tempfile.TemporaryDirectory[str]) -> None:
        self.native = native
        self._links = links
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

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Blocking: the messages as the model's chat template puts them; raises InvalidRequest where it will not."""
        try:
            text: str = self.post("/apply-template", {"messages": messages})["prompt"]
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace").rpartition("Jinja Exception: ")[2].partition('"')[0]
            raise refused(words) from error
        return text

    def marks(self) -> Marks:
        """Ask for the tokens that end an answer: those that `ignore_eos` rules out."""
        events: list[bytes] = []
        body = {"prompt": [0], "max_tokens": 1, "ignore_eos": True, "verbose": True}
        self.native.handle_completions(codec.dumps(body), events.append)
        ruled_out = read(events[0])["__verbose"]["generation_settings"]["logit_bias"]
        letter = self.post("/tokenize", {"content": "a"})["tokens"][-1]
        return Marks(frozenset(each["token"] for each in ruled_out), letter)

    def page(self, slot: int, action: str, path: Path) -> int:
        """Blocking `save` or `restore` of a slot; returns the number of tokens. Raises EngineFailed.

        llama.cpp takes a plain file name in a folder of its own: there it finds a link to the real place.
        """
        link = Path(self._links.name, f"{slot}.{secrets.token_hex(4)}")
        link.symlink_to(path)
        try:
            answer = self.post(f"/slots/{slot}?action={action}", {"filename": link.name})
        except urllib.error.HTTPError as error:
            raise EngineFailed(f"llama.cpp could not {action} a page: {error.read().decode()}", slot=slot) from error
        except OSError as error:  # a machine that is busy with other things has it wait too long
            raise EngineFailed(f"llama.cpp did not {action} a page: {error}", slot=slot) from error
        finally:
            link.unlink()
        tokens: int = answer["n_saved" if action == "save" else "n_restored"]
        return tokens

    def release(self) -> None:
        """Unload the model: the last reference's destructor joins the engine's threads. Harmless when done twice."""
        self.native = None
        self._links.cleanup()


def fingerprint(spec: ModelSpec, window: int) -> str:
    """Names the model's file, its adapters' files, the window and the engine's version: what a page depends on.

    Adapters that were deployed are left out: their names say what is in them, and a page says whose it is.
    """
    given = spec.options.get("adapters", {})
    adapters = {name: file for name, file in given.items() if not deployed(file)}
    files = [Path(each).expanduser() for each in (spec.source, *adapters.values())]
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    facts = codec.dumps([stats, sorted(adapters), window, xllamacpp.__version__])
    return hashlib.blake2b(facts, digest_size=8).hexdigest()


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def load(spec: ModelSpec, options: Options, embedding: bool = False) -> LoadedModel:
    """Blocking: load a file, for answers or for vectors. Raises NotFound for a missing file, EngineFailed."""
    path = Path(spec.source).expanduser()
    if not path.is_file():
        raise NotFound(f"no model file at {path}; fetch it with `llmagent-os models pull {spec.name}`", path=str(path))
    for name, file in options.adapters.items():
        if not Path(file).expanduser().is_file():
            raise NotFound(f"no file of the adapter {name!r} at {file}", path=file)
    key = secrets.token_urlsafe(32)
    links = tempfile.TemporaryDirectory(prefix="llmagent-os-")
    params = _params(path, spec.window or WINDOW, options, key)
    params.slot_save_path = links.name + os.sep
    if embedding:
        _embed(params, spec.window)
    try:
        return LoadedModel(xllamacpp.Server(params), key, links)
    except RuntimeError as error:
        text = f"llama.cpp cannot load it: {damaged(path, spec.name)}"
        raise EngineFailed(text, path=str(path)) from error


def _params(path: Path, window: int, options: Options, key: str) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = options.slots
    params.n_ctx = window * options.slots
    params.kv_unified = False
    params.load_mode = _WHOLE
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
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP  # a second one of the same file
    params.lora_adapters = []
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_parallel = 1
    params.n_ctx = params.n_batch = params.n_ubatch = min(window or WINDOW, _EMBED_WINDOW)


@contextmanager
def refusals() -> Iterator[None]:
    """How llama.cpp refuses before the first token: ValueError for a bad request, RuntimeError for the rest."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    except RuntimeError as error:
        raise EngineFailed(str(error), engine="llamacpp") from error


def read(raw: bytes) -> dict[str, Any]:
    """An event; raises what it reports instead."""
    event: dict[str, Any] = codec.loads(raw)
    if "error" in event:
        raise failure(event["error"])
    return event


def failure(data: dict[str, Any]) -> LLMAgentOSError:
    """llama.cpp's error object as ours."""
    message, code = data["message"], data.get("code", 500)
    if data.get("type") == "exceed_context_size_error":
        return too_long(data["n_prompt_tokens"], data["n_ctx"])
    if found := _TOO_LONG.search(message):
        tokens, window = map(int, found.groups())
        return ContextOverflow(
            f"a text to embed has {tokens} tokens, at most {window} fit; split it", tokens=tokens, window=window
        )
    if code == 400:
        return InvalidRequest(message)
    return (EngineUnavailable if code == 503 else EngineFailed)(message, engine="llamacpp", status=code)


def too_long(tokens: int, window: int) -> ContextOverflow:
    """The error for a prompt that leaves no room for an answer."""
    message = f"the prompt has {tokens} tokens, the window {window}; shorten it"
    return ContextOverflow(message, tokens=tokens, window=window)
