"""What the built-in syscalls declare (see `ports.Syscall`): what covers a call, what it takes and brings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .ports import Syscall
from .records import Envelope, GenerateRequest, Part

log = logging.getLogger(__name__)

TEXT, WHOLE = (str,), (int,)
CALLED = {"tool": TEXT, "arguments": (dict,), "show": WHOLE}
SENT = {"to": (int, str), "reply_to": TEXT, "task": TEXT, "id": TEXT}
SPAWNED = {"program": TEXT, "name": TEXT, "nice": WHOLE, "owner": TEXT, "first": (dict,)}
SPAWNED_MANY = {"children": (list,)}
SELECTED = {"of": (list,), "inbox": (bool,)}
DIRECTING = ("user", "system", "developer")  # roles of whoever sends a conversation


def brought(entry: Syscall, name: str, args: Mapping[str, Any], result: Any) -> tuple[str, ...]:
    """Whose words a result or an error holds; where its syscall cannot say, those of nobody who may direct."""
    assert entry.brings is not None
    try:
        return tuple(dict.fromkeys(entry.brings(args, result)))
    except Exception:  # a plugin's, of a result that it did not expect
        log.exception("%s cannot say whose words its result holds", name)
        return (f"syscall {name}",)


def plugged(name: str, entry: Syscall) -> Syscall:
    """A plugin's syscall: beside what it declares, `syscalls` of a grant has to cover its name."""
    covers = entry.covers
    return entry if covers is None else replace(entry, covers=lambda args: [("syscalls", name), *covers(args)])


def a_model(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model that is asked."""
    return [("models", args["request"].model)]


def a_tool(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The tool that is called."""
    return [("tools", args["tool"])]


def a_receiver(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A pid or a box is known only to those who were told it; a name anybody can guess."""
    to = args["to"]
    return [("agents", to)] if isinstance(to, str) and not to.startswith(("task/", "pid/")) else []


def an_agent(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The agent that is started, or the program."""
    given = args.get("args")
    spec = given.get("spec") if isinstance(given, Mapping) else None
    return [("agents", spec.get("name", "") if isinstance(spec, Mapping) else args["program"])]


def agents(args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All that are started."""
    return [pair for child in args["children"] for pair in an_agent(child)]


def tool(args: Mapping[str, Any], result: Any) -> list[str]:
    """What a tool returns is its own word."""
    return [f"tool {args['tool']}"]


def sender(args: Mapping[str, Any], result: Any) -> list[str]:
    """What the sender of a message had seen, or what a caller did not say itself."""
    return [origin for part in heard(args, result, ()) for origin in part.origins or ()]


def process(args: Mapping[str, Any], result: Any) -> list[str]:
    """What a process had seen that ended under an earlier version, which did not keep it."""
    return [f"process {args['pid']}"]


def answered(args: Mapping[str, Any], result: Any, origins: Sequence[str]) -> list[Part]:
    """One answer, of those who are in its row."""
    return [Part(result, tuple(origins))]


def prompted(args: Mapping[str, Any], result: Any, origins: Sequence[str]) -> Iterator[Part]:
    """The messages of a prompt."""
    request: GenerateRequest = args["request"]
    return request.parts()


def heard(args: Mapping[str, Any], result: Any, origins: Sequence[str]) -> list[Part]:
    """People are trusted; agents are what they have seen.

    In a conversation that is sent, tools' answers are not the user's words, nor are the assistant's: an answer may
    have copied what a page said in a turn that we see no more of.
    """
    if not isinstance(result, Envelope):
        return []
    if result.sender:
        return [Part(result.body, tuple(result.origins), f"agent {result.sender}")]
    told = result.body.get("messages") if isinstance(result.body, Mapping) else None
    if not isinstance(told, list):
        return [Part(result.body, who="user")]
    said = [(str(each.get("role")), each.get("content")) for each in told if isinstance(each, Mapping)]
    return [
        Part(text, () if role in DIRECTING else (f"{role} of the caller",), "user" if role in DIRECTING else "")
        for role, text in said
    ]
