"""The example with a support desk, on the scripted engine: sorted, approved of, paid, answered."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.examples import loaded
from tests.stand_ins.players import desk


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return loaded("support_desk")


ENGINE = ScriptedEngine(ModelSpec("desk-model", "scripted"), desk)
REFUND = "I want my money back for order 7."


def test_a_refund_is_approved_of_and_paid_once(example: ModuleType, tmp_path: Path) -> None:
    seen = example.play([REFUND, "When are you open?"], "desk-model", engine=ENGINE, data=tmp_path)
    assert seen.asked == ["Refund 30 for order 7 (a lamp) to Ada?"]
    assert seen.refunds == [(7, 30)]
    assert seen.answers == [
        "the refund of 30 for a lamp is on its way.",
        "the shop is open from 9 to 17 o'clock, Monday to Friday.",
    ]


def test_without_a_yes_nothing_is_paid(example: ModuleType, tmp_path: Path) -> None:
    seen = example.play([REFUND], "desk-model", lambda question: False, ENGINE, tmp_path)
    assert seen.refunds == [] and seen.answers == ["order 7 is not refunded. Offer help."]


def test_an_order_that_there_is_not_is_asked_about_nobody(example: ModuleType, tmp_path: Path) -> None:
    seen = example.play(["money back for order 99"], "desk-model", engine=ENGINE, data=tmp_path)
    assert seen.asked == [] and seen.answers == ["there is no such order. Ask for the order number."]
