"""Where things lie on a machine, unless somebody put them elsewhere; quick to import, for commands that only ask."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Where a system keeps its journal and keys: `LLMAGENT_OS_DATA`, else the user's data folder (XDG)."""
    given = os.environ.get("LLMAGENT_OS_DATA")
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(given) if given else home / "llmagent-os"


def cache_folder(name: str) -> Path:
    """Where what can be fetched again lies: `LLMAGENT_OS_NAME`, else a folder `name` in the user's cache (XDG)."""
    if given := os.environ.get(f"LLMAGENT_OS_{name.upper()}"):
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "llmagent-os" / name


def state_folder() -> Path:
    """Where what is not to be lost, and belongs to no system's data, lies: the user's folder for states (XDG)."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "llmagent-os"
