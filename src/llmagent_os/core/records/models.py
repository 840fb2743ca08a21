"""Models and engines: what they promise, how they are opened, which of several is asked, and pages of contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .names import Json
from .requests import SAMPLING_NAMES, Decoding


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine promises, so that a request it cannot honour is refused before it is sent.

    `window` is in tokens (0: unknown). `parameters` are the names of Sampling that reach the model. `abilities` are any
    of `chat`, `prompt`, `tools`, `schema`, `choices`, `images`, `embed`, `adapters`, `said` (it goes on from the
    beginning of an answer), `explain`. `limit` is how many `generate` calls it serves at once. Prices are US dollars
    per million tokens.
    """

    name: str
    model: str
    window: int = 0
    parameters: frozenset[str] = frozenset(SAMPLING_NAMES)
    abilities: frozenset[str] = frozenset({"chat"})
    limit: int = 1
    input_price: float = 0.0
    output_price: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How to open an engine for a model: what `models add` stores and an engine driver is handed.

    `engine` is the driver (`llamacpp`, `openai`, `anthropic`, `transformers`, `scripted`); `source` a file, folder or
    base URL; `model` the name the remote server knows it by; `window` in tokens (0: ask the engine); `limit` the
    `generate` calls at once (0: the driver's default); prices in US dollars per million tokens; `key_env` the
    environment variable that holds the API key; `options` are the driver's own.
    """

    name: str
    engine: str
    source: str = ""
    model: str = ""
    window: int = 0
    limit: int = 0
    input_price: float = 0.0
    output_price: float = 0.0
    key_env: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A name that several models serve. Calls are shared by `replicas`; each of `fallback` is asked when none can.

    `decodings` are ways of decoding by task, `quality` the share of answers that are right by model and task,
    `languages` what a model speaks (not named: any). `max_price` caps a call, in US dollars. `patience` is how many
    seconds of waiting are worth a dollar. A call is asked again up to `retries` times; where no other model is left
    after up to `pause` seconds, twice as many each time.
    """

    replicas: tuple[str, ...]
    fallback: tuple[str, ...] = ()
    decodings: Mapping[str, Decoding] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    languages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_price: float = float("inf")
    patience: float = 600.0
    retries: int = 3
    pause: float = 0.1

    @property
    def shared(self) -> bool:
        """Whether there is more than one model."""
        return len(self.replicas) + len(self.fallback) > 1

    def roles(self) -> dict[str, int]:
        """Every model, with 0 for a replica and n for the n-th fallback."""
        return dict.fromkeys(self.replicas, 0) | {model: n for n, model in enumerate(self.fallback, 1)}


@dataclass(slots=True, eq=False)
class Page:
    """A context in a file: in memory (`ram`, which outlives the process but not the machine) or on `disk`.

    `size` is in bytes; while it has `readers` it stays where it is. `key` is that of the call whose context it is,
    while that is not finished; `pid` its process.
    """

    name: str
    fingerprint: str
    tokens: list[int]
    adapter: str | None
    key: str
    pid: int
    size: int
    tier: Literal["ram", "disk"] = "ram"
    crc: int = 0
    readers: int = 0
