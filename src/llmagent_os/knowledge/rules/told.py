"""What was told, and when: statements with the time they hold and the time they were written down, and who is who.

Two times, as in "A taxonomy of time in databases" (Snodgrass and Ahn, SIGMOD 1985): nothing is ever overwritten, what
holds is a question about the statements.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...core.errors import InvalidRequest, NotFound
from .relation import Given
from .syntax import Row, Value

_COLUMN = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Statement:
    """Somebody's word that a subject has a predicate of an object.

    It holds from `since` (else from when it was `recorded`) until before `until`; times are seconds since 1970.
    `origins` are whose words it is in that may not direct an agent; `sentence` is what says so, and stands in a
    `document` from `begin` on where it was read there.
    """

    subject: str
    predicate: str
    object: Value
    since: float | None = None
    until: float | None = None
    recorded: float = 0.0
    source: Any = ""
    confidence: float = 1.0
    origins: tuple[str, ...] = ()
    number: int = 0
    document: int | None = None
    begin: int | None = None
    sentence: str = ""

    @property
    def begins(self) -> float:
        """From when on it holds."""
        return self.recorded if self.since is None else self.since


def holding(
    statements: Iterable[Statement], at: float, single: Collection[str] = (), known: float = float("inf")
) -> list[Statement]:
    """Those that hold at a moment, by what was recorded up to `known`.

    Of a predicate in `single` a subject has one object at a time: there the one that began last wins, of those the one
    that was recorded last, and of those the last one. What is in the words of who may direct nobody does not win over
    what is not: it stands beside that.
    """
    found, newest = list[Statement](), defaultdict[tuple[str, str], list[Statement]](list)
    for each in sorted(statements, key=lambda each: (each.begins, each.recorded)):
        if each.recorded <= known and each.begins <= at:
            if each.predicate in single:  # one that has ended supersedes those before it, too
                before = newest[each.subject, each.predicate]
                before[:] = [*(one for one in before if each.origins and not one.origins), each]
            else:
                found.append(each)
    held = [*found, *(each for told in newest.values() for each in told)]
    return [each for each in held if each.until is None or at < each.until]


def history(statements: Iterable[Statement], subject: str, predicate: str) -> list[Statement]:
    """What was said of a subject, in the order in which it holds."""
    of_it = (each for each in statements if (each.subject, each.predicate) == (subject, predicate))
    return sorted(of_it, key=lambda each: (each.begins, each.recorded))


class Entities:
    """Names of the same thing. Each merging has a number, by which it is undone whatever came after it."""

    def __init__(self, merged: Mapping[int, tuple[str, str]] | None = None) -> None:
        self.merged = dict(merged or {})
        self._names = dict[str, str]()
        self._groups = dict[str, list[str]]()
        self._join()

    def merge(self, kept: str, other: str) -> int:
        """Let another name stand for what `kept` stands for; the number of this."""
        number = max(self.merged, default=0) + 1
        self.merged[number] = (kept, other)
        self._join()
        return number

    def undo(self, number: int) -> None:
        """Take a merging back; raises NotFound where there is none of that number."""
        if self.merged.pop(number, None) is None:
            raise NotFound(f"nothing was merged as number {number}; there are: {sorted(self.merged)}")
        self._join()

    def name(self, name: str) -> str:
        """The name that stands for it."""
        return self._names.get(name, name)

    def aliases(self, name: str) -> list[str]:
        """All names of the same thing, the one that stands for it first."""
        return list(self._groups.get(self.name(name), [name]))

    def _join(self) -> None:
        self._names, self._groups = {}, {}
        for _, (kept, other) in sorted(self.merged.items()):
            first, second = self.name(kept), self.name(other)
            if first == second:
                continue
            joined = self._groups.setdefault(first, [first]) + self._groups.pop(second, [second])
            self._groups[first] = joined
            self._names.update(dict.fromkeys(joined, first))


def rows(statements: Iterable[Statement], entities: Entities | None = None) -> Iterator[tuple[str, Row, Given]]:
    """Statements as facts for a Reasoner: the predicate of subject and object, by the names that stand for them.

    What was said twice is given by who may direct agents, and of those by the surest.
    """
    same = entities or Entities()
    best = defaultdict[tuple[str, Row], list[Statement]](list)
    for each in statements:
        thing = same.name(each.object) if isinstance(each.object, str) else each.object
        best[each.predicate, (same.name(each.subject), thing)].append(each)
    for (predicate, row), said in best.items():
        surest = max(said, key=lambda each: (not each.origins, each.confidence))
        yield predicate, row, Given(surest.source, surest.confidence, surest.origins, surest.number)


def mapped(
    table: Iterable[Mapping[str, Any]], mapping: Mapping[str, Any], recorded: float = 0.0
) -> Iterator[Statement]:
    """Rows of a table (CSV, JSON, SQL) as statements.

    `mapping` is like {"subject": "{name}", "facts": {"born in": "{city}"}, "source": "people.csv, row {#}"}, with
    `since` and `until` where columns have such times: `{column}` is what stands in that column, `{#}` the number of the
    row. A template of one column keeps its number; where a
    column is empty, nothing is said. Raises InvalidRequest for a column that is not there.
    """
    for number, row in enumerate(table, 1):
        known = {"#": number, **row}
        subject = _filled(mapping["subject"], known)
        source = _filled(mapping.get("source", "row {#}"), known)
        since, until = (moment(_filled(mapping.get(each, ""), known) or None) for each in ("since", "until"))
        for predicate, template in mapping["facts"].items():
            thing = _filled(template, known)
            if subject is not None and thing is not None:
                yield Statement(str(subject), predicate, thing, since, until, recorded, source,
                                sentence="; ".join(f"{name}: {value}" for name, value in row.items()))  # fmt: skip


def moment(value: Value | None) -> float | None:
    """A time in seconds since 1970: a number of those, or a date like 2026-03-01 or 2026-03-01T09:30, in UTC where it
    names no zone. Raises InvalidRequest.
    """
    if not isinstance(value, str):
        return value
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        raise InvalidRequest(f"{value!r} is no time: write it like 2026-03-01 or 2026-03-01T09:30") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _filled(template: str, row: Mapping[str, Any]) -> Value | None:
    for column in _COLUMN.findall(template):
        if column not in row:
            raise InvalidRequest(f"there is no column {column!r}; there are: {', '.join(map(str, row))}")
        if row[column] in (None, ""):
            return None
    if whole := _COLUMN.fullmatch(template):
        value = row[whole[1]]
        return value if type(value) in (int, float) else str(value)
    return _COLUMN.sub(lambda found: str(row[found[1]]), template)
