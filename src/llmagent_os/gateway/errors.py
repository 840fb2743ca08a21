"""One table from what went wrong to an HTTP status, and the two shapes in which clients are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    VaultUnreadable,
    nearest,
)
from ..core.records import Json


class Unauthorised(LLMAgentOSError):
    """The request carries no key, or a wrong one; the message says where the key is found."""


class TooManyRequests(LLMAgentOSError):
    """The key has made as many requests as it may for now; facts: `retry_after`, in seconds."""


class UnknownField(InvalidRequest):
    """A body or query has a field that is not known; the message names the nearest one that is."""


class TooLarge(InvalidRequest):
    """The request's body is longer than is read."""


STATUS: dict[type[BaseException], int] = {
    Unauthorised: 401,
    PermissionDenied: 403,
    NotFound: 404,
    Conflict: 409,
    DataFolderBusy: 409,
    TooLarge: 413,
    ContextOverflow: 400,
    InvalidRequest: 422,
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
    409: "conflict_error", 413: "invalid_request_error", 422: "invalid_request_error", 429: "insufficient_quota",
}  # fmt: skip


def status_of(error: BaseException) -> int:
    """The HTTP status that an error is answered with; 500 for one that nobody foresaw."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def rest_body(error: BaseException) -> dict[str, Json]:
    """`{"error": {type, message, facts}}`, from which `core.errors.from_data` makes the error again."""
    return {"error": _known(error).to_data()}


def openai_status(error: BaseException) -> int:
    """As `status_of`, but a value that cannot be used is a 400, as the official servers have it."""
    status = status_of(error)
    return 400 if status == 422 and not isinstance(error, UnknownField) else status


def openai_body(error: BaseException) -> dict[str, Json]:
    """`{"error": {message, type, param, code}}`, as OpenAI's SDKs read it."""
    known = _known(error)
    limited = isinstance(error, TooManyRequests)
    kind = "rate_limit_error" if limited else _TYPES.get(openai_status(error), "server_error")
    parameter = known.facts.get("parameter")
    if isinstance(known, NotFound) and known.facts.get("kind") == "model":
        parameter = "model"
    return {"error": {"message": known.message, "type": kind, "param": parameter, "code": _code(known)}}


def _code(error: LLMAgentOSError) -> str:
    if isinstance(error, NotFound) and error.facts.get("kind") == "model":
        return "model_not_found"
    if isinstance(error, ContextOverflow):
        return "context_length_exceeded"
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


def _known(error: BaseException) -> LLMAgentOSError:
    if isinstance(error, LLMAgentOSError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("there was no answer in time; ask again later or give it more time")
    return LLMAgentOSError(f"an error that was not foreseen: {type(error).__name__}; see the server's log")


def explained(
    found: Iterable[Any], models: Iterable[type[BaseModel]], refused: Mapping[str, str] | None = None
) -> InvalidRequest:
    """What pydantic found wrong in one of `models`, as one error: the field to blame, with the nearest known one.

    `refused` are fields that are known but not supported, each with what to do instead.
    """
    first = min(found, key=lambda error: (error["type"] != "extra_forbidden", len(error["loc"])))
    place = tuple(first["loc"])
    if place[:1] in (("body",), ("query",)) and (len(place) > 1 or first["type"] != "extra_forbidden"):
        place = place[1:]  # where the framework found it; alone and unknown, it is a field of that name
    path = _path(place)
    if first["type"] == "json_invalid":
        return InvalidRequest(f"the body is not JSON: {first['ctx']['error']}", parameter=None)
    if first["type"] != "extra_forbidden":
        return InvalidRequest(f"{path or 'the body'}: {first['msg']}", parameter=path or None)
    if refused and path in refused:
        return UnknownField(f"{path!r} is not supported: {refused[path]}", parameter=path)
    hint = nearest(str(place[-1]), _fields(models, place[:-1]))
    return UnknownField(f"unknown field {path!r}; {hint}", parameter=path)


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


def _path(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
