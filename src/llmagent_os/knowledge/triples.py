"""Facts as RDF, by a library of an extra: files of triples in and out, and questions in SPARQL.

A name is an IRI below a base, and one that is an absolute IRI already stays it. Meant for another process, as readers
are: what takes too long is given up there, and nothing of it reaches a network.
"""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from hashlib import blake2b
from itertools import islice
from pathlib import PurePath
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from ..core import extras
from ..core.errors import InvalidRequest
from ..core.records import Json, Place
from .readers import aside
from .rules import Statement
from .rules.compiled import LARGEST
from .rules.syntax import Value

if TYPE_CHECKING:
    from .facts import FactBase

EXTRA = "graph"
BASE = "urn:llmagent-os:"
"""What stands before a name in its IRI, where nothing else is said."""
FORMATS = {"ttl": "TURTLE", "nt": "N_TRIPLES", "nq": "N_QUADS", "trig": "TRIG", "jsonld": "JSON_LD", "rdf": "RDF_XML"}
"""By the ending of a file."""
LONGEST = 1_000  # characters of a text that is an object, and of what says so
FACTS = 500_000  # that are asked or written at once
_XSD = "http://www.w3.org/2001/XMLSchema#"
PREFIXES = {"xsd": _XSD, "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
            "rdfs": "http://www.w3.org/2000/01/rdf-schema#"}  # fmt: skip
"""What a question may use without saying so; the empty one is the base."""
_WHOLE = frozenset(f"{_XSD}{name}" for name in (
    "integer", "int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger", "nonPositiveInteger",
    "negativeInteger", "unsignedLong", "unsignedInt", "unsignedShort", "unsignedByte",
))  # fmt: skip
_BROKEN = frozenset(f"{_XSD}{name}" for name in ("decimal", "double", "float"))
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|\\^`]+")
_ODD = re.compile(r"[^\w.~-]")


Triple = tuple[str, str, Value, str]
"""A fact, and where it is from."""


async def ask(
    facts: FactBase, places: Mapping[int, Place], whose: tuple[str, str], query: str, base: str, limit: int
) -> dict[str, Json]:  # fmt: skip
    """See `asked`: of the facts of some places that hold now; `whose` as in `readers.read`."""
    told = await facts.held(places, FACTS)
    return await aside(asked, told, query, checked(base), limit, name="the question", whose=whose)


async def write(
    facts: FactBase, places: Mapping[int, Place], whose: tuple[str, str], form: str, base: str
) -> bytes:  # fmt: skip
    """See `written`: the facts of some places that hold now."""
    return await aside(written, await facts.held(places, FACTS), form, checked(base), name="the facts", whose=whose)


async def load(
    facts: FactBase, place: Place, data: bytes, name: str, source: str, base: str, origins: tuple[str, ...]
) -> dict[str, int]:  # fmt: skip
    """Have what a source tells be the facts of a file (see `FactBase.load`); `left_out` are triples that are none."""
    whose = place.tenant, place.principal
    said, out = await aside(read, data, name, source, checked(base), name=name, whose=whose)
    told = await facts.load(place, source, [replace(each, origins=origins) for each in said])
    return {**told, "left_out": out}


def suffix(name: str) -> str:
    """The ending of a file of triples; empty for any other."""
    found = PurePath(name).suffix.lower().removeprefix(".")
    return found if found in FORMATS else ""


def read(data: bytes, name: str, source: str, base: str) -> tuple[list[Statement], int]:
    """The facts of a file, and how many of its triples are none: empty or too long, or about a triple.

    What has no name is called by its place in the file. Raises InvalidRequest, which names it, for what is no RDF.
    """
    library, scope = _library(), blake2b(source.encode(), digest_size=4).hexdigest()
    blanks, found, out = dict[str, str](), list[Statement](), 0

    def kept(term: Any) -> Value:
        if isinstance(term, library.Triple):
            return ""
        if isinstance(term, library.BlankNode):
            return blanks.setdefault(term.value, f"_:{scope}.{len(blanks) + 1}")
        return _value(term, base)

    form = getattr(library.RdfFormat, FORMATS[suffix(name)])
    with _alone(name):
        for quad in library.parse(data, form, base_iri=None if base == BASE else base):
            subject, predicate, thing = kept(quad.subject), kept(quad.predicate), kept(quad.object)
            if all(0 < len(str(each).strip()) <= LONGEST for each in (subject, predicate, thing)):
                unnamed = any(isinstance(each, library.BlankNode) for each in (quad.subject, quad.object))
                said = "" if unnamed else str(quad)[:LONGEST]  # it would be another one each time
                found.append(Statement(str(subject), str(predicate), thing, sentence=said))
            else:
                out += 1
    return found, out


def written(facts: Iterable[Triple], form: str, base: str) -> bytes:
    """Facts as a file; where its format has graphs, each is in that of its source. Raises InvalidRequest."""
    library, chosen = _library(), FORMATS.get(form)
    if chosen is None:
        raise InvalidRequest(f"{form!r} is no format; there are: {', '.join(FORMATS)}", parameter="format")
    rdf = getattr(library.RdfFormat, chosen)
    quads: Iterable[Any] = _quads(library, sorted(facts, key=lambda each: each[:2]), base, rdf.supports_datasets)
    with _alone("the facts"):
        made: bytes = library.serialize(quads, format=rdf, prefixes={"": base} | PREFIXES)
    return made


def asked(facts: Sequence[Triple], query: str, base: str, limit: int) -> dict[str, Json]:
    """What a question in SPARQL comes to: `rows` of `variables`, whether it is so, or `facts`. Raises InvalidRequest.

    `GRAPH` is the source of a fact.
    """
    library = _library()
    with _alone("the question"):
        store = library.Store()
        store.bulk_extend(_quads(library, ((*each[:3], "") for each in facts), base, graphs=True))
        if "graph" in query.casefold():
            store.bulk_extend(_quads(library, facts, base, graphs=True))
        found = store.query(query, prefixes={"": base} | PREFIXES)
        if isinstance(found, library.QueryBoolean):
            return {"answer": bool(found)}
        rows = list(islice(found, limit + 1))
    told = [[_told(each, base) for each in row] for row in rows[:limit]]
    if isinstance(found, library.QuerySolutions):
        return {"variables": [each.value for each in found.variables], "rows": told, "more": len(rows) > limit}
    return {"facts": [dict(zip(("subject", "predicate", "object"), each, strict=True)) for each in told],
            "more": len(rows) > limit}  # fmt: skip


def checked(base: str) -> str:
    """A base of names; raises InvalidRequest for what is none."""
    if not _IRI.fullmatch(base):
        raise InvalidRequest(f"{base!r} is no base of names: it is like http://example.org/", parameter="base")
    return base


def _library() -> ModuleType:
    return extras.imported("pyoxigraph", EXTRA, "RDF")


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Nothing is opened meanwhile, so that no other server is asked. Raises InvalidRequest for all trouble."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    except OSError as error:
        raise InvalidRequest(f"{what}: no other server is asked (SERVICE): {error}", parameter="query") from None
    except (SyntaxError, ValueError) as error:
        raise InvalidRequest(f"{what}: {error}", parameter="query") from None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _quads(library: ModuleType, facts: Iterable[Triple], base: str, graphs: bool) -> Iterator[Any]:
    named = cache(partial(_node, library, base))
    for subject, predicate, thing, source in facts:
        end = named(thing) if isinstance(thing, str) else library.Literal(thing)
        if graphs and source:
            yield library.Quad(named(subject), named(predicate), end, named(source))
        else:
            yield (library.Quad if graphs else library.Triple)(named(subject), named(predicate), end)


def _node(library: ModuleType, base: str, name: str) -> Any:
    if not name.startswith(base) and _IRI.fullmatch(name):
        try:
            return library.NamedNode(name)
        except ValueError:  # it only looks like one
            pass
    try:
        return library.NamedNode(base + _ODD.sub(lambda found: quote(found[0], ""), name))
    except ValueError:
        return library.NamedNode(base + quote(name, ""))


def _value(term: Any, base: str) -> Value:
    """A term as facts have it: a name, a number or a text."""
    kind = getattr(getattr(term, "datatype", None), "value", "")
    text = str(getattr(term, "value", term))
    if not kind:
        return unquote(text[len(base) :]) if text.startswith(base) and len(text) > len(base) else text
    try:
        number = int(text) if kind in _WHOLE else float(text) if kind in _BROKEN else None
    except ValueError:
        return text
    return text if number is None or not math.isfinite(number) or not -LARGEST <= number < LARGEST else number


def _told(term: Any, base: str) -> Json:
    return None if term is None else _value(term, base)
