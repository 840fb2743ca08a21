"""Drivers by name, imported when a model asks for one, and the request checks that all engines share."""

from __future__ import annotations

import asyncio
import importlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType

from ..core import extras, schemas
from ..core.errors import InvalidRequest, Unsupported, nearest, not_found
from ..core.ports import Engine
from ..core.records import EngineInfo, GenerateRequest, ModelSpec

DRIVERS: dict[str, tuple[str, str]] = {
    "llamacpp": ("llmagent_os.llm.llamacpp", "llamacpp"),
    "openai": ("llmagent_os.llm.openai", ""),
    "anthropic": ("llmagent_os.llm.anthropic", ""),
    "transformers": ("llmagent_os.llm.transformers", "transformers"),
    "scripted": ("llmagent_os.llm.scripted", ""),
    "labels": ("llmagent_os.llm.labels", ""),
    "encoder": ("llmagent_os.llm.encoder", "knowledge"),
}
"""Driver name -> (module, pip extra). Each module has `async def open_engine(spec: ModelSpec) -> Engine`."""


async def open_engine(spec: ModelSpec) -> Engine:
    """Open the engine a spec describes. Raises NotFound for an unknown driver, MissingExtra with the pip command."""
    module = await asyncio.to_thread(driver, spec.engine)  # which is imported the first time, and that takes a second
    engine: Engine = await module.open_engine(spec)
    return engine


def driver(name: str) -> ModuleType:
    """Import a driver's module; raises NotFound or MissingExtra."""
    if name not in DRIVERS:
        raise not_found("engine", name, DRIVERS)
    module, extra = DRIVERS[name]
    return extras.imported(module, extra, f"the {name} engine") if extra else importlib.import_module(module)


STOPS, STOP = 100, 1000  # texts, and characters of one: each is looked for at every piece of an answer

NEUTRAL: Mapping[str, float] = {
    "presence_penalty": 0, "frequency_penalty": 0, "repetition_penalty": 1, "top_k": 0, "top_p": 1, "min_p": 0,
    "typical_p": 1,
}  # fmt: skip
"""What switches a parameter off, as many clients do with all of them: an engine without the parameter does no other."""


def check(request: GenerateRequest, info: EngineInfo) -> GenerateRequest:
    """The request as the engine is to read it: with its schemas as they are meant.

    Refuses by name what the engine does not promise (Unsupported), and what contradicts itself or is no schema
    (InvalidRequest).
    """
    sent = request.sampling.sent()
    for name, value in sent.items():
        if name not in info.parameters and value != NEUTRAL.get(name):
            raise Unsupported(
                f"{info.name} does not take {name!r}; it takes: {', '.join(sorted(info.parameters))}",
                parameter=name,
                engine=info.name,
            )
    for ability, parameter in request.abilities().items():
        if ability not in info.abilities:
            raise Unsupported(
                f"{info.name} has no {ability!r}, which {parameter!r} needs; leave it out or choose another model",
                parameter=parameter,
                engine=info.name,
            )
    for name, value in sent.items():
        bounds = _RANGES.get(name)
        if bounds is not None and not bounds[0] <= value <= bounds[1]:
            raise InvalidRequest(f"{name} is {value}; it goes from {bounds[0]} to {bounds[1]}", parameter=name)
    for wrong, parameter, message in _contradictions(request):
        if wrong:
            raise InvalidRequest(message, parameter=parameter)
    return schemas.fitted(request)


_TOKEN = re.compile(r"[0-9]{1,9}")  # an engine reads 32 bits: more would be another token

_RANGES = {
    "max_tokens": (1, math.inf),
    "temperature": (0, math.inf),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "repetition_penalty": (1e-37, math.inf),  # 0 divides by nothing, and so does what 32 bits round to it
    "top_logprobs": (0, math.inf),
}


def _contradictions(request: GenerateRequest) -> Iterator[tuple[bool, str, str]]:
    names = [tool.name for tool in request.tools]
    forced = request.tool_choice not in ("auto", "none")
    bias = request.sampling.logit_bias or {}
    stops = request.sampling.stop or ()
    yield (
        not request.messages and not request.prompt,
        "messages",
        "there is nothing to answer: send messages or a prompt",
    )
    yield bool(request.messages) and request.prompt is not None, "prompt", "send messages or a prompt, not both"
    yield not all(map(_TOKEN.fullmatch, bias)), "logit_bias", "the keys of logit_bias are token ids, as text"
    yield (
        len(stops) > STOPS or any(len(each) > STOP for each in stops),
        "stop",
        f"stop has at most {STOPS} texts of {STOP} characters",
    )
    yield request.choices == (), "choices", "choices is empty; name at least one"
    yield request.choices is not None and bool(request.tools), "choices", "choices cannot be combined with tools"
    yield request.choices is not None and request.schema is not None, "choices", "send choices or a schema, not both"
    yield len(set(names)) < len(names), "tools", "two tools have the same name; rename one"
    yield forced and not names, "tool_choice", f"tool_choice is {request.tool_choice!r} but no tools were sent"
    yield (
        forced and request.tool_choice != "required" and request.tool_choice not in names,
        "tool_choice",
        f"tool_choice names {request.tool_choice!r}; the tools are: {', '.join(names)}",
    )


def refuse_unknown(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise InvalidRequest for the first of `names` that is not `known`, with the nearest match."""
    allowed = frozenset(known)
    for name in names:
        if name not in allowed:
            raise InvalidRequest(f"unknown {what} {name!r}; {nearest(name, allowed)}", parameter=name)
