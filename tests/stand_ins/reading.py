"""What the door does for labels when a call is over, without a door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmagent_os.core.declared import brought
from llmagent_os.core.records import Part
from llmagent_os.kernel.process import Process
from llmagent_os.kernel.syscalls import Builtins
from llmagent_os.security.labels import Labels

TABLE = Builtins(None).table()  # type: ignore[arg-type]  # no handler of it is called


def follow(
    labels: Labels, process: Process, name: str, args: Mapping[str, Any], result: Any,
    parts: Sequence[Part] | None = None,
) -> None:  # fmt: skip
    """A call of a process has this result, and whose words that brought is kept."""
    origins = brought(TABLE[name], name, args, result)
    if name == "call" and labels.directs(labels.of(process), process, args["tool"], args.get("arguments")):
        origins = ()
    labels.follow(process, TABLE[name], args, result, origins, parts)
    process.see(origins)
