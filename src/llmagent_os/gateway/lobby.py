"""Who has connected and asked nothing yet: for how long, and how many of them.

A connection holds one of the files that the system may have open, and asks for nothing before its request's head is
whole. So a head has to come in time, and where connections fill all the room, one that has kept us waiting gives way
to the newcomer. One that has just come has its time, too: where nobody gives way yet, the newcomer is not accepted.
So whoever only connects shuts nobody out, and whoever asks at once is heard.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Protocol

HEAD_SECONDS = 10.0  # from a connection, or the first byte of a further request, until its head is whole
SLOW = 0.25  # seconds that everybody has; most heads come with their connection
LOOK = 1.0  # seconds between looks
FILES = 65_536  # files that the system asks to be allowed
SPARE = 4  # one of so many files is left for all that is no connection: journal, pages, engines, sandboxes


class Guest(Protocol):
    """A connection."""

    def late(self) -> None:
        """Called once, when the time for its head is over: end it, and say why."""

    def drop(self) -> bool:
        """Called when its place is needed: end it. False where it is found to have asked after all, and stays."""


class Lobby:
    """The connections without a request. At most `most` are open at once, those that are worked for among them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self._asking: dict[Guest, float] = {}  # whose head is not whole, since when; oldest first
        self._idle: dict[Guest, None] = {}  # answered, and not heard of since; longest ago first

    def crowded(self) -> bool:
        """Whether so many are here that a newcomer had better show first that it asks for something."""
        return self.open > self.most // 2

    def full(self) -> bool:
        """Whether there is no place, and nobody who would give way."""
        return self.open >= self.most and self._whom() is None

    def enter(self, guest: Guest) -> None:
        """Somebody has connected."""
        self.open += 1
        while self.open > self.most and (gone := self._whom()) is not None:
            self._forget(gone)
            if gone.drop():
                self.open -= 1  # a place is given away once, however many come in this turn of the loop
        self.begins(guest)

    def _whom(self) -> Guest | None:
        """Who gives way: who was slow, or else idle for longest, unless most have only just come."""
        oldest, since = next(iter(self._asking.items()), (None, 0.0))
        if oldest is not None and asyncio.get_running_loop().time() - since > SLOW:
            return oldest
        return next(iter(self._idle)) if len(self._idle) > len(self._asking) else None

    def begins(self, guest: Guest) -> None:
        """The head of a request has begun, or will."""
        self._idle.pop(guest, None)
        self._asking.setdefault(guest, asyncio.get_running_loop().time())  # its first byte gives it no more time

    def asked(self, guest: Guest) -> None:
        """The head is whole: it is no longer a matter of this place."""
        self._asking.pop(guest, None)

    def rests(self, guest: Guest) -> None:
        """All that it asked for is answered."""
        if guest not in self._asking:
            self._idle[guest] = None

    def leaves(self, guest: Guest) -> None:
        """The connection is closed, by itself or for being late; one that was dropped has left already."""
        self.open -= 1
        self._forget(guest)

    def _forget(self, guest: Guest) -> None:
        self._asking.pop(guest, None)
        self._idle.pop(guest, None)

    async def watch(self) -> None:
        """Until cancelled, send away who takes too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK)
            for guest, since in list(self._asking.items()):
                if loop.time() - since < HEAD_SECONDS:
                    break
                del self._asking[guest]
                guest.late()


def room() -> int:
    """How many connections there is room for, once this process is allowed as many files as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = FILES if soft == resource.RLIM_INFINITY else min(FILES, soft)
    return files - files // SPARE
