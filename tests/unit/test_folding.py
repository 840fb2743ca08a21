"""Folding: one spelling for many, and the way back to where a value stands in the text as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.security.folding import STRETCH, fold
from llmagent_os.security.recognisers import recognise


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("１３９ｘ＠Ａ", "139x@A"), ("a\xa0b\u2009c\u3000d", "a b c d"), ("1\u20112\u22123", "1-2-3"), ("٣۴", "34"),
        ("a\\nb", "a\nb"), ("a\\\\tb", "a\tb"), ("a%40b%2fc", "a@b/c"), ("a&#64;b&amp;c", "a@b&c"), ("a\\u0040b",
                                                                                                     "a@b"),
        ("1\u200b2\xad3", "123"), ("100% of it, \\d and & so", "100% of it, \\d and & so"), ("½ ① ²", "½ ① ²"),
    ],
)  # fmt: skip
def test_a_text_is_folded(text: str, plain: str) -> None:
    assert fold(text).text == plain


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "é", "１", "\\n", "%40", "&amp;", "\u200b", "\xa0", "\\", "%", "张"]), max_size=60)
)
def test_every_place_leads_back_to_where_it_came_from(parts: list[str]) -> None:
    text = "".join(parts)
    folded = fold(text)
    places = [folded.back(place) for place in range(len(folded.text) + 1)]
    assert places == sorted(places) and places[-1] == len(text)
    for place, letter in enumerate(folded.text):
        assert fold(text[places[place] : places[place + 1]]).text.strip("\\%") in (letter, letter.strip("\\%"))


def test_a_spelling_that_lies_across_two_stretches_is_one() -> None:
    for before in range(STRETCH - 20, STRETCH + 2):
        text = "." * before + "bob%40example.com\\n"
        assert [(span.start, span.end) for span in recognise(text)] == [(before, before + 17)]
