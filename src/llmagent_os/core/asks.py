"""Asking a person: the kinds of question, and what an answer to each has to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from . import codec, schemas, templates
from .errors import InvalidRequest
from .records import Ask, Json
from .validity import Unknown, fault, shown

KINDS: tuple[Ask, ...] = get_args(Ask)
FIELDS = ("options", "schema", "expires", "otherwise", "escalate")
"""What a question may say beside its words and the value that it is about."""
OPTIONS = 1000
SHOWN = 20  # options that an error names
ANSWER = 16 << 10
"""Bytes of an answer as JSON; so many has an option."""
TEXT = 256 << 10
"""Bytes of a text that is corrected, or of the arguments that a person puts instead, where those had no more."""
_NEEDS: Mapping[str, str] = {"choose": "options", "fill": "schema"}


def form(kind: Json, asked: Mapping[str, Any]) -> Mapping[str, Json] | None:
    """The JSON schema of an answer; None for a yes or no. `asked` has some of `FIELDS`.

    Raises InvalidRequest, whose `parameter` is the field, for what cannot be asked so. Options may be a template.
    """
    if kind not in KINDS:
        raise InvalidRequest(f"`ask` is one of {', '.join(KINDS)}", parameter="ask")
    needs = _NEEDS.get(kind)
    for field, of in (("options", "choose"), ("schema", "fill")):
        if (asked.get(field) is not None) != (field == needs):
            text = f"`ask: {of}` has `{field}`" if field == needs else f"only `ask: {of}` has `{field}`"
            raise InvalidRequest(text, parameter=field)
    found = _form(kind, asked)
    _moments(asked)
    if (otherwise := asked.get("otherwise")) is not None:
        if asked.get("expires") is None:
            raise InvalidRequest("`otherwise` is for a question that `expires`", parameter="otherwise")
        wrong = too_large(otherwise, TEXT if kind == "correct" else ANSWER)
        wrong = wrong or fits({"type": "boolean"} if found is None else found, otherwise)
        if wrong is not None:
            raise InvalidRequest(f"`otherwise` is no answer: {wrong}", parameter="otherwise")
    return found


def fits(form: Mapping[str, Json], value: Json) -> str | None:
    """What is wrong with an answer; None for nothing."""
    try:
        found = fault(form, value)
    except Unknown as error:
        return str(error)
    if found is None:
        return None
    field = form.get("properties", {}).get(found.place) if found.place else form
    if found.keyword != "enum" or not isinstance(field, Mapping) or "enum" not in field:
        return str(found)
    options = [*map(shown, field["enum"][:SHOWN]), *(["..."] if len(field["enum"]) > SHOWN else [])]
    return f"{found}: {', '.join(options)}"


def too_large(value: Json, most: int) -> str | None:
    """What is wrong with the size of an answer; None for nothing."""
    size = len(codec.dumps(value))
    return None if size <= most else f"it has {size:,} bytes as JSON, and {most:,} are the most"


def escalations(asked: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Who may answer besides, after how many seconds: `{after, to}` each."""
    said = asked.get("escalate") or ()
    return [said] if isinstance(said, Mapping) else said


def _form(kind: str, asked: Mapping[str, Any]) -> Mapping[str, Json] | None:
    if kind == "choose":
        options = asked["options"]
        if isinstance(options, str) and templates.NAME.fullmatch(options):
            return {"type": "string"}
        texts = isinstance(options, list | tuple) and all(isinstance(each, str) and each for each in options)
        if not texts or not 0 < len(options) <= OPTIONS or len({*options}) < len(options):
            text = f"`options` is a list of texts, no two the same, {OPTIONS:,} at most"
            raise InvalidRequest(text, parameter="options")
        if wrong := next(filter(None, (too_large(each, ANSWER) for each in options)), None):
            raise InvalidRequest(f"one of the `options` is too long: {wrong}", parameter="options")
        return {"type": "string"} if any(map(templates.NAME.search, options)) else {"enum": list(options)}
    if kind == "fill":
        return schemas.meant(asked["schema"], "`schema`", "schema")
    return {"type": "string"} if kind == "correct" else None


def _moments(asked: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for times that are none."""
    if asked.get("expires") is not None and not _seconds(asked["expires"]):
        raise InvalidRequest("`expires` is a number of seconds", parameter="expires")
    said = escalations(asked)
    whole = isinstance(said, list | tuple) and all(isinstance(each, Mapping) for each in said)
    if not whole or not all(
        each.keys() == {"after", "to"} and _seconds(each["after"], 0) and isinstance(each["to"], str) and each["to"]
        for each in said
    ):
        raise InvalidRequest("`escalate` is {after: SECONDS, to: NAME}, or a list of such", parameter="escalate")


def _seconds(value: Any, least: float = 0.001) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < math.inf
