"""Knowledge in memory, and what it is tested with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmagent_os.core.records import Document, Hit, Place, Sought
from llmagent_os.knowledge.base import Knowledge
from llmagent_os.stores.sqlite import SQLiteStore

HERE = Place("here")


def knowledge(store: SQLiteStore | None = None) -> Knowledge:
    """Knowledge of nothing yet, unless its store has some."""
    store = store or SQLiteStore()

    async def append(statements: Sequence[tuple[str, tuple[Any, ...]]], then: Callable[[], None]) -> None:
        store.write(statements)
        then()

    return Knowledge(store, append)


async def found(known: Knowledge, text: str, place: Place = HERE, **sought: Any) -> list[Hit]:
    """What somebody finds who looks from a place."""
    return await known.search(known.places(place.tenant, place.agent, place.principal), Sought(text, **sought))


def document(source: str, text: str, title: str = "", **more: Any) -> Document:
    """A document, whose title is its source where none is given."""
    return Document(source, text, title or source, **more)
