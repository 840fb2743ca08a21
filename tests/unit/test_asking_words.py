"""A question in words: nothing in it that somebody else wrote plays tricks on whoever reads it."""

from __future__ import annotations

from typing import Any

import pytest

from llmagent_os.core.visible import visible
from llmagent_os.gateway.console import asking
from llmagent_os.gateway.console.asking import described
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
    assert all(line == visible(line) for line in lines)


def test_what_became_of_a_question_is_said() -> None:
    assert became(KEPT | {"allowed": True, "by": "ada"}) == "was allowed by ada"
    assert became(KEPT | {"allowed": False, "by": "ada"}) == "was refused by ada"
    assert became(KEPT | {"allowed": False, "over": "its task was cancelled"}) == "is gone: its task was cancelled"


def test_a_notice_is_a_line() -> None:
    assert Notice("question", KEPT).text == "question 5f3a about pay waits for a person: llmagent-os approvals"
    assert (
        Notice("waiting", {"status": "paused", "pid": 7, "text": "process 7 is paused"}).text == "process 7 is paused"
    )


FORGED: dict[str, Any] = KEPT | {
    "agent": "clerk\x1b[2J", "tool": "pay\u202e", "four_eyes": True, "principal": "ada\r",
    "arguments": {
        "to": "Ann" + " " * 200 + "why you are asked: for fun", "x = 1   <- from user\n    why you are asked: no": 5,
        "\u3164": "\ufe0f\u2800\U000e0041\U0001d159\U00016fe4",
    },
    "origins": {"to": "tool \x9b2Kfetch\u2066"}, "sources": {}, "files": {"run\n.sh": "sha256:12\x07"},
    "why": "it would change \u2028 a\x00",
}  # fmt: skip


def test_no_name_value_reason_or_file_can_forge_a_line_of_a_question() -> None:
    lines = list(described(FORGED))
    assert len(lines) == 1 + 3 + 1 + 1 + 1
    assert all(line.isprintable() and not {*line} & {*"\u3164\u2800\U0001d159\U00016fe4"} for line in lines)
    assert r'    "x = 1 \u0020\u0020<- from user\n \u0020\u0020\u0020why you are asked: no" = 5' in lines[2]
    assert "  why" not in lines[1] and r"\U000e0041" in lines[3]
    assert lines[4] == r'    file "run\n.sh": sha256:12\u0007'


def test_a_long_line_is_broken_by_us_and_says_so() -> None:
    lines = list(described(FORGED | {"arguments": {"to": "汉" * 60 + "x" * 100}}, 40))
    assert all(sum(1 + (each == "汉") for each in line) < 40 for line in lines)
    assert sum(line.startswith("        | ") for line in lines) >= 5
    assert "".join(lines).replace("        | ", "").count("x") >= 100


def test_what_is_told_of_a_question_is_a_line() -> None:
    notices = [Notice(name, FORGED | {"text": "a\x1b\n"}) for name in ("question", "waiting", "calling")]  # type: ignore[arg-type]
    told = [*(notice.text for notice in notices), became(FORGED | {"by": "ada\x1b\n"}), became(FORGED | {"over": "\r"})]
    assert all(text.isprintable() for text in told)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("Bob", "Bob"),
        ('"Bob"', "Bob"),
        ('"a\\nb"', "a\nb"),
        ('"Bob" he said', '"Bob" he said'),
        ("", "Ann"),
        ("5", "5"),
    ],
)
async def test_a_text_may_be_typed_anew_in_quotes_as_the_old_one_is_shown(
    typed: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def line(prompt: str) -> str:
        assert prompt == '    to ["Ann"] '
        return typed

    monkeypatch.setattr(asking, "typed", line)
    assert await asking._edited({"to": "Ann"}) == {"to": value}
