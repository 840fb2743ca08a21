"""Text in the character set that its sender names."""

from __future__ import annotations

import codecs

_NO_TEXT = frozenset({"punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape", "unicode-escape"})
"""Python's own forms, which nothing is sent in. The time that the first takes grows with the square of the length."""


def decoded(data: bytes, charset: str | None) -> str:
    """A text; as UTF-8 where no character set is named, or none that anybody sends text in."""
    name = charset or "utf-8"
    try:
        known = codecs.lookup(name).name
        return data.decode("utf-8" if known.replace("-", "_") in _NO_TEXT else known, "replace")
    except (LookupError, ValueError):  # one that nobody knows, or that is no text
        return data.decode("utf-8", "replace")
