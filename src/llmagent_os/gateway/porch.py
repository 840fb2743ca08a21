"""The porch: where connections are accepted, as many as there is room for; the others wait in the system's own queue.

While there is room for everybody, whoever connects comes straight in. Once half the places are taken, a connection
waits here, as a bare socket, until the head of its request is whole: one that never asks costs a few system calls and
nothing else, however often it comes again, and one that asks has its place for good.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from .corked import refusal
from .lobby import Lobby

log = logging.getLogger(__name__)

BURST = 64  # connections that are accepted in one turn of the loop
PAUSE = 0.01  # seconds until it is looked again whether there is a place
SHORT = 0.1  # seconds until the system is asked again for files that it did not have
HELD = 8192  # bytes of a head that are kept here; what is longer comes in as it is
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Porch:
    """Accepts what comes to a listening socket, which it owns, from `open` until `close`."""

    def __init__(
        self, listening: socket.socket, lobby: Lobby, connected: Callable[[bytes], asyncio.Protocol]
    ) -> None:  # fmt: skip
        """`connected` makes the protocol of a connection, given what came of it already."""
        self.lobby = lobby
        self._loop = asyncio.get_running_loop()
        self._listening, self._connected = listening, connected
        self._waiting: set[Caller] = set()
        self._entering: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._lacking = False

    def open(self) -> None:
        """Accept from now on."""
        self._resting = None
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept nobody any more; who has asked nothing yet is sent away."""
        if self._resting is not None:
            self._resting.cancel()
        else:
            self._loop.remove_reader(self._listening)
        self._listening.close()
        for each in list(self._waiting):
            each.end()

    def _rest(self, seconds: float) -> None:
        """Leave who comes in the system's queue for a while."""
        self._loop.remove_reader(self._listening)
        self._resting = self._loop.call_later(seconds, self.open)

    def _accept(self) -> None:
        for _ in range(BURST):
            if self.lobby.full():
                self._rest(PAUSE)
                return
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_FILES:
                    raise
                self._lack(error)
                return
            self._lacking = False
            connection.setblocking(False)
            self._take(Caller(self, connection))

    def _lack(self, error: OSError) -> None:
        """What else is open has taken all files: try again soon, and say so once."""
        if not self._lacking:
            log.warning("no connection can be accepted for now: %s", error)
        self._lacking = True
        self._rest(SHORT)

    def _take(self, caller: Caller) -> None:
        crowded = self.lobby.crowded()
        self.lobby.enter(caller)
        if not crowded:
            caller.come_in()
            return
        self._waiting.add(caller)
        caller.hear()
        if caller in self._waiting:
            self._loop.add_reader(caller.connection, caller.hear)

    def let_in(self, caller: Caller, head: bytes) -> None:
        """Called for one that need not wait, with what it has sent."""
        self.lobby.asked(caller)
        task = self._loop.create_task(self._enter(caller, head))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _enter(self, caller: Caller, head: bytes) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._connected(head), caller.connection)
        except OSError:  # it left between two steps
            caller.connection.close()
            self.lobby.leaves(caller)

    def forget(self, caller: Caller) -> None:
        """Called for one that waits no longer."""
        if caller in self._waiting:
            self._waiting.discard(caller)
            self._loop.remove_reader(caller.connection)


class Caller:
    """A connection that is accepted and not let in: a `Guest`."""

    def __init__(self, porch: Porch, connection: socket.socket) -> None:
        self.connection = connection
        self._porch = porch
        self._head = b""

    def hear(self) -> None:
        """Take up what has come, and let it in once it has asked."""
        came = self._came()
        if came is None:
            return
        if _whole(self._head) or (self._head and not came):  # with its stream ended it may still wait for an answer
            self.come_in()
        elif not came:
            self._leave()

    def _came(self) -> bytes | None:
        """What has come: None where nothing has, empty where nothing will any more."""
        try:
            came = self.connection.recv(HELD)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:  # it broke off: nobody is there to be answered
            self._head = b""
            return b""
        self._head += came
        return came

    def come_in(self) -> None:
        """Let it in: it keeps its place, and is the protocol's matter from now on."""
        self._porch.forget(self)
        self._porch.let_in(self, self._head)

    def late(self) -> None:
        """See `Guest`."""
        with suppress(OSError):
            self.connection.send(refusal(408))
        self._leave()

    def drop(self) -> bool:
        """See `Guest`: its head may have come since the loop last looked."""
        if self._came() and _whole(self._head):
            self.come_in()
            return False
        self.end()
        return True

    def _leave(self) -> None:
        self.end()
        self._porch.lobby.leaves(self)

    def end(self) -> None:
        """Close it."""
        self._porch.forget(self)
        self.connection.close()


def _whole(head: bytes) -> bool:
    """Whether a protocol can begin with it: it has an end, or is longer than what is kept here."""
    return b"\r\n\r\n" in head or b"\n\n" in head or len(head) >= HELD
