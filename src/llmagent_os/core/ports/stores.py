"""What drivers of stores must be, and others that keep something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..records import Json, Page


class Reads(Protocol):
    """What reads rows, for one thread at a time."""

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a named query. Raises JournalDamaged on a damaged page."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Store(Protocol):
    """Durable rows for the journal. Statements are named; `stores/` holds their SQL."""

    concurrent: bool
    """Whether `write` may run in another thread beside `read`."""
    prompt: bool
    """Whether a small `write` takes less than handing it to a thread would, unless somebody else writes."""

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        """Commit all of `batch` or nothing.

        Raises JournalBusy where somebody else still writes after `patience` seconds, JournalUnavailable where nothing
        can be written now (JournalFull on a full disk), JournalDamaged on a damaged page, InvalidRequest for a value
        that no column takes, Conflict for a message whose id another has.
        """
        ...

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a named query. Raises JournalDamaged on a damaged page."""
        ...

    def scan(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """`read` beside those who read meanwhile, for a query that looks at much; call it in a thread."""
        ...

    def another(self) -> Reads:
        """A reader of its own, for work that takes its time in another thread; of rows in memory the store itself."""
        ...

    def checkpoint(self) -> None:
        """Fold what was written into its final place; called now and then, in a thread beside running writes."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class Witness(Protocol):
    """Is told, in order and while nobody else of this process writes, what became of rows; it may not take long."""

    def wrote(
        self, rows: Sequence[tuple[Any, ...]], last: int, beside: Mapping[str, Sequence[tuple[Any, ...]]]
    ) -> None:
        """These rows were committed, the last of them under this number and the others right before it.

        `beside` is all of the commit, by the names of its statements; there may be no rows in it.
        """
        ...

    def doubts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """These rows were to be committed and that failed; perhaps they are there nevertheless."""
        ...

    def saw(self, last: int) -> None:
        """The newest row has this number now."""
        ...


class Witnessed(Store, Protocol):
    """A store that tells somebody which rows of the journal are its own writing."""

    witness: Witness | None

    def look(self) -> None:
        """Have the witness told of the newest row, unless somebody writes just now; call it in a thread."""
        ...


class Archive(Store, Protocol):
    """A store whose content can be thrown away for good. Each of these may take long; call them in a thread."""

    def collect(self, older: float) -> int:
        """Delete the blobs that nothing refers to and nobody wrote for `older` seconds; returns how many."""
        ...

    def purge(self) -> None:
        """Overwrite what was deleted, wherever its files may still hold it."""
        ...

    def blobs(self) -> Iterator[bytes]:
        """The content of every blob."""
        ...


class Personal(Protocol):
    """Something beside the journal and the records that holds what belongs to people."""

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """What it holds of a person, as JSON."""
        ...

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """Forget it, and all of `data` (JSON texts in which they occur); returns how much was forgotten."""
        ...


class PageStore(Protocol):
    """Files of contexts that are not on an engine now, within a budget of memory and one of disk."""

    def found(self, fingerprint: str) -> list[Page]:
        """The pages of a model that an earlier run left whole."""
        ...

    def path(self, page: Page) -> Path:
        """Where its file is, or is to be written before `keep`."""
        ...

    def keep(self, page: Page) -> None:
        """Take in a page whose file has been written."""
        ...

    async def check(self, page: Page) -> bool:
        """Whether the file is there and whole; one on disk is read for its checksum."""
        ...

    async def fit(self, worth: Callable[[Page], Any]) -> list[Page]:
        """Keep to the budgets, the least worth first: from memory to disk, from disk to nowhere; returns the latter."""
        ...

    def reading(self, page: Page) -> AbstractContextManager[Path]:
        """Its file for a block, in which it is neither moved nor deleted."""
        ...

    def drop(self, page: Page) -> None:
        """Delete a page, once nobody reads it; harmless where it is gone."""
        ...

    def forget(self, pids: Collection[int]) -> None:
        """Delete the pages of processes, of whatever model."""
        ...

    async def close(self) -> None:
        """Give the memory back."""
        ...


class Facts(Protocol):
    """Small durable facts by space, key and version. What is written is read at once, and durable once awaited."""

    def put(self, space: str, key: str, value: Json, version: int = 1) -> Awaitable[None]:
        """Write a version of a value with the next commit; awaiting it may raise JournalFull."""
        ...

    def drop(self, space: str, key: str) -> Awaitable[None]:
        """Delete every version of a value, likewise."""
        ...

    def written(self, space: str, key: str, value: Json, version: int = 1) -> tuple[str, tuple[Any, ...]]:
        """The statement of `put`, for who commits it together with a call's row."""
        ...

    def dropped(self, space: str, key: str) -> tuple[str, tuple[Any, ...]]:
        """The statement of `drop`."""
        ...

    def get(self, space: str, key: str) -> tuple[int, Json] | None:
        """The newest version's number and value, or None."""
        ...

    def list(self, space: str, after: str = "", limit: int = -1) -> dict[str, tuple[int, Json]]:
        """The newest version of every value of a space, by key, in order; of `limit` of those after a key (-1: all)."""
        ...

    def keys(self, space: str) -> Sequence[str]:
        """The keys of a space, without their values."""
        ...

    def near(self, space: str, key: str) -> Sequence[str]:
        """Some keys about one that may not be there, in order; it takes no longer where there are many."""
        ...
