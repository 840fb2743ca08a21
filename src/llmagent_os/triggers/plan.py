"""What a trigger keeps in mind and decides: which due times count, what becomes of a start. It acts on nothing.

Everything follows from the definition, the state, and what the journal has of the news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..core import codec
from ..core.records import Json
from .spec import TriggerSpec

QUEUED = 1000  # starts that wait
Verdict = Literal["start", "skip", "queue", "replace"]


@dataclass(slots=True)
class Event:
    """A start that is wanted: for which time, with what that came, in whose words that nobody vouches for."""

    due: float
    data: Json = None
    origins: Sequence[str] = ()
    missed: int = 0  # due times that nobody was there for and that it stands for too
    made_up: bool = False  # itself one of those
    sender: str = ""  # the box of the process that sent it


@dataclass(slots=True)
class State:
    """What is known between two turns: since when, and until when due times are settled, what runs and what waits.

    `seen` are the files that were looked at, by name with time and size; None: before the first look at `folder`.
    """

    begun: float | None = None
    last: float = 0.0
    count: int = 0
    running: list[int] = field(default_factory=list)
    queue: list[Event] = field(default_factory=list)
    folder: str | None = None
    seen: dict[str, list[int]] | None = None
    crowded: bool = False

    @classmethod
    def load(cls, data: Json) -> State:
        """Rebuild it from a process's state."""
        return codec.record(cls, data | {"queue": [codec.record(Event, each) for each in data.get("queue", ())]})

    def kept(self) -> Json:
        """It as data."""
        return codec.loads(codec.canonical(self))


def catch_up(spec: TriggerSpec, due: Sequence[float], now: float) -> tuple[list[Event], list[tuple[float, str]]]:
    """The starts for some due times, in order, by the rule for missed ones; and those times that are left out, and why.

    The newest is in time where it is not over for longer than is allowed; whatever was due before it is missed.
    """
    if not due:
        return [], []
    *missed, newest = due
    in_time = now - newest <= spec.late
    made_up = missed if in_time else list(due)
    if spec.missed == "once":
        return [Event(newest, missed=len(made_up), made_up=not in_time)], []
    most = spec.most if spec.missed == "all" else 0
    n = max(0, len(made_up) - most)
    events = [Event(at, made_up=True) for at in made_up[n:]] + ([Event(newest)] if in_time else [])
    why = "it was missed" if n == 1 else f"{n} times were missed"
    return events, [(made_up[n - 1], f"{why}; the last {most} are made up for" if most else why)] if n else []


def decide(spec: TriggerSpec, running: int, waiting: int, event: Event) -> tuple[Verdict, str]:
    """What becomes of a start while others run and wait, and why where it is left out.

    What is made up for waits for its turn, whatever would push it out.
    """
    rule = "queue" if event.made_up and spec.rule in ("skip", "replace") else spec.rule
    if running + waiting < room(spec):
        return "start", ""
    if rule == "skip":
        return "skip", "what was started before still runs"
    if rule == "queue":
        return ("queue", "") if waiting < QUEUED else ("skip", f"{QUEUED} starts wait already")
    if rule == "replace":
        return "replace", ""
    return "skip", f"{spec.at_once} that were started before still run"


def room(spec: TriggerSpec) -> int:
    """How many may run at once."""
    return spec.at_once if spec.rule == "allow" else 1


def scope(spec: TriggerSpec, event: Event, number: int) -> Mapping[str, Any]:
    """What the template may name."""
    return {"due": spec.told(event.due), "event": event.data, "missed": event.missed, "name": spec.name,
            "number": number}  # fmt: skip
