"""Answers in the words of Anthropic's Messages API, whole and in events."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ..core import codec
from ..core.records import Chunk, Generation, Json, ToolCall, Usage
from .forms import anthropic_body

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "cancelled": "end_turn"}


class Wire:
    """One message as it comes into being. With `single` at most one tool is called.

    `left_out` is what the request asked for in vain; where there is any, the message says so in a field of that name.
    """

    def __init__(self, model: str, single: bool = False, left_out: Sequence[str] = ()) -> None:
        more = {"left_out": list(left_out)} if left_out else {}
        self._head = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": model, **more}
        self.read = 0  # tokens of the prompt, where that is known before the answer
        self._limit = 1 if single else None
        self._index = -1  # of the last block that was begun
        self._open = False  # whether that is text and may go on

    def whole(self, answer: Generation) -> dict[str, Json]:
        """The answer that is not streamed."""
        blocks: list[Json] = [{"type": "text", "text": answer.text}] if answer.text else []
        blocks += [_block(call) | {"input": call.arguments} for call in answer.tool_calls[: self._limit]]
        return {**self._head, "content": blocks, **_ended(answer), "usage": _usage(answer.usage)}

    def begin(self) -> bytes:
        """The event before the first piece."""
        usage = _usage(Usage(self.read))
        message = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _event("message_start", message=message)

    def pulse(self) -> bytes:
        """A sign of life."""
        return _event("ping")

    def piece(self, piece: Chunk | Generation) -> bytes:
        """The events for a piece."""
        if isinstance(piece, Generation):
            return self._close() + _event("message_delta", delta=_ended(piece), usage=_usage(piece.usage)) + _END
        events = self._text(piece.text) if piece.text else b""
        return events + b"".join(map(self._call, piece.tool_calls[: self._limit]))

    def _text(self, text: str) -> bytes:
        begun = b"" if self._open else self._start({"type": "text", "text": ""})
        self._open = True
        return begun + self._delta({"type": "text_delta", "text": text})

    def _call(self, call: ToolCall) -> bytes:
        begun = self._close() + self._start(_block(call) | {"input": {}})
        whole = codec.dumps(call.arguments).decode()
        return begun + self._delta({"type": "input_json_delta", "partial_json": whole}) + self._stop()

    def _start(self, block: dict[str, Json]) -> bytes:
        self._index += 1
        begun = _event("content_block_start", index=self._index, content_block=block)
        return begun if self._index else begun + self.pulse()

    def _delta(self, delta: dict[str, Json]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _stop(self) -> bytes:
        return _event("content_block_stop", index=self._index)

    def _close(self) -> bytes:
        was, self._open = self._open, False
        return self._stop() if was else b""

    def failed(self, error: BaseException) -> bytes:
        """The event that ends an answer which broke off."""
        return _event("error", **anthropic_body(error))


def _event(kind: str, **data: Json) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + codec.dumps({"type": kind, **data}) + b"\n\n"


_END = _event("message_stop")


def _block(call: ToolCall) -> dict[str, Json]:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _ended(answer: Generation) -> dict[str, Json]:
    reason = "stop_sequence" if answer.stopped else _STOP[answer.finish]
    return {"stop_reason": reason, "stop_sequence": answer.stopped}


def _usage(usage: Usage) -> dict[str, Json]:
    """What was found in a cache is counted apart."""
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
