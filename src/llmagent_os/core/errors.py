"""What can go wrong, a class per thing a caller would handle differently.

Every message says what to do next; the facts behind it are attributes in `facts`. Errors cross the journal as data
(`to_data`, `from_data`), so that a replayed call fails exactly as the first one did.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import orjson


def text(value: object) -> str:
    """A value in words that every file and socket takes (half a character becomes `?`); it never fails."""
    try:
        words = str(value)
    except Exception:  # somebody else's `__str__`: whoever waits for the error is to be told all the same
        words = f"(a {type(value).__name__} that cannot be put into words)"
    return words.encode(errors="replace").decode()


def _plain(value: Any) -> Any:
    try:
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return text(value)
    return value


class LLMAgentOSError(Exception):
    """The root of everything this system raises on purpose."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = text(message)
        self.facts = facts

    def to_data(self) -> dict[str, Any]:
        """Return `{type, message, facts}`, ready for JSON; facts that JSON cannot hold are put into words."""
        facts = {name: _plain(value) for name, value in self.facts.items()}
        return {"type": type(self).__name__, "message": text(self.message), "facts": facts}


class NotFound(LLMAgentOSError):
    """The named thing does not exist; the message names it and the nearest match."""


class InvalidRequest(LLMAgentOSError):
    """A value that was sent cannot be used; `facts["parameter"]` names it where one is to blame."""


class Unsupported(InvalidRequest):
    """The engine cannot do what was asked (a sampling parameter, tools, images); nothing was dropped silently."""


class ContextOverflow(InvalidRequest):
    """The prompt is longer than the model's window; facts: `tokens`, `window`."""


class PermissionDenied(LLMAgentOSError):
    """The process or principal does not hold what the call needs."""


class Conflict(LLMAgentOSError):
    """The thing exists already, or is not in a state that allows the call."""


class BudgetExceeded(LLMAgentOSError):
    """The process used up a budget; facts: `resource`, `used`, `limit`."""


class DeadlineExceeded(LLMAgentOSError):
    """The call was not answered in time; facts: `call`, `seconds`."""


class Interrupted(LLMAgentOSError):
    """A call was broken off by a message that its process is to take in at once."""


class EngineFailed(LLMAgentOSError):
    """The engine answered with an error; facts: `engine`, `status` where there is one."""


class EngineUnavailable(EngineFailed):
    """The engine cannot be reached or has died; trying again later may help."""


class ToolFailed(LLMAgentOSError):
    """A tool raised; the message is the tool's own, facts: `tool`, `error`."""


class OutcomeUnknown(ToolFailed):
    """The system was stopped while a tool was at work, and whether that was done is not known; facts: `tool`."""


class HandlerFailed(LLMAgentOSError):
    """A syscall handler or filter raised something unforeseen; the caller is answered with this instead."""


class ResultLost(HandlerFailed):
    """The handler has acted, but what it returned is not JSON data and cannot be kept: trying again acts again."""


class ProcessFailed(LLMAgentOSError):
    """The process that was waited for did not end well; facts: `pid`, `reason`."""


class JournalUnavailable(LLMAgentOSError):
    """The journal cannot be written now, or not in time: try again under the same id. What was accepted is kept."""


class JournalBusy(JournalUnavailable):
    """Somebody else writes to the journal and did not end in time; nothing of this was written."""


class JournalFull(JournalUnavailable):
    """The disk is full: the call was not accepted, everything accepted before is kept."""


class JournalDamaged(LLMAgentOSError):
    """Rows of one process cannot be read; that process is quarantined, the rest goes on."""


class VaultUnreadable(LLMAgentOSError):
    """Masked values cannot be read with the key that is there; until theirs is back, nothing leaves."""


class DataFolderBusy(LLMAgentOSError):
    """Another running system holds the data folder; facts: `pid`, `path`."""


class PortTaken(LLMAgentOSError):
    """The address to listen on is in use; facts: `port`, `holder` where it could be found."""


class FetchFailed(LLMAgentOSError):
    """The bytes of a model, or of libraries for code, could not be had, or are not what they should be.

    What came of a model in good order is kept.
    """


class MissingExtra(LLMAgentOSError):
    """An optional dependency is not installed; the message is the command that mends it."""


_BY_NAME: dict[str, type[LLMAgentOSError]] = {
    cls.__name__: cls for cls in list(globals().values()) if isinstance(cls, type) and issubclass(cls, LLMAgentOSError)
}


def from_data(data: dict[str, Any]) -> LLMAgentOSError:
    """Rebuild an error from `to_data`; a type that is no longer known becomes a HandlerFailed with its message."""
    cls = _BY_NAME.get(data["type"], HandlerFailed)
    return cls(data["message"], **data.get("facts", {}))


LONGEST = 200  # letters of a wrong name that are looked at, and said again


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint for a wrong name: the nearest of `known`, else the first few of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.65) if len(name) <= LONGEST else []
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "there are none yet"
    return "available: " + ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")


def not_found(kind: str, name: str, known: Iterable[str]) -> NotFound:
    """Build a NotFound whose message names the nearest of `known`, or lists the first few."""
    said = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    return NotFound(f"no {kind} named {said!r}; {nearest(name, known)}", kind=kind, name=said)
