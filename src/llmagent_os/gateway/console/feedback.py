"""`feedback`: what you think of an answer, and the rows that come of what everybody said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ...core.errors import InvalidRequest
from .options import Data, ask, examples, group
from .output import say

app, feedback = group("feedback", "Say what you think of an answer, and collect rows to learn from.")


@feedback.command(epilog=examples("feedback give 6f1e --good", 'feedback give 6f1e --correction "Tuesday, 10:00"'))
def give(
    task: Annotated[str, typer.Argument(help="The task, as `run --json` tells it.")],
    good: Annotated[bool, typer.Option("--good", help="Thumbs up.")] = False,
    bad: Annotated[bool, typer.Option("--bad", help="Thumbs down.")] = False,
    rating: Annotated[int | None, typer.Option(min=1, max=5, help="From 1 to 5.")] = None,
    correction: Annotated[str | None, typer.Option(help="The answer as it should have been.")] = None,
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    data: Data = None,
) -> None:
    """Say what you think of the answer to a task of yours; the last word holds."""
    if good and bad:
        raise InvalidRequest("--good and --bad contradict each other; say one of them", parameter="good")
    said = {"good": good if good or bad else None, "rating": rating, "correction": correction, "note": note}
    body = {name: value for name, value in said.items() if value is not None}
    ask(data, lambda client: client.post(f"/v1/tasks/{task}/feedback", body))
    say("kept")


@feedback.command(epilog=examples("feedback rows clerk.jsonl --agent clerk", "tune clerk.jsonl --agent clerk"))
def rows(
    file: Annotated[Path, typer.Argument(help="Where the rows go, as JSON lines for `tune`.")],
    agent: Annotated[str, typer.Option(help="Of this agent; of all without it.")] = "",
    data: Data = None,
) -> None:
    """Write the rows of what was said: good answers, and corrections. Only of people who agreed to that."""
    found: dict[str, Any] = ask(data, lambda client: client.get("/v1/feedback", agent=agent))
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found["rows"]), encoding="utf-8")
    say(f"{len(found['rows'])} rows in {file}; {found['poor']} were left out as no good")
    if found["refused"]:
        how = 'PUT /v1/privacy/consent with {"learning": true}'
        say(f"{found['refused']} were left out: their people did not agree ({how})")
