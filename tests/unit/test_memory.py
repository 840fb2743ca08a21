"""What agents remember: each thing once, of a matter the newest, with what it was before."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Document, Place
from llmagent_os.knowledge.memory import Memory, alike
from tests.stand_ins.knowledge import HERE, found, knowledge

TEA = "Ann likes green tea with honey in the morning before work."


def memory(text: str, at: float | None = None) -> Document:
    return Document("", text, at=at)


@pytest.mark.parametrize(
    "other",
    [
        "ann likes green tea with honey in the morning, before work",
        "Ann really likes green tea with honey in the mornings before work!",
        "Before work, Ann likes green tea with honey in the morning.",
        "Ann likes green tea with hoeny in the morning before work.",
        "Ann likes green tea with honney in the morning before work.",
    ],
)
def test_what_says_the_same_is_alike(other: str) -> None:
    assert alike(TEA, other) and alike(other, TEA)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEA, "Bob likes green tea with honey in the morning before work."),
        (TEA, "Ann does not like green tea with honey in the morning before work."),
        (TEA, "Ann likes green tea in the morning before work."),
        ("Ann owes Bob money", "Bob owes Ann money"),
        ("The door code of the cellar is 4711", "The door code of the cellar is 4712"),
        ("It was Marta who called about the lease", "It was Marla who called about the lease"),
        ("会议在星期三", "会议在星期四"),
        ("The balance is -5", "The balance is 5"),
        ("Water it when the soil is < 5", "Water it when the soil is > 5"),
    ],
)
def test_what_says_something_else_is_not(one: str, other: str) -> None:
    assert not alike(one, other) and not alike(other, one)


async def test_the_same_is_kept_once_also_when_it_comes_twice_at_once() -> None:
    kept = Memory(knowledge())
    sources = await asyncio.gather(*(kept.keep(HERE, memory(text)) for text in (TEA, TEA.upper(), "Bob has a dog.")))
    assert sources[0] == sources[1] != sources[2]
    assert await kept.keep(Place("there"), memory(TEA)) == sources[0]  # elsewhere it is not known


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["Paris", "Rome", "Oslo"]), st.integers(1, 6)), min_size=1, max_size=8))
def test_of_a_matter_the_latest_is_known_and_the_rest_is_kept(said: list[tuple[str, int]]) -> None:
    async def told() -> None:
        known = knowledge()
        kept = Memory(known)
        for city, at in said:
            source = await kept.keep(HERE, memory(f"Ann lives in {city}", float(at)), "Ann's home")
        hits = await found(known, "where does Ann live?")
        latest = max(at for _, at in said)
        assert [hit.at for hit in hits] == [latest]
        assert hits[0].text in [f"Ann lives in {city}" for city, at in said if at == latest]
        history = kept.history(HERE, source)
        assert {each["text"] for each in history} | {hits[0].text} == {f"Ann lives in {city}" for city, _ in said}
        assert [each["at"] for each in history] == sorted((each["at"] for each in history), reverse=True)
        assert await known.remove(HERE, source) == 1
        assert kept.history(HERE, source) == [] and await found(known, "where does Ann live?") == []

    asyncio.run(told())


EVIL = ("tool page",)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_what_an_untrusted_source_has_remembered_stands_beside_what_somebody_trusted_said(
    order: tuple[int, ...],
) -> None:  # fmt: skip
    known = knowledge()
    kept = Memory(known)
    said = [
        Document("", "Ann lives in Oslo", at=1.0),
        Document("", "Ann lives in Rome", at=2.0, origins=EVIL),
        Document("", "Ann lives in Oslo", at=3.0, origins=EVIL),
    ]
    for number in order:
        await kept.keep(HERE, said[number], "Ann's home")
    there = {(hit.text, hit.origins) for hit in await found(known, "where does Ann live?")}
    assert ("Ann lives in Oslo", ()) in there and all(
        origins == EVIL for text, origins in there if text.endswith("Rome")
    )
    await kept.keep(HERE, Document("", "Ann lives in Bonn", at=9.0), "Ann's home")
    assert {(hit.text, hit.origins) for hit in await found(known, "where does Ann live?")} == {
        ("Ann lives in Bonn", ())
    }


async def test_what_was_kept_in_untrusted_words_is_trusted_once_somebody_trusted_says_it() -> None:
    known = knowledge()
    kept = Memory(known)
    first = await kept.keep(HERE, Document("", TEA, origins=EVIL))
    assert await kept.keep(HERE, Document("", TEA)) == first == await kept.keep(HERE, Document("", TEA, origins=EVIL))
    assert [hit.origins for hit in await found(known, "what does Ann like?")] == [()]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1e300, 1e11, 10**400])
async def test_a_moment_that_is_none_or_still_to_come_is_refused(at: float) -> None:
    with pytest.raises(InvalidRequest, match="seconds since 1970"):
        await Memory(knowledge()).keep(HERE, memory("Ann lives in Rome", at), "Ann's home")


async def test_a_note_that_is_taken_away_goes_with_what_stands_beside_it_unless_untrusted_words_ask() -> None:
    kept = Memory(knowledge())
    await kept.pin(HERE, "profile", Document("", "Likes tea."))
    await kept.pin(HERE, "profile", Document("", "Likes rum.", origins=EVIL))
    shown = [hit.text for hit in kept.pinned(HERE, ["profile"])]
    assert shown == ["Likes tea.", "Likes rum."]
    await kept.pin(HERE, "profile", Document("", "", origins=EVIL))
    assert [hit.text for hit in kept.pinned(HERE, ["profile"])] == ["Likes tea."]
    await kept.pin(HERE, "profile", Document("", "Likes rum.", origins=EVIL))
    await kept.pin(HERE, "profile", Document("", ""))
    assert kept.pinned(HERE, ["profile"]) == []


async def test_a_memory_is_changed_and_a_person_that_is_erased_takes_all_of_it_along() -> None:
    known, place = knowledge(), Place("here", "bob", "ann")
    kept = Memory(known)
    source = await kept.keep(place, memory("Ann lives in Paris"))
    assert await kept.edit(place, source, "Ann lives in Rome", ()) and not await kept.edit(HERE, source, "x", ())
    (exported,) = known.export("here", "ann")
    assert exported["texts"] == ["Ann lives in Rome"] and exported["before"][0]["text"] == "Ann lives in Paris"
    assert await known.erase("here", "ann", ()) == 1
    assert known._store._reader.execute("SELECT count(*) FROM earlier").fetchone() == (0,)  # type: ignore[attr-defined]
