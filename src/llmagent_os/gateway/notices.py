"""What somebody who waits for an answer is told meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..core.records import Json
from ..core.visible import named, visible


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that whoever waits for an answer is told: an event's name and its data.

    `question`: a question as `GET /v1/approvals` has it. `answered`: what became of it. `waiting`: what else is waited
    for, as `{status, pid, text}`. `calling`: the tool that the agent calls now, as `{tool, arguments}`. `reading`: how
    far a long prompt is read, as `{read, of}`, in tokens.
    """

    name: Literal["question", "answered", "waiting", "calling", "reading"]
    data: dict[str, Json]

    @property
    def text(self) -> str:
        """The same in a line for people."""
        if self.name == "waiting":
            return visible(str(self.data["text"]))
        if self.name == "reading":
            return f"reading {self.data['read']:,} of {self.data['of']:,} tokens"
        if self.name == "calling":
            return f"calling {named(self.data['tool'])}"
        about = f"question {self.data['id']} about {named(self.data['tool'])}"
        if self.name == "question":
            return f"{about} waits for a person: llmagent-os approvals"
        return f"{about} {became(self.data)}"


def became(kept: Mapping[str, Any]) -> str:
    """What became of a question, for people."""
    if kept.get("by") is None:
        return f"is gone: {visible(kept.get('over') or 'nobody waits for the answer any more')}"
    did = "refused" if not kept["allowed"] else "allowed" if kept.get("form") is None else "answered"
    return f"was {did} by {visible(kept['by'])}"


class Notes:
    """Notices in a stream whose clients know none: comments, which they leave out, and which keep the connection."""

    def __init__(self) -> None:
        self._new: list[bytes] = []

    def take(self, notice: Notice) -> None:
        """Something is to be told."""
        self._new.append(b": llmagent-os: " + " ".join(notice.text.split()).encode() + b"\n\n")

    def sent(self) -> bytes:
        """What was not sent yet."""
        new, self._new = self._new, []
        return b"".join(new)
