"""What a model that runs here takes of the machine's memory, and what that memory would hold."""

from __future__ import annotations

from pathlib import Path

from .known import KnownModel

SLOTS = 6  # conversations that an engine holds at once; more take turns, their contexts paged
WINDOW = 4096  # tokens of each; an engine lowers it to what its model was trained for
REST = 150_000_000  # bytes: buffers of the engine, and ourselves
SHARE = 0.6  # of the free memory that one model may be proposed to take


def needed(model: KnownModel, slots: int = SLOTS, window: int = WINDOW) -> int:
    """The bytes that a known model takes: its weights, and room for the whole context of every slot."""
    return model.size + slots * min(window, model.trained) * model.token + REST


def longest(model: KnownModel, slots: int, room: float) -> int:
    """The longest window (tokens, a power of two up to what it was trained for) that so many bytes hold; 0: none."""
    windows = (1 << bits for bits in range(9, 20))
    return max((each for each in windows if each <= model.trained and needed(model, slots, each) <= room), default=0)


def machine() -> tuple[int, int]:
    """The machine's memory and what of it is free or can be freed at once, in bytes; (0, 0) where nobody says."""
    try:
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    except OSError:
        return 0, 0
    told = {line[0]: int(line[1]) << 10 for line in lines}
    return told.get("MemTotal:", 0), told.get("MemAvailable:", 0)
