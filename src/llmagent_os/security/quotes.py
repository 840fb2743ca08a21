"""Quotes: words that nobody trusts are shown as such, to the model, and to whoever reads what it made of them.

Neither is the boundary, which is the gate's: a model may read a page as an order all the same, and be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..core.frames import framed
from ..core.ports import Proceed
from ..core.records import Call, GenerateRequest, Json, Message
from ..core.values import links
from ..kernel.process import Process
from .labels import Labels, Sight, beside
from .masking import changed

QUOTE = 20  # characters: shorter pieces of an answer stand anywhere by chance


class Spotlight:
    """A filter that shows a model a tool's result as data where it may not direct (Hines et al. 2024, spotlighting)."""

    calls = frozenset({"generate"})

    def __init__(self, trusts: Callable[[Process, str], bool]) -> None:
        self._trusts = trusts

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Put a frame around such results, and note whose words are in the prompt."""
        request: GenerateRequest = call.args["request"]
        if process.service is not None:
            return await proceed(call)
        call.labels += tuple(f"from:{origin}" for origin in sorted(process.seen))
        messages = tuple(self._framed(process, message) for message in request.messages)
        if all(new is old for new, old in zip(messages, request.messages, strict=True)):
            return await proceed(call)
        return await changed(call, proceed, request=replace(request, messages=messages))

    def _framed(self, process: Process, message: Message) -> Message:
        name = message.name or ""
        if message.role != "tool" or (self._trusts(process, name) and not _sent(process, message)):
            return message
        if isinstance(message.content, str):
            return replace(message, content=framed(name, message.content))
        return replace(message, content=[_framed_part(name, part) for part in message.content])


def _sent(process: Process, message: Message) -> bool:
    """Whether a message stands in a conversation that was sent: then its name is the sender's word."""
    for asked in process.owed:
        told = asked.body.get("messages") if isinstance(asked.body, Mapping) else None
        if isinstance(told, list) and any(isinstance(one, Mapping) and _is(one, message) for one in told):
            return True
    return False


def _is(one: Mapping[str, Json], message: Message) -> bool:
    return one.get("role") == "tool" and one.get("content") == message.content


def _framed_part(name: str, part: dict[str, Json]) -> dict[str, Json]:
    return part | {"text": framed(name, str(part.get("text", "")))} if part.get("type") == "text" else part


class Quotes:
    """A filter that says in an answer which pieces of it stand in the words of somebody untrusted."""

    calls = frozenset({"send"})

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    async def __call__(self, call: Call, process: Process, proceed: Proceed) -> Any:
        """Add `untrusted` to the body of an answer: pieces and links with their origins."""
        if process.service is not None or not process.seen:
            return await proceed(call)
        to, body = call.args["to"], call.args["body"]
        call.labels += tuple(f"from:{origin}" for origin in sorted(process.seen))
        answer = not isinstance(to, str) or to.startswith(("task/", "pid/"))
        said = body.get("text") if answer and isinstance(body, dict) else None
        found = None
        if isinstance(said, str):
            sight = self._labels.of(process)
            found = await beside(lambda: _found(said, sight), sight, said)
        return await (changed(call, proceed, body=body | {"untrusted": found}) if found else proceed(call))


def _found(text: str, sight: Sight) -> dict[str, str]:
    """The sentences, lines and links of an answer that nobody trusted said, with where they stand."""
    pieces = [piece.strip() for line in text.splitlines() for piece in line.split(". ")]
    pieces, addresses = [piece for piece in pieces if len(piece) >= QUOTE], links(text)
    quoted = {piece: origin for piece in pieces if (origin := sight.quotes(piece.rstrip("."))) is not None}
    return quoted | {link: origin for link in addresses if (origin := sight.leads(link)) is not None}
