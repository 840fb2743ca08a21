"""Secrets by name: out of the environment, a folder of files, or the keyring; never out of anything that is logged."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

FOLDER = "/run/secrets"
"""Where container runtimes put them, a file each; `LLMAGENT_OS_SECRETS` names another folder."""
KEYRING = "llmagent-os"
"""The service under which the system's keyring has them (package `keyring`, where it is installed)."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


SHORTEST = 8  # characters of a secret that is looked for in texts: shorter ones stand anywhere by chance

_given: set[str] = set()


def secret(name: str) -> str:
    """The secret of a name, from the first place that has it; empty where none does."""
    if not _NAME.fullmatch(name):
        return ""
    return noted(os.environ.get(name, "") or _file(name) or _keyring(name))


def noted(value: str) -> str:
    """A secret that comes from elsewhere, from now on looked for in texts as the others are."""
    if len(value) >= SHORTEST:
        _given.add(value)
    return value


def missing(name: str) -> str:
    """What to do about a secret that is nowhere."""
    return f"set the environment variable {name}, or put the key into {_folder() / name} or the keyring"


def places(text: str) -> list[tuple[int, int]]:
    """Where a secret that was handed out stands in a text, as (start, end)."""
    return [match.span() for each in _given if each in text for match in re.finditer(re.escape(each), text)]


def _folder() -> Path:
    return Path(os.environ.get("LLMAGENT_OS_SECRETS", FOLDER))


def _file(name: str) -> str:
    try:
        return (_folder() / name).read_text().strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def _keyring(name: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ModuleNotFoundError:
        return ""
    try:
        return keyring.get_password(KEYRING, name) or ""
    except keyring.errors.KeyringError:  # locked, or there is none on this machine
        return ""
