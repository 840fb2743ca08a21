"""Facts, names of the same thing and rules in the store: what is told, what follows from it, and why.

Nothing is overwritten: a fact ends, or a newer one supersedes it; only who removes it has it gone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from ..core import codec
from ..core.errors import InvalidRequest, NotFound
from ..core.ports import Reads, Store
from ..core.records import Json, Place
from .base import Knowledge, Known, named
from .reasoning import Answered, Found, State, functional, program_of
from .rows import Statement as Written
from .rows import line
from .rules import Entities, Program, Proof, Statement, holding
from .rules.compiled import LARGEST
from .rules.syntax import Value
from .sentences import Claim, patterns

T = TypeVar("T")

TOGETHER = 5_000  # facts that are committed together
LONGEST = 1_000  # characters of a subject, a predicate or an object
STATES, KNOWN = 8, 1_000_000  # what is kept in memory at once: whose knowledge, and how many facts of all


@dataclass(slots=True)
class _Kept:
    """The state of some places, once it was asked for, and what it has not heard of yet."""

    state: State | None = None
    news: deque[tuple[list[Statement], list[int], list[int]]] = field(default_factory=deque)


class FactBase:
    """Facts and rules in a store. What is written holds as soon as the call that wrote it returns."""

    def __init__(self, knowledge: Knowledge, store: Store) -> None:
        """`knowledge` is of the same store, and says which places there are."""
        self._knowledge, self._store = knowledge, store
        self._states = OrderedDict[tuple[int, ...], _Kept]()
        self._filled: set[int] | None = None  # places that have anything
        self._newest = self._merging = 0
        self._opened: Reads | None = None
        self._thread = ThreadPoolExecutor(1, "rules") if store.concurrent else None
        knowledge.gone.append(lambda documents: self._news([], [], list(documents)))

    # -- facts

    async def add(self, place: Place, said: Iterable[Statement]) -> list[int]:
        """Take in statements, as of now; returns their numbers. Raises InvalidRequest."""
        new = [self._numbered(each) for each in self._checked(place, said)]
        for begin in range(0, len(new), TOGETHER):
            part = new[begin : begin + TOGETHER]
            await self._write(place, partial(_rows, part), part)
        return [each.number for each in new]

    async def load(self, place: Place, source: str, said: Iterable[Statement]) -> dict[str, int]:
        """Have what is told by a source be these: what is told still stays, what is not any more ends now."""
        said = self._checked(place, [replace(each, source=named(source)) for each in said])
        before = {_same(each): each for each, _ in self._found("fact.from", self._number(place), source, None)}
        told, now = {_same(each): each for each in said}, time.time()
        ended = [replace(each, until=now) for key, each in before.items()
                 if key not in told and (each.until is None or each.until > now)]  # fmt: skip
        new = [each for key, each in told.items() if key not in before]
        if ended:
            await self._write(place, lambda _: [("fact.end", (now, each.number)) for each in ended], ended,
                              [each.number for each in ended])  # fmt: skip
        await self.add(place, new)
        return {"added": len(new), "same": len(told) - len(new), "ended": len(ended),
                "disputed": await self._disputed(place, new)}  # fmt: skip

    async def read(self, document: Known, said: Iterable[Statement], sure: bool) -> dict[str, int]:
        """Have what was read in a document be these, of what is `sure` (confidence 1) or of the rest."""
        place, source, number = document.place, document.source, document.document
        said = self._checked(place, [replace(each, origins=document.origins, source=source, document=number)
                                     for each in said])  # fmt: skip
        old = [each for each, _ in self._found("fact.from", self._number(place), source, number)
               if (each.confidence == 1) is sure]  # fmt: skip
        before, told = {_same(each): each.number for each in old}, {_same(each): each for each in said}
        gone = [number for key, number in before.items() if key not in told]
        new = [each for key, each in told.items() if key not in before]
        if gone:
            await self._write(place, lambda _: [("fact.drop", (number,)) for number in gone], (), gone)
        await self.add(place, new)
        return {"added": len(new), "same": len(told) - len(new), "gone": len(gone),
                "disputed": await self._disputed(place, new)}  # fmt: skip

    async def _disputed(self, place: Place, said: Sequence[Statement]) -> int:
        """How many of some statements go against what somebody said who may direct: they stand beside it."""
        doubted = [each for each in said if each.origins]
        if not doubted:
            return 0
        return await self.state(self._view(place), lambda state: sum(map(state.disputed, doubted)))

    async def remove(self, place: Place, numbers: Collection[int] = (), source: str = "") -> int:
        """Forget facts of a place for good, by their numbers or their source; returns how many that were."""
        here = self._number(place)
        found = [each.number for each, where in self._these(numbers) if where == here]
        if source:
            found += [row[0] for row in self._store.read("fact.list", _ids([here]), None, None, source, 0, -1)]
        if found:
            await self._write(place, lambda _: [("fact.drop", (number,)) for number in found], (), found)
        return len(found)

    async def listed(
        self, places: Mapping[int, Place], subject: str | None = None, predicate: str | None = None,
        source: str | None = None, after: int = 0, limit: int = 100,
    ) -> list[dict[str, Json]]:  # fmt: skip
        """The facts of some places by number, with whether each holds now; what supersedes them, and history, too."""
        about = (subject, predicate, source, after, limit)
        found = self._found("fact.list", _ids(places), *about)
        holds = await self._aside(self._holds, self._kept(places), [each.number for each, _ in found])
        return [_told(each, places[where]) | {"holds": each.number in holds} for each, where in found]

    async def held(self, places: Iterable[int], most: int) -> list[tuple[str, str, Value, str]]:
        """The facts that hold now, by the names that stand for things: (subject, predicate, object, source).

        Raises InvalidRequest where there are more than `most` with those that do not.
        """
        return await self._aside(self._held, (_Kept(), self._keys(places)), most)

    def _held(self, kept: _Kept, key: tuple[int, ...], most: int) -> list[tuple[str, str, Value, str]]:
        ids = _ids(key)
        program, same = self._rules(ids)
        said = [each for each, _ in map(_statement, islice(self._reads.read("fact.all", ids), most + 1))]
        if len(said) > most:
            raise InvalidRequest(f"there are more than {most} facts: say of which agent", parameter="agent")
        return [(same.name(each.subject), each.predicate,
                 same.name(each.object) if isinstance(each.object, str) else each.object, str(each.source))
                for each in holding(said, time.time(), functional(program))]  # fmt: skip

    def _holds(self, kept: _Kept, key: tuple[int, ...], numbers: Sequence[int]) -> set[int]:
        state = self._state(kept, key)
        return {number for number in numbers if state.holds(number)}

    # -- names

    async def merge(self, place: Place, kept: str, other: str) -> int:
        """Let another name stand for what `kept` stands for; returns the number by which that is undone."""
        names = [_text("name", each) for each in (kept, other)]
        if names[0] == names[1]:
            raise InvalidRequest("two names are merged, and these are one", parameter="other")
        self._load()
        number = self._merging = self._merging + 1
        await self._write(place, lambda at: [("same.add", (number, at, *names, time.time()))])
        self._states.clear()
        return number

    async def part(self, place: Place, number: int) -> None:
        """Take a merging back, whatever came after it; raises NotFound."""
        here = self._number(place)
        if number not in {row[0] for row in self._store.read("same.all", _ids([here]))}:
            raise NotFound(f"nothing was merged there as number {number}", number=number)
        await self._write(place, lambda _: [("same.drop", (number,))])
        self._states.clear()

    def merged(self, places: Mapping[int, Place]) -> list[dict[str, Json]]:
        """Which names were merged, by number."""
        return [{"number": number, "kept": kept, "other": other, "at": at} | _whose(places[where])
                for number, kept, other, where, at in self._store.read("same.all", _ids(places))]  # fmt: skip

    # -- rules

    async def put_rules(self, place: Place, name: str, text: str) -> dict[str, Json]:
        """Keep a file of rules, in place of what had its name, once it holds together with the others there.

        Raises InvalidRequest, which names file, line and variable.
        """
        seen = self._view(place)
        here = self._number(place)
        others = [(each, old) for each, old, where, _ in self._store.read("rules.all", _ids(seen))
                  if (each, where) != (name, here)]  # fmt: skip
        program = program_of([*others, (_text("name", name), text)])
        patterns(program)
        for predicate, arity in program.arity.items():
            if arity != 2 and self._store.read("fact.list", _ids(seen), None, predicate, None, 0, 1):
                raise InvalidRequest(f"{name}: {predicate} has {arity} arguments here, and facts are kept of it, which "
                                     "have 2: give it another name", parameter="rules")  # fmt: skip
        await self._write(place, lambda number: [("rules.put", (number, name, text, time.time()))])
        self._states.clear()
        own = program_of([(name, text)])
        return {"name": name, "rules": sum(isinstance(rule.head.predicate, str) for rule in own.rules),
                "facts": len(own.facts)}  # fmt: skip

    async def drop_rules(self, place: Place, name: str) -> None:
        """Forget a file of rules; raises NotFound."""
        here = self._number(place)
        names = [row[0] for row in self._store.read("rules.all", _ids([here]))]
        if name not in names:
            raise NotFound(f"there are no rules {name!r} there; there are: {', '.join(names) or 'none'}", name=name)
        await self._write(place, lambda number: [("rules.drop", (number, name))])
        self._states.clear()

    def rules(self, places: Mapping[int, Place]) -> list[dict[str, Json]]:
        """The files of rules of some places."""
        return [{"name": name, "text": text, "added": added} | _whose(places[where])
                for name, text, where, added in self._store.read("rules.all", _ids(places))]  # fmt: skip

    # -- what follows

    async def infer(
        self, places: Mapping[int, Place], question: str, limit: int = 10, at: float | None = None
    ) -> Found:
        """Answer a question, each answer with its proof; `at` a moment, else now.

        Raises InvalidRequest for what is no question, or rules that do not hold together, and BudgetExceeded.
        """
        return await self._aside(self._asked, self._kept(places, at), at, State.ask, question, limit)

    async def about(self, places: Mapping[int, Place], text: str, limit: int = 10) -> Found:
        """What is known or follows about the things that a text names."""
        if not self._keys(places):
            return Found([])
        return await self._aside(self._asked, self._kept(places), None, State.about, text, limit)

    async def contradicted(self, places: Mapping[int, Place], text: str) -> Sequence[tuple[str, Claim, Answered]]:
        """What a text says, by the declared patterns, against a fact that a functional predicate has, or a rule's."""
        if not self._keys(places):
            return []
        return await self._aside(self._against, self._kept(places), text)

    async def graph(
        self, places: Mapping[int, Place], name: str = "", depth: int = 2, limit: int = 100
    ) -> list[tuple[str, str, str]]:  # fmt: skip
        """Facts of a name and what is near it, given and concluded; of everything without one."""
        return await self.state(places, lambda state: state.graph(name, depth, limit))

    async def state(self, places: Mapping[int, Place], work: Callable[[State], T]) -> T:
        """What a function finds in the state of some places; it may not keep it."""
        return await self._aside(lambda kept, key: work(self._state(kept, key)), self._kept(places))

    def _asked(
        self, kept: _Kept, key: tuple[int, ...], at: float | None, ask: Callable[..., Found], *about: Any
    ) -> Found:
        found = ask(self._state(kept, key, at), *about)
        return replace(found, answers=self._cited(found.answers))

    def _against(self, kept: _Kept, key: tuple[int, ...], text: str) -> list[tuple[str, Claim, Answered]]:
        found = self._state(kept, key).contradicted(text)
        cited = self._cited([known for *_, known in found])
        return [(said, claim, known) for (said, claim, _), known in zip(found, cited, strict=True)]

    def _cited(self, answers: Sequence[Answered]) -> list[Answered]:
        """Answers whose proofs have the sentences that they stand on."""
        numbers = {given.fact for each in answers for _, given in each.proof.given if given.fact}
        said = {each.number: each for each, _ in self._these(numbers, self._reads)}
        made = []
        for answer in answers:
            steps = [replace(step, given=replace(step.given, sentence=said[step.given.fact].sentence,
                                                 begin=said[step.given.fact].begin))
                     if step.given and step.given.fact in said else step for step in answer.proof.steps]  # fmt: skip
            made.append(answer._replace(proof=Proof(tuple(steps))))
        return made

    def _state(self, kept: _Kept, key: tuple[int, ...], at: float | None = None) -> State:
        """The state of some places as it is now, or a new one of another moment. In the thread alone."""
        now, news = time.time(), list[tuple[list[Statement], list[int], list[int]]]()
        while kept.news:
            news.append(kept.news.popleft())
        try:
            state = kept.state
            if state is None or at is not None:
                state = self._made(key, now if at is None else at)
                if at is not None:
                    return state
            for come, gone, documents in news or [([], [], [])]:
                state.change(now, come, gone, documents)
        except BaseException:
            kept.state = None  # it is made again
            raise
        kept.state = state
        return state

    def _made(self, key: tuple[int, ...], now: float) -> State:
        ids = _ids(key)
        state = State(*self._rules(ids), now)
        state.change(now, (each for each, _ in map(_statement, self._reads.read("fact.all", ids))))
        return state

    def _rules(self, ids: str) -> tuple[Program, Entities]:
        """The rules of some places, and what is the same there."""
        same = {number: (kept, other) for number, kept, other, *_ in self._reads.read("same.all", ids)}
        texts = [(name, text) for name, text, *_ in self._reads.read("rules.all", ids)]
        return program_of(texts), Entities(same)

    # -- whose it is

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """See `core.ports.Personal`: a person's own facts, names and rules."""
        theirs = {n: each for n, each in self._knowledge.places(tenant).items() if each.principal == principal}
        yield from (_told(each, theirs[at]) for each, at in
                    self._found("fact.list", _ids(theirs), None, None, None, 0, -1))  # fmt: skip
        yield from self.merged(theirs)
        yield from self.rules(theirs)

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """See `core.ports.Personal`."""
        theirs = {n: each for n, each in self._knowledge.places(tenant).items() if each.principal == principal}
        gone = sum(1 for _ in self.export(tenant, principal))
        for place in theirs.values():
            await self._write(place, lambda at: [(f"{each}.drop_place", (at,)) for each in ("fact", "same", "rules")])
        self._states.clear()
        return gone

    def close(self) -> None:
        """Stop reasoning."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            if self._opened is not None:
                self._opened.close()

    # -- the store

    @property
    def _reads(self) -> Reads:
        """A reader for the thread alone."""
        if self._opened is None:
            self._opened = self._store.another()
        return self._opened

    async def _aside(self, work: Callable[..., T], kept: tuple[_Kept, tuple[int, ...]], *args: Any) -> T:
        if self._thread is None:
            return work(*kept, *args)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *kept, *args)

    def _load(self) -> set[int]:
        if self._filled is None:
            self._filled = {place for (place,) in self._store.read("fact.places")}
            self._newest, self._merging = self._store.read("fact.newest")[0]
        return self._filled

    def _keys(self, places: Iterable[int]) -> tuple[int, ...]:
        filled = self._load()
        return tuple(sorted(place for place in places if place in filled))

    def _kept(self, places: Iterable[int], at: float | None = None) -> tuple[_Kept, tuple[int, ...]]:
        """What is kept of some places, those that have nothing left out; before it is read, so that it hears all."""
        key = self._keys(places)
        if at is not None:
            return _Kept(), key
        kept = self._states.setdefault(key, _Kept())
        self._states.move_to_end(key)
        known = [each.state.known if each.state is not None else 0 for each in self._states.values()]
        while len(self._states) > 1 and (len(self._states) > STATES or sum(known) > KNOWN):
            self._states.popitem(last=False)
            del known[0]
        return kept, key

    def _news(self, come: Sequence[Statement], gone: Sequence[int], documents: Sequence[int]) -> None:
        for kept in self._states.values():
            kept.news.append((list(come), list(gone), list(documents)))

    async def _write(
        self, place: Place, made: Callable[[int], Iterable[Written]], come: Sequence[Statement] = (),
        gone: Sequence[int] = (),
    ) -> None:  # fmt: skip
        where = list[int]()

        def rows(number: int) -> Iterable[Written]:
            where.append(number)
            return made(number)

        def happened() -> None:
            (number,) = where
            new = number not in self._load()
            self._load().add(number)
            for key, kept in self._states.items():
                if number in key:
                    kept.news.append((list(come), list(gone), []))
            if new:
                self._states.clear()

        await self._knowledge.write(place, rows, happened)

    def _number(self, place: Place) -> int:
        """The number of a place; 0 where nothing is known there."""
        return next((n for n, each in self._knowledge.places(place.tenant).items() if each == place), 0)

    def _view(self, place: Place) -> dict[int, Place]:
        """The places that who is there looks into."""
        return self._knowledge.places(place.tenant, place.agent, place.principal)

    def _found(self, statement: str, *about: Any) -> list[tuple[Statement, int]]:
        return [_statement(row) for row in self._store.read(statement, *about)]

    def _these(self, numbers: Iterable[int], reads: Reads | None = None) -> list[tuple[Statement, int]]:
        return [_statement(row) for row in (reads or self._store).read("fact.of", _ids(numbers))]

    def _numbered(self, said: Statement) -> Statement:
        self._load()
        self._newest += 1
        return replace(said, number=self._newest)

    def _checked(self, place: Place, said: Iterable[Statement]) -> list[Statement]:
        """Statements that can be kept and reasoned with; raises InvalidRequest."""
        now = time.time()
        made = [replace(each, subject=_text("subject", each.subject), predicate=_text("predicate", each.predicate),
                        object=_value(each.object), source=named(each.source), recorded=each.recorded or now)
                for each in said]  # fmt: skip
        texts = [(name, text) for name, text, *_ in self._store.read("rules.all", _ids(self._view(place)))]
        arity = program_of(texts).arity if texts else {}
        for each in made:
            if not 0 < each.confidence <= 1:
                raise InvalidRequest(f"a fact is sure by more than 0 and at most 1, not {each.confidence}",
                                     parameter="confidence")  # fmt: skip
            if each.until is not None and each.until <= each.begins:
                raise InvalidRequest("a fact ends after it begins: `until` is later than `since`", parameter="until")
            if arity.get(each.predicate, 2) != 2:
                raise InvalidRequest(f"the rules have {each.predicate} with {arity[each.predicate]} arguments, and a "
                                     "fact has 2: give it another name", parameter="predicate")  # fmt: skip
        return made


def _text(what: str, text: str) -> str:
    plain = line(text)
    if not plain or len(plain) > LONGEST:
        raise InvalidRequest(f"the {what} of a fact has between 1 and {LONGEST} characters", parameter=what)
    return plain


def _value(value: Any) -> Value:
    if isinstance(value, str):
        return _text("object", value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (-LARGEST <= value < LARGEST):
        raise InvalidRequest(f"the object of a fact is a text or a number below {LARGEST:.0e}", parameter="object")
    if not math.isfinite(value):
        raise InvalidRequest("the object of a fact is a number with an end", parameter="object")
    return value


def _same(said: Statement) -> tuple[Any, ...]:
    """What makes a statement of a source the same one."""
    return (said.subject, said.predicate, said.object, said.since, said.until, said.confidence, said.origins,
            said.begin, said.sentence)  # fmt: skip


def _rows(said: Iterable[Statement], place: int) -> list[Written]:
    return [("fact.add", _row(place, each)) for each in said]


def _row(place: int, said: Statement) -> tuple[Any, ...]:
    return (said.number, place, said.subject, said.predicate, said.object, said.since, said.until, said.recorded,
            said.confidence, said.source, said.document, said.begin, said.sentence,
            codec.dumps(list(said.origins)).decode())  # fmt: skip


class _Origins(dict[str, tuple[str, ...]]):
    """Origins as they are kept, read once."""

    def __missing__(self, kept: str) -> tuple[str, ...]:
        if len(self) >= TOGETHER:
            self.clear()
        found = self[kept] = tuple(codec.loads(kept))
        return found


_ORIGINS = _Origins()


def _statement(row: Sequence[Any]) -> tuple[Statement, int]:
    """A statement of a row, and the number of its place."""
    number, place, subject, predicate, thing, since, until, recorded, sure, source, document, begin, said, whose = row
    return Statement(subject, predicate, thing, since, until, recorded, source, sure, _ORIGINS[whose], number, document,
                     begin, said), place  # fmt: skip


def _told(said: Statement, place: Place) -> dict[str, Json]:
    told: dict[str, Json] = {name: getattr(said, name) for name in said.__dataclass_fields__}
    return told | {"origins": list(said.origins)} | _whose(place)


def _whose(place: Place) -> dict[str, Json]:
    return {"agent": place.agent, "principal": place.principal}


def _ids(numbers: Iterable[int]) -> str:
    return codec.dumps(list(numbers)).decode()
