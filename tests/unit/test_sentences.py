"""Where sentences end, in time that grows with the text."""

from __future__ import annotations

import time

import pytest

from llmagent_os.knowledge.reasoning import unmarked
from llmagent_os.knowledge.sentences import sentences


def test_marks_abbreviations_and_quotes() -> None:
    text = 'Dr. Ann asks: "Why?!" Nobody knows... It is e.g. late. 会议在北京。好！'
    assert [each.text for each in sentences(text)] == [
        'Dr. Ann asks: "Why?!"', "Nobody knows...", "It is e.g. late.", "会议在北京。", "好！"
    ]  # fmt: skip


@pytest.mark.parametrize("piece", ["?", "!.", '?"', "。", "”", "A.", "No.", "\n"])
def test_a_run_of_anything_takes_time_by_its_length(piece: str) -> None:
    begun = time.process_time()
    list(sentences(piece * (200_000 // len(piece)) + "x"))
    assert time.process_time() - begun < 2


def test_marks_go_with_the_space_before_them_in_time_by_the_length_of_a_text() -> None:
    assert unmarked("It is so  [1, 2] [3]. It\t[4] is  not") == "It is so. It is  not"
    begun = time.process_time()
    unmarked("a" + " " * 200_000 + "b" + "[1 " * 50_000)
    assert time.process_time() - begun < 2
