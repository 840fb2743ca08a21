"""The work of a tuning job, in a program of its own: `python -m llmagent_os.boot.tuning FOLDER`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core import codec
from ..core.errors import LLMAgentOSError
from ..core.whole import write_whole
from ..finetune import pipeline
from ..finetune.job import STOPPED
from ..finetune.ladder import Halted, Notes
from ..finetune.rows import rows_of
from ..finetune.rungs import Encoders
from ..llm.catalog import resolve
from ..llm.facade import LLM
from ..llm.known import models_folder

LEAST = 10  # of priority: beside a busy machine it gets a tenth, and what is left over
TOLD = 0.5  # seconds between two words about how far it is


def main(folder: Path) -> int:
    """Do what `job.json` asks; leaves `made.json`, or `error.json`. Returns the exit code."""
    _step_back()
    halt = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: halt.set())
    threading.Thread(target=_watch, args=[halt], daemon=True).start()
    asked = codec.loads((folder / "job.json").read_bytes())
    try:
        write_whole(folder / "made.json", codec.dumps(work(asked, folder, halt)))
    except Halted:
        return STOPPED
    except LLMAgentOSError as error:
        write_whole(folder / "error.json", codec.dumps(error.to_data()))
        return 1
    return 0


def _step_back() -> None:
    """Let others go first. Where the system groups by session, niceness counts in that alone."""
    os.nice(LEAST)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(LEAST))


def _watch(halt: threading.Event) -> None:
    """Break off once whom it works for is gone: its input ends then."""
    sys.stdin.read()
    halt.set()


class _Telling:
    """Says how far it is, in the log and in `now.json`; what comes too often is left out of both."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, 0.0

    def __call__(self, line: str, often: bool = False) -> None:
        if often and time.monotonic() - self._last < TOLD:
            return
        self._last = time.monotonic()
        print(line, flush=True)
        write_whole(self._path, codec.dumps({"line": line}))


def work(asked: dict[str, Any], folder: Path, halt: threading.Event) -> dict[str, Any]:
    """What was made, as JSON data."""
    model = asked["model"]
    made = pipeline.make(
        rows_of(asked["rows"]), None if model == "none" else lambda: LLM.from_pretrained(model, slots=1),
        models_folder() / "tuned", asked["minutes"], asked["only"] or pipeline.NAMES, asked["settings"],
        _Telling(folder / "now.json"), Notes(folder / "tried.json", halt.is_set), folder / "lora",
        Encoders(encoder_file, LLM.from_pretrained),
    )  # fmt: skip
    return {
        "task": asdict(made.task), "fields": made.fields, "folder": str(made.folder) if made.folder else None,
        "test": [row.data() for row in made.test], "before": made.before, "found": asdict(made.found),
        "curves": [{"curve": each.curve, "ended": each.ended} for each in made.curves], "rows": len(asked["rows"]),
        "agent": asked["agent"], "model": model, "typos": made.typos,
    }  # fmt: skip


def encoder_file() -> Path:
    """The file of the encoder that is tuned; raises NotFound, which says how to get it."""
    return Path(asyncio.run(resolve("encoder")).source)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
