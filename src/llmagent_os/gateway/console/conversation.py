"""A conversation with an agent: lines in, answers out."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import Conflict, LLMAgentOSError, NotFound, from_data
from ...core.records import Json
from ...core.visible import visible
from ..client import Address, Client
from ..notices import Notice
from .asking import Asker
from .options import reach
from .output import say, short
from .screen import Screen

T = TypeVar("T")
TRIES, PAUSE = 10, 0.1  # how often a message is taken back that nobody knows of yet; seconds between


async def answer(client: Client, agent: str, body: Mapping[str, Json], screen: Screen, task: str = "") -> Json:
    """Send a message and return the reply, showing it as it comes. Raises why there is none.

    What the agent asks a person meanwhile is asked here. Cancelled, it has the agent stop too. What was sent before as
    that `task` is not done again: its reply is waited for.
    """
    path, task, asker = f"/v1/agents/{agent}/messages", task or uuid.uuid4().hex, Asker(client)
    screen.wait()
    try:
        async with aclosing(client.events(path, {**body, "stream": True, "calls": True}, task)) as events:
            async for name, data in events:
                if name == "error":
                    raise from_data(data["error"])
                if name == "reply":
                    screen.end(data["text"])
                    return data
                _hear(name, data, screen, asker)
    except asyncio.CancelledError:
        await _take_back(client, task, asker)
        raise
    except LLMAgentOSError:
        screen.pause()
        raise
    finally:
        screen.close()
        await asker.close()
    raise LLMAgentOSError("the answer broke off; look with: llmagent-os doctor")


def _hear(name: str, data: dict[str, Any], screen: Screen, asker: Asker) -> None:
    """Take an event on the way to the reply."""
    if name == "chunk":
        screen.piece(data["text"])
    elif name == "calling":
        screen.calling(data)
    elif name == "reading":
        screen.tell(Notice("reading", data).text)
    elif asker.hears(name):
        screen.pause()
        asker.hear(name, data)
    if not asker.asked:
        screen.wait()


async def _take_back(client: Client, task: str, asker: Asker) -> None:
    asked = asker.asked
    for _ in range(TRIES):
        try:
            await client.delete(f"/v1/tasks/{task}")
        except NotFound:  # not accepted: it may be on its way
            await asyncio.sleep(PAUSE)
        except Conflict:  # it has answered meanwhile
            return
        else:
            if asked:
                say("\n(what was asked about it is taken back)")
            return


_CITED = 160  # characters of a passage, or of a sentence, that are shown
_DOUBTED = {"unsupported": "not in the sources", "contradicted": "against {against}"}
"""How it is told of a sentence of an answer that it does not stand in what it was answered from."""


def tell_more(reply: Mapping[str, Json]) -> None:
    """Say what a reply's text does not: that it was cut off, what it cites, what of it does not stand in its sources,
    and its files, with the command that saves each.
    """
    if reply["finish"] == "length":
        say("(cut off: the answer had as many tokens as it may have)")
    for each in reply.get("citations", ()):
        where = f"{each['source']}, {each['begin']}-{each['end']}"
        say(visible(f"[{each['number']}] {each['title']} ({where}): {short(each['text'], _CITED)}"))
    for each in (reply.get("grounding") or {}).get("sentences", ()):
        if each["verdict"] in _DOUBTED:
            say(visible(f"({_DOUBTED[each['verdict']].format(**each)}: {short(each['text'], _CITED)})"))
    for part in reply["parts"]:
        if part["type"] != "text":
            name = Path(part["name"]).name  # a tool chose it: no folders, nothing for a shell to run
            say(f"[{part['type']}] {name}: save it with: llmagent-os save {part['blob']} {shlex.quote(name)}")


class Conversation:
    """One agent and one session, which remembers what was said."""

    def __init__(self, where: Address, agent: str, session: str | None = None) -> None:
        self.where, self.agent = where, agent
        self.session = session or f"chat-{uuid.uuid4().hex[:8]}"

    def say(self, text: str, screen: Screen, task: str = "") -> Json:
        """Send a message, show the answer as it comes, and return the whole reply; see `answer`."""
        body = {"text": text, "session": self.session}
        reply = self.do(lambda client: answer(client, self.agent, body, screen, task))
        tell_more(reply)
        return reply

    def undo(self) -> dict[str, Any]:
        """Take the last message and its answer back, which are returned as `{text, tools}`.

        Raises InvalidRequest where there is none, Conflict where the agent is at work.
        """
        body = {"body": {"rewind": True}, "session": self.session}
        done = self.do(lambda client: client.post(f"/v1/agents/{self.agent}/messages", body))
        if not done["done"]:
            raise Conflict(f"{self.agent} is still at work in session {self.session}; try again")
        rewound: dict[str, Any] = done["reply"]["rewound"]
        return rewound

    def do(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do something with the system."""
        return asyncio.run(reach(self.where, work))

    def pipe(self, lines: Iterable[str]) -> bool:
        """Answer each line; False if one could not be answered, which standard error explains."""
        well = True
        for line in filter(None, map(str.strip, lines)):
            try:
                self.say(line, Screen())
            except LLMAgentOSError as error:
                say(f"llmagent-os: {error.message}")
                well = False
        return well
