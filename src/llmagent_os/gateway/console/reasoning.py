"""`knowledge facts`, `rules`, `infer`, `explain`, `graph` and `extract`: facts, what follows from them, and why."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ...core.errors import InvalidRequest, NotFound
from ...core.visible import visible
from ...knowledge.triples import BASE
from ..client import Client
from .options import AsJson, Data, ask, commands, examples, text_of
from .output import emit, emitted, moment, say, short, show, table

Agent = Annotated[str | None, typer.Option(metavar="AGENT", help="An agent's alone; every agent's without it.")]
Mine = Annotated[bool, typer.Option("--mine", help="Yours alone; everybody's without it.")]
Svg = Annotated[bool, typer.Option("--svg", help="As an SVG image, on standard output.")]
At = Annotated[str | None, typer.Option(metavar="TIME", help="As it was or will be at a time, like 2026-03-01.")]
Base = Annotated[str, typer.Option(metavar="IRI", help="What stands before a name in its IRI.")]
FACTS = "/v1/knowledge/facts"
MAPPED = 'JSON like {"subject": "{name}", "facts": {"born in": "{city}"}}: of a table.'

facts = commands(no_args_is_help=True, help="Add, list and remove facts; say which names are the same thing.")
rules = commands(no_args_is_help=True, help="Add, list and remove files of rules.")


def whose(agent: str | None, mine: bool) -> dict[str, Any]:
    """Whose knowledge is changed, as the routes take it."""
    return {"agent": agent or "", "shared": not mine}


@facts.command(epilog=examples('knowledge facts add "budget meeting" room "Room 2"',
                               "knowledge facts add Ann 'lives in' Oslo --since 2026-03-01"))  # fmt: skip
def add(
    subject: Annotated[str, typer.Argument(help="What it is about.")],
    predicate: Annotated[str, typer.Argument(help="What is said of it.")],
    object: Annotated[str, typer.Argument(help="What that is; a number is kept as one.")],
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From when on, like 2026-03-01; now.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until when; for good.")] = None,
    source: Annotated[str, typer.Option(help="Where it is from; you without.")] = "",
    sure: Annotated[float, typer.Option(min=0.001, max=1, help="How sure it is.")] = 1.0,
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Add a fact. A newer one supersedes the older one where the rules say that its predicate is functional."""
    told = {"subject": subject, "predicate": predicate, "object": _value(object), "since": since, "until": until}
    body = {"facts": [told | {"confidence": sure}], "source": source, **whose(agent, mine)}
    done = ask(data, lambda client: client.post(FACTS, body))
    say(f"fact {done['numbers'][0]}")


@facts.command(epilog=examples("knowledge facts load people.csv --map people.map.json",
                               "knowledge facts load people.ttl --base http://example.org/"))  # fmt: skip
def load(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON (list of records), JSONL, RDF.")],
    map: Annotated[Path | None, typer.Option("--map", metavar="FILE", exists=True, dir_okay=False, help=MAPPED)] = None,
    base: Base = BASE,
    trusted: Annotated[bool, typer.Option("--trusted", help="Its words may direct an agent, as your own do.")] = False,
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:  # fmt: skip
    """Have the rows of a table be facts, each with its row. Told again: what is new begins, what is gone ends now.

    A file of RDF (.ttl, .nt, .nq, .trig, .jsonld, .rdf; the extra `graph`) needs no --map: each triple is a fact."""
    about = {"source": os.path.abspath(file), "trusted": trusted, "base": base, **whose(agent, mine)}
    about |= {"mapping": text_of(map)} if map else {}
    content = file.read_bytes()
    done = ask(data, lambda client: client.put(FACTS, content, **about))
    say(f"{done['added']} new, {done['same']} as they were, {done['ended']} ended{_disputed(done)}")
    if done.get("left_out"):
        say(f"{done['left_out']} triples were left out: empty, longer than 1,000 characters, or about a triple")


@facts.command(epilog=examples("knowledge facts export > facts.ttl", "knowledge facts export --format jsonld"))
def export(
    format: Annotated[str, typer.Option(help="ttl, nt, nq, trig, jsonld or rdf.")] = "ttl",
    base: Base = BASE,
    agent: Agent = None,
    data: Data = None,
) -> None:
    """Write the facts that hold now as RDF, by the extra `graph`."""
    query = {"format": format, "base": base, **_of(agent)}
    sys.stdout.buffer.write(ask(data, lambda client: client.read("/v1/knowledge/export", **query)))


def sparql(
    query: Annotated[str, typer.Argument(help="SELECT, ASK, CONSTRUCT or DESCRIBE.")],
    base: Base = BASE,
    agent: Agent = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many rows.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Ask the facts that hold now in SPARQL, by the extra `graph`.

    Names are IRIs below the base, which the empty prefix stands for: `:Ann`. GRAPH is the source of a fact."""
    body = {"query": query, "base": base, "agent": agent, "limit": limit}
    found = ask(data, lambda client: client.post("/v1/knowledge/sparql", body))
    if as_json:
        emit(found)
    elif "answer" in found:
        print("yes" if found["answer"] else "no")
    else:
        rows = found["rows"] if "rows" in found else [[*each.values()] for each in found["facts"]]
        heads = found.get("variables", ("subject", "predicate", "object"))
        show(table(heads, (tuple(None if each is None else visible(str(each)) for each in row) for row in rows)))
        if found["more"]:
            say(f"there are more than {limit}: --limit")


@facts.command("list", epilog=examples("knowledge facts list --about 'budget meeting'"))
def listed(
    about: Annotated[str | None, typer.Option(metavar="SUBJECT", help="Those of one subject.")] = None,
    predicate: Annotated[str | None, typer.Option(help="Those of one predicate.")] = None,
    source: Annotated[str | None, typer.Option(help="Those of one source.")] = None,
    agent: Agent = None,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Go on after this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List facts, those too that ended or were superseded; HOLDS says which hold now."""
    query = {"subject": about, "predicate": predicate, "source": source, "agent": agent}
    given = {name: each for name, each in query.items() if each is not None} | {"after": after, "limit": limit}
    found = ask(data, lambda client: client.get(FACTS, **given))["facts"]
    if emitted(found, as_json):
        return
    show(table(("FACT", "SUBJECT", "PREDICATE", "OBJECT", "HOLDS", "SINCE", "UNTIL", "SOURCE"), map(_row, found)))
    if len(found) == limit:
        say(f"there may be more: --after {found[-1]['number']}")


def _row(fact: Mapping[str, Any]) -> tuple[object, ...]:
    words = (visible(str(fact[each])) for each in ("subject", "predicate", "object"))
    begins = fact["recorded"] if fact["since"] is None else fact["since"]
    times = (None if each is None else moment(each) for each in (begins, fact["until"]))
    return fact["number"], *words, "yes" if fact["holds"] else "no", *times, visible(fact["source"])


@facts.command(epilog=examples("knowledge facts remove 17 18", "knowledge facts remove --source /home/ann/people.csv"))
def remove(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[FACT]...", help="As `list` tells them.")] = None,
    source: Annotated[str, typer.Option(help="All of a source.")] = "",
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Forget facts for good, with their history."""
    about = {"number": numbers or [], "source": source, **whose(agent, mine)}
    done = ask(data, lambda client: client.delete(FACTS, **about))
    say(f"forgot {done['removed']} facts")


@facts.command(epilog=examples("knowledge facts merge IBM 'Big Blue'"))
def merge(
    kept: Annotated[str, typer.Argument(help="The name that stands for both.")],
    other: Annotated[str, typer.Argument(help="The other name.")],
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Say that two names are the same thing; `part` takes it back."""
    body = {"kept": kept, "other": other, **whose(agent, mine)}
    done = ask(data, lambda client: client.post("/v1/knowledge/names", body))
    say(f"merged as {done['number']}")


@facts.command(epilog=examples("knowledge facts part 3"))
def part(
    number: Annotated[int, typer.Argument(help="As `merge` told it, or `names` does.")],
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Take the merging of two names back, whatever came after it."""
    ask(data, lambda client: client.delete("/v1/knowledge/names", number=number, **whose(agent, mine)))


@facts.command(epilog=examples("knowledge facts names"))
def names(agent: Agent = None, as_json: AsJson = False, data: Data = None) -> None:
    """List which names were merged."""
    found = ask(data, lambda client: client.get("/v1/knowledge/names", **_of(agent)))["names"]
    if not emitted(found, as_json):
        rows = ((each["number"], visible(each["kept"]), visible(each["other"])) for each in found)
        show(table(("NUMBER", "KEPT", "OTHER"), rows))


@rules.command("add", epilog=examples("knowledge rules add calendar.rules"))
def rule(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="Rules.")],
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Check files of rules, with those that are kept, and keep them, each under its name and in place of that.

    An error names file, line and variable."""

    async def work(client: Client) -> None:
        for file in files:
            text = text_of(file).encode()
            done = await client.put("/v1/knowledge/rules", text, name=file.name, **whose(agent, mine))
            say(visible(f"{file.name}: {done['rules']} rules, {done['facts']} facts"))

    ask(data, work)


@rules.command("list", epilog=examples("knowledge rules list"))
def all_rules(agent: Agent = None, as_json: AsJson = False, data: Data = None) -> None:
    """List the files of rules."""
    found = ask(data, lambda client: client.get("/v1/knowledge/rules", **_of(agent)))["rules"]
    if not emitted(found, as_json):
        rows = ((visible(each["name"]), each["agent"] or None, each["principal"], len(each["text"].splitlines()),
                 moment(each['added'])) for each in found)  # fmt: skip
        show(table(("NAME", "AGENT", "WHOSE", "LINES", "ADDED"), rows))


@rules.command("show", epilog=examples("knowledge rules show calendar.rules"))
def text(
    name: Annotated[str, typer.Argument(help="As `list` tells it.")], agent: Agent = None, data: Data = None
) -> None:
    """Print a file of rules."""
    found = ask(data, lambda client: client.get("/v1/knowledge/rules", **_of(agent)))["rules"]
    same = [each["text"] for each in found if each["name"] == name]
    if not same:
        raise NotFound(f"there are no rules {name!r}; see: llmagent-os knowledge rules list")
    print("\n".join(same), end="")


@rules.command("remove", epilog=examples("knowledge rules remove calendar.rules"))
def unrule(
    name: Annotated[str, typer.Argument(help="As `list` tells it.")],
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Remove a file of rules."""
    ask(data, lambda client: client.delete("/v1/knowledge/rules", name=name, **whose(agent, mine)))


def infer(
    question: Annotated[str, typer.Argument(help='Like room(X, "Room 2"): a capital begins what is asked for.')],
    at: At = None,
    agent: Agent = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many answers.")] = 10,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Answer a question from facts and rules; where there is no answer, say what each rule lacks."""
    body = {"question": question, "limit": limit, "agent": agent, "at": _moment(at)}
    found = ask(data, lambda client: client.post("/v1/knowledge/infer", body))
    if as_json:
        emit(found)
        return
    for each in found["answers"]:
        sure = f"  ({each['confidence']:.3g} sure)" if each["confidence"] < 1 else ""
        values = ", ".join(f"{name} = {value}" for name, value in each["values"].items())
        print(visible(f"{values or each['fact']}{sure}"))
        for other in each["against"]:
            say(visible(f"  which goes against {other}, said before by somebody more to be trusted"))
    if found["more"]:
        say(f"there are more than {limit}: --limit")
    for each in found["why_not"]:
        say(visible(each))
    if not found["answers"]:
        raise typer.Exit(1)


def explain(
    fact: Annotated[str, typer.Argument(help='Like room("budget meeting", "Room 2").')],
    at: At = None,
    agent: Agent = None,
    svg: Svg = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show why a fact holds, down to the sentences that say so; or why it does not, with exit code 1."""
    query = {"fact": fact, **_of(agent), **({"at": _moment(at)} if at else {}), **({"svg": "true"} if svg else {})}
    found = ask(data, lambda client: client.get("/v1/knowledge/explain", **query))
    if as_json:
        emit(found)
    elif svg:
        print(found["svg"], end="")
    else:
        print("\n".join(map(visible, found["text"].splitlines())))


def graph(
    about: Annotated[str, typer.Argument(help="A name: with what is near it; everything without.")] = "",
    depth: Annotated[int, typer.Option(min=1, max=5, help="How far from it.")] = 2,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many facts.")] = 100,
    agent: Agent = None,
    svg: Svg = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show facts as a graph, given and concluded: as a table, JSON or a picture."""
    query = {"about": about, "depth": depth, "limit": limit, **_of(agent), **({"svg": "true"} if svg else {})}
    found = ask(data, lambda client: client.get("/v1/knowledge/graph", **query))
    if as_json:
        emit(found)
    elif svg:
        print(found["svg"], end="")
    else:
        rows = (
            (short(visible(each[name]), 60) for name in ("subject", "predicate", "object")) for each in found["edges"]
        )
        show(table(("SUBJECT", "PREDICATE", "OBJECT"), map(tuple, rows)))


def extract(
    source: Annotated[str, typer.Option(metavar="BEGIN", help="How the name of where they are from begins.")] = "",
    model: Annotated[str, typer.Option(help="A model that reads them; the patterns of the rules without.")] = "",
    calls: Annotated[int, typer.Option(min=1, help="Calls of the model, at most.")] = 20,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Go on after this document, with a model.")] = 0,
    agent: Agent = None,
    mine: Mine = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Read facts in the documents that are known, each with the sentence that says so.

    By the patterns that the rules declare; with --model a model looks for facts of known predicates, while nobody else
    needs it, and what does not stand in the text is refused."""
    body = {"source": source, "model": model, "calls": calls, "after": after, **whose(agent, mine)}
    done = ask(data, lambda client: client.post("/v1/knowledge/extract", body))
    if as_json:
        emit(done)
        return
    said = f"{done['added']} facts new, {done['same']} as they were, {done['gone']} gone{_disputed(done)}"
    say(f"{done['documents']} documents: {said}")
    if model:
        say(f"{done['calls']} calls; {done['refused']} facts were refused, which do not stand in the text")
        if done["left"]:
            say(f"{done['left']} documents are left: --after {done['after']}")


def _disputed(done: Mapping[str, Any]) -> str:
    """What to tell of facts that go against what somebody said whose words may direct agents."""
    many = done["disputed"]
    return (
        f"; {many} stand beside facts that they go against, and supersede none: see `knowledge facts list`"
        if many
        else ""
    )


def _of(agent: str | None) -> dict[str, str]:
    return {} if agent is None else {"agent": agent}


def _value(text: str) -> str | int | float:
    """A number where somebody wrote one."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float) and not isinstance(found, bool) else text


def _moment(text: str | None) -> float | None:
    try:
        return None if text is None else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InvalidRequest(f"{text!r} is no time: write it like 2026-03-01 or 2026-03-01T09:30") from None
