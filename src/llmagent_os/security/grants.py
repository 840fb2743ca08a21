"""What a process holds: whether its grant, and those of all above it, cover what a call touches."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.errors import PermissionDenied
from ..core.places import allowed, host_of, resolved
from ..core.records import Json, Meaning
from ..core.values import leaves
from ..kernel.process import Process

_PATTERNS = {"path": "paths", "url": "hosts"}


def covered(process: Process, kind: str, name: str) -> None:
    """Raise PermissionDenied unless the process and all above it hold a name; `kind` is a field of `Grant`."""
    for holder in process.lineage():
        patterns = getattr(holder.grant, kind)
        if patterns is not None and not allowed(name, patterns):
            raise _missing(holder, kind, kind.removesuffix("s"), name)


def within(holder: Process, tool: str, arguments: Mapping[str, Json], meanings: Mapping[str, Meaning]) -> None:
    """Check paths and hosts in the arguments against what a process holds."""
    for name, meaning in meanings.items():
        kind = _PATTERNS.get(meaning)
        if kind is None or (patterns := getattr(holder.grant, kind)) is None:
            continue
        for leaf in leaves(arguments.get(name)):
            value = host_of(leaf) if kind == "hosts" else resolved(leaf)
            if not allowed(value, patterns):
                raise _missing(holder, kind, meaning, value, tool)


def _missing(holder: Process, kind: str, what: str, name: str, tool: str = "") -> PermissionDenied:
    text = f"process {holder.pid} does not hold the {what} {name!r}; add it to `{kind}` of its grant"
    return PermissionDenied(text, pid=holder.pid, kind=kind, name=name, tool=tool)
