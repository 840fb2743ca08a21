"""Constrained answers as one llguidance grammar (Lark): what a schema, choices or tools allow the model to say.

The llamacpp and transformers engines both decode under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from ..core import codec
from ..core.errors import InvalidRequest, Unsupported
from ..core.records import GenerateRequest, ToolSpec

_HEADER = "%llguidance {}\n"
# One fixed way to write JSON: a weak model that may add white space sometimes never stops adding it.
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}


def grammar(request: GenerateRequest) -> str | None:
    """The grammar a request asks for, or None. Raises InvalidRequest for a schema that is not one."""
    tools = offered(request)
    if tools:
        return _HEADER + _tool_rules(tools, request)
    if request.schema is not None:
        return f"{_HEADER}start: {_json(request.schema, 'schema')}"
    if request.choices is not None:
        return f"{_HEADER}start: {' | '.join(map(_literal, request.choices))}"
    return None


def offered(request: GenerateRequest) -> tuple[ToolSpec, ...]:
    """The tools the model may ask for under the request's `tool_choice`."""
    if request.tool_choice == "none":
        return ()
    if request.tool_choice in ("auto", "required"):
        return request.tools
    return tuple(tool for tool in request.tools if tool.name == request.tool_choice)


def verify(request: GenerateRequest, text: str) -> None:
    """Raise Unsupported if a finished answer breaks its constraint: engines drop a grammar they cannot compile."""
    if request.sampling.stop:
        return  # a stop string of the caller's may cut anywhere
    if request.schema is not None and not offered(request) and not _is_json(text):
        raise Unsupported("the engine cannot follow this schema; simplify it", parameter="schema", text=text)
    if request.choices is not None and text not in request.choices:
        raise Unsupported("the engine cannot keep to these choices", parameter="choices", text=text)


def _tool_rules(tools: tuple[ToolSpec, ...], request: GenerateRequest) -> str:
    """Each branch has its own root, so that `$ref` in a tool's parameters keeps its meaning."""
    rules = [
        f"{_literal(call_opening(tool.name))} {_json(tool.parameters, f'tools.{tool.name}')} {_literal('}')}"
        for tool in tools
    ]
    if request.tool_choice == "auto":
        schema = {"type": "string"} if request.schema is None else request.schema
        rules.append(f"{_literal(ANSWER)} {_json(schema, 'schema')} {_literal('}')}")
    return "start: " + " | ".join(rules)


ANSWER = '{"answer": '


def call_opening(name: str) -> str:
    """The fixed text before a tool's arguments; one `}` follows them."""
    return f'{{"tool": {codec.dumps(name).decode()}, "args": '


def _literal(text: str) -> str:
    return codec.dumps(text).decode()


def _json(schema: Mapping[str, Any], parameter: str) -> str:
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        raise InvalidRequest(f"{parameter} is not a JSON schema: {error.message}", parameter=parameter) from error
    return "%json " + codec.dumps({**schema, "x-guidance": _STYLE}).decode()


def _is_json(text: str) -> bool:
    try:
        codec.loads(text)
    except ValueError:
        return False
    return True
