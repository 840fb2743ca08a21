"""REST: the pages for a browser. They are files, the same for everybody; what they show they ask for with a cookie."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fastapi import APIRouter, Response

_WEB, _DESKTOP = (Path(__file__).parent / name for name in ("web", "desktop"))
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; worker-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types svelte-trusted-html llmagent-os",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Nothing from elsewhere is loaded, no text can become code, and nobody can put the page into a frame of theirs."""

PAGES = {
    "/": _DESKTOP / "index.html", "/docs": _WEB / "docs.html",
    **{f"/web/{name}": _WEB / name for name in ("style.css", "web.js", "docs.js")},
    **{f"/desktop/{each.name}": each for each in sorted(_DESKTOP.iterdir()) if each.suffix != ".html"},
}  # fmt: skip
"""The file behind each path. Those of the desktop are built from the folder `web` of the sources: `make web`."""


class Pages:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(include_in_schema=False)
        for path, file in PAGES.items():
            router.get(path)(partial(_file, file))
        return router


async def _file(path: Path) -> Response:
    return Response(path.read_bytes(), headers=_SAFE, media_type=_KINDS[path.suffix])
