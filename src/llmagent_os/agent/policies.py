"""Policies as people write them: the short forms, and errors that say the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import fields
from typing import Any, get_args

from ..core.errors import InvalidRequest, nearest
from ..core.records import Json, Policy, Rule, Verdict

VERDICTS: tuple[str, ...] = get_args(Verdict)
SHORT: Mapping[str, Json] = {"ask": {"ask": "always"}, "allow": {"allow": [{}]}, "refuse": {"refuse": [{}]}}
"""A rule in one word: what it says of every call of the tool."""

RULES = 2000
"""Of one policy, and cases of one rule: every call of an agent is judged by them, and every start reads them."""

_ALIKE = {
    "deny": "refuse", "denied": "refuse", "forbid": "refuse", "block": "refuse", "never": "refuse", "no": "refuse",
    "always": "ask", "confirm": "ask", "approve": "ask", "approval": "ask", "prompt": "ask", "yes": "allow",
    "ok": "allow", "auto": "allow", "allowed": "allow", "permit": "allow",
}  # fmt: skip
_FORM = "write policy: {tools: {%s: ask}}, or allow, or refuse, or a rule such as {ask: always, most: {amount: 50}}"
_RULE, _POLICY = ([each.name for each in fields(kind)] for kind in (Rule, Policy))


def read(data: Any, place: str = "policy") -> Json:
    """A policy with its rules in full; raises InvalidRequest that names the place to blame and says the right form.

    A word alone is what becomes of calls whose arguments are in doubt: `policy: refuse`.
    """
    if isinstance(data, str):
        return {"untrusted": _verdict(data, place)}
    if not isinstance(data, Mapping):
        return data
    for name in data:
        if name not in _POLICY:
            raise _misplaced(str(name), data[name], place)
    tools = data.get("tools")
    if tools is not None and not isinstance(tools, Mapping):
        names = tools if isinstance(tools, Sequence) and not isinstance(tools, str) else [tools]
        example = next((each for each in names if isinstance(each, str)), "send_mail")
        raise _wrong(f"{place}.tools", f"is a mapping from tools to rules; {_FORM % example}")
    _few(tools or (), "rules", f"{place}.tools", "what holds for all other tools is `untrusted`")
    rules = {name: rule(each, str(name), f"{place}.tools.{name}") for name, each in (tools or {}).items()}
    return dict(data) | ({} if tools is None else {"tools": rules})


def rule(data: Any, tool: str, place: str) -> Json:
    """A rule in full, from a word or a mapping; one case may stand without its list, one pattern as well."""
    if isinstance(data, str):
        return SHORT[_verdict(data, place)]
    if not isinstance(data, Mapping):
        raise _wrong(place, f"is {data!r}; {_FORM % tool}")
    for name in data:
        if name not in _RULE:
            raise _wrong(f"{place}.{name}", f"is no field of a rule; {nearest(str(name), _RULE)}")
    whole = dict(data)
    if "ask" in data:
        whole["ask"] = _asked(data["ask"], f"{place}.ask")
    for name in ("allow", "refuse"):
        if name in data:
            whole[name] = _cases(data[name], tool, f"{place}.{name}")
    return whole


def _few(found: Sized, kind: str, place: str, instead: str) -> None:
    if len(found) > RULES:
        raise _wrong(place, f"has {len(found)} {kind}, of which {RULES} are read; {instead}")


def _asked(said: Any, place: str) -> str | None:
    if said in (True, "always", None):
        return None if said is None else "always"
    hint = "where arguments are in doubt is `untrusted: ask`, never is `untrusted: allow` or `untrusted: refuse`"
    raise _wrong(place, f"is {said!r}; the one form is `ask: always`, for every call: {hint}")


def _cases(said: Any, tool: str, place: str) -> Json:
    cases = [said] if isinstance(said, Mapping) else said
    if not isinstance(cases, Sequence) or isinstance(cases, str) or not all(isinstance(c, Mapping) for c in cases):
        word = place.rpartition(".")[2]
        form = f"a list of cases, each from arguments to patterns: {word}: [{{to: ['*@example.org']}}]"
        raise _wrong(place, f"is {said!r}; write {form}; for every call, write {tool}: {word}")
    _few(cases, "cases", place, "put their patterns together in one: {to: ['*@a.example', '*@b.example']}")
    return [{name: [each] if isinstance(each, str) else each for name, each in case.items()} for case in cases]


def _verdict(said: str, place: str) -> str:
    if said not in VERDICTS:
        meant = _ALIKE.get(said.lower())
        hint = f"did you mean {meant!r}?" if meant else nearest(said, VERDICTS)
        raise _wrong(place, f"is {said!r}; {hint}")
    return said


def _misplaced(name: str, said: Any, place: str) -> InvalidRequest:
    if name in VERDICTS and isinstance(said, Sequence):
        first = next((str(each) for each in ([said] if isinstance(said, str) else said)), "send_mail")
        return _wrong(f"{place}.{name}", f"is no field of a policy; {_FORM % first}")
    return _wrong(f"{place}.{name}", f"is no field of a policy; {nearest(name, _POLICY)}; of a tool {_FORM % name}")


def _wrong(place: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"agent definition: {place} {what}", parameter=place)
