"""The learned limit: it finds the top of a curve, under noise, and does nothing while there is room."""

from __future__ import annotations

import random

import pytest

from llmagent_os.sched.limit import Limit


def run(limit: Limit, speed: dict[int, float], seconds: float, noise: float = 0.0, start: float = 0.0) -> float:
    """An engine with that curve, fully asked for; tokens made."""
    chance, total, now = random.Random(3), 0.0, start
    while now < start + seconds:
        now += 0.05
        made = 0.05 * speed[limit.places] * chance.uniform(1 - noise, 1 + noise)
        limit.count(now, limit.places, True, 0, made)  # type: ignore[arg-type]
        total += made
    return total


def curve(best: int, most: int) -> dict[int, float]:
    """Up to `best` it grows, from there it falls."""
    return {n: 200.0 * (n / best if n <= best else best / n) ** 0.5 for n in range(1, most + 1)}


@pytest.mark.parametrize("best", [4, 8, 16, 24, 32])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_it_finds_the_best_step(best: int, noise: float) -> None:
    limit = Limit(32)
    run(limit, curve(best, 32), 60, noise)
    assert limit.home == best


def test_what_others_do_to_the_machine_does_not_move_it() -> None:
    limit, chance = Limit(8), random.Random(1)
    speed = curve(8, 8)
    for minute in range(30):
        slow = chance.choice([0.1, 0.5, 1.0])
        run(limit, {n: value * slow for n, value in speed.items()}, 60, 0.2, minute * 60.0)
    assert limit.home == 8


def test_trying_costs_little() -> None:
    limit = Limit(8)
    assert run(limit, curve(8, 8), 600) > 0.99 * 600 * 200


def test_it_learns_nothing_while_there_is_room() -> None:
    limit = Limit(16)
    for step in range(1000):
        limit.count(step * 0.1, 3, False, 0, 10)
    assert limit.places == 16 and not limit.speeds


def test_an_engine_of_one_place_has_nothing_to_learn() -> None:
    limit = Limit(1)
    run(limit, {1: 10.0}, 100)
    assert limit.places == 1
