"""An MCP server by hand, with what the SDK's own would not say: `python -m tests.stand_ins.odd_mcp`, or over HTTP.

Over HTTP it wants a login: `Guarded` is its authorisation server as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

TOOLS: list[Any] = [
    {"name": "fine", "description": "Say it again.", "inputSchema": {"type": "object", "properties": {"a": {}}},
     "outputSchema": {"type": "object", "properties": {"said": {"type": "integer"}}, "required": ["nope"]}},
    {"name": "get.user", "inputSchema": {"type": "object"}}, {"name": "get_user", "inputSchema": {"type": "object"}},
    {"name": "get/user", "inputSchema": {"type": "object"}}, {"name": "获取"}, {"name": "查询"},
    {"name": "null_schema", "inputSchema": None, "description": 5, "annotations": "no", "_meta": [], "title": {}},
    {"name": "odd_schema", "inputSchema": {"type": "object", "properties": {"x": {"type": "strin", "minimum": "a"}}}},
    {"name": "old_schema", "inputSchema": {"type": "object", "properties": {
        "x": {"type": "number", "minimum": 0, "exclusiveMinimum": True}}}},
    {"name": "listed_schema", "inputSchema": [1]}, {"name": "round", "inputSchema": {
        "type": "object", "properties": 5, "$ref": "#"}},
    {"name": "no_value", "inputSchema": {"type": "object", "properties": {"x": {"enum": []}}, "required": ["x"]}},
    {"inputSchema": {"type": "object"}}, "what?", {"name": "long_schema", "inputSchema": {"title": "x" * 50_000}},
    {"name": "list_resources", "inputSchema": {"type": "object"}},
]  # fmt: skip


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """What is answered to a message, if anything."""
    if "id" not in message:
        return None
    if (message.get("params") or {}).get("name") == "get_user":  # with the code that the SDK has for a lost connection
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32000, "message": "no such user"}}
    found = results(message["method"], message.get("params") or {})
    told = {"result": found} if found is not None else {"error": {"code": -32601, "message": "no such method"}}
    return {"jsonrpc": "2.0", "id": message["id"], **told}


def results(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a method that is known."""
    if method == "initialize":
        has: dict[str, Any] = {"tools": {}, "resources": {}, "prompts": {}}
        about = {"name": "odd", "version": "1"}
        return {"protocolVersion": "2025-06-18", "capabilities": has, "serverInfo": about}
    if method == "tools/call":
        said = {"name": params["name"], "said": params.get("arguments")}
        parts = [{"type": "hologram", "data": "x"}, "bare", {"type": "text", "text": "ok"}]
        return {"content": parts, **({"structuredContent": said} if params["name"] == "fine" else {})}
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "mimeType": "text/plain", "text": f"about {params['uri']}"}]}
    if method == "prompts/get":
        words = f"Review {params['arguments']['code']}"
        return {"messages": [{"role": "user", "content": {"type": "text", "text": words}}]}
    return {
        "tools/list": {"tools": TOOLS},
        "resources/list": {"resources": [{"uri": "memo://a", "name": "a", "description": "A memo"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "memo://{name}", "name": "memos"}]},
        "prompts/list": {"prompts": [{"name": "review", "arguments": [{"name": "code", "required": True}]}]},
    }.get(method)


class Guarded:
    """The server at `/mcp`, which wants a token. `state` has the tokens that hold, and notes what is asked."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state, self.codes = state, dict[str, str]()
        state |= {"tokens": set(), "refreshed": 0, "registered": 0}

    def application(self) -> web.Application:
        """All of its pages."""
        app = web.Application()
        app.router.add_route("*", "/mcp", self.mcp)
        app.router.add_get("/.well-known/oauth-protected-resource/mcp", self.resource)
        app.router.add_get("/.well-known/oauth-authorization-server", self.server)
        app.router.add_post("/register", self.register)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/give/token", self.token)
        return app

    async def mcp(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.state["tokens"]:
            where = f'Bearer resource_metadata="http://{request.host}/.well-known/oauth-protected-resource/mcp"'
            return web.Response(status=401, headers={"WWW-Authenticate": where})
        if request.method != "POST":
            return web.Response(status=405)
        told = answer(await request.json())
        return web.json_response(told) if told is not None else web.Response(status=202)

    async def resource(self, request: web.Request) -> web.StreamResponse:
        here = f"http://{request.host}"
        return web.json_response({"resource": f"{here}/mcp", "authorization_servers": [here]})

    async def server(self, request: web.Request) -> web.StreamResponse:
        here = f"http://{request.host}"
        ways = {"authorization": "authorize", "token": "give/token", "registration": "register"}
        more = {"response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"]}
        told = {f"{name}_endpoint": f"{here}/{path}" for name, path in ways.items()}
        return web.json_response({"issuer": here, **told, **more})

    async def register(self, request: web.Request) -> web.StreamResponse:
        self.state["registered"] += 1
        return web.json_response({**await request.json(), "client_id": "us"}, status=201)

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        told = {"state": request.query["state"], "error": "access_denied"}
        if not self.state.get("refuses"):
            self.codes["code-1"] = request.query["code_challenge"]
            told = {"state": request.query["state"], "code": "code-1"}
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{urlencode(told)}")

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
            assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.codes.pop(str(form["code"]))
        else:
            assert form["refresh_token"] == "again"
            self.state["refreshed"] += 1
        made = f"token-{len(self.state['tokens'])}-{self.state['refreshed']}"
        self.state["tokens"].add(made)
        told = {"access_token": made, "token_type": "Bearer", "refresh_token": "again"}
        return web.json_response({**told, "expires_in": self.state.get("lasts", 3600)})


if __name__ == "__main__":
    print("odd and proud", file=sys.stderr, flush=True)
    if len(sys.argv) > 1:
        sys.exit("Error: set ODD_KEY\n    at main (file.js:1:2) {\n  code: 1\n}")  # as Node.js tells it
    for line in sys.stdin:
        if (told := answer(json.loads(line))) is not None:
            print(json.dumps(told), flush=True)
