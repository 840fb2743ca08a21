"""Labels: where the values in a call come from, by looking for them in what the process has read.

A model may copy any value from anywhere in its context into a call. So a value is trusted only where it stands, as it
is, in the words of somebody who may direct the agent: its definition, its user, or a tool that is declared to be
trusted. A value that stands only in other people's words, or nowhere while there are such words, is untrusted. This
bounds what an injected instruction can do, however well it is written: it is not a guess about what text means.
CaMeL (Debenedetti et al. 2025) tracks values in the same spirit, through code that a model writes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ..core import codec
from ..core.records import RELAYED, SUMMARY, Envelope, GenerateRequest, Json, Message
from ..kernel.process import Process

NOWHERE = "context"
"""The origin of a value that stands nowhere, while untrusted words are in sight: the model made it of those."""

DIGITS = 3
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
_MADE_OF = re.compile(r"^(?:agent|process) \S+ \((.*)\)$")
_DIRECTING = ("user", "system", "developer")
_JOINTS = ".-+@/\\"
_TRAIL = ".,;:!?"


@dataclass(slots=True)
class Source:
    """Something that a process has read: who wrote it, and whether they may direct the process."""

    origin: str
    trusted: bool
    text: str
    plain: str | None = None  # in normal form, once somebody looked

    def holds(self, value: str) -> bool:
        """Whether a value in normal form stands here, and not as a part of a longer word, address, path or number."""
        if self.plain is None:
            self.plain = normal(self.text)
        if not any(map(str.isalnum, value)):
            return f" {value} " in f" {self.plain} "  # `/` and `.` stand in every text
        at = self.plain.find(value)
        while at >= 0:
            end = at + len(value)
            if not (_inside(self.plain, at) or _inside(self.plain, end)):
                return True
            at = self.plain.find(value, at + 1)
        return False


@dataclass(slots=True)
class Context:
    """What a process has in sight now."""

    sources: list[Source] = field(default_factory=list)
    request: GenerateRequest | None = None  # of the last generation, not yet read into `sources`
    turn: int = -1  # of the process, that `sources` are of

    def origin(self, value: str, number: bool = False) -> str | None:
        """Who wrote a value: None for somebody trusted.

        A short number stands anywhere by chance, such as in a date, so it is trusted only where a `number` is meant.
        """
        sought = normal(value)
        chance = not sought or (not number and len(sought) <= DIGITS and sought.isdigit())
        if not chance and any(source.trusted and source.holds(sought) for source in self.sources):
            return None
        others = [source for source in self.sources if not source.trusted]
        return next((source.origin for source in others if source.holds(sought)), NOWHERE if others else None)

    def untrusted(self) -> list[str]:
        """The untrusted origins of what is in sight."""
        return sorted({source.origin for source in self.sources if not source.trusted})


class Labels:
    """The contexts of all processes that are awake, kept up from their calls (see `core.ports.Follower`)."""

    def __init__(
        self, trusts: Callable[[Process, str], bool], names: Callable[[str], Collection[str]] = lambda tool: ()
    ) -> None:
        """`trusts(process, tool)`: whether what a tool returns to a process may direct it; `names`: its arguments'."""
        self._trusts, self._names = trusts, names
        self._contexts: WeakKeyDictionary[Process, Context] = WeakKeyDictionary()

    def follow(self, process: Process, name: str, args: Mapping[str, Any], result: Any) -> None:
        """Take in what a call brought into sight. Services are the outside world: nobody directs them."""
        if process.service is not None:
            return
        context = self._context(process)
        if name == "generate":
            self._read(process, context)
            context.request = args["request"]
        elif name in ("receive", "answer"):
            context.sources += _received(result)
        elif name == "call":
            trusted = self._directs(self.of(process), process, args["tool"], args.get("arguments"))
            context.sources.append(Source(f"tool {args['tool']}", trusted, written(result)))
        elif name == "wait":
            context.sources.append(Source(f"process {args['pid']}", False, written(result)))

    def of(self, process: Process) -> Context:
        """What is in sight of a process: what it was given in this turn, and its last prompt."""
        context = self._context(process)
        self._read(process, context)
        return context

    def _read(self, process: Process, context: Context) -> None:
        if context.request is not None:
            request, context.request = context.request, None
            known = {source.text for source in context.sources}
            context.sources += [s for s in self._prompt(process, request, context.sources) if s.text not in known]
            context.sources += [s for s in self._results(process, request, context) if s.text not in known]

    def _context(self, process: Process) -> Context:
        context = self._contexts.get(process)
        if context is None:
            context = self._contexts[process] = Context([self._definition(process)])
        if context.turn != process.turn:  # of an earlier turn only its origins: the process may have kept anything
            self._read(process, context)
            kept = [Source(origin, False, "") for origin in context.untrusted()] if context.turn >= 0 else []
            context.turn, context.sources = process.turn, [context.sources[0], *kept]
        return context

    def _definition(self, process: Process) -> Source:
        """What a process was made with: of a program that has read something untrusted, it may be made of that."""
        parent, text = process.up, _defined(process.args)
        made_of = self.of(parent).untrusted() if parent is not None and parent.service is None else ()
        return Source(_told(f"process {parent.pid}", made_of) if parent else "definition", not made_of, text)

    def _prompt(self, process: Process, request: GenerateRequest, given: list[Source]) -> Iterator[Source]:
        """The sources in a prompt: who may direct the agent has its own roles there, but for what it was sent."""
        for message in request.messages:
            text = message.text
            if message.role == "system":
                own, _, summary = text.partition(SUMMARY)
                yield Source("definition", True, own)
                if summary:
                    yield Source("memory", False, summary)
            elif message.role == "user" and message.name == RELAYED:
                yield Source("agent", False, text)
            elif message.role == "user" and not any(not s.trusted and text in s.text for s in given):
                yield Source("user", True, text)

    def _results(self, process: Process, request: GenerateRequest, context: Context) -> list[Source]:
        """The results of tools in a prompt, judged when all else that stands there is known."""
        calls: dict[str | None, list[Json]] = {}  # a model makes the ids up: one may stand for several calls
        for call in (call for message in request.messages for call in message.tool_calls):
            calls.setdefault(call.id, []).append(call.arguments)

        def source(message: Message) -> Source:
            tool, asked = message.name or "", calls.get(message.tool_call_id)
            trusted = asked is not None and self._directs(context, process, tool, asked)
            return Source(f"tool {tool}", trusted, message.text)

        return [source(message) for message in request.messages if message.role == "tool"]

    def _directs(self, context: Context, process: Process, tool: str, arguments: Json) -> bool:
        """Whether a result may direct a process: that of a trusted tool, as far as what it was asked may.

        A calculator computes any amount, and a clock's complaint repeats the zone that it does not know.
        """
        given = leaves(arguments, self._names(tool))
        return self._trusts(process, tool) and all(context.origin(each, True) is None for each in given)


def _received(envelope: Envelope) -> list[Source]:
    """People are trusted; agents are what they read.

    In a conversation that is sent, tools' answers are not the user's words, nor are the assistant's: an answer may
    have copied what a page said in a turn that we see no more of.
    """
    body = envelope.body
    if envelope.sender:
        made_of = list(envelope.origins)
        if not made_of and isinstance(body, Mapping) and "error" in body:
            made_of = ["an error"]  # the kernel's answer for one that failed, with whatever its failure repeats
        return [Source(_told(f"agent {envelope.sender}", made_of), not made_of, written(body))]
    if not isinstance(body, Mapping) or not isinstance(body.get("messages"), list):
        return [Source("user", True, written(body))]
    told = [(str(message.get("role")), written(message.get("content"))) for message in body["messages"]]
    return [
        Source("user", True, text) if role in _DIRECTING else Source(f"{role} of the caller", False, text)
        for role, text in told
    ]


def _told(who: str, made_of: Iterable[str]) -> str:
    """An origin with what it had read: by the first of each chain, for two that talk would double it every time."""
    first = {one for each in made_of for one in _MADE_OF.sub(r"\1", each).split(", ")}
    return f"{who} ({', '.join(sorted(first))})" if first else who


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
