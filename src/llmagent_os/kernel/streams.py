"""Live pieces of answers for whoever watches: a view, not a record. The journal keeps the whole answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.records import Chunk


class Streams:
    """Watchers by task. A queue grows at most to one answer, which its token limit bounds."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[asyncio.Queue[Chunk]]] = defaultdict(list)

    @contextmanager
    def watch(self, task: str) -> Iterator[asyncio.Queue[Chunk]]:
        """The chunks of a task from now on, as a queue that exists for the block."""
        queue: asyncio.Queue[Chunk] = asyncio.Queue()
        self._watchers[task].append(queue)
        try:
            yield queue
        finally:
            self._watchers[task].remove(queue)
            if not self._watchers[task]:
                del self._watchers[task]

    def publish(self, task: str, chunk: Chunk) -> None:
        """Hand a chunk to everyone who watches the task."""
        for queue in self._watchers.get(task, ()):
            queue.put_nowait(chunk)
