"""`knowledge`: what agents know."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ...core.errors import LLMAgentOSError
from ...core.trees import plain
from ...core.visible import visible
from ..client import Client, NotRunning
from .options import AsJson, Data, ask, examples, group
from .output import emit, emitted, moment, say, short, show, table
from .reasoning import Agent, Mine, explain, extract, facts, graph, infer, rules, sparql

app, knowledge = group("knowledge", "Add, search and remove what agents know.")
knowledge.add_typer(facts, name="facts")
knowledge.add_typer(rules, name="rules")
knowledge.command(
    epilog=examples("knowledge infer 'room(X, \"Room 2\")'", "knowledge infer 'free(X)' --at 2026-03-01")
)(infer)
knowledge.command(epilog=examples('knowledge explain \'room("budget meeting", "Room 2")\''))(explain)
knowledge.command(epilog=examples("knowledge graph 'budget meeting' --svg > graph.svg"))(graph)
knowledge.command(epilog=examples("knowledge sparql 'SELECT ?who WHERE { ?who :room :Room%202 }'"))(sparql)
knowledge.command(epilog=examples("knowledge extract", "knowledge extract --model default --calls 50"))(extract)

PAGE = 1000  # documents that are asked for at once
LOOK = 0.5  # seconds between two looks at how far it is

Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="May be given several times.")]
Given = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="May be given several times; '' takes them away. As before without it."),
]
Trusted = Annotated[
    bool | None,
    typer.Option("--trusted/--untrusted", help="Its words may direct an agent, as your own do. As before without it."),
]
Source = Annotated[str, typer.Option(metavar="BEGIN", help="How the name of where they are from begins.")]


@knowledge.command(epilog=examples("knowledge add handbook.md", "knowledge add *.csv --tag prices --agent clerk"))
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What is read.")],
    agent: Agent = None,
    mine: Mine = False,
    tag: Given = None,
    trusted: Trusted = None,
    data: Data = None,
) -> None:
    """Add files to what is known, in place of what was known of them.

    Text, Markdown, HTML, JSON, JSONL, CSV, e-mail and source code are read, PDF, Word, PowerPoint and Excel with the
    extra `documents`. What they say directs no agent, unless you
    say that it may. What cannot be read is named, the rest goes in, and the exit code is 1."""

    async def work(client: Client) -> bool:
        whole, about = True, {"agent": agent or "", "shared": not mine, "tags": tag or None, "trusted": trusted}
        for file in files:
            source = os.path.abspath(file)
            try:
                with plain(os.path.realpath(file)) as opened:
                    content = opened.read()
                done = await client.put("/v1/knowledge/documents", content, source=source, **about)
            except NotRunning:
                raise
            except (LLMAgentOSError, OSError) as error:
                why = error.message if isinstance(error, LLMAgentOSError) else error.strerror
                say(visible(f"{file} was not added: {why}"))
                whole = False
                continue
            say(f"added {file}: {done['passages']} passages" if done["changed"] else f"{file} is known already")
        return whole

    if not ask(data, work):
        raise typer.Exit(1)


@knowledge.command(epilog=examples("knowledge sync ~/notes", "knowledge sync mail --mine --tag mail"))
def sync(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="With all that is below it.")],
    agent: Agent = None,
    mine: Mine = False,
    tag: Given = None,
    trusted: Trusted = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Have what is known of a folder be what is in it: only what changed is read, what vanished is forgotten.

    At a terminal it shows how far it is. Stopped by Ctrl-C, it goes on where it was. Without --tag, and without
    --trusted or --untrusted, each file keeps what was said of it before; a new one has the tags that all have, and
    directs no agent."""
    about = {"agent": agent or "", "shared": not mine, "tags": tag or None, "trusted": trusted}
    body = {"folder": os.path.abspath(folder), **about}
    done = ask(data, lambda client: _synced(client, body))
    if as_json:
        emit(done)
        return
    for path, why in done["skipped"].items():
        say(visible(f"skipped {path}: {why}"))
    say(f"{done['added']} read, {done['same']} as they were, {done['removed']} gone, {len(done['skipped'])} skipped")


async def _synced(client: Client, body: dict[str, Any]) -> Any:
    """Have a folder read, show how far it is, and stop it with this command."""
    run, at = asyncio.ensure_future(client.post("/v1/knowledge/sync", body)), os.path.realpath(body["folder"])
    try:
        while not (await asyncio.wait({run}, timeout=LOOK))[0]:
            for each in (await client.get("/v1/knowledge/sync"))["folders"] if sys.stderr.isatty() else ():
                if each["folder"] == at and each["files"]:
                    left = f"{each['done']} of {each['files']} files, about {each['left']:.0f} s left"
                    print(f"\r{left}\x1b[K", end="", file=sys.stderr, flush=True)
        return await run
    except asyncio.CancelledError:
        whose = {"agent": body["agent"], "shared": body["shared"]}
        await client.delete("/v1/knowledge/sync", folder=at, **whose)
        say("stopped; the next time goes on from here")
        raise
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@knowledge.command(epilog=examples("knowledge search 'when is the rent due?'"))
def search(
    text: Annotated[str, typer.Argument(help="What is looked for, in words.")],
    agent: Agent = None,
    source: Source = "",
    tag: Tags = None,
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many passages.")] = 5,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Find the passages that fit best."""
    body = {"text": text, "limit": limit, "agent": agent, "source": source, "tags": tag or []}
    hits = ask(data, lambda client: client.post("/v1/knowledge/search", body))["hits"]
    if emitted(hits, as_json):
        return
    show(table(("SCORE", "SOURCE", "AT", "TITLE", "PASSAGE"), map(_row, hits)))


def _row(hit: dict[str, Any]) -> tuple[object, ...]:
    where, title = visible(hit["source"]), visible(hit["title"])
    return hit["score"], where, f"{hit['begin']}-{hit['end']}", title, short(hit["text"], 200)


@knowledge.command("list", epilog=examples("knowledge list", "knowledge list --tag prices --json"))
def listed(
    agent: Agent = None,
    source: Source = "",
    tag: Tags = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the documents that are known."""

    async def work(client: Client) -> list[dict[str, Any]]:
        found, after = list[dict[str, Any]](), 0
        while True:
            query = {"agent": agent, "source": source, "tags": tag or [], "after": after, "limit": PAGE}
            page = (await client.get("/v1/knowledge", **query))["documents"]
            found += page
            if len(page) < PAGE:
                return found
            after = page[-1]["document"]

    found = ask(data, work)
    if as_json:
        for each in found:
            emit(each)
        return
    rows = ((visible(each["source"]), visible(each["title"]), each["passages"], each["agent"] or None,
             each["principal"], ", ".join(each["tags"]), moment(each['added']))
            for each in found)  # fmt: skip
    show(table(("SOURCE", "TITLE", "PASSAGES", "AGENT", "WHOSE", "TAGS", "ADDED"), rows))


@knowledge.command(epilog=examples("knowledge remove handbook.md", "knowledge remove ~/notes"))
def remove(
    source: Annotated[str, typer.Argument(help="As `knowledge list` tells it; or a path, also of what is gone.")],
    agent: Agent = None,
    mine: Mine = False,
    data: Data = None,
) -> None:
    """Forget the documents of a source, or of all below a folder; the files stay."""

    async def work(client: Client) -> int:
        about, done = {"agent": agent or "", "shared": not mine, "below": True}, {"removed": 0}
        for name in dict.fromkeys((source, os.path.abspath(source), os.path.realpath(source))):
            done = await client.delete("/v1/knowledge/documents", source=name, **about)
            if done["removed"]:
                break
        return int(done["removed"])

    gone = ask(data, work)
    say(visible(f"forgot {gone} documents of {source}" if gone else f"nothing is known of {source}"))
