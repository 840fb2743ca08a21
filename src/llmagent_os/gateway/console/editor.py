"""What a person types at a terminal: edited, several lines at once, and remembered in the next session."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from ...core.folders import state_folder
from .output import say

QUOTES = '"""'
LONGEST = 1 << 20  # bytes of history; over that the older half goes


class Editor:
    """Reads messages. Use it as `with Editor(...) as editor`; `words` are completed with Tab, `keep` is the history.

    Enter sends, but not within a block that begins with three quotes; Alt-Enter is a new line, and what is pasted stays
    as it is. What another thread prints meanwhile stands above what is typed.
    """

    def __init__(self, keep: Path | None, words: Sequence[str]) -> None:
        self._keep, self._words = keep, words
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        output = create_output(always_prefer_tty=True)
        if isinstance(output, Vt100_Output):
            output.enable_cpr = False  # nothing here needs it, and an answer that comes late would be read as typed
        self._stack.enter_context(create_app_session(output=output))
        self._session: PromptSession[str] = PromptSession(
            [("ansigreen", "> ")],  # in a colour, or the blank is left out
            multiline=True,
            history=_history(self._keep),
            key_bindings=_keys(),
            completer=WordCompleter(list(self._words), sentence=True),
            complete_style=CompleteStyle.READLINE_LIKE,
            enable_suspend=True,
            enable_open_in_editor=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._session.app.renderer.reset()  # SIGTERM may have ended a prompt: the terminal forgets what it asked for
        self._stack.close()

    def read(self) -> str:
        """The next message; Ctrl-C drops what was typed.

        Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C where nothing is typed.
        """
        while True:
            try:
                with patch_stdout(raw=True):
                    return unquoted(self._session.prompt())
            except KeyboardInterrupt:
                if not self._session.default_buffer.text:
                    raise


def unfinished(text: str) -> bool:
    """Whether a text is a block that is not closed yet."""
    text = text.strip()
    return text.startswith(QUOTES) and not (text.endswith(QUOTES) and len(text) >= 2 * len(QUOTES))


def unquoted(text: str) -> str:
    """What is meant by a text: of a block what stands between its quotes."""
    block = text.strip()
    if not block.startswith(QUOTES) or unfinished(block):
        return text.rstrip()
    inner = block[len(QUOTES) : -len(QUOTES)].strip("\n")
    return f"/{inner}" if inner.startswith("/") else inner  # nothing in a block is a command


def _keys() -> KeyBindings:
    keys, typing = KeyBindings(), has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing)
    def send(event: KeyPressEvent) -> None:
        if unfinished(event.current_buffer.text):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def history_file() -> Path:
    """Where the history of chats is kept: in the user's folder for states (XDG)."""
    return state_folder() / "chat_history"


class _Kept(FileHistory):
    """A history in a file that only its owner reads, without what begins with a blank."""

    def store_string(self, string: str) -> None:
        """Remember a message."""
        if not string.startswith(" "):
            super().store_string(string)


def _history(file: Path | None) -> History:
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.chmod(0o600)
        told = file.read_bytes()
        if len(told) > LONGEST:
            file.write_bytes(told[told.find(b"\n# ", len(told) // 2) :])
    except OSError as error:
        say(f"what is typed is not remembered: {file} cannot be used: {error.strerror}")
        return InMemoryHistory()
    return _Kept(file)
