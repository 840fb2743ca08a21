"""A process's life as data: what each event makes of it. Decided here alone, and written by `Process.move` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from .errors import Conflict

Phase = Literal["waiting", "running", "done", "stopped", "quarantined"]
Event = Literal[
    "step", "park", "interrupt", "restart", "finish", "fail", "kill", "quarantine", "pause", "resume", "configure"
]  # fmt: skip


class Life(NamedTuple):
    """Where a process is: parked (`waiting`), in a turn (`running`, however far), or at its end; and whether it is held
    (`paused`).

    A paused process makes no step: it goes on from its phase when it is resumed.
    """

    phase: Phase
    paused: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing of it will run again."""
        return self.phase not in ALIVE

    def row(self, reason: str | None) -> tuple[str, str | None]:
        """Its row's `status` and `reason`; of a paused process the reason is the phase that it goes on from."""
        return ("paused", self.phase) if self.paused else (self.phase, reason)


ALIVE: tuple[Phase, ...] = ("waiting", "running")

MOVES: Mapping[Event, tuple[Phase | None, tuple[Phase, ...]]] = {
    "step": ("running", ALIVE),  # a row of its turn is written
    "park": ("waiting", ALIVE),
    "interrupt": ("waiting", ALIVE),  # its turn is broken off; it takes the next message
    "restart": ("running", (*ALIVE, "done")),  # its turn is over, and the next begins without a message
    "finish": ("done", ALIVE),
    "fail": ("stopped", ALIVE),  # and is not to be restarted
    "kill": ("stopped", (*ALIVE, "quarantined")),  # of what is quarantined: it was seen to
    "quarantine": ("quarantined", ALIVE),
    "pause": (None, ALIVE),
    "resume": (None, ALIVE),
    "configure": (None, ALIVE),
}
"""Per event the phase that it leads to (None: the same), and those in which it may come."""


def transition(life: Life, event: Event) -> Life:
    """What becomes of a process; raises Conflict where the event cannot happen to it. Only `resume` ends a pause."""
    to, phases = MOVES[event]
    if life.phase not in phases or event == ("pause" if life.paused else "resume"):
        shown = "paused" if life.paused else life.phase if life.ended or event != "resume" else "not paused"
        raise Conflict(f"the process is {shown}: {event} is not possible")
    phase = to or life.phase
    return Life(phase, phase in ALIVE and event != "resume" and (life.paused or event == "pause"))
