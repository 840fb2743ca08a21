"""Constrained answers as one llguidance grammar (Lark): what a schema, choices or tools allow the model to say.

The llamacpp and transformers engines both decode under it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from ..core import codec, schemas
from ..core.errors import Unsupported
from ..core.outside import outside
from ..core.records import GenerateRequest, ToolSpec
from ..core.remembered import remembered

# One fixed way to write JSON: a weak model that may add white space sometimes never stops adding it.
_STYLE = {
    "whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True,
    "lenient": True,  # keywords that it lacks are passed over, and looked at afterwards
}  # fmt: skip


async def grammar_of(request: GenerateRequest) -> str | None:
    """The grammar of a request; a large one is compiled in another process. Raises as `grammar` does, and

    InvalidRequest where that takes too long.
    """
    held = [request.tools, request.tool_choice, request.schema, request.choices, enveloped(request)]
    packed = codec.dumps(held)
    if len(packed) <= HEAVY:
        return grammar(request)
    key = hashlib.blake2b(packed).digest()
    if key not in _LATE:
        text = await outside(grammar, request, source="what the answer is held to", seconds=COMPILING)
        while len(_LATE) >= FEW:
            del _LATE[next(iter(_LATE))]
        _LATE[key] = text
    return _LATE[key]


HEAVY = 1 << 14  # bytes of what an answer is held to, from which on it is compiled elsewhere
COMPILING = 30.0  # seconds that this may take, on a machine that has others too
FEW = 16
_LATE: dict[bytes, str | None] = {}
"""The last few large grammars, by what they are made of: the next turn of an agent has the same one."""


def grammar(request: GenerateRequest) -> str | None:
    """The grammar a request asks for, or None. Its schemas are as `schemas.fitted` gives them.

    What a grammar cannot hold of a schema is left out of it: `schemas.verify` looks at the answer. Raises Unsupported,
    which names the tool, for a schema that no answer can follow.
    """
    if enveloped(request):
        text = _tool_rules(request.offered(), request)
    elif request.schema is not None:
        text = _json(request.schema, "the schema", "schema")
    elif request.choices is not None:
        text = "CHOICE\nCHOICE: " + " | ".join(map(_literal, request.choices))  # by one word of it: any number
    else:
        return None
    text = _HEAD + text
    if problem := _problem(text):  # the engine would only ignore the grammar
        what = "tools" if enveloped(request) else "schema" if request.choices is None else "choices"
        raise Unsupported(f"{what} cannot constrain an answer together: {problem}", parameter=what)
    return text


def enveloped(request: GenerateRequest) -> bool:
    """Whether an answer comes in the envelope of tool requests: where tools are on offer, or were used before.

    A model that sees its own requests goes on in their form: without tools it would write one out as its answer.
    """
    return bool(request.offered()) or (request.choices is None and any(each.tool_calls for each in request.messages))


_HEAD = "%llguidance {}\nstart: "


@remembered(256)
def _problem(text: str) -> str:
    """What llguidance says against a grammar; empty when it compiles."""
    message: str = LLMatcher.validate_grammar(text)
    if not message and len(text) > _LARGE:
        message = _stumbles(text)
    return message.partition("\n")[0].partition("failed to compile JSON schema: ")[2] or message


_LARGE = 8_000
"""Characters of a grammar below which no row of its parser is too wide."""


@cache
def _bytes() -> LLTokenizer:
    return LLTokenizer("byte")


def _stumbles(text: str) -> str:
    """Why the parser gives up at an answer's beginning; empty: it does not. It holds so many ways to go on, and says
    only there that there are more."""
    matcher = LLMatcher(_bytes(), text, log_level=0)
    for _ in range(2):
        first = next((token for token, bias in enumerate(matcher.compute_logit_bias()[:256]) if bias), None)
        if first is None or not matcher.consume_token(first):
            break
    return str(matcher.get_error()).partition("\n")[0]


def _tool_rules(tools: tuple[ToolSpec, ...], request: GenerateRequest) -> str:
    """Each branch has its own root, so that `$ref` in a tool's parameters keeps its meaning."""
    rules = [
        _enclosed(call_opening(tool.name), _json(tool.parameters, f"tool {tool.name!r}", "tools")) for tool in tools
    ]
    if request.tool_choice in ("auto", "none"):
        schema = {"type": "string"} if request.schema is None else request.schema
        rules.append(_enclosed(ANSWER, _json(schema, "the schema", "schema")))
    return " | ".join(rules)


def _enclosed(opening: str, value: str) -> str:
    return f"{_literal(opening)} {value} {_literal('}')}"


ANSWER = '{"tool": "none", "answer": '


def call_opening(name: str) -> str:
    """The fixed text before a tool's arguments; one `}` follows them."""
    return f'{{"tool": {codec.dumps(name).decode()}, "args": '


def _literal(text: str) -> str:
    return codec.dumps(text).decode()


def _json(schema: Mapping[str, Any], what: str, parameter: str) -> str:
    """A JSON value under as much of a schema as a grammar can hold; raises Unsupported for one that has no value."""
    rule, problem = _rule(codec.dumps(schema))
    if problem:
        raise Unsupported(f"{what} cannot constrain an answer: {problem}", parameter=parameter)
    return rule


@remembered(256)
def _rule(text: bytes) -> tuple[str, str]:
    """The first form of a schema that compiles, and nothing; or nothing, and why no value can be valid under it.

    Compiling takes milliseconds, and agents send the same ones again and again.
    """
    for schema in _weaker(codec.loads(text)):
        form = {**closed(schema), "x-guidance": _STYLE}
        rule = "%json " + codec.dumps(form).decode()
        problem = _problem(_HEAD + rule)
        if not problem:
            return rule, ""
        if "nsatisfiable" in problem:
            return "", problem
    return "%json {}", ""


def _weaker(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema, then with less and less in it: without patterns that no automaton follows, without texts, numbers."""
    yield schema
    yield schemas.rebuilt(schema, _held)
    yield schemas.rebuilt(schema, partial(_without, _TEXTS))
    yield schemas.rebuilt(schema, partial(_without, _TEXTS | _SIZES))
    yield {"type": schema["type"]} if "type" in schema else {}


_TEXTS = frozenset({"pattern", "format", "patternProperties", "propertyNames"})
_SIZES = schemas.BOUNDS | schemas.COUNTS


def _without(keys: frozenset[str], part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in keys}


def _held(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a schema without the patterns that a grammar cannot hold, such as those that look ahead."""
    kept = {key: value for key, value in part.items() if key != "pattern" or _follows(value)}
    if "patternProperties" in kept:
        named = kept["patternProperties"]
        kept["patternProperties"] = {pattern: one for pattern, one in named.items() if _follows(pattern)}
    return kept


@remembered(1024)
def _follows(pattern: str) -> bool:
    rule = {"type": "string", "pattern": pattern, "x-guidance": _STYLE}
    return not _problem(f"{_HEAD}%json {codec.dumps(rule).decode()}")


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without room for properties it does not name: a weak model invents them without end.

    What fits the result fits the schema. Objects that are put together from parts, and schemas with `allOf`, are left
    as they are: a part must not forbid what another part demands.
    """
    return dict(schema) if b'"allOf"' in codec.dumps(schema) else _closed(schema)


_OPEN = frozenset({
    "additionalProperties", "patternProperties", "unevaluatedProperties", "anyOf", "oneOf", "$ref", "if",
    "dependentSchemas", "minProperties",
})  # fmt: skip


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
        unnamed: dict[str, Any] = {name: {} for name in schema.get("required", ()) if name not in schema["properties"]}
        result |= {"properties": result["properties"] | unnamed, "additionalProperties": False}
    return result
