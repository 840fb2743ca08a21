"""The sandbox: run code that nobody has read, so that it can use up only what it was given and reach nothing else.

`Sandbox.run` starts (or takes from the pool) one sandbox a call, hands it the job, watches it and throws it away. What
is promised, and what is not, stands in docs/howto/sandbox.md; `bench/sandbox.py` tries to break out.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import tempfile
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import MissingExtra, ToolFailed
from ...core.records import Json
from ...core.trees import remove
from . import levels, modules, seccomp, watch
from .proxy import Proxy

_TICK = 0.025  # seconds between two looks at a running sandbox
_START = 10.0  # seconds that a sandbox may take to start
_FLOOD = 16 << 20  # bytes of output after which a job is ended
_UP = b"\x06"  # what a sandbox says first


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What sandboxes are and may use up.

    `seconds` of wall time and `cpu` seconds a process; bytes of `memory` for all processes together, of `disk` for the
    workspace and for any one file, of `output` kept of each stream; `processes` (threads count) and open `files`.
    `hosts` may be reached, by the patterns of `core.records.Grant` (none: no network); those inside the operator's own
    network only where `private` names them too. `readonly` are folders that code may read beside /usr. `warm` sandboxes
    are kept started. `cgroup` is a control group (v2) with the memory and pids
    controllers, ours to write: with it the kernel itself limits memory, else we look every 25 ms. `unsafe` allows the
    level `subprocess`.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where configuration enters
    level: levels.Level = "bwrap"
    seconds: float = 30.0
    cpu: int = 30
    memory: int = 512 << 20
    disk: int = 256 << 20
    output: int = 32 << 10
    processes: int = 64
    files: int = 256
    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    readonly: tuple[Path, ...] = ()
    warm: int = 4
    cgroup: Path | None = None
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to run: Python `code`, or a command `argv`. `folder` is its workspace, kept after it; None: none is.

    `seconds` and `hosts` can only narrow what the settings say. `passing`: no other job will have that folder.
    """

    code: str = ""
    argv: tuple[str, ...] = ()
    folder: Path | None = None
    seconds: float | None = None
    hosts: tuple[str, ...] | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job. `exit` is its status, 128 + n for the end by signal n; `killed` says which limit it broke:
    `time`, `cpu`, `memory`, `disk` or `output`."""

    stdout: str
    stderr: str
    exit: int
    seconds: float
    killed: str | None = None


@dataclass(slots=True, eq=False)
class _Started:
    """A sandbox that waits for its job, and what has to be tidied up after it."""

    process: asyncio.subprocess.Process
    cell: levels.Cell
    proxy: Proxy | None
    scratch: Path | None
    group: watch.Group | None = None

    async def end(self) -> None:
        """Kill what is left of it; nothing of it remains when this returns."""
        if self.process.returncode is None:
            watch.kill(self.process.pid)
        assert self.process.stdin
        self.process.stdin.close()  # one that was killed while it began may leave a child that waits there for its job
        await self.process.wait()
        if self.group is not None:
            self.group.close()
        if self.proxy is not None:
            await self.proxy.close()
        if self.scratch is not None:
            await asyncio.to_thread(remove, self.scratch)


class Sandbox:
    """Runs jobs, each in a sandbox of its own."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self.owner = int(levels.NOBODY) if os.geteuid() == 0 else None
        self._filter = seccomp.program(sockets=self.settings.level == "bwrap")
        self._warm: OrderedDict[tuple[int, int] | None, _Started] = OrderedDict()
        self._filling: set[asyncio.Task[None]] = set()

    def libraries(self) -> modules.Modules | None:
        """The libraries that code has beside Python's own; None for none."""
        return modules.found(levels.interpreter())

    async def run(self, job: Job) -> Result:
        """Run a job to its end; never longer than its seconds, and nothing it started outlives it.

        Raises MissingExtra where this machine lacks what the level needs, ToolFailed where a sandbox does not start.
        """
        lacking = levels.trouble(self.settings.level, self.settings.unsafe)
        if lacking is not None:
            raise MissingExtra(f"code cannot be run: {lacking}")
        started = await self._take(job.folder) or await self._begun(job.folder)
        try:
            held = await asyncio.to_thread(watch.survey, job.folder, self.owner) if job.folder else 0
            return await self._supervised(started, job, held)
        finally:
            await asyncio.shield(started.end())
            if not job.passing:
                self._fill(job.folder)

    async def prepare(self, folder: Path | None = None) -> None:
        """Start a sandbox for the next job with that workspace, and wait until it is there."""
        self._fill(folder)
        await asyncio.gather(*self._filling)

    async def serve(self) -> None:
        """Be there until cancelled, then close."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """End the sandboxes that wait."""
        while self._filling:
            await asyncio.gather(*self._filling, return_exceptions=True)
        while self._warm:
            await self._warm.popitem()[1].end()

    # -- starting

    async def _begun(self, folder: Path | None) -> _Started:
        """As `_start`; cancelled meanwhile, it is waited for: asyncio has no end for half a process (3.11)."""
        starting = asyncio.create_task(self._start(folder))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await (await starting).end()
            raise

    async def _start(self, folder: Path | None) -> _Started:
        settings, scratch, proxy = self.settings, None, None
        if folder is None and settings.level != "bwrap":
            folder = scratch = Path(tempfile.mkdtemp(prefix="llmagent-os-sandbox-"))
        if folder is not None and self.owner is not None:  # it has to be entered before what lies in it is handed over
            os.chown(folder, self.owner, self.owner)
        if settings.hosts and settings.level == "bwrap":
            proxy = Proxy()
        try:
            if proxy is not None:
                await proxy.start(self.owner)
            way_out, libraries = proxy.path if proxy else None, self.libraries()
            cell = levels.Cell(settings.level, folder, settings.disk, settings.readonly, way_out, libraries)
            return _Started(await self._process(cell), cell, proxy, scratch)
        except BaseException:
            if proxy is not None:
                await proxy.close()
            if scratch is not None:
                scratch.rmdir()
            raise

    async def _process(self, cell: levels.Cell) -> asyncio.subprocess.Process:
        settings, filter_file = self.settings, os.memfd_create("seccomp")
        try:
            os.write(filter_file, self._filter)
            os.lseek(filter_file, 0, os.SEEK_SET)
            return await asyncio.create_subprocess_exec(
                *cell.command(filter_file), env=cell.environ() if settings.level != "bwrap" else {},
                cwd="/", pass_fds=(filter_file,) if settings.level == "bwrap" else (), start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        finally:
            os.close(filter_file)

    async def _take(self, folder: Path | None) -> _Started | None:
        found = self._warm.pop(_key(folder), None)
        if found is None or (found.process.returncode is None and found.cell.modules == self.libraries()):
            return found
        await found.end()
        return None

    def _fill(self, folder: Path | None) -> None:
        """Have a sandbox waiting for the next job with this workspace; the one not used for longest makes room."""
        if self.settings.warm < 1 or (folder is not None and not folder.is_dir()):
            return
        task = asyncio.create_task(self._filled(folder))
        self._filling.add(task)
        task.add_done_callback(self._filling.discard)

    async def _filled(self, folder: Path | None) -> None:
        started = await self._start(folder)
        replaced = [self._warm.pop(_key(folder), None)]
        self._warm[_key(folder)] = started
        if len(self._warm) > self.settings.warm:
            replaced.append(self._warm.popitem(last=False)[1])
        for old in replaced:
            if old is not None:
                await old.end()

    # -- running

    async def _supervised(self, started: _Started, job: Job, held: int) -> Result:
        process, settings = started.process, self.settings
        assert process.stdin and process.stdout and process.stderr
        began = time.monotonic()
        await self._up(started)
        if started.proxy is not None:
            started.proxy.lists, started.proxy.private = (settings.hosts, job.hosts), settings.private
        with suppress(ConnectionError):  # it has ended already: what it wrote says why
            process.stdin.write(repr(self._order(started, job)).encode())
            process.stdin.close()
        flood = asyncio.Event()
        reading = asyncio.gather(
            _read(process.stdout, settings.output, flood), _read(process.stderr, settings.output, flood), process.wait()
        )
        watching = asyncio.create_task(self._watch(started, job, held, flood))
        both: set[asyncio.Future[Any]] = {reading, watching}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            killed = watching.result() if watching.done() and not reading.done() else None
        finally:
            watching.cancel()
            if process.returncode is None:
                watch.kill(process.pid)
            out, err, code = await reading
        if started.group is not None and started.group.overran():
            killed = "memory"
        code = code if code >= 0 else 128 - code
        return Result(out, err, code, time.monotonic() - began, killed or _BROKEN.get(code))

    async def _up(self, started: _Started) -> None:
        """Wait until a sandbox runs, none of the job's code yet, and put it into its control group."""
        process, settings = started.process, self.settings
        assert process.stdout and process.stderr
        try:
            async with asyncio.timeout(_START):
                if await process.stdout.read(1) != _UP:
                    raise ToolFailed(f"the sandbox did not start: {(await process.stderr.read()).decode().strip()}")
            if settings.cgroup is not None:
                pids = watch.family(process.pid)
                started.group = watch.Group(settings.cgroup, pids, settings.memory, settings.processes)
        except (OSError, TimeoutError) as error:
            raise ToolFailed(f"the sandbox did not start: {error or f'nothing came for {_START} s'}") from error

    def _order(self, started: _Started, job: Job) -> dict[str, Json]:
        """The job as `inside` reads it."""
        cell, confined = started.cell, self.settings.level == "landlock"
        files = cell.files()
        return {
            "code": job.code, "argv": job.argv, "folder": cell.inside, "files": files, "close": confined,
            "modules": cell.libraries,
            "keep": cell.level != "bwrap", "seccomp": self._filter if confined else b"", "limits": self._limits(),
            "proxy": (levels.PROXY_PORT, levels.PROXY_SOCKET) if started.proxy is not None else None,
        }  # fmt: skip

    def _limits(self) -> list[tuple[int, int]]:
        s = self.settings
        shared = 0 if s.level == "bwrap" else watch.threads_of(self.owner or os.geteuid())
        return [
            (resource.RLIMIT_CPU, s.cpu), (resource.RLIMIT_FSIZE, s.disk), (resource.RLIMIT_NOFILE, s.files),
            (resource.RLIMIT_NPROC, s.processes + shared), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_AS, _ADDRESSES * s.memory),
        ]  # fmt: skip

    async def _watch(self, started: _Started, job: Job, held: int, flood: asyncio.Event) -> str:
        """Returns once a limit is broken: which."""
        settings, folder, pid = self.settings, started.cell.folder, started.process.pid
        ends = time.monotonic() + min(settings.seconds, job.seconds or settings.seconds)
        first = left = _left(folder)
        look = time.monotonic() + _LOOK
        while not flood.is_set():
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if now > ends:
                return "time"
            if watch.memory(watch.family(pid), settings.memory) > settings.memory:
                return "memory"
            if folder is not None and (left - _left(folder) > settings.disk / 16 or now > look):
                left = _left(folder)
                if await asyncio.to_thread(watch.overfull, folder, pid, max(settings.disk, held), first - left):
                    return "disk"
                look = time.monotonic() + max(_LOOK, _SHARE * (time.monotonic() - now))
        return "output"


_ADDRESSES = 4  # address space a process, in multiples of the memory: programs reserve what they never touch
_LOOK = 1.0  # seconds after which a workspace is looked at all the same: what fills a disk hides behind what frees it
_SHARE = 20  # times as long as a look took is waited for the next one of these, at least
_BROKEN = {128 + signal.SIGXCPU: "cpu", 128 + signal.SIGXFSZ: "disk"}


def _key(folder: Path | None) -> tuple[int, int] | None:
    """What a workspace is known by: one made anew under the same name is another."""
    if folder is None:
        return None
    found = folder.stat()
    return found.st_dev, found.st_ino


def _left(folder: Path | None) -> int:
    """Bytes that the disk of a folder has left, a file that may still be made counted as a page."""
    if folder is None:
        return 0
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize + disk.f_favail * 4096


async def _read(stream: asyncio.StreamReader, most: int, flood: asyncio.Event) -> str:
    """The beginning of a stream as text, with a note of what was left out."""
    kept, total = bytearray(), 0
    while data := await stream.read(65536):
        kept += data[: most - len(kept)]
        total += len(data)
        if total > _FLOOD:
            flood.set()
    text = kept.decode(errors="replace")
    return text if total <= most else f"{text}\n[{total - most} more bytes were left out]"
