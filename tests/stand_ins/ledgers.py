"""Files in which programs that are killed say what they did."""

from __future__ import annotations

import os
from pathlib import Path


def noted(file: Path, line: str) -> None:
    """Append a line to a file, whole, whenever the process is killed."""
    handle = os.open(file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)
