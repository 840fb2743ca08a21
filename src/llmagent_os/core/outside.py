"""Work on what somebody else wrote (pages, documents), done in another process.

A thread cannot be stopped, and while one works hardly anything else of Python does. A process holds up nobody, has a
limit of memory of its own, and is ended when it takes too long.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import InvalidRequest, LLMAgentOSError, from_data

T = TypeVar("T")

SECONDS = 30.0  # for one piece of work, on a machine that has others too
CPU = 2.0  # seconds of a processor for it
MEMORY = 1 << 30  # bytes of address space
AT_ONCE = 4  # pieces of work; more wait
KEPT = 2  # processes that stay for the next one
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")  # of the environment, which holds keys
_LENGTH = 8  # bytes of the number before each message


async def outside(
    work: Callable[..., T], /, *args: Any, source: str, seconds: float = SECONDS, cpu: float = CPU
) -> T:  # fmt: skip
    """What a function of some module returns for these arguments, done in another process; all of it can be pickled.

    Raises what `work` does, where that is an error of ours; InvalidRequest, which names `source`, where it raises
    anything else, takes more than `seconds`, `cpu` of them of work, or too much memory. Cancelled, it ends the process.
    """
    job = _Job((work, args, cpu), seconds)
    try:
        told, error = await asyncio.get_running_loop().run_in_executor(_THREADS, job.do)
    except asyncio.CancelledError:
        job.stop()
        raise
    except TimeoutError:
        raise InvalidRequest(_too_long(source, f"{seconds:g} s"), parameter="source", seconds=seconds) from None
    except _Worked:
        raise InvalidRequest(_too_long(source, f"{cpu:g} s of work"), parameter="source", seconds=cpu) from None
    except EOFError:
        raise InvalidRequest(f"{source} cannot be read: its reader ended", parameter="source") from None
    if isinstance(error, str):
        raise InvalidRequest(f"{source} cannot be read: {error}", parameter="source")
    if error is not None:
        raise from_data(error)
    result: T = told
    return result


def _too_long(source: str, what: str) -> str:
    return f"{source} was not read within {what}, and was given up; make it smaller"


class _Worked(Exception):
    """It was ended by the system: it had worked for as long as it might."""


class _Job:
    """One piece of work; `do` is called in a thread, `stop` in any."""

    def __init__(self, work: tuple[Callable[..., Any], tuple[Any, ...], float], seconds: float) -> None:
        self._work, self._seconds = work, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def do(self) -> Any:
        """A result, or an error as data or in words; raises TimeoutError, or _Worked or EOFError where it ended."""
        packed = pickle.dumps(self._work)
        try:
            process = _IDLE.pop()
        except IndexError:
            process = _started()
        self._process = process
        try:
            if self._stopped:
                raise EOFError
            answer = self._asked(process, packed)
        except EOFError:
            _end(process)
            if process.returncode == -signal.SIGPROF:
                raise _Worked from None
            raise
        except BaseException:
            _end(process)
            raise
        if len(_IDLE) < KEPT:
            _IDLE.append(process)
        else:
            _end(process)
        return pickle.loads(answer)

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _asked(self, process: subprocess.Popen[bytes], packed: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(len(packed).to_bytes(_LENGTH) + packed)
            process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        until, answer, wanted = time.monotonic() + self._seconds, bytearray(), _LENGTH
        poll, file = select.poll(), process.stdout.fileno()
        poll.register(file, select.POLLIN)
        while len(answer) < wanted:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError
            if not (piece := os.read(file, 1 << 20)):
                raise EOFError
            answer += piece
            if len(answer) >= _LENGTH:
                wanted = _LENGTH + int.from_bytes(answer[:_LENGTH])
        return bytes(answer[_LENGTH:])


_THREADS = ThreadPoolExecutor(AT_ONCE, "outside")
_IDLE: list[subprocess.Popen[bytes]] = []


def _started() -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()  # which closes its pipes, and sees it out


def _serve() -> None:
    """What the other process does: work until nobody is there to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked decides when it ends
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    heard, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # nothing that is printed is an answer
    while head := heard.read(_LENGTH):
        answer = _outcome(heard.read(int.from_bytes(head)))
        told.write(len(answer).to_bytes(_LENGTH) + answer)
        told.flush()


def _outcome(packed: bytes) -> bytes:
    try:
        work, args, cpu = pickle.loads(packed)
        signal.setitimer(signal.ITIMER_PROF, cpu)  # in whose time no pattern can hold it up: it ends the process
        try:
            return pickle.dumps((work(*args), None))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except LLMAgentOSError as error:
        return pickle.dumps((None, error.to_data()))
    except Exception as error:
        return pickle.dumps((None, f"{type(error).__name__}: {error}"[:500]))


if __name__ == "__main__":
    _serve()
