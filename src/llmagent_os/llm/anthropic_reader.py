"""Reads an answer of Anthropic's Messages API, whole or streamed; what servers write oddly is taken as it is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core import codec
from ..core.records import FinishReason, GenerateRequest, ToolCall
from .wire import Halves, arguments, call_id, is_object, text_of, unwrapped, words

_FINISH: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}


@dataclass(slots=True)
class PartialCall:
    """A tool call as far as it has come; `given` is the input that its beginning had, in case none follows."""

    id: str
    name: str
    given: str
    input: list[str] = field(default_factory=list)  # in pieces

    @property
    def arguments(self) -> str:
        """The input as JSON text."""
        return "".join(self.input) or self.given


class Reader:
    """Adds up an answer as it comes: pieces of text at once, tool calls and choices when they are whole."""

    def __init__(self, request: GenerateRequest) -> None:
        self.finish: FinishReason | None = None
        self.stopped: str | None = None
        self.usage: dict[str, Any] = {}
        self._said: list[str] = []  # the text that was passed on, where the request has a schema
        self._schema = request.schema is not None
        self._choices = request.choices
        self._kept: list[str] = []
        self._halves = Halves()
        self._calls: list[PartialCall] = []
        self._at: dict[Any, PartialCall] = {}  # by the index of the block

    @property
    def said(self) -> str:
        """The text that was passed on, where the request has a schema."""
        return "".join(self._said)

    def whole(self, answer: Mapping[str, Any]) -> str:
        """Read an answer that was not streamed and return its text."""
        return self._message(answer) + self.rest()

    def piece(self, event: Mapping[str, Any]) -> str:
        """Read one event of a stream and return the text to pass on."""
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event.get("index"), event["delta"])
        if kind == "content_block_start":
            return self._block(event.get("index"), event["content_block"])
        if kind == "message_start":
            self._end(event.get("message") or {})
        elif kind == "message_delta":
            self._end({**(event.get("delta") or {}), "usage": event.get("usage")})
        elif kind == "message_stop":
            self.finish = self.finish or "stop"
        elif kind == "message":  # whole, though a stream was asked for
            return self._message(event)
        return ""

    def _message(self, answer: Mapping[str, Any]) -> str:
        self._end(answer)
        self.finish = self.finish or "stop"
        content = answer["content"] or ()
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return "".join(self._block(i, block) for i, block in enumerate(blocks))

    def _block(self, index: Any, block: Mapping[str, Any]) -> str:
        if block["type"] == "tool_use":
            given = block.get("input")
            text = given if isinstance(given, str) else codec.dumps(given).decode() if given else ""
            part = PartialCall(text_of(block.get("id") or ""), text_of(block["name"]), text)
            self._calls.append(part)
            self._at[index] = part
        return self._passed(block.get("text")) if block["type"] == "text" else ""

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> str:
        if delta["type"] == "input_json_delta":
            call = self._at.get(index)
            if call is not None:
                call.input.append(delta.get("partial_json") or "")
        return self._passed(delta.get("text")) if delta["type"] == "text_delta" else ""

    def _passed(self, said: Any) -> str:
        """What is passed on of a text at once: nothing of a choice, which comes wrapped."""
        text = self._halves.add(words(said))
        if self._choices:
            self._kept.append(text)
            return ""
        if self._schema:
            self._said.append(text)
        return text

    def _end(self, message: Mapping[str, Any]) -> None:
        self.usage.update({name: count for name, count in (message.get("usage") or {}).items() if count is not None})
        if reason := message.get("stop_reason"):
            self.finish = _FINISH.get(reason, "stop")
            self.stopped = message.get("stop_sequence")

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, whole. One that the length cut off is none."""
        whole = (part for part in self._calls if self.finish != "length" or is_object(part.arguments or "{}"))
        return tuple(ToolCall(p.id or call_id(), p.name, arguments(p.name, p.arguments)) for p in whole)

    def rest(self) -> str:
        """What was kept back: half of a character, and the choice out of its wrapping."""
        text = self._halves.rest()
        if self._schema:
            self._said.append(text)
        if self._choices:
            return unwrapped("".join(self._kept) + text, self._choices)
        return text
