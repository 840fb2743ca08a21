"""The tools that an MCP server lists, in a form that models and the protocol take: one by one mended, or left out.

It knows nothing of the protocol's own library, so that another process is soon ready to do it (see `core.outside`).
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import Json
from ..core.schemas import meant
from ..core.wellformed import wellformed
from .openapi_schemas import LARGEST, Root, Schemas, Unusable

WORDS = 4000  # characters of a tool's description
RETURNS = 1000  # bytes of the schema of its results that the description tells
MOST = 1000  # tools of a server
LEFT_OUT = 1000  # of others that are named
_WITHIN = 16  # levels of what a listing is kept and sent in


def fitting(listed: list[Any], known: Container[str], room: int) -> tuple[list[dict[str, Json]], dict[str, str]]:
    """Of what a server listed those that can be used, `room` at most, and why which others are left out.

    `known` are those that it has listed before.
    """
    found: dict[str, dict[str, Json]] = {}
    left_out: dict[str, str] = {}
    for number, tool in enumerate(listed):
        name = tool.get("name") if isinstance(tool, Mapping) else None
        if len(left_out) >= LEFT_OUT:
            left_out["..."] = "and what comes after it"
            break
        if not isinstance(name, str) or not name:
            left_out[f"tool {number + 1}"] = "it has no name"
            continue
        try:
            if name in found or name in known:
                raise Unusable("it is listed twice")
            if len(found) >= room:
                raise Unusable(f"it is past the first {MOST} tools")
            found[name] = _kept(_tool(name, tool))
        except (Unusable, TypeError) as error:  # the latter for numbers that JSON has no room for
            left_out[name[:100]] = str(error)
    return list(found.values()), left_out


def fitted(packed: bytes, known: Container[str], room: int) -> tuple[bytes, dict[str, str]]:
    """The same of a listing as JSON; those that can be used as JSON too."""
    kept, left_out = fitting(json.loads(packed), known, room)
    return codec.dumps(kept), left_out


def _tool(name: str, told: Mapping[str, Any]) -> dict[str, Json]:
    """A tool in good form; raises Unusable. The schema of its results is told, not enforced: it has acted by then."""
    words = told.get("description") if isinstance(told.get("description"), str) else ""
    found: dict[str, Json] = {
        "name": name,
        "description": str(words)[:WORDS],
        "inputSchema": _schema(told.get("inputSchema")),
    }
    if isinstance(returns := told.get("outputSchema"), Mapping):
        packed = codec.dumps(returns).decode()
        returned = f"\nReturns: {packed}" if len(packed) <= RETURNS else ""
        found["description"] = found["description"][: WORDS - len(returned)] + returned
    if isinstance(hints := told.get("annotations"), Mapping):
        found["annotations"] = dict(hints)
    if isinstance(meta := told.get("_meta"), Mapping):
        found["_meta"] = dict(meta)
    return found


def _kept(tool: dict[str, Json]) -> dict[str, Json]:
    """A tool that can be written down, also some levels within something else; raises Unusable."""
    within: Json = tool
    for _ in range(_WITHIN):
        within = [within]
    try:
        codec.dumps(within)
    except TypeError:
        raise Unusable("what it says of itself is nested too deeply, or is no JSON") from None
    return tool


def _schema(given: Any) -> dict[str, Json]:
    """A schema of arguments that is one: as it was told where it can be, else in words that can."""
    if not isinstance(given, Mapping | None):
        raise Unusable("its schema is no object")
    told: dict[str, Json] = {"type": "object", "properties": {}} | dict(given or {})
    if len(codec.dumps(told)) > LARGEST:
        raise Unusable(f"its schema has more than {LARGEST} bytes")
    try:
        well = told["type"] == "object" and wellformed(told)
    except RecursionError:
        well = False
    if not well:
        schemas = Schemas(Root(told))
        try:
            told = {"properties": {}, **schemas.whole(schemas.of(told)), "type": "object"}
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise Unusable(f"its schema is none: {error!r:.200}") from error
    try:
        meant(told, "the tool", "")
    except InvalidRequest as error:  # an agent that had it could not be asked anything
        raise Unusable(f"no model can be held to its schema: {error}") from error
    return told
