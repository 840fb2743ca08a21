"""JSON schemas as strategies of hypothesis: those of the draft, and those that clients make of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

from llmagent_os.core import schemas

KINDS = ["string", "integer", "number", "boolean", "null", "object", "array"]
NAMES = st.sampled_from(["a", "b", "type", "中"])
PATTERNS = st.sampled_from([
    "^a+$", "[0-9]{2}", r"^\d+-\w*$", r"^(?!\.)(?!.*\.\.)[a-z.]+@([a-z]+\.)+[a-z]{2,}$", "^(?=a)", r"(a|b)\1",
    "^.{1,200}$", "(?<=a)b", "^(a+)+$", "[",
])  # fmt: skip
FORMATS = st.sampled_from(["date", "date-time", "email", "uri", "uuid", "ipv4", "regex", "no-such"])
NUMBERS = st.sampled_from([0, 1, -1, 2.5, 100, 2**63, -(2**63), 1e308, -1e308, 1e-300, 10**20])
COUNTS = st.integers(0, 3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from(["", "a", "object", "中", "😀"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
REFERENCES = st.sampled_from(["#", "#/$defs/one", "#/$defs/two parts", "#/$defs/two%20parts", "#/properties/a", "#x"])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A few of some keywords."""
    return st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in names})
    )


def kind(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema of a type, alone or in a list, with keywords of its own."""
    types = st.sampled_from([name, name, [name, "null"], [name, "string"]])
    return st.builds(lambda said, rest: {"type": said, **rest}, types, some(**fields))


LEAVES = st.one_of(
    st.just({}),
    st.booleans(),
    kind("string", minLength=COUNTS, maxLength=st.sampled_from([3, 10**9]), pattern=PATTERNS, format=FORMATS),
    kind("integer", minimum=NUMBERS, maximum=NUMBERS, exclusiveMinimum=NUMBERS, multipleOf=st.sampled_from([2, 7])),
    kind("number", minimum=NUMBERS, maximum=NUMBERS, exclusiveMaximum=NUMBERS, multipleOf=st.sampled_from([2, 0.5])),
    st.builds(lambda name: {"type": name}, st.lists(st.sampled_from(KINDS), min_size=1, unique=True)),
    st.builds(lambda value: {"const": value}, VALUES),
    st.builds(lambda values: {"enum": values}, st.lists(VALUES, max_size=3)),
    st.builds(lambda pointer: {"$ref": pointer}, REFERENCES),
)


def inner(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas made of others."""
    parts = st.lists(part, min_size=1, max_size=2)
    named = st.dictionaries(NAMES, part, max_size=3)
    return st.one_of(
        objects(part, named),
        kind("array", items=part, prefixItems=parts, contains=part, minItems=COUNTS, maxItems=COUNTS,
             uniqueItems=st.booleans(), minContains=COUNTS, unevaluatedItems=part),
        some(allOf=parts, anyOf=parts, oneOf=parts),
        st.builds(lambda left, key, right: {key: [left, right]}, part, st.sampled_from(["anyOf", "allOf"]), part),
        st.builds(lambda said: {"not": said}, part),
        some(**{"if": part, "then": part, "else": part, "properties": named}),
    )  # fmt: skip


def objects(part: st.SearchStrategy[Any], named: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of objects."""
    return st.builds(
        lambda properties, more: {"type": "object", "properties": properties, **more},
        named,
        some(
            required=st.lists(NAMES, max_size=2, unique=True), additionalProperties=part,
            patternProperties=st.dictionaries(PATTERNS, part, max_size=1), propertyNames=part, minProperties=COUNTS,
            maxProperties=COUNTS, dependentRequired=st.dictionaries(NAMES, st.lists(NAMES, unique=True), max_size=1),
            dependentSchemas=st.dictionaries(NAMES, part, max_size=1), unevaluatedProperties=part,
        ),
    )  # fmt: skip


PARTS = st.recursive(LEAVES, inner, max_leaves=6)
ODD = st.sampled_from([
    {}, {}, {}, {"required": None}, {"title": None, "description": None}, {"examples": {"x": {"value": 1}}},
    {"nullable": True}, {"x-guidance": {"lenient": 1}}, {"$schema": "http://json-schema.org/draft-07/schema#"},
    {"properties": None}, {"properties": []}, {"definitions": {"x": {"type": "STRING", "nullable": True}}},
    {"properties": {"a": {"type": "integer", "exclusiveMinimum": True, "minimum": 3, "required": True}}},
    {"properties": {"a": {"type": "array", "items": [{"type": "string"}], "additionalItems": False}}},
    {"properties": {"a": {"type": "strng"}}}, {"properties": {"a": "string"}}, {"$id": "https://example.org/x"},
])  # fmt: skip
DEFINITIONS = st.fixed_dictionaries({}, optional={"one": PARTS, "two parts": PARTS})
SCHEMAS = st.builds(
    lambda root, odd, defined: {**root, **odd, "$defs": defined},
    st.one_of(objects(PARTS, st.dictionaries(NAMES, PARTS, max_size=3)), PARTS.filter(lambda part: part != {})).filter(
        lambda root: isinstance(root, dict)
    ),
    ODD,
    DEFINITIONS,
)
"""Schemas of an answer, or of a tool's arguments; some are none, and some allow no value."""


def valid(schema: dict[str, Any], value: Any) -> bool:
    """What another implementation says; of a schema that is none of the draft's, once it is read as it is meant."""
    try:
        Draft202012Validator.check_schema(schema)
        other = "'nullable'" in str(schema)
    except SchemaError:
        other = True
    if other:
        schema = schemas.meant(schema, "the schema", "schema")
    return Draft202012Validator(schema, registry=Registry()).is_valid(value)
