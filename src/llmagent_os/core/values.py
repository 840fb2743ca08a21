"""Values in texts: what is compared with what, in which form, and where a value stands as it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping

from . import codec
from .links import found
from .records import Json

_SCHEME = re.compile(r"(?<!\w)https?://")
_ZEROS = re.compile(r"(?<![\w.])(\d+)(?:\.0+|(\.\d*[1-9])0+)(?!\w|\.\w)")
_COMMA = re.compile(r"\d,\d")
_JOINTS = ".-+@/\\"
TRIES = 2000  # places at which a value is looked for in a text
_FAR = 50  # characters that join words, in a row


def written(value: Json) -> str:
    """All text in JSON data, a leaf a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(f"{key}\n{written(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(written, value))
    return "" if value is None else codec.dumps(value).decode()


def normal(text: str) -> str:
    """A form in which values are likened: one case, one kind of space, no `http://`, numbers without zeros.

    It tells people where a value stands; whether it stands in trusted words is stricter (see `core.words`).
    """
    plain = " ".join(text.split()).lower()  # not folded: `ß` and `ss` are two domains
    if "://" in plain:
        plain = _SCHEME.sub("", plain)
    plain = unpadded(plain)
    return plain.rstrip("/") or plain


def unpadded(text: str) -> str:
    """A text with its numbers without the zeros that add nothing: 50.00 as 50, 1.50 as 1.5."""
    return _ZEROS.sub(r"\1\2", text) if "." in text else text


def leaves(value: Json, known: Collection[str] | None = None) -> Iterator[str]:
    """Every text and number in an argument; a whole number also reads as one. With `known`, also the other keys."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if known is not None and key not in known:
                yield key
            yield from leaves(item, known)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item, known)
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif value is not None and value != "":
        yield str(value)


def links(text: str) -> list[str]:
    """The URLs, hosts and mail addresses in a text, however they are spelt (see `core.links`)."""
    return list(dict.fromkeys(each.text for each in found(text)))


def stands(value: str, text: str) -> bool:
    """Whether a value stands in a text, both in normal form: not as part of a longer word, address, path or number.

    One that stands in so many longer ones that nobody would find it does not.
    """
    if not any(map(str.isalnum, value)):
        return f" {value} " in f" {text} "  # `/` and `.` stand in every text
    at = text.find(value)
    for _ in range(TRIES):
        if at < 0:
            break
        if not (_inside(text, at) or _inside(text, at + len(value))):
            return True
        at = text.find(value, at + 1)
    return False


def _inside(text: str, at: int) -> bool:
    """Whether a place in a text lies within one word, address, path or number: `j.smith@x.org` is not `smith@x.org`."""
    comma = _COMMA.fullmatch(text[at - 1 : at + 2]) or _COMMA.fullmatch(text[max(at - 2, 0) : at + 1])
    return comma is not None or (_joined(text, at - 1, -1) and _joined(text, at, 1))


def _joined(text: str, at: int, step: int) -> bool:
    """Whether a word's character is next in a direction, past what joins words to an address; so many join anything."""
    far = at + step * _FAR
    while 0 <= at < len(text) and text[at] in _JOINTS:
        at += step
        if at == far:
            return True
    return 0 <= at < len(text) and _of_word(text[at])


def _of_word(character: str) -> bool:
    """Whether words go on here; not so between the characters of scripts that are written without spaces."""
    if character.isascii():
        return character.isalnum() or character == "_"
    cased = character.lower() != character.upper()
    return cased or character.isdecimal() or unicodedata.combining(character) != 0
