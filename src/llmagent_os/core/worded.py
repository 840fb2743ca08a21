"""Patterns of names, and what they ask for in words: who wrote a name that does not fit is told those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGENT = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
PROCESS = r"^[^/]+$"
SOURCE = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
MIME = r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+$"

WORDS = {
    AGENT: "is letters, digits and _.- without blanks, a letter or digit first, such as research-helper",
    PROCESS: "has no slash in it, such as nightly-report",
    SOURCE: "is up to 32 letters, digits and _-, a letter or digit first, such as crm-2",
    MIME: "is a media type, such as image/png",
}


def wrong(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value: of a pattern the words, not the signs."""
    if error["type"] == "string_pattern_mismatch":
        return f"it {words}" if (words := WORDS.get(error["ctx"]["pattern"])) else str(error["msg"])
    return str(error["msg"]).removeprefix("Value error, ")
