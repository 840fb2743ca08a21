"""Contexts: what lies on an engine's slots and in page files, found by the tokens that a call begins with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from ..core.ports import Owner
from ..core.records import ENDED, Page, Status
from .prefixes import BLOCK, of_tokens

_WORTH: dict[Status, int] = {"waiting": 1, "asks": 1, "paused": 1, "running": 2, "ready": 3}
_LOOKED_AT = 16  # of the contexts that share a block: they differ by less than a block


@dataclass(slots=True, eq=False)
class Context:
    """Token ids and where what the model computed of them lies: on a slot, in a page file, or both.

    `saved` tokens of it are in the file. `key` is the call's while that is not finished. `movable`: what runs on its
    slot can be stopped. `waits`: its slot is held, but what it begins with has yet to come from another context.
    """

    tokens: list[int]
    adapter: str | None
    owner: Owner | None
    key: str = ""
    unfinished: bool = True  # a call goes on with it: it must not lose a token
    slot: int | None = None
    page: Page | None = None
    saved: int = 0
    used: float = 0.0
    made: int = 0
    dirty: int = 0  # tokens that were computed for it since it was saved or begun
    movable: bool = True
    waits: bool = False
    watchers: list[tuple[int, asyncio.Event]] = field(default_factory=list)  # calls that wait for its first n tokens

    def worth(self) -> tuple[int, float]:
        """What is evicted first: contexts of nobody, then of who waits for a person, for a tool, for its turn."""
        owner = self.owner
        if owner is None or owner.status in ENDED:
            return 0, self.used
        return _WORTH[owner.status], self.used

    def unsaved(self) -> int:
        """How many tokens only its slot has; 0 where they are too few to care for."""
        tokens = len(self.tokens) - self.saved
        return tokens if self.unfinished or tokens >= BLOCK else 0

    def readiness(self, busy: bool) -> int:
        """Of equals, which to go on from: one that lies idle on a slot, one in a file, one that must be stopped."""
        return 2 if self.slot is not None and not busy else 1 if self.page is not None else 0

    def wake(self) -> None:
        """Tell everybody who waited for it to look again."""
        for _, event in self.watchers:
            event.set()
        self.watchers.clear()


class Contexts:
    """All contexts of one engine."""

    def __init__(self) -> None:
        self._all: dict[Context, list[bytes]] = {}  # with the names they are found by
        self._found: defaultdict[bytes, dict[Context, None]] = defaultdict(dict)
        self._keys: dict[str, Context] = {}

    def __iter__(self) -> Iterator[Context]:
        return iter(self._all)

    def add(self, context: Context) -> None:
        """Make a context findable, or findable as it is by now."""
        names = list(of_tokens(context.tokens, context.adapter))
        for known in self._all.get(context, [])[len(names) :]:
            self._found[known].pop(context, None)
        self._all[context] = names
        for each in names:
            self._found[each][context] = None
        if context.key:
            self._keys[context.key] = context

    def drop(self, context: Context) -> None:
        """Forget a context."""
        for each in self._all.pop(context, ()):
            self._found[each].pop(context, None)
            if not self._found[each]:
                del self._found[each]
        if self._keys.get(context.key) is context:
            del self._keys[context.key]

    def of(self, key: str) -> Context | None:
        """The context of a call that was cut off."""
        return self._keys.get(key)

    def sharing(self, tokens: list[int], adapter: str | None) -> list[tuple[int, Context]]:
        """The contexts that begin as `tokens` do, with how many tokens they share, most first.

        Only those that share the last whole block that any shares: a shorter prefix is no use beside it.
        """
        best: dict[Context, None] = {}
        for each in of_tokens(tokens, adapter):
            if not self._found.get(each):
                break
            best = self._found[each]
        found = [(common(tokens, context.tokens), context) for context in islice(reversed(best), _LOOKED_AT)]
        return sorted(found, key=lambda pair: -pair[0])


def common(left: list[int], right: list[int]) -> int:
    """How many tokens two contexts begin with alike."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:
        return most
    low, high = 0, most  # alike up to `low`, not up to `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left[low:middle] == right[low:middle] else (low, middle)
    return low
