"""Masking: what leaves for a remote model or a tool carries tokens instead of values, and comes back filled in.

    text -> recognisers, and a sweep for every value that the tenant's vault knows -> `<EMAIL_7KQ2MX5D>` -> the model
    answer <- the tokens of this very call, wherever the stream was cut

Only what was masked in a call is filled in by it: what looks like a token and was written by somebody else is masked
like any other value, so that a page cannot have the model carry somebody's data to where the page wants it.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from operator import is_not
from pathlib import Path
from typing import Any, TypeVar

from ..core import extras
from ..core.errors import ContextOverflow, InvalidRequest
from ..core.ports import Proceed
from ..core.records import LETTERS, Call, Chunk, EmbedRequest, GenerateRequest, Generation, Json, ToolCall
from ..core.remembered import remembered
from ..core.secrets import places
from .folding import matches
from .recognisers import Recogniser, Span, apart, recognise
from .vault import Vault

TOKEN = re.compile(r"<[A-Z]{2,12}_[A-Z2-7]{8}>", re.IGNORECASE | re.ASCII)
_LONGEST = 23  # characters of a token
Said = TypeVar("Said", Chunk, Generation)
T = TypeVar("T")
_LARGE = 10**8  # a number from here on may be an account or a phone number
LONG = 20_000  # characters, from which on a thread does the looking
FEW = 512  # places of a shorter text that are tried on the loop: one that is all numbers goes to the thread, too
PLACES = 40_000  # of one call, at which a value may begin: with more a text takes seconds, and is refused
VALUES = 5000  # of one call: each that is new is encrypted and kept
LOGGED = 4000  # characters of a log record
_REMEMBERED = 2048  # texts whose spans are remembered: a conversation comes again with every turn
_LARGEST = 1 << 16  # characters of one of them
_MOST = 1 << 23  # characters that any model there is could read, where nobody says how long its window is

_OURS = frozenset({"model", "adapter", "role", "service", "needs", "strategy", "scorer", "type"})
"""Fields that say which of our own parts does the work, or of what form something is."""
_SILENT = frozenset({type(None), bool, int, float})  # kinds of values in which nothing is said
_NAMES = frozenset({"name", "id", "tool_call_id", "tool_choice"})
"""Fields in which servers take letters, digits, `_` and `-` only: a token stands there without its brackets."""
_PICTURES = frozenset({"url", "data", "file_data"})
"""Fields of parts that are no text: what they hold is sent as it is."""


# -- long texts, off the loop

_ASIDE = ThreadPoolExecutor(2, "masking")  # no more: they all take turns at one interpreter


class _Few:
    """Counts the places that are tried on the loop."""

    def __init__(self) -> None:
        self._left = FEW

    def __call__(self, places: int) -> None:
        self._left -= places
        if self._left < 0:
            raise _Elsewhere


class _Elsewhere(Exception):
    """There are more places to try than the loop has time for."""


class _Rests:
    """Counts the places that are tried in a thread, and lets others have their turn after some two milliseconds."""

    def __init__(self) -> None:
        self._left = PLACES
        self._since = time.monotonic()

    def __call__(self, places: int) -> None:
        self._left -= places
        if self._left < 0:
            text = f"the text has more than {PLACES:,} places where a number, a key or a name may begin, which is more"
            raise InvalidRequest(f"{text} than can be looked through for what is private; send it in parts")
        if time.monotonic() - self._since > 0.002:
            time.sleep(0.0005)
            self._since = time.monotonic()


_between: contextvars.ContextVar[Callable[[int], object]] = contextvars.ContextVar("between", default=int)


async def aside(work: Callable[[], T], size: int) -> T:
    """Do what takes longer the larger a text is: where it is long, or all numbers, in a thread that leaves the loop its

    turns, and from the beginning. Raises InvalidRequest for a text in which values may begin at too many places.
    """
    if size <= LONG:
        counted = _between.set(_Few())
        try:
            return work()
        except _Elsewhere:
            pass
        finally:
            _between.reset(counted)
    context = contextvars.copy_context()
    context.run(_between.set, _Rests())
    return await asyncio.get_running_loop().run_in_executor(_ASIDE, context.run, work)


def recognised(text: str) -> list[Span]:
    """The values in a text (see `recognise`); in a thread of `aside`, with rests."""
    return recognise(text, _between.get())


@lru_cache
def _fields(record: type) -> tuple[str, ...]:
    """The fields of a record whose texts leave with it; none of what is no record."""
    return tuple(each.name for each in fields(record) if each.name not in _OURS) if is_dataclass(record) else ()


def _characters(what: Any) -> int:
    """How much text there is to look through; pictures are none."""
    count, left = 0, [what]
    while left:
        each = left.pop()
        if isinstance(each, str):
            count += len(each)
        elif isinstance(each, list | tuple):
            left += each
        elif names := _fields(each.__class__):
            left += (part for name in names if (part := getattr(each, name)) is not None)
        elif isinstance(each, Mapping):
            left += each
            left += (value for key, value in each.items() if key not in _PICTURES or not isinstance(value, str))
    return count


class Restorer:
    """Fills values in for tokens in a text that comes in pieces."""

    def __init__(self, tokens: Mapping[str, str], written: Callable[[str], str] = str) -> None:
        """`written` says how a value is written where the text goes on (escaped, within JSON)."""
        self._tokens, self._written = tokens, written
        self._sorted = sorted(tokens)
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be said after one more piece: all but an end that may be the beginning of a token."""
        text = self._held + text
        cut = self._cut(text)
        self._held = text[cut:]
        return self.fill(text[:cut])

    def flush(self) -> str:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        return held

    def fill(self, text: str) -> str:
        """A whole text with its values."""
        return TOKEN.sub(self._value, text) if "<" in text else text

    def _value(self, match: re.Match[str]) -> str:
        value = self._tokens.get(match[0].upper())
        return match[0] if value is None else self._written(value)

    def _cut(self, text: str) -> int:
        place = text.rfind("<")
        if place < 0 or len(text) - place > _LONGEST or text[-1] == ">":
            return len(text)
        tail = text[place:].upper()
        nearest = bisect_left(self._sorted, tail)
        return place if any(each.startswith(tail) for each in self._sorted[nearest : nearest + 1]) else len(text)


class Passage:
    """One call's way out and back: `tokens` are those that were put in, with their values."""

    def __init__(self, vault: Vault, tenant: str, find: Callable[[str], Sequence[Span]]) -> None:
        self.tokens: dict[str, str] = {}
        self.names: dict[str, str] = {}  # what stands for a name that holds a value, and the name
        self._vault, self._tenant, self._find = vault, tenant, find
        self._known = vault.known(tenant)

    # -- out

    def mask(self, text: str, cue: str = "") -> str:
        """A text with tokens for values. `cue` is what stands before it, such as the name of a field."""
        shift = len(cue)
        found = (Span(max(0, s.start - shift), s.end - shift, s.kind) for s in self._find(cue + text) if s.end > shift)
        tokens = matches(TOKEN, text) if "<" in text else ()
        planted = (Span(match.start(), match.end(), "TOKEN") for match in tokens)
        parts, end = [], 0
        for span in apart([*found, *planted, *given(text), *self._known.find(text)]):
            value = text[span.start : span.end]
            token = self._vault.token(self._tenant, span.kind, value)
            self.tokens[token] = value
            if len(self.tokens) > VALUES:
                raise InvalidRequest(f"the text has more than {VALUES:,} values to be masked; send it in parts")
            parts += [text[end : span.start], token]
            end = span.end
        return "".join(parts) + text[end:] if parts else text

    def json(self, value: Json, cue: str = "") -> Json:
        """JSON data with tokens for values; a field's name says what is in it."""
        if isinstance(value, str):
            return self.mask(value, cue)
        if isinstance(value, Mapping):
            return {self.mask(key): self.json(item, f"{key}: ") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.json(item, cue) for item in value]
        if isinstance(value, int) and abs(value) >= _LARGE:
            masked = self.mask(str(value), cue)
            return value if masked == str(value) else masked
        return value

    def record(self, value: Any, name: str = "") -> Any:
        """A request, or a part of one, that says nothing of what was recognised, in whatever field it stands.

        Pictures are not looked into.
        """
        if isinstance(value, str):
            return self._named(value) if name in _NAMES else self.mask(value)
        if isinstance(value, tuple):
            masked = tuple(self.record(each, name) for each in value)
            return masked if any(map(is_not, masked, value)) else value
        if isinstance(value, list):
            return [self._part(each) for each in value]
        if names := _fields(value.__class__):
            changes = {}
            for each in names:
                part = getattr(value, each)
                if part.__class__ not in _SILENT and (new := self.record(part, each)) is not part:
                    changes[each] = new
            return replace(value, **changes) if changes else value
        return self.json(value) if isinstance(value, Mapping) else value

    def _named(self, name: str) -> str:
        masked = self.mask(name)
        if masked == name:
            return name
        sent = TOKEN.sub(lambda match: match[0][1:-1], masked)
        self.names[sent] = name
        return sent

    def _part(self, part: Json, field: str = "") -> Json:
        """A part of a message that has several."""
        if isinstance(part, Mapping):
            return {key: item if key in _OURS else self._part(item, key) for key, item in part.items()}
        if isinstance(part, list):
            return [self._part(item, field) for item in part]
        return self.mask(part) if isinstance(part, str) and field not in _PICTURES else part

    # -- back

    def restorer(self, request: GenerateRequest) -> Restorer:
        """For the answer to a request; within JSON that a schema asked for, values are escaped."""
        return Restorer(self.tokens, str if request.schema is None else _escaped)

    def filled(self, value: Json) -> Json:
        """JSON data with its values."""
        if isinstance(value, str):
            return Restorer(self.tokens).fill(value)
        if isinstance(value, Mapping):
            return {self.filled(key): self.filled(item) for key, item in value.items()}
        return [self.filled(item) for item in value] if isinstance(value, list | tuple) else value

    def back(self, answer: Said, text: str, restorer: Restorer) -> Said:
        """An answer, or a piece of one, with values. Log-probabilities stay those of what the model said."""
        others = tuple(replace(each, text=restorer.fill(each.text)) for each in answer.alternatives)
        calls = tuple(
            ToolCall(call.id, self.names.get(call.name, call.name), self.filled(call.arguments))
            for call in answer.tool_calls
        )
        return replace(answer, text=text, tool_calls=calls, alternatives=others)

    def chunk(self, chunk: Chunk, restorer: Restorer) -> Chunk:
        """A piece of the answer with values; what was held back comes with the last one at the latest."""
        text = restorer.feed(chunk.text)
        return self.back(chunk, text if chunk.finish is None else text + restorer.flush(), restorer)


def _escaped(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


class Masking:
    """A filter: masks `generate`, `measure` and `embed` for remote models, and `call` for the tools that are named.

    The call is changed for the handler only. Its key was computed before, the journal keeps what the agent said, and
    what lies outside of this filter sees the original again. So put it last: what is inside sees tokens.
    """

    def __init__(
        self, vault: Vault, remote: Callable[[str], bool], exposed: Callable[[str], bool] = lambda tool: False,
        recognisers: Sequence[Recogniser] = (), window: Callable[[str], int] = lambda model: 0,
    ) -> None:  # fmt: skip
        """`remote` says which models, `exposed` which tools are somebody else's. `recognisers` come on top of ours.

        `window` is the tokens that a model can read; 0 where that is not known.
        """
        self._vault, self._remote, self._exposed, self._window = vault, remote, exposed, window
        self._recognisers = recognisers
        self._find = remembered(_REMEMBERED, _LARGEST)(self._spans)

    def _spans(self, text: str) -> tuple[Span, ...]:
        return tuple(apart([*recognised(text), *(span for each in self._recognisers for span in each(text))]))

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """See `core.ports.Filter`."""
        request = call.args.get("request")
        if isinstance(request, GenerateRequest | EmbedRequest) and self._remote(request.model):
            return await self._ask(call, request, proceed)
        if call.name == "call" and self._exposed(call.args["tool"]):
            passage = Passage(self._vault, call.tenant, self._find)
            arguments = call.args["arguments"]
            arguments = await self._masked(passage.json, arguments, _characters(arguments))
            return passage.filled(await changed(call, proceed, arguments=arguments))
        return await proceed(call)

    async def _ask(self, call: Call, request: GenerateRequest | EmbedRequest, proceed: Proceed) -> Any:
        window, length = self._window(request.model), _characters(request)
        size = max(map(len, request.texts), default=0) if isinstance(request, EmbedRequest) else length
        if size > (window * LETTERS or _MOST):
            tokens = size // 4
            if call.name == "measure" and window:
                return [tokens, window]
            text = f"the prompt has {size:,} characters, more than the window of {request.model!r} holds; shorten it"
            raise ContextOverflow(text, tokens=tokens, window=window)
        passage = Passage(self._vault, call.tenant, self._find)
        masked = await self._masked(passage.record, request, length)
        if isinstance(request, EmbedRequest):
            return await changed(call, proceed, request=masked)
        stream, restorer = call.stream, passage.restorer(request)
        if stream is not None:
            call.stream = lambda chunk: stream(passage.chunk(chunk, restorer))
        try:
            answer = await changed(call, proceed, request=masked)
        finally:
            call.stream = stream
        return passage.back(answer, restorer.fill(answer.text), restorer) if isinstance(answer, Generation) else answer

    async def _masked(self, mask: Callable[[Any], Any], what: Any, length: int) -> Any:
        """What is masked, once its tokens are kept. Long texts are looked through in a thread, as by models."""
        masked = await aside(lambda: mask(what), LONG + 1 if self._recognisers else length)
        await self._vault.kept()
        return masked


async def changed(call: Call, proceed: Proceed, **args: Any) -> Any:
    """Let a call proceed with other arguments, which nobody outside of it sees."""
    given, call.args = call.args, {**call.args, **args}
    try:
        return await proceed(call)
    finally:
        call.args = given


def given(text: str) -> Iterator[Span]:
    """Where a secret that the system itself was given stands in a text: it is known, not guessed."""
    return (Span(start, end, "KEY") for start, end in places(text))


def scrubbed(text: str, spare: Sequence[str] = ("NAME",)) -> str:
    """A text with `<KIND>` for every value, for good."""
    parts, end = [], 0
    for span in apart([*recognised(text), *given(text)]):
        if span.kind not in spare:
            parts += [text[end : span.start], f"<{span.kind}>"]
            end = span.end
    return "".join(parts) + text[end:] if parts else text


def logged(text: str) -> str:
    """What of a text goes into a log: no values, and of a long one the beginning, for it is looked through at once."""
    more = len(text) - LOGGED
    return scrubbed(text) if more <= 0 else f"{scrubbed(text[:LOGGED])}... ({more:,} characters more)"


class CleanLogs(logging.Filter):
    """Takes keys and values out of log records, tracebacks included. It belongs to handlers: loggers hand theirs on."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always let through."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # logging would print the arguments as they are, to say that they do not fit
            message = f"{record.msg} (with arguments that do not fit)"
        record.msg, record.args = logged(message), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = logged(record.exc_text)
        if record.stack_info:
            record.stack_info = logged(record.stack_info)
        return True


_PRESIDIO = {"PERSON": "NAME", "LOCATION": "PLACE", "ORGANIZATION": "ORG", "NRP": "GROUP", "CRYPTO": "WALLET"}


class Presidio:
    """A recogniser of what `presidio-analyzer` finds, with the model that its owner chose."""

    def __init__(
        self, analyzer: Any, language: str = "en", least: float = 0.5, kinds: Mapping[str, str] = _PRESIDIO
    ) -> None:
        """`analyzer` is an AnalyzerEngine; `least` the score that counts; `kinds` names tokens by entity type."""
        self._analyzer, self._language, self._least, self._kinds = analyzer, language, least, kinds

    @classmethod
    def load(cls, configuration: Path, language: str = "en") -> Presidio:
        """Open the analyzer that a presidio configuration file describes; raises MissingExtra without the library."""
        provider = extras.imported("presidio_analyzer", "presidio", "presidio").AnalyzerEngineProvider
        return cls(provider(analyzer_engine_conf_file=configuration).create_engine(), language)

    def __call__(self, text: str) -> Iterable[Span]:
        """See `recognisers.Recogniser`."""
        for found in self._analyzer.analyze(text=text, language=self._language):
            if found.entity_type in self._kinds and found.score >= self._least:
                yield Span(found.start, found.end, self._kinds[found.entity_type])
