"""What a person sees while an answer comes: lines of their own for what is no answer, and what it took."""

from __future__ import annotations

import asyncio
import io

import pytest

from llmagent_os.gateway.console.screen import Pace, Screen, called


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pace(*steps: float | str) -> Pace:
    """The pace of pieces that come so many seconds after one another; `rest` between them."""
    clock = Clock()
    made = Pace(clock)
    for step in steps:
        if isinstance(step, str):
            made.rest()
        else:
            clock.now += step
            made.piece()
    return made


def usage(tokens: int, money: float = 0.0) -> dict[str, float]:
    return {"output_tokens": tokens, "money": money}


def test_tokens_a_second_are_those_of_writing() -> None:
    assert (
        pace(2, 0.5, 0.5).took(usage(5)) == "5 tokens, 4.0 tokens/s, 3.0 s"
    )  # in three pieces; the first is waited for
    assert (
        pace(1, 0.25, "rest", 60, 0.25).took(usage(40)) == "40 tokens, 4.0 tokens/s, 61.5 s"
    )  # a tool works for a minute
    assert pace(2).took(usage(100)) == "100 tokens, 50 tokens/s, 2.0 s"  # in one piece
    assert pace().took(usage(0)) == "0 tokens, 0.0 tokens/s, 0.0 s"


@pytest.mark.parametrize(("money", "told"), [(0.0021, "$0.0021"), (0.0000015, "$0.000002"), (2.0, "$2")])
def test_a_price_is_told_where_there_is_one(money: float, told: str) -> None:
    assert pace(1).took(usage(1, money)).endswith(f", {told}") and "$" not in pace(1).took(usage(1))


def test_a_call_is_short_and_plain() -> None:
    assert called({"tool": "stock", "arguments": {"what": "apples"}}) == "stock(apples)"
    assert called({"tool": "pay", "arguments": {"to": "Ann", "amount": 5}}) == "pay(to=Ann, amount=5)"
    assert called({"tool": "now"}) == "now()"  # who may not know is not told
    assert called({"tool": "note", "arguments": {"text": "a\x1b[2J\n" + "b" * 100}}).startswith("note(a\\u001b[2J bbb")
    assert len(called({"tool": "note", "arguments": {"one": "a" * 100, "two": {"b": "c" * 100}}})) < 80


def test_text_before_a_call_stands_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.piece("Let me ")
    screen.piece("see.")
    screen.calling({"tool": "stock"})
    screen.piece("There are *seven*.")
    screen.end("There are *seven*.")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("Let me see.\nThere are *seven*.\n", "")  # nobody sits there: plain, and no more


def test_a_text_is_shown_once_however_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    for live, pieces, expected in ((True, ["a", "b"], "ab\n"), (True, [], "ab\n"), (False, ["a", "b"], "")):
        screen = Screen(live)
        for piece in pieces:
            screen.piece(piece)
        screen.end("ab")
        assert capsys.readouterr().out == expected
    screen = Screen()
    screen.piece("ab")
    screen.pause()  # something else is said meanwhile
    screen.end("ab")
    assert capsys.readouterr().out == "ab\n"


class Tty(io.StringIO):
    """A terminal that keeps what it was sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


async def test_the_sign_of_life_says_what_is_done_until_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.gateway.console.screen.PATIENCE", 0.0)
    monkeypatch.setattr("llmagent_os.gateway.console.screen.FRAME", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", seen := Tty())
    screen = Screen()
    screen.wait()
    screen.tell("reading 1,200 of 3,400 tokens")
    async with asyncio.timeout(20):
        while " 0 s, reading 1,200 of 3,400 tokens" not in seen.getvalue():
            await asyncio.sleep(0.01)
    screen.piece("Hello")
    assert seen.getvalue().endswith("\r\x1b[K")
    shown = len(seen.getvalue())
    screen.pause()
    screen.wait()
    await asyncio.sleep(0.05)
    assert "reading" not in seen.getvalue()[shown:]  # of the next wait nothing is known yet
    screen.close()
