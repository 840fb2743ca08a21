"""Every sentence of what the page on security promises has a test behind it, which is named there and exists."""

from __future__ import annotations

import re

from llmagent_os.gateway import corked, lobby, reading
from llmagent_os.security import decision, masking
from tests.docs.test_names import FILE, ROOT

SECTION = re.compile(r"^## What is promised$(.*?)^## ", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\((?:[^()]|\([^()]*\))*`(?:tests|bench)/(?:[^()]|\([^()]*\))*\)")
POINTS_ON = re.compile(r"(?:See|How, field by field:)\s+\[[^\]]*\]\([^)]*\)|see\s+\[[^\]]*\]\([^)]*\)")
SENTENCES = 8  # that one list of tests may stand behind, at most


def promises() -> dict[str, str]:
    """The paragraphs by their first words."""
    found = SECTION.search((ROOT / "docs" / "security.md").read_text())
    assert found is not None
    whole = [" ".join(each.split()) for each in re.split(r"\n\n(?=\*\*)", found[1].strip())]
    return {each.split("**")[1]: each for each in whole}


def test_no_promise_goes_without_a_test() -> None:
    """What follows the last list of tests in a paragraph promises nothing; no list stands behind a whole page."""
    for name, text in promises().items():
        *before, last = NAMED.split(text)
        assert before, f"{name} names no test"
        assert len(re.findall(r"\w{3,}", POINTS_ON.sub("", last))) < 6, f"{name}: no test is named for {last!r}"
        for each in before:
            sentences = re.findall(r"[.:;](?=\s|$)", each)
            assert len(sentences) <= SENTENCES, f"{name}: one list of tests for {len(sentences)} sentences: {each[:80]}"


def test_every_test_that_is_named_can_fail() -> None:
    """Each is a function with an assertion, or something that is raised; and no two promises live on one test."""
    for name, text in promises().items():
        named = [(path, test) for path, test in FILE.findall(text) if test]
        assert named, name
        for path, test in named:
            source = (ROOT / path).read_text()
            found = re.search(
                rf"^(?:async )?def {test}\(.*?(?=^(?:async )?def |^@|\Z)", source, re.MULTILINE | re.DOTALL
            )
            assert found is not None, f"{name}: {path}::{test} is not there"
            assert re.search(r"\bassert\b|pytest\.(?:raises|fail)|expect\(|_holds\(|check", found[0]), f"{path}::{test}"


def test_the_numbers_that_are_promised_are_those_of_the_system() -> None:
    text = " ".join(promises().values())
    for number, said in (
        (reading.VALUES, "A body has {:,} values at most"), (reading.HOLDERS, "{:,} of them lists and objects"),
        (masking.PLACES, "more than {:,} such places"), (masking.VALUES, "or {:,} values"),
        (decision.JUDGED, "The gate judges {:,} values of a call"), (corked.HEAD >> 10, "and {:,} KB"),
        (int(lobby.HEAD_SECONDS), "The head of a request has {:,} s"),
    ):  # fmt: skip
        assert said.format(number) in text
    assert lobby.SLOW == 0.25 and "for a quarter of a second" in text
