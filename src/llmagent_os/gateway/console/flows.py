"""`flow`: graphs of agents, tools, functions and people: check, run, plan, watch, draw, and again from a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ...core import documents
from ...core.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from ..client import Client
from .asking import Asker
from .options import AsJson, Data, ask, examples, group, text_of, written
from .output import ago, emit, emitted, say, short, show, table

app, flow = group("flow", "Check, run, watch and draw flows.")

LOOK = 0.2  # seconds between two looks at a run
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML or JSON: a flow, and agents it names.")]
Target = Annotated[str, typer.Argument(metavar="FILE|NAME", help="A file with a flow, or a flow's name.")]
Watch = Annotated[bool, typer.Option("--watch", help="Tell of each node as it begins and ends.")]


@flow.command(epilog=examples("flow check desk.yaml"))
def check(file: File, as_json: AsJson = False, data: Data = None) -> None:
    """Say what is wrong with the flows of a file, by node and line; exit code 1 if anything is.

    Nothing is stored or run."""
    found = ask(data, lambda client: _checked(client, file))
    for each in found:
        if as_json:
            emit(each)
        elif not each["faults"]:
            print(f"{each['name']}: nothing is wrong")
        for fault in each["faults"] if not as_json else ():
            print(f"{file}: {fault}")
    if any(each["faults"] for each in found):
        raise typer.Exit(1)


async def _checked(client: Client, file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.post("/v1/flows/check", {"text": text_of(file)}))["flows"]
    if not found:
        raise InvalidRequest(f"{file} has no definition with a `flow` in it", parameter="file")
    return found


@flow.command(epilog=examples("flow run desk.yaml --watch 'My order 7 is broken'", "flow run desk '{\"order\": 7}'"))
def run(
    target: Target,
    given: Annotated[str, typer.Argument(metavar="[INPUT]", help="What it is given: text, or JSON.")] = "",
    watch: Watch = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Run a flow and print its result; of a file, after its definitions are put in place."""

    async def work(client: Client) -> dict[str, Any]:
        name = await _placed(client, Path(target)) if _is_file(target) else target
        try:
            begun = await client.post(f"/v1/flows/{name}/runs", {"text": given, "wait": 0} if given else {"wait": 0})
        except NotFound as error:
            raise NotFound(f"{error.message}; {_what(Path(target))}", **error.facts) from error
        return await _followed(client, begun, watch)

    _ended(ask(data, work), as_json)


def _is_file(target: str) -> bool:
    """Whether a file is meant, and no flow's name; raises InvalidRequest for a file that is not there, or a folder."""
    file = Path(target)
    if file.is_file():
        return True
    if file.name != target or file.suffix in (".yaml", ".yml", ".json"):
        raise InvalidRequest(f"{_what(file)}; give a file with a flow, or a flow's name", parameter="file")
    return False


def _what(file: Path) -> str:
    return f"{file} is a folder" if file.is_dir() else f"the file {file} is not there"


async def _placed(client: Client, file: Path) -> str:
    """Put the definitions of a file in place; the name of its last flow. Raises InvalidRequest with every fault."""
    if wrong := [fault for each in await _checked(client, file) for fault in each["faults"]]:
        raise InvalidRequest(f"{file}: {'; '.join(wrong)}", parameter="file")
    definitions = documents.definitions(file.read_bytes(), str(file))
    for each in definitions:
        await client.put(f"/v1/agents/{each['name']}", each)
    return next(str(each["name"]) for each in reversed(definitions) if each.get("flow") is not None)


async def _followed(client: Client, begun: dict[str, Any], watch: bool) -> dict[str, Any]:
    """The run at its end. What it asks meanwhile is asked here; with `watch`, what happens is told.

    Cancelled, it says that the run goes on, and where its questions are.
    """
    asker = Asker(client)
    try:
        return await _told(client, begun, watch, asker)
    except asyncio.CancelledError:
        which = begun["pid"]
        say(f"\n(run {which} goes on: llmagent-os flow show {which}, or end it: llmagent-os kill {which})")
        if asker.asked:
            say("(what it asks waits for an answer: llmagent-os approvals list)")
        raise
    finally:
        await asker.close()


async def _told(client: Client, begun: dict[str, Any], watch: bool, asker: Asker) -> dict[str, Any]:
    last: dict[str, str] = {}
    asked: set[str] = set()
    decided = 0
    async for found in _looks(client, begun):
        decisions = (found["plan"] or {}).get("decisions", [])
        for each in decisions[decided:] if watch else ():
            say(f"{each['act']}: {each['reason']}")
        decided = len(decisions)
        for name, node in found["nodes"].items():
            if node["state"] != last.get(name) and (watch or node["state"] == "asks"):
                say(_line(name, node))
            last[name] = node["state"]
        if asked or "asks" in last.values():
            asked = await _put(client, found, asked, asker)
        begun = found
    return begun


async def _put(client: Client, run: dict[str, Any], before: set[str], asker: Asker) -> set[str]:
    """Put the questions of a run that are new, and tell what became of others; the ids of those that wait."""
    pids = {run["pid"], *(pid for node in run["nodes"].values() for pid in node["pids"])}
    try:
        found = (await client.get("/v1/approvals"))["approvals"]
    except PermissionDenied:  # a key that answers nothing; others do
        return before
    waits = {each["id"]: each for each in found if each["pid"] in pids}
    for new in waits.keys() - before:
        asker.hear("question", waits[new])
    for gone in before - waits.keys():
        asker.hear("answered", await client.get(f"/v1/approvals/{gone}"))
    return set(waits)


async def _looks(client: Client, found: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield found
    while not found["done"]:
        await asyncio.sleep(LOOK)
        found = await client.get(f"/v1/runs/{found['pid']}")
        yield found


def _line(name: str, node: dict[str, Any]) -> str:
    told = [f"{name:<20} {node['state']}"]
    told += [f"{node['seconds']:.1f} s"] if node["seconds"] else []
    told += [f"{node['tokens']} tokens"] if node["tokens"] else []
    told += [f"${node['money']:.4f}"] if node["money"] else []
    told += [f"try {node['tries']}"] if node["tries"] > 1 else []
    told += [node["error"]] if node["error"] else []
    told += ["answer with: llmagent-os approvals list"] if node["state"] == "asks" else []
    return "  ".join(told)


def _ended(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(found)
    elif found["error"] is None:
        output = found["output"]
        print(
            output if isinstance(output, str) else yaml.safe_dump(output, sort_keys=False, allow_unicode=True).rstrip()
        )
    if found["error"] is not None:
        say(f"run {found['pid']} failed: {found['error']}")
        raise typer.Exit(1)


@flow.command(epilog=examples("flow plan 'What do the files say about costs?' --agents reader,writer --watch"))
def plan(
    goal: Annotated[str, typer.Argument(help="What is to be reached.")],
    agents: Annotated[str, typer.Option(help="Who may do steps: names, with commas.")],
    template: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Flows to fill in where the model makes no plan, and agents."),
    ] = None,
    model: Annotated[str, typer.Option(help="The model that plans.")] = "default",
    steps: Annotated[int, typer.Option(min=1, max=50, help="How many steps a plan has at most.")] = 8,
    tries: Annotated[
        int, typer.Option(min=0, max=20, help="How often the model may try to make a plan; 0: a template is filled in.")
    ] = 2,
    name: Annotated[str, typer.Option(help="The planner's name; one of that name is changed.")] = "planner",
    watch: Watch = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Have a goal planned, done by a team of agents, and answered with the sources.

    A step that fails is tried again, given to another agent, or the rest is planned anew."""
    team = [each.strip() for each in agents.split(",") if each.strip()]

    async def work(client: Client) -> dict[str, Any]:
        templates = await _templates(client, template) if template is not None else {}
        made = {"agents": team, "steps": steps, "tries": tries, "templates": templates}
        with suppress(NotFound):
            if (await client.get(f"/v1/agents/{name}"))["spec"].get("plan") is None:
                raise Conflict(f"{name} is an agent, and no planner; choose another --name")
        await client.put(f"/v1/agents/{name}", {"name": name, "model": model, "plan": made})
        begun = await client.post(f"/v1/flows/{name}/runs", {"text": goal, "wait": 0})
        return await _followed(client, begun, watch)

    _ended(ask(data, work), as_json)


async def _templates(client: Client, file: Path) -> dict[str, Any]:
    """The flows of a file, as templates; its agents are put in place. Raises InvalidRequest where there is none."""
    definitions = documents.definitions(file.read_bytes(), str(file))
    for each in definitions:
        if each.get("flow") is None:
            await client.put(f"/v1/agents/{each['name']}", each)
    flows = {each["name"]: {"about": each.get("description", ""), "flow": each["flow"]}
             for each in definitions if each.get("flow") is not None}  # fmt: skip
    if not flows:
        raise InvalidRequest(f"{file} has no definition with a `flow` in it", parameter="template")
    return flows


@flow.command("show", epilog=examples("flow show desk", "flow show 17 --svg > run.svg"))
def shown(
    target: Annotated[str, typer.Argument(metavar="NAME|PID", help="A flow's name, or the number of a run.")],
    svg: Annotated[bool, typer.Option("--svg", help="As an SVG image, on standard output.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Draw a flow, in Mermaid's words or as an image; of a run, with how far each node is."""
    query = {"svg": "true"} if svg else {}

    async def work(client: Client) -> dict[str, Any]:
        run = await client.get(f"/v1/runs/{target}", **query) if target.isdecimal() else None
        if run is not None and run["plan"] is not None:
            return run
        found: dict[str, Any] = await client.get(f"/v1/flows/{run['flow'] if run else target}", **query)
        return found | {key: run[key] for key in ("nodes", "mermaid", *query)} if run else found

    found = ask(data, work)
    emit(found) if as_json else print(found["svg" if svg else "mermaid"] or "", end="")


@flow.command("list", epilog=examples("flow list"))
def listed(as_json: AsJson = False, data: Data = None) -> None:
    """List the flows."""
    found = ask(data, lambda client: client.get("/v1/flows", limit=1000))["flows"]
    if emitted(found, as_json):
        return
    show(
        table(
            ("NAME", "VERSION", "NODES", "DESCRIPTION"),
            ([each[key] for key in ("name", "version", "nodes", "description")] for each in found),
        )
    )


@flow.command(epilog=examples("flow history desk"))
def history(
    name: Annotated[str, typer.Argument(help="The flow's name.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the newest runs of a flow, the last first."""
    found = ask(data, lambda client: client.get(f"/v1/flows/{name}/runs", limit=limit))["runs"]
    if emitted(found, as_json):
        return
    rows = ((each["pid"], each["version"], each["status"], ago(each["created"]),
             short(each["error"] or each["output"], 60))
            for each in found)  # fmt: skip
    show(table(("PID", "VERSION", "STATUS", "AGE", "RESULT"), rows))


@flow.command(epilog=examples("flow retry 17 --from pay"))
def retry(
    pid: Annotated[int, typer.Argument(help="The number of a run.")],
    node: Annotated[str, typer.Option("--from", metavar="NODE", help="The node from which on it is done again.")],
    watch: Watch = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Run a flow again as an earlier run, from a node on.

    What the earlier run finished and is not after that node is taken over, and not done again."""

    async def work(client: Client) -> dict[str, Any]:
        begun = await client.post(f"/v1/runs/{pid}/retry", {"from": node, "wait": 0})
        return await _followed(client, begun, watch)

    _ended(ask(data, work), as_json)


@flow.command(epilog=examples("flow fork 17 --from pay --input '{\"amount\": 20}'"))
def fork(
    pid: Annotated[int, typer.Argument(help="The number of a run.")],
    node: Annotated[str, typer.Option("--from", metavar="NODE", help="The node from which on it is done again.")],
    given: Annotated[str, typer.Option("--input", metavar="INPUT", help="What that node is given: JSON, or text.")],
    watch: Watch = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Run a flow again as an earlier run, from a node on that is given something else.

    What is not after that node is taken over, and not done again; the earlier run stays as it is. Of a node that is
    done over a list, the input is that list."""

    async def work(client: Client) -> dict[str, Any]:
        begun = await client.post(f"/v1/runs/{pid}/fork", {"from": node, "input": written(given), "wait": 0})
        return await _followed(client, begun, watch)

    _ended(ask(data, work), as_json)


@flow.command(epilog=examples("flow diff 17 21"))
def diff(
    pid: Annotated[int, typer.Argument(help="The number of a run.")],
    other: Annotated[int, typer.Argument(help="The number of another.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show where the work of two runs came out otherwise; exit code 1 where it did."""
    found = ask(data, lambda client: client.get(f"/v1/runs/{pid}/diff", other=other))
    if as_json:
        emit(found)
    else:
        rows = [(piece, *map(_came_out, each)) for piece, each in found["differs"].items()]
        if rows:
            show(table(("WORK", f"RUN {pid}", f"RUN {other}"), rows))
        say(f"{found['same']} pieces of work came out the same, {len(rows)} otherwise")
    if found["differs"]:
        raise typer.Exit(1)


def _came_out(piece: dict[str, Any] | None) -> str:
    """How a piece of work came out, in short."""
    if piece is None:
        return "not done"
    return short(f"{piece['state']}: {piece['error']}" if piece["error"] else piece["value"], 60)
