"""A question of an agent's on the terminal: what will be done, where each value came from, and yes, no or edit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ...core import codec
from ...core.errors import LLMAgentOSError
from ...core.records import Json
from ..client import Client
from ..notices import became
from .echo import echo, forget
from .output import say

PROMPT = "Allow it? [y/N/edit] "


def described(kept: Mapping[str, Any]) -> Iterator[str]:
    """A question in lines: the call, each argument with its origin, and why somebody is asked."""
    yield f"{kept['agent']} (process {kept['pid']}) wants to {kept['tool']}"
    for name, value in kept["arguments"].items():
        origin = kept["origins"].get(name) or kept["sources"].get(name)
        yield f"    {plain(name)} = {shown(value)}" + (f"   <- from {plain(origin)}" if origin else "")
    yield f"    why you are asked: {plain(kept['why'])}"
    if kept["four_eyes"]:
        yield f"    four eyes: somebody else than {kept['principal']} has to allow it"


def shown(value: Json) -> str:
    """A value as it is, on one line."""
    return plain(codec.dumps(value).decode())


def plain(text: str) -> str:
    """A text that somebody else wrote, such as a file's name: no character of it moves the cursor or hides another."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


class Asker:
    """Puts questions to whoever sits at the terminal, one after another, while an answer is waited for.

    Where nobody does, it says how each is answered.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._here = sys.stdin.isatty() and sys.stderr.isatty()
        self._turn = asyncio.Lock()
        self._asking: dict[str, asyncio.Task[None]] = {}

    def hears(self, name: str) -> bool:
        """Whether an event of the stream is one of these."""
        return name in ("question", "answered", "waiting")

    def hear(self, name: str, data: dict[str, Any]) -> None:
        """Take such an event."""
        if name == "waiting":
            say(f"(waiting: {data['text']})")
        elif name == "question":
            self._asking[data["id"]] = asyncio.ensure_future(self._ask(data))
        elif (task := self._asking.pop(data["id"], None)) is not None:  # elsewhere, or nobody can any more
            task.cancel()
            say(f"\n({data['tool']} {became(data)})")

    @property
    def asked(self) -> bool:
        """Whether a question waits for its answer."""
        return bool(self._asking)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, kept: dict[str, Any]) -> None:
        async with self._turn:
            say("\n" + "\n".join(described(kept)))
            if not self._here:
                which = kept["id"]
                say(f"    it waits; answer with: llmagent-os approvals allow {which}, or refuse {which}")
                return
            forget()
            try:
                with echo(True):
                    answer = await self._answer(kept)
                found = await self._client.post(f"/v1/approvals/{kept['id']}", answer)
                self._asking.pop(kept["id"], None)
                say(f"({found['tool']} {became(found)})")
            except LLMAgentOSError as error:  # too late, or not this person's to allow: the answer is waited for still
                say(f"llmagent-os: {error.message}")

    async def _answer(self, kept: Mapping[str, Any]) -> dict[str, Json]:
        while True:
            said = (await typed(PROMPT if kept["editable"] else PROMPT.replace("/edit", ""))).strip().lower()
            if said in ("y", "yes"):
                return {"allow": True}
            if said in ("", "n", "no"):
                return {"allow": False}
            if said in ("e", "edit") and kept["editable"]:
                return {"allow": True, "arguments": await _edited(kept["arguments"])}
            say("y lets it happen once, n (or nothing) does not, edit lets it happen with other values")


async def _edited(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments, each as it is or as somebody types it anew."""
    say("type each value anew; an empty line keeps it")
    changed = dict(arguments)
    for name, value in arguments.items():
        while text := await typed(f"    {plain(name)} [{shown(value)}] "):
            try:
                changed[name] = text if isinstance(value, str) else yaml.safe_load(text)
                break
            except yaml.YAMLError:
                say(f"that is no value such as {shown(value)}")
    return changed


async def typed(prompt: str) -> str:
    """A line from the terminal without its end; cancelling leaves the terminal as it was. At its end: nothing."""
    print(prompt, end="", file=sys.stderr, flush=True)
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        text = sys.stdin.readline()
        if not line.done():
            line.set_result(text.rstrip("\n"))

    loop.add_reader(sys.stdin, read)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)
