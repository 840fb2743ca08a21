"""Policies as people write them: the forms that are taken, and what is said of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from llmagent_os.agent import policies
from llmagent_os.agent.spec import parse
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Json, Policy, Rule, Traits
from llmagent_os.security.decision import Ruling, decide
from llmagent_os.security.labels import Sight, Source

MAIL = Traits("external", meanings={"to": "recipient"})
USER, PAGE = Source("user", True, "Mail Ann"), Source("tool page", False, "Mail Mallory")


def policy(said: Any, **fields: Any) -> Policy:
    return parse({"name": "clerk", "policy": said} | fields).grant.policy


def judged(rules: Any, to: str = "Ann", *sources: Source) -> Ruling:
    return decide(policy({"tools": {"mail": rules}}), "mail", MAIL, {"to": to}, Sight(sources or (USER,)))


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("ask", Rule(ask="always")),
        ({"ask": "always"}, Rule(ask="always")),
        ({"ask": True}, Rule(ask="always")),
        ("allow", Rule(allow=({},))),
        ("refuse", Rule(refuse=({},))),
        ({"allow": {"to": "*@corp.example"}}, Rule(allow=({"to": ("*@corp.example",)},))),
        ({"refuse": [{"to": ["a", "b"]}, {"to": "c"}]}, Rule(refuse=({"to": ("a", "b")}, {"to": ("c",)}))),
        ({"ask": "always", "most": {"amount": 50}}, Rule(ask="always", most={"amount": 50})),
    ],
)
def test_a_rule_is_taken_as_people_write_it(said: Json, rule: Rule) -> None:
    assert policy({"tools": {"mail": said}}).tools["mail"] == rule


@pytest.mark.parametrize(
    "written",
    [
        {"policy": {"tools": {"mail": "ask"}}},
        {"policy": {"tools": {"mail": "ask"}}, "grant": {"hosts": ["a.example"]}},
        {"grant": {"policy": {"tools": {"mail": "ask"}}}},
    ],
)
def test_a_policy_stands_in_the_grant_or_beside_it(written: Any) -> None:
    spec = parse({"name": "clerk", **written})
    assert spec.grant.policy.tools == {"mail": Rule(ask="always")} and parse(spec.data()) == spec


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ({f"t{n}": "ask" for n in range(policies.RULES + 1)}, "policy.tools"),
        ({"mail": {"allow": [{"to": "a"}] * (policies.RULES + 1)}}, "policy.tools.mail.allow"),
    ],
)
def test_more_rules_than_are_read_are_refused_with_what_to_write_instead(tools: Any, place: str) -> None:
    with pytest.raises(InvalidRequest, match=r"has 2001 \w+, of which 2000 are read; \w+") as caught:
        policies.read({"tools": tools})
    assert caught.value.facts["parameter"] == place


def test_as_many_rules_as_are_read_are_taken() -> None:
    assert len(policies.read({"tools": {f"t{n}": "ask" for n in range(policies.RULES)}})["tools"]) == policies.RULES


def test_a_word_alone_is_what_becomes_of_doubts() -> None:
    assert policy("refuse") == Policy(untrusted="refuse")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"tools": {"mail": "deny"}}, "did you mean 'refuse'?"),
        ({"tools": {"mail": "always"}}, "did you mean 'ask'?"),
        ({"tools": {"mail": True}}, "policy: {tools: {mail: ask}}"),
        ({"tools": {"mail": {"ask": "never"}}}, "untrusted: allow"),
        ({"tools": {"mail": {"ask": "sometimes"}}}, "ask: always"),
        ({"tools": {"mail": {"verdict": "ask"}}}, "policy.tools.mail.verdict is no field of a rule"),
        ({"tools": {"mail": {"unknwon": "ask"}}}, "did you mean 'unknown'?"),
        ({"tools": {"mail": {"allow": "*@corp.example"}}}, "allow: [{to: ['*@example.org']}]"),
        ({"tools": ["mail"]}, "policy: {tools: {mail: ask}}"),
        ({"mail": "ask"}, "policy: {tools: {mail: ask}}"),
        ({"ask": ["mail"]}, "policy: {tools: {mail: ask}}"),
        ({"untrused": "ask"}, "did you mean 'untrusted'?"),
        ("asks", "did you mean 'ask'?"),
    ],
)
def test_what_is_not_taken_is_told_the_right_form(said: Json, told: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        policy(said)
    assert told in raised.value.message


def test_two_policies_are_one_too_many() -> None:
    with pytest.raises(InvalidRequest, match="two policies"):
        policy("ask", grant={"policy": {}})


def test_what_is_always_asked_about_is_asked_without_a_doubt_and_once_with_one() -> None:
    assert judged("ask").verdict == "ask" and judged("ask").rule == "mail.ask"
    doubtful = judged("ask", "Mallory", USER, PAGE)
    assert (doubtful.verdict, doubtful.origins) == ("ask", {"to": "tool page"}) and "tool page" in doubtful.why
    assert judged({"ask": "always", "untrusted": "refuse"}, "Mallory", USER, PAGE).verdict == "refuse"


def test_what_a_rule_settles_is_not_asked_about() -> None:
    rules = {"ask": "always", "allow": {"to": "Ann"}, "refuse": {"to": "Eve"}}
    assert [judged(rules, to).verdict for to in ("Ann", "Eve", "Bob")] == ["allow", "refuse", "ask"]
    assert judged("allow", "Mallory", USER, PAGE).verdict == "allow" and judged("refuse").verdict == "refuse"


@pytest.mark.parametrize(
    ("untrusted", "rule", "verdict", "contain"),
    [
        ("ask", {}, "ask", True),
        ("refuse", {}, "refuse", True),
        ("allow", {}, "allow", False),
        ("ask", {"untrusted": "ask"}, "ask", False),
        ("ask", {"untrusted": "refuse"}, "refuse", False),
        ("ask", {"ask": "always"}, "ask", False),
    ],
)
def test_what_can_be_contained_is_where_its_rule_does_not_say_otherwise(
    untrusted: str, rule: Json, verdict: str, contain: bool
) -> None:
    code = Traits("write", meanings={"code": "code"}, contained=True)
    said = policy({"untrusted": untrusted, "tools": {"python": rule}})
    found = decide(said, "python", code, {"code": "print(1)"}, Sight((USER, PAGE)))
    assert (found.verdict, found.contain) == (verdict, contain)


def test_a_rule_is_read_in_full_once() -> None:
    full = policies.read({"tools": {"mail": "ask"}})
    assert policies.read(full) == full
