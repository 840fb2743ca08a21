"""What the audit log costs a call: the commit order that the store keeps, and the chain that a thread makes of it.

Rows as a tool call leaves them (arguments of 200 bytes, a result of 300) are committed in groups of 16, without and
with the trigger that notes their order, in turns; then the log takes them in, and is verified. CPU is this process's.

    python bench/audit.py [--json] [--rows 20000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from common import Report, cpu, folder, interleaved, run

from llmagent_os.core.records import Call, Usage
from llmagent_os.kernel.journal import Journal
from llmagent_os.security.audit import Audit, verify
from llmagent_os.stores.sqlite import SQLiteStore

GROUP = 16


class Writer:
    """A journal that rows are committed to."""

    def __init__(self, path: Path, ordered: bool) -> None:
        self.store, self.seq = SQLiteStore(path), 0
        if not ordered:
            with sqlite3.connect(path) as connection:
                connection.execute("DROP TRIGGER call_committed")
        self._journal = Journal(self.store)

    async def commit(self, rows: int) -> dict[str, float]:
        """CPU microseconds a row."""
        began = cpu()
        for _ in range(rows // GROUP):
            self.store.write([self._row() for _ in range(GROUP)])
        return {"CPU": (cpu() - began) / rows * 1e6}

    def _row(self) -> Any:
        self.seq += 1
        call = Call(7, "call", {}, f"7.1.{self.seq:024}.0", "acme", "ann", 60.0, self.seq, ("from:web", "rule:mail"))
        call.cost = Usage(1, 2, 3)
        return self._journal.row(call, 1, b'"' + b"a" * 198 + b'"', b'"' + b"b" * 298 + b'"', None, (1e9, 0.1))


def measure(report: Report, options: argparse.Namespace) -> None:
    """Both writers, then the log over what the second wrote."""
    with folder() as path:
        plain, ordered = Writer(path / "plain.db", False), Writer(path / "journal.db", True)
        cases = {"without": lambda: plain.commit(options.rows), "with": lambda: ordered.commit(options.rows)}
        found = asyncio.run(interleaved(cases, options.rounds))
        added = found["with"]["CPU"] - found["without"]["CPU"]
        report.add("commit", "CPU a call without a commit order", found["without"]["CPU"], "us")
        report.add("commit", "CPU a call that the order adds", added, "us", at_most=10.0)
        audit, began = Audit(ordered.store, path / "audit"), cpu()
        rows = audit.catch_up()
        each = (cpu() - began) / rows * 1e6
        report.add("log", "CPU a call, in a thread beside", each, "us")
        report.add("log", "CPU a call in all", added + each, "us", at_most=20.0)
        audit.close()
        began = cpu()
        assert not verify(ordered.store, path / "audit").bad
        report.add("verify", "rows a second", rows / (cpu() - began), "")
        report.add("log", "bytes a row", (path / "audit" / "rows.log").stat().st_size / rows, "B")


if __name__ == "__main__":
    run("audit", __doc__, measure, rows=(int, 20000, "rows a round"), rounds=(int, 5, "rounds of each side"))
