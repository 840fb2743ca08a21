"""Hostile inputs of up to 2 MB through every way in: does anybody else have to wait, and what does each cost?

While one is worked on, another client asks for `/health` and for a small chat every few milliseconds. Reported are the
longest that it waited, and the CPU of the server and its children, without what that client's own requests cost. Beside
each stands how long that client waited just before, with nothing hostile sent: what a busy machine makes of the bench.

    python bench/stall.py [--json] [--only WORDS] [--longest 60]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from common import Report, Server, folder, run, say
from stall_inputs import (
    CALLS,
    CHATS,
    DOCUMENTS,
    FILES,
    ITEMS,
    LISTINGS,
    PAGES,
    PARTS,
    RESULTS,
    STREAMS,
    TABLE,
    chat,
    filled,
    schema,
    tool,
    user,
)
from stall_mcp import Odd

from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Json
from llmagent_os.gateway.client import Address
from llmagent_os.llm.catalog import resolve

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
WAIT, CPU = 0.1, 2.0  # seconds: the most that others wait, and that an input costs
AFTER = 0.15  # seconds after its answer in which an input still counts
IDLE = 0.5  # seconds before it in which nothing is sent
TURNS = 40  # of the conversation that is replayed
CHAT = "/v1/chat/completions"
ACTED_ON = ("names", "links", "dots")  # results after which the agent is made to act
REVIEWED = {"pictures": "![", "brackets": "[", "tags": "<a ", "digits": "4111 ", "keys": "sk-", "tokens": "<KEY_"}

Work = Callable[[], Awaitable[None]]


def cpu_of_all(pid: int) -> float:
    """CPU seconds of a process and of all below it, those that have ended included."""
    total, left = 0, [pid]
    while left:
        each = left.pop()
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{each}/task").glob("*/children")
            left += [int(child) for thread in children for child in thread.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICK


class Watcher:
    """The other client, in a process of its own: what it waited, by when it asked."""

    def __init__(self, url: str, key: str) -> None:
        command = [sys.executable, str(HERE / "stall_watch.py"), url, key]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._waits: list[tuple[float, float]] = []
        self._costs: list[float] = []
        self.failed = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, took, status = line.split()
            self._waits.append((float(at), float(took)))
            self.failed += status != "200"

    def between(self, began: float, ended: float) -> list[float]:
        """What was waited by requests that were on their way at any time between two moments."""
        return [took for at, took in self._waits if at <= ended and at + took >= began]

    def learned(self, used: float, asked: int) -> float:
        """What one of its requests costs the server, by all the times in which nothing else was done."""
        self._costs.append(used / max(1, asked))
        return statistics.median(self._costs)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Far:
    """Servers of other people: pages, documents, and a model's; each gives what is asked for by name."""

    def __init__(self) -> None:
        self.url, self.stream = "", ""
        self.documents = {name: asyncio.Event() for name in DOCUMENTS}
        self.odd = Odd()

    async def mcp(self, request: web.Request) -> web.Response:
        """What the MCP server says to a message, as events."""
        asked = await request.json()
        told = await asyncio.to_thread(lambda: [json.dumps(each) for each in self.odd.answers(asked)])
        events = "".join(f"event: message\ndata: {each}\n\n" for each in told)
        return web.Response(text=events, content_type="text/event-stream", status=200 if told else 202)

    async def page(self, request: web.Request) -> web.Response:
        """A page."""
        kind, made = PAGES[request.match_info["name"]]
        return web.Response(body=await asyncio.to_thread(made), headers={"Content-Type": kind})

    async def document(self, request: web.Request) -> web.Response:
        """An OpenAPI document, once its turn has come."""
        name = request.match_info["name"]
        await self.documents[name].wait()
        return web.Response(body=await asyncio.to_thread(DOCUMENTS[name]), content_type="application/json")

    async def answer(self, request: web.Request) -> web.Response:
        """An answer of a model."""
        await request.read()
        return web.Response(body=await asyncio.to_thread(STREAMS[self.stream]), content_type="text/event-stream")

    @asynccontextmanager
    async def there(self) -> AsyncIterator[None]:
        """Serve for the block."""
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([
            web.get("/page/{name}", self.page), web.get("/document/{name}", self.document),
            web.post("/v1/chat/completions", self.answer), web.post("/mcp", self.mcp),
        ])  # fmt: skip
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


class Siege:
    """One server, and what is sent to it."""

    def __init__(self, address: Address, far: Far, session: aiohttp.ClientSession, held: str) -> None:
        """`held` is the file of a model for grammars, empty where there is none."""
        self.url, self.key, self.far, self.session, self.held = address.url, address.key, far, session, held

    async def send(self, path: str, body: bytes | Json, method: str = "POST", kind: str = "application/json") -> Any:
        """Send a body, and read the answer whatever it is."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.request(
            method, self.url + path, data=data, headers={"Content-Type": kind}
        ) as answer:  # fmt: skip
            told = await answer.read()
        if os.environ.get("STALL_SHOW"):
            say(f"{method} {path} {answer.status} {told[:200]!r}")
        return json.loads(told) if answer.content_type == "application/json" else told

    async def call(self, name: str, arguments: Json) -> Any:
        """Have a tool called."""
        return await self.send(f"/v1/tools/{name}", {"arguments": arguments})

    async def models(self) -> None:
        """The models that are asked."""
        given: Json = {"match": "^give (.+)$", "step": 0, "calls": [{"name": "given", "arguments": {"name": "{1}"}}]}
        act: Json = {"step": 1, "calls": [{"name": "act", "arguments": {f"a{n}": f"evil{n}" for n in range(8000)}}]}
        fetch: Json = {
            "match": "^get (.+)$", "step": 0,
            "calls": [{"name": "fetch", "arguments": {"url": f"{self.far.url}/page/{{1}}"}}],
        }  # fmt: skip
        rules: Json = [given, fetch, act, {"step": 2, "text": "done"}]
        for model in (
            {"name": "echo", "engine": "scripted"},
            {"name": "caller", "engine": "scripted", "options": {"rules": rules}},
            {"name": "remote", "engine": "openai", "source": f"{self.far.url}/v1"},
        ):
            await self.send("/v1/models", model)

    async def prepare(self) -> None:
        """Agents, files and a long conversation; agents begin once every source of tools is known to be there."""
        for each in self.far.documents.values():
            each.set()
        reader: Json = {"name": "reader", "model": "caller", "tools": ["given", "act", "fetch"]}
        reader["policy"] = {"untrusted": "refuse"}
        if self.held:  # which keeps everybody waiting while it is opened, and is its owner's act
            await self.send("/v1/models", {"name": "held", "engine": "llamacpp", "source": self.held})
            await self.send(CHAT, chat("held", max_tokens=1))
        for agent in ({"name": "plain", "model": "echo"}, {"name": "far", "model": "remote"}, reader):
            await self.send("/v1/agents", agent)
        await self.files()
        for number in range(TURNS):
            await self.send(
                "/v1/agents/plain/messages", {"text": f"{number} {filled('word ', 2000)}", "session": "long"}
            )

    async def files(self) -> None:
        """Put the files into the workspace that tools are tried in."""
        for name, made in FILES.items():
            text = (await asyncio.to_thread(made)).decode()
            await self.call("write_file", {"path": name, "text": text, "replace": True})
        await self.call("change_sql", {"path": "t.db", "statements": TABLE})

    def works(self) -> Iterator[tuple[str, Work]]:
        """Every input by name, but for documents."""
        yield from ((f"chat: {name}", partial(self.sent, CHAT, made)) for name, made in CHATS.items())
        yield from ((f"body: {name}", partial(self.sent, *about)) for name, about in ITEMS.items())
        yield "upload", self.upload
        yield from self.tools()
        yield from ((f"upstream: {name}", partial(self.streamed, name)) for name in STREAMS if name)
        yield "a long stream", partial(self.sent, CHAT, _long)
        yield "replay", self.replay
        for path in ("/openapi.json", "/metrics", "/v1/top", "/v1/tools", "/v1/privacy/export"):
            yield path, partial(self.send, path, b"", "GET")
        yield from self.grammars()

    def tools(self) -> Iterator[tuple[str, Work]]:
        """What tools are asked, and what they give."""
        asked = partial(self.send, "/v1/agents/reader/messages")
        yield from ((f"tool: {name}", partial(self.call, *about)) for name, about in CALLS.items())
        yield from ((f"result: {name}", partial(self.call, "given", {"name": name})) for name in RESULTS)
        yield from ((f"a call after: {name}", partial(asked, {"text": f"give {name}"})) for name in ACTED_ON)
        yield from ((f"page: {name}", partial(asked, {"text": f"get {name}"})) for name in PAGES)
        for server, how in {"odd": "MCP", "far": "MCP over HTTP"}.items():
            give = f"{server}_give"
            yield from ((f"{how} listing: {name}", partial(self.listing, server, name)) for name in LISTINGS)
            yield from ((f"{how} result: {name}", partial(self.call, give, {"name": name})) for name in PARTS if name)

    def reviews(self) -> Iterator[tuple[str, Work]]:
        """The inputs of a server that reviews what is answered."""
        for name, piece in REVIEWED.items():
            body = partial(chat, messages=user(filled(piece)))
            yield f"review: {name}", partial(self.sent, CHAT, body)

    async def sent(self, path: str, made: Callable[[], bytes], method: str = "POST") -> None:
        """Send what is made."""
        await self.send(path, made(), method)

    async def upload(self) -> None:
        """Put a file in place, and read it by a tool."""
        await self.send("/v1/agents/plain/files/a.txt", filled("a\n").encode(), "PUT", "application/octet-stream")

    async def document(self, name: str) -> None:
        """Let a document be imported."""
        self.far.documents[name].set()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            missing = (await self.send("/v1/tools", b"", "GET"))["missing"]
            if not any(each["source"] == f"openapi {name}" and "yet" in str(each["trouble"]) for each in missing):
                return
            await asyncio.sleep(0.1)

    async def listing(self, server: str, name: str) -> None:
        """Have the server list that, and wait until it is read."""
        await self.call(f"{server}_list", {"name": name})
        await asyncio.sleep(0.5)
        await self.call(f"{server}_give", {"name": ""})

    async def streamed(self, name: str) -> None:
        """Have a remote model answer so."""
        self.far.stream = name
        try:
            await self.send(CHAT, chat("remote", stream=True))
        finally:
            self.far.stream = ""

    async def replay(self) -> None:
        """Run a long conversation again."""
        found = await self.send("/v1/processes?name=plain@long", b"", "GET")
        await self.send(f"/v1/processes/{found['processes'][0]['pid']}/replay", b"")

    def grammars(self) -> Iterator[tuple[str, Work]]:
        """Grammars, where there is a model that is held to them."""
        if not self.held:
            return
        bodies: dict[str, dict[str, Any]] = {
            "tools": {"tools": [tool(n) for n in range(1000)]},
            "a long choice": {"choices": ["a" * 300, "b" * 300]},
            "patterns": {"response_format": {
                "type": "json_schema", "json_schema": {"schema": schema(500, "^(a{1,50}b{1,50}){1,50}$")},
            }},
        }  # fmt: skip
        for name, fields in bodies.items():
            yield f"grammar: {name}", partial(self.send, CHAT, chat("held", max_tokens=2, **fields))


def _long() -> bytes:
    return chat(stream=True, messages=user(filled("a", 1 << 20)))


def configured(data: Path, far: Far, review: bool) -> None:
    """Write the configuration."""
    documents = {name: {"source": f"{far.url}/document/{name}"} for name in DOCUMENTS}
    command = [sys.executable, str(HERE / "stall_mcp.py")]
    servers: Json = {"odd": {"command": command}, "far": {"url": f"{far.url}/mcp"}}
    tools: Json = {"hosts": ["*"], "private": ["*"], "mcp": servers, "openapi": documents}
    data.mkdir(parents=True)
    found: dict[str, Json] = {"tools": tools, **({"review": {}} if review else {})}
    (data / "config.yaml").write_text(yaml.safe_dump(found))


async def besieged(report: Report, server: Server, siege: Siege, options: argparse.Namespace, review: bool) -> None:
    """Send one input after another."""
    await siege.models()
    watcher = Watcher(siege.url, siege.key)
    try:
        if "STALL_TRACE" in os.environ:
            await siege.call("given", {"name": "dots"})
        await asyncio.sleep(1.0)
        try_out = partial(_each, report, server, watcher, options)
        if review:
            await try_out(siege.reviews())
            return
        await try_out((f"OpenAPI document: {name}", partial(siege.document, name)) for name in DOCUMENTS)
        await siege.prepare()
        await try_out(siege.works())
    finally:
        watcher.stop()
    report.add("all", "others that were not answered", watcher.failed, "", at_most=0)


async def _each(
    report: Report, server: Server, watcher: Watcher, options: argparse.Namespace, works: Iterable[tuple[str, Work]]
) -> None:
    for name, work in works:
        if options.only in name:
            await _measured(report, server, watcher, name, work, options.longest)


async def _measured(
    report: Report, server: Server, watcher: Watcher, name: str, work: Work, longest: float
) -> None:  # fmt: skip
    idle, rested = time.monotonic(), cpu_of_all(server.pid)
    await asyncio.sleep(IDLE)
    began, before = time.monotonic(), cpu_of_all(server.pid)
    unbothered = watcher.between(idle, began)
    control, each = max(unbothered, default=0.0), watcher.learned(before - rested, len(unbothered))
    try:
        async with asyncio.timeout(longest):
            await work()
    except TimeoutError:
        say(f"stall: {name}: no answer within {longest:g} s")
    except (aiohttp.ClientError, KeyError, LookupError, ValueError) as error:
        say(f"stall: {name}: {error!r}"[:300])
    ended = time.monotonic()
    await asyncio.sleep(AFTER)
    waits = watcher.between(began, ended + AFTER)
    used = cpu_of_all(server.pid) - before - each * len(waits)
    waited = max(waits, default=0.0)
    say(f"{name}: {ended - began:.2f} s, waited {waited:.3f} (idle {control:.3f}), CPU {used:.2f}")
    report.add(name, "longest wait", waited, "s", at_most=WAIT)
    report.add(name, "longest wait before it, idle", control, "s")
    report.add(name, "CPU", max(0.0, used), "s", at_most=CPU)


async def besiege(report: Report, options: argparse.Namespace) -> None:
    """A server as it is by default, and one that reviews."""
    try:
        held = (await resolve("tiny")).source
    except LLMAgentOSError as error:
        held = ""
        say(f"stall: grammars are left out: {error}")
    for review in (False, True):
        if review and not any(options.only in f"review: {name}" for name in REVIEWED):
            continue
        far = Far()
        with folder() as path:
            async with far.there():
                configured(path / "data", far, review)
                server = Server(path / "data", plugins=[HERE / "stall_plugin.py"])
                address = await asyncio.to_thread(server.start)
                try:
                    headers = {"Authorization": f"Bearer {address.key}"}
                    async with aiohttp.ClientSession(headers=headers) as session:
                        siege = Siege(address, far, session, held)
                        await besieged(report, server, siege, options, review)
                finally:
                    for each in far.documents.values():
                        each.set()
                    await asyncio.to_thread(server.stop)


def measure(report: Report, options: argparse.Namespace) -> None:
    """All of them, one after another."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    asyncio.run(besiege(report, options))


if __name__ == "__main__":
    run(
        "stall", __doc__, measure,
        only=(str, "", "words in the names of the inputs that are sent"),
        longest=(float, 60.0, "seconds after which the client of an input leaves"),
    )  # fmt: skip
