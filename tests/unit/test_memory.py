"""What a model takes of memory: what `doctor` says of it is what is measured."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from llmagent_os.core.records import ModelSpec
from llmagent_os.llm.known import KNOWN, known_model
from llmagent_os.llm.memory import REST, SLOTS, WINDOW, longest, machine, needed
from llmagent_os.monitoring.memory import resident


def test_a_window_grows_with_the_room_up_to_what_the_model_was_trained_for() -> None:
    model = known_model("default")
    assert model is not None
    assert longest(model, 1, model.size) == 0
    windows = [longest(model, 2, room * 1e9) for room in (1.4, 2, 4, 100)]
    assert windows == sorted(windows) and windows[-1] == model.trained
    assert all(needed(model, 2, window) <= room * 1e9 for window, room in zip(windows, (1.4, 2, 4), strict=False))


def test_the_machine_says_what_it_has() -> None:
    total, free = machine()
    assert 0 < free <= total and 0 < resident() < total


def test_the_default_model_stays_below_the_promised_memory() -> None:
    assert needed(next(each for each in KNOWN if each is known_model("default"))) < 2.05e9


@pytest.mark.model
async def test_an_engine_takes_what_was_said(tiny_model: Path) -> None:
    from llmagent_os.llm.llamacpp import open_engine  # noqa: PLC0415 - its extra may not be there

    tiny = known_model("tiny")
    assert tiny is not None
    gc.collect()
    before = resident()
    engine = await open_engine(ModelSpec("tiny", "llamacpp", str(tiny_model)))
    try:
        said = needed(tiny, SLOTS, WINDOW) - REST
        assert 0.8 * said < resident() - before < said + REST
    finally:
        await engine.close()
