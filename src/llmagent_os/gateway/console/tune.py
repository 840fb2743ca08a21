"""`tune`: one command from rows to an agent that runs, with a report of what was tried and what came of it."""

from __future__ import annotations

import asyncio
import importlib
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ...core.errors import Conflict, InvalidRequest, NotFound
from ...core.records import Json
from ...core.visible import visible
from ..client import Client
from .changes import parsed
from .options import AsJson, Data, ask, commands, examples
from .output import emit, say
from .processes import ENDED

app = commands()

_WAIT = 120.0  # seconds for one answer
LOOKED = 0.5  # seconds between two looks at how far it is


@app.command(
    epilog=examples(
        "tune mails.csv --check", "tune mails.csv --agent sorter", "tune talks.jsonl --agent clerk --minutes 20",
        "tune --of 12",
    )
)  # fmt: skip
def tune(
    file: Annotated[
        Path | None, typer.Argument(help="Rows: .jsonl, .json, .csv, .tsv, .conll; dialogues in .txt, .log.")
    ] = None,
    agent: Annotated[str, typer.Option(help="The agent that is to do it; it is made where there is none.")] = "",
    model: Annotated[str, typer.Option(help="The model to ask and to tune; `none` tries what needs none.")] = "tiny",
    minutes: Annotated[float, typer.Option(min=0.1, help="How long trying and tuning may work.")] = 10.0,
    only: Annotated[str, typer.Option(help="What is tried, of: prompt,linear,examples,encoder,lora.")] = "",
    setting: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A setting of the tuning.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where the report goes; NAME-tuning.html without it.")] = None,
    of: Annotated[int | None, typer.Option(metavar="PID", help="Go on with a tuning that was begun.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Begin it, and print its process alone.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong with the rows.")] = False,
    against: Annotated[Path | None, typer.Option(help="Rows to measure by, that none may say again.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Find the best way to do what rows show, and have an agent do it.

    Tried are, within the minutes: the model as it is, a linear model for labels, examples in the prompt, and tuning. It
    is a process of the system, at a low priority: see `ps`, `pause`, `resume` and `kill`. Ctrl-C holds it, and
    `--of PID` goes on.
    """
    if (file is None) == (of is None):
        raise InvalidRequest("give a FILE of rows to begin, or --of PID to go on", parameter="file")
    if file is not None:
        rows, measuring = _module("read").read(file), _module("read").read(against) if against else ()
        checked = _module("check").check(rows, measuring, doubts=check)
        if check:
            emit(checked.data()) if as_json else print("\n".join(map(visible, checked.told())))
            raise typer.Exit(1 if checked.troubles else 0)
        if not agent:
            raise InvalidRequest("say which agent is to do it with --agent NAME, or --check", parameter="agent")
        say("\n".join(map(visible, checked.told())))
        asked = {"rows": [row.data() for row in rows], "model": model, "minutes": minutes, "agent": agent}
        asked |= {"only": [each.strip() for each in only.split(",") if each.strip()]}
        body = {"program": "tune", "args": asked | {"settings": parsed(setting or [], {})}, "name": f"tune.{agent}"}
        of = ask(data, lambda client: client.post("/v1/processes", body))["pid"]
    assert of is not None
    if detach:
        emit({"pid": of}) if as_json else print(of)
        return
    made = _followed(of, report, data)
    _ended(made, _module("pipeline").remade(made), report, as_json, data)


def _followed(pid: int, report: Path | None, data: Path | None) -> dict[str, Any]:
    """What a tuning made, once it has; it says meanwhile how far it is. Raises Conflict where it was stopped."""
    try:
        found = ask(data, lambda client: _watched(client, pid))
    except KeyboardInterrupt:
        ask(data, lambda client: client.post(f"/v1/processes/{pid}/pause"))
        again = shlex.join(["llmagent-os", "tune", "--of", str(pid), *(["--report", str(report)] if report else [])])
        say(f"held; to go on: {again}; to give it up: llmagent-os kill {pid}")
        raise typer.Exit(130) from None
    result = found["result"]
    if found["status"] != "done" or not isinstance(result, dict) or "found" not in result:
        raise Conflict(f"process {pid} has made nothing: {found['reason'] or 'it is no tuning'}", pid=pid)
    return result


async def _watched(client: Client, pid: int) -> dict[str, Any]:
    found: dict[str, Any] = await client.get(f"/v1/processes/{pid}")
    if found["status"] == "paused":
        await client.post(f"/v1/processes/{pid}/resume")
    if found["status"] not in ENDED:
        say(f"process {pid}; Ctrl-C holds it")
    last = None
    while found["status"] not in ENDED:
        if (now := found["reason"]) not in (None, last):
            say(visible(now))
        last = now
        await asyncio.sleep(LOOKED)
        found = await client.get(f"/v1/processes/{pid}")
    return found


def _ended(result: dict[str, Any], made: Any, report: Path | None, as_json: bool, data: Path | None) -> None:
    """Have the agent do it, and say what came of it."""
    agent = result["agent"]
    done = ask(data, lambda client: _deploy(client, agent, result["model"], made))
    page = report or Path(f"{agent}-tuning.html")
    facts = {
        "rows": result["rows"], "held out to measure": len(made.test), "the model as it comes": _shown(made.before),
        "the agent": f"{done['score']:.3f}", "version": done["version"], "minutes": f"{made.found.seconds / 60:.1f}",
    }  # fmt: skip
    if made.typos is not None:
        facts["with mistakes of typing (without)"] = "{1:.3f} ({0:.3f})".format(*made.typos)
    pairs = done.pop("pairs")
    if made.task.kinds:
        done["kinds"] = _module("report").entities(made.task.kinds, pairs)
    text = _module("report").page(f"Tuning of {agent}", facts, made.found, pairs, made.curves)
    page.write_text(text, encoding="utf-8")
    done |= {
        "chosen": made.found.chosen,
        "why": made.found.why,
        "before": made.before,
        "report": str(page),
        "typos": made.typos,
    }
    if as_json:
        emit(done)
        return
    say(f"{agent} is at version {done['version']}, by {done['chosen']}: {done['why']}")
    say(f"on {len(made.test)} rows that nothing was chosen by: {done['score']:.3f}, before: {_shown(made.before)}")
    say(f"the report is {page}; to take it back: {done['back']}")


def _shown(score: float | None) -> str:
    return "not asked" if score is None else f"{score:.3f}"


async def _deploy(client: Client, agent: str, model: str, made: Any) -> dict[str, Any]:
    """Have an agent do it, and ask it what is held out; returns its version, score, and how it is taken back."""
    fields = {"model": model, "adapter": None, "sampling": {"temperature": 0.0, "max_tokens": made.task.tokens}}
    fields |= made.fields
    engine = fields.pop("engine", None)
    if engine in ("labels", "encoder"):
        fields["model"] = f"{agent}-{made.folder.name}"
        body = {"name": fields["model"], "engine": engine, "source": str(made.folder)}
        known = await client.get("/v1/models")
        if all(each["id"] != fields["model"] for each in known["data"]):
            await client.post("/v1/models", body)
    elif engine == "adapter":
        fields["adapter"] = (await client.post(f"/v1/models/{model}/adapters", {"source": str(made.folder)}))["adapter"]
    try:
        old = await client.get(f"/v1/agents/{agent}")
        back = f"llmagent-os agents apply {_written(agent, old['spec'])}"
        now = await client.patch(f"/v1/agents/{agent}", fields)
    except NotFound:
        back = f"llmagent-os agents delete {agent}"
        now = await client.post("/v1/agents", {"name": agent, "description": "made by `llmagent-os tune`", **fields})
    pairs = [(row.output, await _answer(client, agent, row)) for row in made.test]
    scored = _module("ladder").score
    mean = sum(scored(made.task, *pair) for pair in pairs) / len(pairs)
    return {"agent": agent, "version": now["version"], "score": mean, "asked": len(pairs), "back": back, "pairs": pairs}


def _written(agent: str, spec: Json) -> Path:
    """Write the definition that an agent had, to be applied again."""
    path = Path(f"{agent}-before.yaml")
    path.write_text(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


async def _answer(client: Client, agent: str, row: Any) -> str:
    said = [{"role": each.role, "content": each.text} for each in row.messages]
    task = await client.post(f"/v1/agents/{agent}/messages", {"body": {"messages": said}, "wait": _WAIT})
    if not task["done"]:
        raise InvalidRequest(f"{agent} has not answered within {_WAIT:g} s; see `llmagent-os ps`", parameter="agent")
    return str(task["reply"]["text"]).strip()


def _module(name: str) -> Any:
    """A module of the tuning room: it is imported where it is used, so that `--help` starts at once."""
    return importlib.import_module(f"llmagent_os.finetune.{name}")
