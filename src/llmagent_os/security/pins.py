"""Where the newest checkpoint of an audit log is kept apart from its folder: in the user's own folder for states.

Who can write the data folder can set it back, or sign all of it anew; what is pinned says so. It is one line, as
`checkpoints.jsonl` has them, with the public key and the number of entries: a copy elsewhere serves as well.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from ..core.folders import state_folder


class Pin:
    """What was pinned of one data folder, by where that lies."""

    def __init__(self, data: Path) -> None:
        """Nothing is read or made yet."""
        there = data.resolve()
        mark = blake2b(os.fsencode(there), digest_size=8).hexdigest()
        self.path = state_folder() / "audit" / f"{there.name[:100]}-{mark}.jsonl"

    def read(self) -> bytes | None:
        """The checkpoint that was pinned, or None. Raises OSError for a file that cannot be read."""
        try:
            return self.path.read_bytes().strip() or None
        except FileNotFoundError:
            return None

    def write(self, line: bytes) -> None:
        """Pin a checkpoint, in place of the one before. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(line + b"\n")
        fresh.replace(self.path)

    def forget(self) -> None:
        """Have the next start pin what it finds. Raises OSError."""
        self.path.unlink(missing_ok=True)
