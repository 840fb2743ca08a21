"""Changes as they are typed: `a.b=value`, the value in YAML."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from ...core.errors import InvalidRequest
from ...core.records import Json


def parsed(changes: Sequence[str], now: dict[str, Json]) -> dict[str, Json]:
    """The fields that `a.b=value` texts change, whole: what they do not name in a field stays as it is `now`."""
    fields: dict[str, Json] = {}
    for change in changes:
        key, sign, value = change.partition("=")
        if not sign:
            raise InvalidRequest(f"{change!r} is not KEY=VALUE", parameter=key)
        first, *deeper = key.split(".")
        fields[first] = _with(fields.get(first, now.get(first)), deeper, _value(key, value))
    return fields


def _with(old: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    known = old if isinstance(old, dict) else {}
    return known | {path[0]: _with(known.get(path[0]), path[1:], value)}


def _value(key: str, text: str) -> Json:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRequest(f"the value of {key} is not YAML: {error}", parameter=key) from error
