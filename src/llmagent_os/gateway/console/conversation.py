"""A conversation with an agent: lines in, answers out, on a terminal or in a pipe."""

from __future__ import annotations

import asyncio
import readline
import shlex
import sys
import uuid
from collections.abc import Iterable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from ...core.errors import Conflict, LLMAgentOSError, from_data
from ...core.records import Json
from ..client import Address, Client
from .asking import Asker
from .options import reach
from .output import say

HELP = """\
/agent NAME   talk to another agent
/new          start a new conversation
/status       say who answers, and from where
/quit         leave (also Ctrl-D)
Ctrl-C stops an answer. Anything else is sent to the agent."""


class Shown:
    """An answer as it is printed while it comes; without `live` nothing is."""

    def __init__(self, live: bool) -> None:
        self._live, self._open = live, False

    def piece(self, text: str) -> None:
        """Print a piece."""
        if self._live:
            print(text, end="", flush=True)
            self._open = self._open or bool(text)

    def pause(self) -> None:
        """End a line that was begun: what is said next stands on one of its own."""
        if self._open:
            print(flush=True)
        self._open = False

    def end(self, text: str) -> None:
        """Print the end, or all of it where nothing came."""
        if self._live:
            print("" if self._open else text, flush=True)


async def answer(client: Client, agent: str, body: Mapping[str, Json], live: bool = True) -> Json:
    """Send a message and return the reply; with `live`, print its text as it comes. Raises why there is none.

    What the agent asks a person meanwhile is asked here. Cancelled, it has the agent stop too.
    """
    path = f"/v1/agents/{agent}/messages"
    task, shown, asker = "", Shown(live), Asker(client)
    try:
        async with aclosing(client.events(path, {**body, "stream": True})) as events:
            async for name, data in events:
                if name == "task":
                    task = data["task"]
                elif name == "chunk":
                    shown.piece(data["text"])
                elif name == "error":
                    raise from_data(data["error"])
                elif name == "reply":
                    shown.end(data["text"])
                    return data
                elif asker.hears(name):
                    shown.pause()
                    asker.hear(name, data)
    except asyncio.CancelledError:
        if task:
            await _take_back(client, task, asker)
        raise
    except LLMAgentOSError:
        shown.pause()
        raise
    finally:
        await asker.close()
    raise LLMAgentOSError("the answer broke off; look with: llmagent-os doctor")


async def _take_back(client: Client, task: str, asker: Asker) -> None:
    asked = asker.asked
    with suppress(Conflict):  # it has answered meanwhile
        await client.delete(f"/v1/tasks/{task}")
        if asked:
            say("\n(what was asked about it is taken back)")


def tell_more(reply: Mapping[str, Json]) -> None:
    """Say what a reply's text does not: that it was cut off, and its files, with the command that saves each."""
    if reply["finish"] == "length":
        say("(cut off: the answer had as many tokens as it may have)")
    for part in reply["parts"]:
        if part["type"] != "text":
            name = Path(part["name"]).name  # a tool chose it: no folders, nothing for a shell to run
            say(f"[{part['type']}] {name}: save it with: llmagent-os save {part['blob']} {shlex.quote(name)}")


class Conversation:
    """One agent and one session, which remembers what was said."""

    def __init__(self, where: Address, agent: str, session: str | None = None) -> None:
        self._where = where
        self.agent = agent
        self.session = session or _new_session()

    def say(self, text: str) -> Json:
        """Send a line, print the answer as it comes, and return the whole reply."""
        return asyncio.run(self._say(text))

    async def _say(self, text: str) -> Json:
        body = {"text": text, "session": self.session}
        reply = await reach(self._where, lambda client: answer(client, self.agent, body))
        tell_more(reply)
        return reply

    def pipe(self, lines: Iterable[str]) -> bool:
        """Answer each line; False if one could not be answered, which standard error explains."""
        well = True
        for line in filter(None, map(str.strip, lines)):
            try:
                self.say(line)
            except LLMAgentOSError as error:
                say(f"llmagent-os: {error.message}")
                well = False
        return well

    def talk(self, history: Path) -> None:
        """Read from the terminal until /quit, Ctrl-D or Ctrl-C at the prompt; lines are kept in the file `history`."""
        say(f"{self.agent} listens, in session {self.session}. /help says more, /quit leaves.")
        with suppress(FileNotFoundError):
            readline.read_history_file(history)
        readline.set_history_length(1000)
        with suppress(EOFError, KeyboardInterrupt):
            while self._line(input("> ").strip()):
                readline.write_history_file(history)
        print()

    def _line(self, line: str) -> bool:
        """Do what one line asks for; False to leave."""
        if line == "/quit":
            return False
        try:
            if line.startswith("/"):
                self._command(*line.split(maxsplit=1))
            elif line:
                self.say(line)
        except LLMAgentOSError as error:
            say(f"llmagent-os: {error.message}")
        except KeyboardInterrupt:
            say("\n(stopped)")
        return True

    def _command(self, name: str, rest: str = "") -> None:
        if name == "/agent" and rest:
            asyncio.run(self._status(rest))
            self.agent, self.session = rest, _new_session()
        elif name == "/new":
            self.session = _new_session()
            say(f"session {self.session}")
        elif name == "/status":
            say(asyncio.run(self._status(self.agent)))
        else:
            say(HELP)

    async def _status(self, agent: str) -> str:
        """Who answers and where; raises NotFound for an agent that does not exist."""
        found = await reach(self._where, lambda client: client.get(f"/v1/agents/{agent}"))
        spec = found["spec"]
        return f"{agent} (model {spec['model']}), session {self.session}, at {self._where.url}"


def converse(where: Address, agent: str, session: str | None, history: Path) -> bool:
    """Talk on a terminal, or answer what is piped in; True if everything was answered."""
    conversation = Conversation(where, agent, session)
    if not sys.stdin.isatty():
        return conversation.pipe(sys.stdin)
    conversation.talk(history)
    return True


def _new_session() -> str:
    return f"chat-{uuid.uuid4().hex[:8]}"
