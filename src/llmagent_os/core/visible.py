"""Texts that somebody else wrote, as people are shown them: nothing moves the cursor, hides a letter or is unseen."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import plain

if TYPE_CHECKING:
    from .records import Json

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters that count as printable, and of which nothing is seen."""
_PLAIN = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]{0,99}")
_BLANKS = re.compile("  +")
_SECRET = re.compile(
    r"(keys?|tokens?|secrets?|password|passwd|passphrase|credentials?|cookies?|bearer)$|(^|[_-])(pass|auth|jwt)$|[_-](pat|pwd)$",
    re.IGNORECASE,
)
"""How variables are named whose values are secrets: none of those that say what is executed (`GIT_ASKPASS`)."""
_ADDRESS = re.compile(r"ur[il]$", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]+@")


def visible(text: str) -> str:
    """The text on one line, with what controls, turns around, or is not seen, as `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each.isprintable() and not _UNSEEN.match(each) else _escaped(each) for each in text)


def quoted(value: Json) -> str:
    """A value as JSON on one line, all of it seen; no row of blanks pushes what follows out of sight."""
    return _BLANKS.sub(lambda blanks: " " + "\\u0020" * (len(blanks[0]) - 1), visible(plain.dumps(value).decode()))


def named(name: str) -> str:
    """A name in a sentence or before a value: one that could be taken for more than a name is quoted."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


def commanded(words: Iterable[str]) -> str:
    """The words of a command as a shell is given them; one with what is not seen, or a row of blanks, as JSON."""
    return " ".join(quoted(each) if _BLANKS.search(each) or visible(each) != each else shlex.quote(each)
                    for each in words)  # fmt: skip


def assigned(name: str, value: str) -> str:
    """A variable of the environment with its value: whole, since it may decide what is executed, but for a secret."""
    if _SECRET.search(name):
        return f"{named(name)} = ***  (not shown)"
    shown = _PASSWORD.sub(r"\1:***@", value) if _ADDRESS.search(name) else value
    return f"{named(name)} = {quoted(shown)}"


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
