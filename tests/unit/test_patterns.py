"""Regular expressions: against Python's where both read them alike, in bounded time, and a text that fits."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.patterns import Pattern, Steps, TooLong, Unreadable, compiled

EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"  # zod's

ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\S", "^", "$", r"\b", "(?=a)", "(?!b)", "(?<=a)"]
)
TEXTS = st.text("ab1 -", max_size=8)


def repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    times = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", ""])
    return st.one_of(
        st.builds(lambda text, often: f"(?:{text}){often}", inner, times),
        st.builds(lambda left, right: left + right, inner, inner),
        st.builds(lambda left, right: f"(?:{left}|{right})", inner, inner),
        st.builds(lambda text: f"(?!{text})", inner),
        st.builds(lambda text: rf"({text})b?\1", inner.filter(lambda text: "(" not in text.replace("(?", ""))),
    )


@settings(max_examples=500, deadline=None)
@given(st.recursive(ATOMS, repeated, max_leaves=6), st.lists(TEXTS, min_size=3, max_size=6))
def test_it_finds_what_pythons_finds(pattern: str, texts: list[str]) -> None:
    if pattern.count(r"\1") > 1:
        return  # numbered by their place, which joining moves
    theirs = re.compile(pattern, re.ASCII)
    for text in texts:
        assert compiled(pattern).search(text) == bool(theirs.search(text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (EMAIL, "a.b@example.org", "a..b@example.org"),
        (r"^\p{Lu}\p{L}*$", "Éa", "éa"),
        (r"^(?<q>['\"]).*\k<q>$", "'a'", "'a\""),
        (r"^\u{1F600}\x41\u0042$", "😀AB", "AB"),
        (r"^\ud83d\ude00$", "😀", ""),
        (r"(?i)^straße$", "STRAßE", "STRASSE"),
        (r"^[^\d\s]{2,}$", "ab", "a1"),
        (r"^a{,2}$", "a{,2}", "aa"),
        (r"^[\w.-]+$", "a.b-c", "a b"),
        ("^.{1,500}$", "a" * 500, "a" * 501),
    ],
)
def test_what_schemas_say(pattern: str, fits: str, fails: str) -> None:
    assert compiled(pattern).search(fits) and not compiled(pattern).search(fails)


@pytest.mark.parametrize(
    "pattern", ["[", "(", "a)", "*a", r"\q", "a{3,1}", "(?P=x)", r"\2", "(" * 80, "(?:a{9}){9999}"]
)
def test_what_is_none_is_told(pattern: str) -> None:
    with pytest.raises(Unreadable):
        compiled(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(?:(?:a*)*)*$", "(a*)*b"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    start = time.process_time()
    assert not compiled(pattern).search("a" * 2000 + "c")
    assert time.process_time() - start < 2


def test_a_search_that_is_too_long_is_given_up() -> None:
    with pytest.raises(TooLong):
        compiled(r"^(?=(?:.*b)?)(a|a)*(?<=a)(\w+)\2$").search("a" * 3000 + "!")


@pytest.mark.parametrize("pattern", [EMAIL, r"^[A-Z]{2}-\d+$", "^(?:GET|POST)$", r"^\d{4}-\d\d-\d\d$", "^[^a-z]+$"])
def test_a_sample_fits(pattern: str) -> None:
    assert any(compiled(pattern).search(compiled(pattern).sample(more)) for more in range(3))


@settings(max_examples=300, deadline=None)
@given(st.recursive(ATOMS, repeated, max_leaves=8))
def test_how_long_its_code_is_is_known_before_it_is_written(pattern: str) -> None:
    made = Pattern(pattern)
    assert not made._code
    made.search("")
    assert len(made._code) == made._length + 1


def test_a_pattern_is_read_in_a_time_of_its_length_and_written_when_it_is_first_used() -> None:
    began = time.thread_time()
    for number in range(180):
        compiled(f"^(a{{1,50}}|[b-z]+?){{2,{number + 3}}}$")
    assert time.thread_time() - began < 0.5  # it was 2 s
    with pytest.raises(Unreadable, match="repeats too much"):
        compiled("((a{1,50}){1,50}){1,50}")


def test_searches_of_one_check_share_their_steps() -> None:
    steps = Steps()
    with pytest.raises(TooLong):
        for number in range(100):
            compiled(f"((a|b|c|aa){{1,40}}){{1,20}}{number}").search("a" * 5, steps)
