"""The context record that goes along the edges of a flow: the goal, what was found out and by whom, what is still open.

Each node adds to it. An agent is told of it as far as its window goes: what matters least is left out, which is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import templates
from .records import Json

WORDS = 1000  # characters of one entry
WEIGHT = 1  # of a fact that does not say how much it matters
ENTRIES = 200
GOAL = 4000  # characters, also of a summary


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a node gave: a `fact`, an open `question`, or what it `said` otherwise; more weight matters more.

    `origins`: whose words, that nobody vouches for, it is made of.
    """

    kind: str
    text: str
    node: str
    weight: float = 0.0
    origins: tuple[str, ...] = ()


@dataclass(slots=True)
class Record:
    """The record: what is wanted, a summary, and what nodes gave, in order."""

    goal: str = ""
    summary: str = ""
    entries: list[Entry] = field(default_factory=list)
    whose: dict[str, None] = field(default_factory=dict)  # the words, that nobody vouches for, that it is made of

    def see(self, origins: Iterable[str]) -> None:
        """Note whose words, that nobody vouches for, came with something."""
        self.whose |= dict.fromkeys(origins)

    def add(self, node: str, result: Json, origins: Iterable[str] = ()) -> None:
        """Take in what a node gave: of a mapping its `facts`, `questions`, `answered` and `summary`, else its words.

        A fact is text, or `{text, weight}`. What is `answered` is no question any more; a summary takes the place of
        the one before.
        """
        self.see(origins)
        whose, told = tuple(origins), result if isinstance(result, Mapping) else {}
        for each in _listed(told.get("facts")):
            text, weight = (each.get("text"), each.get("weight")) if isinstance(each, Mapping) else (each, None)
            number = float(weight) if isinstance(weight, int | float) else WEIGHT
            self._put(Entry("fact", templates.text(text)[:WORDS], node, number, whose))
        for each in _listed(told.get("questions")):
            self._put(Entry("question", templates.text(each)[:WORDS], node, WEIGHT, whose))
        answered = {templates.text(each)[:WORDS] for each in _listed(told.get("answered"))}
        self.entries = [each for each in self.entries if each.kind != "question" or each.text not in answered]
        if isinstance(told.get("summary"), str):
            self.summary = told["summary"][:GOAL]
        if not told.keys() & {"facts", "questions", "answered", "summary"} and result is not None:
            self._put(Entry("said", templates.text(result)[:WORDS], node, 0.0, whose))

    def _put(self, entry: Entry) -> None:
        if entry.text and entry.text not in {each.text for each in self.entries if each.kind == entry.kind}:
            self.entries.append(entry)
        if len(self.entries) > ENTRIES:
            self.entries.remove(min(self.entries, key=lambda each: each.weight))

    def data(self) -> dict[str, Json]:
        """The JSON form, of which `load` makes an equal record."""
        told = [[each.kind, each.text, each.node, each.weight] for each in self.entries]
        return {"goal": self.goal, "summary": self.summary, "entries": told}

    def told(self, room: int) -> str:
        """The record in words, of at most so many characters, but for the goal, which is always there.

        First the words go that are no facts, then facts and questions by weight, of equal ones the oldest; the summary
        is told where it fits after the rest.
        """
        goal = f"Goal: {self.goal}" if self.goal else ""
        order = sorted(range(len(self.entries)), key=lambda n: (-self.entries[n].weight, -n))
        left, kept = room - len(goal) - len(LEFT_OUT) - 16, set[int]()
        for n in order:
            if (size := len(_line(self.entries[n])) + 1) > left:
                break  # what matters less does not take the place of what matters more
            left -= size
            kept.add(n)
        summary = f"Summary: {self.summary}" if self.summary and len(self.summary) + 10 <= left else ""
        lines = [_line(each) for n, each in enumerate(self.entries) if n in kept]
        gone = len(self.entries) - len(kept) + bool(self.summary and not summary)
        return "\n".join(filter(None, (goal, summary, *lines, LEFT_OUT.format(gone) if gone else "")))


LEFT_OUT = "[left out, for it did not fit: {} that matter less]"


def load(data: Any) -> Record | None:
    """The record that data is; None for what is none."""
    if not isinstance(data, Mapping) or not isinstance(data.get("entries"), list):
        return None
    entries = [Entry(*each[:4]) for each in data["entries"]]
    return Record(str(data.get("goal", "")), str(data.get("summary", "")), entries)


def _line(entry: Entry) -> str:
    what = {"fact": "Fact", "question": "Open question"}.get(entry.kind, "Said")
    return f"{what} ({entry.node}): {entry.text}"


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)
