"""Markdown on a terminal: shown as what it means however it comes, nothing lost, nothing that moves the cursor."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmagent_os.gateway.console.markdown import LONGEST, Markdown, harmless

NAMES = {"1": "b", "2": "d", "3": "i", "4": "u", "36": "c", "0": "-"}


def shown(text: str, colour: bool = True) -> str:
    """What a terminal is sent, with `<b>` for bold, `<c>` for code, `<->` for plain and so on."""
    markdown = Markdown(colour)
    return re.sub(r"\x1b\[(\d+)m", lambda code: f"<{NAMES[code[1]]}>", markdown.feed(text) + markdown.end())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", "plain words"),
        ("a **bold** word", "a <b>bold<-> word"),
        ("__bold__ and _italic_", "<b>bold<-> and <i>italic<->"),
        ("***both***", "<b><i>both<->"),
        ("**a *b* c**", "<b>a <i>b<-><b> c<->"),
        ("**a *b***", "<b>a <i>b<-><b><->"),
        ("run `ls -l` now", "run <c>ls -l<-> now"),
        ("``a`b``", "<c>a`b<->"),
        ("`**no**`", "<c>**no**<->"),
        ("# Title", "<b><u>Title<->"),
        ("### A `b` c", "<b>A <c>b<-><b> c<->"),
        ("- one\n  * two\n+ three", "• one\n  • two\n• three"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("> said", "<d>│<-> said"),
        ("---", f"<d>{'─' * 20}<->"),
        ("```python\nx = '**'\n\n  y\n```\nend", "<d>┌ python<->\n<c>x = '**'<->\n\n<c>  y<->\n<d>└<->\nend"),
        ("~~~\n```\n~~~", "<d>┌<->\n<c>```<->\n<d>└<->"),
        ("```\nnever closed", "<d>┌<->\n<c>never closed<->"),
        (r"\*as it is\*", "*as it is*"),
    ],
)
def test_markup_is_shown_as_what_it_means(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4", "a_name_like_this", "__init__x", "5*3 is 15", "**never closed", "`never closed",
        "f(*args, **more)",
        "#hashtag", "-5 degrees", "a **** b", "C:\\new", "a ** b", "####### seven", "_", "*", "| a | b |\n|---|---|",
        "x" * 50 + "*" + "y" * (LONGEST + 20) + "* z", "snake_ case_", "*\n*", "1 > 0",
    ],
)  # fmt: skip
def test_what_is_no_markup_is_shown_as_it_is_written(text: str) -> None:
    assert shown(text) == text


PIECES = st.text(st.sampled_from(list("ab *_`#->~\\\n1.")), max_size=60) | st.sampled_from(
    ["**bold**", "```py\n", "\n```\n", "# T\n", "- a\n", "`c`", "---\n", "_i_", "> q\n", "***x***", "z" * (LONGEST + 5)]
)


@example(["*", "***x***", "***x***"], False)
@example(["- " * 2000, "- " * 2000, "\n", "x"], False)
@given(st.lists(PIECES, max_size=12), st.booleans())
def test_where_a_text_is_cut_changes_nothing(pieces: list[str], colour: bool) -> None:
    whole, cut, single = Markdown(colour), Markdown(colour), Markdown(colour)
    text = "".join(pieces)
    expected = whole.feed(text) + whole.end()
    assert "".join(map(cut.feed, pieces)) + cut.end() == expected
    assert "".join(map(single.feed, text)) + single.end() == expected


@given(st.lists(PIECES, max_size=12))
def test_no_word_is_lost_or_turned_around_and_styles_end_with_their_line(pieces: list[str]) -> None:
    text, markdown = "".join(pieces), Markdown()
    out = markdown.feed(text) + markdown.end()
    bare = re.sub(r"\x1b\[\d+m", "", out)
    assert re.findall(r"[a-z0-9]", bare, re.IGNORECASE) == re.findall(r"[a-z0-9]", text, re.IGNORECASE)
    assert bare.count("\n") == text.count("\n")
    for line in out.split("\n"):
        assert (codes := re.findall(r"\x1b\[(\d+)m", line)) == [] or codes[-1] == "0"


def test_text_comes_as_soon_as_it_can_be_told() -> None:
    markdown = Markdown()
    assert [markdown.feed(piece) for piece in ("The ", "**big", " one", "** is", " h")] == [
        "The ", "", "", "\x1b[1mbig one\x1b[0m is", " h",
    ]  # fmt: skip


def test_without_colours_code_keeps_its_marks() -> None:
    assert shown("run `ls`\n```\nx\n```", colour=False) == "run `ls`\n<d>┌<->\nx\n<d>└<->"


def test_nothing_moves_the_cursor_or_turns_the_writing() -> None:
    assert harmless("a\x1b[2Jb\r\x07c\u202ed\u2066\x9b1m\te\n") == "a[2Jbcd1m\te\n"
    assert shown("**a\x1b[1A**\r\n") == "<b>a[1A<->\n" and shown("家　族 👨‍👩‍👧") == "家　族 👨‍👩‍👧"


def test_a_line_of_nothing_but_spaces_holds_nobody_up() -> None:
    began, text = time.thread_time(), " " * 100_000 + "X: ;"
    assert shown(text) == text
    assert time.thread_time() - began < 1  # it was a minute
