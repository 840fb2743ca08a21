"""Answers in the words of OpenAI's responses API, whole and in events."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from ..core import codec
from ..core.records import Chunk, Generation, Json, TokenLogprob, ToolCall
from .chat_wire import logprobs
from .errors import openai_body
from .responses_bodies import ResponsesBody

_LONGEST = 512  # characters of a value in OpenAI's metadata


class Wire:
    """One response as it comes into being: its items so far, and the events that tell of them.

    `response` is it as it was told last. Items are named after the response, so that each is found by its name.
    """

    def __init__(self, body: ResponsesBody, model: str) -> None:
        self.hex = uuid.uuid4().hex
        self.id = f"resp_{self.hex}"
        self._limit = 1 if body.parallel_tool_calls is False else None
        self._offers = body.toolbox.offers
        self._output: list[dict[str, Json]] = []
        self._message: dict[str, Json] | None = None  # the message that is being written, last of the output
        self._tokens: list[TokenLogprob] = []
        self._number = 0
        self._head = {"id": self.id, "object": "response", "created_at": int(time.time()), **_echo(body, model)}
        self.response = self.told("queued" if body.background else "in_progress")

    def told(self, status: str, usage: Json = None, **more: Json) -> dict[str, Json]:
        """The response with a status."""
        fields = {"error": None, "incomplete_details": None, **more}
        self.response = {**self._head, "status": status, "output": self._output, "usage": usage, **fields}
        return self.response

    def _new(self, prefix: str) -> str:
        return f"{prefix}_{self.hex}_{len(self._output)}"

    def _event(self, kind: str, **data: Json) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **data}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + codec.dumps(event) + b"\n\n"

    def begin(self) -> bytes:
        """The events before the first piece."""
        started = self.told("in_progress")
        return self._event("response.created", response=started) + self._event("response.in_progress", response=started)

    def pulse(self) -> bytes:
        """A sign of life: a comment."""
        return b": still at work\n\n"

    def piece(self, piece: Chunk | Generation) -> bytes:
        """The events for a piece."""
        if isinstance(piece, Generation):
            return self._close() + self._end(piece)
        events = self._text(piece) if piece.text else b""
        if piece.tool_calls:
            events += self._close() + b"".join(map(self._call, piece.tool_calls[: self._limit]))
        return events

    def _text(self, piece: Chunk) -> bytes:
        events = b"" if self._message else self._open()
        assert self._message is not None
        self._message["content"][0]["text"] += piece.text
        self._tokens += piece.logprobs
        place = self._place(self._message)
        return events + self._event(
            "response.output_text.delta", **place, delta=piece.text, logprobs=_logprobs(piece.logprobs)
        )

    def _open(self) -> bytes:
        self._message = _message(self._new("msg"), "in_progress", "", ())
        self._output.append(self._message)
        place = self._place(self._message)
        added = self._event(
            "response.output_item.added", output_index=place["output_index"], item={**self._message, "content": []}
        )
        return added + self._event("response.content_part.added", **place, part=self._message["content"][0])

    def _place(self, item: dict[str, Json]) -> dict[str, Json]:
        return {"item_id": item["id"], "output_index": len(self._output) - 1, "content_index": 0}

    def _close(self) -> bytes:
        """Complete the message that is being written, if there is one."""
        if self._message is None:
            return b""
        message, self._message = self._message, None
        part, place = message["content"][0], self._place(message)
        part["logprobs"] = _logprobs(self._tokens)
        message["status"] = "completed"
        return (
            self._event("response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"])
            + self._event("response.content_part.done", **place, part=part)
            + self._event("response.output_item.done", output_index=place["output_index"], item=message)
        )

    def _call(self, call: ToolCall) -> bytes:
        item = self._called(call)
        index, custom = len(self._output), item["type"] == "custom_tool_call"
        field, kind = ("input", "custom_tool_call_input") if custom else ("arguments", "function_call_arguments")
        self._output.append(item)
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, field: "", "status": "in_progress"}
        done = {field: item[field]} if custom else {"name": item["name"], field: item[field]}
        return (
            self._event("response.output_item.added", output_index=index, item=begun)
            + self._event(f"response.{kind}.delta", **place, delta=item[field])
            + self._event(f"response.{kind}.done", **place, **done)
            + self._event("response.output_item.done", output_index=index, item=item)
        )

    def _called(self, call: ToolCall) -> dict[str, Json]:
        """The item of a call, in the client's words for the tool."""
        offer = self._offers.get(call.name)
        name, space = (offer.name, offer.namespace) if offer else (call.name, "")
        named = {"call_id": call.id, "name": name, **({"namespace": space} if space else {})}
        if offer is not None and offer.kind == "custom":
            item = {"id": self._new("ctc"), "type": "custom_tool_call", "status": "completed", **named}
            return item | {"input": str(call.arguments.get("input", ""))}
        item = {"id": self._new("fc"), "type": "function_call", "status": "completed", **named}
        return item | {"arguments": codec.dumps(call.arguments).decode()}

    def _end(self, answer: Generation) -> bytes:
        kind = "incomplete" if answer.finish == "length" else "completed"
        return self._event(f"response.{kind}", response=self._finished(answer))

    def _finished(self, answer: Generation) -> dict[str, Json]:
        if answer.finish == "length":
            return self.told("incomplete", _usage(answer), incomplete_details={"reason": "max_output_tokens"})
        return self.told("completed", _usage(answer))

    def whole(self, answer: Generation) -> dict[str, Json]:
        """The answer that is not streamed."""
        if answer.text or not answer.tool_calls:
            self._output.append(_message(self._new("msg"), "completed", answer.text, answer.logprobs))
        for call in answer.tool_calls[: self._limit]:
            self._output.append(self._called(call))
        return self._finished(answer)

    def failed(self, error: BaseException) -> bytes:
        """The event that ends an answer which broke off."""
        said = openai_body(error)["error"]
        why = {"code": said["code"], "message": said["message"]}
        return self._event("response.failed", response=self.told("failed", error=why))


def _echo(body: ResponsesBody, model: str) -> dict[str, Any]:
    """What a response repeats of its request, and in its metadata what of that was without effect."""
    sent = body.model_dump(by_alias=True, include={"tool_choice", "text"}, exclude_none=True)
    left_out = ", ".join(body.left_out())[:_LONGEST]
    more = {"service_tier": body.served} if body.served else {}
    return {
        **more,
        "model": model,
        "instructions": body.instructions,
        "previous_response_id": body.previous_response_id,
        "conversation": {"id": body.conversation_id} if body.conversation_id else None,
        "background": bool(body.background),
        "metadata": {**(body.metadata or {}), **({"left_out": left_out} if left_out else {})},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_output_tokens": body.max_output_tokens,
        "tools": body.toolbox.echo,
        "tool_choice": sent.get("tool_choice", "auto"),
        "text": sent.get("text", {"format": {"type": "text"}}),
        "truncation": "disabled",
        "store": body.store is not False,
        "reasoning": {"effort": None, "summary": None},
        "user": body.user,
    }


def _message(identifier: str, status: str, text: str, tokens: Sequence[TokenLogprob]) -> dict[str, Json]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": _logprobs(tokens)}
    return {"id": identifier, "type": "message", "role": "assistant", "status": status, "content": [part]}


def _logprobs(tokens: Sequence[TokenLogprob]) -> list[Json]:
    found = logprobs(tokens)
    return found["content"] if found else []


def _usage(answer: Generation) -> dict[str, Json]:
    usage = answer.usage
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
