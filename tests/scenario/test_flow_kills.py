"""`kill -9` at random moments, over graphs of 100 nodes, flows of the examples, and what triggers start.

`bench/kill9_flows.py` does it 200 times.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stand_ins.flow_killer import Found, kill_often


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_effect_is_lost_or_made_twice_whenever_it_is_killed(tmp_path: Path, models_folder: Path) -> None:
    found = kill_often(tmp_path, kills=3, seed=4)
    assert found == Found() and found.much["questions"] == 2 * found.much["rounds"]
