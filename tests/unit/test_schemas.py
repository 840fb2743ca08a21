"""JSON schemas read as they are meant, and values held against them: beside another implementation."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from llmagent_os.core import codec, schemas
from llmagent_os.core.errors import InvalidRequest, Unsupported
from llmagent_os.core.records import GenerateRequest, Message, ToolCall, ToolSpec
from llmagent_os.core.validity import Unknown, fault
from llmagent_os.llm.instance import Impossible, smallest
from tests.stand_ins.schemas import SCHEMAS, VALUES, valid

PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def one(**said: Any) -> dict[str, Any]:
    """A schema of an object with one property."""
    return {"type": "object", "properties": {"a": said}, "required": ["a"]}


def meant(schema: Any) -> Any:
    return schemas.meant(schema, "tool 't'", "at")


@PROPERTY
@given(SCHEMAS, VALUES, VALUES)
def test_it_says_of_a_value_what_others_say(schema: Any, left: Any, right: Any) -> None:
    try:
        read = meant(schema)
    except InvalidRequest as error:
        assert "tool 't'" in error.message and str(error.facts["parameter"]).startswith("at")
        return
    assert meant(read) == read  # read twice, it says the same
    for value in (left, {"a": left, "b": right}, [left, right]):
        try:
            found = fault(read, value)
        except Unknown:
            continue
        assert (found is None) == valid(schema, value), found


@PROPERTY
@given(SCHEMAS)
def test_a_small_value_is_valid_or_there_is_none(schema: Any) -> None:
    try:
        value = smallest(meant(schema))
    except (InvalidRequest, Impossible):
        return
    assert valid(schema, codec.loads(codec.dumps(value)))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"type": ["string", None]}, {"type": ["string", "null"]}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "enum": ["x"], "nullable": True}, {"type": ["string", "null"], "enum": ["x", None]}),
        ({"$ref": "#/$defs/x", "nullable": True}, {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}),
        ({"type": "any", "title": None}, {}),
        ({"examples": {"x": {"value": 1}}}, {"examples": [1]}),
        ({"examples": 1, "default": None}, {"examples": [1], "default": None}),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 3}),
        ({"minimum": 3, "exclusiveMinimum": False}, {"minimum": 3}),
        ({"items": [{}], "additionalItems": False}, {"prefixItems": [{}], "items": False}),
        ({"dependencies": {"a": ["b"], "c": {}}}, {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {}}}),
        ({"properties": {"b": {"required": True}}}, {"properties": {"b": {}}, "required": ["b"]}),
        ({"properties": [], "required": None, "anyOf": [], "items": None}, {"properties": {}}),
        ({"properties": {"b": None}}, {"properties": {"b": {}}}),
        ({"maximum": 10**400, "minimum": 2**70, "maxLength": 1e300}, {"minimum": float(2**70)}),
        ({"const": None}, {"const": None}),
        ({"x-guidance": {"lenient": False}}, {}),
    ],
)
def test_what_clients_write_is_read_as_it_is_meant(said: Any, read: Any) -> None:
    assert meant({**one(**said), "$defs": {"x": {}}})["properties"]["a"] == read


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/components/schemas/x", "components": {"schemas": {"x": one(type="STRING")}}},
        {"$id": "https://example.org/a", "$ref": "https://example.org/a#/$defs/x", "$defs": {"x": one(type="string")}},
        {"$ref": "#here", "$defs": {"x": {"$anchor": "here", **one(type="string")}}},
        {"$ref": "b.json", "$defs": {"x": {"$id": "https://example.org/b.json", **one(type="string")}}},
        {"$ref": "#/$defs/of[x, y]", "$defs": {"of[x, y]": one(type="string")}},
        {"$ref": "#/definitions/a~1b", "definitions": {"a/b": one(type="string")}},
    ],
)
def test_references_lead_where_they_say(schema: Any) -> None:
    assert fault(meant(schema), {"a": "x"}) is None
    assert str(fault(meant(schema), {"a": 1})) == "a is 1, not string"


@pytest.mark.parametrize(
    ("schema", "part", "says"),
    [
        (one(type="strng"), "properties.a.type", "did you mean 'string'?"),
        (one(type=[]), "properties.a.type", "empty"),
        (one(pattern="["), "properties.a.pattern", "regular expression"),
        (one(const=2**70), "", "64-bit"),
        (one(enum="x"), "properties.a.enum", "not a list"),
        (one(enum=[]), "properties.a", "no value"),
        (one(anyOf=[{"type": "integer"}, {"minLength": -1}]), "properties.a.anyOf[1].minLength", "number of things"),
        (one(multipleOf=0), "properties.a.multipleOf", "above 0"),
        (one(**{"$ref": "#/nowhere"}), "properties.a.$ref", "$defs"),
        (one(**{"$ref": "https://example.org/x"}), "properties.a.$ref", "$defs"),
        ({"properties": {"a": "string"}}, "properties.a", "no schema"),
        ({"properties": [1]}, "properties", "by name"),
        ({"required": ["a", 1]}, "required", "names"),
        ({"$ref": "#"}, "$ref", "without end"),
        ({"allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"anyOf": [{"$ref": "#"}]}}}, "$ref", "without end"),
        (one(**{"$ref": "#"}), "properties.a", "without end"),
    ],
)
def test_what_is_wrong_is_named_with_its_part(schema: Any, part: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match="tool 't'") as caught:
        meant(schema)
    assert str(caught.value.facts["parameter"]).endswith(part) and says in caught.value.message


def test_a_tool_takes_an_object() -> None:
    assert schemas.arguments(ToolSpec("t", "", {}), "at").parameters == {"type": "object"}
    assert schemas.arguments(ToolSpec("t", "", {"type": ["null", "object"]}), "at").parameters == {"type": "object"}
    with pytest.raises(InvalidRequest, match="an object") as caught:
        schemas.arguments(ToolSpec("t", "", {"type": "string"}), "tools[0].parameters")
    assert caught.value.facts["parameter"] == "tools[0].parameters.type"


def test_a_schema_without_faults_stays_what_it_was() -> None:
    request = GenerateRequest("m", tools=(ToolSpec("t", "", one(type="string")),), schema=one(type="integer"))
    assert schemas.fitted(request) is request


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)} | {"d3000": {}}},
        {"anyOf": [{"const": i} for i in range(20_000)]},
        {"properties": {str(i): {"$ref": "#"} for i in range(4000)}},
    ],
)
def test_a_schema_that_is_too_much_is_told_soon(schema: Any) -> None:
    start = time.process_time()
    try:
        meant(schema)
    except InvalidRequest as error:
        assert "tool 't'" in error.message
    assert time.process_time() - start < 2


def test_a_deep_schema_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(80):
        schema = {"properties": {"a": schema}}
    with pytest.raises(InvalidRequest, match="deeper"):
        meant(schema)


def test_a_check_that_takes_too_long_is_given_up() -> None:
    schema = meant({"anyOf": [{"contains": {"contains": {"contains": {"minimum": i}}}} for i in range(40)]})
    start = time.process_time()
    with pytest.raises(Unknown):
        fault(schema, [[[-1.0] * 50] * 50] * 50)
    assert time.process_time() - start < 5


def test_a_call_that_breaks_its_schema_names_the_tool_and_the_part() -> None:
    request = GenerateRequest("m", tools=(ToolSpec("mail", "", one(type="string", pattern="^(?!x)")), ToolSpec("t")))
    schemas.verify_calls(
        request, [ToolCall("1", "mail", {"a": "a"}), ToolCall("2", "t", {"x": 1}), ToolCall("3", "z", {})]
    )
    with pytest.raises(Unsupported, match=r"tool 'mail': .*: a is 'x1', which does not match"):
        schemas.verify_calls(request, [ToolCall("1", "mail", {"a": "x1"})])


def test_a_large_schema_is_read_once() -> None:
    sent = {"type": "object", "properties": {f"p{n}": {"type": "string", "pattern": f"^a{n}$"} for n in range(4000)}}
    known = schemas.meant(sent, "it", "")
    began = time.thread_time()
    assert schemas.meant(known, "it", "") is known and known == sent
    request = GenerateRequest("m", (Message("user", "x"),), schema=known)
    assert schemas.fitted(request) is request
    assert time.thread_time() - began < 0.01  # it took 0.3 s, on the loop


def test_a_value_that_is_too_deep_to_be_shown_is_judged() -> None:
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    found = fault({"type": "string"}, deep)
    assert found is not None and "nested too deeply" in found.text
