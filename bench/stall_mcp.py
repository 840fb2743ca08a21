"""An MCP server for `stall.py`, over its standard input and output or HTTP: what it lists and answers is hostile."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from stall_inputs import LISTINGS, PARTS

PLAIN = [
    {"name": name, "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
    for name in ("list", "give")
]


class Odd:
    """A server. A call of `list` has the next listing be the one of that name."""

    def __init__(self) -> None:
        self._listing: list[Any] = []

    def answers(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What is said to a message: the answer last."""
        method, params, identifier = asked.get("method"), asked.get("params") or {}, asked.get("id")
        if identifier is None:
            return
        result: dict[str, Any] = {}
        if method == "initialize":
            server = {"name": "stall", "version": "1"}
            tools = {"tools": {"listChanged": True}}
            result = {"protocolVersion": params["protocolVersion"], "capabilities": tools, "serverInfo": server}
        elif method == "tools/list":
            result = {"tools": [*PLAIN, *self._listing]}
        elif method == "tools/call":
            name = (params.get("arguments") or {}).get("name", "")
            result = {"content": [{"type": "text", "text": "well"}]}
            if params["name"] == "list":
                self._listing = LISTINGS[name]() if name else []
                yield {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            else:
                result = PARTS[name]()
        elif method != "ping":
            yield {"jsonrpc": "2.0", "id": identifier, "error": {"code": -32601, "message": "unknown"}}
            return
        yield {"jsonrpc": "2.0", "id": identifier, "result": result}


def main() -> None:
    """Answer until nobody asks."""
    odd = Odd()
    for line in sys.stdin:
        for told in odd.answers(json.loads(line)):
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
