"""Why a fact holds, down to what was told; and why one does not, up to the first premise that fails.

How sure a conclusion is: the weight of its rule times how sure each premise is, and of all proofs the surest (the
Viterbi semiring of Green, Karvounarakis and Tannen, "Provenance semirings", PODS 2007). No conclusion is surer than its
premises, so the surest of what is left is found for good: Knuth, "A generalization of Dijkstra's algorithm", 1977.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any

from ...core.errors import NotFound
from ...core.records import Json
from .compiled import holds, value_of
from .demand import Place, plain
from .limits import Meter
from .program import in_order, variables
from .reasoner import Fact, Reasoner
from .relation import Given, Why
from .syntax import Atom, Comparison, Name, Operation, Rule, Value, Variable, goal, told

Bindings = dict[Variable, Value]
DEEPEST = 30  # levels that the text of a proof is indented by


@dataclass(frozen=True, slots=True)
class Step:
    """A fact of a proof: given, or by a rule from premises (the numbers of their steps) under conditions."""

    fact: Fact
    confidence: float
    given: Given | None = None
    rule: Rule | None = None
    premises: tuple[int, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """Steps, each fact once. The first is what is proved; premises come after what stands on them."""

    steps: tuple[Step, ...]

    @property
    def confidence(self) -> float:
        """How sure the conclusion is."""
        return self.steps[0].confidence

    @property
    def given(self) -> list[tuple[Fact, Given]]:
        """What it all stands on."""
        return [(step.fact, step.given) for step in self.steps if step.given is not None]

    def data(self) -> list[Json]:
        """The steps as JSON."""
        return [_step_data(step) for step in self.steps]

    def text(self) -> str:
        """The proof as an indented tree; a fact that is used again is not proved again."""
        lines, seen, work = list[str](), set[int](), [(0, 0)]
        while work:
            number, depth = work.pop()
            step, space = self.steps[number], "  " * min(depth, DEEPEST)
            again = number in seen and step.rule is not None
            seen.add(number)
            lines.append(f"{space}{step.fact}{' (see above)' if again else _reason(step)}")
            if not again:
                lines += [f"{space}  {condition}" for condition in step.conditions]
                work += [(premise, depth + 1) for premise in reversed(step.premises)]
        return "\n".join(lines)


def explain(reasoner: Reasoner, fact: Fact | str, meter: Meter | None = None) -> Proof:
    """The proof of a fact that holds, the surest there is.

    Raises NotFound for a fact that does not hold, and BudgetExceeded: all of it is one question to the limits, or with
    a meter part of what that counts.
    """
    fact = fact if isinstance(fact, Fact) else _fact(fact)
    with reasoner.metered(meter) as meter:
        root = reasoner.place(fact, meter)
        if root is None:
            raise NotFound(f"{fact} does not follow: ask why not", fact=str(fact))
        proof = _proof(reasoner, root, _kept(root, meter), meter)
        return proof if proof.confidence == 1 else _proof(reasoner, root, _surest(reasoner, root, meter), meter)


def _fact(text: str) -> Fact:
    atom = goal(text)
    for each in variables(atom):
        raise NotFound(f"{told(each)} stands for many: ask about one fact, without variables")
    return Fact(str(atom.predicate), tuple(term for term in atom.terms if not isinstance(term, Variable)))


def _kept(root: Place, meter: Meter) -> dict[Place, Why]:
    """The reasons that were kept, of a fact and all that it stands on."""
    found, work = dict[Place, Why](), [root]
    for place in work:  # it grows
        meter.tick()
        if place not in found:
            where, name, row = place
            found[place] = why = where.reason(name, row)
            work += [] if isinstance(why, Given) else where.premises(why)[1]
    return found


def _surest(reasoner: Reasoner, root: Place, meter: Meter) -> dict[Place, Why]:
    """The reasons of the surest proofs. Each counts once its premises are found; none in a circle ever does."""
    ways, users, left = _ways_to(root, meter)
    sure, best = dict[Place, float](), dict[Place, Why]()
    ready = [number for number, count in enumerate(left) if not count]
    heap = list[tuple[float, int]]()  # the surest first, and of equals the one that was found first
    while root not in best:
        for number in ready:
            (where, *_), why = ways[number]
            heappush(heap, (-_confidence(reasoner, where, why, sure), number))
        less, number = heappop(heap)
        (place, why), ready = ways[number], []
        if place not in best:
            sure[place], best[place] = -less, why
            for user in users[place]:
                meter.tick()
                left[user] -= 1
                ready += [] if left[user] else [user]
    return best


def _ways_to(root: Place, meter: Meter) -> tuple[list[tuple[Place, Why]], dict[Place, list[int]], list[int]]:
    """Every reason of a fact and of all that it stands on; by premise the numbers of the reasons that need it; and how
    many premises each needs.
    """
    ways, users, left = list[tuple[Place, Why]](), defaultdict[Place, list[int]](list), list[int]()
    seen, work, meter.reasons = {root}, [root], ways
    for place in work:  # it grows
        where, name, row = place
        for why in where.reasons(name, row, meter):
            premises = () if isinstance(why, Given) else dict.fromkeys(where.premises(why)[1])
            for premise in premises:
                meter.tick()
                users[premise].append(len(ways))
                if premise not in seen:
                    seen.add(premise)
                    work.append(premise)
            ways.append((place, why))
            left.append(len(premises))
    return ways, users, left


def _confidence(reasoner: Reasoner, where: Any, why: Why, sure: Mapping[Place, float]) -> float:
    if isinstance(why, Given):
        return why.confidence
    number, premises = where.premises(why)
    return reasoner.program.rules[number].weight * math.prod(sure.get(each, 0.0) for each in premises)


def _proof(reasoner: Reasoner, root: Place, reasons: Mapping[Place, Why], meter: Meter) -> Proof:
    order = _order(root, reasons, meter)
    number = {place: n for n, place in enumerate(order)}
    sure, steps = dict[Place, float](), dict[Place, Step]()
    for place in reversed(order):
        meter.tick()
        where, name, row = place
        why = reasons[place]
        sure[place] = _confidence(reasoner, where, why, sure)
        fact = Fact(str(plain(name)), row)
        if isinstance(why, Given):
            steps[place] = Step(fact, sure[place], why)
        else:
            rule, premises = where.premises(why)
            conditions = _conditions(reasoner.program.rules[rule], row, [each[2] for each in premises])
            steps[place] = Step(fact, sure[place], None, reasoner.program.rules[rule],
                                tuple(dict.fromkeys(number[each] for each in premises)), conditions)  # fmt: skip
    return Proof(_spliced([steps[place] for place in order], [isinstance(plain(place[1]), str) for place in order]))


def _order(root: Place, reasons: Mapping[Place, Why], meter: Meter) -> list[Place]:
    """Each place before those that it stands on."""
    done, order, work = set[Place](), list[Place](), [(root, False)]
    while work:
        meter.tick()
        place, after = work.pop()
        if after:
            order.append(place)
        elif place not in done:
            done.add(place)
            why = reasons[place]
            work.append((place, True))
            work += [] if isinstance(why, Given) else [(each, False) for each in place[0].premises(why)[1]]
    return order[::-1]


def _spliced(steps: Sequence[Step], shown: Sequence[bool]) -> tuple[Step, ...]:
    """Without the steps for the bodies of rules with aggregates: what those stand on counts for the rule itself."""
    kept = [n for n, each in enumerate(shown) if each]
    number = {n: m for m, n in enumerate(kept)}
    made = []
    for n in kept:
        step = steps[n]
        hidden = [m for m in step.premises if not shown[m]]
        premises = [p for m in step.premises for p in ([m] if shown[m] else steps[m].premises)]
        conditions = [*step.conditions, *(each for m in hidden for each in steps[m].conditions)]
        made.append(replace(step, premises=tuple(dict.fromkeys(number[p] for p in premises)),
                            conditions=tuple(dict.fromkeys(conditions))))  # fmt: skip
    return tuple(made)


def _conditions(rule: Rule, row: Sequence[Value], premises: Sequence[Sequence[Value]]) -> tuple[str, ...]:
    """What else held: what compares, and what was not there."""
    if rule.aggregates:
        return (f"{', '.join(function for _, function in rule.aggregates)} over {len(premises)} of them",)
    parts, bindings = [part for part in rule.body if isinstance(part, Atom) and not part.negated], Bindings()
    for part, values in [*zip(parts, premises, strict=True), (rule.head, row)]:
        bindings |= {term: value for term, value in zip(part.terms, values, strict=True) if isinstance(term, Variable)}
    for place in in_order(rule.body, bindings, range(len(rule.body))):
        step = rule.body[place]
        if isinstance(step, Comparison):
            _assign(step, bindings)
    return tuple(told(filled(part, bindings)) for part in rule.body if isinstance(part, Comparison) or part.negated)


def _assign(part: Comparison, bindings: Bindings) -> bool:
    """Give a variable its value, or compare; whether it holds."""
    for side, other in ((part.left, part.right), (part.right, part.left)):
        if part.operator == "=" and isinstance(side, Variable) and side not in bindings:
            value = value_of(other, bindings)
            bindings |= {} if value is None else {side: value}
            return value is not None
    return holds(part.operator, value_of(part.left, bindings), value_of(part.right, bindings))


def filled(part: Any, bindings: Mapping[Variable, Value]) -> Any:
    """A part of a rule with the values of its variables, as far as they have any."""
    if isinstance(part, Atom):
        return replace(part, terms=tuple(filled(term, bindings) for term in part.terms))
    if isinstance(part, Comparison | Operation):
        return replace(part, left=filled(part.left, bindings), right=filled(part.right, bindings))
    return bindings.get(part, part) if isinstance(part, Variable) else part


def _reason(step: Step) -> str:
    sure = f", {step.confidence:.3g} sure" if step.confidence < 1 else ""
    if step.rule is not None:
        return f"  [{step.rule.text or 'a rule'} ({step.rule.at}){sure}]"
    source, said = (step.given.source, step.given.sentence) if step.given else ("", "")
    return f"  [given{f': {source}' if source else ''}{f', “{said}”' if said else ''}{sure}]"


def _step_data(step: Step) -> Json:
    told = {"predicate": step.fact.predicate, "values": list(step.fact.values), "confidence": step.confidence}
    if step.given is not None:
        given = step.given
        return told | {"source": given.source, "sentence": given.sentence, "begin": given.begin,
                       "origins": list(given.origins), "fact": given.fact or None}  # fmt: skip
    assert step.rule is not None
    return told | {"rule": step.rule.text, "line": step.rule.line, "file": step.rule.source,
                   "premises": list(step.premises), "conditions": list(step.conditions)}  # fmt: skip


# -- why not


@dataclass(frozen=True, slots=True)
class Missing:
    """A rule (None: there is none) that does not conclude a fact, the first premise that fails, and how."""

    rule: Rule | None
    premise: str
    reason: str

    def __str__(self) -> str:
        rule = f"{self.rule.text} ({self.rule.at}): " if self.rule else ""
        return f"{rule}{self.premise}: {self.reason}"


def why_not(reasoner: Reasoner, fact: Fact | str | Atom, meter: Meter | None = None) -> list[Missing]:
    """For each rule that could conclude it, the first premise that fails; empty where it holds.

    Raises BudgetExceeded: all of it is one question to the limits.
    """
    atom = goal(fact) if isinstance(fact, str) else Atom(fact[0], fact[1]) if isinstance(fact, Fact) else fact
    with reasoner.metered(meter) as meter:
        if any(True for _ in reasoner.matching(atom, meter)):
            return []
        tried = [_tried(reasoner, reasoner.program.rules[number], atom, meter)
                 for number in reasoner.program.heads.get(atom.predicate, ())]  # fmt: skip
    found = [each for each in tried if each is not None]
    return found or [Missing(None, told(atom), "nobody said so, and no rule concludes it")]


def _tried(reasoner: Reasoner, rule: Rule, atom: Atom, meter: Meter) -> Missing | None:
    bindings, places = Bindings(), [place for place, _ in rule.aggregates]
    for place, (term, value) in enumerate(zip(rule.head.terms, atom.terms, strict=True)):
        if isinstance(value, Variable) or place in places:
            continue
        if bindings.setdefault(term, value) != value if isinstance(term, Variable) else term != value:
            return None  # it is about something else
    inner = rule
    if rule.aggregates:  # its premises are those of the rule that finds what it goes over
        inner = reasoner.program.rules[reasoner.program.heads[next(iter(_names(rule)))][0]]
    order, deepest, work = _as_written(inner, bindings), (-1, bindings), [(0, bindings)]
    while work:
        meter.tick()
        depth, known = work.pop()
        if depth > deepest[0]:
            deepest = depth, known
        if depth < len(order):
            work += [(depth + 1, more) for more in _ways(reasoner, inner.body[order[depth]], known, meter)][::-1]
    if deepest[0] == len(order):
        return Missing(rule, told(atom), "its group comes to another value")
    part = inner.body[order[deepest[0]]]
    return Missing(rule, told(filled(part, deepest[1])), _failure(reasoner, part))


def _names(rule: Rule) -> Iterator[Name]:
    return (part.predicate for part in rule.body if isinstance(part, Atom))


def _as_written(rule: Rule, bindings: Bindings) -> list[int]:
    return in_order(rule.body, bindings, range(len(rule.body)), as_written=True)


def _ways(reasoner: Reasoner, part: Atom | Comparison, known: Bindings, meter: Meter) -> Iterator[Bindings]:
    """The ways in which a premise holds, with what is known then."""
    if isinstance(part, Comparison):
        more = dict(known)
        yield from (more,) if _assign(part, more) else ()
        return
    atom: Atom = filled(replace(part, negated=False), known)
    if part.negated:
        yield from () if any(True for _ in reasoner.matching(atom, meter)) else (known,)
        return
    for row in reasoner.matching(atom, meter):
        meter.tick()
        yield known | {term: value for term, value in zip(atom.terms, row, strict=True) if isinstance(term, Variable)}


def _failure(reasoner: Reasoner, part: Atom | Comparison) -> str:
    if isinstance(part, Comparison):
        return "it is not so"
    if part.negated:
        return "it is there, and must not be"
    return "it does not follow" if part.predicate in reasoner.program.layer else "there is no such fact"
