"""A question of an agent's on the terminal: what will be done, where each value came from, and yes, no or edit."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import yaml

from ...core import codec
from ...core.errors import InvalidRequest, LLMAgentOSError
from ...core.records import Json
from ...core.validity import at
from ...core.visible import named, quoted, visible
from ..client import Client
from ..notices import became
from .echo import echo, forget
from .output import say

PROMPT = "Allow it? [y/N/edit] "
REFUSE = "Nothing was typed. Refuse, so that the agent does without? [y/N] "
_GOES_ON = "        | "
_WORDS = {
    "enum": "one of", "const": "only", "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than", "multipleOf": "a multiple of", "minLength": "characters at least",
    "maxLength": "characters at most", "pattern": "with the pattern", "format": "as", "minItems": "items at least",
    "maxItems": "items at most", "items": "each", "properties": "with", "required": "needs", "anyOf": "any of",
    "oneOf": "exactly one of", "allOf": "all of", "description": "for",
}  # fmt: skip
"""How a form's words are told."""


def described(kept: Mapping[str, Any], columns: int | None = None) -> Iterator[str]:
    """A question in lines: the call, each argument with its origin, the files it names, and why somebody is asked.

    With `columns` a line that is longer is broken by us, and marked: a value cannot be made to look like a line.
    """
    for line in _lines(kept):
        yield from folded(line, columns) if columns else (line,)


def _lines(kept: Mapping[str, Any]) -> Iterator[str]:
    does = "wants to" if kept["tool"] != kept.get("kind") else "asks you to"
    yield f"{visible(kept['agent'])} (process {kept['pid']}) {does} {named(kept['tool'])}"
    for name, value in kept["arguments"].items():
        origin = kept["origins"].get(name) or kept["sources"].get(name)
        yield f"    {named(name)} = {quoted(value)}" + (f"   <- from {visible(origin)}" if origin else "")
    for path, digest in kept.get("files", {}).items():
        yield f"    file {named(path)}: {visible(digest)}"
    yield from _asked_for(kept.get("kind"), kept.get("form") or {})
    yield f"    why you are asked: {visible(kept['why'])}"
    if kept["four_eyes"]:
        yield f"    four eyes: somebody else than {visible(kept['principal'])} has to allow it"
    if kept.get("expires") is not None:
        yield f"    nobody can answer after {_moment(kept['expires'])}"
    for each in kept.get("escalate", ()):
        yield f"    {visible(each['to'])} may answer as well from {_moment(each['at'])}"


def _asked_for(kind: str | None, form: Mapping[str, Any]) -> Iterator[str]:
    """What can be said: each option with its number, or each field with what has to be in it."""
    if kind == "choose":
        for number, option in enumerate(form.get("enum", ()), 1):
            yield f"    {number}  {quoted(option)}"
    if kind == "fill":
        for name, field in form.get("properties", {"the value": form}).items():
            needed = ", needed" if name in form.get("required", ()) else ""
            yield f"    fill in {named(name) if field is not form else name}: {_in_words(field, form)}{needed}"


def _in_words(field: Any, form: Mapping[str, Any]) -> str:
    """What a field of a form has to be: its type and bounds."""
    if not isinstance(field, Mapping):
        return "anything"
    meant = {**at(form, field["$ref"]), **field} if "$ref" in field else field
    kinds = meant.get("type", ())
    told = [kinds if isinstance(kinds, str) else " or ".join(kinds)]
    told += [f"{words} {quoted(meant[key])}" for key, words in _WORDS.items() if key in meant]
    return ", ".join(filter(None, told)) or "anything"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def value_of(kept: Mapping[str, Any], text: str) -> Json:
    """What somebody types, as the value that a question asks for: an option or its number, a text, or YAML."""
    options = kept["form"].get("enum") if kept["kind"] == "choose" else None
    if options is not None and text not in options and text.isdecimal() and 0 < int(text) <= len(options):
        return str(options[int(text) - 1])
    if kept["kind"] != "fill":
        return text
    try:
        value: Json = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRequest(f"that is no YAML: {error}", parameter="value") from error
    return value


def folded(line: str, columns: int) -> Iterator[str]:
    """A line in pieces of so many columns at most; all but the first begin with a bar."""
    room = max(columns - 1, 2 * len(_GOES_ON))
    piece, width = "", 0
    for each in line:
        wide = 2 if unicodedata.east_asian_width(each) in "WF" else 1
        if width + wide > room:
            yield piece
            piece, width = _GOES_ON, len(_GOES_ON)
        piece, width = piece + each, width + wide
    yield piece


def columns_of(stream: TextIO) -> int | None:
    """How wide the terminal is that a stream goes to; None where it goes elsewhere."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


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
            say(f"(waiting: {visible(data['text'])})")
        elif name == "question":
            self._asking[data["id"]] = asyncio.ensure_future(self._ask(data))
        elif (task := self._asking.pop(data["id"], None)) is not None:  # elsewhere, or nobody can any more
            task.cancel()
            say(f"\n({named(data['tool'])} {became(data)})")

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
            say("\n" + "\n".join(described(kept, columns_of(sys.stderr))))
            if not self._here:
                which = kept["id"]
                how = f"allow {which}" if kept.get("form") is None else f"answer {which} VALUE"
                say(f"    it waits; answer with: llmagent-os approvals {how}, or refuse {which}")
                return
            try:
                found = await self._settled(kept)
                self._asking.pop(kept["id"], None)
                say(f"({named(found['tool'])} {became(found)})")
            except LLMAgentOSError as error:  # too late, or not this person's to allow: the answer is waited for still
                say(f"llmagent-os: {visible(error.message)}")

    async def _settled(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer that is one; the question with it."""
        while True:
            forget()
            try:
                with echo(True):
                    answer = await self._answer(kept)
                found: dict[str, Any] = await self._client.post(f"/v1/approvals/{kept['id']}", answer)
                return found
            except InvalidRequest as error:
                say(f"llmagent-os: {visible(error.message)}")

    async def _answer(self, kept: Mapping[str, Any]) -> dict[str, Json]:
        try:
            return await self._typed(kept)
        except EOFError:  # nobody types any more
            return {"allow": False}

    async def _typed(self, kept: Mapping[str, Any]) -> dict[str, Json]:
        if kept.get("kind") in ("choose", "fill"):
            return await _said(kept)
        while True:
            can = kept["editable"] or kept.get("form") is not None
            said = (await typed(PROMPT if can else PROMPT.replace("/edit", ""))).strip().lower()
            if said in ("y", "yes") and kept.get("form") is not None:
                return {"value": kept["arguments"]["value"]}
            if said in ("y", "yes"):
                return {"allow": True}
            if said in ("n", "no") or (not said and (kept.get("form") is None or await _refuses())):
                return {"allow": False}
            if not said:
                continue
            if said in ("e", "edit") and kept.get("form") is not None:
                return {"value": await typed("type it anew: ")}
            if said in ("e", "edit") and kept["editable"]:
                return {"allow": True, "arguments": await _edited(kept["arguments"])}
            say("y lets it happen once, n (or nothing) does not, edit lets it happen with other values")


async def _said(kept: Mapping[str, Any]) -> dict[str, Json]:
    """One of some options, or data by its fields or as a whole; who types nothing is asked whether they refuse."""
    fields = kept["form"].get("properties") if kept["kind"] == "fill" else None
    while True:
        if not fields:
            text = (await typed("Which? " if kept["kind"] == "choose" else "In YAML: ")).strip()
            value = value_of(kept, text) if text else None
        else:
            say("type each field, in YAML; nothing leaves it out")
            asked = {name: f"    {named(name)} ({_in_words(field, kept['form'])}) " for name, field in fields.items()}
            lines = {name: (await typed(prompt)).strip() for name, prompt in asked.items()}
            text = "".join(lines.values())
            value = {name: _filled(fields[name], value_of(kept, line), line) for name, line in lines.items() if line}
        if text:
            return {"value": value}
        if await _refuses():
            return {"allow": False}


def _filled(field: Any, value: Json, line: str) -> Json:
    """What is typed into a field: its words, where those are asked for and YAML has another value for them."""
    words = isinstance(field, Mapping) and (field.get("type") == "string" or line in field.get("enum", ()))
    return line if words and not isinstance(value, str) else value


async def _refuses() -> bool:
    """Whether somebody who has typed nothing means to give no answer at all."""
    return (await typed(REFUSE)).strip().lower() in ("y", "yes")


async def _edited(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments, each as it is or as somebody types it anew."""
    say("type each value anew; an empty line keeps it")
    changed = dict(arguments)
    for name, value in arguments.items():
        while text := await typed(f"    {named(name)} [{quoted(value)}] "):
            try:
                changed[name] = _words(text) if isinstance(value, str) else yaml.safe_load(text)
                break
            except yaml.YAMLError:
                say(f"that is no value such as {quoted(value)}")
    return changed


def _words(text: str) -> str:
    """A text as it is typed, or typed in quotes as the old one is shown."""
    try:
        read = codec.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return read if isinstance(read, str) else text


async def typed(prompt: str) -> str:
    """A line from the terminal without its end; cancelling leaves the terminal as it was. At its end: EOFError."""
    print(prompt, end="", file=sys.stderr, flush=True)
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        text = sys.stdin.readline()
        if line.done():
            return
        if text:
            line.set_result(text.rstrip("\n"))
        else:
            line.set_exception(EOFError())

    loop.add_reader(sys.stdin, read)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)
