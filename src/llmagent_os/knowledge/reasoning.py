"""What follows from the facts and rules of some places, kept in step as facts come, go, begin and end.

Facts whose words may direct nobody mark what is concluded from them. A conclusion from what is not there, or from how
many there are, has no premise for what would have changed it: it is marked by all such facts that its absence could
stand on.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from ..core.errors import BudgetExceeded
from ..core.records import Json
from .rules import (
    Atom,
    Entities,
    Fact,
    Given,
    Limits,
    Missing,
    Program,
    Proof,
    Reasoner,
    Statement,
    explain,
    goal,
    holding,
    rows,
    why_not,
)
from .rules.program import needed
from .rules.syntax import Name, Row, Rule, Value, Variable, rules
from .sentences import Claim, Pattern, claims, patterns, sentences

LIMITS = Limits(facts=500_000, seconds=20.0)
"""Of a question that somebody waits for."""
DECLARED = ("functional", "pattern")
"""What rules say of predicates and sentences, and not of the world."""
NAMED, WORDS, LETTERS = 60, 6, 12  # characters of a name that is looked for in texts; its words; its CJK characters
_MARK = re.compile(r"(?<![ \t])[ \t]*+\[\d[\d, ]*\]")
_WORD = re.compile(r"\w+")
_CJK = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")

Key = tuple[str | Value, ...]
Rows = dict[tuple[str, Row], Given]


class Answered(NamedTuple):
    """A fact that answers a question: the values of the variables, its proof, and whose words it is in.

    `against` are facts that it does not go together with, in words that may direct: what it stands on came later, and
    from somebody who supersedes nothing.
    """

    fact: Fact
    values: dict[str, Value]
    proof: Proof
    origins: tuple[str, ...]
    against: tuple[str, ...] = ()

    def words(self) -> str:
        """What it says, in words, and the sentences that it stands on."""
        said = [
            f"{' '.join(map(str, (step.fact.predicate.replace('_', ' '), *step.fact.values)))}."
            for step in self.proof.steps
        ]
        return "\n".join([*said, *(given.sentence for _, given in self.proof.given)])

    def told(self) -> dict[str, Json]:
        """As JSON."""
        return {"fact": str(self.fact), "values": self.values, "confidence": self.proof.confidence,
                "origins": list(self.origins), "against": list(self.against), "proof": self.proof.data(),
                "text": self.proof.text()}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a question: answers; whether there are more; where there are none, what each rule lacks."""

    answers: list[Answered]
    more: bool = False
    missing: tuple[Missing, ...] = ()
    origins: tuple[str, ...] = ()

    def told(self) -> dict[str, Json]:
        """As JSON."""
        return {"answers": [each.told() for each in self.answers], "more": self.more,
                "why_not": [str(each) for each in self.missing]}  # fmt: skip


def program_of(texts: Iterable[tuple[str, str]]) -> Program:
    """The rules of several files (name, text) as one; raises InvalidRequest with file, line and variable."""
    return Program.of([rule for name, text in texts for rule in rules(text, name)])


def functional(program: Program) -> set[str]:
    """The predicates of which a subject has one object at a time."""
    return {str(row[0]) for name, row, _ in program.facts if name == "functional" and len(row) == 1}


class State:
    """The facts of some places, by the names that stand for things, in a Reasoner. Not for several threads at once."""

    def __init__(self, program: Program, entities: Entities, now: float, limits: Limits = LIMITS) -> None:
        self.program, self.now = program, now
        self.single = functional(program)
        self.patterns: list[Pattern] = patterns(program)
        self.reasoner = Reasoner(program, limits)
        self.known = 0
        self._entities = entities
        self._own: Rows = {(str(name), row): given for name, row, given in program.facts}
        self._groups, self._where = dict[Key, list[Statement]](), dict[int, Key]()
        self._read = defaultdict[int, set[int]](set)  # by document
        self._moments = list[tuple[float, Key]]()
        self._clouds = defaultdict[Name, Counter[tuple[str, ...]]](Counter)
        self._reach = dict[Name, set[Name]]()
        self._names = defaultdict[str, set[str]](set)
        self._unnamed: list[Row] = [row for name, row in self._own if name not in DECLARED]
        self._unnamed += entities.merged.values()

    # -- what changes

    def change(
        self, now: float, come: Iterable[Statement] = (), gone: Iterable[int] = (), documents: Iterable[int] = ()
    ) -> None:  # fmt: skip
        """Take in statements and forget others, by their numbers, or by the documents that they were read in.

        What is known already, or not, changes nothing.
        """
        lost = {*gone, *(number for document in documents for number in self._read.pop(document, ()))}
        old = [number for number in lost if number in self._where]
        new = [self._plainly(each) for each in come if each.number not in self._where or each.number in lost]
        now, due = max(now, self.now), set[Key]()
        while self._moments and self._moments[0][0] <= now:
            due.add(heappop(self._moments)[1])
        if not (new or old or due):
            self.now = now
            return
        keys = [self._key(each) for each in new]
        due |= {*keys, *(self._where[number] for number in old)}
        before = self._rows(due)
        for number in old:
            self._leave(number)
        for key, each in zip(keys, new, strict=True):
            self._enter(key, each)
        self.now = now
        after = self._rows(due)
        for key in due:
            for each in self._groups.get(key, ()):
                if each.until is not None and each.until > now:
                    heappush(self._moments, (each.until, key))
                if each.begins > now:
                    heappush(self._moments, (each.begins, key))
        add = [(*fact, given) for fact, given in after.items() if before.get(fact) != given and fact not in self._own]
        remove = [fact for fact in before if fact not in after and fact not in self._own]
        self._unnamed += [row for _, row, _ in add]
        self.reasoner.change(add, remove)

    def holds(self, number: int) -> bool:
        """Whether a statement holds now."""
        key = self._where.get(number)
        return key is not None and any(each.number == number for each in self._held(key))

    def _held(self, key: Key) -> list[Statement]:
        group = self._groups.get(key, ())
        if len(group) == 1:  # as most are
            (one,) = group
            return [one] if one.begins <= self.now and (one.until is None or self.now < one.until) else []
        return holding(group, self.now, self.single)

    def _plainly(self, said: Statement) -> Statement:
        """A statement by the names that stand for things, without the sentence that says so."""
        if not self._entities.merged and not said.sentence:
            return said
        thing = self._entities.name(said.object) if isinstance(said.object, str) else said.object
        return replace(said, subject=self._entities.name(said.subject), object=thing, sentence="")

    def _key(self, said: Statement) -> Key:
        """What statements are compared with: of a predicate that is functional, those of the same subject."""
        key = (said.predicate, said.subject)
        return key if said.predicate in self.single else (*key, said.object)

    def _enter(self, key: Key, said: Statement) -> None:
        self._where[said.number] = key
        self._groups.setdefault(key, []).append(said)
        self.known += 1
        if said.document is not None:
            self._read[said.document].add(said.number)
        if said.origins:
            self._clouds[said.predicate][said.origins] += 1

    def _leave(self, number: int) -> None:
        key = self._where.pop(number)
        group = self._groups[key]
        (said,) = (each for each in group if each.number == number)
        group.remove(said)
        self.known -= 1
        if not group:
            del self._groups[key]
        if said.origins:
            self._clouds[said.predicate][said.origins] -= 1

    def _rows(self, keys: Iterable[Key]) -> Rows:
        found, several = Rows(), list[Statement]()
        for key in keys:
            held = self._held(key) if key in self._groups else []
            if len(held) == 1:
                (one,) = held
                given = Given(one.source, one.confidence, one.origins, one.number)
                found[one.predicate, (one.subject, one.object)] = given
            else:
                several += held
        return found | {(name, row): given for name, row, given in rows(several)}

    # -- what is asked

    def ask(self, question: str | Atom, limit: int) -> Found:
        """Answer a question like `room(X, "Room 2")`, each answer with its proof.

        Raises InvalidRequest, and BudgetExceeded: all of it is one question to the limits.
        """
        atom = goal(question) if isinstance(question, str) else question
        with self.reasoner.metered() as meter:
            found = list(islice(self.reasoner.matching(atom, meter), limit + 1))
            if not found:
                missing = tuple(why_not(self.reasoner, atom, meter))
                return Found([], missing=missing, origins=self._cloud(self._reached(atom.predicate)))
            answers = [self._answered(atom, row, explain(self.reasoner, Fact(str(atom.predicate), row), meter))
                       for row in found[:limit]]  # fmt: skip
        return Found(answers, len(found) > limit, origins=_all(each.origins for each in answers))

    def about(self, text: str, limit: int) -> Found:
        """What is known or follows about the things that a text names: first what joins several of them, and what
        follows before what was given. What takes too long is left out.
        """
        names, words = self.named(text), set(map(str.casefold, _WORD.findall(text)))
        found = dict[Fact, tuple[tuple[bool | int, ...], Atom]]()
        try:
            with self.reasoner.metered() as meter:
                for atom in self._asked(names):
                    for row in islice(self.reasoner.matching(atom, meter), limit):
                        said = words & set(map(str.casefold, re.split(r"\W|_", str(atom.predicate))))
                        joins = len(names & set(row))
                        rank = (-joins, -len(said), atom.predicate not in self.program.layer)
                        found.setdefault(Fact(str(atom.predicate), row), (rank, atom))
        except BudgetExceeded:
            pass
        answers, more = list[Answered](), len(found) > limit
        try:
            with self.reasoner.metered() as meter:
                for fact, (_, atom) in sorted(found.items(), key=lambda each: each[1][0])[:limit]:
                    answers.append(self._answered(atom, fact.values, explain(self.reasoner, fact, meter)))
        except BudgetExceeded:
            more = True
        return Found(answers, more, origins=_all(each.origins for each in answers))

    def _predicates(self) -> dict[str, int]:
        """Those that say something of the world, and how many arguments each has."""
        told = {name: len(next(iter(held.rows))) for name, held in self.reasoner.relations.items() if held.rows}
        arity = self.program.arity | told
        return {name: count for name, count in arity.items() if isinstance(name, str) and name not in DECLARED}

    def _asked(self, names: Iterable[str]) -> Iterator[Atom]:
        for name, count in self._predicates().items():
            for place in range(count):
                others = _variables(count)
                yield from (Atom(name, (*others[:place], each, *others[place + 1 :])) for each in names)

    def graph(self, name: str, depth: int, limit: int) -> list[tuple[str, str, str]]:
        """Facts, given and concluded, as (subject, predicate, object): of a name and what is near it; else all."""
        edges, seen = dict[tuple[str, str, str], None](), {self.spelt(name)} if name else set[str]()
        with self.reasoner.metered() as meter:
            for _ in range(depth if name else 1):
                asked = list(self._asked(seen) if name else map(_every, self._predicates().items()))
                for atom in asked:
                    for row in islice(self.reasoner.matching(atom, meter), limit if len(atom.terms) == 2 else 0):
                        edges[str(row[0]), str(atom.predicate), str(row[1])] = None
                        if len(edges) >= limit:
                            return list(edges)
                seen |= {end for subject, _, thing in edges for end in (subject, thing)}
        return list(edges)

    def contradicted(self, text: str) -> list[tuple[str, Claim, Answered]]:
        """What a text says, by the patterns, of a functional predicate that is known, or follows, to be otherwise; with
        the sentence that says so, without marks such as `[1]`. What takes too long to find out is left out.
        """
        found = list[tuple[str, Claim, Answered]]()
        for sentence in sentences(unmarked(text)):
            for said in claims(sentence.text, self.patterns):
                if said.predicate not in self.single:
                    continue
                try:
                    known = self.ask(Atom(said.predicate, (self.spelt(said.subject), Variable("V"))), 2).answers
                except BudgetExceeded:
                    continue
                known = [each for each in known if not each.origins] or known
                if len(known) == 1 and _folded(known[0].values["V"]) != _folded(self.spelling(said.object)):
                    found.append((" ".join(sentence.text.split()), said, known[0]))
        return found

    def spelt(self, name: str) -> str:
        """A name as it is known, where it is known in one way."""
        same = {self._entities.name(each) for each in self._called().get(fold(name), ())}
        return same.pop() if len(same) == 1 else self._entities.name(name)

    def spelling(self, value: Value) -> Value:
        """A value as it is known, where it is a name."""
        return self.spelt(value) if isinstance(value, str) else value

    def named(self, text: str) -> set[str]:
        """The things that a text names."""
        called = self._called()
        return {self._entities.name(each) for key in _keys(text) for each in called.get(key, ())}

    def _called(self) -> dict[str, set[str]]:
        """What things are called, by names as they are compared: looked through once somebody asks."""
        new, self._unnamed = self._unnamed, []
        for name in {each for row in new for each in row if isinstance(each, str) and 1 < len(each) <= NAMED}:
            self._names[fold(name)].add(name)
        return self._names

    # -- whose words it is in

    def _answered(self, atom: Atom, row: Row, proof: Proof) -> Answered:
        values = {term.name: value for term, value in zip(atom.terms, row, strict=True)
                  if isinstance(term, Variable) and not term.anonymous}  # fmt: skip
        absent = {name for step in proof.steps if step.rule is not None for name in self._absent(step.rule)}
        return Answered(Fact(str(atom.predicate), row), values, proof,
                        _all([*(given.origins for _, given in proof.given), self._cloud(absent)]),
                        _all(self._against(fact.predicate, fact.values)
                             for fact, given in proof.given if given.origins))  # fmt: skip

    def disputed(self, said: Statement) -> bool:
        """Whether it goes against a fact that holds and is in the words of who may direct."""
        said = self._plainly(said)
        return bool(said.origins and self._against(said.predicate, (said.subject, said.object)))

    def _against(self, predicate: Name, row: Row) -> tuple[str, ...]:
        """The facts that hold, in the words of who may direct, and do not go together with one of somebody else."""
        held = self._held((str(predicate), row[0])) if predicate in self.single else ()
        return tuple(str(Fact(each.predicate, (each.subject, each.object)))
                     for each in held if not each.origins and each.object != row[1])  # fmt: skip

    def _absent(self, rule: Rule) -> Iterator[Name]:
        """All predicates that decide over what a rule finds not to be there, or counts."""
        for name, below in needed(rule):
            if below:
                yield from self._reached(name)

    def _reached(self, name: Name) -> set[Name]:
        if name not in self._reach:
            found = self._reach[name] = {name}
            work = [name]
            for each in work:  # it grows
                premises = {premise for number in self.program.heads.get(each, ())
                            for premise, _ in needed(self.program.rules[number])}  # fmt: skip
                work += premises - found
                found |= premises
        return self._reach[name]

    def _cloud(self, names: Iterable[Name]) -> tuple[str, ...]:
        clouds = (self._clouds[name] for name in names if name in self._clouds)
        return _all(origins for cloud in clouds for origins, times in cloud.items() if times)


def _variables(count: int) -> tuple[Variable, ...]:
    return tuple(Variable(f"V{n}") for n in range(count))


def _every(predicate: tuple[str, int]) -> Atom:
    return Atom(predicate[0], _variables(predicate[1]))


def unmarked(text: str) -> str:
    """A text without the numbers by which it cites, such as `[1]`."""
    return _MARK.sub("", text)


def _all(origins: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(origin for each in origins for origin in each))


def fold(name: str) -> str:
    """A name as names are compared: by its words, in any case."""
    return " ".join(_WORD.findall(name.casefold()))


def _folded(value: Value) -> Value:
    return fold(value) or value if isinstance(value, str) else value


def _keys(text: str) -> Iterator[str]:
    """Whatever in a text may be a name: up to six words in a row, and of Chinese up to twelve characters."""
    words = [word[:200] for word in _WORD.findall(text[:10_000].casefold())]
    for begin, word in enumerate(words):
        yield from (" ".join(words[begin : begin + count]) for count in range(1, WORDS + 1))
        if _CJK.search(word):
            yield from (word[n : n + size] for n in range(len(word)) for size in range(2, LETTERS + 1))
