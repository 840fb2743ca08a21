"""Tuning as a process of the system: in `ps`, held by `pause`, ended by `kill`, and taken up after any crash.

The process has one syscall, whose work is done by another program at a low priority: the system stays as quick as
it was, and a fault there is not its own. What was tried and trained stands in files, so that the call, issued again
under the same key, goes on there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import codec
from ..core.errors import InvalidRequest, LLMAgentOSError, from_data
from ..core.ports import Syscall, own, uncovered
from ..core.records import Call, Json
from ..core.sys import Sys
from ..core.whole import write_whole
from ..kernel.process import Process, Program
from .rows import rows_of
from .settings import settings_of

if TYPE_CHECKING:
    from ..kernel.kernel import Kernel

PROGRAM = "tune"
WORKER = "llmagent_os.boot.tuning"
LONGEST = 30 * 86400.0  # seconds
LOOKED = 0.5  # seconds between two looks at whether the process is paused
TIDIED = 60.0  # seconds between two looks at what ended jobs have left
GRACE = 20.0  # seconds to write a checkpoint in
STOPPED = 75  # the exit code of a worker that was stopped and can go on
GIVEN: Mapping[str, tuple[Any, tuple[type, ...]]] = {
    "rows": (None, (list,)), "model": ("tiny", (str,)), "minutes": (10.0, (int, float)), "only": ((), (list, tuple)),
    "settings": ({}, (Mapping,)), "agent": ("", (str,)),
}  # fmt: skip
"""What a job is asked: the value that holds without one, and its types."""


async def run(sys: Sys, args: Json, state: Json) -> Json:
    """The program: `args` as `GIVEN` has them; its result is what was made, as `pipeline.remade` reads it."""
    return await sys.syscall("tune")


PROGRAMS: Mapping[str, Program] = {PROGRAM: Program(run)}


class Jobs:
    """The syscall `tune`, and the folder in which each job has one of its own, named by its process."""

    def __init__(self, kernel: Callable[[], Kernel], folder: Path) -> None:
        self._kernel, self._folder = kernel, folder

    def table(self) -> dict[str, Syscall]:
        """The row of the syscall table."""
        return {"tune": Syscall(self.tune, LONGEST, uncovered, own, spends=False)}

    def progress(self, pid: int) -> str | None:
        """What a job does now, in words; None where nothing is known of it."""
        with suppress(OSError, ValueError):
            return str(codec.loads((self._folder / str(pid) / "now.json").read_bytes())["line"])
        return None

    async def tune(self, call: Call, process: Process) -> Json:
        """Do it, to the end; raises InvalidRequest for a bad row or value, NotFound, and what went wrong at work."""
        asked = checked(process.args)
        if asked["model"] != "none":
            asked["model"] = self._kernel().engines.resolve(asked["model"])
        folder = self._folder / str(process.pid)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "job.json", codec.dumps(asked))
        while not (folder / "made.json").is_file():
            if process.life.paused:
                await process.go.wait()
            elif await self._worked(folder, process) != STOPPED and not (folder / "made.json").is_file():
                raise _failure(folder)
        made: Json = codec.loads((folder / "made.json").read_bytes())
        call.after.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        return made

    async def tidied(self) -> None:
        """Remove, for as long as the system runs, what jobs have left that were ended: rows of people stand in it."""
        while True:
            for each in self._folder.glob("*"):
                process = self._kernel().table.find(int(each.name)) if each.name.isdecimal() else None
                if process is None or process.life.ended:
                    await asyncio.to_thread(shutil.rmtree, each, ignore_errors=True)
            await asyncio.sleep(TIDIED)

    async def _worked(self, folder: Path, process: Process) -> int:
        """Run the worker until it ends, or the process is paused; returns its exit code."""
        (folder / "error.json").unlink(missing_ok=True)
        with (folder / "log.txt").open("wb") as log:
            # its input is held open: when we are no more, it sees the end of it, and ends as well
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", WORKER, str(folder), stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, start_new_session=True,
            )  # fmt: skip
        ended = asyncio.ensure_future(worker.wait())
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=LOOKED)
                if process.life.paused and not ended.done():
                    worker.send_signal(signal.SIGTERM)
                    await asyncio.wait([ended], timeout=GRACE)
                    break
            return ended.result() if ended.done() and not process.life.paused else STOPPED
        finally:
            if not ended.done():
                with suppress(ProcessLookupError):
                    worker.kill()
                await asyncio.shield(ended)


def checked(args: Json) -> dict[str, Any]:
    """What a job is asked, with every row as data; raises InvalidRequest that says what is wrong with it."""
    if not isinstance(args, Mapping) or not args.keys() <= GIVEN.keys() or not isinstance(args.get("rows"), list):
        text = f"a tuning is asked with {{{', '.join(GIVEN)}}}, of which `rows` must be there"
        raise InvalidRequest(text, parameter="args")
    asked = {name: args.get(name, usual) for name, (usual, _) in GIVEN.items()}
    for name, (_, kinds) in GIVEN.items():
        if not isinstance(asked[name], kinds) or isinstance(asked[name], bool):
            raise InvalidRequest(f"{name} is {asked[name]!r}, which it cannot be", parameter=name)
    if not 0 < asked["minutes"] < 1e5:
        raise InvalidRequest(f"minutes is {asked['minutes']}; it is above 0", parameter="minutes")
    settings_of(dict(asked["settings"]))
    return {**asked, "rows": [row.data() for row in rows_of(asked["rows"])]}


def _failure(folder: Path) -> LLMAgentOSError:
    with suppress(OSError, ValueError):
        return from_data(codec.loads((folder / "error.json").read_bytes()))
    lines = (folder / "log.txt").read_text(errors="replace").splitlines()
    last = lines[-1] if lines else "it said nothing"
    return LLMAgentOSError(f"the tuning was ended from outside, perhaps for want of memory; the last line: {last}")
