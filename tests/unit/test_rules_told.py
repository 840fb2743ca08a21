"""What was told, with its time; who is who; rows of tables as facts; and a proof as a picture."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import InvalidRequest, NotFound
from llmagent_os.knowledge.rules import (
    Entities,
    Given,
    Program,
    Reasoner,
    Statement,
    explain,
    history,
    holding,
    mapped,
    rows,
    svg,
)


def lives(where: str, since: float | None, recorded: float, **more: Any) -> Statement:
    return Statement("ann", "lives in", where, since=since, recorded=recorded, **more)


HOMES = [lives("Berlin", 10, 100), lives("Paris", 20, 90), lives("Oslo", None, 200), lives("Rome", 10, 110)]


@pytest.mark.parametrize(
    ("at", "known", "where"),
    [(5, 999, []), (10, 999, ["Rome"]), (10, 105, ["Berlin"]), (25, 999, ["Paris"]), (250, 999, ["Oslo"]),
     (250, 150, ["Paris"]), (250, 95, ["Paris"]), (15, 95, [])],
)  # fmt: skip
def test_the_newest_wins_and_what_was_known_before_can_be_asked(at: float, known: float, where: list[str]) -> None:
    assert [each.object for each in holding(HOMES, at, {"lives in"}, known)] == where


def test_history_is_kept() -> None:
    assert [each.object for each in history(HOMES, "ann", "lives in")] == ["Berlin", "Rome", "Paris", "Oslo"]


def test_what_has_ended_does_not_hold_and_brings_nothing_back() -> None:
    homes = [*HOMES, lives("Kyoto", 300, 300, until=310)]
    assert [each.object for each in holding(homes, 305, {"lives in"})] == ["Kyoto"]
    assert holding(homes, 310, {"lives in"}) == []


def test_of_other_predicates_all_hold() -> None:
    assert len(holding(HOMES, 250)) == 4
    assert holding([lives("Berlin", 1, 1, until=5)], 5) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*map(st.sampled_from, ["abc", "xy", range(6), range(6)])), max_size=12), st.integers(0, 6))
def test_a_subject_has_one_object_at_a_time_and_it_is_the_newest(said: list[Any], at: int) -> None:
    statements = [Statement(who, "p", what, since=since, recorded=recorded) for who, what, since, recorded in said]
    found = holding(statements, at, {"p"})
    begun = [each for each in statements if each.begins <= at]
    assert {each.subject for each in found} == {each.subject for each in begun}
    for each in found:
        others = [(other.begins, other.recorded) for other in begun if other.subject == each.subject]
        assert (each.begins, each.recorded) == max(others)


def test_names_are_merged_and_parted_again() -> None:
    same = Entities()
    first = same.merge("IBM", "Big Blue")
    second = same.merge("International Business Machines", "IBM")
    assert same.name("Big Blue") == "International Business Machines"
    assert same.aliases("IBM") == ["International Business Machines", "IBM", "Big Blue"]
    same.undo(first)
    assert same.name("Big Blue") == "Big Blue" and same.name("IBM") == "International Business Machines"
    assert Entities(same.merged).aliases("IBM") == same.aliases("IBM")
    same.undo(second)
    assert same.aliases("IBM") == ["IBM"] and same.name("unheard") == "unheard"
    with pytest.raises(NotFound, match="number 7"):
        same.undo(7)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=8), st.data())
def test_what_is_undone_was_never_merged(pairs: list[tuple[str, str]], data: Any) -> None:
    same = Entities()
    numbers = [same.merge(*pair) for pair in pairs]
    gone = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    for number in gone:
        same.undo(number)
    fresh = Entities()
    for number, pair in zip(numbers, pairs, strict=True):
        if number not in gone:
            fresh.merge(*pair)
    assert {each: same.name(each) for each in "abcdef"} == {each: fresh.name(each) for each in "abcdef"}
    assert all(same.name(each) == same.name(other) for each in "abcdef" for other in same.aliases(each))


PEOPLE = [
    {"id": "1", "name": "Ann", "city": "Oslo", "born": 1930},
    {"id": "2", "name": "Bob", "city": "", "born": None},
]
MAPPING = {"subject": "{name}", "facts": {"born in": "{city}", "born": "{born}", "known as": "no. {id}"},
           "source": "people.csv, row {#}"}  # fmt: skip


def test_rows_of_a_table_become_facts_that_rules_reason_with() -> None:
    said = list(mapped(PEOPLE, MAPPING, recorded=5))
    assert [(each.subject, each.predicate, each.object) for each in said] == [
        ("Ann", "born in", "Oslo"), ("Ann", "born", 1930), ("Ann", "known as", "no. 1"), ("Bob", "known as", "no. 2"),
    ]  # fmt: skip
    made = Reasoner(Program.read('norwegian(X) :- "born in"(X, "Oslo").'))
    same = Entities()
    same.merge("Ann Lee", "Ann")
    made.change(rows(said, same))
    proof = explain(made, 'norwegian("Ann Lee")')
    assert proof.given[0][1].source == "people.csv, row 1"


def test_the_surest_of_what_was_said_twice_is_given() -> None:
    said = [Statement("a", "p", "b", source="x", confidence=0.5), Statement("a", "p", "b", source="y", confidence=0.9)]
    assert list(rows(said)) == [("p", ("a", "b"), Given("y", 0.9))]


def test_a_column_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidRequest, match="no column 'town'; there are: #, id, name"):
        list(mapped(PEOPLE, {"subject": "{town}", "facts": {"a": "{id}"}}))


def test_a_proof_is_drawn() -> None:
    made = Reasoner(
        Program.read('p(X, Z) :- q(X, Y), q(Y, Z). q(a, "<b>\x01"). q("<b>\x01", c). r(X) :- p(X, _), q(X, _).')
    )
    root = ElementTree.fromstring(svg(explain(made, "r(a)")))
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "r(a)" in words and 'q(a, "<b>")' in words and len(words) == 8
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 4


def test_a_very_long_proof_is_drawn_in_part() -> None:
    made = Reasoner(Program.read("c(X, Y) :- n(X, Y). c(X, Z) :- c(X, Y), n(Y, Z)."))
    made.change([("n", (n, n + 1), Given()) for n in range(500)])
    assert svg(explain(made, "c(0, 500)")).count("<rect") == 300
