"""`audit`: whether the journal is what was recorded, and what tools were called for whom, and by what rule."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ...config import load
from ...core import codec
from ...offline import audited, pinned, tool_calls
from .options import AsJson, Data, examples, group, text_of
from .output import emit, emitted, say, short, show, table

app, audit = group("audit", "Verify the journal, and show what tools were called.")


@audit.command(epilog=examples("audit verify", "audit verify --copy kept.jsonl", "audit verify --key 8f3c..."))
def verify(
    key: Annotated[str | None, typer.Option(help="The public key that must have signed.")] = None,
    copy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines of checkpoints.jsonl that were kept elsewhere.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Hold the journal against its audit log and name the rows that were changed, taken out or put in.

    Works beside a running system and without one. Exit code 1 if anything is not as it was recorded.
    """
    found = audited(load({"data": data}), key, text_of(copy).splitlines() if copy is not None else ())
    if as_json:
        emit(found)
    else:
        for bad in found.bad:
            print(f"{bad.kind}: {bad.text}")
        for note in found.notes:
            print(f"note: {note}")
        waiting = f", {found.waiting} younger ones not yet signed" if found.waiting else ""
        print(f"{found.rows} rows, {found.checkpoints} checkpoints{waiting}; signed with {found.key}")
        print(f"pinned: {found.pinned}" if found.pinned else _UNPINNED)
        print("all is as it was recorded" if not found.bad else f"first: {found.bad[0].text}")
    if found.bad:
        raise typer.Exit(1)


_UNPINNED = "not pinned: as this user no system ran on this folder here; hold it against a copy kept elsewhere (--copy)"


@audit.command(epilog=examples("audit pin", "audit pin > kept.jsonl", "audit pin --accept"))
def pin(
    accept: Annotated[
        bool, typer.Option("--accept", help="Take the log as it is now, such as after a restore of your own.")
    ] = False,
    data: Data = None,
) -> None:
    """Print the checkpoint of the audit log that is kept apart from the data folder; keep it elsewhere, too.

    `audit verify --copy` takes it, also on another machine.
    """
    path, line = pinned(load({"data": data}), accept)
    say(str(path) if line is not None else f"nothing is pinned in {path}; a system that runs pins its log")
    if line is not None:
        print(line)


_REFUSALS = ("PermissionDenied", "OutcomeUnknown", "BudgetExceeded")  # of calls that were not made, or not again


@audit.command("show", epilog=examples("audit show", "audit show --pid 12 --last 100", "audit show --json"))
def show_calls(
    pid: Annotated[int | None, typer.Option(help="Of this process only.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many calls.")] = 20,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show the last tool calls: for whom, what was decided, by which rule, and where the arguments came from."""
    calls = [line(*found) for found in tool_calls(load({"data": data}), pid, last)]
    if emitted(calls, as_json):
        return
    heads = ("AT", "PID", "SEQ", "PRINCIPAL", "TOOL", "DECISION", "RULE", "LABELS", "ARGUMENTS")
    show(table(heads, ([*list(call.values())[:-1], short(call["arguments"], 60)] for call in calls)))


def line(row: Any, args: Any, error: Any) -> dict[str, Any]:
    """A call as it is shown; `arguments` come last."""
    labels = codec.loads(row.labels) if row.labels else []
    decision = codec.loads(row.decision) if row.decision else {}
    rules = [label[5:] for label in labels if label.startswith("rule:")]
    asked = any(label.startswith("asked:") for label in labels)
    return {
        "at": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.started)),
        "pid": row.pid,
        "seq": row.seq,
        "principal": f"{row.tenant}/{row.principal}",
        "tool": args.get("tool"),
        "decision": _decided(row, decision, rules, error, asked),
        "rule": rules[0] if rules else None,
        "labels": " ".join(label for label in labels if not label.startswith("rule:")) or None,
        "arguments": args.get("arguments", codec.loads(b"{}")),
    }


def _decided(row: Any, decision: Any, rules: list[str], error: Any, asked: bool) -> str:
    """What became of a call, and by whom: `allowed` only where the policy or a person did allow it."""
    consent, refusal = decision.get("consent"), decision.get("refusal")
    kind = error["type"] if error is not None else ""
    if refusal is not None:
        by = f"by {refusal['approver']}"
        return f"contained; to last was refused {by}" if not kind and "contained" in rules else f"refused {by}"
    if kind in _REFUSALS:
        return "refused when asked" if asked else "refused"
    if consent is not None:
        return f"allowed by {consent['approver']}"
    if asked:
        return "contained; nobody answered" if not kind and "contained" in rules else "unanswered"
    if kind == "NotFound" and error.get("facts", {}).get("kind") == "tool":
        return "no such tool"
    return "contained" if "contained" in rules else "allowed"
