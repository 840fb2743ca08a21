"""The supervisor's decision is pure: strategies, kinds of restart, and the limit, without a process."""

from __future__ import annotations

import pytest

from llmagent_os.core.records import Restart, RestartStrategy, Supervision
from llmagent_os.kernel.supervisor import Child, Remedy, decide

OTHERS = [Child(1, "permanent"), Child(3, "permanent"), Child(4, "temporary")]


@pytest.mark.parametrize(
    ("strategy", "stop", "restart"),
    [
        ("one_for_one", (), (2,)),
        ("one_for_all", (4, 3, 1), (1, 2, 3)),
        ("rest_for_one", (4, 3), (2, 3)),
    ],
)
def test_a_strategy_says_who_is_stopped_and_who_starts_again(
    strategy: RestartStrategy, stop: tuple[int, ...], restart: tuple[int, ...]
) -> None:
    decision = decide(Supervision(strategy=strategy), OTHERS, Child(2, "permanent"), True, [], 0.0)
    assert decision == Remedy(stop, restart)


@pytest.mark.parametrize(
    ("kind", "failed", "again"),
    [
        ("permanent", True, True),
        ("permanent", False, True),
        ("transient", True, True),
        ("transient", False, False),
        ("temporary", True, False),
        ("temporary", False, False),
    ],
)
def test_a_kind_says_whether_its_end_matters(kind: Restart, failed: bool, again: bool) -> None:
    assert bool(decide(Supervision(), [], Child(2, kind), failed, [], 0.0).restart) is again


def test_too_many_restarts_in_the_period_give_up_and_old_ones_do_not_count() -> None:
    supervision = Supervision(intensity=2, period=5.0)
    child = Child(2, "permanent")
    assert decide(supervision, [], child, True, [0.0, 9.0], 10.0).restart == (2,)
    decision = decide(supervision, OTHERS, child, True, [8.0, 9.0], 10.0)
    assert decision == Remedy(stop=(4, 3, 1), give_up=True)
