"""Which system the commands talk to, and with whose key: by default that of the data folder, and its owner's."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InvalidRequest

URL, KEY = "LLMAGENT_OS_URL", "LLMAGENT_OS_KEY"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A system's URL and a key; None: as the data folder has it."""

    url: str | None = None
    key: str | None = None


CHOSEN: ContextVar[Chosen] = ContextVar("chosen", default=Chosen())  # noqa: B039 - frozen
"""What the command line says, before the command's own name."""


def read_key(file: Path) -> str:
    """The key in a file; raises InvalidRequest where there is none."""
    try:
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the key file {file} cannot be read: {error}", parameter="key-file") from None
    if not key or len(key.split()) != 1:
        text = f"the key file {file} holds no key: one line, as `keys add` prints it"
        raise InvalidRequest(text, parameter="key-file")
    return key
