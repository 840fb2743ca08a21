"""Folders in one another, deeper than the path of any system can say: as code of an agent may make them."""

from __future__ import annotations

import os
from pathlib import Path


def deepen(top: Path, levels: int = 6000, name: str = "d", data: bytes = b"deep") -> None:
    """Folders below `top`, and `end.txt` in the last."""
    at = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=at)
        deeper = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    file = os.open("end.txt", os.O_WRONLY | os.O_CREAT, dir_fd=at)
    os.write(file, data)
    os.close(file)
    os.close(at)
