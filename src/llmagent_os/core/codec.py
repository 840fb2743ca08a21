"""JSON in and out for records: what the journal, the gateway and the engines agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as dataclass_fields
from functools import lru_cache
from typing import Any, TypeVar

import orjson

from .errors import InvalidRequest
from .plain import standing
from .records import (
    EVERYTHING,
    Alternative,
    Budget,
    Decoding,
    Embeddings,
    Envelope,
    GenerateRequest,
    Generation,
    Grant,
    Hidden,
    Message,
    Needs,
    Policy,
    Rule,
    Sampling,
    Supervision,
    TokenLogprob,
    ToolCall,
    ToolSpec,
    Usage,
)

T = TypeVar("T")
DIGEST = 10  # bytes of the digest in a key


def plain(value: Any) -> Any:
    """What stands for a value that is no JSON data in itself; raises TypeError where nothing does."""
    return "(hidden)" if isinstance(value, Hidden) else standing(value)


def dumps(value: Any) -> bytes:
    """Encode JSON data and records (dataclasses) as UTF-8 bytes; raises TypeError for anything else."""
    return orjson.dumps(value, default=plain, option=orjson.OPT_NON_STR_KEYS)


loads = orjson.loads


def canonical(value: Any) -> bytes:
    """Encode as `dumps`, in the form of rows and keys: records without the fields that are as they are by default.

    So a field that a later release adds, with a default, changes neither. The rest stand in the order of their names.
    """
    return orjson.dumps(value, default=_lean, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)


def _lean(value: Any) -> Any:
    kind = type(value)
    fields = _FIELDS.get(kind)
    if fields is None:
        if not is_dataclass(value):
            return plain(value)
        fields = _FIELDS[kind] = tuple(sorted(_defaults(kind)))
    return {name: held for name, default in fields if (held := getattr(value, name)) is not default and held != default}


_FIELDS: dict[type, tuple[tuple[str, Any], ...]] = {}


def _defaults(kind: type) -> Iterator[tuple[str, Any]]:
    """The fields of a record that are part of its canonical form, with their defaults."""
    for each in dataclass_fields(kind):
        if each.metadata.get("shown"):  # says only how an answer is shown
            continue
        yield each.name, each.default if each.default_factory is MISSING else each.default_factory()


def record(kind: type[T], data: Any) -> T:
    """A record from its JSON form, leaving out fields that this release does not know; a record stays as it is."""
    if isinstance(data, kind):
        return data
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: value for name, value in data.items() if name in names})


def arguments(
    name: str, takes: Mapping[str, tuple[type, ...]], args: Mapping[str, Any], shows: Container[str] = ()
) -> bytes:
    """A syscall's arguments in canonical form, without those that are None or say how its result is shown.

    Raises InvalidRequest for what is no JSON, or not what it `takes`.
    """
    given = {}
    for field, value in args.items():
        if value is None:
            continue
        if field in takes:
            kind, kinds = type(value), takes[field]
            if kind not in kinds:
                wanted = " or ".join(each.__name__ for each in kinds)
                raise InvalidRequest(f"{field} of {name} is {kind.__name__}, not {wanted}", parameter=field)
            if (kind is str and "\0" in value) or (kind is int and not -(2**63) <= value < 2**63):
                text = f"{field} of {name} has a NUL, or is over 63 bits: no column holds it"
                raise InvalidRequest(text, parameter=field)
        if field not in shows:
            given[field] = value
    try:
        return canonical(given)
    except (TypeError, ValueError, RecursionError) as error:  # such as half of a letter (a lone surrogate)
        raise InvalidRequest(f"the arguments of {name} are no JSON data: {error}") from error


def digest(name: str, packed: bytes, size: int = DIGEST) -> str:
    """What a call's key says of its name and arguments."""
    return hashlib.blake2b(packed, digest_size=size, person=name.encode()[:16]).hexdigest()


def words(value: Any) -> str:
    """A value in words: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else dumps(value).decode()


def tool_call(data: Mapping[str, Any]) -> ToolCall:
    """Rebuild a ToolCall from its JSON form."""
    return ToolCall(data["id"], data["name"], data["arguments"])


def message(data: Mapping[str, Any]) -> Message:
    """Rebuild a Message from its JSON form (the fields of the record)."""
    return Message(
        data["role"],
        data.get("content") or "",
        tuple(tool_call(c) for c in data.get("tool_calls") or ()),
        data.get("tool_call_id"),
        data.get("name"),
    )


def usage(data: Mapping[str, Any] | None) -> Usage:
    """Rebuild a Usage; None is no usage."""
    return record(Usage, data) if data else Usage()


def generation(data: Mapping[str, Any]) -> Generation:
    """Rebuild a Generation from its JSON form."""
    held = {
        "tool_calls": tuple(tool_call(c) for c in data.get("tool_calls") or ()),
        "usage": usage(data.get("usage")),
        "logprobs": tuple(
            TokenLogprob(p["token"], p["logprob"], tuple((t, v) for t, v in p.get("top") or ()))
            for p in data.get("logprobs") or ()
        ),
        "alternatives": tuple(record(Alternative, each) for each in data.get("alternatives") or ()),
    }
    return record(Generation, {**data, **held})


def embeddings(data: Mapping[str, Any]) -> Embeddings:
    """Rebuild Embeddings from their JSON form."""
    return Embeddings(tuple(tuple(vector) for vector in data["vectors"]), usage(data.get("usage")), data["model"])


def envelope(data: Mapping[str, Any]) -> Envelope:
    """Rebuild an Envelope from its JSON form, or from that of schema 1, which had labels."""
    plain = {name: value for name, value in data.items() if name != "labels"}
    if "labels" in data:
        plain["origins"] = [label.removeprefix("from:") for label in data["labels"]]
    return record(Envelope, plain)


def generate_request(data: Mapping[str, Any]) -> GenerateRequest:
    """Rebuild a GenerateRequest from its JSON form, as the journal keeps it."""
    sampling = dict(data.get("sampling") or {})
    if sampling.get("stop") is not None:
        sampling["stop"] = tuple(sampling["stop"])
    choices = data.get("choices")
    return GenerateRequest(
        model=data["model"],
        messages=tuple(message(m) for m in data.get("messages") or ()),
        prompt=data.get("prompt"),
        sampling=record(Sampling, sampling),
        tools=tuple(record(ToolSpec, t) for t in data.get("tools") or ()),
        tool_choice=data.get("tool_choice", "auto"),
        schema=data.get("schema"),
        choices=tuple(choices) if choices is not None else None,
        adapter=data.get("adapter"),
        stream=data.get("stream", True),
        said=data.get("said", ""),
        decoding=decoding(data.get("decoding")),
        service=data.get("service", "interactive"),
        needs=record(Needs, data["needs"]) if data.get("needs") else None,
    )


def decoding(data: Mapping[str, Any] | None) -> Decoding | None:
    """Rebuild a Decoding from its JSON form; None stays None."""
    if data is None:
        return None
    lists = {name: tuple(data[name]) for name in ("banned", "topics") if data.get(name) is not None}
    return record(Decoding, {**data, **lists})


def grant(data: Mapping[str, Any]) -> Grant:
    """The Grant of a JSON form, one for all that hold the same."""
    return _grant(canonical(data)) if data else EVERYTHING


@lru_cache(maxsize=1000)
def _grant(form: bytes) -> Grant:
    data = loads(form)
    policy = data.get("policy") or {}
    rules = {name: _rule(each) for name, each in (policy.get("tools") or {}).items()}
    held = {name: tuple(value) for name, value in data.items() if isinstance(value, list | tuple)}
    return Grant(**held, policy=Policy(**{**policy, "tools": rules}), shared=data.get("shared", False))


def supervision(data: Mapping[str, Any] | None) -> Supervision:
    """A Supervision from its JSON form; nothing is the default."""
    return Supervision(**data) if data else _ALONE


_ALONE = Supervision()


def budgets(data: Any) -> tuple[Budget, ...]:
    """Rebuild budgets from their JSON form: one, a list of them, or none."""
    if not data:
        return ()
    found = (record(Budget, each) for each in ([data] if isinstance(data, dict) else data))
    return tuple([each for each in found if each.limits])


def _rule(data: Mapping[str, Any]) -> Rule:
    cases = {
        kind: tuple({name: tuple(patterns) for name, patterns in case.items()} for case in data.get(kind) or ())
        for kind in ("allow", "refuse")
    }
    lists = {"optional": tuple(data["optional"])} if data.get("optional") is not None else {}
    return Rule(**{**data, **cases, **lists})
