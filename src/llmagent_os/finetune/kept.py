"""What a folder that is served from says of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ..core import codec
from ..core.records import Json

FILE = "tuned.json"


def describe(folder: Path, engine: str, served: str, told: Mapping[str, Json]) -> None:
    """Say which engine serves a folder, what it should know, and the sha256 of the file that is `served`."""
    with (folder / served).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / FILE).write_bytes(codec.dumps({"engine": engine, "sha256": digest, **told}))
