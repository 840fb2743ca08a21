"""A real browser (Chromium, without a screen), driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--remote-debugging-port=0")  # fmt: skip
PATIENCE = 60.0  # seconds: a loaded machine takes its time to start one


class Tab:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []  # what the browser wrote to its console, and what a page threw

    async def tell(self, method: str, **values: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": values})
        while True:
            found = await self._socket.receive_json(timeout=PATIENCE)
            if found.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(str(found["params"]))
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = await self.tell("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def open(self, url: str) -> None:
        """Go to a page."""
        await self.tell("Page.navigate", url=url)

    async def shows(self, text: str) -> None:
        """Wait until a text is on the page."""
        async with asyncio.timeout(PATIENCE):
            while text not in (await self.run("document.body ? document.body.innerText : ''")):
                await asyncio.sleep(0.1)


@asynccontextmanager
async def tab(folder: Path) -> AsyncIterator[Tab]:
    """A browser of its own for the block, with an empty profile in `folder`."""
    assert PROGRAM is not None
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *OPTIONS, f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = await _port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                (page, *_) = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                made = Tab(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await made.tell(f"{domain}.enable")
                yield made
    finally:
        process.terminate()
        await process.wait()


async def _port(file: Path) -> str:
    async with asyncio.timeout(PATIENCE):
        while not file.is_file() or "\n" not in file.read_text():
            await asyncio.sleep(0.1)
    return file.read_text().partition("\n")[0]
