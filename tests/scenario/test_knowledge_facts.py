"""Facts and rules of a system: over REST, by command and for agents; what untrusted facts lead to is untrusted, too."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from llmagent_os.core.records import Question
from tests.scenario.test_knowledge import EVIL, Bank, put
from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.kernels import until
from tests.stand_ins.shell import Shell

RULES = """
functional(room).
pattern("{S} takes place in {O}", room).
pattern("{S}在{O}举行", room).
clash(A, B) :- room(A, R), room(B, R), A != B.
pays(T, A) :- rents(T, H), account(H, A).
"""


async def rules(api: Gate, text: str = RULES, **about: Any) -> None:
    query = {"name": "calendar.rules", "shared": "true", **about}
    status, told = await api.ask("PUT", "/v1/knowledge/rules", params=query, data=text.encode())
    assert status == 200, told


async def state(api: Gate, *facts: tuple[Any, ...], **about: Any) -> list[int]:
    said = [dict(zip(("subject", "predicate", "object"), each, strict=True)) for each in facts]
    status, told = await api.post("/v1/knowledge/facts", {"facts": said, "shared": True, **about})
    assert status == 201, told
    return told["numbers"]


async def test_facts_rules_proofs_and_pictures_over_rest(tmp_path: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await rules(api)
        await put(api, "plan.md", "The gala takes place in Room 2. 年会在 Room 2 举行。", shared="true")
        status, told = await api.post("/v1/knowledge/extract", {"shared": True})
        assert (status, told["added"]) == (200, 2), told
        (answer,) = (await api.post("/v1/knowledge/infer", {"question": "clash(gala, X)"}))[1]["answers"]
        assert answer["values"] == {"X": "年会"} and answer["origins"] == ["document plan.md"]
        assert {"The gala takes place in Room 2.", "年会在 Room 2 举行。"} == {
            step["sentence"] for step in answer["proof"] if "rule" not in step
        }
        _, drawn = await api.get("/v1/knowledge/explain?fact=clash(gala,年会)&svg=true")
        assert "clash" in "".join(ElementTree.fromstring(drawn["svg"]).itertext())
        status, told = await api.get("/v1/knowledge/explain?fact=clash(gala,party)")
        assert status == 404 and "room(party, " in told["error"]["message"]
        _, found = await api.get("/v1/knowledge/graph?about=gala&svg=true")
        assert {"subject": "gala", "predicate": "clash", "object": "年会"} in found["edges"]
        assert "年会" in "".join(ElementTree.fromstring(found["svg"]).itertext())
        checked = {"check": "The gala takes place in Room 9."}
        (said,) = (await api.post("/v1/knowledge/infer", checked))[1]["contradictions"]
        assert said["claim"]["object"] == "Room 9" and said["values"] == {"V": "Room 2"}
        status, refused = await api.ask("PUT", "/v1/knowledge/rules?name=bad", data=b"p(X, Z) :- q(X, Y).")
        assert (
            status == 400
            and "bad, line 1" in refused["error"]["message"]
            and "variable Z" in refused["error"]["message"]
        )
        assert (await api.post("/v1/knowledge/infer", {"question": "clash(", "about": "x"}))[0] == 400
        await api.ask("DELETE", "/v1/knowledge/documents?source=plan.md&shared=true")
        assert (await api.get("/v1/knowledge/facts"))[1]["facts"] == []


async def test_rdf_comes_in_goes_out_and_is_asked_in_sparql(tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    shell, base = Shell(tmp_path, "[]"), "http://example.org/"
    (tmp_path / "a.ttl").write_text(f"@prefix : <{base}> . :gala :room :Hall ; :seats 40 . :年会 :room :Hall .")
    async with gate(shell.data) as api:
        run = partial(asyncio.to_thread, shell.run)
        load = "knowledge", "facts", "load", str(tmp_path / "a.ttl"), "--base", base
        assert "3 new" in (await run(*load)).stderr
        _, told = await api.get("/v1/knowledge/facts?predicate=seats")
        assert [(each["subject"], each["object"]) for each in told["facts"]] == [("gala", 40)]
        assert told["facts"][0]["origins"] == [f"document {tmp_path / 'a.ttl'}"]
        asked = await run("knowledge", "sparql", "SELECT ?w WHERE { ?w :room :Hall } ORDER BY ?w", "--base", base)
        assert asked.stdout.split() == ["w", "gala", "年会"]
        assert (await run("knowledge", "sparql", "ASK { :gala :seats 41 }", "--base", base)).stdout == "no\n"
        out = (await run("knowledge", "facts", "export", "--base", base, "--format", "nt")).stdout
        assert f"<{base}年会> <{base}room> <{base}Hall> ." in out.splitlines()
        assert "there are: ttl, nt" in (await run("knowledge", "facts", "export", "--format", "doc")).stderr
        _, made = await api.post("/v1/keys", {"principal": "bob", "scopes": ["chat"]})
        await state(api, ("secret", "room", "Hall"), shared=False)
        body = {
            "json": {"query": "SELECT ?w WHERE { ?w ?p ?o }"},
            "headers": {"Authorization": f"Bearer {made['key']}"},
        }
        status, seen = await api.ask("POST", "/v1/knowledge/sparql", **body)
        assert status == 200 and ["secret"] not in seen["rows"] and len(seen["rows"]) == 3
        status, told = await api.post("/v1/knowledge/sparql", {"query": "DROP ALL"})
        assert status == 400 and "the question" in told["error"]["message"]


async def test_facts_and_rules_are_whose_they_are(tmp_path: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await state(api, ("gala", "room", "Room 1"))
        await state(api, ("secret", "room", "Room 1"), shared=False)
        await rules(api, shared="false")
        _, made = await api.post("/v1/keys", {"principal": "bob", "scopes": ["chat"]})
        bob = {"Authorization": f"Bearer {made['key']}"}
        _, seen = await api.ask("GET", "/v1/knowledge/facts", headers=bob)
        assert [each["subject"] for each in seen["facts"]] == ["gala"]
        _, found = await api.ask("POST", "/v1/knowledge/infer", json={"question": "clash(X, Y)"}, headers=bob)
        assert found["answers"] == []
        body = {"facts": [{"subject": "a", "predicate": "p", "object": 1}], "shared": True}
        assert (await api.ask("POST", "/v1/knowledge/facts", json=body, headers=bob))[0] == 403
        assert (await api.ask("DELETE", "/v1/knowledge/facts?number=1", headers=bob))[1] == {"removed": 0}
        assert len((await api.post("/v1/knowledge/infer", {"question": "clash(X, Y)"}))[1]["answers"]) == 2


async def test_an_agent_is_told_what_follows_and_cites_it_with_its_proof(tmp_path: Path) -> None:
    async with gate(tmp_path) as api:
        await rules(api)
        await state(api, ("gala", "room", "Room 2"), ("年会", "room", "Room 2"))
        shown = r"clash\(gala, 年会\)[^$]*It follows by the rule: clash"
        await api.script("told", {"match": shown, "text": "They clash [1]."}, {"text": "It is not known."})
        clerk = {"name": "clerk", "model": "told", "knowledge": {"recall": "never", "infer": "always"}}
        await api.system.agents.create(clerk)
        reply = await api.system.agents.ask("clerk", "Does the gala clash with 年会吗?", "s1")
        (cited,) = reply["citations"]
        assert reply["text"] == "They clash [1]." and 'room(gala, "Room 2")' in cited["proof"]
        calls = [{"name": "infer", "arguments": {"text": "clash(gala, X)"}}]
        rows = [{"step": 0, "calls": calls}, {"step": 1, "match": "gala clash 年会", "text": "See [1]."}]
        await api.script("asks", *rows)
        await api.system.agents.create(clerk | {"name": "asker", "model": "asks", "knowledge": {"infer": "tool"}})
        assert (await api.system.agents.ask("asker", "hello"))["citations"][0]["title"] == "clash(gala, 年会)"


async def test_a_grounded_answer_is_held_against_facts_and_what_follows(tmp_path: Path) -> None:
    async with gate(tmp_path) as api:
        await rules(api)
        await state(api, ("gala", "room", "Room 2"), ("年会", "room", "Room 2"))
        text = "The gala takes place in Room 9 [1]. Gala clash 年会 [1]. Bees like lime trees."
        await api.script("told", {"match": "clash", "text": text})
        about = {"recall": "never", "infer": "always", "grounded": "strict"}
        await api.system.agents.create({"name": "clerk", "model": "told", "knowledge": about})
        reply = await api.system.agents.ask("clerk", "Does the gala clash with 年会吗?")
        verdicts = [(each["verdict"], each.get("against", "")) for each in reply["grounding"]["sentences"]]
        assert [each for each, _ in verdicts] == ["contradicted", "supported", "unsupported"]
        assert verdicts[0][1].startswith('room(gala, "Room 2")')


async def test_what_follows_from_untrusted_facts_directs_nobody_also_after_a_restart(tmp_path: Path) -> None:
    bank = Bank()
    payer = {"name": "payer", "model": "pays", "tools": ["pay"], "knowledge": {"recall": "never", "infer": "always"}}
    script = [{"step": 0, "calls": [{"name": "pay", "arguments": {"to": EVIL}}]}, {"step": 1, "text": "done"}]
    async with gate(tmp_path, bank) as api:
        await rules(api)
        await state(api, ("the mill", "rents", "Ann"))
        table = {
            "source": "bank.csv",
            "shared": "true",
            "mapping": '{"subject": "{who}", "facts": {"account": "{to}"}}',
        }
        status, told = await api.ask("PUT", "/v1/knowledge/facts", params=table, data=f"who,to\nAnn,{EVIL}\n".encode())
        assert (status, told) == (200, {"added": 1, "same": 0, "ended": 0, "disputed": 0})
        await api.script("pays", *script)
        await api.system.agents.create(payer)
    async with gate(tmp_path, bank) as api:
        await api.script("pays", *script)
        questions: list[Question] = []
        api.system.approvals.told.append(questions.append)
        await api.post("/v1/agents/payer/messages", {"text": "Pay the rent of the mill.", "wait": 0.1})
        await until(lambda: questions, 60)
        assert (questions[0].tool, questions[0].origins["to"], bank.paid) == ("pay", "document bank.csv", [])


async def test_the_command_states_loads_asks_explains_and_draws(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "[]")
    (tmp_path / "calendar.rules").write_text(RULES)
    (tmp_path / "bad.rules").write_text("\np(X, Z) :- q(X, Y).")
    (tmp_path / "rooms.csv").write_text("name,room\ngala,Room 2\n年会,Room 2\n")
    (tmp_path / "map.json").write_text('{"subject": "{name}", "facts": {"room": "{room}"}}')
    (tmp_path / "plan.txt").write_text("The party takes place in Room 7.")
    async with gate(shell.data) as api:
        run = partial(asyncio.to_thread, shell.run, "knowledge")
        assert "calendar.rules: 2 rules, 3 facts" in (await run("rules", "add", "calendar.rules")).stderr
        refused = await run("rules", "add", "bad.rules")
        assert refused.returncode == 1 and "bad.rules, line 2" in refused.stderr and "variable Z" in refused.stderr
        assert "2 new, 0 as they were" in (await run("facts", "load", "rooms.csv", "--map", "map.json")).stderr
        assert "fact 3" in (await run("facts", "add", "gala", "seats", "90", "--since", "2026-03-01")).stderr
        assert (await run("infer", "clash(gala, X)")).stdout == "X = 年会\n"
        assert (await run("infer", "seats(gala, N)", "--json")).stdout.count('"N":90') == 1
        told = (await run("explain", "clash(gala, 年会)")).stdout
        assert "rooms.csv, “name: gala; room: Room 2”" in told
        lacking = await run("explain", "clash(gala, party)")
        assert lacking.returncode == 1 and "does not follow" in lacking.stderr
        assert (await run("infer", "clash(gala, party)")).returncode == 1
        assert "1 facts new" in (added := (await run("add", "plan.txt")).stderr + (await run("extract")).stderr), added
        listed = (await run("facts", "list", "--predicate", "room")).stdout
        assert "party" in listed and "Room 7" in listed
        assert (await run("graph", "gala", "--svg")).stdout.startswith("<svg")
        assert "clash" in (await run("graph", "gala")).stdout
        assert "merged as 1" in (await run("facts", "merge", "gala", "Gala Night")).stderr
        assert "Gala Night" in (await run("facts", "names")).stdout
        assert (await run("facts", "part", "1")).returncode == 0
        assert "functional(room)" in (await run("rules", "show", "calendar.rules")).stdout
        assert "calendar.rules" in (await run("rules", "list")).stdout
        assert "forgot 2 facts" in (await run("facts", "remove", "--source", str(tmp_path / "rooms.csv"))).stderr
        assert (await run("rules", "remove", "calendar.rules")).returncode == 0
        assert (await api.get("/v1/knowledge/rules"))[1] == {"rules": []}
        assert json.loads((await run("facts", "list", "--json")).stdout.splitlines()[0])["object"] == 90
