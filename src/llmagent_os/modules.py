"""The modules that the reference documents name, each for a program that runs no system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from .core import codec
from .core.errors import InvalidRequest
from .core.records import DEFAULT, Document, Json, Place, Sought
from .knowledge import folders, readers
from .knowledge.base import Knowledge
from .stores.sqlite import SQLiteStore

T = TypeVar("T")

Told = list[dict[str, Json]]
LOADED = "loaded"
"""What begins the sources of values that were loaded."""


class KnowledgeBase:
    """What is known, in a file or, without one, in memory: documents and values go in, passages are found.

    Its calls return when they are done, in a program with an event loop as well.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """`path` is a file of this knowledge base's own; a journal's is its system's."""
        self._store = SQLiteStore(Path(path) if path is not None else None)
        self._knowledge = Knowledge(self._store, self._append)
        self._place = Place(DEFAULT)
        self._thread = ThreadPoolExecutor(1, "knowledge-base")

    async def _append(self, statements: Sequence[tuple[str, tuple[Any, ...]]], then: Callable[[], None]) -> None:
        self._store.write(statements)
        then()

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(asyncio.run, work).result()

    def load_knowledge(self, json: str | Path | Json) -> int:
        """Take in values: JSON as a text, a file of it, or data; returns how many passages that made.

        A list has a document a value; of a mapping each value is one, or, where it is a list, each in that. Of a name
        that was loaded before, what is given now is known instead.
        """
        text = json.read_text(encoding="utf-8") if isinstance(json, Path) else json
        if isinstance(text, str):
            if text.lstrip()[:1] not in ("{", "["):
                text = Path(text).read_text(encoding="utf-8")
            try:
                text = codec.loads(text)
            except ValueError as error:
                raise InvalidRequest(f"this is not JSON: {error}", parameter="json") from None
        named = text if isinstance(text, Mapping) else {"": text}
        documents = [
            readers.record(each, "/".join(filter(None, (LOADED, str(name)))))
            for name, value in named.items()
            for each in (value if isinstance(value, list) else [value])
        ]
        return self._done(self._knowledge.add(self._place, documents))

    def retrieve_knowledge(self, text: str, limit: int = 5) -> Told:
        """The passages nearest to a text, the best first: `text`, `title`, `source`, `begin`, `end`, `score`, ..."""
        return self.search(text, limit)

    def add(self, source: str, text: str, title: str = "", tags: Sequence[str] = ()) -> int:
        """Take in a text, in place of what is from the same source; returns how many passages it made."""
        return self._done(self._knowledge.add(self._place, [Document(source, text, title, None, tuple(tags))]))

    def remove(self, source: str) -> int:
        """Forget what is from a source; returns how many documents that were."""
        return self._done(self._knowledge.remove(self._place, source))

    def list(self) -> Told:
        """The documents that are known."""
        known = self._knowledge
        return [each.told() for each in known.documents(known.places(DEFAULT), limit=-1)]

    def sync(self, folder: str | Path, tags: Sequence[str] | None = None) -> dict[str, Json]:
        """Have what is known of a folder be what is in it; `skipped` names what cannot be read, and why.

        Without `tags` those from before stay.
        """
        return self._done(folders.sync(self._knowledge, self._place, Path(folder), tags)).told()

    def search(self, text: str, limit: int = 10, tags: Sequence[str] = ()) -> Told:
        """Passages as `retrieve_knowledge` has them, of documents that have all of some tags."""
        sought = Sought(text, limit, tags=tuple(tags))
        found = self._done(self._knowledge.search(self._knowledge.places(DEFAULT), sought))
        return [each.told() for each in found]

    def close(self) -> None:
        """Release the file."""
        self._thread.shutdown()
        self._knowledge.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
