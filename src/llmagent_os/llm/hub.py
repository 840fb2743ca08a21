"""The model hub's public HTTP API: what a repository holds, and its bytes, continued where they broke off."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from ..core.errors import FetchFailed
from ..core.secrets import secret
from .partfile import PartFile

OFFICIAL = "https://huggingface.co"
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=6, sock_connect=3, sock_read=30)
_BLOCK = 1 << 20
_unreachable: set[str] = set()  # hubs that did not answer this process: not asked twice


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `size` in bytes, `sha256` empty where the hub does not tell it."""

    name: str
    size: int
    sha256: str


class Hub:
    """One hub, reached through `session`. Every call raises FetchFailed that says what to do."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str) -> None:
        self._session = session
        self._endpoint = endpoint

    async def files(self, repo: str) -> list[HubFile]:
        """The files of a repository, with their sizes and sums."""
        async with self._get(f"/api/models/{quote(repo)}?blobs=true", repo) as response:
            data = await response.json()
        return [_file(row) for row in data["siblings"]]

    async def download(self, repo: str, name: str, part: PartFile, progress: Callable[[int], None]) -> None:
        """Append what is missing of a file to `part`; goes on after a broken connection while bytes keep coming."""
        while True:
            before = part.have
            try:
                await self._stream(repo, name, part, progress)
                return
            except (aiohttp.ClientError, TimeoutError) as error:
                if part.have == before:
                    raise FetchFailed(f"{self._endpoint} stopped sending {name}: {error!r}; try again") from error

    async def _stream(self, repo: str, name: str, part: PartFile, progress: Callable[[int], None]) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={part.have}-"} if part.have else {})
        async with self._get(f"/{quote(repo)}/resolve/main/{quote(name)}", repo, headers) as response:
            if response.status == 416:  # nothing is left to send
                return
            if response.status != 206:
                part.restart()
            async for block in response.content.iter_chunked(_BLOCK):
                part.write(block)
                progress(part.have)

    @asynccontextmanager
    async def _get(
        self, path: str, repo: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._endpoint in _unreachable:
            raise FetchFailed(f"{self._endpoint} cannot be reached")
        try:
            response = await self._session.get(self._endpoint + path, headers=headers)
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            _unreachable.add(self._endpoint)
            raise FetchFailed(f"{self._endpoint} cannot be reached ({error})") from error
        async with response:
            self._check(response, repo)
            yield response

    def _check(self, response: aiohttp.ClientResponse, repo: str) -> None:
        if response.status in (401, 403, 404):
            raise FetchFailed(
                f"{self._endpoint} does not give {repo} ({response.status}): check the name, or if it is a gated one "
                "accept its licence there and set HF_TOKEN",
                status=response.status,
            )
        if response.status >= 400 and response.status != 416:
            raise FetchFailed(
                f"{self._endpoint} answered {response.status} for {repo}; try again later", status=response.status
            )


@asynccontextmanager
async def open_hub() -> AsyncIterator[Hub]:
    """The hub at HF_ENDPOINT (default: the official one), with HF_TOKEN sent where it is set."""
    token = secret("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    endpoint = os.environ.get("HF_ENDPOINT", OFFICIAL).rstrip("/")
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers, trust_env=True) as session:
        yield Hub(session, endpoint)


def _file(row: dict[str, Any]) -> HubFile:
    lfs = row.get("lfs") or {}
    return HubFile(row["rfilename"], row.get("size") or lfs.get("size") or 0, lfs.get("sha256") or "")
