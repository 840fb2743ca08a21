"""The knowledge of a system: documents go in, are replaced and go out again, and passages of them are found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from ..core import codec, extras
from ..core.errors import InvalidRequest
from ..core.ports import Reads, Store
from ..core.records import Document, Hit, Json, Place, Sought
from .rows import CONTROL, PART, Free, Parts, Rows, Statement, filters

if TYPE_CHECKING:
    from .folders import Synced
    from .search import Search
    from .segments import Segments

T = TypeVar("T")
Append = Callable[[Sequence[Statement], Callable[[], None]], Awaitable[None]]
"""Queues statements for the next commit, and what happens once they are durable, whoever still waits: the journal's."""

BATCH = 1_000_000  # characters of sources that go in together
EXTRA = "knowledge"
LONGEST = 4095  # characters of a source, as of a path


@dataclass(frozen=True, slots=True)
class Known:
    """A document as it is kept: its number, where it is from, whose words it is in, and its passages (first, last)."""

    document: int
    place: Place
    source: str
    title: str
    hash: str
    tags: tuple[str, ...]
    origins: tuple[str, ...]
    at: float | None
    added: float
    first: int
    last: int

    def told(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "document": self.document, "source": self.source, "title": self.title, "tags": list(self.tags),
            "origins": list(self.origins), "at": self.at, "added": self.added, "agent": self.place.agent,
            "principal": self.place.principal, "passages": self.last - self.first + 1,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of a source: the hash of its content (empty for one that is there in part, because it was broken
    off), and what was said of it: its tags, and whether its words may direct an agent.
    """

    hash: str
    tags: tuple[str, ...]
    trusted: bool


class Knowledge:
    """Documents in a store. What is written is found as soon as the call that wrote it returns."""

    def __init__(self, store: Store, append: Append) -> None:
        """`append` commits statements to the same store; nobody else writes its tables of knowledge."""
        self._store, self._append = store, append
        self._places: dict[Place, int] = {}
        self._free: Free | None = None
        self._made = 0  # the last place, also where its first commit is still to come
        self._writing = WeakValueDictionary[Place, asyncio.Lock]()  # what is long for one place holds up no other
        self._opened: Reads | None = None
        self._index: Segments | None = None
        self._search: Search | None = None
        self._whole = False  # whether all that is there can be found
        self.gone: list[Callable[[Sequence[int]], None]] = []
        """Who is told, once it is durable, which documents went."""
        self.syncing: dict[tuple[Place, str], Synced] = {}
        """The folders that are read just now, and how far that is; who sets `stopped` there ends it."""
        self._thread = ThreadPoolExecutor(1, "knowledge") if store.concurrent else None

    # -- what is there

    def places(self, tenant: str, agent: str | None = None, principal: str | None = None) -> dict[int, Place]:
        """The places that an agent and a person look into: the tenant's, and theirs; None: every agent, everybody."""
        self._load()
        return {
            number: each
            for each, number in self._places.items()
            if each.tenant == tenant
            and (agent is None or each.agent in ("", agent))
            and (principal is None or each.principal in (Place(tenant).principal, principal))
        }

    def documents(
        self, places: Collection[int], sought: Sought | None = None, after: int = 0, limit: int = 1000
    ) -> list[Known]:  # fmt: skip
        """The documents of some places that all of `sought` but its text is true of, by number, from `after` on."""
        self._load()
        args = codec.dumps(list(places)).decode(), *filters(sought or Sought("")), after, limit
        by_number = {number: place for place, number in self._places.items()}
        return [_known(row, by_number[row[1]]) for row in self._store.read("know.documents", *args)]

    def sources(self, place: Place, begin: str = "") -> dict[str, Said]:
        """The sources of a place that begin so."""
        return self._said(place, "know.sources", begin)

    def said(self, place: Place, source: str) -> Said | None:
        """What is known of one source, where it is."""
        return self._said(place, "know.said", source).get(source)

    def _said(self, place: Place, statement: str, source: str) -> dict[str, Said]:
        self._load()
        number = self._places.get(place)
        rows = () if number is None else self._store.read(statement, number, source)
        return {each: Said(about, tuple(codec.loads(tags)), not codec.loads(origins))
                for each, about, tags, origins in rows}  # fmt: skip

    def texts(self, places: Collection[int], passages: Sequence[int]) -> dict[int, str]:
        """Some passages with their titles, those of them that are in some places."""
        rows = self._store.read("know.passages", codec.dumps(list(passages)).decode())
        return {row[0]: f"{row[6]}\n{row[2]}" for row in rows if row[4] in places}

    async def search(self, places: dict[int, Place], sought: Sought) -> list[Hit]:
        """The passages that fit best, the best first. Raises MissingExtra where numpy is not installed."""
        if not places or not sought.text.strip():
            return []
        await self._ready()
        return await self._aside(self._found, places, sought)

    @property
    def _reads(self) -> Reads:
        """A reader for the thread alone: it sees what is committed when it asks."""
        if self._opened is None:
            self._opened = self._store.another()
        return self._opened

    async def _aside(self, work: Callable[..., T], *args: Any) -> T:
        """What a function returns that takes its time, and reads: done in the one thread that may."""
        if self._thread is None:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _found(self, places: dict[int, Place], sought: Sought) -> list[Hit]:
        if self._search is None:
            self._search = _imported("search").Search(self._reads, self._segments)
        return self._search.find(places, sought)

    @property
    def _segments(self) -> Segments:
        if self._index is None:
            self._index = _imported("segments").Segments(self._reads)
        return self._index

    async def _ready(self) -> None:
        """Have everything be found that a version took in which kept in another way what it is found by."""
        self._load()
        if self._whole:
            return
        self._whole, places = True, {number: each for each, number in self._places.items()}
        for (number,) in self._store.read("know.unfound"):
            async with self._alone(places[number]):
                await self._change(places[number], number, self._found_by(number))

    def _found_by(self, place: int) -> Parts:
        """What the documents of a place are found by, made from their passages."""
        gathered, size = _imported("segments").Gathered, 0
        come = gathered()
        for known in self._reads.read("know.documents", codec.dumps([place]).decode(), *filters(Sought("")), 0, -1):
            for passage, text in self._reads.read("know.texts", *known[-2:]):
                come.add(passage, known[3], text)
                size += 1
                if size == PART:
                    yield self._segments.change(place, come.segments(), ())
                    come, size = gathered(), 0
        yield self._segments.change(place, come.segments(), ())

    # -- what changes it

    async def add(self, place: Place, documents: Iterable[Document], was: tuple[Any, ...] | None = None) -> int:
        """Take in documents, in place of those of the same sources; returns how many passages they have.

        What is known already, word for word, stays as it is. They go in in several commits; a small source whole, what
        was of a large one goes when it is all there. Broken off in between, the next time replaces what there is.
        Raises InvalidRequest for a source that is no name. `documents` may take their time. `was` is noted as what a
        single small one takes the place of (see `note`).
        """
        sources = await self._aside(_by_source, documents)
        await self._ready()
        passages, batch, size = 0, list[Document](), 0
        async with self._alone(place):
            for found in sources.values():
                new = await self._aside(self._new, self._places.get(place), found)
                batch += new
                size += sum([len(each.text) for each in new])
                if size >= BATCH:
                    passages += await self._write(place, batch)
                    batch, size = [], 0
            return passages + (await self._write(place, batch, was) if batch else 0)

    def _new(self, place: int | None, found: Sequence[Document]) -> list[Document]:
        """The documents of one source, with the hash of all; none where they are known."""
        about = found[0].hash or digest(codec.dumps([(each.text, each.title, each.at, each.tags, each.origins)
                                                     for each in found]))  # fmt: skip
        if self._reads.read("know.hash", place, found[0].source) == [(about,)]:
            return []
        return [replace(each, hash=about) for each in found]

    async def _write(self, place: Place, documents: Sequence[Document], was: tuple[Any, ...] | None = None) -> int:
        statements, number = self._placed(place)
        statements += [] if was is None else [("memory.earlier", (number, *was))]
        old = await self._aside(self._of, number, {each.source for each in documents})
        rows = await self._aside(self._rows, number)
        await self._change(place, number, rows.parts(documents, old), statements, old)
        return rows.passages

    async def note(self, place: Place, was: tuple[Any, ...]) -> None:
        """Keep what a source said before: (source, text, origins, at, until)."""
        await self._append([("memory.earlier", (self._places[place], *was))], lambda: None)

    def earlier(self, place: Place, source: str) -> list[tuple[Any, ...]]:
        """What was noted of a source, the latest first: (text, origins, at, until)."""
        self._load()
        return self._store.read("memory.was", self._places.get(place), source)

    def of(self, place: Place, source: str) -> list[Known]:
        """The documents of a source."""
        self._load()
        return [_known(row, place) for row in self._store.read("know.of", self._places.get(place), source)]

    def only(self, place: Place) -> dict[int, Place]:
        """A place and no other, for `search`; nothing where nothing is known there."""
        self._load()
        return {self._places[place]: place} if place in self._places else {}

    def read(self, known: Known) -> list[str]:
        """The texts of a document's passages."""
        return [text for _, text in self._store.read("know.texts", known.first, known.last)]

    async def remove(self, place: Place, source: str) -> int:
        """Forget what is from a source; returns how many documents that were. Broken off, it is to be asked again."""
        await self._ready()
        async with self._alone(place):
            number = self._places.get(place)
            if number is None:
                return 0
            old = await self._aside(self._of, number, [source])
            parts = (await self._aside(self._rows, number)).parts([], old)
            await self._change(place, number, parts, [("memory.drop", (number, source))], old)
            return len(old)

    def _rows(self, place: int) -> Rows:
        return Rows(place, self._load(), self._segments, _imported("segments").Gathered)

    def _alone(self, place: Place) -> asyncio.Lock:
        """A lock of all who change a place."""
        self._load()
        lock = self._writing.get(place)
        if lock is None:
            lock = self._writing[place] = asyncio.Lock()
        return lock

    async def write(self, place: Place, made: Callable[[int], Iterable[Statement]], then: Callable[[], None]) -> None:
        """Commit what is kept of a place beside its documents; `made` is given the number of the place."""
        async with self._alone(place):
            statements, number = self._placed(place)

            def happened() -> None:
                self._places[place] = number
                then()

            await self._append([*statements, *made(number)], happened)

    async def _change(
        self, place: Place, number: int, parts: Parts, first: Sequence[Statement] = (),
        old: Sequence[Sequence[Any]] = (),
    ) -> None:  # fmt: skip
        """Commit the parts of a change, each before the next is made; `old` are the rows of documents that go."""

        def happened() -> None:
            self._places[place] = number
            for told in self.gone if old else ():
                told([row[0] for row in old])

        while (part := await self._aside(next, parts, None)) is not None:
            await self._append([*first, *part], happened)
            first = ()

    def passages(self, known: Known) -> list[tuple[int, str]]:
        """The passages of a document, each with where it begins in it."""
        return self._store.read("know.stretches", known.first, known.last)

    # -- whose it is

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """See `core.ports.Personal`: a person's own documents, with their texts."""
        for known in self.documents(
            [n for n, each in self.places(tenant).items() if each.principal == principal], limit=-1
        ):
            before = [
                {"text": row[0], "at": row[2], "until": row[3]} for row in self.earlier(known.place, known.source)
            ]
            yield {**known.told(), "texts": self.read(known), **({"before": before} if before else {})}

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """See `core.ports.Personal`."""
        theirs = [each for each in self.places(tenant).values() if each.principal == principal]
        return sum([await self.remove(place, source) for place in theirs for source in self.sources(place)])

    def close(self) -> None:
        """Stop searching."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            if self._opened is not None:
                self._opened.close()

    def _load(self) -> Free:
        if self._free is None:
            self._places = {Place(*row): number for number, *row in self._store.read("know.places")}
            self._made = max(self._places.values(), default=0)
            document, passage = self._store.read("know.newest")[0]
            self._free = Free(document + 1, passage + 1)
        return self._free

    def _placed(self, place: Place) -> tuple[list[Statement], int]:
        """The number of a place, and what makes it."""
        if place in self._places:
            return [], self._places[place]
        number = self._made = self._made + 1
        return [("know.place", (number, place.tenant, place.agent, place.principal))], number

    def _of(self, place: int, sources: Iterable[str]) -> list[tuple[Any, ...]]:
        return [row for source in sources for row in self._reads.read("know.of", place, source)]


def _imported(module: str) -> ModuleType:
    return extras.imported(f"llmagent_os.knowledge.{module}", EXTRA, "search in what is known")


def _known(row: Sequence[Any], place: Place) -> Known:
    told = [tuple(codec.loads(each)) for each in row[5:7]]
    return Known(row[0], place, row[2], row[3], row[4], told[0], told[1], *row[7:])


def _by_source(documents: Iterable[Document]) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = {}
    for each in documents:
        found.setdefault(named(each.source), []).append(each)
    return found


def named(source: str) -> str:
    """A source; raises InvalidRequest for what is too long, or is not on one line or no text."""
    if len(source) > LONGEST or CONTROL.search(source):
        raise InvalidRequest(f"the name of a source is one line of text of at most {LONGEST} characters, and in UTF-8",
                             parameter="source")  # fmt: skip
    return source


def digest(data: bytes) -> str:
    """The hash of a content."""
    return blake2b(data, digest_size=16).hexdigest()
