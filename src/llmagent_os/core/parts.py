"""Values in parts: what is long in a value is kept once, under the hash of its content, and only named where it stands.

A conversation is said again in every prompt, in the state that its process parks with, in the message and in the reply.
Split, all of these name the same texts, and a list that grew by two items adds those two:

    {"messages": [system, first, ..., last]}  ->  {"messages": ["\\x7flNAME", ..., last]}

where NAME holds the items before, which begin with the name of those before them. Long texts and records are named,
too. A name is 32 hexadecimal digits, so who looks for names finds them without knowing this form.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from .errors import InvalidRequest

TEXT_FROM = 256  # characters: a longer text is a part of its own
CHUNK = 512  # bytes: of a record that is a part of its own, of a list's items under one name
SMALL = 8192  # bytes: to press so much, a window of that size does
LARGE = 1 << 16  # bytes of a list, from which on more of it is under one name
MANY = 4096  # items of a list, from which on those that are short are said some at a time
MARK = "\x7f"  # begins what is named instead of said, and stands once more before a text that begins with it
TEXT, LIST, VALUE = MARK + "s", MARK + "l", MARK + "v"  # no hexadecimal digit: it would blur the name that follows
_MARK, _LIST = MARK.encode(), LIST.encode()
_CHAINED = b'["' + _LIST  # how the content of a list that goes on from another begins

Keep = Callable[[bytes], str]
"""Keeps a content and returns its name."""
Fetch = Callable[[str], bytes]
"""The content of a name."""


def digest(content: bytes) -> bytes:
    """The hash that a content is stored under (BLAKE2b-128); in hexadecimal digits it is its name."""
    return hashlib.blake2b(content, digest_size=16).digest()


def pressed(content: bytes) -> bytes:
    """A content as it is stored (zlib). A window larger than it takes several times as long to make as to use."""
    if len(content) > SMALL:
        return zlib.compress(content, 1)
    press = zlib.compressobj(1, zlib.DEFLATED, 13, 6)
    return press.compress(content) + press.flush()


def from_name(name: str) -> bytes:
    """The hash that a name stands for; raises InvalidRequest."""
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise InvalidRequest(f"{name!r} is not a blob's name (32 hexadecimal digits)", parameter="blob")
    return bytes.fromhex(name)


def split(data: bytes, keep: Keep) -> bytes:
    """A value's JSON as JSON that names its long parts. Lists that begin alike share the parts of their beginning."""
    return _named(orjson.loads(data), keep)


def join(data: bytes, fetch: Fetch) -> Any:
    """The value that was split; raises what `fetch` raises."""
    value = orjson.loads(data)
    return _said(value, fetch) if _MARK in data else value  # nothing in it is named: there is nothing to look for


def _named(value: Any, keep: Keep) -> bytes:
    """The JSON of a value whose parts are named, itself not."""
    if isinstance(value, dict):
        fields = (orjson.dumps(key) + b":" + _part(item, keep) for key, item in value.items())
        return b"{" + b",".join(fields) + b"}"
    if isinstance(value, list):
        return _chain(value, keep)
    if isinstance(value, str) and len(value) >= TEXT_FROM:
        return _name(TEXT, value.encode(), keep)
    return orjson.dumps(MARK + value if isinstance(value, str) and value.startswith(MARK) else value)


def _part(value: Any, keep: Keep) -> bytes:
    """The JSON of a value within another, or its name. What holds a list that goes on is new each time: it is said."""
    data = orjson.dumps(value)
    if len(data) < TEXT_FROM and _MARK not in data:
        return data
    data = _named(value, keep)
    return data if len(data) < CHUNK or _LIST in data else _name(VALUE, data, keep)


def _chain(items: list[Any], keep: Keep) -> bytes:
    """The last items of a list, after the name of those before. Numbers are not worth a name each."""
    if not any(isinstance(item, str | list | dict) for item in items):
        return orjson.dumps(items)
    parts = list(_short(items, keep) if len(items) > MANY else _each(items, keep))
    size = sum(map(len, parts))
    most = CHUNK if size < LARGE else 8 * CHUNK if size < 8 * LARGE else 64 * CHUNK
    last: list[bytes] = []
    size = 0
    for part in parts:
        if size >= most:
            last, size = [_name(LIST, _list(last), keep)], 0
        last.append(part)
        size += len(part)
    return _list(last)


def _each(items: list[Any], keep: Keep) -> Iterator[bytes]:
    """The items of a list as they stand in it."""
    for item in items:
        data = orjson.dumps(item)
        yield data if len(data) < TEXT_FROM and _MARK not in data else _part(item, keep)


def _short(items: list[Any], keep: Keep) -> Iterator[bytes]:
    """The items of a very long list, _TOGETHER at a time where all of them are short: one by one takes its time."""
    for first in range(0, len(items), _TOGETHER):
        some = items[first : first + _TOGETHER]
        data = orjson.dumps(some)
        if len(data) < _TOGETHER * TEXT_FROM >> 2 and _MARK not in data:
            yield data[1:-1]
        else:
            yield from _each(some, keep)


_TOGETHER = 64


def _list(parts: list[bytes]) -> bytes:
    return b"[" + b",".join(parts) + b"]"


def _name(kind: str, content: bytes, keep: Keep) -> bytes:
    return orjson.dumps(kind + keep(content))


def _said(value: Any, fetch: Fetch) -> Any:
    if isinstance(value, str):
        return _text(value, fetch) if value.startswith(MARK) else value
    if isinstance(value, dict):
        return {key: _said(item, fetch) for key, item in value.items()}
    if isinstance(value, list):
        return _unchained(value, fetch)
    return value


def _text(value: str, fetch: Fetch) -> Any:
    """What stands for a text that begins with the mark."""
    if value.startswith(TEXT):
        return fetch(value[2:]).decode()
    return join(fetch(value[2:]), fetch) if value.startswith(VALUE) else value[1:]


def _unchained(items: list[Any], fetch: Fetch) -> list[Any]:
    """All the items of a list, as they were."""
    pieces, marked = [], True
    while items and isinstance(items[0], str) and items[0].startswith(LIST):
        pieces.append([_said(item, fetch) for item in items[1:]] if marked else items[1:])
        data = fetch(items[0][2:])
        items, marked = orjson.loads(data), data.count(_MARK) > data.startswith(_CHAINED)
    first = [_said(item, fetch) for item in items] if marked else items
    return [item for piece in (first, *reversed(pieces)) for item in piece]
