"""Reads an answer of Anthropic's Messages API, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import codec
from ..core.records import FinishReason, GenerateRequest, ToolCall
from .wire import arguments, text_of, unwrapped

_FINISH: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}


class Reader:
    """Adds up an answer as it comes: pieces of text at once, tool calls and choices when they are whole."""

    def __init__(self, request: GenerateRequest) -> None:
        self.finish: FinishReason | None = None
        self.usage: dict[str, Any] = {}
        self._choices = request.choices
        self._kept = ""
        self._tools: dict[int, dict[str, str]] = {}

    def whole(self, answer: Mapping[str, Any]) -> str:
        """Read an answer that was not streamed and return its text."""
        self._end(answer)
        text = ""
        for block in answer["content"]:
            if block["type"] == "text":
                text += text_of(block["text"])
            elif block["type"] == "tool_use":
                self._open(len(self._tools), block, codec.dumps(block["input"]).decode())
        return unwrapped(text, self._choices) if self._choices else text

    def piece(self, event: Mapping[str, Any]) -> str:
        """Read one event of a stream and return the text to pass on."""
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event["index"], event["delta"])
        if kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            self._open(event["index"], event["content_block"])
        elif kind == "message_start":
            self.usage.update(event["message"]["usage"])
        elif kind == "message_delta":
            self._end({**event["delta"], "usage": event.get("usage")})
        return ""

    def _open(self, index: int, block: Mapping[str, Any], given: str = "") -> None:
        self._tools[index] = {"id": text_of(block["id"]), "name": text_of(block["name"]), "input": given}

    def _delta(self, index: int, delta: Mapping[str, Any]) -> str:
        if delta["type"] == "input_json_delta" and index in self._tools:
            self._tools[index]["input"] += delta["partial_json"]
        if delta["type"] != "text_delta":
            return ""
        if self._choices:
            self._kept += delta["text"]
            return ""
        return text_of(delta["text"])

    def _end(self, message: Mapping[str, Any]) -> None:
        self.usage.update({name: count for name, count in (message.get("usage") or {}).items() if count is not None})
        if reason := message.get("stop_reason"):
            self.finish = _FINISH.get(reason, "stop")

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, whole."""
        return tuple(ToolCall(t["id"], t["name"], arguments(t["name"], t["input"])) for t in self._tools.values())

    def rest(self) -> str:
        """What was kept back: the choice out of its wrapping."""
        return unwrapped(self._kept, self._choices) if self._choices else ""
