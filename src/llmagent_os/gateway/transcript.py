"""A conversation read back from its process's rows: turn by turn what was said, what was done, and the reply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core import codec
from ..core.records import Json

FIELDS = (
    "seq", "turn", "name", "args", "result", "error", "labels", "origins", "outcome", "decision", "input_tokens",
    "output_tokens", "money", "started", "seconds", "waited",
)  # fmt: skip
LONG = 4000  # characters of a tool's result that a conversation shows

Unpack = Callable[[Any], Any]


def words(body: Any) -> str:
    """The text of a message as it was sent."""
    if not isinstance(body, Mapping):
        return str(body)
    if isinstance(text := body.get("text"), str):
        return text
    said = body.get("messages")
    last = said[-1] if isinstance(said, list) and said else None
    content = last.get("content") if isinstance(last, Mapping) else None
    return content if isinstance(content, str) else ""


def turns(rows: Iterable[Mapping[str, Any]], unpack: Unpack, cut: bool) -> list[dict[str, Json]]:
    """The turns that some rows, given by their fields in order, tell of; with `cut` without a first one that is not

    whole, unless there is no other. One whose `reply` is null is not answered yet.
    """
    made: dict[int, dict[str, Any]] = {}
    for row in rows:
        turn = made.setdefault(row["turn"], _empty(row))
        _TAKES[row["name"]](turn, row, unpack)
    found = list(made.values())
    if cut and len(found) > 1:
        found = found[1:]
    return [each for each in found if each["said"] or each["reply"] or each["rewind"]]


def _empty(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "turn": row["turn"], "seq": row["seq"], "at": row["started"], "said": [], "task": None, "from": "",
        "origins": [], "calls": [], "reply": None, "error": None, "rewind": False, "seconds": 0.0, "speed": 0.0,
        "first": 0.0,
    }  # fmt: skip


def _received(turn: dict[str, Any], row: Mapping[str, Any], unpack: Unpack) -> None:
    envelope = unpack(row["result"])
    if not isinstance(envelope, Mapping):
        return
    body = envelope.get("body")
    turn["rewind"] = isinstance(body, Mapping) and body.get("rewind") is True
    if not turn["rewind"]:
        turn["said"].append(words(body))
    turn["task"] = (envelope.get("task") or "").rpartition("/")[2] or None
    turn["from"], turn["origins"] = envelope.get("sender") or "", _list(row["origins"])
    turn["at"] = row["started"]


def _generated(turn: dict[str, Any], row: Mapping[str, Any], unpack: Unpack) -> None:
    served = row["seconds"] - row["waited"]
    turn["first"] += row["waited"]
    turn["seconds"] += row["seconds"]
    turn["speed"] = row["output_tokens"] / served if served > 0 and row["output_tokens"] else turn["speed"]


def _called(turn: dict[str, Any], row: Mapping[str, Any], unpack: Unpack) -> None:
    args, result, error = unpack(row["args"]), unpack(row["result"]), unpack(row["error"])
    text = result if isinstance(result, str) else codec.dumps(result).decode()
    turn["seconds"] += row["seconds"]
    turn["calls"].append({
        "seq": row["seq"], "tool": args["tool"], "arguments": args.get("arguments"), "result": text[:LONG],
        "cut": len(text) > LONG, "outcome": row["outcome"], "seconds": row["seconds"],
        "error": error.get("message") if isinstance(error, Mapping) else None,
        "origins": _list(row["origins"]), "labels": _list(row["labels"]),
    })  # fmt: skip


def _sent(turn: dict[str, Any], row: Mapping[str, Any], unpack: Unpack) -> None:
    args = unpack(row["args"])
    if not str(args.get("to", "")).startswith("task/"):
        return
    body = args.get("body")
    error = body.get("error") if isinstance(body, Mapping) else None
    turn["reply"] = body if error is None else {"text": "", "parts": []}
    turn["error"] = error.get("message") if isinstance(error, Mapping) else None
    turn["origins"] = turn["origins"] or _list(row["origins"])


_TAKES: Mapping[str, Callable[[dict[str, Any], Mapping[str, Any], Unpack], None]] = {
    "receive": _received, "generate": _generated, "call": _called, "send": _sent,
}  # fmt: skip


def _list(packed: Any) -> list[Json]:
    found: list[Json] = codec.loads(packed) if packed else []
    return found
