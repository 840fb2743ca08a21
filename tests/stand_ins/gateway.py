"""A real system behind its gateway on a free port, and a plain HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from llmagent_os.config import Config
from llmagent_os.core import codec
from llmagent_os.core.records import ModelSpec
from llmagent_os.gateway.server import Running, running
from llmagent_os.llm.scripted import open_engine


class Gate:
    """Sends requests and gives back the status with the parsed answer."""

    def __init__(self, running: Running, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.system = running.system
        self.kernel = running.system.kernel
        self.session = session

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, json=body, **options)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.running.url + path, **options) as response:
            data = await response.read()
        is_json = response.content_type == "application/json"
        return response.status, codec.loads(data) if is_json and data else data

    async def events(self, path: str, body: Any) -> list[tuple[str, Any]]:
        """All events of an answer as (name, data); `[DONE]` stays text."""
        found, name = [], ""
        async with self.session.post(self.running.url + path, json=body) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    found.append((name, value if value == "[DONE]" else codec.loads(value)))
        return found

    async def script(self, name: str, *rules: dict[str, Any], **spec: Any) -> None:
        """Add a scripted model."""
        engine = await open_engine(ModelSpec(name, "scripted", options={"rules": list(rules)}, **spec))
        self.system.add_engine(name, engine)


@asynccontextmanager
async def gate(data: Path, *plugins: object, patience: float = 30.0, **config: Any) -> AsyncIterator[Gate]:
    """Run a system whose default model is the scripted one, unless `config` names another."""
    async with (
        running(Config(data=data, port=0, **{"model": "scripted", **config}), plugins, patience) as system,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {system.key}"}) as session,
    ):
        yield Gate(system, session)


def user(text: str) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]
