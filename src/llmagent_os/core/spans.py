"""Spans: pieces of a text with a label each, as answers have them and as tags of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from . import codec
from .wordpiece import Piece

OUTSIDE = "O"


class Span(NamedTuple):
    """From one character to before another, what stands there is of a kind."""

    start: int
    end: int
    label: str


def tags(labels: Iterable[str]) -> list[str]:
    """The tags of words by which spans of these labels are told: B- for the first, I- for what follows, O for none."""
    return [OUTSIDE, *(f"{mark}-{label}" for label in labels for mark in "BI")]


def tagged(pieces: Sequence[Piece], spans: Sequence[Span]) -> list[str]:
    """The tag of every piece."""
    found = []
    for piece in pieces:
        within = next((each for each in spans if each.start <= piece.start < each.end), None)
        if within is None:
            found.append(OUTSIDE)
        else:
            found.append(f"{'B' if piece.start == within.start else 'I'}-{within.label}")
    return found


def spans_of(pieces: Sequence[Piece], told: Sequence[str]) -> list[Span]:
    """The spans that tags tell of; a word is tagged by its first piece, an I- that follows nothing begins one."""
    found: list[Span] = []
    label = ""
    for piece, tag in zip(pieces, told, strict=True):
        if not piece.first:
            if label:
                found[-1] = found[-1]._replace(end=piece.end)
            continue
        mark, _, now = tag.partition("-")
        if now and mark == "I" and now == label:
            found[-1] = found[-1]._replace(end=piece.end)
        elif now:
            found.append(Span(piece.start, piece.end, now))
        label = now
    return found


def answer(text: str, spans: Iterable[Span]) -> str:
    """Spans as an answer: a JSON list of {label, text}, in the order of the text."""
    told = [{"label": each.label, "text": text[each.start : each.end]} for each in sorted(spans)]
    return codec.canonical(told).decode()


def read(answer: str) -> list[tuple[str, str]] | None:
    """The (label, text) pairs of an answer; None for one that is no such list."""
    try:
        told = codec.loads(answer.strip())
        return [(str(each["label"]), str(each["text"])) for each in told] if isinstance(told, list) else None
    except (ValueError, TypeError, KeyError):
        return None


def located(text: str, pairs: Iterable[tuple[str, str]]) -> list[Span] | None:
    """Where pairs stand in a text, each after the one before where it can; None where one stands nowhere."""
    found: list[Span] = []
    at = 0
    for label, piece in pairs:
        place = text.find(piece, at) if piece else -1
        place = text.find(piece) if place < 0 and piece else place
        if place < 0:
            return None
        found.append(Span(place, place + len(piece), label))
        at = place + len(piece)
    return found


def shared(wanted: str, answered: str) -> tuple[Counter[Any], Counter[Any], Counter[Any]]:
    """Of two answers the pairs that were wanted, those that were given, and those that are in both."""
    one, other = (Counter[Any](read(each) or []) for each in (wanted, answered))
    return one, other, one & other
