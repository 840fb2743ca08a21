"""Rows with spans: by characters, by tags of words, or as Doccano has them; the answer is a list of {label, text}."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..core import spans
from ..core.errors import InvalidRequest
from ..core.records import Json

FIELDS = ("spans", "entities", "label")
"""Where spans of characters may stand; each is {start, end, label} or [start, end, label]."""


def marked(value: Mapping[str, Any], origin: str) -> tuple[str, str] | None:
    """The text and the answer of a row with spans; None for one of another kind. Raises InvalidRequest."""
    if isinstance(tokens := value.get("tokens"), list) and isinstance(told := value.get("tags"), list):
        if len(tokens) != len(told) or not all(isinstance(each, str) for each in (*tokens, *told)):
            raise _wrong(origin, f"has {len(tokens)} tokens and {len(told)} tags; each token, a text, has one")
        return of_tags(tokens, told)
    text, name = value.get("text"), next((each for each in FIELDS if isinstance(value.get(each), list)), None)
    if not isinstance(text, str) or name is None or any(isinstance(each, str) for each in value[name]):
        return None
    found = sorted(_span(each, text, origin) for each in value[name])
    for one, other in pairwise(found):
        if other.start < one.end:
            raise _wrong(origin, f"has spans that overlap: {one.start} to {one.end} and {other.start} to {other.end}")
    return text, spans.answer(text, found)


def of_tags(tokens: Sequence[str], told: Sequence[str]) -> tuple[str, str]:
    """The text and the answer of words with tags such as B-PER, I-PER and O; tags without a mark go on as I- does."""
    found: list[spans.Span] = []
    at, last = 0, ""
    for word, tag in zip(tokens, told, strict=True):
        mark, _, label = tag.partition("-") if tag[:2] in ("B-", "I-") else ("I", "", "" if tag == "O" else tag)
        if label and mark == "I" and label == last:
            found[-1] = found[-1]._replace(end=at + len(word))
        elif label:
            found.append(spans.Span(at, at + len(word), label))
        at, last = at + len(word) + 1, label
    text = " ".join(tokens)
    return text, spans.answer(text, found)


def conll(text: str, name: str) -> Iterator[tuple[str, str, str]]:
    """The sentences of a file with a word and its tag a line (the first and the last column): text, answer, place."""
    words: list[tuple[str, str]] = []
    first = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            if words:
                yield (*of_tags(*map(list, zip(*words, strict=True))), f"{name}:{first}")
            words, first = [], number + 1
        elif len(columns) < 2:
            raise _wrong(f"{name}:{number}", "has no tag after its word")
        else:
            words.append((columns[0], columns[-1]))


def doccano(text: str, output: str) -> dict[str, Json]:
    """A row as Doccano reads it, to be annotated there: with spans where the answer has some, else with a label."""
    found = spans.located(text, pairs) if (pairs := spans.read(output)) is not None else None
    if found is None:
        return {"text": text, "label": [output]}
    return {"text": text, "label": [[each.start, each.end, each.label] for each in found]}


def kinds_of(rows: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The kinds of spans that the answers of all of these (text, answer) have; none where one is something else."""
    found: set[str] = set()
    for text, output in rows:
        pairs = spans.read(output)
        if pairs is None or spans.located(text, pairs) is None:
            return ()
        found |= {label for label, _ in pairs}
    return tuple(sorted(found))


def _span(value: Any, text: str, origin: str) -> spans.Span:
    try:
        start, end, label = (value["start"], value["end"], value["label"]) if isinstance(value, Mapping) else value
        if isinstance(label, str) and label and 0 <= start < end <= len(text):
            return spans.Span(int(start), int(end), label)
    except (KeyError, TypeError, ValueError):
        pass
    raise _wrong(origin, f"has a span that is no {{start, end, label}} within its {len(text)} characters: {value!r}")


def _wrong(origin: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{origin} {what}", parameter="rows", row=origin)
