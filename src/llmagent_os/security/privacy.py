"""Privacy: how long data is kept; a person's data exported, erased with a proof, and learned from only if they agree.

Whose data it is, is whom a call was made for (`principal` of its row), not whose process made it: a shared agent's
turns belong to those who asked. A process that remembers (a session) is erased whole, with what others said in it.
A row of the journal that is erased stays as an empty one, so that what it was part of can still be verified.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..core import codec
from ..core.errors import Conflict, LLMAgentOSError, NotFound
from ..core.parts import Fetch
from ..core.places import told
from ..core.ports import Archive, Facts, Personal
from ..core.records import Call, Hidden, Json, Retention, owned, owner_of
from ..core.trees import Closed, contents
from ..kernel.journal import ERASED, Row
from ..kernel.kernel import Kernel
from ..kernel.process import from_row
from .identity import Caller
from .vault import Vault

log = logging.getLogger(__name__)

CONSENT = "consent"
DAY = 86400.0  # seconds
MONTH = 32 * DAY  # the longest period of an account, at least
HOUR = 3600.0
SOON = 1.0  # seconds after a start, which has enough to do
ENDED_FOR_GOOD = ("retain.boards", "retain.boxes", "retain.calls_of", "retain.process", "retain.account")
_CHUNK = 1 << 20  # bytes
_UNREAD = 100  # files that are named, of those that cannot be read
_SECRET = frozenset({"digest"})  # of a record: not even its person is shown it

Amend = Callable[[Iterable[tuple[int, int]], str, Iterable[int]], None]
"""Told of the rows (pid, seq) of the journal that were changed or deleted, why, and of which processes the like is

true: the audit log's `amend`.
"""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased of a person; `found` says, of each text that was to be proved gone, where it still is."""

    processes: int
    calls: int
    messages: int
    records: int
    blobs: int
    found: dict[str, list[str]]


class VaultShare:
    """The vault, as something that holds what belongs to people: the values that occur in their data."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """Nothing that is not in their data."""
        return ()

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """Forget the values that occur in it."""
        texts = [each.decode() for each in data]
        return await self._vault.forget(tenant, lambda value: any(value in text for text in texts))


class Privacy:
    """What the system does with people's data. `folder` holds all of it; `holders` are what has some elsewhere."""

    def __init__(
        self, kernel: Kernel, archive: Archive, facts: Facts, folder: Path, keep: Retention,
        holders: Sequence[Personal] = (), amend: Amend | None = None,
    ) -> None:  # fmt: skip
        self.keep = keep
        self._kernel, self._archive, self._facts, self._folder = kernel, archive, facts, folder
        self._holders, self._amend = holders, amend
        self._erasing = asyncio.Lock()

    def also(self, holder: Personal) -> None:
        """Have something more that holds what belongs to people, until the system ends."""
        self._holders = [*self._holders, holder]

    # -- consent

    def consents(self, tenant: str, principal: str) -> bool:
        """Whether a person lets their traffic be learned from; who was not asked has not agreed."""
        found = self._facts.get(owned(tenant, CONSENT), principal)
        return found is not None and found[1]["learning"] is True

    async def consent(self, call: Call, by: Caller) -> None:
        """The act `privacy.consent` (`tenant`, `principal`, `learning`): what a person decided holds from now on."""
        tenant, principal = by.person(call.args["tenant"], call.args["principal"])
        value = {"principal": principal, "learning": call.args["learning"]}
        call.writes.append(self._facts.written(owned(tenant, CONSENT), principal, value))

    # -- export

    def export(self, tenant: str, principal: str, fetch: Fetch | None = None) -> Iterator[dict[str, Json]]:
        """Everything that is a person's: `{kind, ...}`; large values in full, files by the names of their blobs.

        It reads all there is and may take long; `fetch` reads blobs instead of the journal.
        """
        read, unpack = self._archive.scan, partial(self._kernel.journal.unpack, fetch=fetch)
        for row in read("person.processes", tenant, principal):
            process = from_row(row, unpack)
            more = {"args": process.args, "state": unpack(process.state), "result": unpack(process.result)}
            yield {"kind": "process", **process.info(), **more}
        for (pid,) in read("person.pids", tenant, principal):
            for call in (Row(*row) for row in read("person.calls", pid, tenant, principal)):
                values = {name: unpack(getattr(call, name)) for name in ("args", "result", "error", "decision")}
                yield {"kind": "call", **call._asdict(), **values}
        for n, name, box, body, *_, at, _, _, _ in read("person.messages", tenant, principal):
            yield {"kind": "message", "n": n, "id": name, "box": box, "body": unpack(body), "at": at}
        for space, key, value in self._kept(tenant, principal):
            shown = {name: each for name, each in value.items() if name not in _SECRET}
            yield {"kind": "record", "space": space, "key": key, "value": shown}
        for holder in self._holders:
            for each in holder.export(tenant, principal):
                yield {"kind": type(holder).__name__, "value": each}

    def _kept(self, tenant: str, principal: str) -> Iterator[tuple[str, str, dict[str, Json]]]:
        """The records about a person: those that name a `principal`, and a `tenant` where their space does not."""
        for space, key, data in self._archive.scan("record.all"):
            value = codec.loads(data)
            if isinstance(value, dict) and value.get("principal") == principal:
                theirs = value.get("tenant", owner_of(space)) == tenant
                yield from [(space, key, value)] if theirs else ()

    # -- erasure

    async def act(self, call: Call, by: Caller) -> Json:
        """The act `privacy.erase`: `person` and `prove` are hidden, for nothing of them is to be left in its row."""
        tenant, principal = by.person(*call.args["person"].value)
        before = self._names()
        erased = await self.erase(tenant, principal, call.args["prove"].value)
        call.writes += [self._facts.dropped(*name) for name in sorted(before - self._names())]
        if (tenant, principal) == (call.tenant, call.principal):
            call.principal = ""
        return asdict(erased) | {"found": Hidden(erased.found)}

    def _names(self) -> set[tuple[str, str]]:
        return {(space, key) for space, key, _ in self._archive.read("record.all")}

    async def erase(self, tenant: str, principal: str, prove: Sequence[str] = ()) -> Erased:
        """Erase everything that is a person's, and say of the texts in `prove` where they still are.

        What works for them is ended first. Where anything was erased the journal's file is written anew: whoever writes
        to it waits that long.
        """
        async with self._erasing:
            return await self._erase(tenant, principal, prove)

    async def _erase(self, tenant: str, principal: str, prove: Sequence[str]) -> Erased:
        data = await asyncio.to_thread(self._once, tenant, principal)
        forgotten = sum([await holder.erase(tenant, principal, data) for holder in self._holders])
        pids = await self._stop(tenant, principal)
        kept = await asyncio.to_thread(lambda: list(self._kept(tenant, principal)))
        records = [(space, key) for space, key, _ in kept]
        await self._taken_in()
        listed, who = codec.dumps(pids).decode(), (tenant, principal)
        keys = await self._scan("erase.keys", tenant, principal, listed, tenant, principal)
        messages = len(await self._scan("person.messages", tenant, principal))
        await self._write([
            ("erase.calls", (*ERASED, *who)), ("erase.calls_of", (*ERASED, listed)), ("erase.messages", who),
            ("erase.acts", (*ERASED, *who)),
            ("erase.files", who), ("erase.accounts", (tenant, quote(principal, ""))),
            ("erase.messages_of", (listed,)), ("erase.process", (listed,)),
            *(("record.drop", each) for each in records),
        ])  # fmt: skip
        await self._amended(keys, "erased", pids)
        services = self._kernel.table.named_like("service/", tenant)
        self._kernel.forget({*pids, *services, *(pid for pid, _ in keys)})
        for process in filter(None, map(self._kernel.table.find, pids)):
            self._kernel.table.reload(process)  # whose they were is not shown from memory either
        blobs = await self._blobs(0.0)
        if pids or keys or messages or records or forgotten or blobs:
            await asyncio.to_thread(self._archive.purge)
        found = await asyncio.to_thread(self._find, prove)
        return Erased(len(pids), len(keys), messages, len(records) + forgotten, blobs, found)

    def _once(self, tenant: str, principal: str) -> list[bytes]:
        """What `export` tells, but a part that comes again, as a conversation does with every turn, only once."""
        read: set[str] = set()

        def fetch(name: str) -> bytes:
            if name in read:
                return b"[]"
            read.add(name)
            return self._kernel.journal.blob(name)

        return [codec.dumps(each) for each in self.export(tenant, principal, fetch)]

    async def _stop(self, tenant: str, principal: str) -> list[int]:
        """End what is a person's and break off the turns that shared processes do for them; returns what to erase."""
        runner, table = self._kernel.runner, self._kernel.table
        for process in list(table.live.values()):
            if process.tenant == tenant and principal == process.acting != process.principal:
                await runner.interrupt(process.pid, "what it worked for was erased")
        pids = [pid for (pid,) in await self._scan("erase.pids", tenant, principal)]
        for pid in pids:
            await self._end(pid, "erased")
        return pids

    async def _end(self, pid: int, reason: str) -> None:
        try:
            await self._kernel.runner.kill(pid, reason)
        except (Conflict, NotFound):  # it has ended
            return

    async def _scan(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Read what may be much, in a thread."""
        return await asyncio.to_thread(self._archive.scan, query, *params)

    async def _write(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Commit in a thread, since it may be much."""
        await asyncio.to_thread(self._archive.write, statements)

    async def _taken_in(self) -> None:
        """Have the audit log take in what there is, before it is changed."""
        if self._amend is not None:
            await asyncio.to_thread(self._amend, (), "", ())

    async def _amended(self, keys: Sequence[tuple[Any, ...]], why: str, pids: Sequence[int] = ()) -> None:
        """Rows and processes are not as they were: forget how they were, and sign how they are."""
        if keys:
            self._kernel.feed.forget()
        if (keys or pids) and self._amend is not None:
            await asyncio.to_thread(self._amend, [(pid, seq) for pid, seq in keys], why, pids)

    def _find(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """The files of the data folder that hold a text, and `blobs` where a blob does; also what cannot be read."""
        forms = {text: {text.encode(), codec.dumps(text)[1:-1]} for text in texts}
        longest = max((len(form) for each in forms.values() for form in each), default=0)
        found: dict[str, set[str]] = {text: set() for text in texts}
        shut = Closed(_UNREAD)
        for place, parts in self._places(shut) if texts else ():
            data = b""
            for part in parts:
                data = data[-longest:] + part
                for text, each in forms.items():
                    if any(form in data for form in each):
                        found[text].add(place)
        unread = {f"{told(path)}, which cannot be read: {why}" for path, why in shut.first}
        return {text: sorted(places | unread) for text, places in found.items()}

    def _places(self, shut: Closed) -> Iterator[tuple[str, Iterable[bytes]]]:
        for path, opened in contents(self._folder, shut):  # no pipes, on which one would wait for ever
            yield told(path), iter(partial(opened.read, _CHUNK), b"")
        for blob in self._archive.blobs():
            yield "blobs", [blob]

    # -- retention

    async def run(self, every: float = HOUR) -> None:
        """Keep to the retention for as long as the system runs; `every` is in seconds.

        Blobs are looked for once a day at most, and where something was deleted: that reads all there is.
        """
        deleted, due = False, 0.0
        await asyncio.sleep(SOON)
        while True:
            try:
                deleted |= any((await self.tidy(blobs=False)).values())
                if deleted and time.monotonic() >= due:
                    await self.tidy()
                    deleted, due = False, time.monotonic() + DAY
            except LLMAgentOSError as error:
                log.error("what is past its time could not be deleted (%s); it is tried again", error.message)
            await asyncio.sleep(every)

    async def clean(self, call: Call, by: Caller) -> Json:
        """The act `privacy.tidy`."""
        return await self.tidy()

    async def tidy(self, blobs: bool = True) -> dict[str, int]:
        """Delete what is past its time; returns how much by kind. In small parts, so that nobody waits long.

        It and erasure take turns: neither deletes what the other is at.
        """
        async with self._erasing:
            return await self._tidy(blobs)

    async def _tidy(self, blobs: bool) -> dict[str, int]:
        work: dict[str, Callable[[float], Awaitable[int]]] = {
            "idle": self._idle, "processes": self._processes, "calls": self._calls, "messages": self._messages,
            "approvals": partial(self._records_of, "approvals"), "versions": partial(self._records_of, "versions"),
            "blobs": self._blobs,
        }  # fmt: skip
        kept = asdict(self.keep) | ({} if blobs else {"blobs": None})
        await self._taken_in()
        return {kind: 0 if kept[kind] is None else await part(kept[kind] * DAY) for kind, part in work.items()}

    async def _idle(self, age: float) -> int:
        pids = await self._scan("retain.idle", time.time() - age)
        for (pid,) in pids:
            await self._end(pid, f"nobody used it for {age / DAY:g} days")
        return len(pids)

    async def _blobs(self, age: float) -> int:
        async with self._kernel.journal.sweeping():
            return await asyncio.to_thread(self._archive.collect, age)

    async def _processes(self, age: float) -> int:
        number, before = 0, time.time() - age
        while pids := [pid for (pid,) in await self._scan("retain.ended", before)]:
            keys = [key for pid in pids for key in self._archive.read("retain.keys", pid, 1 << 62, before)]
            await self._write([(name, (pid,)) for pid in pids for name in ENDED_FOR_GOOD])
            await self._amended(keys, "past their time", pids)
            number += len(pids)
        return number

    async def _calls(self, age: float) -> int:
        number, before = 0, time.time() - age
        await self._write([("process.sum", ())])  # what services consumed stays in sum
        while parts := await self._scan("retain.long", before):
            keys = [key for pid, end in parts for key in self._archive.read("retain.keys", pid, end, before)]
            await self._write([("retain.calls", (pid, end, before)) for pid, end in parts])
            await self._amended(keys, "past their time")
            number += len(keys)
        await self._records_of("accounts", max(age, MONTH))  # of periods that are over
        return number

    async def _messages(self, age: float) -> int:
        before = time.time() - age
        number = await self._records_of("records", age)
        while due := (await self._scan("retain.messages", before))[0][0]:
            await self._write([("retain.messages", (before,))])
            number += due
        return number

    async def _records_of(self, kind: str, age: float) -> int:
        before = time.time() - age
        number = int((await self._scan(f"retain.{kind}", before))[0][0])
        if number:
            await self._write([(f"retain.{kind}", (before,))])
        return number
