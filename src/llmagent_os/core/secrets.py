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


def secret(name: str) -> str:
    """The secret of a name, from the first place that has it; empty where none does."""
    if not _NAME.fullmatch(name):
        return ""
    return os.environ.get(name, "") or _file(name) or _keyring(name)


def _file(name: str) -> str:
    try:
        return (Path(os.environ.get("LLMAGENT_OS_SECRETS", FOLDER)) / name).read_text().strip()
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
