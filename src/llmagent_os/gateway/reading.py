"""Bodies as clients really send them: what is null, and what belongs to somebody else, counts as not sent."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator

from ..core.errors import InvalidRequest
from ..core.foreign import DEEPEST
from ..core.records import Json
from .errors import explained, path

T = TypeVar("T", bound="Body")
Item = TypeVar("Item")


@dataclass(frozen=True)
class FirstOnly:
    """Marks a list or mapping of which only the first wrong item is told: a hostile one has half a million of them."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """As pydantic's own `FailFast`, which no union of types takes."""
        return {**handler(source), "fail_fast": True}


ListOf = Annotated[list[Item], FirstOnly()]

_BOM = b"\xef\xbb\xbf"  # some shells of Windows begin every text with it
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # how gzip and zstd begin
_LEAST, _MOST = -(2**63), 2**64 - 1  # whole numbers that the journal keeps
LONGEST = 40  # letters of a name that is compared with others
_NEAR = 0.8  # likeness of two names from which on one is taken for the other, mistyped
MANY = 100  # names of a body that are compared so; what is unknown beyond that is left out
VALUES = 100_000  # in a body: what has more keeps everybody waiting while it is looked at
HOLDERS = 50_000  # of them lists and objects, which cost every reader many times as much
MESSAGES = 10_000  # of a conversation, which every part of the system goes through


class Body(BaseModel):
    """A request's body: no unknown fields, never changed. A field that is null counts as not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def sent(cls, data: Any) -> Any:
        """What was sent, without what counts as not sent."""
        if not isinstance(data, dict) or (data.keys() <= known(cls) and None not in data.values()):
            return data  # as nearly all are
        names = known(cls)
        odd = islice((name for name in data if name not in names), MANY)  # a hostile body has a million of them
        looked = {name for name in odd if data[name] is not None and not cls.spares(name, data)}
        return {name: value for name, value in data.items() if name in looked or (name in names and value is not None)}

    @classmethod
    def spares(cls, name: str, data: Mapping[str, Any]) -> bool:
        """Whether a field of what was sent is left out unread."""
        return False


class Piece(Body):
    """An object within a body, where clients echo what other servers gave them: what is not known is left out.

    Not so a name that is nearly one that is known and missing: that was mistyped, and is refused.
    """

    @classmethod
    def spares(cls, name: str, data: Mapping[str, Any]) -> bool:
        """Whether a field of what was sent is left out unread."""
        if name in known(cls):
            return False
        meant = misspelt(cls, name)
        return meant is None or meant in data


@functools.cache
def known(cls: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields, as clients write them."""
    return frozenset(info.alias or name for name, info in cls.model_fields.items())


_LOOKED: ContextVar[set[tuple[type[BaseModel], str]]] = ContextVar("looked")
"""The names of the present body that were compared: a hostile one has a million of them, each another one."""


def misspelt(cls: type[BaseModel], name: str, near: float = _NEAR) -> str | None:
    """The known field that a name is nearly the one of; None also for what nobody looks at any more."""
    looked = _LOOKED.get(set())
    if len(name) > LONGEST or (len(looked) >= MANY and (cls, name) not in looked):
        return None
    looked.add((cls, name))
    return _nearest(cls, name, near)


@functools.lru_cache(4096)
def _nearest(cls: type[BaseModel], name: str, near: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, known(cls), 1, near)), None)


def read(cls: type[T], data: bytes, refused: Mapping[str, str]) -> T:
    """Check a body; raises InvalidRequest that names the field to blame, by a path that its writer wrote.

    `refused` are fields that are known but not supported, each with what to do instead.
    """
    value = received(data)
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        raise explained(error.errors(include_url=False, include_context=True), [cls], refused, value) from None


def received(data: bytes) -> Json:
    """The JSON of a body; raises InvalidRequest for what is none, and for what nobody could keep."""
    _LOOKED.set(set())
    if not data:
        raise InvalidRequest("the body is empty; send JSON", parameter=None)
    try:
        value = pydantic_core.from_json(data.removeprefix(_BOM), allow_inf_nan=False)
    except ValueError as error:
        why = "it is compressed; send it as it is" if data.startswith(_COMPRESSED) else error
        raise InvalidRequest(f"the body is not JSON: {why}", parameter=None) from None
    if not _keepable(value):
        where, wrong = next(_wrong(value, ()))
        raise InvalidRequest(f"{path(where) or 'the body'}: {wrong}", parameter=path(where) or None)
    return value


def _keepable(value: Json) -> bool:
    """Whether neither depth nor numbers are beyond what the journal keeps; in levels, as this is on every request."""
    level, count, holders = [value], 0, 0
    for _ in range(DEEPEST + 1):
        count += len(level)
        if count > VALUES:
            raise InvalidRequest(f"the body holds more than {VALUES} values; send less at a time", parameter=None)
        inner: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is dict:
                inner += each.values()
                holders += 1
            elif kind is list:
                inner += each
                holders += 1
            elif (kind is int and not _LEAST <= each <= _MOST) or (kind is float and not math.isfinite(each)):
                return False
        if holders > HOLDERS:
            text = f"the body holds more than {HOLDERS} lists and objects; send less at a time"
            raise InvalidRequest(text, parameter=None)
        if not inner:
            return True
        level = inner
    return False


def _wrong(value: Json, where: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The places that cannot be kept, each with why."""
    if len(where) > DEEPEST:
        yield where[:1], f"it is nested deeper than {DEEPEST} levels"
    elif isinstance(value, int) and not _LEAST <= value <= _MOST:
        yield where, "the number has more than 64 bits"
    elif isinstance(value, float) and not math.isfinite(value):
        yield where, "the number is larger than any that can be kept"
    elif isinstance(value, dict | list):
        for part, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _wrong(each, (*where, part))
