"""What `knowledge extract` does: facts are read in documents by patterns, or by a model under a schema, as idle work.

Each points at its sentence. What a model says is kept only where sentence, subject and object stand in the text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import GenerateRequest, Generation, Json, Message, Place, Sampling, Sought
from .base import Knowledge, Known
from .facts import FactBase
from .reasoning import DECLARED, State, fold
from .rules import Statement
from .rules.syntax import Value
from .sentences import Sentence, claims, sentences

PAGE = 200  # documents that are looked at together
GUESSED = 0.8  # how sure a fact is that a model read
TOKENS, FACTS = 600, 12  # of one answer of a model
ASKED = """Read the numbered sentences and list the facts that they state, only with these predicates: {predicates}.
Write subject and object exactly as they stand in the sentence. Where nothing fits, list nothing."""

Ask = Callable[[GenerateRequest], Awaitable[Generation]]


async def by_patterns(knowledge: Knowledge, facts: FactBase, place: Place, source: str = "") -> dict[str, int]:
    """Have what is read in the documents of a place be what the patterns find there now.

    Raises InvalidRequest where no pattern is declared.
    """
    declared = await facts.state(_view(knowledge, place), lambda state: state.patterns)
    if not declared:
        raise InvalidRequest("no pattern says what sentences state: add rules with some, such as "
                             'pattern("{S} takes place in {O}", room).', parameter="patterns")  # fmt: skip
    done = {"documents": 0, "added": 0, "same": 0, "gone": 0, "disputed": 0}
    for known in _documents(knowledge, place, source):
        said = [_Said(each, *claim) for each in _sentences(knowledge, known) for claim in claims(each.text, declared)]
        _count(done, await facts.read(known, await _stated(knowledge, facts, known, said, 1.0), sure=True))
    return done


async def by_model(
    knowledge: Knowledge, facts: FactBase, place: Place, ask: Ask, model: str, source: str = "", after: int = 0,
    calls: int = 20,
) -> dict[str, int]:  # fmt: skip
    """Have a model read documents from the number `after` on, a passage a call, until `calls` are used up.

    A document is read whole or not at all; `after` in what is returned is the last one, `left` how many are still to be
    read. Raises InvalidRequest where rules and facts have no predicate to look for.
    """
    predicates = await facts.state(_view(knowledge, place), _predicates)
    if not predicates:
        raise InvalidRequest("there is no predicate to look for: add rules or facts that have some", parameter="rules")
    done = dict.fromkeys(("documents", "calls", "added", "same", "gone", "disputed", "refused", "left"), 0)
    done["after"] = after
    for known in _documents(knowledge, place, source, after):
        passages = knowledge.passages(known)
        if done["left"] or done["calls"] + len(passages) > calls:
            done["left"] += 1
            continue
        found = list[_Said]()
        for begin, text in passages:
            numbered = [Sentence(begin + at, words) for at, words in sentences(text)]
            told = _told((await ask(_request(model, numbered, predicates))).text)
            kept = [each for each in told if _stands(each, numbered, predicates)]
            done["calls"], done["refused"] = done["calls"] + 1, done["refused"] + len(told) - len(kept)
            found += [_Said(numbered[each["sentence"] - 1], each["subject"], each["predicate"], each["object"])
                      for each in kept]  # fmt: skip
        _count(done, await facts.read(known, await _stated(knowledge, facts, known, found, GUESSED), sure=False))
        done["after"] = known.document
    return done


class _Said(NamedTuple):
    """What a sentence says."""

    sentence: Sentence
    subject: str
    predicate: str
    object: Value


def _view(knowledge: Knowledge, place: Place) -> dict[int, Place]:
    return knowledge.places(place.tenant, place.agent, place.principal)


def _documents(knowledge: Knowledge, place: Place, source: str, after: int = 0) -> Iterator[Known]:
    """The documents of a place itself, by number."""
    here = [number for number, each in _view(knowledge, place).items() if each == place]
    while page := knowledge.documents(here, Sought("", source=source), after, PAGE):
        yield from page
        after = page[-1].document


def _sentences(knowledge: Knowledge, known: Known) -> Iterator[Sentence]:
    for begin, text in knowledge.passages(known):
        yield from (Sentence(begin + at, words) for at, words in sentences(text))


async def _stated(
    knowledge: Knowledge, facts: FactBase, known: Known, said: Sequence[_Said], sure: float
) -> list[Statement]:  # fmt: skip
    """Statements of a document, as of its date, by the names that are known."""
    return await facts.state(_view(knowledge, known.place), lambda state: [
        Statement(state.spelt(each.subject), each.predicate, state.spelling(each.object), known.at, confidence=sure,
                  begin=each.sentence.begin, sentence=each.sentence.text) for each in said])  # fmt: skip


def _count(done: dict[str, int], read: Mapping[str, int]) -> None:
    done["documents"] += 1
    for name, count in read.items():
        done[name] += count


def _predicates(state: State) -> list[str]:
    """What a model may look for: predicates of two arguments that facts are told of."""
    program = state.program
    told = {str(name) for name in state.reasoner.relations if name not in program.layer}
    told |= {each.predicate for each in state.patterns} | state.single
    return sorted(name for name in told if program.arity.get(name, 2) == 2 and name not in DECLARED)


def _request(model: str, numbered: list[Sentence], predicates: list[str]) -> GenerateRequest:
    text = "\n".join(f"{number}. {words}" for number, (_, words) in enumerate(numbered, 1))
    fact = {
        "type": "object",
        "properties": {"sentence": {"type": "integer", "minimum": 1, "maximum": len(numbered)},
                       "subject": {"type": "string", "maxLength": 80}, "predicate": {"enum": predicates},
                       "object": {"type": "string", "maxLength": 80}},
        "required": ["sentence", "subject", "predicate", "object"], "additionalProperties": False,
    }  # fmt: skip
    schema = {"type": "object", "properties": {"facts": {"type": "array", "items": fact, "maxItems": FACTS}},
              "required": ["facts"], "additionalProperties": False}  # fmt: skip
    messages = (Message("system", ASKED.format(predicates=", ".join(predicates))), Message("user", text))
    return GenerateRequest(model, messages, sampling=Sampling(temperature=0.0, max_tokens=TOKENS), schema=schema,
                           service="batch", stream=False)  # fmt: skip


def _told(answer: str) -> list[dict[str, Json]]:
    """The facts of an answer; none of one that broke off."""
    try:
        found = codec.loads(answer)
    except ValueError:
        return []
    listed = found.get("facts") if isinstance(found, dict) else None
    return [each for each in islice(listed or (), FACTS) if isinstance(each, dict)]


def _stands(said: Mapping[str, Json], numbered: list[Sentence], predicates: list[str]) -> bool:
    """Whether what a model says stands in the sentence that it names."""
    number, names = said.get("sentence"), [said.get("subject"), said.get("object")]
    if not isinstance(number, int) or not 0 < number <= len(numbered) or said.get("predicate") not in predicates:
        return False
    text = fold(numbered[number - 1].text)
    return names[0] != names[1] and all(isinstance(each, str) and fold(each) and fold(each) in text for each in names)
