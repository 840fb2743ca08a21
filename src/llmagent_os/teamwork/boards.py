"""Boards: values by key, each with a version; who writes can say which version is meant to be replaced.

A version is a record of its own, written with the row of the call. Writers of a board wait for one another until that
is durable; and no version is ever written over, whatever becomes of a commit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from ..core import codec
from ..core.errors import Conflict, InvalidRequest
from ..core.records import Call, Json
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from . import places

KEYS = 1000  # of a board
HISTORY = 20  # versions of a value that are kept
SIZE = 4 << 20  # bytes of all that a board keeps


class Boards:
    """The handlers, and what people look at."""

    def __init__(self, kernel: Callable[[], Kernel]) -> None:
        self._kernel = kernel
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by space

    # -- what is there

    def listed(self, place: str) -> dict[str, tuple[int, dict[str, Json]]]:
        """Of each key its version and what was written: `{value, by, principal, origins}`; null is not there."""
        rows = self._read("record.list", _space(place), "", -1)
        found = {key: (version, codec.loads(data)) for key, version, data in rows}
        return {key: (version, kept) for key, (version, kept) in found.items() if kept["value"] is not None}

    def history(self, place: str, key: str) -> list[dict[str, Json]]:
        """The versions of a value that are kept, the last first: `{version, at, value, by, principal, origins}`."""
        rows = self._read("record.history", _space(place), key)
        return [{"version": version, "at": at, **codec.loads(data)} for version, data, at in rows]

    def _read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._kernel().journal.store.read(query, *params)

    # -- the handlers

    async def read(self, call: Call, process: Process) -> dict[str, Json]:
        """Of a key `{value, version}`, with `history` also `history`; without a key `{keys: {key: version}}`."""
        call.origins, args = (), places.given(call)
        place, key = places.place(process, call, args.get("of", "run")), args.get("key")
        if key is None:
            found = self.listed(place)
            call.origins = _origins((kept for _, kept in found.values()), call)
            return {"keys": {each: version for each, (version, _) in found.items()}}
        kept = self.history(place, places.name(key, "key"))
        if not kept:
            return {"value": None, "version": 0}
        told = kept if args.get("history") else kept[:1]
        call.origins = _origins(told, call)
        result = {name: kept[0][name] for name in ("value", "version")}
        earlier = [{name: each[name] for name in ("version", "at", "value")} for each in kept]
        return result | ({"history": earlier} if args.get("history") else {})

    async def write(self, call: Call, process: Process) -> dict[str, Json]:
        """Put a value under a key; `{version}` is the one that it has now. What is there already is not put again.

        With `expect` raises Conflict unless that is the version up to now (0: there is none).
        """
        call.origins, args = (), places.given(call)
        place, key, value = places.place(process, call, args.get("of", "run")), args["key"], args["value"]
        space, expect = _space(place), args.get("expect")
        places.name(key, "key")
        places.data(value)
        by = call.principal if process.service is not None else process.name or process.box
        told = {"value": value, "origins": process.made_of(), "by": by, "principal": call.principal}
        lock = self._writing.setdefault(space, asyncio.Lock())
        await lock.acquire()
        call.ends.append(lock.release)  # when it is durable, or was not written
        ((version, before),) = self._read("record.get", space, key) or [(0, None)]
        if expect is not None and expect != version:
            text = f"{key!r} is at version {version}, not {expect}; read it, and write what follows from that"
            raise Conflict(text, key=key, version=version)
        data = codec.dumps(told)
        if version and codec.loads(before) | {"by": by} == codec.loads(data):
            return {"version": version}
        self._fits(space, not version, len(data))
        call.writes.append(("record.add", (space, key, version + 1, data, time.time())))
        call.writes.append(("record.trim", (space, key, version + 1 - HISTORY)))
        return {"version": version + 1}

    def _fits(self, space: str, new: bool, size: int) -> None:
        """Raise InvalidRequest where a board is full."""
        ((keys, bytes_),) = self._read("record.size", space)
        if new and keys >= KEYS:
            raise InvalidRequest(f"the board has {KEYS:,} keys, and that is the most; write under one that is there")
        if bytes_ + size > SIZE:
            text = f"the board holds {bytes_:,} bytes with {HISTORY} versions of each value, and {SIZE:,} are the most"
            raise InvalidRequest(f"{text}; write less, or a file, and put its name here")


def _space(place: str) -> str:
    return f"{place}/board"


def _origins(told: Iterable[Mapping[str, Any]], call: Call) -> tuple[str, ...]:
    found = (o for kept in told for o in places.whose(kept["origins"], kept["principal"], call.principal))
    return tuple(dict.fromkeys(found))
