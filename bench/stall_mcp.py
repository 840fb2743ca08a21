"""An MCP server for `stall.py`, over its standard input and output: what it lists and answers is hostile."""

from __future__ import annotations

import json
import sys
from typing import Any

from stall_inputs import LISTINGS, PARTS

PLAIN = [
    {"name": name, "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
    for name in ("list", "give")
]


def tell(message: dict[str, Any]) -> None:
    """Send a message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until nobody asks. A call of `list` has the next listing be the one of that name."""
    listing: list[Any] = []
    for line in sys.stdin:
        asked = json.loads(line)
        method, params, identifier = asked.get("method"), asked.get("params") or {}, asked.get("id")
        if identifier is None:
            continue
        result: dict[str, Any] = {}
        if method == "initialize":
            server = {"name": "stall", "version": "1"}
            tools = {"tools": {"listChanged": True}}
            result = {"protocolVersion": params["protocolVersion"], "capabilities": tools, "serverInfo": server}
        elif method == "tools/list":
            result = {"tools": [*PLAIN, *listing]}
        elif method == "tools/call":
            name = (params.get("arguments") or {}).get("name", "")
            result = {"content": [{"type": "text", "text": "well"}]}
            if params["name"] == "list":
                listing = LISTINGS[name]() if name else []
                tell({"method": "notifications/tools/list_changed"})
            else:
                result = PARTS[name]()
        elif method != "ping":
            tell({"id": identifier, "error": {"code": -32601, "message": "unknown"}})
            continue
        tell({"id": identifier, "result": result})


if __name__ == "__main__":
    main()
