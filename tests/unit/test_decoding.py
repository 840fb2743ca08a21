"""Beam search, several candidates and bans, on a model whose every probability is known."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import ContextOverflow, InvalidRequest, NotFound, Unsupported
from llmagent_os.core.records import Chunk, Decoding, EngineInfo, GenerateRequest, Generation, ModelSpec, Sampling
from llmagent_os.core.stream import collect
from llmagent_os.llm.decoding import BANS, LONGEST, WIDEST, decoded
from llmagent_os.llm.decoding.bans import restrained
from llmagent_os.llm.decoding.beam import Hypothesis, Search, place
from llmagent_os.llm.decoding.candidates import best_of, final_answer
from llmagent_os.llm.decoding.phrases import Phrases
from llmagent_os.llm.facade import LLM
from llmagent_os.llm.scripted import ScriptedEngine
from tests.stand_ins.stepper import END, Chain, Talker

LETTERS = "abcd"
seeds = st.integers(0, 10_000)


def request(decoding: Decoding | None = None, said: str = "", **sampling: Any) -> GenerateRequest:
    return GenerateRequest("chain", prompt="go", sampling=Sampling(**sampling), decoding=decoding, said=said)


async def ask(engine: Any, asked: GenerateRequest) -> Generation:
    return await collect(decoded(asked, engine))


def beams(width: int, most: int, **fields: Any) -> GenerateRequest:
    sampling = {name: fields.pop(name) for name in ("stop",) if name in fields}
    return request(Decoding("beam", width=width, **fields), max_tokens=most, **sampling)


def total(chain: Talker, tokens: Sequence[int]) -> float:
    return sum(chain.rows[a][b] for a, b in itertools.pairwise([END, *tokens]))


def answers(vocabulary: int, most: int) -> Iterator[tuple[int, ...]]:
    """Every answer: those that end in time, and those that are cut."""
    for length in range(1, most + 1):
        for tokens in itertools.product(range(1, vocabulary), repeat=length - 1):
            yield (*tokens, END)
    yield from itertools.product(range(1, vocabulary), repeat=most)


# -- beam search


@given(seeds, st.integers(1, 4), st.sampled_from([0.0, 0.6, 1.0, 2.0]))
@settings(deadline=None)
def test_a_beam_as_wide_as_the_answers_are_many_finds_the_best(seed: int, most: int, penalty: float) -> None:
    chain = Chain("abc", seed)
    width = len(chain.pieces) ** most
    chain = Chain("abc", seed, slots=range(width))
    best = max(answers(4, most), key=lambda tokens: total(chain, tokens) / len(tokens) ** penalty)
    asked = beams(width, most, n=2, length_penalty=penalty, early_stopping="never")
    found = asyncio.run(ask(chain, asked))
    assert found.text == asyncio.run(chain.decode(best))
    assert found.alternatives[0].score == pytest.approx(total(chain, best) / len(best) ** penalty)
    assert found.alternatives[1].score <= found.alternatives[0].score


@given(seeds, st.integers(1, 6), st.sampled_from([0.0, 1.0]))
@settings(deadline=None)
def test_a_beam_of_one_is_greedy(seed: int, most: int, penalty: float) -> None:
    chain = Chain(LETTERS, seed)
    greedy = asyncio.run(ask(chain, request(max_tokens=most, temperature=0.0)))
    found = asyncio.run(ask(chain, beams(1, most, length_penalty=penalty, early_stopping=True)))
    assert (found.text, found.finish) == (greedy.text, greedy.finish)


@given(seeds, st.integers(2, 5), st.booleans())
@settings(deadline=None)
def test_asking_over_a_network_finds_what_stepping_finds(seed: int, width: int, early: bool) -> None:
    asked = beams(width, 5, n=width, early_stopping=early)
    stepped = asyncio.run(ask(Chain(LETTERS, seed), asked))
    told = asyncio.run(ask(Talker(LETTERS, seed), asked))
    assert told.text == stepped.text
    assert [each.text for each in told.alternatives] == [each.text for each in stepped.alternatives]
    assert told.usage.output_tokens >= stepped.usage.output_tokens > 0


async def test_a_stop_text_finishes_a_hypothesis_and_is_cut_off() -> None:
    chain = Chain(["x", "y", "#"], seed=1)
    found = await ask(chain, beams(4, 6, n=4, stop=("#", "")))
    assert all("#" not in each.text for each in found.alternatives)
    free = await ask(Chain(["x", "y", "#"], seed=1), beams(4, 6, n=4))
    assert any("#" in each.text for each in free.alternatives)


async def test_a_beam_never_says_what_is_banned() -> None:
    found = await ask(Chain("abc", seed=5), beams(3, 6, n=3, banned=("ab", "c")))
    assert all(not re.search(r"\b(ab|c)\b", each.text) for each in found.alternatives)
    silenced = await ask(Chain(["一"], seed=4), beams(1, 3, banned=("一",)))
    assert (silenced.text, silenced.finish) == ("", "stop")


def test_early_stopping_says_when_a_search_is_over() -> None:
    done = [Hypothesis((1, END), -2.0, finished=True), Hypothesis((2, END), -4.0, finished=True)]
    going = [Hypothesis((3, 3), -1.0), Hypothesis((3, 4), -1.5)]
    likely = [Hypothesis((3, 3), -9.0), Hypothesis((3, 4), -9.5)]
    over = {}
    for early in (True, False, "never"):
        for name, running in (("hopeful", going), ("late", likely)):
            search = Search(Decoding(width=2, early_stopping=early), limit=20)
            search.advance(done + running)
            assert search.running == running
            over[early, name] = search.over()
    assert over == {
        (True, "hopeful"): True,
        (True, "late"): True,
        (False, "hopeful"): False,
        (False, "late"): True,
        ("never", "hopeful"): False,
        ("never", "late"): False,  # at 20 tokens it would score -0.45
    }


@given(st.data())
def test_every_hypothesis_gets_a_slot_and_first_children_their_parents(data: st.DataObject) -> None:
    slots = [7, 3, 5, 9]
    parents = data.draw(st.lists(st.sampled_from(slots), min_size=1, max_size=4))
    children = [Hypothesis((i,), float(-i), slot) for i, slot in enumerate(parents)]
    placed = place(children, slots, {})
    assert len({each.slot for each in placed}) == len(children)
    assert {each.slot for each in placed} <= set(slots)
    for slot in set(parents):
        assert placed[parents.index(slot)].slot == slot


async def test_what_lies_on_a_slot_is_not_read_again() -> None:
    chain = Chain(LETTERS, seed=3, slots=[6, 2, 4, 8])
    await ask(chain, beams(4, 12))
    assert chain.read < 12 * 4 * 12 / 3  # from scratch, a step reads each of its contexts whole


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
    ],
)
async def test_a_beam_refuses_by_name_what_it_cannot_honour(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsupported) as refused:
        await ask(Chain(LETTERS), request(Decoding("beam"), **wrong))
    assert refused.value.facts["parameter"] == named
    with pytest.raises(ContextOverflow):
        await ask(Chain(LETTERS), request(Decoding("beam"), said="a" * 300))
    await ask(Chain(LETTERS), request(Decoding("beam"), temperature=0.0, seed=3, max_tokens=2))


class Beamer(Talker):
    """An engine with beams of its own."""

    def __init__(self) -> None:
        super().__init__(LETTERS)
        self.info = EngineInfo("beamer", "beamer", abilities=frozenset({"beams", "prompt"}))

    async def generate(self, request: GenerateRequest) -> Any:
        yield Chunk(f"width {request.decoding.width}", finish="stop")


async def test_an_engine_with_beams_of_its_own_is_handed_the_request() -> None:
    chunks = [chunk async for chunk in decoded(request(Decoding("beam", width=3)), Beamer())]
    assert [chunk.text for chunk in chunks] == ["width 3"]


# -- several candidates


async def test_the_best_of_several_is_the_likeliest_and_usage_is_that_of_all() -> None:
    asked = request(Decoding("best_of", width=6, n=6), max_tokens=5, seed=4)
    found = await ask(Chain(LETTERS), asked)
    scores = [each.score for each in found.alternatives]
    assert found.text == found.alternatives[0].text and scores == sorted(scores, reverse=True)
    assert len({each.text for each in found.alternatives}) > 1
    assert found == await ask(Chain(LETTERS), asked)
    alone = [await ask(Chain(LETTERS), request(max_tokens=5, seed=4 + i, temperature=0.7)) for i in range(6)]
    assert found.usage.output_tokens == sum(each.usage.output_tokens for each in alone)
    assert {each.text for each in alone} == {each.text for each in found.alternatives}


async def test_a_scorer_may_be_a_function_or_a_question_to_another() -> None:
    async def shortest(prompt: str, answer: str) -> float:
        assert prompt == "go"
        return -len(answer)

    for scorer in (shortest, lambda prompt, answer: -len(answer)):
        asked = request(Decoding("best_of", width=5, n=5, scorer="short"), max_tokens=6, seed=1)
        found = await collect(best_of(asked, Chain(LETTERS), {"short": scorer}))
        assert len(found.text) == min(len(each.text) for each in found.alternatives)


def test_many_phrases_are_one_pattern() -> None:
    """A thousand once took a quarter of a minute to compile, on the event loop."""
    began = time.process_time()
    phrases = Phrases(f"word {number}" for number in range(BANS))
    assert phrases.found("so word  999, it says") == 3 and phrases.found("sword 1, word 1x") is None
    assert time.process_time() - began < 3


async def test_what_cannot_be_is_refused_by_name() -> None:
    chain = Chain(LETTERS)
    with pytest.raises(NotFound, match="beam"):
        await ask(chain, request(Decoding("baem")))
    with pytest.raises(NotFound, match="logprob"):
        await ask(chain, request(Decoding("best_of", scorer="log")))
    for width in (0, WIDEST + 1, 10**9):
        with pytest.raises(InvalidRequest, match="width"):
            await ask(chain, request(Decoding("vote", width=width)))
    for many in (Decoding(banned=("a",) * (BANS + 1)), Decoding("vote", topics=("a" * (LONGEST + 1),))):
        with pytest.raises(InvalidRequest, match="at most"):
            await ask(chain, request(many))
    with pytest.raises(InvalidRequest, match="n is 5"):
        await ask(chain, request(Decoding("vote", n=5)))
    for asked in (
        Decoding("vote", explain=True),
        Decoding(banned=("a",), explain=True),
        Decoding("beam", explain=True),
    ):
        with pytest.raises(Unsupported) as refused:
            await ask(chain, request(asked))
        assert refused.value.facts["parameter"] == "explain"
    silent = ScriptedEngine(ModelSpec("silent", "scripted", options={"parameters": ["temperature"]}))
    with pytest.raises(Unsupported, match="name a scorer"):
        await ask(silent, request(Decoding("best_of")))
    with pytest.raises(Unsupported, match="token by token"):
        await ask(silent, request(Decoding("beam"), temperature=0.0))
    with pytest.raises(Unsupported, match="go back"):
        await ask(Beamer(), request(Decoding(banned=("a",))))


def drawer(texts: Sequence[str]) -> ScriptedEngine:
    """Says one text a seed."""
    return ScriptedEngine(
        ModelSpec("drawer", "scripted"), script=lambda asked: texts[(asked.sampling.seed or 0) % len(texts)]
    )


@given(st.lists(st.sampled_from(["7", "8", "9"]), min_size=1, max_size=9))
@settings(deadline=None)
def test_the_majority_wins(votes: list[str]) -> None:
    forms = ["So the answer is {}.", "Answer: {}", "Therefore\n{}.0 apples", '{{"answer": {}}}', "\\boxed{{{}}}"]
    texts = [forms[i % len(forms)].format(vote) for i, vote in enumerate(votes)]
    asked = request(Decoding("vote", width=len(votes), n=len(votes)), seed=0)
    found = asyncio.run(ask(drawer(texts), asked))
    assert votes.count(final_answer(found.text)) == max(map(votes.count, votes))
    assert math.isclose(sum(each.score for each in found.alternatives), 1.0)


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("First 3, then 4.\nThe answer is $1,200.50.", "1200.5"),
        ("the answer: 18 eggs\n", "18"),
        ("... so we get \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ('{"answer": "Paris"}', "paris"),
        ('{"city": "Oslo"}', '{"city":"oslo"}'),
        ("because\n**Paris.**", "paris"),
        ("所以答案是：42。", "42"),
        ("-0", "0"),
        ("", ""),
    ],
)
def test_final_answers_that_mean_the_same_are_the_same(text: str, final: str) -> None:
    assert final_answer(text) == final


# -- bans

PIECES = [" ", "ba", "d", "s", "un", "B", "AD", ". ", "\n", "坏", "词", "an"]
WORDS = ("bad", "un bad", "坏词")
BANNED = re.compile(r"(?<![^\W坏词])(bad|un\s+bad)(?![^\W坏词])|坏词", re.IGNORECASE)


@given(seeds, st.booleans(), st.sampled_from(["", "ba", "un ", "坏"]))
@settings(deadline=None, max_examples=200)
def test_what_is_banned_is_never_said_wherever_the_borders_of_tokens_lie(seed: int, asking: bool, said: str) -> None:
    engine = (Talker if asking else Chain)(PIECES, seed)
    asked = request(Decoding(banned=WORDS), said=said, max_tokens=20, seed=seed)
    shown = ""
    try:
        for chunk in asyncio.run(gathered(asked, engine)):
            shown += chunk.text
    except Unsupported as error:
        assert "banned" in error.message
    assert not any(match.end() > len(said) for match in BANNED.finditer(said + shown))


async def gathered(asked: GenerateRequest, engine: Any) -> list[Chunk]:
    return [chunk async for chunk in decoded(asked, engine)]


async def test_a_free_answer_is_left_as_it_is() -> None:
    plain = await ask(Chain(LETTERS, 2), request(max_tokens=20, seed=1))
    bound = await ask(Chain(LETTERS, 2), request(Decoding(banned=("zebra",)), max_tokens=20, seed=1))
    assert bound == plain


async def test_bans_hold_for_every_candidate() -> None:
    found = await ask(
        Chain("xyz", seed=1), request(Decoding("best_of", width=6, n=6, banned=("x", "xy")), max_tokens=8, seed=2)
    )
    assert not any(re.search(r"\b(x|xy)\b", each.text) for each in found.alternatives)


async def test_a_sentence_on_a_banned_topic_is_replaced_before_it_is_shown() -> None:
    engine = Chain(["the game. ", "the cat. ", "a tree. "], seed=0)
    free = await ask(engine, request(max_tokens=12, seed=0))
    bound = await ask(engine, request(Decoding(topics=("game",)), max_tokens=12, seed=0))
    assert "game" in free.text and "game" not in bound.text and bound.text

    async def cats(text: str, topics: Sequence[str]) -> str | None:
        return topics[0] if "cat" in text else None

    asked = request(Decoding(topics=("pets",)), max_tokens=12, seed=0)
    judged = await collect(restrained(asked, engine, on_topic=cats))
    assert "cat" in free.text and "cat" not in judged.text


@given(st.text("ab 坏\n", max_size=30), st.lists(st.text("ab 坏", min_size=1, max_size=4), max_size=3))
@settings(deadline=None)
def test_phrases_are_found_as_they_come_before_any_of_them_is_let_go(text: str, banned: list[str]) -> None:
    """Character by character, with what is sure let go."""
    phrases, start = Phrases(banned), 0
    for end in range(len(text) + 1):
        found = phrases.found(text[:end], start, final=end == len(text))
        if found is not None:
            assert phrases.found(text, found) == found >= start
            return
        start = phrases.sure(text[:end], start)
    assert phrases.found(text) is None


def test_the_facade_takes_the_keywords_of_a_strategy() -> None:
    with LLM(Chain(LETTERS, seed=random.Random(1).randrange(9))) as llm:
        assert len(llm.generate(prompt="go", strategy="beam", width=3, n=2, max_tokens=4).alternatives) == 2
        assert "a" not in "".join(llm.stream(prompt="go", banned=["a"], max_tokens=9)).split()
        with pytest.raises(InvalidRequest, match="length_penalty"):
            llm.generate(prompt="go", length_penalti=1.0)
