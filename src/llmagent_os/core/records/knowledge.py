"""What agents know, and what comes of looking for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .names import SHARED, Json


@dataclass(frozen=True, slots=True)
class Place:
    """Whose knowledge something is: a tenant's (of all its agents), or an agent's; everybody's in it, or a person's."""

    tenant: str
    agent: str = ""
    principal: str = SHARED


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be known, and where it is from.

    `source` is the name that it is found, replaced and removed by: a file may hold several. `origins` are whose words
    it is in that may not direct an agent (none: they may). `at` is its own date, in seconds since the epoch;
    `hash` that of what it was made from (empty: of itself).
    """

    source: str
    text: str
    title: str = ""
    at: float | None = None
    tags: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for: the passages nearest to a text, of those documents that all of the rest is true of.

    `source` is how theirs begins, `tags` are among theirs, `since` and `until` are seconds since the epoch. `along`:
    those too that names lead to.
    """

    text: str
    limit: int = 10
    source: str = ""
    tags: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    along: bool = True


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found: its text, which stands at `begin` to `end` (characters) in its document.

    `score` is at most 1; `legs` say of what it is made (`words`, `graph`), `path` by which names and titles
    it was reached from another hit.
    """

    passage: int
    document: int
    source: str
    title: str
    text: str
    begin: int
    end: int
    at: float | None
    tags: tuple[str, ...]
    origins: tuple[str, ...]
    place: Place
    score: float
    legs: Mapping[str, float] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def told(self) -> dict[str, Json]:
        """As JSON, whose it is left out where it is the tenant's."""
        data: dict[str, Json] = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "place"}
        data |= {"tags": list(self.tags), "origins": list(self.origins), "legs": dict(self.legs)}
        data |= {"path": list(self.path), "agent": self.place.agent, "principal": self.place.principal}
        return data
