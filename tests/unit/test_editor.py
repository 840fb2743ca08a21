"""What a person types at a terminal: keys go in, messages come out; the history is kept, or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input

from llmagent_os.gateway.console import editor
from llmagent_os.gateway.console.editor import Editor, history_file, unfinished, unquoted

ENTER, ALT_ENTER, UP, CTRL_C, CTRL_D, TAB = "\r", "\x1b\r", "\x1b[A", "\x03", "\x04", "\t"


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys):
        yield keys


def typed(keyboard: PipeInput, keys: str, keep: Path | None = None) -> str:
    """The message that a session's first keys make."""
    with Editor(keep, ["/help", "/new"]) as lines:
        keyboard.send_text(keys)
        return lines.read()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (f"hello{ENTER}", "hello"),
        ("sent by a program\n", "sent by a program"),
        (f"one{ALT_ENTER}two{ENTER}", "one\ntwo"),
        (f"\x1b[200~def f():\r\n\treturn 1\n\x1b[201~{ENTER}", "def f():\n\treturn 1"),
        (f'"""{ENTER}one{ENTER}{ENTER}  two{ENTER}"""{ENTER}', "one\n\n  two"),
        (f'"""short"""{ENTER}', "short"),
        (f'"""{ENTER}/help{ENTER}"""{ENTER}', "//help"),
        (f"/h{TAB}{ENTER}", "/help"),
        (f"half{CTRL_C}whole{ENTER}", "whole"),
        (f"{ENTER}", ""),
    ],
)
def test_keys_make_a_message(keyboard: PipeInput, keys: str, message: str) -> None:
    assert typed(keyboard, keys) == message


def test_ctrl_c_at_an_empty_prompt_and_ctrl_d_are_told_of(keyboard: PipeInput) -> None:
    with pytest.raises(KeyboardInterrupt):  # `Talk` says how to leave
        typed(keyboard, f"half{CTRL_C}{CTRL_C}")
    with pytest.raises(EOFError):
        typed(keyboard, CTRL_D)


def test_the_history_is_there_in_the_next_session_for_nobody_else(keyboard: PipeInput, tmp_path: Path) -> None:
    keep = tmp_path / "state" / "chat_history"
    assert typed(keyboard, f"one{ALT_ENTER}two{ENTER}", keep) == "one\ntwo"
    assert keep.stat().st_mode & 0o777 == 0o600 and keep.parent.stat().st_mode & 0o777 == 0o700
    assert typed(keyboard, f"{UP}{ENTER}", keep) == "one\ntwo"
    assert typed(keyboard, f" a secret{ENTER}", keep) == " a secret" and "secret" not in keep.read_text()


def test_without_a_history_nothing_is_kept(keyboard: PipeInput, tmp_path: Path) -> None:
    assert typed(keyboard, f"one{ENTER}") == "one"
    assert typed(keyboard, f"{UP}{ENTER}") == "" and not list(tmp_path.iterdir())


def test_a_history_that_cannot_be_kept_is_told(
    keyboard: PipeInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert typed(keyboard, f"one{ENTER}", tmp_path / "file" / "chat_history") == "one"
    assert "what is typed is not remembered" in capsys.readouterr().err


def test_a_long_history_loses_its_older_half(
    keyboard: PipeInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor, "LONGEST", 1000)
    keep = tmp_path / "chat_history"
    keep.write_text("".join(f"\n# then\n+message {n}\n" for n in range(100)))
    assert typed(keyboard, f"{UP}{ENTER}", keep) == "message 99"
    assert len(keep.read_text()) < 2000 and "message 1\n" not in keep.read_text()


def test_the_history_stands_in_the_folder_for_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_file() == tmp_path / "llmagent-os" / "chat_history"


def test_a_block_is_open_until_its_quotes_close() -> None:
    assert [unfinished(text) for text in ('"""', '"""a\n', '"""a"""', '""""', 'a """', '"" "')] == [
        True, True, False, True, False, False,
    ]  # fmt: skip
    assert unquoted('say """ twice """') == 'say """ twice """'
