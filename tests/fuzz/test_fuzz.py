"""The fuzzers: what they found once, and a few seconds of each."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.fuzz_targets import TARGETS
from llmagent_os.agent.prompt import PromptTemplate
from llmagent_os.core import documents
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import GenerateRequest, Message, ToolSpec
from llmagent_os.flow import graph
from llmagent_os.llm import script
from llmagent_os.tools import named
from llmagent_os.tools.openapi import openapi_tools
from llmagent_os.tools.settings import Document

FOUND = [  # by atheris, 2026-11-25
    ("toolcalls", "Iyr//yMquP8="),
    ("openai", "26qrdXV1dXWrjY0AAAAAjY0/q6vs6uzq5A=="), ("anthropic", "AwAABAD4AG5ubvg="),
    ("policy", "m+vr9uvr6+v2+/4="), ("openapi", "DjIyMiY0+ec="),
    ("schema", "/HKz"),  # 2026-11-30
]  # fmt: skip
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: str) -> None:
    TARGETS[name](b64decode(data))


@pytest.mark.parametrize("data", [b"", b"[" * 5000, b"a: 2001-99-99", b"a: &a [*a]", b"\xff\xfe", b"? [a]\n: b"])
@pytest.mark.parametrize("name", TARGETS)
def test_odd_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("servers", [{"url": "/"}, [[]], ["/"], [{}], 1, [{"url": 1}], [{"url": "http://[/"}]])
async def test_servers_that_are_none_are_told(servers: Any, tmp_path: Path) -> None:
    (tmp_path / "document").write_text(json.dumps({"openapi": "3.1.0", "servers": servers}))
    with pytest.raises(InvalidRequest):
        await openapi_tools("odd", Document(str(tmp_path / "document")), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)  # it takes one minute; a busy machine has given it a tenth of a processor
def test_a_few_seconds_of_each_find_nothing(tmp_path: Path) -> None:
    """By one process for all: it takes longer to start than a parser is fuzzed."""
    pytest.importorskip("atheris", reason="it has wheels for Linux only")
    options = ["--seconds", "2", "--runs", "1000", "--long", "20", "--seed", "1", "--json"]
    command = [sys.executable, str(ROOT / "bench" / "fuzz.py"), *TARGETS, *options]
    with (tmp_path / "said").open("w") as said:
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=said, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["case"] for line in lines if line["metric"] == "executions" and line["value"] > 0} == TARGETS.keys()
    crashes = [line for line in lines if line["metric"].startswith("crashes") and line["value"]]
    assert not crashes, (tmp_path / "said").read_text()  # what they cost is left to the bench: it is of the machine


LONG = [sys.executable, str(ROOT / "bench" / "fuzz.py"), "--long", "8", "--largest", "6000", "--json"]


def test_long_inputs_are_read_or_refused(tmp_path: Path) -> None:
    """Always the same ones. What they cost is left to the bench: it depends on the machine."""
    done = subprocess.run(LONG, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    inputs = [line["value"] for line in lines if line["metric"] == "long inputs"]
    assert len(inputs) > 20 and set(inputs) == {8}, done.stderr
    assert {line["value"] for line in lines if line["metric"] == "crashes by long inputs"} == {0}, done.stderr


# -- what was found by reading, 2026-11-30

TAGGED = [
    "a: !!bool x", 'a: !!int ""', 'a: !!int "_"', 'a: !!float ""', "a: !!float [1]", "a: !!timestamp x",
    '? !!int ""\n: 1', "a: " + "1:" * 190 + "1.5", "a: " + "1:" * 5000 + "1", "a: !!float " + "1:" * 190 + "1",
]  # fmt: skip


@pytest.mark.parametrize("text", TAGGED)
def test_a_value_that_is_not_what_its_tag_says_is_no_yaml(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not YAML"):
        documents.read(text, "it")
    for read in (graph.load, lambda data, source: documents.foreign(data.encode(), source)):
        with suppress(InvalidRequest):  # what is a number to one is text, or a date as it is written, to another
            read(text, "it")


def test_a_number_without_an_end_is_refused_before_it_is_worked_out() -> None:
    for read in (documents.read, graph.load):
        with pytest.raises(InvalidRequest, match="a number has more than 400 characters"):
            read("a: " + "1:" * 100_000 + "1", "it")
    with pytest.raises(InvalidRequest, match="a number has more than 400 characters"):
        documents.foreign(b"a: !!int " + b"1:" * 100_000 + b"1", "it")


@pytest.mark.parametrize("name", ["!!binary aGk=", "0xfffffffffffffffffffff"])
def test_a_field_of_a_flow_that_json_cannot_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        graph.load(f"? {name}\n: 1", "it")


def test_yaml_is_read_by_the_parser_that_is_many_times_as_fast() -> None:
    parser = getattr(yaml, "CSafeLoader", None) or pytest.skip("this PyYAML has no parser in C")
    for loaders in (documents.LOADERS, graph._LOADERS):
        assert issubclass(loaders[0], parser) and not issubclass(loaders[-1], parser)


def test_what_only_the_other_parser_takes_is_read_all_the_same() -> None:
    assert documents.read("{a/b:}", "it") == graph.load("{a/b:}", "it") == [{"a/b": None}]
    assert documents.foreign(b"a: 1\n--- [", "it") == {"a": 1}  # the second document is nobody's business


def test_lines_are_known_whichever_parser_reads() -> None:
    (found,) = graph.load("nodes:\n  a:\n    agent: b\n\n  c: {agent: d}\n", "it")
    assert found["nodes"].lines == {"a": 2, "c": 5}


def test_a_template_may_have_very_many_variables_and_one_called_self() -> None:
    assert PromptTemplate(["self", "template"], "{self} {template}").format(self="a", template="b") == "a b"
    names = [f"a{n}" for n in range(40_000)]
    made = PromptTemplate(names, "".join(f"{{{name}}}" for name in names))
    assert made.format(**dict.fromkeys(names, "x")) == "x" * 40_000  # it took half a minute


@pytest.mark.parametrize(
    "rule",
    [{"match": 5}, {"match": None}, {"match": "a{99999999999}"}, {"match": "(" * 3000 + ")" * 3000}, {"step": "1"},
     {"text": ["a"]}, {"calls": "f"}, {"calls": [{}]}, {"calls": ["f"]}, {"calls": [{"name": "f", "arguments": []}]},
     {"error": 5}, {"error": {"type": "EngineFailed"}}, {"delay": "1"}, {"pace": -1}, {"piece": 0}, {"piece": True},
     {"x": 1}],
)  # fmt: skip
def test_a_rule_of_a_script_that_is_none_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        script.rules([rule])


def test_a_call_in_a_text_whose_arguments_have_no_end_is_refused() -> None:
    deep = 'call fetch with {"a":' + '{"a":' * 5000
    with pytest.raises(InvalidRequest, match="there is no JSON object"):
        script.follow(GenerateRequest("m", (Message("user", deep),), tools=(ToolSpec("fetch"),)))


def test_code_with_more_patterns_than_are_tried_names_every_file() -> None:
    files = ["a.txt", "b.txt"]
    assert list(named._named(files, ["cat a*.txt"])) == ["a.txt"]
    assert list(named._named(files, [" ".join(f"z{n}*" for n in range(named.PATTERNS + 1))])) == files
    assert list(named._named(files, ["z*" * 200])) == files
    assert list(named._named(files, [" ".join(f"z{n}*" for n in range(named.PATTERNS))])) == []


def test_mappings_that_are_merged_into_one_another_double_only_so_often() -> None:
    small = "a0: &a0 {k: 1}\na1: &a1 {<<: *a0, l: 2}\na2: {<<: [*a0, *a1]}"
    assert documents.one(small, "it")["a2"] == {"k": 1, "l": 2}
    double = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
    wide = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(2000)) + "}\nb: [" + "{<<: *a}, " * 5000 + "]"
    for read, text in (
        (documents.read, double), (documents.read, wide), (graph.load, double),
        (lambda data, source: documents.foreign(data.encode(), source), wide),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest, match="more than 100000 names are merged"):
            read(text, "it")


FOREIGN = [
    ("{a: NO, b: on, c: 012, d: 0x1F, e: 1_000, f: 12:30, g: 2001-01-01}",
     {"a": "NO", "b": "on", "c": "012", "d": "0x1F", "e": "1_000", "f": "12:30", "g": "2001-01-01"}),
    ("a: [~, null, true, FALSE, 1, -2, 1.5, 1e3, '1', \"~\", !!str 5, !!int 12, !!float 2.5]",
     {"a": [None, None, True, False, 1, -2, 1.5, 1000.0, "1", "~", "5", 12, 2.5]}),
    ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: {c: 4, <<: [{b: 9}, *x]}\nf: {'<<': 1}\ng: [<<]",
     {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}, "e": {"b": 9, "c": 4}, "f": {"<<": 1}, "g": ["<<"]}),
    ("a: &x [1]\nb: *x\nc:\n-\n- |\n  t\n", {"a": [1], "b": [1], "c": [None, "t\n"]}),
    ("", None), ("- a\n--- [", ["a"]), ("{a/b:}", {"a/b": None}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), FOREIGN)
def test_yaml_of_others_is_read_by_the_schema_of_json(text: str, meant: Any) -> None:
    assert documents.foreign(text.encode(), "it") == meant


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: *b", "<<: [1]", "? [k]\n: 1", "!!set {a}", "!!omap [a: 1]", "a: !!x 1", "a: &a {<<: *a}"]
)
def test_what_json_does_not_have_is_refused_in_yaml_of_others(text: str) -> None:
    with pytest.raises(InvalidRequest, match="it is not YAML"):
        documents.foreign(text.encode(), "it")


@pytest.mark.parametrize("piece", ["-\n", "a,", "- {}\n", "? a\n", "- &a a\n", "- !!str a\n", "{a: {}},", "- -1\n"])
def test_yaml_of_others_takes_time_by_its_length_and_no_more_values_than_that_is_for(piece: str) -> None:
    text = ("[" if piece.endswith(",") else "") + piece * (1_000_000 // len(piece))
    began = time.thread_time()
    with suppress(InvalidRequest):
        documents.foreign(text.encode(), "it")
    assert time.thread_time() - began < 2.0  # it took up to 4 s


@pytest.mark.parametrize("part", ["[", "{", "- ", "? ", "{a: ", '{"a":', "a: {"])
def test_what_is_nested_without_an_end_is_refused_at_the_first_level_too_many(part: str) -> None:
    for read in (documents.read, graph.load, lambda data, source: documents.foreign(data.encode(), source)):
        with pytest.raises(InvalidRequest, match="it is nested deeper than 100 levels"):
            read(part * 100_000, "it")  # both parsers took time by the square of it


def test_what_is_nested_as_deep_as_may_be_is_read() -> None:
    for read in (documents.read, graph.load):
        assert read("[" * 100 + "]" * 100, "it")
        with pytest.raises(InvalidRequest, match="it is nested deeper than 100 levels"):
            read("[" * 101 + "]" * 101, "it")
