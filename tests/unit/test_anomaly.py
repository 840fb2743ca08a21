"""What is out of the ordinary: counts against earlier ones, sequences against habits, and what needs no statistics."""

from __future__ import annotations

import random

import pytest

from llmagent_os.core.errors import LLMAgentOSError, PermissionDenied, ToolFailed
from llmagent_os.core.records import Call, Usage
from llmagent_os.kernel.journal import Row
from llmagent_os.security.anomaly import MOST, Anomaly, AnomalySettings, Feature, TurnCounts, _forms
from llmagent_os.security.anomaly_statistics import BEFORE, Baseline, Habits, Profile, Step, Stretch
from llmagent_os.security.recognisers import keys

NOTHING = Usage()


def call(number: int = 0, cost: Usage = NOTHING) -> Call:
    made = Call(1, "call", {"tool": "lookup", "arguments": {}}, f"1.1.digest.{number}", "default", "owner", 60.0)
    made.cost = cost
    return made


def row(tokens: int) -> Row:
    return Row(
        1, 1, 1, "generate", "", b"{}", None, None, "default", "owner", None, None, "ok", None, 10, tokens, 0, 0.0,
        0.0, 0.0, 0.0, 0,
    )  # fmt: skip


def worked(profile: Profile, turns: int, seed: int = 1) -> Profile:
    """After so many turns of looking things up and writing to one of a few people."""
    chance = random.Random(seed)
    for number in range(turns):
        stretch = Stretch(profile, number)
        for _ in range(1 + int(chance.expovariate(1))):
            stretch.begins("lookup", chance.randrange(20, 60), 0, set())
        stretch.begins("mail", 400, 0, {f"p{chance.randrange(5)}@x"})
        profile.learn(stretch)
    return profile


def test_a_count_far_above_those_before_scores_high_and_a_few_odd_turns_do_not_change_that() -> None:
    baseline, chance = Baseline(), random.Random(1)
    for number in range(200):
        baseline.add(5000 if number % 50 == 49 else chance.lognormvariate(4, 0.5))
    assert baseline.z(60) < 1.5 and baseline.z(20) < 0
    assert baseline.z(5000) > 6
    for _ in range(200):
        baseline.add(5000)
    assert baseline.z(5000) < 1  # it is usual now


def test_a_step_surprises_by_what_came_before_and_by_what_it_is_like() -> None:
    habits = worked(Profile(), 100).habits
    usual = habits.surprise("lookup 1", Step("mail", 400))[2]
    assert usual < 2
    assert habits.surprise("lookup 1", Step("mail", 400, fresh=True))[2] > usual + 2.5
    assert habits.surprise("lookup 1", Step("mail", 90_000))[2] > usual + 3
    assert habits.surprise("lookup 1", Step("mail", 400, again=True))[2] > usual + 3
    assert habits.surprise("mail 1", Step("mail", 400))[0] > 3  # it never writes twice
    assert habits.surprise("lookup 1", Step("delete_all", 10))[0] > 4


def test_a_loop_is_noted_within_five_calls_and_said_once() -> None:
    stretch, settings = Stretch(worked(Profile(), 60), 60), AnomalySettings()
    said = []
    for number in range(12):
        stretch.begins("lookup", 40, number, set())
        said.append(stretch.judge(settings, ("calls", "again", "odd")))
    first, found = next((n, each) for n, each in enumerate(said) if each is not None)
    assert first < 5 and found.action == "note"
    causes = [each.cause for each in said if each is not None]
    assert len(causes) == len(set(causes))


def test_nothing_is_noted_before_there_are_enough_turns_but_limits_hold_from_the_first() -> None:
    stretch, turn, settings = Stretch(worked(Profile(), 5), 5), TurnCounts(5), AnomalySettings()
    said: list[Anomaly | None] = []
    for number in range(12):
        stretch.begins("lookup", 40, number, set())
        assert stretch.judge(settings, BEFORE) is None
        turn.begins(call(number))
        said.append(turn.judge({**MOST, "again": 8}))
    assert said[:9] == [None] * 9
    assert said[9] is not None and (said[9].action, said[9].cause) == ("pause", "again")
    assert said[10:] == [None, None]  # somebody looked, and let it go on


@pytest.mark.parametrize(
    ("cost", "failure", "cause"),
    [
        (Usage(60, 50), None, "tokens"), (Usage(10, 41), None, "largest"), (Usage(), ToolFailed("no"), "errors"),
        (Usage(), PermissionDenied("no"), "refusals"),
    ],
)  # fmt: skip
def test_what_calls_came_to_is_limited_in_a_turn(cost: Usage, failure: LLMAgentOSError | None, cause: str) -> None:
    turn, limits = (
        TurnCounts(1),
        dict[Feature, float](MOST) | {"tokens": 100, "largest": 50, "errors": 0, "refusals": 0},
    )
    limits = limits if cause != "tokens" else limits | {"largest": 1000}
    turn.ends(call(cost=cost), failure)
    found = turn.judge(limits)
    assert found is not None and found.cause == cause and turn.judge(limits) is None


def test_what_takes_statistics_to_count_can_be_limited_too() -> None:
    stretch, settings = Stretch(Profile(), 0), AnomalySettings(most={"places": 2})
    for number in range(3):
        assert stretch.judge(settings, BEFORE) is None
        stretch.begins("mail", 40, 0, {f"p{number}@x"})
    found = stretch.judge(settings, BEFORE)
    assert found is not None and found.stops and "places 3, over the limit of 2" in found.reason


def test_statistics_pause_only_where_that_is_configured() -> None:
    for settings, action in (
        (AnomalySettings(), "note"),
        (AnomalySettings(slow=3.5), "slow"),
        (AnomalySettings(pause=3.5), "pause"),
    ):
        stretch = Stretch(worked(Profile(), 60), 60)
        stretch.ends(row(1), None)
        assert (
            stretch.judge(settings, ("tokens",)) is not None
            or stretch.profile.baselines["tokens"].z(11) < settings.note
        )
        stretch.ends(row(90_000), None)
        found = stretch.judge(settings, ("largest",))
        assert found is not None and found.action == action, found


def test_habits_are_bounded() -> None:
    habits = Habits()
    for number in range(2000):
        habits.learn([Step(f"tool-{number}", 1)], [f"host-{number}"], 1.0)
    assert len(habits._tools) == 64 and len(habits._places) == 512


def test_keys_and_canaries_are_found_however_they_are_written() -> None:
    assert keys('{"body": "use AKIAIOSFODNN7EXAMPLE please"}') and keys("-----BEGIN RSA PRIVATE KEY-----\\nabc")
    assert not keys("the sk-8 bus, npm_modules, an eyJ of mine and hf_")
    canary = "zq7-Harbour"
    assert len(list(_forms(canary))) == 5
