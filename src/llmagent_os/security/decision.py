"""The decision about a call of a tool: a pure function of the call, one policy, and where the arguments come from."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.places import host_of, resolved
from ..core.records import Json, Meaning, Policy, Rule, Traits, Verdict
from ..core.values import leaves, links
from .labels import Sight

NO_RULE = Rule()
_UP = re.compile(r"(?:^|[/\\])(?:\.|%2e){2}(?:[/\\?#]|$)", re.I)


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


ALLOWED = Ruling("allow", "")


def decide(
    policy: Policy, tool: str, traits: Traits, arguments: Mapping[str, Json], sight: Sight,
    names: Collection[str] = (),
) -> Ruling:  # fmt: skip
    """Judge a call of a tool by one policy. `names`: what the tool's own schema calls arguments and their parts."""
    rule = policy.tools.get(tool, NO_RULE)
    if rule is not NO_RULE and (found := settled(rule, tool, arguments)) is not None:
        return found
    origins = dict(_doubts(rule, traits, arguments, sight, names)) if sight.doubted else {}
    if not origins and rule.ask is None:
        return ALLOWED
    told = ", ".join(f"{name} from {origin}" for name, origin in origins.items())
    doubt = f"not from you or its definition: {told}"
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


def settled(rule: Rule, tool: str, arguments: Mapping[str, Json]) -> Ruling | None:
    """What a rule says about a call whatever it comes from: refusals first, then caps, then what is allowed."""
    for number, case in enumerate(rule.refuse):
        if _fits(case, arguments, any, _forbidden):
            return Ruling("refuse", f"{tool}.refuse[{number}]", "the policy refuses it")
    for name, most in rule.most.items():
        if (over := _over(arguments.get(name), most)) is not None:
            return Ruling("refuse", f"{tool}.most.{name}", f"{name} is {over}, and {most:g} is the most")
    for number, case in enumerate(rule.allow):
        if _fits(case, arguments, all, _permitted):
            return Ruling("allow", f"{tool}.allow[{number}]")
    return None


def _doubts(
    rule: Rule, traits: Traits, arguments: Mapping[str, Json], sight: Sight, names: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The arguments that decide what a call does to the world and come from somebody untrusted."""
    meanings = meanings_of(rule, traits)
    blind = not meanings and traits.effect != "read"  # a tool that declares nothing is judged by all it is given
    if blind and not arguments and (untrusted := sight.untrusted()):
        yield "the call itself", untrusted[0]
    for name, value in arguments.items():
        meaning = meanings.get(name, "text")
        whole = {name: value} if blind else value  # a name that the tool does not know is one more value
        for each in _sinks(whole, meaning, blind, traits.effect, names):
            if (origin := sight.origin(each, meaning == "amount")) is not None:
                yield name, origin
                break


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
    """Whether every argument of a case matches one of its patterns, in `parts` (all or any) of its parts."""
    for name, patterns in case.items():
        values = list(leaves(arguments.get(name), ()))
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
