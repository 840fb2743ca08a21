"""A small model hub on loopback: the public API of the real one, over files in memory, with a line that can break."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from aiohttp import web

_BLOCK = 100_000


@dataclass
class LocalHub:
    """`files` maps `owner/repo` to names and bytes. After so many bytes the line breaks or stalls (0: never)."""

    files: dict[str, dict[str, bytes]]
    break_after: int = 0
    stall_after: int = 0
    pace: float = 0.0  # seconds between blocks
    ranges: list[str | None] = field(default_factory=list)  # what each download asked for

    def app(self) -> web.Application:
        """What it serves."""
        app = web.Application()
        app.router.add_get("/api/models/{owner}/{repo}", self._list)
        app.router.add_get("/{owner}/{repo}/resolve/main/{name:.+}", self._send)
        return app

    def _repo(self, request: web.Request) -> dict[str, bytes]:
        repo = "{owner}/{repo}".format(**request.match_info)
        if repo not in self.files:
            raise web.HTTPUnauthorized  # the real one does not tell "absent" from "gated"
        return self.files[repo]

    async def _list(self, request: web.Request) -> web.Response:
        rows = [_row(name, data) for name, data in self._repo(request).items()]
        return web.json_response({"siblings": rows})

    async def _send(self, request: web.Request) -> web.StreamResponse:
        data = self._repo(request)[request.match_info["name"]]
        self.ranges.append(request.headers.get("Range"))
        start = request.http_range.start or 0
        if start >= len(data):
            raise web.HTTPRequestRangeNotSatisfiable
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(data) - start
        await response.prepare(request)
        stop = self.break_after or self.stall_after
        if self.pace:
            await self._slowly(response, data[start:])
            return response
        await response.write(data[start : start + stop] if stop else data[start:])
        if self.stall_after:
            await asyncio.sleep(60)
        if self.break_after and request.transport:
            request.transport.close()
        return response

    async def _slowly(self, response: web.StreamResponse, data: bytes) -> None:
        for begin in range(0, len(data), _BLOCK):
            await response.write(data[begin : begin + _BLOCK])
            await asyncio.sleep(self.pace)


def _row(name: str, data: bytes) -> dict[str, object]:
    row: dict[str, object] = {"rfilename": name, "size": len(data)}
    if name.endswith((".gguf", ".safetensors")):
        row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return row
