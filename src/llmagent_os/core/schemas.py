"""JSON schemas as clients, servers and libraries send them, read as they are meant: one check, before any engine.

What comes out is in the words of draft 2020-12, whatever dialect it was in: nothing is null that may not be, every
`$ref` is a pointer into the schema itself, patterns can be read, and some value can be valid.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from . import codec
from .errors import InvalidRequest, Unsupported, nearest
from .patterns import Unreadable, compiled
from .records import GenerateRequest, Json, ToolCall, ToolSpec
from .remembered import LARGE, remembered
from .validity import KINDS, Unknown, at, fault, shown

DEEPEST = 60  # schemas in one another: every engine's own reader has room for that
REACH = 1600  # the same with references followed, and the lists and names between them counted
MOST = 5000  # schemas in one
_HUGE = 2**53  # lengths and counts

_ROUNDS = 20  # of looking for parts that have an end
BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
COUNTS = frozenset({
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains",
})  # fmt: skip
_ONE = frozenset({
    "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames", "not", "if",
    "then", "else", "items", "contentSchema",
})  # fmt: skip
_LISTS = frozenset({"prefixItems", "anyOf", "oneOf", "allOf"})
_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})


class Wrong(ValueError):
    """What is wrong with a schema, and in which part of it (`properties.to.type`; empty: all of it)."""

    def __init__(self, part: str, text: str) -> None:
        super().__init__(text)
        self.part, self.text = part, text


def meant(schema: Any, what: str, parameter: str) -> dict[str, Json]:
    """A schema as it is meant; itself, where it says it so. It is shared: do not change it.

    Raises InvalidRequest, which says `what` it is of (such as `tool 'mail'`) and the part that is wrong; the error's
    `parameter` is that part below the given one.
    """
    return _sized(schema, what, parameter)[0]


def _sized(schema: Any, what: str, parameter: str) -> tuple[dict[str, Json], int]:
    """What `meant` gives, and how long the schema was that was sent."""
    size = LARGE + 1
    if isinstance(schema, _Large):
        return schema, size
    try:
        size = len(data := codec.dumps(schema))
        found = _known(data)
        if found == schema:
            return (schema if size <= LARGE else _Large(schema)), size
    except TypeError:  # it has an integer over 64 bits, which is no harm as a bound
        try:
            found = _encoded(_read(deepcopy(schema)))
        except RecursionError:
            found = Wrong("", f"is nested deeper than {DEEPEST} levels; flatten it")
    if isinstance(found, Wrong):
        place = ".".join(filter(None, (parameter, found.part)))
        raise InvalidRequest(f"{what}: {found.part or 'its schema'} {found.text}", parameter=place)
    return (found if size <= LARGE else _Large(found)), size


class _Large(dict[str, Json]):
    """A schema as it is meant, and too large to be remembered: so it is not read again at every turn."""


def arguments(tool: ToolSpec, parameter: str) -> ToolSpec:
    """A tool with its parameters as they are meant, an object; `parameter` is where they stand. Raises as `meant`."""
    known = _TOOLS.get(id(tool))
    if known is not None:
        return known[1]
    what = f"tool {tool.name!r}"
    parameters, size = _sized({} if tool.parameters is None else tool.parameters, what, parameter)
    kind = parameters.get("type", "object")
    if "object" not in ([kind] if isinstance(kind, str) else kind):
        text = f"{what}: type is {kind!r}; the arguments of a tool are an object"
        raise InvalidRequest(text, parameter=f"{parameter}.type")
    if parameters.get("type") != "object":
        parameters = {**parameters, "type": "object"}
    found = tool if parameters is tool.parameters else replace(tool, parameters=parameters)
    if size > LARGE:
        return found
    if len(_TOOLS) >= _KEPT:
        _TOOLS.clear()
    _TOOLS[id(tool)], _TOOLS[id(found)] = (tool, found), (found, found)
    return found


_KEPT = 1024
_TOOLS: dict[int, tuple[ToolSpec, ToolSpec]] = {}
"""Tools by identity, which holds while they are kept here, with what was made of them: agents send the same ones."""


def fitted(request: GenerateRequest) -> GenerateRequest:
    """The request with its schemas as they are meant; raises InvalidRequest that names the tool, and the part."""
    if not request.tools and request.schema is None:
        return request
    tools = tuple(arguments(tool, f"tools[{i}].parameters") for i, tool in enumerate(request.tools))
    schema = None if request.schema is None else meant(request.schema, "the schema", "schema")
    kept = schema is request.schema and all(map(operator.is_, tools, request.tools))
    return request if kept else replace(request, tools=tools, schema=schema)


def rebuilt(schema: Any, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    """A schema each part of which was changed, from the inside out; what is data or a name in it is left alone."""
    if not isinstance(schema, Mapping):
        return schema
    made = dict(schema)
    for key in _ONE & made.keys():
        made[key] = rebuilt(made[key], change)
    for key in _LISTS & made.keys():
        made[key] = [rebuilt(one, change) for one in made[key]]
    for key in _NAMED & made.keys():
        made[key] = {name: rebuilt(one, change) for name, one in made[key].items()}
    return change(made)


def verify(request: GenerateRequest, text: str) -> None:
    """Raise Unsupported where a finished answer breaks the request's schema or is none of its choices.

    No engine holds every part of a schema, and servers drop what they do not know; a stop text may cut anywhere.
    """
    if request.sampling.stop:
        return
    if request.choices is not None and text not in request.choices:
        raise Unsupported("the engine cannot keep to these choices", parameter="choices", text=text)
    if request.schema is None:
        return
    try:
        value = codec.loads(text)
    except ValueError:
        raise Unsupported(
            "the engine did not follow the schema: its answer is no JSON; ask again, or simplify the schema",
            parameter="schema", text=text,
        ) from None  # fmt: skip
    if found := _broken(request.schema, value):
        said = f"the answer breaks the schema: {found}; ask again, or simplify the schema"
        raise Unsupported(said, parameter="schema", text=text)


def verify_calls(request: GenerateRequest, calls: Iterable[ToolCall]) -> None:
    """Raise Unsupported, which names the tool and the argument, for a call that breaks the schema of its tool.

    For callers that have no tool to check the arguments again: an agent's own tools do, and tell the model.
    """
    offered = {tool.name: tool for tool in fitted(request).tools}
    for call in calls:
        if call.name in offered and (found := _broken(offered[call.name].parameters, call.arguments)):
            said = f"tool {call.name!r}: the model's arguments break its schema: {found}; ask again, or simplify it"
            raise Unsupported(said, parameter="tools", tool=call.name, arguments=call.arguments)


def _broken(schema: Mapping[str, Any], value: Json) -> str:
    """What a value breaks in a schema; empty where it is valid."""
    try:
        found = fault(schema, value)
    except Unknown as error:
        return f"it cannot be checked ({error})"
    return str(found or "")


def _encoded(found: dict[str, Json] | Wrong) -> dict[str, Json] | Wrong:
    try:
        codec.dumps(found if isinstance(found, dict) else None)
    except TypeError as error:
        return Wrong("", f"holds a value that cannot be written: {error}")
    return found


@remembered(256)
def _known(data: bytes) -> dict[str, Json] | Wrong:
    return _read(codec.loads(data))


def _read(schema: Any) -> dict[str, Json] | Wrong:
    try:
        return _Reader(schema).whole()
    except Wrong as wrong:
        return wrong


class _Reader:
    """Reads one schema, changing it in place."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._seen: set[int] = set()
        self._refs: list[tuple[dict[str, Any], str, str]] = []  # a schema that refers, its part, its resource
        self._resources: dict[str, str] = {}  # identifier -> pointer
        self._anchors: dict[str, str] = {}

    def whole(self) -> dict[str, Json]:
        """All of it; raises Wrong."""
        root = {} if self._root is None or self._root is True or self._root == [] else self._root
        if not isinstance(root, dict):
            raise Wrong("", f"is {shown(root)}, which is no schema of an answer")
        self._root = root
        self._schema(root, "", "#", "#", 0)
        for schema, part, base in self._refs:  # it grows, by what stands in places where no schema is looked for
            self._refer(schema, part, base)
        self._shallow(root)
        self._straight(root)
        lacking = _Ends(root).missing()
        if lacking is not None:
            raise Wrong(lacking, "can have no value: it is impossible, or requires itself without end")
        return root

    def _schema(self, node: Any, part: str, pointer: str, base: str, depth: int) -> Any:
        """A schema as it is meant. `pointer` is where it stands, `base` that of the resource it belongs to."""
        if node is None:
            return {}
        if isinstance(node, bool):
            return node
        self._bounded(node, part, depth)
        for key in [key for key, value in node.items() if value is None and key not in ("const", "default")]:
            del node[key]
        base = self._names(node, pointer, base)
        for reword in (_older, _required, _examples, _nullable):
            reword(node)
        _types(node, part)
        for key, rule in _RULES.items():
            if key in node:
                rule(node, key, _inside(part, key))
        self._parts(node, part, pointer, base, depth + 1)
        if "$ref" in node:
            self._refs.append((node, part, base))
        return node

    def _bounded(self, node: Any, part: str, depth: int) -> None:
        if not isinstance(node, dict):
            raise Wrong(part, f"is {shown(node)}, which is no schema")
        if depth > DEEPEST:
            raise Wrong(part, f"is nested deeper than {DEEPEST} levels; flatten it")
        if len(self._seen) >= MOST:
            raise Wrong("", f"has more than {MOST} parts; split it")
        self._seen.add(id(node))

    def _names(self, node: dict[str, Any], pointer: str, base: str) -> str:
        """Take note of the names by which it can be referred to; returns the resource that its parts belong to."""
        node.pop("$schema", None)
        node.pop("x-guidance", None)  # an order to one of the engines
        for key in ("$dynamicRef", "$recursiveRef"):
            if key in node:
                node.setdefault("$ref", node.pop(key))
        for key in ("$anchor", "$dynamicAnchor"):
            if isinstance(anchor := node.pop(key, None), str):
                self._anchors[anchor] = pointer
        node.pop("$recursiveAnchor", None)
        if not isinstance(known := node.pop("$id", None), str):
            return base
        if known.startswith("#"):
            self._anchors[known[1:]] = pointer
            return base
        self._resources[known.removesuffix("#")] = pointer
        return pointer

    def _parts(self, node: dict[str, Any], part: str, pointer: str, base: str, depth: int) -> None:
        for key in _ONE & node.keys():
            node[key] = self._schema(node[key], _inside(part, key), f"{pointer}/{key}", base, depth)
        for key in _LISTS & node.keys():
            given = node[key]
            if not isinstance(given, list):
                raise Wrong(_inside(part, key), f"is {shown(given)}, not a list of schemas")
            node[key] = [
                self._schema(one, f"{_inside(part, key)}[{i}]", f"{pointer}/{key}/{i}", base, depth)
                for i, one in enumerate(given)
            ]
            if not given:
                del node[key]
        for key in _NAMED & node.keys():
            given = {} if node[key] == [] else node[key]  # as PHP writes an empty object
            if not isinstance(given, dict):
                raise Wrong(_inside(part, key), f"is {shown(given)}, not schemas by name")
            node[key] = {
                name: self._schema(
                    one, _inside(part, f"{key}.{name}"), f"{pointer}/{key}/{_escaped(name)}", base, depth
                )
                for name, one in given.items()
            }

    def _refer(self, schema: dict[str, Any], part: str, base: str) -> None:
        """Make a `$ref` a pointer from the root to something that has been read."""
        said = schema["$ref"]
        place = _inside(part, "$ref")
        resource, _, fragment = said.partition("#")
        fragment = unquote(fragment)
        if resource:
            base = next((at for name, at in self._resources.items() if _is_named(name, resource)), "")
        if fragment and not fragment.startswith("/"):
            pointer = self._anchors.get(fragment, "")
        else:
            pointer = base and base + fragment
        try:
            target = at(self._root, pointer) if pointer else None
        except LookupError:
            target = None
        if not isinstance(target, dict | bool):
            text = f"is {said!r}, which is not in the schema; put what it refers to under $defs"
            raise Wrong(place, text)
        if isinstance(target, dict) and id(target) not in self._seen:
            self._schema(target, pointer[2:].replace("/", "."), pointer, base, 1)
        schema["$ref"] = quote(pointer, safe="/~#$:@!&'()*+,;=?")

    def _shallow(self, root: dict[str, Any]) -> None:
        """Raise Wrong where following references could lead too deep: engines read schemas by recursion."""
        heights: dict[int, int] = {}
        targets = {id(found): found for schema, *_ in self._refs if isinstance(found := at(root, schema["$ref"]), dict)}
        if sum(_height(one, heights) for one in (root, *targets.values())) > REACH:
            raise Wrong("", f"leads deeper than {REACH} levels by its references; flatten it")

    def _straight(self, root: dict[str, Any]) -> None:
        """Raise Wrong where a value would have to be checked by a schema again and again, without a step into it."""
        done: set[int] = set()
        for schema, part, _ in self._refs:
            path = [(schema, _beside(schema, root))]
            within = {id(schema)}
            while path:
                node = next(path[-1][1], None)
                if node is None:
                    done.add(id(path[-1][0]))
                    within.discard(id(path.pop()[0]))
                elif id(node) in within:
                    raise Wrong(_inside(part, "$ref"), "leads back to itself without end")
                elif isinstance(node, dict) and id(node) not in done:
                    within.add(id(node))
                    path.append((node, _beside(node, root)))


def _beside(node: dict[str, Any], root: dict[str, Any]) -> Iterator[Any]:
    """The schemas by which the same value is checked."""
    if "$ref" in node:
        yield at(root, node["$ref"])
    for key in ("allOf", "anyOf", "oneOf"):
        yield from node.get(key, ())
    yield from (node[key] for key in ("not", "if", "then", "else") if key in node)
    yield from node.get("dependentSchemas", {}).values()


def _height(node: Any, known: dict[int, int]) -> int:
    """How many schemas, or lists of them, are in one another."""
    if not isinstance(node, dict | list):
        return 0
    if id(node) not in known:
        parts = node.values() if isinstance(node, dict) else node
        known[id(node)] = 1 + max((_height(part, known) for part in parts), default=0)
    return known[id(node)]


def _is_named(name: str, asked: str) -> bool:
    return name == asked or name.rpartition("/")[2] == asked


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _inside(part: str, key: str) -> str:
    return f"{part}.{key}" if part else key


def _older(node: dict[str, Any]) -> None:
    """What earlier drafts say otherwise, in today's words."""
    if isinstance(node.get("items"), list):  # before 2020
        node["prefixItems"] = node.pop("items")
        if "additionalItems" in node:
            node["items"] = node["additionalItems"]
    node.pop("additionalItems", None)
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):  # draft 4
        if isinstance(node.get(bound), bool) and node.pop(bound) and limit in node:
            node[bound] = node.pop(limit)
    if isinstance(needs := node.pop("dependencies", None), dict):
        node["dependentRequired"] = {name: one for name, one in needs.items() if isinstance(one, list)}
        node["dependentSchemas"] = {name: one for name, one in needs.items() if not isinstance(one, list)}


def _required(node: dict[str, Any]) -> None:
    """A property that says `required: true` of itself, as in draft 3, is one of the object's."""
    if isinstance(node.get("required"), bool):
        del node["required"]
    named, known = node.get("properties"), node.get("required", [])
    if isinstance(named, dict) and isinstance(known, list):
        needed = [name for name, one in named.items() if isinstance(one, dict) and one.get("required") is True]
        if needed:
            node["required"] = [*known, *needed]


def _examples(node: dict[str, Any]) -> None:
    """A list, also where they are named and have a `value` each, as in OpenAPI."""
    shown = node.get("examples", [])
    if isinstance(shown, dict):
        shown = [one.get("value") if isinstance(one, dict) else one for one in shown.values()]
    if "examples" in node:
        node["examples"] = shown if isinstance(shown, list) else [shown]


def _nullable(node: dict[str, Any]) -> None:
    """OpenAPI 3.0's word for "or null"."""
    if node.pop("nullable", False) is not True:
        return
    if "type" in node:
        node["type"] = [*(node["type"] if isinstance(node["type"], list) else [node["type"]]), "null"]
    if isinstance(node.get("enum"), list) and None not in node["enum"]:
        node["enum"] = [*node["enum"], None]
    for key in ("$ref", "allOf", "oneOf"):
        if key in node and "anyOf" not in node:
            node["anyOf"] = [{key: node.pop(key)}]
    if isinstance(node.get("anyOf"), list):
        node["anyOf"] = [*node["anyOf"], {"type": "null"}]


def _types(node: dict[str, Any], part: str) -> None:
    """`type` in small letters, one or a list of several."""
    if "type" not in node:
        return
    given = node["type"] if isinstance(node["type"], list) else [node["type"]]
    kinds = ["null" if one is None else one.lower() if isinstance(one, str) else one for one in given]
    if "any" in kinds:
        del node["type"]
        return
    for kind in kinds:
        if kind not in KINDS:
            hint = nearest(str(kind), KINDS)
            raise Wrong(_inside(part, "type"), f"is {shown(kind)}, which is no type of JSON schemas; {hint}")
    if not kinds:
        raise Wrong(_inside(part, "type"), "is an empty list; leave it out for any type")
    kinds = list(dict.fromkeys(kinds))
    node["type"] = kinds if len(kinds) > 1 else kinds[0]


Rule = Callable[[dict[str, Any], str, str], None]


def _bound(node: dict[str, Any], key: str, part: str) -> None:
    value = node[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(part, f"is {shown(value)}, not a number")
    if isinstance(value, int) and abs(value) >= 2**63:
        value = float(value) if abs(value) < 10**308 else math.inf
    if not math.isfinite(value):
        del node[key]  # everything keeps to it
    elif key == "multipleOf" and value <= 0:
        raise Wrong(part, f"is {shown(value)}; it has to be above 0")
    else:
        node[key] = value


def _count(node: dict[str, Any], key: str, part: str) -> None:
    value = node[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value < 0:
        raise Wrong(part, f"is {shown(value)}, not a number of things")
    if value > _HUGE and key.startswith("max"):
        del node[key]
    else:
        node[key] = int(min(value, _HUGE))


def _names(node: dict[str, Any], key: str, part: str) -> None:
    given = node[key]
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise Wrong(part, f"is {shown(given)}, not a list of names")
    node[key] = list(dict.fromkeys(given))


def _needs(node: dict[str, Any], key: str, part: str) -> None:
    if not isinstance(node[key], dict):
        raise Wrong(part, f"is {shown(node[key])}, not lists of names")
    for name in node[key]:
        _names(node[key], name, f"{part}.{name}")


def _enum(node: dict[str, Any], key: str, part: str) -> None:
    if not isinstance(node[key], list):
        raise Wrong(part, f"is {shown(node[key])}, not a list of values")


def _pattern(node: dict[str, Any], key: str, part: str) -> None:
    _readable(node[key], part)


def _patterns(node: dict[str, Any], key: str, part: str) -> None:
    for pattern in node[key] if isinstance(node[key], dict) else ():
        _readable(pattern, f"{part}.{pattern}")


def _readable(pattern: Any, part: str) -> None:
    if not isinstance(pattern, str):
        raise Wrong(part, f"is {shown(pattern)}, not text")
    try:
        compiled(pattern)
    except Unreadable as error:
        raise Wrong(part, f"is no regular expression that is known here: {error}") from error


def _reference(node: dict[str, Any], key: str, part: str) -> None:
    if not isinstance(node[key], str):
        raise Wrong(part, f"is {shown(node[key])}, not text")


def _format(node: dict[str, Any], key: str, part: str) -> None:
    if not isinstance(node[key], str):
        del node[key]


def _flag(node: dict[str, Any], key: str, part: str) -> None:
    if not isinstance(node[key], bool):
        raise Wrong(part, f"is {shown(node[key])}, not true or false")


_RULES: dict[str, Rule] = {
    **dict.fromkeys(BOUNDS, _bound),
    **dict.fromkeys(COUNTS, _count),
    "$ref": _reference,
    "required": _names,
    "dependentRequired": _needs,
    "enum": _enum,
    "pattern": _pattern,
    "patternProperties": _patterns,
    "format": _format,
    "uniqueItems": _flag,
}


class _Ends:
    """Whether a value can be written to its end: recursion needs a part that may be left out."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._good: set[str] = set()
        self._tried: set[str] = set()
        self._part = ""

    def missing(self) -> str | None:
        """A part that is required and of which there can be no value; None where there is none."""
        for _ in range(_ROUNDS):
            self._tried, self._part, known = set(), "", len(self._good)
            if self._ends(self._root, "", 0):
                return None
            if len(self._good) == known:
                return self._part
        return None

    def _ends(self, node: Any, part: str, depth: int) -> bool:
        if isinstance(node, bool) or node.get("enum") == []:
            found = node is True
        elif depth > 3 * DEEPEST:
            return True
        else:
            found = self._refers(node, part, depth) and self._combined(node, part, depth)
            found = found and all(self._ends(one, _inside(part, key), depth + 1) for key, one in _needed(node))
        if not found and not self._part:
            self._part = part
        return found

    def _refers(self, node: dict[str, Any], part: str, depth: int) -> bool:
        pointer = node.get("$ref")
        if pointer is None or pointer in self._good:
            return True
        if pointer in self._tried:
            return False
        self._tried.add(pointer)
        if not self._ends(at(self._root, pointer), part, depth + 1):
            return False
        self._good.add(pointer)
        return True

    def _combined(self, node: dict[str, Any], part: str, depth: int) -> bool:
        if not all(
            self._ends(one, f"{_inside(part, 'allOf')}[{i}]", depth + 1) for i, one in enumerate(node.get("allOf", ()))
        ):
            return False
        return all(
            any(self._ends(one, f"{_inside(part, key)}[{i}]", depth + 1) for i, one in enumerate(node[key]))
            for key in ("anyOf", "oneOf")
            if key in node
        )


def _needed(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parts without which no value of the only type is one."""
    if node.get("type") == "object":
        named = node.get("properties", {})
        rest = True if "patternProperties" in node else node.get("additionalProperties", True)
        yield from ((f"properties.{name}", named.get(name, rest)) for name in node.get("required", ()))
    if node.get("type") == "array":
        first = node.get("prefixItems", [])
        least = node.get("minItems", 0)
        yield from ((f"prefixItems[{i}]", one) for i, one in enumerate(first[:least]))
        if least > len(first):
            yield "items", node.get("items", True)
