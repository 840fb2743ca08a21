"""A question in words: nothing in it that somebody else wrote plays tricks on whoever reads it."""

from __future__ import annotations

from typing import Any

from llmagent_os.gateway.console.asking import described, plain
from llmagent_os.gateway.notices import Notice, became

KEPT: dict[str, Any] = {
    "id": "5f3a", "agent": "clerk", "pid": 7, "tool": "pay", "principal": "ada", "four_eyes": True,
    "arguments": {"to": "Ann\x1b[2K\u202e", "amount": 5}, "origins": {"to": "tool fetch"},
    "sources": {"to": "tool fetch", "amount": "user"},
    "why": "it would change a\x1b[1A.txt", "allowed": None, "by": None, "over": None,
}  # fmt: skip


def test_a_question_is_shown_line_by_line_and_no_character_moves_the_cursor() -> None:
    lines = list(described(KEPT))
    assert lines[0] == "clerk (process 7) wants to pay" and lines[2] == "    amount = 5   <- from user"
    assert lines[1] == r'    to = "Ann\u001b[2K\u202e"   <- from tool fetch'
    assert lines[3] == r"    why you are asked: it would change a\u001b[1A.txt" and "somebody else than ada" in lines[4]
    assert all(line == plain(line) for line in lines)


def test_what_became_of_a_question_is_said() -> None:
    assert became(KEPT | {"allowed": True, "by": "ada"}) == "was allowed by ada"
    assert became(KEPT | {"allowed": False, "by": "ada"}) == "was refused by ada"
    assert became(KEPT | {"allowed": False, "over": "its task was cancelled"}) == "is gone: its task was cancelled"


def test_a_notice_is_a_line() -> None:
    assert Notice("question", KEPT).text == "question 5f3a about pay waits for a person: llmagent-os approvals"
    assert (
        Notice("waiting", {"status": "paused", "pid": 7, "text": "process 7 is paused"}).text == "process 7 is paused"
    )
