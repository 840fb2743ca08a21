"""What is out of the ordinary: counts against earlier ones, sequences against habits, and what needs no statistics."""

from __future__ import annotations

import random

from llmagent_os.core.records import Call, Traits, Usage
from llmagent_os.security.anomaly import Baseline, Habits, Profile, Settings, Span, Step, _forms
from llmagent_os.security.recognisers import keys


def call(tool: str, number: int = 0, size: int = 0, **arguments: str) -> Call:
    return Call(1, "call", {"tool": tool, "arguments": arguments}, f"1.1.digest.{number}", "default", "owner", 60.0)


def worked(profile: Profile, turns: int, seed: int = 1) -> Profile:
    """After so many turns of looking things up and writing to one of a few people."""
    chance = random.Random(seed)
    for number in range(turns):
        span = Span(profile, number)
        for _ in range(1 + int(chance.expovariate(1))):
            span.begins(call("lookup"), Traits("read"), chance.randrange(20, 60))
        span.begins(call("mail", to=f"p{chance.randrange(5)}@x"), Traits(meanings={"to": "recipient"}), 400)
        profile.learn(span)
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
    span, settings = Span(worked(Profile(), 60), 60), Settings()
    said = []
    for number in range(12):
        span.begins(call("lookup", number), Traits("read"), 40)
        said.append(span.judge(settings, ("calls", "again", "odd")))
    first, found = next((n, each) for n, each in enumerate(said) if each is not None)
    assert first < 5 and found.action == "note"
    causes = [each.cause for each in said if each is not None]
    assert len(causes) == len(set(causes))


def test_nothing_is_noted_before_there_are_enough_turns_but_limits_hold_from_the_first() -> None:
    span, settings = Span(worked(Profile(), 5), 5), Settings(most={"again": 8})
    said = []
    for number in range(12):
        span.begins(call("lookup", number), Traits("read"), 40)
        said.append(span.judge(settings, ("calls", "again", "odd")))
    assert said[:8] == [None] * 8
    assert said[9] is not None and (said[9].action, said[9].cause) == ("pause", "again")
    assert said[10:] == [None, None]  # somebody looked, and let it go on


def test_statistics_pause_only_where_that_is_configured() -> None:
    for settings, action in ((Settings(), "note"), (Settings(slow=3.5), "slow"), (Settings(pause=3.5), "pause")):
        span, made = Span(worked(Profile(), 60), 60), call("ignored")
        made.cost = Usage(10, 1)
        span.ends(made, None)
        assert span.judge(settings, ("tokens",)) is not None or span.profile.baselines["tokens"].z(11) < settings.note
        made.cost = Usage(10, 90_000)
        span.ends(made, None)
        found = span.judge(settings, ("largest",))
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
