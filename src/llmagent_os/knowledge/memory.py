"""What agents remember: each thing once, and of a matter the newest, with all that was said of it before.

A memory is a document of an agent's, under a name of its own. One that is about a matter takes the place of what was
remembered about that; what it takes the place of is kept with its times, and found by nobody who does not ask for it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from weakref import WeakValueDictionary

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import SHARED, Document, Hit, Json, Place, Sought
from . import passages, words
from .base import Knowledge, digest

MEMORY = "memory/"
"""How the sources of memories begin."""
ABOUT = MEMORY + "about/"
"""How those begin that are about a matter."""
PINNED = MEMORY + "pinned/"
"""How those begin that are always shown to the agents that name them."""
BESIDE = "/beside"
"""How those end that stand beside what somebody said about the matter who may direct the agent."""
BLOCK = passages.LONGEST  # characters of what is pinned: one passage
NAMED = 64  # characters of a name of that
SINCE, AHEAD = -60_000_000_000, 86_400  # the first moment, in seconds since 1970, and how far one may be to come
ALIKE = 20  # passages that a memory which comes is compared with: those that share its words
TYPED = 6  # words, of which one may be mistyped
LEAST = 5  # letters that a stem has, at least, that may be mistyped

_WORD = re.compile(r"\w+")
_SIGNS = re.compile(r"[<>=≤≥≠]+|(?<![\w-])[-−+](?=\d)")  # they make another number of it, or another comparison
_FILLERS = frozenset(
    [
        "actually",
        "already",
        "also",
        "always",
        "indeed",
        "just",
        "now",
        "please",
        "quite",
        "really",
        "then",
        "too",
        "very",
    ]
)
_DENIES = frozenset(["no", "not", "nor"])
_SAYS_NOTHING = (words.STOP | _FILLERS) - _DENIES


class Memory:
    """The memories in what is known."""

    def __init__(self, known: Knowledge) -> None:
        self._known = known
        self._busy = WeakValueDictionary[Place, asyncio.Lock]()  # two that come at once are compared all the same

    async def keep(self, place: Place, memory: Document, about: str = "") -> str:
        """Keep a memory, and return the source that it is kept under; what is known already is not kept again.

        Of what is `about` the same matter the latest by `at` is what is known (None: it is now); all else stays as
        what was known before. What is in the words of who may direct nobody supersedes nothing that is not.
        Raises InvalidRequest for an `at` that is no moment, or is still to come: nothing said later would count.
        """
        if memory.at is not None and not SINCE <= memory.at <= time.time() + AHEAD:
            raise InvalidRequest(f"`at` is in seconds since 1970, and not in the future: not {memory.at}",
                                 parameter="at")  # fmt: skip
        lock = self._busy.setdefault(place, asyncio.Lock())
        async with lock:
            if about:
                new = replace(memory, at=time.time() if memory.at is None else memory.at)
                return await self._about(place, new, f"{ABOUT}{digest(about.casefold().encode())}")
            same = await self._same(place, memory)
            if same is None or (same.origins and not memory.origins):
                source = MEMORY + digest(f"{memory.title}\n{memory.text}".encode()) if same is None else same.source
                await self._known.add(place, [replace(memory, source=source)])
                return source
            return same.source

    async def pin(self, place: Place, name: str, memory: Document) -> str:
        """Have a block that agents are always shown say something else; with no text it is gone, and so is what
        stands beside it. Raises InvalidRequest.
        """
        name, text = name.strip(), memory.text.strip()
        if not name or len(name) > NAMED or "/" in name or len(text) > BLOCK:
            raise InvalidRequest(f"what is pinned has a name of at most {NAMED} characters, without /, and at most "
                                 f"{BLOCK} of text, not {len(text)}: shorten it", parameter="text")  # fmt: skip
        lock = self._busy.setdefault(place, asyncio.Lock())
        async with lock:
            if text:
                return await self._about(place, replace(memory, title=name, text=text, at=time.time()), PINNED + name)
            for was in (self._now(place, PINNED + name + end) for end in ("", BESIDE)):
                if was is not None and (was.origins or not memory.origins):
                    await self._known.remove(place, was.source)
            return PINNED + name

    def pinned(self, place: Place, names: Iterable[str]) -> list[Hit]:
        """Some blocks, each with what stands beside it."""
        sources = [PINNED + name + end for name in names for end in ("", BESIDE)]
        return [
            Hit(known.first, known.document, source, known.title, text, begin, begin + len(text), known.at, known.tags,
                known.origins, place, 1.0)
            for source in sources for known in self._known.of(place, source)
            for begin, text in self._known.passages(known)
        ]  # fmt: skip

    async def edit(self, place: Place, source: str, text: str, origins: tuple[str, ...]) -> bool:
        """Have a memory say something else, in somebody's words; what it said is kept. False where there is none."""
        lock = self._busy.setdefault(place, asyncio.Lock())
        async with lock:
            was = self._now(place, source)
            if was is not None:
                await self._supersede(place, was, replace(was, text=text, origins=origins, at=time.time()))
            return was is not None

    async def _about(self, place: Place, memory: Document, source: str) -> str:
        new, was = replace(memory, source=source), self._now(place, source)
        if was is not None and bool(was.origins) != bool(new.origins):
            return await self._apart(place, was, new)
        later = was is None or (new.at or 0) >= (was.at or 0)
        if was is None or (later and _plain(was.text) == _plain(new.text)):  # said again, it is so since later
            await self._known.add(place, [new if was is None else replace(was, at=new.at)])
        elif later:
            await self._supersede(place, was, new)
        elif _plain(was.text) != _plain(new.text):
            await self._known.note(place, _earlier(new, was.at))
        other = None if new.origins or source.endswith(BESIDE) else self._now(place, source + BESIDE)
        if other is not None and (new.at or 0) >= (other.at or 0):  # what stood beside it, it supersedes
            await self._known.remove(place, other.source)
            await self._known.note(place, _earlier(replace(other, source=source), new.at))
        return source

    async def _apart(self, place: Place, was: Document, new: Document) -> str:
        """Keep what was said of a matter by somebody who may direct the agent, and by somebody who may not."""
        sure, other = (was, new) if new.origins else (new, was)
        since, later = was.source, (other.at or 0) >= (sure.at or 0)
        if _plain(sure.text) == _plain(other.text):
            if sure is new:
                await self._known.add(place, [replace(new, at=max(was.at or 0, new.at or 0))])
            return since
        if later and other is new:
            return await self._about(place, new, since + BESIDE)
        if later:
            await self._known.add(place, [new, replace(was, source=since + BESIDE)])
        elif other is new:
            await self._known.note(place, _earlier(new, was.at))
        else:
            await self._supersede(place, was, new)
        return since

    async def _supersede(self, place: Place, was: Document, new: Document) -> None:
        await self._known.add(place, [new], _earlier(was, new.at))

    def _now(self, place: Place, source: str) -> Document | None:
        for known in self._known.of(place, source):
            text = "\n".join(self._known.read(known))
            return Document(source, text, known.title, known.at, known.tags, known.origins)
        return None

    async def _same(self, place: Place, memory: Document) -> Hit | None:
        """A memory that says the same."""
        here = self._known.only(place)
        for hit in await self._known.search(here, Sought(memory.text[:1000], ALIKE, along=False)) if here else ():
            told = hit.title == memory.title and hit.source.startswith(MEMORY) and not hit.source.startswith(ABOUT)
            if told and len(hit.text) + len(memory.text) < 3000 and alike(hit.text, memory.text):
                return hit
        return None

    def history(self, place: Place, source: str) -> list[dict[str, Json]]:
        """What a memory said before, the latest first: from `at` on, `until` something else was so."""
        names = ("text", "origins", "at", "until")
        rows = [dict(zip(names, row, strict=True)) for row in self._known.earlier(place, source)]
        return [row | {"origins": codec.loads(row["origins"])} for row in rows]


def said_by(place: Place, principal: str, seen: Iterable[str] = ()) -> tuple[str, ...]:
    """The origins of what somebody has remembered who had seen some: what others recall too, nobody vouches for."""
    return tuple(dict.fromkeys((*seen, *([person(principal)] if place.principal == SHARED else ()))))


def person(principal: str) -> str:
    """The origin of what somebody said, as others see it."""
    return f"person {principal}"


def document(source: str) -> str:
    """A source of a document; raises InvalidRequest for one of what agents remember."""
    if source.startswith(MEMORY):
        raise InvalidRequest(f"what begins with {MEMORY} is what agents remember: name it otherwise, such as "
                             f"./{source}", parameter="source")  # fmt: skip
    return source


def _earlier(was: Document, until: float | None) -> tuple[object, ...]:
    return was.source, was.text, codec.dumps(list(was.origins)).decode(), was.at, until


def alike(one: str, two: str) -> bool:
    """Whether two texts say the same: in the same words but for endings, case, marks and words that say nothing, with
    a part of them moved to the other end, or with a word mistyped here and there that is no name.
    """
    if _SIGNS.findall(one) != _SIGNS.findall(two):
        return False
    first, second = _plain(one), _plain(two)
    if len(first) != len(second):
        return False
    if first == second or any(first == second[n:] + second[:n] for n in range(1, len(second))):
        return True
    names = {word.casefold() for text in (one, two) for word in _WORD.findall(text)[1:] if word[:1].isupper()}
    named = {term for name in names for term in words.terms(name)}
    other = [each for each in zip(first, second, strict=True) if each[0] != each[1]]
    return len(other) * TYPED <= len(first) and all(_mistyped(*each) and not named & {*each} for each in other)


def _plain(text: str) -> list[str]:
    """The terms that a text says something by, in order."""
    told: Iterable[str] = (word for word in _WORD.findall(text) if word.casefold() not in _SAYS_NOTHING)
    return words.terms(" ".join(told))


def _mistyped(one: str, two: str) -> bool:
    """Whether two words are one letter apart, or two neighbours that changed places; neither is short, or a number."""
    if max(len(one), len(two)) < LEAST or not (one + two).isalpha():
        return False
    begin = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    one, two = one[begin:], two[begin:]
    return one[1:] == two[1:] or one[1:] == two or one == two[1:] or (one[1::-1] + one[2:] == two)
