"""What a context is worth while its owner is in any state that a process can be in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest

from llmagent_os.core.records import ENDED, Status
from llmagent_os.sched.pages import Context


@dataclass
class Owner:
    """A process in one state."""

    status: Status
    pid: int = 1
    doing: Status = "waiting"
    service: str | None = None


def worth(status: Status) -> int:
    return Context([1, 2], None, Owner(status)).worth()[0]


@pytest.mark.parametrize("status", get_args(Status))
def test_only_contexts_of_nobody_are_worth_nothing(status: Status) -> None:
    assert (worth(status) == 0) == (status in ENDED)


def test_who_waits_for_a_person_goes_before_who_waits_for_its_turn() -> None:
    assert worth("asks") == worth("paused") < worth("running") < worth("ready")
