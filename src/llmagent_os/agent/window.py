"""Keep a conversation within the model's window: old turns give way, a long message is cut, nothing fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.records import Message

CUT = "\n[... shortened to fit ...]\n"
SMALLEST = 512  # tokens: no model that can be talked to has a smaller window
ROOM = 4  # the answer gets at least this fraction of the window: a quarter


def turns(history: Sequence[Message]) -> list[list[Message]]:
    """Split a history at its user messages, so that tool calls and their results stay together."""
    groups: list[list[Message]] = []
    for message in history:
        if message.role == "user" or not groups:
            groups.append([])
        groups[-1].append(message)
    return groups


def drop_oldest(history: Sequence[Message], tokens: int, target: int) -> tuple[list[Message], list[Message]]:
    """Split a history of about `tokens` into (dropped, kept) so that what is kept is about `target` tokens."""
    weights = [sum(weight(message) for message in turn) for turn in turns(history)]
    total = sum(weights) or 1
    dropped, left = 0, float(tokens)
    while dropped < len(weights) and left > target:
        left -= tokens * weights[dropped] / total
        dropped += 1
    parts = turns(history)
    return [m for turn in parts[:dropped] for m in turn], [m for turn in parts[dropped:] for m in turn]


def shorten(message: Message, tokens: int, target: int) -> Message:
    """Cut the middle out of a message's text of about `tokens`, leaving about `target`: the ends say the most."""
    text = message.text
    keep = max(0, int(len(text) * target / max(tokens, 1)) - len(CUT))
    if keep >= len(text):
        return message
    head = keep * 2 // 3
    return replace(message, content=text[:head] + CUT + (text[head - keep :] if keep > head else ""))


def weight(message: Message) -> int:
    """A message's length in bytes, with what its tool calls and markup take: never less than its tokens."""
    calls = sum(len(call.name) + len(str(call.arguments)) for call in message.tool_calls)
    return len(message.text.encode()) + calls + 16
