"""Whether an answer stands in its sources."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagent_os.knowledge.grounding import judged

SHOWN = {
    1: "House\nThe office opens at nine. The rent is due on the fifth of May, and Ann Smith collects it.\n"
    "Dogs are not allowed.",
    2: "会议\n周三下午三点在二号会议室开会。",
}


@pytest.mark.parametrize(
    ("sentence", "verdict", "by"),
    [
        ("The rent is due on the fifth of May [1].", "supported", (1,)),
        ("On the fifth of May, the rents are due!", "supported", (1,)),
        ("The rent is due on the sixth of May.", "unsupported", ()),
        ("The rent is not due on the fifth of May.", "unsupported", ()),
        ("Dogs are allowed.", "unsupported", ()),
        ("Dogs aren't allowed [1].", "supported", (1,)),
        ("The rent is collected by Ann Smith.", "supported", (1,)),
        ("The rent is collected by Bob Smith.", "unsupported", ()),
        ("Pigeons live on the roof.", "unsupported", ()),
        ("周三下午三点开会。", "supported", (2,)),
        ("周四下午三点开会。", "unsupported", ()),
        ("Not in the sources.", "no claim", ()),
        ("The documents do not say who pays.", "no claim", ()),
        ("资料中没有。", "no claim", ()),
        ("Who pays it?", "no claim", ()),
    ],
)
def test_a_sentence_is_judged_by_what_it_says(sentence: str, verdict: str, by: tuple[int, ...]) -> None:
    assert [(each.verdict, each.by) for each in judged(sentence, SHOWN)] == [(verdict, by)]


def test_a_sentence_that_goes_against_a_fact_is_so_whatever_the_passages_say() -> None:
    (found,) = judged("The office opens at nine.", SHOWN, lambda sentence: "opens(office, ten)")
    assert found.told() == {"begin": 0, "end": 25, "verdict": "contradicted", "by": [], "against": "opens(office, ten)"}


def test_sentences_end_where_they_do_for_facts_and_their_marks_belong_to_them() -> None:
    answer = "It is Prof. J. Lee, i.e. Ann, who came. [1][2] Nobody left [1]. [2, 3]\n会议在北京。[1]好吗？"
    said = [answer[each.begin : each.end] for each in judged(answer, {})]
    assert said == [
        "It is Prof. J. Lee, i.e. Ann, who came. [1][2]",
        "Nobody left [1]. [2, 3]",
        "会议在北京。[1]",
        "好吗？",
    ]


def test_what_stands_in_parts_of_a_passage_that_are_far_apart_is_not_supported() -> None:
    far = {1: "The office opens at nine. " + "Nothing of note. " * 5 + "The rent is due in May."}
    assert [each.verdict for each in judged("The office opens at nine, the rent is due in May.", far)] == [
        "unsupported"
    ]


@given(st.text(alphabet="ab1 .!?。\n[]()\"'A不", max_size=80))
def test_sentences_are_in_order_and_leave_out_no_letter(answer: str) -> None:
    found = judged(answer, SHOWN)
    assert all(one.end <= two.begin for one, two in pairwise(found))
    covered = {place for each in found for place in range(each.begin, each.end)}
    assert not [n for n, each in enumerate(answer) if each in "abA不" and n not in covered]


def test_a_long_answer_is_judged_in_the_time_of_its_length() -> None:
    for text in (
        "." * 100_000,
        "a" * 100_000,
        "a. " * 20_000,
        "[1] " * 20_000,
        "not " * 20_000,
        " A" * 50_000,
        "a" + " " * 100_000 + "b",
    ):
        began = time.process_time()
        judged(text, {})
        assert time.process_time() - began < 2, text[:5]


@pytest.mark.parametrize(
    ("passage", "answer"),
    [
        ("预算复审定于周一。", "预算复审定于周二。"),
        ("审计会议定于周三。", "审计会议定于周五。"),
        ("预算会议定于星期一上午十点在二号会议室举行。", "预算会议定于星期二上午十点在二号会议室举行。"),
        ("预算会议在二号会议室举行。", "预算会议在三号会议室举行。"),
        ("例会在星期天召开。", "例会在星期六召开。"),
        ("Ada Brown lives in this house.", "Eve Brown lives in this house."),
        ("Dr. Ada Brown lives in this house.", "Dr. Eve Brown lives in this house."),
    ],
)
def test_another_day_number_or_name_is_not_supported(passage: str, answer: str) -> None:
    assert [each.verdict for each in judged(answer, {1: passage})] == ["unsupported"]
    assert [each.verdict for each in judged(passage, {1: passage})] == ["supported"]


def test_a_day_has_several_names() -> None:
    passage = "预算会议定于星期一上午十点在二号会议室举行。"
    assert [each.verdict for each in judged(passage.replace("星期", "周"), {1: passage})] == ["supported"]


@pytest.mark.parametrize("mark", ["1) ", "2. ", "(3) ", "- ", "  * "])
def test_what_numbers_a_list_is_none_of_its_words(mark: str) -> None:
    (found,) = judged(f"{mark}The rent is due on the fifth of May.", {1: "The rent is due on the fifth of May."})
    assert (found.verdict, found.begin) == ("supported", len(mark))
