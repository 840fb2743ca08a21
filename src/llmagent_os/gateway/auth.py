"""The key: made at first start, kept in the data folder, asked of every request but `/health`."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from .errors import Unauthorised

BITS = 256


def key_file(data: Path) -> Path:
    """Where the key of a data folder lies."""
    return data / "key"


def load_key(data: Path) -> str:
    """The key of a data folder, made there if there is none yet (readable by its owner alone)."""
    path = key_file(data)
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    key = "sk-" + secrets.token_urlsafe(BITS // 8)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
    return key


class Lock:
    """Lets in who sends `Authorization: Bearer KEY`."""

    def __init__(self, key: str, path: Path) -> None:
        self._expected = b"Bearer " + key.encode()
        self._path = path

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise Unauthorised unless the headers carry the key. Compares in constant time."""
        for name, value in headers:
            if name == b"authorization":
                if hmac.compare_digest(value, self._expected):
                    return
                raise Unauthorised(f"this key is not the right one; the key is in {self._path}")
        raise Unauthorised(f"send the header `Authorization: Bearer KEY`; the key is in {self._path}")
