"""What a scripted engine says: replies, the rules that choose one, and the script used when none is given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core import documents
from ..core.errors import InvalidRequest, LLMAgentOSError, from_data
from ..core.records import GenerateRequest, Generation, Json, ToolCall

_CALL = re.compile(r"\bcall\s+([\w.-]+)(\s+with\s+(?=\{))?", re.IGNORECASE)
_FIELD = re.compile(r"\{(\w+)\}")
_JSON = json.JSONDecoder()


Called = tuple[str, Mapping[str, Json]]
"""A tool's name and its arguments."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer: `text` and `calls`, or `error`.

    `delay` seconds pass before the first piece and `pace` seconds before every other; a piece is `piece` tokens.
    """

    text: str = ""
    calls: tuple[Called, ...] = ()
    error: LLMAgentOSError | None = None
    delay: float = 0.0
    pace: float = 0.0
    piece: int = 1


@dataclass(frozen=True, slots=True)
class Cue:
    """When to give a reply: `match` is searched in the last user or tool message, `step` counts the assistant's
    messages since the last user message (0: the first answer to it). Both None: always.

    In the reply's text and in the strings of its tool arguments, `{echo}` stands for the matched message, and `{1}` or
    `{name}` for a group of `match`; other braces are left alone.
    """

    reply: Reply
    match: re.Pattern[str] | None = None
    step: int | None = None


Script = Callable[[GenerateRequest], "Reply | Generation | str | Sequence[ToolCall]"]


def rule(data: Mapping[str, Any]) -> Cue:
    """Read one rule: `match`, `step`, and the reply's `text`, `calls`, `error`, `delay`, `pace`, `piece`.

    `calls` are `{name, arguments}`; `error` is a message, or `{type, message}` with a class of `core.errors`.
    Raises InvalidRequest for an unknown key, a value of another type or a broken pattern.
    """
    unknown = set(data) - set(_KINDS)
    if unknown:
        raise InvalidRequest(f"a rule has no {min(map(str, unknown))!r}; it has match, step, text, calls, error, delay")
    for name, value in data.items():
        kind, said = _KINDS[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidRequest(f"a rule's `{name}` is {said}")
    if not all(map(_callable, data.get("calls", ()))):
        raise InvalidRequest("a rule's `calls` are a list of {name: ..., arguments: {...}}")
    if data.get("piece", 1) < 1 or min(data.get("delay", 0), data.get("pace", 0)) < 0:
        raise InvalidRequest("a rule's `piece` is 1 or more, and `delay` and `pace` are 0 or more")
    try:
        pattern = re.compile(data["match"], re.DOTALL) if "match" in data else None
    except (re.error, OverflowError, RecursionError) as error:  # `{99999999999}`, and groups in groups without an end
        raise InvalidRequest(f"the rule's match {data['match']!r} is no regular expression: {error}") from error
    return Cue(_reply(data), pattern, data.get("step"))


_KINDS: Mapping[str, tuple[Any, str]] = {
    "match": (str, "a regular expression"), "step": (int | None, "a whole number"), "text": (str, "a text"),
    "calls": (list | tuple, "a list"), "error": (str | Mapping, "a message, or {type: ..., message: ...}"),
    "delay": (int | float, "seconds"), "pace": (int | float, "seconds"), "piece": (int, "a number of tokens"),
}  # fmt: skip


def _callable(call: Any) -> bool:
    return (
        isinstance(call, Mapping) and isinstance(call.get("name"), str)
        and isinstance(call.get("arguments", {}), Mapping)
    )  # fmt: skip


def _reply(data: Mapping[str, Any]) -> Reply:
    error = data.get("error")
    if isinstance(error, str):
        error = {"type": "EngineFailed", "message": error}
    if error and not (isinstance(error.get("type"), str) and isinstance(error.get("message"), str)):
        raise InvalidRequest("a rule's `error` is a message, or {type: ..., message: ...}")
    return Reply(
        text=data.get("text", ""),
        calls=tuple((call["name"], call.get("arguments", {})) for call in data.get("calls", ())),
        error=from_data(error) if error else None,
        delay=data.get("delay", 0.0),
        pace=data.get("pace", 0.0),
        piece=data.get("piece", 1),
    )


def read_rules(source: str) -> list[dict[str, Any]]:
    """Read a YAML list of rules; none for no file. Raises InvalidRequest where it cannot be read."""
    if not source:
        return []
    try:
        found = documents.one(Path(source).read_bytes(), f"the script {source}")
    except OSError as error:
        raise InvalidRequest(f"the script {source} cannot be read: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidRequest(
            f"the script {source} must be a YAML list of rules, such as `- {{match: hi, text: Hello}}`"
        )
    return found


def rules(found: Sequence[Cue | Mapping[str, Any]]) -> Script:
    """Make a script of ordered rules: the first that fits answers; where none fits, `follow` does."""
    ordered = [one if isinstance(one, Cue) else rule(one) for one in found]

    def script(request: GenerateRequest) -> Reply:
        text, step = _last(request), _step(request)
        for one in ordered:
            groups = _groups(one, text, step)
            if groups is not None:
                return _filled(one.reply, groups)
        return follow(request)

    return script


def follow(request: GenerateRequest) -> Reply:
    """The script used when none is given.

    With tools on offer, a user's text such as `call add with {"a": 1}, then call done` has the named tools called in
    that order, one a turn, and then their results reported; any other text is echoed.
    """
    text, results = _turn(request)
    calls = _named(text, request) if request.tools else []
    if len(results) < len(calls):
        return Reply(calls=(calls[len(results)],))
    if results:
        return Reply("Done: " + "; ".join(results))
    return Reply(text)


def as_reply(answer: Reply | Generation | str | Sequence[ToolCall]) -> Reply:
    """Whatever a script may return, as a reply."""
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, str):
        return Reply(answer)
    if isinstance(answer, Generation):
        return Reply(answer.text, tuple((call.name, call.arguments) for call in answer.tool_calls))
    return Reply(calls=tuple((call.name, call.arguments) for call in answer))


def _last(request: GenerateRequest) -> str:
    if request.prompt is not None:
        return request.prompt
    return next((m.text for m in reversed(request.messages) if m.role in ("user", "tool")), "")


def _step(request: GenerateRequest) -> int:
    steps = 0
    for message in reversed(request.messages):
        if message.role == "user":
            break
        steps += message.role == "assistant"
    return steps


def _turn(request: GenerateRequest) -> tuple[str, list[str]]:
    """The last user text and the tool results since, in order."""
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role == "user":
            return message.text, results[::-1]
        if message.role == "tool":
            results.append(message.text)
    return request.prompt or "", results[::-1]


def _named(text: str, request: GenerateRequest) -> list[Called]:
    offered = {tool.name for tool in request.tools}
    found = []
    for match in _CALL.finditer(text):
        name = match[1].rstrip(".")
        if name in offered:
            found.append((name, _object_at(text, match.end()) if match[2] else {}))
    return found


def _object_at(text: str, start: int) -> Mapping[str, Json]:
    try:
        value: Mapping[str, Json] = _JSON.raw_decode(text, start)[0]
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"after `with` in {text[:start][-40:]!r} there is no JSON object: {error}") from error
    return value


def _groups(one: Cue, text: str, step: int) -> dict[str, str] | None:
    """The fields the reply may use, or None when the rule does not fit."""
    if one.step is not None and one.step != step:
        return None
    if one.match is None:
        return {"echo": text}
    match = one.match.search(text)
    if match is None:
        return None
    numbered = {str(i): group or "" for i, group in enumerate((match[0], *match.groups()))}
    return {"echo": text, **numbered, **match.groupdict("")}


def _filled(reply: Reply, groups: Mapping[str, str]) -> Reply:
    if "{" not in reply.text and not reply.calls:
        return reply
    calls = tuple((name, _fill(arguments, groups)) for name, arguments in reply.calls)
    return replace(reply, text=_fill(reply.text, groups), calls=calls)


def _fill(value: Any, groups: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _FIELD.sub(lambda field: groups.get(field[1], field[0]), value)
    if isinstance(value, Mapping):
        return {name: _fill(one, groups) for name, one in value.items()}
    return [_fill(one, groups) for one in value] if isinstance(value, list) else value
