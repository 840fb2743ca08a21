"""REST: the files of agents' workspaces."""

from __future__ import annotations

import hashlib
import mimetypes
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from ..core.records import Hidden
from .asgi import BODY_LIMIT
from .desk import Desk, Here
from .errors import TooLarge
from .rest_agents import Whose
from .routes import Route


class Wanted(Whose):
    """Which files."""

    folder: str = Field("", description="one of the workspace's; all of it without")
    pattern: str = Field("*", description="of names, such as *.csv")


class Put(BaseModel):
    """A file that is in place."""

    path: str
    size: int = Field(description="bytes")


class Files:
    """The handlers. A workspace is an agent's and a person's; `AGENT@SESSION` names the same one as `AGENT`."""

    def router(self) -> APIRouter:
        """The routes."""
        router, every = APIRouter(route_class=Route, tags=["files"]), "/v1/agents/{name}/files"
        router.get(every)(self.list)
        router.get(every + "/{path:path}", response_class=Response)(self.get)
        router.put(every + "/{path:path}", openapi_extra=BYTES)(self.put)
        return router

    async def list(self, here: Here, name: str, query: Annotated[Wanted, Query()]) -> dict[str, Any]:
        """The files of a workspace that the agent's tools may touch, with their sizes in bytes.

        `more`, where there are too many, says what to ask instead.
        """
        ticket = here.tasks(query.principal).workspace(name)
        found = await here.system.files.listed(ticket, query.folder, query.pattern)
        more = next((each["more"] for each in found if "more" in each), None)
        return {"files": [each for each in found if "path" in each], "more": more}

    async def get(self, here: Here, name: str, path: str, query: Annotated[Whose, Query()]) -> Response:
        """A file as it is."""
        content = await here.system.files.read(path, here.tasks(query.principal).workspace(name))
        headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=headers)

    async def put(self, here: Here, name: str, path: str, query: Annotated[Whose, Query()], request: Request) -> Put:
        """Put a file in place, whole: the body as it is. Folders are made."""
        data = await sent(request)
        told = {"agent": name, "path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        await _for(here, query.principal).act("files.put", **told, data=Hidden(data))
        return Put(path=path, size=len(data))


BYTES = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}}
"""What OpenAPI says of a route whose body is a file."""


def _for(here: Desk, principal: str | None) -> Any:
    """A handle that acts for a person: the caller, or another one for who may."""
    here.tasks(principal)
    return here.sys if principal is None else here.sys.acting(principal)


async def sent(request: Request) -> bytes:
    """The body as it is; raises TooLarge."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > BODY_LIMIT:
            raise TooLarge(f"the file is longer than {BODY_LIMIT >> 20} MiB")
    return b"".join(parts)
