"""REST: the pages for a browser. They are files, the same for everybody; what they show they ask for with a cookie."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fastapi import APIRouter, Response

_FILES = Path(__file__).parent / "web"
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Nothing from elsewhere is loaded, no text can become code, and nobody can put the page into a frame of theirs."""

PAGES = {
    "/": "index.html", "/docs": "docs.html",
    **{f"/web/{name}": name for name in ("style.css", "web.js", "home.js", "docs.js")},
}  # fmt: skip
"""The file behind each path."""


class Pages:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(include_in_schema=False)
        for path, name in PAGES.items():
            router.get(path)(partial(_file, name))
        return router


async def _file(name: str) -> Response:
    path = _FILES / name
    return Response(path.read_bytes(), headers=_SAFE, media_type=_KINDS[path.suffix])
