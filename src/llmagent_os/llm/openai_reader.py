"""Reads an answer of OpenAI's API, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import codec
from ..core.errors import EngineFailed
from ..core.records import Chunk, FinishReason, GenerateRequest, TokenLogprob, ToolCall
from .wire import arguments, text_of, unwrapped

_FINISH: dict[str, FinishReason] = {"length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}


class Reader:
    """Adds up an answer as it comes: pieces of text at once, tool calls and choices when they are whole."""

    def __init__(self, request: GenerateRequest, unwrap: bool) -> None:
        self.finish: FinishReason | None = None
        self.usage: Mapping[str, Any] = {}
        self.length = 0
        self._choices = request.choices if unwrap else None
        self._kept = ""
        self._parts: dict[int, dict[str, str]] = {}  # by index, which is the server's word

    def whole(self, answer: Mapping[str, Any]) -> Chunk:
        """Read an answer that was not streamed."""
        if not answer.get("choices"):
            raise EngineFailed(f"the server answered without choices: {str(answer)[:200]}; is it OpenAI-compatible?")
        choice = answer["choices"][0]
        self.usage = answer.get("usage") or {}
        return self._take(choice, choice.get("message") or {}, final=True)

    def piece(self, event: Mapping[str, Any]) -> Chunk:
        """Read one event of a stream."""
        self.usage = event.get("usage") or self.usage
        if not event.get("choices"):
            return Chunk()
        choice = event["choices"][0]
        return self._take(choice, choice.get("delta") or {}, final=False)

    def done(self) -> Chunk:
        """The stream says it has ended; not every server gave a reason before."""
        self.finish = self.finish or "stop"
        return Chunk()

    def _take(self, choice: Mapping[str, Any], message: Mapping[str, Any], final: bool) -> Chunk:
        text = text_of(message.get("content") or message.get("refusal") or choice.get("text") or "")
        self.length += len(text)
        if self._choices:
            self._kept += text
            text = self.rest() if final else ""
        for part in message.get("tool_calls") or ():
            self._add(part)
        if reason := choice.get("finish_reason"):
            self.finish = _FINISH.get(reason, "stop")
        return Chunk(text, _logprobs(choice.get("logprobs")))

    def _add(self, part: Mapping[str, Any]) -> None:
        """Some servers leave out the index; then an id starts a new call."""
        index = part.get("index", len(self._parts) if part.get("id") else max(0, len(self._parts) - 1))
        call = self._parts.setdefault(index, {"id": "", "name": "", "arguments": ""})
        function = part.get("function") or {}
        call["id"] = call["id"] or text_of(part.get("id") or f"call_{index}")
        call["name"] = call["name"] or text_of(function.get("name") or "")
        arguments = function.get("arguments") or ""
        call["arguments"] += arguments if isinstance(arguments, str) else codec.dumps(arguments).decode()
        self.length += len(arguments)

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, whole."""
        return tuple(
            ToolCall(part["id"], part["name"], arguments(part["name"], part["arguments"]))
            for _, part in sorted(self._parts.items())
        )

    def rest(self) -> str:
        """What was kept back: the choice out of its wrapping."""
        return unwrapped(self._kept, self._choices) if self._choices else ""


def _logprobs(data: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...]:
    if not data:
        return ()
    if "tokens" in data:
        return _raw_logprobs(data)
    return tuple(
        TokenLogprob(
            text_of(row["token"]),
            float(row["logprob"]),
            tuple((text_of(t["token"]), float(t["logprob"])) for t in row.get("top_logprobs") or ()),
        )
        for row in data.get("content") or ()
    )


def _raw_logprobs(data: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """The older shape, of `/completions`: parallel lists, the alternatives unordered."""
    tops = data.get("top_logprobs") or [None] * len(data["tokens"])
    return tuple(
        TokenLogprob(text_of(token), float(logprob or 0), tuple(sorted((top or {}).items(), key=lambda pair: -pair[1])))
        for token, logprob, top in zip(data["tokens"], data["token_logprobs"], tops, strict=True)
    )
