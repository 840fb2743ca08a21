"""Facts as RDF: what goes out comes in again, whatever it is called; questions change nothing and ask nobody else."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.knowledge import triples
from llmagent_os.knowledge.facts import FactBase
from llmagent_os.knowledge.rules import Statement
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.knowledge import HERE, knowledge

pytest.importorskip("pyoxigraph")

EXAMPLE = "http://example.org/"
TURTLE = """
@prefix : <http://example.org/> .
@prefix foaf: <http://xmlns.com/foaf/0.1/> .
:Ann :lives_in :Oslo ; :age 42 ; :height 1.75 ; foaf:name "Ann Lee"@en , "" ; :knows [ :age 7 ] .
:会议 :地点 :二号会议室 .
""".encode()
NAME = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(
    lambda text: text == " ".join(text.split())
)


def told(said: list[Statement]) -> set[tuple[Any, ...]]:
    return {(each.subject, each.predicate, each.object) for each in said}


def test_turtle_is_facts_by_the_names_below_its_base() -> None:
    said, out = triples.read(TURTLE, "a.ttl", "/home/a.ttl", EXAMPLE)
    (somebody,) = {each.object for each in said if each.predicate == "knows"}
    assert told(said) == {
        ("Ann", "lives_in", "Oslo"), ("Ann", "age", 42), ("Ann", "height", 1.75), ("Ann", "knows", somebody),
        (somebody, "age", 7), ("Ann", "http://xmlns.com/foaf/0.1/name", "Ann Lee"), ("会议", "地点", "二号会议室"),
    }  # fmt: skip
    assert out == 1 and {each.sentence for each in said} >= {
        '<http://example.org/Ann> <http://xmlns.com/foaf/0.1/name> "Ann Lee"@en'
    }
    again, _ = triples.read(TURTLE, "a.ttl", "/home/a.ttl", EXAMPLE)
    other, _ = triples.read(TURTLE, "a.ttl", "/home/b.ttl", EXAMPLE)
    assert told(again) == told(said) != told(other)  # who has no name is somebody else in another file


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(NAME, NAME, st.one_of(NAME, st.integers(-(2**62), 2**62), st.floats(-1e9, 1e9)), NAME)),
    st.sampled_from(sorted(triples.FORMATS)), st.sampled_from([triples.BASE, EXAMPLE, "https://a.b/c#"]),
)  # fmt: skip
def test_what_goes_out_comes_in_again(facts: list[triples.Triple], form: str, base: str) -> None:
    if form == "rdf":  # whose predicates are names of XML
        facts = [(subject, "p", thing, source) for subject, _, thing, source in facts]
    said, out = triples.read(triples.written(facts, form, base), f"x.{form}", "x", base)
    assert (told(said), out) == ({each[:3] for each in facts}, 0)


@pytest.mark.parametrize("name", ["a.ttl", "a.nt", "a.nq", "a.trig", "a.jsonld", "a.rdf"])
@pytest.mark.parametrize(
    "data", [b"{", b"<a> <b", b"\xff\xfe", b"<a:b> <a:c> <a:d>", b'{"@context": "http://127.0.0.1:9/"}']
)
def test_what_is_no_rdf_is_refused_by_name(name: str, data: bytes) -> None:
    try:
        triples.read(data, name, name, triples.BASE)
    except InvalidRequest as error:
        assert name in error.message


FACTS: list[triples.Triple] = [
    ("budget meeting", "room", "Room 2", "plan.md"), ("gala", "room", "Room 2", "plan.md"),
    ("gala", "room", "Room 2", "mail.eml"), ("Room 2", "seats", 12, "rooms.csv"), ("Room 7", "seats", 40, ""),
]  # fmt: skip


def test_questions_are_answered_by_the_names_of_facts() -> None:
    query = "SELECT ?who ?n WHERE { ?who :room ?room . ?room :seats ?n FILTER(?n < 20) } ORDER BY ?who"
    found = triples.asked(FACTS, query, triples.BASE, 10)
    assert found == {"variables": ["who", "n"], "rows": [["budget meeting", 12], ["gala", 12]], "more": False}
    assert triples.asked(FACTS, query, triples.BASE, 1)["more"] is True
    assert triples.asked(FACTS, "ASK { :gala :room :Room%202 }", triples.BASE, 1) == {"answer": True}
    made = triples.asked(FACTS, "CONSTRUCT { ?r :holds ?w } WHERE { ?w :room ?r }", EXAMPLE, 10)["facts"]
    assert {"subject": "Room 2", "predicate": "holds", "object": "gala"} in made
    where = triples.asked(FACTS, "SELECT ?g WHERE { GRAPH ?g { :gala ?p ?o } } ORDER BY ?g", triples.BASE, 10)
    assert where["rows"] == [["mail.eml"], ["plan.md"]]
    for wrong in ("SELECT", "DELETE WHERE { ?s ?p ?o }", "INSERT DATA { :a :b :c }"):
        with pytest.raises(InvalidRequest, match="the question"):
            triples.asked(FACTS, wrong, triples.BASE, 10)


def test_no_other_server_is_asked() -> None:
    asked = list[str]()

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(500)

        do_POST = do_GET

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}/"
        for query in (f"SELECT * WHERE {{ SERVICE <{at}> {{ ?s ?p ?o }} }}",
                      f"SELECT * WHERE {{ SERVICE SILENT <{at}> {{ ?s ?p ?o }} }}",
                      f"ASK {{ BIND(<{at}> AS ?x) SERVI\\u0043E ?x {{ ?s ?p ?o }} }}"):  # fmt: skip
            with suppress(InvalidRequest):
                triples.asked(FACTS, query, triples.BASE, 10)
        with pytest.raises(InvalidRequest, match=r"a\.jsonld"):
            triples.read(json.dumps({"@context": at, "a": "b"}).encode(), "a.jsonld", "a", triples.BASE)
        with pytest.raises(InvalidRequest, match="no other server"):
            triples.asked(FACTS, f"SELECT * WHERE {{ SERVICE <{at}> {{ ?s ?p ?o }} }}", triples.BASE, 10)
        assert asked == []


async def test_a_file_told_again_is_what_it_is_now_and_what_holds_is_asked() -> None:
    store = SQLiteStore()
    known = knowledge(store)
    facts = FactBase(known, store)
    await facts.put_rules(HERE, "r", "functional(lives_in).")
    about = HERE, TURTLE, "a.ttl", "/home/a.ttl", EXAMPLE, ("document /home/a.ttl",)
    assert (await triples.load(facts, *about))["added"] == 7
    assert (await triples.load(facts, *about)) == {"added": 0, "same": 7, "ended": 0, "disputed": 0, "left_out": 1}
    await facts.add(HERE, [Statement("Ann", "lives_in", "Bonn"), Statement("Bob", "age", 9, until=time.time() + 9)])
    await facts.merge(HERE, "Ann", "Ann Lee")
    places, whose = known.places("here"), ("here", "x")
    rows = (await triples.ask(facts, places, whose, "SELECT ?c WHERE { :Ann :lives_in ?c }", EXAMPLE, 9))["rows"]
    assert rows == [["Bonn"]]
    gone = TURTLE.replace(b":age 42 ;", b"")
    assert (await triples.load(facts, HERE, gone, *about[2:]))["ended"] == 1
    made = await triples.write(facts, places, whose, "ttl", EXAMPLE)
    assert b":age 9" in made and b"42" not in made and "会议" in made.decode()
    with pytest.raises(InvalidRequest, match="more than 1 facts"):
        await facts.held(places, 1)
    with pytest.raises(InvalidRequest, match="no base"):
        await triples.ask(facts, places, whose, "ASK {}", "no base", 1)
