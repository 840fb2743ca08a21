"""What agents ask of what is known: to recall, to infer, to remember and to forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..core import declared as by
from ..core.errors import InvalidRequest
from ..core.ports import Syscall, own, uncovered
from ..core.records import SHARED, Call, Document, Json, Part, Place, Sought, ToolSpec, Traits, agent_of
from ..kernel.process import Process
from . import grounding
from .base import Knowledge
from .facts import FactBase
from .memory import BLOCK, NAMED, Memory, person, said_by
from .reasoning import Answered, unmarked
from .sentences import Claim

MOST = 50  # passages that are recalled at once
LONGEST = 100_000  # characters of a memory
SOUGHT = {"text": by.TEXT, "limit": by.WHOLE, "source": by.TEXT, "tags": (list, tuple), "since": (int, float),
          "until": (int, float), "pinned": (list, tuple)}  # fmt: skip
ASKED = {"question": by.TEXT, "about": by.TEXT, "check": by.TEXT, "limit": by.WHOLE, "at": (int, float)}
KEPT = {"text": by.TEXT, "title": by.TEXT, "tags": (list, tuple), "about": by.TEXT, "at": (int, float)}
REMEMBER = ToolSpec(
    "remember", "Keep something in mind for later conversations: a fact, a wish, a decision, in one full sentence.",
    {"type": "object", "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": LONGEST, "description": "what is to be remembered"},
        "about": {"type": "string", "description": "the matter, such as `Ann's home`, where the newest is what counts"},
     }, "required": ["text"]},
)  # fmt: skip
"""The tool that is the syscall of its name, as is the next one."""
PIN = ToolSpec(
    "pin", "Change a note that you and others are always shown, by its name: the text replaces all that it said.",
    {"type": "object", "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": NAMED},
        "text": {"type": "string", "maxLength": BLOCK, "description": "all that it is to say; nothing takes it away"},
     }, "required": ["name", "text"]},
)  # fmt: skip
REMEMBERS = Traits("write", idempotent=True)
"""It declares nothing of its arguments: what of them is not in the words of who may direct the agent is asked about
before it is kept.
"""
TOOLS = (REMEMBER, PIN)


class Calls:
    """The syscalls. An agent looks into what its tenant knows, and itself; what it remembers is its own, of whoever it
    works for.
    """

    def __init__(self, knowledge: Callable[[], Knowledge], facts: Callable[[], FactBase]) -> None:
        self._knowledge, self._facts = knowledge, facts
        self._kept: tuple[Knowledge, Memory] | None = None

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table; `syscalls` of a grant covers them."""
        free = partial(Syscall, covers=uncovered, brings=own, spends=False)
        return {
            "recall": free(self.recall, 60.0, words=by.answered, takes=SOUGHT),
            "infer": free(self.infer, 60.0, words=_known, takes=ASKED),
            REMEMBER.name: free(self.remember, 60.0, takes=KEPT, covers=lambda args: [("tools", REMEMBER.name)]),
            PIN.name: free(
                self.pin, 60.0, takes={"name": by.TEXT, "text": by.TEXT}, covers=lambda args: [("tools", PIN.name)]
            ),
            "forget": free(self.forget, 60.0, takes={"source": by.TEXT}),
            "ground": free(self.ground, 60.0, takes={"text": by.TEXT, "passages": (list, tuple)}),
        }

    def tools(self) -> dict[str, Syscall]:
        """The syscalls that are tools as well."""
        table = self.table()
        return {each.name: table[each.name] for each in TOOLS}

    async def recall(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """The passages nearest to a text, the best first (see `core.records.Sought` and `Hit`).

        Their origins are the result's: what was in somebody's words when it was learned, still is. What another person
        had an agent remember that works for several is in that person's words. `pinned`: blocks, by name.
        """
        own, places, pinned = person(call.principal), self._seen(call, process), call.args.get("pinned")
        if pinned is not None:
            found = self._memory().pinned(_common(call, process), map(str, pinned))
        else:
            found = await self._knowledge().search(places, sought(call.args))
        hits = [replace(hit, origins=tuple(each for each in hit.origins if each != own)) for hit in found]
        call.origins = tuple(dict.fromkeys(origin for hit in hits for origin in hit.origins))
        return [hit.told() for hit in hits]

    async def infer(self, call: Call, process: Process) -> dict[str, Json]:
        """What follows from facts and rules, with proofs: answers to a `question` like `room(X, "Room 2")`; or what is
        `about` the things that a text names; or what of a text to `check` is known to be otherwise.

        Whose words it stands on are the result's origins.
        """
        limit, given = call.args.get("limit") or 10, [each for each in _MEANT if call.args.get(each)]
        if len(given) != 1 or not 0 < limit <= MOST:
            raise InvalidRequest(f"infer takes one of {', '.join(_MEANT)}, and a limit of at most {MOST}",
                                 parameter="question")  # fmt: skip
        facts, places, text = self._facts(), self._seen(call, process), call.args[given[0]]
        if given == ["check"]:
            against = await facts.contradicted(places, text)
            call.origins = tuple(dict.fromkeys(origin for _, _, known in against for origin in known.origins))
            return {"contradictions": [{"claim": claim._asdict(), **known.told()} for _, claim, known in against]}
        if given == ["about"]:
            found = await facts.about(places, text, limit)
        else:
            found = await facts.infer(places, text, limit, call.args.get("at"))
        call.origins = found.origins
        return found.told()

    def _seen(self, call: Call, process: Process) -> dict[int, Place]:
        """The places that a process looks into."""
        place = _own(call, process)
        whose = None if process.service is not None else place.principal
        return self._knowledge().places(place.tenant, place.agent, whose)

    async def ground(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """Whether each sentence of a text stands in passages, by their numbers in `recall`'s answers, and in facts, as
        `infer` told them; or goes against a fact that is known or follows. See `grounding`.

        `by` of a sentence has their places in `passages`, from 1 on. What is not there for the agent supports nothing.
        """
        places, text, given = self._seen(call, process), call.args["text"], call.args["passages"]
        told = self._knowledge().texts(places, [each for each in given if not isinstance(each, str)])
        shown = {number: told[passage] for number, passage in enumerate(given, 1) if passage in told}
        known = [(number, await self._facts().infer(places, each, 1))
                 for number, each in enumerate(given, 1) if isinstance(each, str)]  # fmt: skip
        shown |= {number: found.answers[0].words() for number, found in known if found.answers}
        against = await self._facts().contradicted(places, text)
        origins = [*(found.origins for _, found in known), *(fact.origins for _, _, fact in against)]
        call.origins = tuple(dict.fromkeys(origin for each in origins for origin in each))
        return [each.told() for each in grounding.judged(text, shown, partial(_opposed, against))]

    async def remember(self, call: Call, process: Process) -> str:
        """Keep a text, with whose words the process had seen; returns the source it can be forgotten by.

        What says the same as a memory is that memory. What is `about` a matter takes the place of what was remembered
        about it, unless that is so since later (`at`, seconds since the epoch; now, where it is not said), or was said
        by somebody who may direct the agent, and this was not: then it stands beside that.
        """
        call.origins, given = (), call.args.get("arguments", call.args)
        text, about = str(given.get("text") or ""), str(given.get("about") or "")
        if not text.strip() or len(text) > LONGEST:
            raise InvalidRequest(f"a memory has between 1 and {LONGEST} characters", parameter="text")
        title, tags = given.get("title") or about, tuple(map(str, given.get("tags") or ()))
        place = _own(call, process)
        origins = said_by(place, call.principal, process.made_of())
        memory = Document("", text, title, given.get("at"), tags, origins)
        source = await self._memory().keep(place, memory, about)
        return f"kept as {source}" if "arguments" in call.args else source  # as a tool, to a model

    async def pin(self, call: Call, process: Process) -> str:
        """Have a block, by its name, say something else: all agents of the tenant that name it are always shown it, for
        whom they work. It has at most BLOCK characters. What untrusted words have it say stands beside what others do.
        """
        call.origins, given = (), call.args.get("arguments", call.args)
        place = _common(call, process)
        origins = said_by(place, call.principal, process.made_of())
        return await self._memory().pin(place, given["name"], Document("", given["text"], origins=origins))

    def _memory(self) -> Memory:
        known = self._knowledge()
        if self._kept is None or self._kept[0] is not known:
            self._kept = known, Memory(known)
        return self._kept[1]

    async def forget(self, call: Call, process: Process) -> int:
        """Forget what the agent has from a source, for whoever it works for; returns how many documents that were."""
        return await self._knowledge().remove(_own(call, process), call.args["source"])


def _known(args: Mapping[str, Any], result: Any, origins: Sequence[str]) -> Iterator[Part]:
    """What `infer` told of facts, as of those whose words they stand on.

    What it repeats of what it was asked (why there is no answer, a claim) is nobody's word.
    """
    told = [{name: each[name] for name in each if name != "claim"} for each in result.get("contradictions", ())]
    yield Part([*result.get("answers", ()), *told], tuple(origins))
    yield Part([result.get("why_not"), [each["claim"] for each in result.get("contradictions", ())]], None)


def _opposed(against: Sequence[tuple[str, Claim, Answered]], sentence: str) -> str | None:
    """The fact that a sentence goes against, with why it holds."""
    plain = " ".join(unmarked(sentence).split())
    return next((known.proof.text().partition("\n")[0] for said, _, known in against if said in plain), None)


_MEANT = ("question", "about", "check")


def sought(args: Mapping[str, Any]) -> Sought:
    """What is looked for; raises InvalidRequest for more than is told at once."""
    limit = args.get("limit") or Sought("").limit
    if not 0 < limit <= MOST:
        raise InvalidRequest(f"limit is {limit}; at least 1 and at most {MOST} passages are told", parameter="limit")
    tags = tuple(map(str, args.get("tags") or ()))
    return Sought(args["text"], limit, args.get("source") or "", tags, args.get("since"), args.get("until"))


def _common(call: Call, process: Process) -> Place:
    """Where what agents share for a person is."""
    return replace(_own(call, process), agent="")


def _own(call: Call, process: Process) -> Place:
    agent = agent_of(process.name or "") if process.service is None else ""
    return Place(call.tenant, agent, SHARED if process.grant.shared else call.principal)
