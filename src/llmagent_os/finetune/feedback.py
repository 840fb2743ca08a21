"""What people say of answers, as rows to learn from: of who agreed to that alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import InvalidRequest
from ..core.records import Json, Message
from .rows import Row, conversation

SPACE = "feedback"
"""The records: one a task and person."""
LIKED = 4  # of 5, from which an answer is one to learn from
LONGEST = 100_000  # characters of a correction


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody says of an answer: thumbs (`good`), a `rating` of 1 to 5, how it should have been, a note."""

    good: bool | None = None
    rating: int | None = None
    correction: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.good is None and self.rating is None and self.correction is None:
            raise InvalidRequest("say what you think of it: good, rating or correction", parameter="good")
        if self.rating is not None and not 1 <= self.rating <= 5:
            raise InvalidRequest(f"rating is {self.rating}; it goes from 1 to 5", parameter="rating")
        for name in ("correction", "note"):
            if (text := getattr(self, name)) is not None and not 0 < len(text) <= LONGEST:
                raise InvalidRequest(f"{name} has between 1 and {LONGEST} characters", parameter=name)

    def data(self) -> dict[str, Json]:
        """What was said, by name."""
        return {name: value for name in self.__dataclass_fields__ if (value := getattr(self, name)) is not None}


@dataclass(slots=True)
class Collected:
    """Rows of feedback; and how many people's was left out as they did not agree, and how many answers as no good."""

    rows: list[Row] = field(default_factory=list)
    refused: int = 0
    poor: int = 0


def kept(
    opinion: Opinion, task: str, agent: str, principal: str, said: Sequence[Message], answer: str, at: float, group: str
) -> dict[str, Json]:  # fmt: skip
    """The record of an opinion: what was asked and answered stands in it, since both may be forgotten elsewhere."""
    messages = [{"role": each.role, "content": each.text} for each in said if each.text]
    return {"principal": principal, "task": task, "agent": agent, "at": at, "messages": messages, "answer": answer,
            "group": group, **opinion.data()}  # fmt: skip


def collect(
    values: Iterable[Mapping[str, Any]], agrees: Callable[[str], bool], agent: str = ""
) -> Collected:  # fmt: skip
    """The rows of records, of one agent or all: a correction is what is to be said, and what was said is rejected."""
    found = Collected()
    for value in values:
        if agent and value["agent"] != agent:
            continue
        if not agrees(value["principal"]):
            found.refused += 1
            continue
        correction = value.get("correction")
        liked = value.get("good") is True or (value.get("rating") or 0) >= LIKED
        if correction is None and (not liked or value.get("good") is False):
            found.poor += 1
            continue
        origin = f"feedback/{value['task']}"
        rejected = value["answer"] if correction is not None else ""
        messages = conversation(value["messages"], origin)
        found.rows.append(Row(messages, correction or value["answer"], origin, value["group"], rejected))
    return found
