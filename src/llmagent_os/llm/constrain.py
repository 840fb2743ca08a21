"""Constrained answers as one llguidance grammar (Lark): what a schema, choices or tools allow the model to say.

The llamacpp and transformers engines both decode under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from llguidance import LLMatcher

from ..core import codec
from ..core.errors import InvalidRequest, Unsupported
from ..core.records import GenerateRequest, ToolSpec

# One fixed way to write JSON: a weak model that may add white space sometimes never stops adding it.
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}


def grammar(request: GenerateRequest) -> str | None:
    """The grammar a request asks for, or None.

    Raises InvalidRequest for a schema that is not one, Unsupported for one that cannot be decoded under.
    """
    if enveloped(request):
        text = _tool_rules(request.offered(), request)
    elif request.schema is not None:
        text = _json(request.schema, "schema")
    elif request.choices is not None:
        text = " | ".join(map(_literal, request.choices))
    else:
        return None
    text = f"%llguidance {{}}\nstart: {text}"
    if problem := _problem(text):  # the engine would only ignore the grammar
        raise Unsupported(f"this schema cannot constrain an answer: {problem}", parameter="schema")
    return text


def enveloped(request: GenerateRequest) -> bool:
    """Whether an answer comes in the envelope of tool requests: where tools are on offer, or were used before.

    A model that sees its own requests goes on in their form: without tools it would write one out as its answer.
    """
    return bool(request.offered()) or (request.choices is None and any(each.tool_calls for each in request.messages))


@lru_cache(maxsize=256)
def _problem(text: str) -> str:
    """What llguidance says against a grammar; empty when it compiles."""
    message: str = LLMatcher.validate_grammar(text)
    return message.partition("\n")[0].partition("failed to compile JSON schema: ")[2] or message


def verify(request: GenerateRequest, text: str) -> None:
    """Raise Unsupported if a finished answer breaks its constraint: engines drop a grammar they find too large."""
    if request.sampling.stop:
        return  # a stop string of the caller's may cut anywhere
    if request.schema is not None and not enveloped(request) and not _is_json(text):
        raise Unsupported("the engine cannot follow this schema; simplify it", parameter="schema", text=text)
    if request.choices is not None and text not in request.choices:
        raise Unsupported("the engine cannot keep to these choices", parameter="choices", text=text)


def _tool_rules(tools: tuple[ToolSpec, ...], request: GenerateRequest) -> str:
    """Each branch has its own root, so that `$ref` in a tool's parameters keeps its meaning."""
    rules = [
        _enclosed(call_opening(tool.name), _json(tool.parameters, f"tools.{tool.name}", lenient=True)) for tool in tools
    ]
    if request.tool_choice in ("auto", "none"):
        schema = {"type": "string"} if request.schema is None else request.schema
        rules.append(_enclosed(ANSWER, _json(schema, "schema")))
    return " | ".join(rules)


def _enclosed(opening: str, value: str) -> str:
    return f"{_literal(opening)} {value} {_literal('}')}"


ANSWER = '{"tool": "none", "answer": '


def call_opening(name: str) -> str:
    """The fixed text before a tool's arguments; one `}` follows them."""
    return f'{{"tool": {codec.dumps(name).decode()}, "args": '


def _literal(text: str) -> str:
    return codec.dumps(text).decode()


def _json(schema: Mapping[str, Any], parameter: str, lenient: bool = False) -> str:
    """A JSON value under a schema; `lenient` passes over keywords that llguidance lacks (a tool checks its own)."""
    return _rule(codec.dumps(schema), parameter, lenient)


@lru_cache(maxsize=256)
def _rule(text: bytes, parameter: str, lenient: bool) -> str:
    """Checking a schema takes milliseconds, and agents send the same ones again and again."""
    schema = codec.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidRequest(f"{parameter} is not a JSON schema: {error.message}", parameter=parameter) from error
    return "%json " + codec.dumps({**closed(schema), "x-guidance": {**_STYLE, "lenient": lenient}}).decode()


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without room for properties it does not name: a weak model invents them without end.

    What fits the result fits the schema. Objects that are put together from parts, and schemas with `allOf`, are left
    as they are: a part must not forbid what another part demands.
    """
    return dict(schema) if b'"allOf"' in codec.dumps(schema) else _closed(schema)


_OPEN = frozenset({"additionalProperties", "patternProperties", "unevaluatedProperties", "anyOf", "oneOf", "$ref"})


def _closed(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    result = dict(schema)
    for key in ("properties", "$defs", "definitions"):
        if key in schema:
            result[key] = {name: _closed(part) for name, part in schema[key].items()}
    for key in ("anyOf", "oneOf", "prefixItems"):
        if key in schema:
            result[key] = [_closed(part) for part in schema[key]]
    if "items" in schema:
        result["items"] = _closed(schema["items"])
    if "properties" in schema and not _OPEN & schema.keys():
        result["additionalProperties"] = False
    return result


def _is_json(text: str) -> bool:
    try:
        codec.loads(text)
    except ValueError:
        return False
    return True
