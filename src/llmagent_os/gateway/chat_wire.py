"""Answers in the words of OpenAI's chat and completion APIs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence

from ..core import codec
from ..core.records import Chunk, Generation, Json, TokenLogprob, ToolCall, Usage

DONE = b"data: [DONE]\n\n"

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "cancelled": "stop"}


def event(data: Json) -> bytes:
    """A server-sent event."""
    return b"data: " + codec.dumps(data) + b"\n\n"


def usage(answers: Sequence[Generation]) -> dict[str, Json]:
    """What all answers of a request took together."""
    total = sum((answer.usage for answer in answers), Usage())
    return {
        "prompt_tokens": total.input_tokens,
        "completion_tokens": total.output_tokens,
        "total_tokens": total.input_tokens + total.output_tokens,
        "prompt_tokens_details": {"cached_tokens": total.cached_tokens},
    }


def logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Json] | None:
    """Log-probabilities as chats carry them; None where there are none."""
    if not tokens:
        return None
    return {
        "content": [
            {**_token(p.token, p.logprob), "top_logprobs": [_token(text, value) for text, value in p.top]}
            for p in tokens
        ],
        "refusal": None,
    }


def _token(text: str, value: float) -> dict[str, Json]:
    return {"token": text, "logprob": value, "bytes": list(text.encode())}


def called(calls: Sequence[ToolCall]) -> list[dict[str, Json]]:
    """Tool calls as messages carry them."""
    return [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": codec.dumps(c.arguments).decode()}}
        for c in calls
    ]


def _found(answer: Generation) -> dict[str, Json]:
    """What a search or an explanation adds to a choice; beyond OpenAI's API, so only where it was asked for."""
    found: dict[str, Json] = {}
    if answer.alternatives:
        found["alternatives"] = [{"text": each.text, "score": each.score} for each in answer.alternatives]
    if answer.explanation is not None:
        found["explanation"] = answer.explanation
    return found


class Chat:
    """The answers to one chat request, of a service tier. With `single` at most one tool call of each is kept."""

    kind, mark = "chat.completion", "chatcmpl"

    def __init__(self, model: str, tier: str | None = None, single: bool = False) -> None:
        self._head = {"id": f"{self.mark}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        if tier is not None:
            self._head["service_tier"] = tier
        self._limit = 1 if single else None
        self._begun: set[int] = set()

    def whole(self, answers: Sequence[Generation]) -> dict[str, Json]:
        """The answer that is not streamed."""
        choices = [self._choice(i, answer) for i, answer in enumerate(answers)]
        return {**self._head, "object": self.kind, "choices": choices, "usage": usage(answers)}

    def _choice(self, i: int, answer: Generation) -> dict[str, Json]:
        message: dict[str, Json] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.tool_calls:
            message["content"] = answer.text or None
            message["tool_calls"] = called(answer.tool_calls[: self._limit])
        choice = {"index": i, "message": message, "logprobs": logprobs(answer.logprobs)}
        return {**choice, "finish_reason": _FINISH[answer.finish], **_found(answer)}

    def piece(self, i: int, piece: Chunk | Generation) -> bytes:
        """The events for a piece of answer number i."""
        delta: dict[str, Json] = {}
        if i not in self._begun:
            self._begun.add(i)
            delta = {"role": "assistant", "content": ""}
        if isinstance(piece, Generation):
            return self._event(i, delta, None, _FINISH[piece.finish], _found(piece))
        if piece.text:
            delta["content"] = piece.text
        if piece.tool_calls:
            calls = called(piece.tool_calls[: self._limit])
            delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls)]
        return self._event(i, delta, logprobs(piece.logprobs), None) if delta else b""

    def _event(
        self, i: int, delta: Json, tokens: Json, finish: str | None, found: Mapping[str, Json] | None = None
    ) -> bytes:  # fmt: skip
        choice = {"index": i, "delta": delta, "logprobs": tokens, "finish_reason": finish, **(found or {})}
        return event({**self._head, "object": f"{self.kind}.chunk", "choices": [choice]})

    def usage(self, answers: Sequence[Generation]) -> bytes:
        """The event that carries the usage."""
        return event({**self._head, "object": f"{self.kind}.chunk", "choices": [], "usage": usage(answers)})


class Completion(Chat):
    """The answers to one raw completion request."""

    kind, mark = "text_completion", "cmpl"

    def _choice(self, i: int, answer: Generation) -> dict[str, Json]:
        return _text_choice(i, answer.text, answer.logprobs, _FINISH[answer.finish]) | _found(answer)

    def piece(self, i: int, piece: Chunk | Generation) -> bytes:
        """The event for a piece of answer number i."""
        if isinstance(piece, Generation):
            return self._text_event(_text_choice(i, "", (), _FINISH[piece.finish]) | _found(piece))
        return self._text_event(_text_choice(i, piece.text, piece.logprobs, None)) if piece.text else b""

    def _text_event(self, choice: Json) -> bytes:
        return event({**self._head, "object": self.kind, "choices": [choice]})

    def usage(self, answers: Sequence[Generation]) -> bytes:
        """The event that carries the usage."""
        return event({**self._head, "object": self.kind, "choices": [], "usage": usage(answers)})


def _text_choice(i: int, text: str, tokens: Sequence[TokenLogprob], finish: str | None) -> dict[str, Json]:
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token.token)
    found = tokens and {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) for token in tokens],
        "text_offset": offsets,
    }
    return {"index": i, "text": text, "logprobs": found or None, "finish_reason": finish}
