"""Stop texts found in a stream, wherever the borders of its pieces lie."""

from __future__ import annotations


class Stops:
    """Holds back what may become a stop text; what comes before one is the end."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.found: str | None = None  # the stop text that has come

    def add(self, text: str) -> tuple[str, bool]:
        """The text that is sure, and whether a stop text has come."""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, self.found = min(found)
            text, self._held = self._held[:at], ""
            return text, True
        sure = len(self._held) - self._possible()
        text, self._held = self._held[:sure], self._held[sure:]
        return text, False

    def rest(self) -> str:
        """What was held back for nothing."""
        return self._held

    def _possible(self) -> int:
        """The length of the longest end of the text that begins a stop text."""
        lengths = range(min(len(self._held), max(map(len, self._stops), default=0)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)
