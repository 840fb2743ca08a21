"""Files in what tools return: their content is kept as blobs and only named where it stood."""

from __future__ import annotations

import base64

from . import codec
from .errors import ResultLost
from .parts import Keep
from .records import Json


def named(value: Json, keep: Keep) -> Json:
    """`{"$file": {..., "data": base64}}` becomes `{"$file": {..., "blob": name}}`, wherever it stands in a value."""
    return _named(value, keep) if _may_hold(value) else value


def _may_hold(value: Json) -> bool:
    """Whether a file may stand in a value: to look for its name in what is written takes a hundredth of the time."""
    if not isinstance(value, dict | list):
        return False
    try:
        return b'"$file"' in codec.dumps(value)
    except (TypeError, ValueError):  # no JSON, which is told where it is to be kept
        return True


def _named(value: Json, keep: Keep) -> Json:
    if isinstance(value, list):
        return [_named(item, keep) for item in value]
    if not isinstance(value, dict):
        return value
    file = value.get("$file")
    if isinstance(file, dict) and "data" in file:
        rest = {key: item for key, item in file.items() if key != "data"}
        return {"$file": rest | {"blob": keep(_decoded(file["data"]))}}
    return {key: _named(item, keep) for key, item in value.items()}


def beginning(result: Json, most: int, tool: str, keep: Keep) -> Json:
    """Of a result with more than `most` characters: the beginning, and all of it as a file. Raises ResultLost."""
    words = isinstance(result, str)
    try:
        text = result if words else codec.dumps(result).decode()
        data = text.encode()
    except (TypeError, ValueError) as error:
        raise ResultLost(
            f"{tool} has acted, but what it returned cannot be kept ({error}); return JSON data"
        ) from error
    if len(text) <= most:
        return result
    name, mime = f"{tool}.{'txt' if words else 'json'}", "text/plain" if words else "application/json"
    file = {"$file": {"name": name, "mime": mime, "blob": keep(data)}}
    return {**file, "shown": text[:most], "left_out": len(text) - most}


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except (TypeError, ValueError) as error:
        raise ResultLost(f"a tool has acted, but its file is not Base64 ({error})") from error


def found(value: Json) -> list[dict[str, Json]]:
    """The files in a result, wherever they stand in it."""
    return _found(value) if _may_hold(value) else []


def _found(value: Json) -> list[dict[str, Json]]:
    if isinstance(value, list):
        return [file for item in value for file in _found(item)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("$file"), dict):
        return [value["$file"]]
    return [file for item in value.values() for file in _found(item)]
