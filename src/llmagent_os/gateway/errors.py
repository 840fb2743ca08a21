"""One table from what went wrong to an HTTP status, and the two shapes in which clients are told."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from ..core.errors import (
    BudgetExceeded,
    Conflict,
    ContextOverflow,
    DataFolderBusy,
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    JournalDamaged,
    JournalFull,
    JournalUnavailable,
    LLMAgentOSError,
    MissingExtra,
    NotFound,
    PermissionDenied,
    ProcessFailed,
    ToolFailed,
    Unsupported,
    VaultUnreadable,
    nearest,
)
from ..core.records import Json
from ..core.worded import wrong


class Unauthorised(LLMAgentOSError):
    """The request carries no key, or a wrong one."""


class TooManyRequests(LLMAgentOSError):
    """The key has made as many requests as it may for now; facts: `retry_after`, in seconds."""


class UnknownField(InvalidRequest):
    """A body or query has a field that is not known; the message names the nearest one that is."""


class MissingField(InvalidRequest):
    """A body or query lacks a field that it takes."""


class TooLarge(InvalidRequest):
    """The request's body is longer than is read."""


STATUS: dict[type[BaseException], int] = {
    Unauthorised: 401,
    PermissionDenied: 403,
    NotFound: 404,
    Conflict: 409,
    DataFolderBusy: 409,
    TooLarge: 413,
    InvalidRequest: 400,
    BudgetExceeded: 429,
    TooManyRequests: 429,
    LLMAgentOSError: 500,
    JournalDamaged: 500,
    MissingExtra: 501,
    EngineFailed: 502,
    ToolFailed: 502,
    ProcessFailed: 502,
    EngineUnavailable: 503,
    DeadlineExceeded: 504,
    TimeoutError: 504,
    JournalFull: 507,
    JournalUnavailable: 503,
    VaultUnreadable: 503,
}
"""The nearest class in an error's ancestry counts."""

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    409: "conflict_error", 413: "invalid_request_error", 429: "insufficient_quota",
}  # fmt: skip


def status_of(error: BaseException) -> int:
    """The HTTP status that an error is answered with; 500 for one that nobody foresaw."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def rest_body(error: BaseException) -> dict[str, Json]:
    """`{"error": {type, message, facts, param, code}}`: the first three make the error again, see

    `core.errors.from_data`; the others are what OpenAI's SDKs read.
    """
    known = told(error)
    return {"error": {**known.to_data(), "param": _parameter(known), "code": _code(known)}}


def openai_body(error: BaseException, wrote: Container[str] = ()) -> dict[str, Json]:
    """`{"error": {message, type, param, code}}`, as OpenAI's SDKs read it.

    `wrote` are the fields that the client sent: `param` is one of them where it goes by several names.
    """
    known = told(error)
    limited = isinstance(error, TooManyRequests)
    kind = "rate_limit_error" if limited else _TYPES.get(status_of(error), "server_error")
    parameter = _parameter(known)
    if parameter is not None:
        parameter = next((name for name in (parameter, *_ALIASES.get(parameter, ())) if name in wrote), parameter)
    return {"error": {"message": known.message, "type": kind, "param": parameter, "code": _code(known)}}


_ALIASES = {
    "schema": ("response_format", "text"), "said": ("continue_final_message", "messages"),
    "messages": ("input", "prompt"), "max_tokens": ("max_completion_tokens", "max_output_tokens"),
    "top_logprobs": ("logprobs", "include"), "decoding": ("explain",), "explain": ("decoding",),
    **dict.fromkeys(("width", "n", "scorer", "banned", "topics", "strategy"), ("decoding",)),
}  # fmt: skip
"""What engines call a parameter -> what clients call it."""

_CODES: dict[type[BaseException], str] = {
    Unauthorised: "invalid_api_key",
    BudgetExceeded: "insufficient_quota",
    TooManyRequests: "rate_limit_exceeded",
    ContextOverflow: "context_length_exceeded",
    Unsupported: "unsupported_parameter",
    UnknownField: "unknown_parameter",
    MissingField: "missing_required_parameter",
    TooLarge: "request_too_large",
    InvalidRequest: "invalid_value",
}
"""OpenAI's words, by which clients decide what to do next; all else is called as its class is."""


def _parameter(error: LLMAgentOSError) -> Json:
    if isinstance(error, NotFound) and error.facts.get("kind") == "model":
        return "model"
    return error.facts.get("parameter")


def _code(error: LLMAgentOSError) -> str:
    if isinstance(error, NotFound) and error.facts.get("kind") == "model":
        return "model_not_found"
    for cls in type(error).__mro__:
        if found := _CODES.get(cls):
            return found
    name = type(error).__name__
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


def headers(error: BaseException) -> list[tuple[bytes, bytes]]:
    """What belongs beside an error answer: how to authenticate, when to try again, and when not to."""
    if isinstance(error, Unauthorised):
        return [(b"www-authenticate", b"Bearer")]
    if isinstance(error, BudgetExceeded):  # the official SDKs retry a 429 unless told not to
        return [(b"x-should-retry", b"false")]
    retry_after = error.facts.get("retry_after") if isinstance(error, LLMAgentOSError) else None
    return [(b"retry-after", str(retry_after).encode())] if retry_after else []


def told(error: BaseException) -> LLMAgentOSError:
    """An error as callers are told of it: what nobody foresaw without its words, which stand in the log."""
    if isinstance(error, LLMAgentOSError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("there was no answer in time; ask again later or give it more time")
    return LLMAgentOSError(f"an error that was not foreseen: {type(error).__name__}; see the server's log")


def explained(
    found: Iterable[Any], models: Iterable[type[BaseModel]], refused: Mapping[str, str] | None = None, sent: Json = ...
) -> InvalidRequest:
    """What pydantic found wrong in one of `models`, as one error: the field to blame, with the nearest known one.

    `refused` are fields that are known but not supported, each with what to do instead; paths are those of `sent`.
    """
    placed = [(_place(error, sent), error) for error in found]
    place, first = min(placed, key=lambda each: (each[1]["type"] != "extra_forbidden", -len(each[0])))
    where = path(place)
    if first["type"] == "json_invalid":
        return InvalidRequest(f"the body is not JSON: {first['ctx']['error']}", parameter=None)
    if first["type"] == "missing":
        return MissingField(f"{where or 'the body'} is missing", parameter=where or None)
    if first["type"] != "extra_forbidden":
        return InvalidRequest(f"{where or 'the body'}{_wrong(first)}", parameter=where or None)
    if refused and where in refused:
        return Unsupported(f"{where!r} is not supported: {refused[where]}", parameter=where)
    hint = nearest(str(place[-1]), _fields(models, place[:-1]))
    return UnknownField(f"unknown field {where!r}; {hint}", parameter=where)


def _place(error: Any, sent: Json) -> tuple[Any, ...]:
    """Where in what was sent an error is: pydantic's path has the names of our classes and of alternatives in it."""
    place = tuple(error["loc"])
    if place[:1] in (("body",), ("query",)) and (len(place) > 1 or error["type"] != "extra_forbidden"):
        place = place[1:]  # where the framework found it; alone and unknown, it is a field of that name
    if sent is ...:
        return place
    trodden: list[Any] = []
    missing = place[-1:] if error["type"] == "missing" else ()  # what was sent as null is missing, and in `sent`
    for part in place[: len(place) - len(missing)]:
        if (isinstance(sent, Mapping) and part in sent) or (isinstance(sent, list) and part in range(len(sent))):
            trodden.append(part)
            sent = sent[part]
    return (*trodden, *missing)


_SAYS = {
    "must be an object": ("model_type", "model_attributes_type", "dataclass_type", "dict_type", "mapping_type"),
    "must be text": ("string_type",),
    "must be a list": ("list_type", "tuple_type"),
    "must be a whole number": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "must be a number": ("float_type", "float_parsing", "finite_number"),
    "must be true or false": ("bool_type", "bool_parsing"),
}
"""What is said of those kinds of pydantic's errors whose own words are about Python."""

_WORDS = {kind: words for words, kinds in _SAYS.items() for kind in kinds}


_BOUNDS = {
    "greater_than_equal": "{ge} or more", "less_than_equal": "{le} or less", "greater_than": "more than {gt}",
    "less_than": "less than {lt}", "literal_error": "{expected}", "too_long": "{max_length} items at most",
}  # fmt: skip
"""The same of those that say what bounds a value has."""


def _wrong(error: Any) -> str:
    """What is wrong with a value, in words for who wrote it, to go on with after its name."""
    if error["type"] in _WORDS:
        return f" {_WORDS[error['type']]}"
    if error["type"] in _BOUNDS:
        return f" must be {_BOUNDS[error['type']].format(**error['ctx'])}"
    if error["type"] in ("too_short", "string_too_short") and error["ctx"]["min_length"] == 1:
        return " must not be empty"
    if error["type"] == "union_tag_invalid":
        return f": its type {error['ctx']['tag']!r} is not one of {error['ctx']['expected_tags']}"
    return f": {wrong(error)}"


def _fields(models: Iterable[type[BaseModel]], place: Iterable[Any]) -> set[str]:
    """The names of the fields that an object at a place may have."""
    here = list(models)
    for part in place:
        inner = [found for model in here for found in _inside(model, part)]
        here = inner or here  # a part that is no field is an index, or the name of an alternative
    return {info.alias or name for model in here for name, info in model.model_fields.items()}


def _inside(model: type[BaseModel], field: Any) -> Iterator[type[BaseModel]]:
    for name, info in model.model_fields.items():
        if field in (name, info.alias):
            yield from models_in(info.annotation)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def path(location: Iterable[Any]) -> str:
    """A place in a body as people write it: `messages[0].content`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
