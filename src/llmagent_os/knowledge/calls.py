"""What agents ask of what is known: to recall, to remember and to forget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..core import declared as by
from ..core.errors import InvalidRequest
from ..core.ports import Syscall, own, uncovered
from ..core.records import SHARED, Call, Document, Json, Place, Sought, agent_of
from ..kernel.process import Process
from . import grounding
from .base import Knowledge, digest

MEMORY = "memory/"
"""How the sources of memories begin."""
MOST = 50  # passages that are recalled at once
LONGEST = 100_000  # characters of a memory
SOUGHT = {"text": by.TEXT, "limit": by.WHOLE, "source": by.TEXT, "tags": (list, tuple), "since": (int, float),
          "until": (int, float)}  # fmt: skip
KEPT = {"text": by.TEXT, "title": by.TEXT, "tags": (list, tuple)}


class Calls:
    """The syscalls. An agent looks into what its tenant knows, and itself; what it remembers is its own, of whoever it
    works for.
    """

    def __init__(self, knowledge: Callable[[], Knowledge]) -> None:
        self._knowledge = knowledge

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table; `syscalls` of a grant covers them."""
        free = partial(Syscall, covers=uncovered, brings=own, spends=False)
        return {
            "recall": free(self.recall, 60.0, words=by.answered, takes=SOUGHT),
            "remember": free(self.remember, 60.0, takes=KEPT),
            "forget": free(self.forget, 60.0, takes={"source": by.TEXT}),
            "ground": free(self.ground, 60.0, takes={"text": by.TEXT, "passages": (list, tuple)}),
        }

    async def recall(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """The passages nearest to a text, the best first (see `core.records.Sought` and `Hit`).

        Their origins are the result's: what was in somebody's words when it was learned, still is. What another person
        had an agent remember that works for several is in that person's words.
        """
        known, own = self._knowledge(), _person(call)
        places = self._seen(call, process)
        found = await known.search(places, sought(call.args))
        hits = [replace(hit, origins=tuple(each for each in hit.origins if each != own)) for hit in found]
        call.origins = tuple(dict.fromkeys(origin for hit in hits for origin in hit.origins))
        return [hit.told() for hit in hits]

    def _seen(self, call: Call, process: Process) -> dict[int, Place]:
        place = _own(call, process)
        whose = None if process.service is not None else place.principal
        return self._knowledge().places(place.tenant, place.agent, whose)

    async def ground(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """Whether each sentence of a text stands in passages, by their numbers in `recall`'s answers; see `grounding`.

        `by` of a sentence has their places in `passages`, from 1 on. What is not there for the agent supports nothing.
        """
        told = self._knowledge().texts(self._seen(call, process), call.args["passages"])
        shown = {number: told[passage] for number, passage in enumerate(call.args["passages"], 1) if passage in told}
        return [each.told() for each in grounding.judged(call.args["text"], shown)]

    async def remember(self, call: Call, process: Process) -> str:
        """Keep a text, with whose words the process had seen; returns the source it can be forgotten by.

        The same text again is the same memory.
        """
        text = call.args["text"]
        if not text.strip() or len(text) > LONGEST:
            raise InvalidRequest(f"a memory has between 1 and {LONGEST} characters", parameter="text")
        title, tags = call.args.get("title") or "", tuple(map(str, call.args.get("tags") or ()))
        source = MEMORY + digest(f"{title}\n{text}".encode())
        place, origins = _own(call, process), process.made_of()
        if place.principal == SHARED:  # others recall it, whom nobody vouches for
            origins = list(dict.fromkeys((*origins, _person(call))))
        await self._knowledge().add(place, [Document(source, text, title, None, tags, tuple(origins))])
        return source

    async def forget(self, call: Call, process: Process) -> int:
        """Forget what the agent has from a source, for whoever it works for; returns how many documents that were."""
        return await self._knowledge().remove(_own(call, process), call.args["source"])


def sought(args: Mapping[str, Any]) -> Sought:
    """What is looked for; raises InvalidRequest for more than is told at once."""
    limit = args.get("limit") or Sought("").limit
    if not 0 < limit <= MOST:
        raise InvalidRequest(f"limit is {limit}; at least 1 and at most {MOST} passages are told", parameter="limit")
    tags = tuple(map(str, args.get("tags") or ()))
    return Sought(args["text"], limit, args.get("source") or "", tags, args.get("since"), args.get("until"))


def _person(call: Call) -> str:
    """The origin of what whom a call is for said, as others see it."""
    return f"person {call.principal}"


def _own(call: Call, process: Process) -> Place:
    agent = agent_of(process.name or "") if process.service is None else ""
    return Place(call.tenant, agent, SHARED if process.grant.shared else call.principal)
