"""Reads an answer of OpenAI's API, whole or streamed; what servers write oddly is taken as it is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core import codec
from ..core.errors import EngineFailed
from ..core.records import Chunk, FinishReason, GenerateRequest, TokenLogprob, ToolCall
from .wire import Halves, arguments, call_id, is_object, likelihood, text_of, unwrapped, words

_FINISH: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
}
"""How servers say why they ended; all else is "stop"."""

CALLS = 1000  # of one answer
SPECIAL = 64  # tokens of a piece that are not of its text
LOOKS = 64  # at whether the arguments of a call are whole before its server says so


@dataclass(slots=True)
class PartialCall:
    """A tool call as far as it has come."""

    id: str = ""
    name: str = ""
    size: int = 0  # characters of its arguments
    looks: int = 0
    _pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """What has come of them; in time that grows with their length."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def add(self, text: str) -> None:
        """Another piece of the arguments."""
        self._pieces.append(text)
        self.size += len(text)

    def replace(self, text: str) -> None:
        """All of the arguments."""
        self._pieces, self.size = [text], len(text)

    def is_whole(self) -> bool:
        """Whether the arguments are a whole object. Who asks too often is told that they are not: it takes as long as

        they are.
        """
        self.looks += 1
        return self.looks <= LOOKS and is_object(self.arguments)


class Reader:
    """Adds up an answer as it comes: pieces of text at once, tool calls and choices when they are whole."""

    def __init__(self, request: GenerateRequest, unwrap: bool) -> None:
        self.finish: FinishReason | None = None
        self.usage: dict[str, Any] = {}
        self.length = 0
        self._said: list[str] = []  # the text that was passed on, where the request has a schema
        self._schema = request.schema is not None
        self._choices = request.choices if unwrap else None
        self._kept: list[str] = []
        self._halves = Halves()
        self._calls: list[PartialCall] = []
        self._at: dict[Any, PartialCall] = {}  # by index, which is the server's word
        self._old: PartialCall | None = None

    @property
    def said(self) -> str:
        """The text that was passed on, where the request has a schema."""
        return "".join(self._said)

    def whole(self, answer: Mapping[str, Any]) -> Chunk:
        """Read an answer that was not streamed."""
        if not answer.get("choices"):
            raise EngineFailed(f"the server answered without choices: {str(answer)[:200]}; is it OpenAI-compatible?")
        chunk = self.piece(answer)
        return Chunk(chunk.text + self.rest(), chunk.logprobs)

    def piece(self, event: Mapping[str, Any]) -> Chunk:
        """Read one event of a stream."""
        self.usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
        choice = (event.get("choices") or [None])[0]
        if choice is None:
            return Chunk()
        return self._take(choice, choice.get("delta") or choice.get("message") or {})

    def done(self) -> Chunk:
        """The stream says it has ended; not every server gave a reason before."""
        self.finish = self.finish or "stop"
        return Chunk()

    def _take(self, choice: Mapping[str, Any], message: Mapping[str, Any]) -> Chunk:
        said = words(message.get("content") or message.get("refusal") or choice.get("text"))
        text = self._passed(self._halves.add(said))
        calls = message.get("tool_calls") or ()
        for part in [calls] if isinstance(calls, Mapping) else calls:
            if part:
                self._add(part)
        if old := message.get("function_call"):
            self._add_old(old)
        if reason := choice.get("finish_reason"):
            self.finish = _FINISH.get(text_of(reason).lower(), "stop")
        return Chunk(text, _logprobs(choice.get("logprobs"), 4 * len(said) + SPECIAL))

    def _passed(self, text: str) -> str:
        """What is passed on of a text at once: nothing of a choice, which comes wrapped."""
        self.length += len(text)
        if self._choices:
            self._kept.append(text)
            return ""
        if self._schema:
            self._said.append(text)
        return text

    def _add(self, part: Mapping[str, Any]) -> None:
        function = part.get("function") or part
        name, given = text_of(function.get("name") or ""), function.get("arguments")
        id = text_of(part.get("id") or "")
        call = self._call(part.get("index"), id, name)
        call.id, call.name = call.id or id, call.name or name
        self._write(call, given)

    def _write(self, call: PartialCall, given: Any) -> None:
        """Add to the arguments; some servers send them as an object, or once more when they are whole."""
        if isinstance(given, str):
            if len(given) != call.size or given != call.arguments or not is_object(given):
                call.add(given)
                self.length += len(given)
        elif given:
            call.replace(codec.dumps(given).decode())
            self.length += call.size

    def _call(self, index: Any, id: str, name: str) -> PartialCall:
        """The call that a part belongs to: by its index, where there is one and it is not that of a call before."""
        known = self._at.get(index) if index is not None else None
        if known is None and index is None:
            known = next((call for call in self._calls if id and call.id == id), None)
            if known is None and not id and self._calls:
                known = self._calls[-1]
        if known is None or self._begins(known, id, name):
            known = self._new()
        if index is not None:
            self._at[index] = known
        return known

    def _new(self) -> PartialCall:
        if len(self._calls) >= CALLS:
            raise EngineFailed(f"the model called more than {CALLS} tools at once; ask again")
        self._calls.append(PartialCall())
        return self._calls[-1]

    def _begins(self, call: PartialCall, id: str, name: str) -> bool:
        """Whether a part begins a call of its own, though its index or place is that of another one.

        A name and another id say so, unless that one's arguments are still to go on; without ids, that they are whole.
        """
        if not name or not call.name:
            return False
        if id and call.id and id != call.id:
            return not call.size or call.is_whole()
        return not (id and call.id) and call.is_whole()

    def _add_old(self, part: Mapping[str, Any]) -> None:
        """`function_call`, as it was before `tool_calls`; a server that sends both says the same in both."""
        if self._calls and self._old is None:
            return
        if self._old is None:
            self._old = self._new()
        self._old.name = self._old.name or text_of(part.get("name") or "")
        self._write(self._old, part.get("arguments"))

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, whole. One that the length cut off is none."""
        used: set[str] = set()
        found = []
        for part in self._calls:
            if self.finish == "length" and not is_object(part.arguments or "{}"):
                continue
            if not part.name:
                raise EngineFailed("the model called a tool without a name; ask again")
            id = part.id if part.id and part.id not in used else call_id()
            used.add(id)
            found.append(ToolCall(id, part.name, arguments(part.name, part.arguments)))
        return tuple(found)

    def rest(self) -> str:
        """What was kept back: half of a character, and the choice out of its wrapping."""
        text = self._passed(self._halves.rest())
        return unwrapped("".join(self._kept), self._choices) if self._choices else text


def _logprobs(data: Mapping[str, Any] | None, most: int) -> tuple[TokenLogprob, ...]:
    """The tokens of a piece, `most` of them: there are no more than its text has bytes, and a few without text."""
    if not data:
        return ()
    if "tokens" in data:
        return _raw_logprobs(data)[:most]
    return tuple(
        TokenLogprob(
            text_of(row["token"]),
            likelihood(row["logprob"]),
            tuple((text_of(t["token"]), likelihood(t["logprob"])) for t in row.get("top_logprobs") or ()),
        )
        for row in (data.get("content") or ())[:most]
    )


def _raw_logprobs(data: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """The older shape, of `/completions`: parallel lists, the alternatives unordered."""
    tops = data.get("top_logprobs") or [None] * len(data["tokens"])
    return tuple(
        TokenLogprob(
            text_of(token),
            float(logprob or 0),
            tuple(sorted(((text_of(t), likelihood(p)) for t, p in (top or {}).items()), key=lambda pair: -pair[1])),
        )
        for token, logprob, top in zip(data["tokens"], data["token_logprobs"], tops, strict=True)
    )
