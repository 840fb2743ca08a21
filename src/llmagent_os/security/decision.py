"""The decision about a call of a tool: a pure function of the call, one policy, and where the arguments come from."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from ..core.places import host_of, resolved
from ..core.records import Json, Meaning, Policy, Rule, Span, Traits, Verdict
from ..core.values import leaves, links, normal, stands, written
from ..core.visible import named, quoted, visible
from .acts import NOTHING, Act, Before, acts, numbers
from .labels import NOWHERE, Sight, Source

NO_RULE, NO_TRAITS = Rule(), Traits()
JUDGED = 1000  # values of one call: what is given more is in doubt as a whole
TOLD = 50  # arguments that are named, of those in doubt
CALL = "the call itself"
"""What is in doubt where no argument of a call alone is."""
_UP = re.compile(r"(?:^|[/\\])(?:\.|%2e){2}(?:[/\\?#]|$)", re.I)


@dataclass(frozen=True, slots=True)
class Form:
    """What a tool's own schema says of its arguments.

    `names` are those of arguments and their parts, `defaults` the values of those that may be left out and then have
    one, `free` the others that may be left out.
    """

    names: Collection[str] = ()
    defaults: Mapping[str, Json] = field(default_factory=dict)
    free: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of a call: the verdict, the rule behind it, and the origins of the arguments in doubt.

    `contain`: it is made at once, contained, and the verdict is about what else would last of it.
    """

    verdict: Verdict
    rule: str
    why: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    contain: bool = False


ALLOWED, NO_FORM = Ruling("allow", ""), Form()


def decide(
    policy: Policy, tool: str, traits: Traits, arguments: Mapping[str, Json], sight: Sight,
    names: Collection[str] = (), form: Form = NO_FORM, before: Before = NOTHING,
) -> Ruling:  # fmt: skip
    """Judge a call of a tool by one policy. `names`: what the tool's own schema calls arguments and their parts.

    `form` is what else it says, `before` what the tool did already.
    """
    rule = policy.tools.get(tool, NO_RULE)
    whole = {**form.defaults, **arguments} if form.defaults else arguments  # what will be done
    if rule is not NO_RULE and (found := settled(rule, tool, whole, traits, before)) is not None:
        return found
    origins = dict(_doubts(rule, traits, whole, sight, names or form.names, form.free)) if sight.doubted else {}
    done = _again(rule, traits, whole, before) if sight.doubted else None
    if not origins and not done and rule.ask is None:
        return ALLOWED
    told = ", ".join(_told(name, arguments, whole, origin) for name, origin in islice(origins.items(), TOLD))
    told += f", and {len(origins) - TOLD} more" if len(origins) > TOLD else ""
    doubt = f"not from you or its definition: {told}" if told else ""
    if done:
        doubt = "; ".join(filter(None, (f"{done}, and that it is done again is not from you", doubt)))
        origins.setdefault(CALL, _somebody(sight))
    verdict: Verdict = policy.says(tool, "untrusted") if origins else "allow"
    if rule.ask == "always" and verdict != "refuse":
        why = "the policy has every call of it asked about"
        return Ruling("ask", f"{tool}.ask", f"{why}; {doubt}" if origins else why, origins)
    if traits.contained and rule.untrusted is None and verdict != "allow":
        return Ruling(verdict, "contained", doubt, origins, contain=True)
    return Ruling(verdict, f"{tool}.untrusted" if rule.untrusted else "untrusted", doubt, origins)


def meanings_of(rule: Rule, traits: Traits) -> Mapping[str, Meaning]:
    """What arguments mean, by the policy's word before the tool's own."""
    return traits.meanings if rule.meanings is None else rule.meanings


def settled(
    rule: Rule, tool: str, arguments: Mapping[str, Json], traits: Traits = NO_TRAITS, before: Before = NOTHING
) -> Ruling | None:  # fmt: skip
    """What a rule says about a call whatever it comes from: refusals first, then caps, then what is allowed."""
    for number, case in enumerate(rule.refuse):
        if _fits(case, arguments, any, _forbidden):
            return Ruling("refuse", f"{tool}.refuse[{number}]", "the policy refuses it")
    for name, most in rule.most.items():
        spans = _spans(name, most, rule, traits)
        if (bound := spans.get("call")) is not None and (over := _over(arguments.get(name), bound)) is not None:
            return Ruling("refuse", f"{tool}.most.{name}", f"{named(name)} is {over}, and {bound:g} is the most")
        for span, done in (("turn", before.turn), ("session", (*before.turn, *before.session))):
            bound = spans.get(span)
            if bound is not None and (total := _sum(name, arguments, done)) > bound:
                text = f"{named(name)} comes to {total:g} in this {span}, and {bound:g} is the most"
                return Ruling("refuse", f"{tool}.most.{name}.{span}", text)
    for number, case in enumerate(rule.allow):
        if _fits(case, arguments, all, _permitted):
            return Ruling("allow", f"{tool}.allow[{number}]")
    return None


def _spans(name: str, most: float | Mapping[Span, float], rule: Rule, traits: Traits) -> Mapping[Any, float]:
    """What bounds one argument in a call, a turn and a session. One number is all three, of what sums up."""
    if isinstance(most, Mapping):
        return most
    adds_up = acts(traits) and meanings_of(rule, traits).get(name) == "amount"
    return dict.fromkeys(("call", "turn", "session") if adds_up else ("call",), most)


def _sum(name: str, arguments: Mapping[str, Json], done: Sequence[Act]) -> float:
    return numbers(arguments.get(name)) + sum(numbers(act.arguments.get(name)) for act in done)


def _told(name: str, arguments: Mapping[str, Json], whole: Mapping[str, Json], origin: str) -> str:
    """What is in doubt, in words, and who wrote it."""
    if name == CALL:
        return f"{name} from {visible(origin)}"
    what = named(name)
    if name not in arguments:
        what += f" (left out, so it is {quoted(whole[name])})" if name in whole else " (left out)"
    elif not _whole(arguments[name]):
        what += " (empty in part)" if _filled(arguments[name]) else " (empty)"
    return f"{what} from {visible(origin)}"


def _somebody(sight: Sight) -> str:
    return next(iter(sight.untrusted()), NOWHERE)


def _doubts(
    rule: Rule, traits: Traits, arguments: Mapping[str, Json], sight: Sight, names: Collection[str],
    free: Collection[str],
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """The arguments that decide what a call does to the world and come from somebody untrusted.

    Where a tool does more than read, one with nothing in it is the model's choice as much as any value: of nothing,
    some take everything. Only what is declared to be `optional` may be left out, and nobody beside somebody.
    """
    meanings = meanings_of(rule, traits)
    blind = not meanings and traits.effect != "read"  # a tool that declares nothing is judged by all it is given
    seen, judged = False, 0
    for name, value in arguments.items():
        meaning = meanings.get(name, "text")
        all_of_it = blind or (bool(names) and name not in names and traits.effect != "read")  # what is it for, then?
        judge = sight.leads if meaning == "text" and not all_of_it else partial(_stands, sight, meaning)
        whole = {name: value} if all_of_it else value  # a name that the tool does not know is one more value
        for each in _sinks(whole, meaning, all_of_it, traits.effect, names):
            seen, judged = seen or meaning != "text" or blind, judged + 1
            if judged > JUDGED:
                yield CALL, _somebody(sight)
                return
            if (origin := judge(each)) is not None:
                yield name, origin
                break
    if traits.effect != "read":
        yield from _voids(rule, traits, arguments, sight, free, seen)


def _voids(
    rule: Rule, traits: Traits, arguments: Mapping[str, Json], sight: Sight, free: Collection[str], seen: bool
) -> Iterator[tuple[str, str]]:
    """The arguments that decide by having nothing in them; the call itself, where there is nothing to look at."""
    meanings, found = meanings_of(rule, traits), False
    optional = traits.optional if rule.optional is None else rule.optional
    reached = any(meaning == "recipient" and _filled(arguments.get(name)) for name, meaning in meanings.items())
    deciding = [name for name, meaning in meanings.items() if meaning != "text"]
    for name in deciding if meanings else arguments:
        nobody_more = meanings.get(name) == "recipient" and reached and name in free  # nobody in copy
        if _whole(arguments.get(name)) or name in optional or nobody_more:
            continue
        if name in arguments or name in free:
            found = True
            yield name, _somebody(sight)
    if not (seen or found) and (not meanings or set(deciding).difference(optional)):
        yield CALL, _somebody(sight)


def _filled(value: Json) -> bool:
    return any(True for _ in leaves(value))


def _whole(value: Json) -> bool:
    """Whether nothing in a value is empty: of a list of files, one without a name may be all of them."""
    if isinstance(value, Mapping):
        return _filled(value) and all(_whole(each) for each in value.values() if each is not None)
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_whole, value))
    return _filled(value)


def _again(rule: Rule, traits: Traits, arguments: Mapping[str, Json], before: Before) -> str | None:
    """That a call was made before, in words; None where it was not, or the user's words of this turn want it anew."""
    if not acts(traits) or not (before.turn or before.session):
        return None
    new = _parts(rule, traits, arguments)
    if any(_alike(new, _parts(rule, traits, act.arguments)) for act in before.turn):
        return "it was done before in this turn"
    if not any(_alike(new, _parts(rule, traits, act.arguments)) for act in before.session):
        return None
    said = Source("user", True, before.said)
    wanted = before.said and all(said.asks_for(value) for values in new.sinks.values() for value in values)
    return None if wanted else "it was done before in this conversation"


@dataclass(frozen=True, slots=True)
class _Parts:
    """A call as it is held against another: the values of what decides it, and its texts where they tell it apart."""

    sinks: Mapping[str, frozenset[str]]
    texts: Mapping[str, str]


def _parts(rule: Rule, traits: Traits, arguments: Mapping[str, Json]) -> _Parts:
    """Texts tell a change of something from another change of it, and not a payment from a payment."""
    meanings = meanings_of(rule, traits)
    deciding = [name for name, meaning in meanings.items() if meaning != "text"] if meanings else list(arguments)
    sinks = {
        name: frozenset(_likeness(leaf, meanings.get(name)) for leaf in leaves(arguments[name], ()))
        for name in deciding
        if name in arguments
    }
    changes = traits.effect == "write" and bool(meanings) and {*meanings.values()} <= {"path", "code", "text"}
    texts = {name: normal(written(value)) for name, value in arguments.items() if name not in sinks}
    return _Parts(sinks, texts if changes or not deciding else {})


def _likeness(value: str, meaning: Meaning | None) -> str:
    return resolved(normal(value)) if meaning == "path" else normal(value)


def _alike(new: _Parts, old: _Parts) -> bool:
    """Whether two calls do the same once more: each of what decides both has a value that it had before.

    So a mail to two is one more to each of them.
    """
    told = [name for name in new.sinks.keys() & old.sinks.keys() if new.sinks[name] and old.sinks[name]]
    if not told and any(new.sinks.values()) and any(old.sinks.values()):
        return False
    return all(_share(new.sinks[name], old.sinks[name]) for name in told) and new.texts == old.texts


def _share(new: frozenset[str], old: frozenset[str]) -> bool:
    """Whether a value is in both, or a part of one in the other. Of very many, nobody can tell that none is."""
    return (
        bool(new & old)
        or len(new) * len(old) > 10 * JUDGED
        or any(stands(a, b) or stands(b, a) for a in new for b in old)
    )


def _stands(sight: Sight, meaning: Meaning, value: str) -> str | None:
    """Where a value comes from that decides something."""
    return sight.origin(value, meaning == "amount", meaning)


def _sinks(value: Json, meaning: Meaning, blind: bool, effect: str, names: Collection[str]) -> Iterator[str]:
    """What in an argument may not come from just anywhere: all of a sink, and the links in a text that goes out."""
    for leaf in leaves(value, names):
        if meaning != "text" or blind:
            yield leaf
        elif effect == "external":
            yield from links(leaf)


def _fits(
    case: Mapping[str, Sequence[str]], arguments: Mapping[str, Json], parts: Callable[[Iterator[bool]], bool],
    match: Callable[[str, str], bool],
) -> bool:  # fmt: skip
    """Whether every argument of a case matches one of its patterns, in `parts` (all or any) of its parts.

    One with more than JUDGED parts is like what is refused, and unlike what is allowed.
    """
    for name, patterns in case.items():
        values = list(islice(leaves(arguments.get(name), ()), JUDGED + 1))
        if len(values) > JUDGED:
            if parts is all:
                return False
            continue
        if not values or not parts(any(match(value, pattern) for pattern in patterns) for value in values):
            return False
    return True


def _permitted(value: str, pattern: str) -> bool:
    """Whether a pattern allows a value: none a way up, and one of URLs only the hosts that it names itself."""
    if pattern != "*" and _UP.search(value):
        return False
    host = pattern.partition("://")[2]
    return fnmatch.fnmatchcase(value, pattern) and (not host or fnmatch.fnmatchcase(host_of(value), host_of(host)))


def _forbidden(value: str, pattern: str) -> bool:
    """Whether a pattern refuses a value, however it is written: in any case, with spaces, by detours."""
    plain, low = value.strip().lower(), pattern.lower()
    path = resolved(plain)
    return any(fnmatch.fnmatchcase(each, low) for each in {value.lower(), plain, path, "/" + path})


def _over(value: Json, most: float) -> str | None:
    """A number in an argument that is above the most, or is none."""
    for leaf in leaves(value):
        try:
            if not float(leaf) <= most:
                return leaf
        except ValueError:
            return f"{leaf!r}, which is no number"
    return None
