"""Labels: where the values in a call come from.

Whose words a process has seen is data, kept by the kernel with messages, arguments, states and results. While they are
all of somebody who may direct it, so is what its model makes of them. From then on a model may copy any value from
anywhere in its context into a call: so a value is trusted only where it stands, as it is, in the words of somebody who
may direct the agent: its definition, its user, or a tool that is declared to be trusted. A value that stands elsewhere,
or nowhere, is untrusted. This bounds what an injected instruction can do, however well it is written: it is not a
guess about what text means. CaMeL (Debenedetti et al. 2025) tracks values in the same spirit, through code that a
model writes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from ..core import codec
from ..core.ports import Syscall
from ..core.records import Json, Part
from ..kernel.process import Process

NOWHERE = "context"
"""The origin of a value that stands nowhere, while untrusted words are in sight: the model made it of those."""

DIGITS = 3
NEWEST = 200  # sources that nobody trusts in which a value is looked for, to tell a person where it stands
# bounded, for what is looked at may be long, and made to be slow to look at
_LINK = re.compile(
    r"(?:\b[a-z][a-z0-9+.-]{0,30}:[/\\]{2}|https?:|\bwww\.)[^\s<>\"')\]]+"
    r"|(?<![\w@.-])(?:[\w-]+\.)+(?:[^\W\d_]{2,}|xn--[a-z0-9-]+)(?::\d+)?(?:/|[?#](?=\w))[^\s<>\"')\]]*",
    re.I,
)
_MAIL = re.compile(r"[\w.+-]{1,64}@(?:[\w-]+\.)+[\w-]+")
_SPACE = re.compile(r"\s+")
_SCHEME = re.compile(r"(?<!\w)https?://")
_ZEROS = re.compile(r"(?<![\w.])(\d+)(?:\.0+|(\.\d*[1-9])0+)(?!\w|\.\w)")
_COMMA = re.compile(r"\d,\d")
_JOINTS = ".-+@/\\"
_TRAIL = ".,;:!?"


@dataclass(slots=True)
class Source:
    """Something that a process has in sight: where it stands, and whether whoever wrote it may direct the process."""

    origin: str
    trusted: bool
    text: Json
    plain: str | None = None  # in normal form, once somebody looked

    def holds(self, value: str) -> bool:
        """Whether a value in normal form stands here, and not as a part of a longer word, address, path or number."""
        if self.plain is None:
            self.plain = normal(written(self.text))
        if not any(map(str.isalnum, value)):
            return f" {value} " in f" {self.plain} "  # `/` and `.` stand in every text
        at = self.plain.find(value)
        while at >= 0:
            end = at + len(value)
            if not (_inside(self.plain, at) or _inside(self.plain, end)):
                return True
            at = self.plain.find(value, at + 1)
        return False


class Context:
    """What a process has in sight now: the sources of this turn, and whose words it has seen at all."""

    __slots__ = ("_known", "begun", "doubtful", "pending", "seen", "trusted", "turn")

    def __init__(self, sources: Iterable[Source] = (), seen: Collection[str] = (), turn: int = -1) -> None:
        """`seen` are the untrusted origins that the kernel keeps (`Process.seen`), also of what has no text here."""
        self.seen, self.turn, self.begun = seen, turn, False
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
        (self.trusted if source.trusted else self.doubtful).append(source)

    @property
    def doubted(self) -> bool:
        """Whether there is anything that may not direct the process; without it a model may make up what it likes."""
        return bool(self.seen or self.doubtful)

    def origin(self, value: str, number: bool = False) -> str | None:
        """Where a value comes from: None for somebody trusted.

        A short number stands anywhere by chance, such as in a date, so it is trusted only where a `number` is meant.
        """
        if not self.doubted:
            return None
        sought = normal(value)
        chance = not sought or (not number and len(sought) <= DIGITS and sought.isdigit())
        if not chance and any(source.holds(sought) for source in self.trusted):
            return None
        newest = self.doubtful[: -NEWEST - 1 : -1]
        return next((source.origin for source in newest if source.holds(sought)), NOWHERE)

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
        for part in self.syscall.words(self.args, self.result, self.origins) if self.syscall.words is not None else ():
            if part.origins is not None or (self.clean and self.parts is None):
                yield part
        for part in self.parts or ():
            if part.origins is not None or self.clean:
                yield part


class Labels:
    """The contexts of all processes that are awake, kept up from their calls (see `core.ports.Follower`)."""

    def __init__(
        self, trusts: Callable[[Process, str], bool], names: Callable[[str], Collection[str]] = lambda tool: ()
    ) -> None:
        """`trusts(process, tool)`: whether what a tool returns to a process may direct it; `names`: its arguments'."""
        self._trusts, self._names = trusts, names
        self._contexts: WeakKeyDictionary[Process, Context] = WeakKeyDictionary()

    def follow(
        self, process: Process, syscall: Syscall, args: Mapping[str, Any], result: Any, origins: Sequence[str],
        parts: Sequence[Part] | None,
    ) -> None:  # fmt: skip
        """Keep what a call brought into sight. Services are the outside world: nobody directs them."""
        if process.service is None and (syscall.words is not None or origins or parts):
            clean = not (process.seen or origins or any(part.origins for part in parts or ()))
            self._context(process).pending.append(Glance(syscall, args, result, origins, parts, clean))

    def of(self, process: Process) -> Context:
        """What is in sight of a process. While it has seen nothing untrusted, nothing is read: nobody is to be told."""
        context = self._context(process)
        if process.seen and not context.begun:
            context.begun = True
            context.add(_made_with(process))
        if process.seen and context.pending:
            pending, context.pending = context.pending, []
            for glance in pending:
                if glance.syscall.words is None and glance.origins:
                    context.add(Source(_told("", glance.origins), False, glance.result))
                for part in glance.read():
                    context.add(self._source(process, context, part))
        return context

    def directs(self, context: Context, process: Process, tool: str, arguments: Json) -> bool:
        """Whether a result may direct a process: that of a trusted tool, as far as what it was asked may.

        A calculator computes any amount, and a clock's complaint repeats the zone that it does not know.
        """
        given = leaves(arguments, self._names(tool))
        return self._trusts(process, tool) and all(context.origin(each, True) is None for each in given)

    def _source(self, process: Process, context: Context, part: Part) -> Source:
        origins = part.origins or ()
        if part.asked is not None:
            tool, arguments = part.asked
            if arguments is not None and self.directs(context, process, tool, arguments):
                origins = ()
        return Source(_told(part.who, origins), not origins, part.text)

    def _context(self, process: Process) -> Context:
        context = self._contexts.get(process)
        if context is None or context.turn != process.turn:
            context = self._contexts[process] = Context((), process.seen, process.turn)
        return context


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


def written(value: Json) -> str:
    """All text in JSON data, a leaf a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(f"{key}\n{written(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(written, value))
    return "" if value is None else codec.dumps(value).decode()


def normal(text: str) -> str:
    """The form in which values are compared: one case, one kind of space, no `http://`, numbers without zeros."""
    plain = _SPACE.sub(" ", text).strip().lower()  # not folded: `ß` and `ss` are two domains
    plain = _ZEROS.sub(r"\1\2", _SCHEME.sub("", plain))
    return plain.rstrip("/") or plain


def leaves(value: Json, known: Collection[str] | None = None) -> Iterator[str]:
    """Every text and number in an argument; a whole number also reads as one. With `known`, also the other keys."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if known is not None and key not in known:
                yield key
            yield from leaves(item, known)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item, known)
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif value is not None and value != "":
        yield str(value)


def links(text: str) -> list[str]:
    """The URLs and mail addresses in a text."""
    return [found.rstrip(_TRAIL) for found in [*_LINK.findall(text), *_MAIL.findall(text)]]


def _inside(text: str, at: int) -> bool:
    """Whether a place in a text lies within one word, address, path or number: `j.smith@x.org` is not `smith@x.org`."""
    comma = _COMMA.fullmatch(text[at - 1 : at + 2]) or _COMMA.fullmatch(text[max(at - 2, 0) : at + 1])
    return comma is not None or (_joined(text, at - 1, -1) and _joined(text, at, 1))


def _joined(text: str, at: int, step: int) -> bool:
    """Whether a word's character is next in a direction, past what joins words to an address."""
    while 0 <= at < len(text) and text[at] in _JOINTS:
        at += step
    return 0 <= at < len(text) and _of_word(text[at])


def _of_word(character: str) -> bool:
    """Whether words go on here; not so between the characters of scripts that are written without spaces."""
    if character.isascii():
        return character.isalnum() or character == "_"
    cased = character.lower() != character.upper()
    return cased or character.isdecimal() or unicodedata.combining(character) != 0
