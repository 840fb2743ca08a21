"""A real browser (Chromium, without a screen), driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
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
        await self.until(f"(document.body ? document.body.innerText : '').includes({json.dumps(text)})")

    async def until(self, condition: str) -> None:
        """Wait until an expression in the page is true."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self.run(condition):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            shown = await self.run("document.body ? document.body.innerText : ''")
            raise AssertionError(f"{condition} never came to be; the page shows: {shown}") from None

    async def press(self, key: str, control: bool = False) -> None:
        """Press and release a key, wherever the focus is."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not control else "")
        for kind in ("keyDown", "keyUp"):
            said = text if kind == "keyDown" else ""
            await self.tell("Input.dispatchKeyEvent", type=kind, key=key, text=said, modifiers=2 if control else 0)

    async def type(self, text: str) -> None:
        """Type a text where the focus is."""
        await self.tell("Input.insertText", text=text)

    async def choose(self, selector: str, *files: Path) -> None:
        """Choose files in a field for them."""
        found = await self.tell("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        paths = [str(each) for each in files]
        await self.tell("DOM.setFileInputFiles", objectId=found["result"]["objectId"], files=paths)

    async def click(self, text: str, kind: str = "button") -> None:
        """Click the first element of a kind that has a text, once it is there and may be clicked."""
        found = f"[...document.querySelectorAll({json.dumps(kind)})].find(e => e.innerText.includes({json.dumps(text)})"
        await self.until(f"Boolean({found} && !e.disabled))")
        await self.run(f"{found} && !e.disabled).click()")


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
