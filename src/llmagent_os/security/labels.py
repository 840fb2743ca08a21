"""Labels: where the values in a call come from.

Whose words a process has seen is data, kept by the kernel with messages, arguments, states and results. While they are
all of somebody who may direct it, so is what its model makes of them. From then on a model may copy any value from
anywhere in its context into a call: so a value is trusted only where it stands, as it is, in the words of somebody who
may direct the agent: its definition, its user, or a tool that is declared to be trusted. Words that forbid it permit
nothing. A value that stands elsewhere, or nowhere, is untrusted. This bounds what an injected instruction can do,
however well it is written: it is not a guess about what text means. CaMeL (Debenedetti et al. 2025) tracks values in
the same spirit, through code that a model writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ..core import codec
from ..core.links import found
from ..core.ports import Syscall
from ..core.records import Json, Meaning, Part
from ..core.values import leaves, normal, stands, written
from ..core.words import Words
from ..kernel.process import Process

T = TypeVar("T")

NOWHERE = "context"
"""The origin of a value that stands nowhere, while untrusted words are in sight: the model made it of those."""

MODEL = "the model"
"""Where a value stands that stands nowhere."""

DIGITS = 3
PENDING = 256  # calls whose words are kept unread
NEWEST = 200  # sources that nobody trusts in which a value is looked for, to tell a person where it stands
LONG = 50_000  # characters in sight, from which on a thread looks for values in them
LOOKED = 1 << 27  # characters in which the values of one call are looked for, to tell a person where they stand


@dataclass(slots=True)
class Source:
    """Something that a process has in sight: where it stands, and whether whoever wrote it may direct the process."""

    origin: str
    trusted: bool
    text: Json
    plain: str | None = None  # in normal form, once somebody looked
    words: Words | None = None  # as values are compared with, once somebody looked

    def read(self) -> Words:
        """The words in which a value is looked for that is to be trusted."""
        if self.words is None:
            self.words = Words(self.text)
        return self.words

    def holds(self, value: str) -> bool:
        """Whether a value in normal form stands here, or one like it: to tell where it may come from."""
        if self.plain is None:
            self.plain = normal(written(self.text))
        return stands(value, self.plain)

    def asks_for(self, value: str) -> bool:
        """Whether a value in normal form, or one like it, stands here, and not only where it is forbidden."""
        return self.holds(value) and self.read().stands(value) is not None


class Sight:
    """What a process has in sight now: the sources of this turn, and whose words it has seen at all."""

    __slots__ = ("_known", "begun", "doubtful", "left", "pending", "recalled", "seen", "size", "trusted", "turn")

    def __init__(self, sources: Iterable[Source] = (), seen: Collection[str] = (), turn: int = -1) -> None:
        """`seen` are the untrusted origins that the kernel keeps (`Process.seen`), also of what has no text here."""
        self.seen, self.turn = seen, turn
        self.size, self.left = 0, LOOKED  # characters in sight, and how many are still looked through for one call
        self.begun = self.recalled = False  # what it was made with, and what it was told in earlier turns, is there
        self.trusted: list[Source] = []
        self.doubtful: list[Source] = []
        self.pending: list[Glance] = []  # calls whose words nobody has asked for yet
        self._known: set[tuple[str, bool]] = set()
        for source in sources:
            self.add(source)

    def add(self, source: Source) -> None:
        """Take in a source, unless the same text is there: a prompt shows most of what the one before it showed."""
        if isinstance(source.text, str):
            if (source.text, source.trusted) in self._known:
                return
            self._known.add((source.text, source.trusted))
        self.size += len(source.text if isinstance(source.text, str) else codec.dumps(source.text))
        (self.trusted if source.trusted else self.doubtful).append(source)

    @property
    def doubted(self) -> bool:
        """Whether there is anything that may not direct the process; without it a model may make up what it likes."""
        return bool(self.seen or self.doubtful)

    def origin(self, value: str, number: bool = False, meaning: Meaning | None = None) -> str | None:
        """Where a value comes from: None for somebody trusted.

        A short number stands anywhere by chance, such as in a date, so it is trusted only where a `number` is meant.
        What a value means says how it is compared (see `core.words`).
        """
        if not self.doubted:
            return None
        bare, forbids = value.strip(), None
        if bare and (number or len(bare) > DIGITS or not bare.isdigit()):
            for source in self.trusted:
                said = source.read().stands(value, meaning, number)
                if said:
                    return None
                if said is None and forbids is None:
                    forbids = f"{source.origin}, which forbids it"
        return forbids or self._copied(value) or NOWHERE

    def leads(self, link: str) -> str | None:
        """Where a link in a text comes from that goes out: None where somebody trusted named its host, or its address.

        A link without a host (a call, a script, data) is trusted as a whole.
        """
        if not self.doubted:
            return None
        origins = [self._led(each.host, each.address or each.text) for each in found(link)]
        return next(filter(None, origins), None if origins else self.origin(link))

    def _led(self, host: str, whole: str) -> str | None:
        if not host:
            return self.origin(whole, True)
        if any(host in source.read().hosts for source in self.trusted):
            return None
        return self._copied(whole) or self._copied(host) or NOWHERE

    def quotes(self, piece: str) -> str | None:
        """Whose untrusted words a piece of an answer stands in; None: in nobody's, or in trusted ones as well."""
        if not self.doubted or any(source.read().stands(piece) is not False for source in self.trusted):
            return None
        self.left = LOOKED  # what is quoted is marked, however much there is
        return self._copied(piece)

    def _copied(self, value: str) -> str | None:
        """In whose untrusted words a value stands, or one like it, as far as anybody looks."""
        if self.left <= 0:
            return None
        sought = normal(value)
        for source in self.doubtful[: -NEWEST - 1 : -1]:
            if source.holds(sought):
                return source.origin
            self.left -= len(source.plain or "")
        return None

    def stands(self, value: str) -> str:
        """Where a value stands, in the words of somebody trusted if in any."""
        said = (source.origin for source in self.trusted if source.read().stands(value) is not False)
        trusted = next(said, None)
        return trusted or self._copied(value) or MODEL

    def untrusted(self) -> list[str]:
        """The untrusted origins of what is in sight."""
        return sorted(self.seen or {source.origin for source in self.doubtful})


@dataclass(slots=True)
class Glance:
    """A call that brought words into sight, kept as it is until somebody asks for them.

    `clean`: before it the process had seen nothing untrusted, so that what nobody declared is made of trusted words.
    """

    syscall: Syscall
    args: Mapping[str, Any]
    result: Any
    origins: Sequence[str]
    parts: Sequence[Part] | None
    clean: bool

    def read(self) -> Iterator[Part]:
        """The parts that it brought; what is nobody's known words is left out, for it directs nobody."""
        words = self.syscall.words
        whole = [Part(self.result, tuple(self.origins))] if self.origins else []
        brought = whole if words is None else words(self.args, self.result, self.origins)
        yield from (part for part in brought if part.origins is not None or (self.clean and self.parts is None))
        yield from (part for part in self.parts or () if part.origins is not None or self.clean)


class Labels:
    """What is in sight of all processes that are awake, kept up from their calls (see `core.ports.Follower`)."""

    def __init__(
        self, trusts: Callable[[Process, str], bool], names: Callable[[str], Collection[str]] = lambda tool: (),
        told: Callable[[Process], Iterable[tuple[str, Json]]] = lambda process: (),
    ) -> None:  # fmt: skip
        """`trusts(process, tool)`: whether what a tool returns to a process may direct it; `names`: its arguments'.

        `told` has what tools returned in earlier turns that a process remembers and that directs it, by tool.
        """
        self._trusts, self._names, self._told = trusts, names, told
        self._sights: WeakKeyDictionary[Process, Sight] = WeakKeyDictionary()

    def follow(
        self, process: Process, syscall: Syscall, args: Mapping[str, Any], result: Any, origins: Sequence[str],
        parts: Sequence[Part] | None,
    ) -> None:  # fmt: skip
        """Keep what a call brought into sight. Services are the outside world: nobody directs them."""
        if process.service is None and (syscall.words is not None or origins or parts):
            clean = not (process.seen or origins or any(part.origins for part in parts or ()))
            sight = self._sight(process)
            sight.pending.append(Glance(syscall, args, result, origins, parts, clean))
            if len(sight.pending) >= PENDING:
                self._read(process, sight)

    def of(self, process: Process) -> Sight:
        """What is in sight of a process. While it has seen nothing untrusted, nothing is read: nobody is to be told."""
        sight = self._sight(process)
        if process.seen:
            self._read(process, sight)
        sight.left = LOOKED
        return sight

    async def sources(self, process: Process, arguments: Mapping[str, Json]) -> dict[str, str]:
        """Where each argument stands, for people: in whose words, or in nobody's, so that the model made it up."""
        sight = self._sight(process)
        self._read(process, sight)
        sight.left = LOOKED

        def told() -> dict[str, str]:
            found = {name: dict.fromkeys(map(sight.stands, leaves(value))) for name, value in arguments.items()}
            return {name: ", ".join(where) or MODEL for name, where in found.items()}

        return await beside(told, sight, arguments)

    def _read(self, process: Process, sight: Sight) -> None:
        if not sight.begun:
            sight.begun = True
            sight.add(_made_with(process))
        pending, sight.pending = sight.pending, []
        for glance in pending:
            for part in glance.read():
                if part.tool and not process.seen:  # there were only answers that may direct it, to calls of its own
                    continue
                sight.add(self._source(process, sight, part))

    def directs(self, sight: Sight, process: Process, tool: str, arguments: Json) -> bool:
        """Whether a result may direct a process: that of a trusted tool, as far as what it was asked may.

        A calculator computes any amount, and a clock's complaint repeats the zone that it does not know.
        """
        given = leaves(arguments, self._names(tool))
        return self._trusts(process, tool) and all(sight.origin(each, True) is None for each in given)

    def _source(self, process: Process, sight: Sight, part: Part) -> Source:
        """A part as a source. One that calls itself a tool's answer is nobody's word: prompts make up names.

        What trusted tools said is there from the process's own calls, those of earlier turns from their rows.
        """
        if part.tool and not sight.recalled and self._trusts(process, part.tool):
            sight.recalled = True
            for tool, result in self._told(process):
                sight.add(Source(f"tool {tool}", True, result))
        origins = part.origins or ()
        return Source(_told(part.who, origins), not origins, part.text)

    def _sight(self, process: Process) -> Sight:
        sight = self._sights.get(process)
        if sight is None or sight.turn != process.turn:
            sight = self._sights[process] = Sight((), process.seen, process.turn)
        return sight


async def beside(work: Callable[[], T], sight: Sight, looked: Json = None) -> T:
    """What comes of looking for values in what is in sight: in a thread, where either is long."""
    if sight.size > LONG or len(codec.dumps(looked)) > LONG:
        return await asyncio.to_thread(work)
    return work()


def _made_with(process: Process) -> Source:
    """What a process was made with: of a program that has read something untrusted, it may be made of that."""
    origins = process.origins.get("args", ())
    who = f"process {process.parent}" if origins else "definition"
    return Source(_told(who, origins), not origins, _defined(process.args))


def _told(who: str, origins: Sequence[str]) -> str:
    """Where words stand, for people: with whose they are, if that is somebody else."""
    made_of = ", ".join(origins)
    return f"{who} ({made_of})" if who and made_of else who or made_of


def definition(args: Json) -> Mapping[str, Json] | None:
    """The definition of an agent in what its process was made with; None for any other program's arguments."""
    spec = args.get("spec") if isinstance(args, Mapping) else None
    return spec if isinstance(spec, Mapping) else None


def _defined(args: Json) -> str:
    """The words of a definition: of an agent's, what its author wrote, for numbers among settings stand anywhere."""
    spec = definition(args)
    if spec is None:
        return written(args)
    return "\n".join(written(spec.get(name)) for name in ("description", "prompt", "intents", "variables"))
