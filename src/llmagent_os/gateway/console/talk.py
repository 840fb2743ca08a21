"""A conversation at a terminal: what is typed is sent, and a line such as `/help` is a command."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ...core.errors import Conflict, InvalidRequest, LLMAgentOSError, nearest
from ...core.visible import visible
from ..client import Address, Client, NotRunning
from .conversation import Conversation
from .echo import echo
from .markdown import harmless
from .output import say, short, show, table
from .processes import pages
from .screen import Screen, dim

_WIDTH = 60  # characters of a message that is named


class Talk:
    """What a person does at the terminal, with one agent at a time."""

    def __init__(self, where: Address, agent: str, session: str | None = None) -> None:
        self._with = Conversation(where, agent, session)
        self._said: list[tuple[str, str]] = []  # here, with the answers
        self._unanswered = ""  # the last message, where it got no answer
        self._lost = ""  # its task, where the system went away: it goes on at the next start
        self._saved: set[Path] = set()
        self.commands: dict[str, tuple[str, str, Callable[[str], None]]] = {
            "/agent": ("[NAME]", "talk to another agent; without a name: which there are", self._agent),
            "/model": ("[NAME]", "have another model answer for it; without a name: which there are", self._model),
            "/tools": ("", "what the agent may call", self._tools),
            "/new": ("", "start a new conversation", self._new),
            "/retry": ("", "ask the last message once more, in place of its answer", self._retry),
            "/undo": ("", "take the last message and its answer back", self._undo),
            "/save": ("FILE", "write what was said here to a file, as Markdown", self._save),
            "/status": ("", "say who answers, and from where", self._status),
            "/help": ("", "say this", self._help),
            "/quit": ("", "leave (also Ctrl-D)", self._quit),
        }
        """Command -> (what may follow it, what it does, and what does it)."""

    def go(self, read: Callable[[], str]) -> None:
        """Do what is typed until there is no more of it (EOFError), or /quit."""
        say(f"{self._with.agent} listens, in session {self._with.session}. /help says more, Ctrl-D leaves.")
        while (line := _typed(read)) is not None:
            try:
                with interrupts(signal.default_int_handler), echo(False):
                    self.do(line)
            except EOFError:
                break
            except LLMAgentOSError as error:
                say(f"llmagent-os: {harmless(error.message)}")
            except KeyboardInterrupt:
                say("\n(stopped; it is not remembered: /retry asks it again)" if self._unanswered else "\n(stopped)")
        if self._said:
            say(f"to go on with this: llmagent-os chat {self._with.agent} --session {self._with.session}")

    def do(self, line: str) -> None:
        """Do what one message asks for. Raises EOFError to leave, and what goes wrong."""
        text = line.strip()
        name, _, rest = text.partition(" ")
        if text.startswith("//"):
            self._say(text[1:])
        elif name in self.commands:
            self.commands[name][2](rest.strip())
        elif text.startswith("/") and "\n" not in text and "/" not in name[1:]:  # a path is no command
            known = nearest(name, self.commands)
            told = f"there is no command {name}; {known} (to send it as it is, begin it with //)"
            raise InvalidRequest(told, parameter="command")
        elif text:
            self._say(text)

    def _say(self, text: str, task: str = "") -> None:
        self._unanswered, self._lost = text, ""
        screen, task = Screen(), task or uuid.uuid4().hex
        try:
            reply = self._with.say(text, screen, task)
        except NotRunning as error:
            self._lost = task
            again = "nothing that was accepted is lost: when it runs again, /retry waits for the answer"
            raise NotRunning(f"{error.message}; {again}") from error
        self._unanswered = ""
        self._said.append((text, reply["text"]))
        say(dim(f"({screen.pace.took(reply['usage'])})"))

    def _begin(self, agent: str) -> None:
        self._with = Conversation(self._with.where, agent)
        self._said.clear()
        self._unanswered = self._lost = ""
        say(f"session {self._with.session}")

    def _new(self, _: str) -> None:
        self._begin(self._with.agent)

    def _retry(self, _: str) -> None:
        text, task = self._unanswered, self._lost
        if not text:
            text = self._with.undo()["text"]
            del self._said[-1:]
        say(dim(f"> {visible(short(text, _WIDTH))}"))
        self._say(text, task)

    def _undo(self, _: str) -> None:
        if self._unanswered and not self._lost:  # it was stopped, or refused: nobody remembers it
            say(f"forgotten: {visible(short(self._unanswered, _WIDTH))}")
            self._unanswered = ""
            return
        rewound = self._with.undo()
        del self._said[-1:]
        done = f"; what {', '.join(rewound['tools'])} did stays done" if rewound["tools"] else ""
        say(f"forgotten: {visible(short(rewound['text'], _WIDTH))}{done}")

    def _agent(self, name: str) -> None:
        if name:
            self._found(name)
            self._begin(name)
            return
        rows = [(each["name"], each["model"], each["description"]) for each in self._with.do(_agents)]
        show(table(("NAME", "MODEL", "DESCRIPTION"), rows))

    def _found(self, name: str) -> dict[str, Any]:
        """An agent's definition; raises NotFound with the nearest name."""
        found: dict[str, Any] = self._with.do(lambda client: client.get(f"/v1/agents/{name}"))["spec"]
        return found

    def _model(self, name: str) -> None:
        agent = self._with.agent
        if name:
            changed = self._with.do(lambda client: client.patch(f"/v1/agents/{agent}", {"model": name}))
            say(f"{agent} answers with {name} from now on, whoever asks it (version {changed['version']})")
            return
        now = self._found(agent)["model"]
        rows = self._with.do(lambda client: client.get("/v1/models"))["data"]
        show(table(("  MODEL", "ALSO", "STATE"), _models(rows, now)))

    def _tools(self, _: str) -> None:
        names = self._found(self._with.agent)["tools"]
        listed = self._with.do(lambda client: client.get("/v1/tools"))["tools"]
        about = {each["name"]: harmless(each["description"].partition("\n")[0]) for each in listed}
        if names:
            show(table(("NAME", "WHAT IT DOES"), ((name, about.get(name, "")) for name in names)))
        else:
            agent = self._with.agent
            say(f"{agent} has no tools; give it some: llmagent-os agents configure {agent} tools='[calculator, clock]'")

    def _save(self, name: str) -> None:
        if not name:
            raise InvalidRequest("save it where? /save FILE", parameter="command")
        if not self._said:
            raise InvalidRequest("nothing was said here yet", parameter="command")
        file = Path(name).expanduser()
        if file.exists() and file.absolute() not in self._saved:
            raise Conflict(f"{file} is there already; choose another name")
        parts = [f"**you**\n\n{text}\n\n**{self._with.agent}**\n\n{answer}\n" for text, answer in self._said]
        try:
            file.write_text("\n".join(parts), encoding="utf-8")
        except OSError as error:
            raise InvalidRequest(f"{file} cannot be written: {error.strerror}", parameter="command") from None
        self._saved.add(file.absolute())
        say(f"saved {file}")

    def _status(self, _: str) -> None:
        agent, model = self._with.agent, self._found(self._with.agent)["model"]
        say(f"{agent} (model {model}), session {self._with.session}, at {self._with.where.url}")

    def _help(self, _: str) -> None:
        lines = [f"{f'{name} {rest}':<14}{line}" for name, (rest, line, _) in self.commands.items()]
        say("\n".join([*lines, "", KEYS]))

    def _quit(self, _: str) -> None:
        raise EOFError


LEAVING = "Ctrl-D leaves; Ctrl-C stops an answer."
KEYS = """\
Anything else is sent to the agent. Several lines: paste them, press Alt-Enter
for a new line, or type a block that begins and ends with three quotes.
Ctrl-C stops an answer, Ctrl-R looks for what was typed before, Ctrl-X Ctrl-E
opens $EDITOR."""


def _models(rows: Iterable[dict[str, Any]], now: str) -> Iterator[tuple[str, str, str]]:
    """A row a model: its name, marked where it is the present one, its other names, and whether it is loaded."""
    found = {each["id"]: each for each in rows if each["kind"] == "model"}
    also = {name: [each["id"] for each in rows if each.get("alias_of") == name] for name in found}
    for name in sorted(found):
        mark = "*" if now in (name, *also[name]) else " "
        yield f"{mark} {name}", ", ".join(also[name]), "loaded" if found[name]["loaded"] else ""


async def _agents(client: Client) -> list[dict[str, Any]]:
    async with aclosing(pages(client, "/v1/agents", "agents", "name", "")) as found:
        return [agent async for agent in found]


def converse(where: Address, agent: str, session: str | None, remember: bool) -> bool:
    """Talk at a terminal, or answer what is piped in; True if everything was answered.

    With `remember` what is typed is found again in the next session.
    """
    if not (sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())):
        return Conversation(where, agent, session).pipe(sys.stdin)
    with interrupts(leaving):
        from .editor import Editor, history_file  # noqa: PLC0415 - heavy, and a pipe needs none

        talk = Talk(where, agent, session)
        with Editor(history_file() if remember else None, list(talk.commands)) as editor:
            talk.go(editor.read)
    return True


def _typed(read: Callable[[], str]) -> str | None:
    """The next message; None where there are no more. Ctrl-C says how to leave."""
    while True:
        try:
            return read()
        except EOFError:
            return None
        except KeyboardInterrupt:
            say(LEAVING)


@contextmanager
def interrupts(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """For the block, what Ctrl-C does."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leaving(*_: object) -> None:
    """Ctrl-C between an answer and the prompt: as at the prompt. Whatever was being printed is left alone."""
    os.write(2, f"\r\n{LEAVING}\r\n".encode())
