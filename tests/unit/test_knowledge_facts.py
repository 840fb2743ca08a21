"""Facts in the store: what follows from them, whose words it is in, who is who, and what is read in documents."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import BudgetExceeded, InvalidRequest, NotFound
from llmagent_os.core.records import GenerateRequest, Generation, Place
from llmagent_os.knowledge.base import Knowledge
from llmagent_os.knowledge.extraction import by_model, by_patterns
from llmagent_os.knowledge.facts import FactBase
from llmagent_os.knowledge.reasoning import State
from llmagent_os.knowledge.rules import Entities, Program, Statement, mapped
from llmagent_os.knowledge.tables import rows_of
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.knowledge import HERE, document, knowledge

CALENDAR = """
functional(room). functional(day).
pattern("{S} takes place in {O} on {_}", room).
pattern("{S} takes place in {O}", room).
pattern("{S} takes place {_} on {O}", day).
pattern("{S}在{O}举行", room).
clash(A, B) :- room(A, R), room(B, R), day(A, D), day(B, D), A != B.
free(R) :- seats(R, _), not taken(R).
taken(R) :- room(_, R).
"""


class Base:
    """Knowledge and facts over one store."""

    def __init__(self, store: SQLiteStore | None = None) -> None:
        self.store = store or SQLiteStore()
        self.known: Knowledge = knowledge(self.store)
        self.facts = FactBase(self.known, self.store)

    def places(self, tenant: str = "here", agent: str | None = None, person: str | None = None) -> dict[int, Place]:
        return self.known.places(tenant, agent, person)

    async def add(self, *facts: tuple[Any, ...], place: Place = HERE, **about: Any) -> list[int]:
        return await self.facts.add(place, [Statement(*each, **about) for each in facts])

    async def values(self, question: str, **about: Any) -> list[dict[str, Any]]:
        found = await self.facts.infer(self.places(), question, 50, **about)
        return sorted((each.values for each in found.answers), key=str)


async def test_a_newer_fact_supersedes_the_older_one_which_stays_with_its_time() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR)
    await base.add(("budget", "room", "Room 1"), since=100.0)
    assert await base.values("room(budget, R)") == [{"R": "Room 1"}]
    await base.add(("budget", "room", "Room 2"), since=200.0)
    assert await base.values("room(budget, R)") == [{"R": "Room 2"}]
    assert await base.values("room(budget, R)", at=150.0) == [{"R": "Room 1"}]
    told = await base.facts.listed(base.places())
    assert [(each["object"], each["holds"]) for each in told] == [("Room 1", False), ("Room 2", True)]
    await base.facts.remove(HERE, [told[1]["number"]])
    assert await base.values("room(budget, R)") == [{"R": "Room 1"}]


async def test_what_an_untrusted_source_says_supersedes_nothing_that_somebody_trusted_said() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR)
    await base.add(("budget", "room", "Room 1"), since=100.0, source="said by ann")
    await base.known.add(
        HERE, [document("plan.md", "The budget takes place in Room 1.", origins=("document plan.md",))]
    )
    assert (await by_patterns(base.known, base.facts, HERE))["disputed"] == 0

    async def answers() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        found = await base.facts.infer(base.places(), "room(budget, R)")
        return {str(each.values["R"]): (each.origins, each.against) for each in found.answers}

    assert await answers() == {"Room 1": ((), ())}  # also not where it says the same, later
    other = document("evil.md", "The budget takes place in Room 9.", origins=("document evil.md",))
    await base.known.add(HERE, [other])
    assert (await by_patterns(base.known, base.facts, HERE))["disputed"] == 1
    beside = {"Room 1": ((), ()), "Room 9": (("document evil.md",), ('room(budget, "Room 1")',))}
    assert await answers() == beside
    against = await base.facts.contradicted(base.places(), "The budget takes place in Room 9.")
    assert [str(known.fact) for _, _, known in against] == ['room(budget, "Room 1")']
    assert {(each["object"], each["source"]): each["holds"] for each in await base.facts.listed(base.places())} == {
        ("Room 1", "said by ann"): True, ("Room 1", "plan.md"): False, ("Room 9", "evil.md"): True,
    }  # fmt: skip
    again = Base(base.store)
    found = await again.facts.infer(again.places(), "room(budget, R)")
    assert {str(each.values["R"]): (each.origins, each.against) for each in found.answers} == beside
    await base.add(("budget", "room", "Room 2"))  # who may says it anew: that supersedes both
    assert await answers() == {"Room 2": ((), ())}


async def test_a_proof_goes_down_to_sentences_and_what_lacks_is_told() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR)
    text = "# Meetings\n\nThe budget meeting takes place in Room 2 on Monday. 审计会议在 Room 2 举行。"
    await base.known.add(HERE, [document("plan.md", text, origins=("document plan.md",))])
    assert (await by_patterns(base.known, base.facts, HERE))["added"] == 3
    await base.add(("审计会议", "day", "Monday"))
    found = await base.facts.infer(base.places(), 'clash("budget meeting", X)')
    (answer,) = found.answers
    assert answer.values == {"X": "审计会议"} and answer.origins == ("document plan.md",)
    given = {str(fact): where for fact, where in answer.proof.given}
    said = given['room("budget meeting", "Room 2")']
    assert said.sentence == "The budget meeting takes place in Room 2 on Monday." and said.source == "plan.md"
    assert text[said.begin or 0 :].startswith(said.sentence)
    assert "calendar.rules, line 7" in answer.proof.text()
    missing = (await base.facts.infer(base.places(), 'clash("budget meeting", gala)')).missing
    assert str(missing[0]).endswith('room(gala, "Room 2"): there is no such fact')


async def test_what_is_read_in_a_document_goes_with_it_and_reading_again_changes_nothing() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR)
    await base.known.add(HERE, [document("a.md", "The gala takes place in Room 1."), document("b.md", "Nothing.")])
    assert (await by_patterns(base.known, base.facts, HERE))["added"] == 1
    assert (await by_patterns(base.known, base.facts, HERE)) == {
        "documents": 2,
        "added": 0,
        "same": 1,
        "gone": 0,
        "disputed": 0,
    }
    assert await base.values("room(gala, R)") == [{"R": "Room 1"}]
    await base.known.add(HERE, [document("a.md", "The gala takes place in Room 7.")])
    assert await base.values("room(gala, R)") == []
    await by_patterns(base.known, base.facts, HERE)
    assert await base.values("room(gala, R)") == [{"R": "Room 7"}]
    await base.known.remove(HERE, "a.md")
    assert await base.values("room(gala, R)") == [] and await base.facts.listed(base.places()) == []


async def test_whose_words_a_conclusion_is_in_travels_also_through_what_is_not_there() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR + "late(M) :- free(R), wants(M, R).")
    await base.add(("Room 1", "seats", 5), ("Room 2", "seats", 9), ("gala", "wants", "Room 1"))

    async def origins(question: str) -> tuple[str, ...]:
        return (await base.facts.infer(base.places(), question)).origins

    assert await origins("late(X)") == ()
    await base.add(("audit", "room", "Room 2"), origins=("document evil.md",))
    assert await origins("taken(R)") == ("document evil.md",)
    assert await origins("late(X)") == ("document evil.md",)  # a word of theirs could have had it taken
    assert await origins('seats("Room 1", N)') == ()
    assert await origins("clash(X, Y)") == ("document evil.md",)  # so is that there is none
    await base.add(("audit", "room", "Room 2"))  # said by somebody who may
    assert await origins("taken(R)") == ()


async def test_names_are_merged_and_parted_also_after_a_restart(tmp_path: Path) -> None:
    base = Base(SQLiteStore(tmp_path / "k.db"))
    await base.facts.put_rules(HERE, "r", "works(P, C) :- employs(C, P).")
    await base.add(("Big Blue", "employs", "Ann"))
    number = await base.facts.merge(HERE, "IBM", "Big Blue")
    assert await base.values("works(X, C)") == [{"X": "Ann", "C": "IBM"}]
    assert [each.values for each in (await base.facts.about(base.places(), "Who works at big blue?")).answers] != []
    base.facts.close(), base.known.close(), base.store.close()
    base = Base(SQLiteStore(tmp_path / "k.db"))
    assert await base.values("works(X, C)") == [{"X": "Ann", "C": "IBM"}]
    await base.facts.part(HERE, number)
    assert await base.values("works(X, C)") == [{"X": "Ann", "C": "Big Blue"}]
    with pytest.raises(NotFound, match="number 9"):
        await base.facts.part(HERE, 9)
    base.facts.close(), base.known.close(), base.store.close()


async def test_a_tenant_sees_nothing_of_another_and_an_agent_the_tenants_and_its_own() -> None:
    base = Base()
    await base.add(("a", "p", "b"))
    await base.add(("a", "p", "c"), place=Place("here", "clerk"))
    await base.add(("a", "p", "d"), place=Place("there"))
    await base.facts.put_rules(Place("there"), "r", "q(X) :- p(a, X).")

    async def seen(**where: Any) -> list[str]:
        found = await base.facts.infer(base.places(**where), "p(a, X)")
        return sorted(str(each.values["X"]) for each in found.answers)

    assert await seen() == ["b", "c"] and await seen(agent="clerk") == ["b", "c"] and await seen(agent="x") == ["b"]
    assert await seen(tenant="there") == ["d"]
    assert (await base.facts.infer(base.places(), "q(X)")).answers == []


async def test_rules_are_checked_with_the_others_and_the_error_names_file_line_and_variable() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "one.rules", "p(X, Y) :- q(X, Y).")
    with pytest.raises(InvalidRequest, match=r"two\.rules, line 2.*variable Z"):
        await base.facts.put_rules(HERE, "two.rules", "\nr(X, Z) :- q(X, _).")
    with pytest.raises(InvalidRequest, match=r"two\.rules, line 1: p has 1 .* and 2 in one\.rules, line 1"):
        await base.facts.put_rules(HERE, "two.rules", "r(X) :- p(X).")
    with pytest.raises(InvalidRequest, match=r"three, line 1: .*is no pattern"):
        await base.facts.put_rules(HERE, "three", 'pattern("{S} is", p).')
    await base.add(("a", "s", "b"))
    with pytest.raises(InvalidRequest, match="s has 1 arguments here, and facts are kept"):
        await base.facts.put_rules(HERE, "two.rules", "r(X) :- s(X).")
    assert [each["name"] for each in base.facts.rules(base.places())] == ["one.rules"]
    await base.facts.put_rules(HERE, "grow", "n(0). n(Y) :- n(X), Y = X + 1.")
    with pytest.raises(BudgetExceeded, match="conclude more than"):
        await base.facts.infer(base.places(), "n(X)")
    await base.facts.drop_rules(HERE, "grow")
    with pytest.raises(NotFound, match=r"there are: one\.rules"):
        await base.facts.drop_rules(HERE, "grow")


@pytest.mark.parametrize(
    ("fact", "about", "why"),
    [(("", "p", "x"), {}, "subject"), (("a", "p", float("nan")), {}, "number"), (("a", "p", True), {}, "text or a"),
     (("a", "p", 2**63), {}, "number below"), (("a", "p", "x"), {"confidence": 0.0}, "more than 0"),
     (("a", "p", "x"), {"since": 5.0, "until": 5.0}, "ends after")],
)  # fmt: skip
async def test_a_fact_that_cannot_be_reasoned_with_is_refused(fact: Any, about: Any, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        await Base().add(fact, **about)


async def test_a_table_told_again_ends_what_is_gone_and_keeps_the_rest() -> None:
    base, mapping = Base(), {"subject": "{name}", "facts": {"room": "{room}", "seats": "{n}"}}

    async def load(text: str) -> dict[str, int]:
        said = mapped(rows_of(text.encode(), "m.csv"), mapping)
        return await base.facts.load(HERE, "m.csv", said)

    assert await load("name,room,n\ngala,Room 1,5\naudit,Room 2,\n") == {
        "added": 3,
        "same": 0,
        "ended": 0,
        "disputed": 0,
    }
    assert await load("name,room,n\ngala,Room 1,5\naudit,Room 2,\n") == {
        "added": 0,
        "same": 3,
        "ended": 0,
        "disputed": 0,
    }
    assert await load("name,room,n\ngala,Room 1,5\naudit,Room 3,\n") == {
        "added": 1,
        "same": 2,
        "ended": 1,
        "disputed": 0,
    }
    assert await base.values("room(X, R)") == [{"X": "audit", "R": "Room 3"}, {"X": "gala", "R": "Room 1"}]
    assert await base.values("seats(X, 5)") == [{"X": "gala"}] and len(await base.facts.listed(base.places())) == 4


async def test_what_a_text_says_against_a_fact_or_a_rule_is_found() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR + 'room(M, "Room 9") :- huge(M, yes).')
    await base.add(("budget meeting", "room", "Room 2"), ("fair", "huge", "yes"), ("audit", "seats", "Room 1"))

    async def against(text: str) -> list[tuple[str, Any, Any]]:
        found = await base.facts.contradicted(base.places(), text)
        return [(claim.subject, claim.object, known.values["V"]) for _, claim, known in found]

    said = "The budget meeting takes place in Room 5. The fair takes place in Room 1. The party takes place in Room 3."
    assert await against(said) == [("budget meeting", "Room 5", "Room 2"), ("fair", "Room 1", "Room 9")]
    assert await against("The Budget Meeting takes place in room 2.") == []
    assert await against("The budget meeting does not take place in Room 5.") == []


async def test_a_model_reads_within_its_calls_and_what_does_not_stand_there_is_refused() -> None:
    base = Base()
    await base.facts.put_rules(HERE, "calendar.rules", CALENDAR)
    for name in "abc":
        await base.known.add(HERE, [document(f"{name}.md", f"Meet at Room {name}: the {name} gala.", f"T{name}")])
    asked = list[GenerateRequest]()

    async def ask(request: GenerateRequest) -> Generation:
        asked.append(request)
        name = str(request.messages[-1].content)[16]
        told = {"sentence": 1, "subject": f"{name} gala", "predicate": "room"}
        return Generation(json.dumps({"facts": [told | {"object": f"Room {each}"} for each in (name, "9")]}))

    first = await by_model(base.known, base.facts, HERE, ask, "m", calls=2)
    assert (first["calls"], first["added"], first["refused"], first["left"]) == (2, 2, 2, 1)
    again = await by_model(base.known, base.facts, HERE, ask, "m", after=first["after"])
    assert (again["documents"], again["added"], again["left"]) == (1, 1, 0)
    assert await base.values("room(X, R)") == [{"X": f"{each} gala", "R": f"Room {each}"} for each in "abc"]
    assert {each.service for each in asked} == {"batch"}
    (told, *_) = await base.facts.listed(base.places())
    assert told["confidence"] == 0.8 and told["sentence"] == "Meet at Room a: the a gala."


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_kept_in_step_is_what_a_new_one_would_know(seed: int) -> None:
    base, chance = Base(), random.Random(seed)
    text = "functional(at). near(X, Y) :- at(X, P), at(Y, P), X != Y. alone(X) :- at(X, _), not near(X, _).\n"
    text += "reach(X, Y) :- edge(X, Y). reach(X, Z) :- reach(X, Y), edge(Y, Z)."
    await base.facts.put_rules(HERE, "r", text)
    now, questions = 1_000.0, ("near(X, Y)", "alone(X)", "reach(X, Y)", "at(X, Y)")
    for _ in range(25):
        if chance.random() < 0.7:
            since = chance.choice([None, now - 5, now - 50])
            await base.add((chance.choice("abcd"), chance.choice(["at", "edge"]), chance.choice("abcd")), since=since)
        elif told := await base.facts.listed(base.places()):
            await base.facts.remove(HERE, [chance.choice(told)["number"]])
        await base.values("at(X, Y)")
        if chance.random() < 0.1:
            base.facts._states.clear()
    kept = {question: await base.values(question) for question in questions}
    fresh = Base(base.store)
    assert kept == {question: await fresh.values(question) for question in questions}


async def test_what_is_a_persons_is_exported_and_erased() -> None:
    base, ann = Base(), Place("here", "", "ann")
    await base.add(("a", "p", "b"), place=ann)
    await base.add(("a", "p", "c"))
    await base.facts.put_rules(ann, "r", "q(X) :- p(a, X).")
    await base.facts.merge(ann, "b", "bee")
    assert len(list(base.facts.export("here", "ann"))) == 3
    assert await base.facts.erase("here", "ann", []) == 3
    assert list(base.facts.export("here", "ann")) == [] and await base.values("p(a, X)") == [{"X": "c"}]


async def test_what_begins_and_ends_meanwhile_is_kept_in_step() -> None:
    state = State(Program.read("functional(at). on(X) :- at(X, home)."), Entities(), 0)
    said = [Statement("ann", "at", "home", 10.0, number=1), Statement("ann", "at", "work", 20.0, 30.0, number=2)]
    state.change(0, said)
    seen = []
    for now in (0, 10, 19, 20, 30, 31):
        state.change(now)
        seen.append(
            (len(state.ask("on(X)", 5).answers), [each.values["P"] for each in state.ask("at(ann, P)", 5).answers])
        )
    assert seen == [(0, []), (1, ["home"]), (1, ["home"]), (0, ["work"]), (0, []), (0, [])]
