"""Extras: libraries that some features need and not everybody installs, and the command that brings them."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires
from types import ModuleType

from .errors import MissingExtra

_OWN = "llmagent_os"


def imported(module: str, extra: str, what: str, package: str | None = None) -> ModuleType:
    """Import a module that needs an extra; raises MissingExtra, which says that `what` needs it and how to install it.

    `package` is where a relative name begins.
    """
    try:
        return importlib.import_module(module, package)
    except ImportError as error:
        if (error.name or "").startswith(_OWN):  # a mistake of ours
            raise
        missing, line = error.name or error, command(extra)  # without a name, a library of the system's is missing
        raise MissingExtra(f"{what} needs {missing}: {line}", extra=extra, command=line) from error


def command(extra: str) -> str:
    """What installs the libraries of an extra for the Python that runs: indexes have them, and may not have us."""
    try:
        lines = [line.split(";") for line in requires("llmagent-os") or ()]
    except PackageNotFoundError:  # run from the sources alone
        lines = []
    marker = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    needed = [name.strip() for name, *markers in lines if any(marker.search(each) for each in markers)]
    return shlex.join([sys.executable, "-m", "pip", "install", *(needed or [f"llmagent-os[{extra}]"])])
