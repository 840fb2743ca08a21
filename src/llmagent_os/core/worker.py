"""A thread that does one kind of work in order, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

IDLE = 5.0  # seconds without work after which the thread ends


class Worker:
    """Does jobs one after the other. Its thread is there while there is work, and stops nobody's exit."""

    def __init__(self, name: str, work: Callable[[Any], Any], settle: Callable[[Any, Any], None]) -> None:
        """`work` gets a job, in the thread, and may not raise; `settle` gets it with its outcome, in the loop."""
        self._name, self._do, self._settle = name, work, settle
        self._jobs: SimpleQueue[tuple[asyncio.AbstractEventLoop, Any]] = SimpleQueue()
        self._lock = Lock()
        self._runs = False

    def put(self, loop: asyncio.AbstractEventLoop, job: Any) -> None:
        """Have a job done for a loop."""
        self._jobs.put((loop, job))
        with self._lock:
            if not self._runs:
                self._runs = True
                Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                loop, job = self._jobs.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._runs = False
                        return
                continue
            outcome = self._do(job)
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._settle, job, outcome)
