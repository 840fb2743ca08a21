"""The knowledge of a system: documents go in, are replaced and go out again, and passages of them are found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from ..core import codec, extras
from ..core.ports import Reads, Store
from ..core.records import Document, Hit, Json, Place, Sought
from .rows import Rows, Statement, filters, taken_back

if TYPE_CHECKING:
    from .search import Search

T = TypeVar("T")
Append = Callable[[Sequence[Statement], Callable[[], None]], Awaitable[None]]
"""Queues statements for the next commit, and what happens once they are durable, whoever still waits: the journal's."""

BATCH = 200_000  # characters of documents that are committed together
EXTRA = "knowledge"


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


class Knowledge:
    """Documents in a store. What is written is found as soon as the call that wrote it returns."""

    def __init__(self, store: Store, append: Append) -> None:
        """`append` commits statements to the same store; nobody else writes its tables of knowledge."""
        self._store, self._append = store, append
        self._places: dict[Place, int] = {}
        self._next: tuple[int, int] | None = None  # document and passage
        self._writing = asyncio.Lock()
        self._opened: Reads | None = None
        self._search: Search | None = None
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
        return [self._known(row) for row in self._store.read("know.documents", *args)]

    def sources(self, place: Place, begin: str = "") -> dict[str, str]:
        """The sources of a place that begin so, each with the hash of its content."""
        self._load()
        number = self._places.get(place)
        return {} if number is None else dict(self._store.read("know.sources", number, begin))

    async def search(self, places: dict[int, Place], sought: Sought) -> list[Hit]:
        """The passages that fit best, the best first. Raises MissingExtra where numpy is not installed."""
        if not places or not sought.text.strip():
            return []
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
            module = extras.imported("llmagent_os.knowledge.search", EXTRA, "search in what is known")
            self._search = module.Search(self._reads)
        return self._search.find(places, sought)

    # -- what changes it

    async def add(self, place: Place, documents: Iterable[Document]) -> int:
        """Take in documents, in place of those of the same sources; returns how many passages they have.

        What is known already, word for word, stays as it is. They go in in several commits, sources whole.
        """
        sources: dict[str, list[Document]] = {}
        for document in documents:
            sources.setdefault(document.source, []).append(document)
        number, batch, size = 0, list[Document](), 0
        async with self._writing:
            for found in sources.values():
                batch += self._new(place, found)
                size = sum(len(each.text) for each in batch)
                if size >= BATCH:
                    number += await self._write(place, batch)
                    batch = []
            return number + (await self._write(place, batch) if batch else 0)

    def _new(self, place: Place, found: Sequence[Document]) -> list[Document]:
        """The documents of one source, with the hash of all; none where they are known."""
        self._load()
        about = found[0].hash or digest(codec.dumps([(each.text, each.title, each.at, each.tags, each.origins)
                                                     for each in found]))  # fmt: skip
        if self.sources(place, found[0].source).get(found[0].source) == about:
            return []
        return [replace(each, hash=about) for each in found]

    async def _write(self, place: Place, documents: Sequence[Document]) -> int:
        statements, number = self._placed(place)
        old = [row for source in {each.source for each in documents} for row in self._of(number, source)]
        document, passage = self._free()

        def made() -> tuple[list[Statement], Rows]:
            rows = Rows(number, document, passage)
            for each in documents:
                rows.add(each)
            return [*self._gone(old), *rows.statements()], rows

        written, rows = await self._aside(made)
        self._next = rows.document, rows.passage  # whatever becomes of it: no number is used twice
        await self._commit(place, number, [*statements, *written])
        return rows.passage - passage

    async def remove(self, place: Place, source: str, document: int | None = None) -> int:
        """Forget what is from a source, or one document of it; returns how many documents that were."""
        async with self._writing:
            self._load()
            number = self._places.get(place)
            old = [] if number is None else self._of(number, source)
            old = [row for row in old if document in (None, row[0])]
            if old and number is not None:
                await self._commit(place, number, await self._aside(self._gone, old))
            return len(old)

    async def _commit(self, place: Place, number: int, statements: Sequence[Statement]) -> None:
        def happened() -> None:
            self._places[place] = number
            if self._search is not None:
                self._search.changed(number)

        await self._append(statements, happened)

    def _gone(self, old: Sequence[Sequence[Any]]) -> list[Statement]:
        """The statements that take documents back, by their rows."""
        gone: list[Statement] = []
        for document, place, _, title, *_, first, last in old:
            gone += taken_back(place, title, self._reads.read("know.texts", first, last))
            gone += [("know.drop", (document,)), ("know.drop_passages", (first, last))]
        return gone

    # -- whose it is

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """See `core.ports.Personal`: a person's own documents, with their texts."""
        for known in self.documents(
            [n for n, each in self.places(tenant).items() if each.principal == principal], limit=-1
        ):
            texts = [text for _, text in self._store.read("know.texts", known.first, known.last)]
            yield {**known.told(), "texts": texts}

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """See `core.ports.Personal`."""
        theirs = self.documents(self._whose(tenant, principal), limit=-1)
        return sum([await self.remove(each.place, each.source, each.document) for each in theirs])

    def _whose(self, tenant: str, principal: str) -> list[int]:
        """The places that are a person's alone."""
        return [number for number, each in self.places(tenant).items() if each.principal == principal]

    def close(self) -> None:
        """Stop searching."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            if self._opened is not None:
                self._opened.close()

    def _load(self) -> None:
        if self._next is None:
            self._places = {Place(*row): number for number, *row in self._store.read("know.places")}
            document, passage = self._store.read("know.newest")[0]
            self._next = document + 1, passage + 1

    def _free(self) -> tuple[int, int]:
        assert self._next is not None
        return self._next

    def _placed(self, place: Place) -> tuple[list[Statement], int]:
        """The number of a place, and what makes it."""
        self._load()
        if place in self._places:
            return [], self._places[place]
        number = max(self._places.values(), default=0) + 1
        return [("know.place", (number, place.tenant, place.agent, place.principal))], number

    def _of(self, place: int, source: str) -> list[tuple[Any, ...]]:
        return self._store.read("know.of", place, source)

    def _known(self, row: Sequence[Any]) -> Known:
        place = next(each for each, number in self._places.items() if number == row[1])
        told = [tuple(codec.loads(each)) for each in row[5:7]]
        return Known(row[0], place, row[2], row[3], row[4], told[0], told[1], *row[7:])


def digest(data: bytes) -> str:
    """The hash of a content."""
    return blake2b(data, digest_size=16).hexdigest()
