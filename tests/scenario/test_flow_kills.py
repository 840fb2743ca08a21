"""`kill -9` at random moments, over graphs of 100 nodes, one of which undoes all that it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.stand_ins.flow_killer import Found, kill_often


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_effect_is_lost_or_made_twice_whenever_it_is_killed(tmp_path: Path, models_folder: Path) -> None:
    found = kill_often(tmp_path, kills=3, runs=1, seed=4)
    assert replace(found, again=0) == Found()
