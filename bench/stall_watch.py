"""Who must not have to wait, for `stall.py`: asks for `/health` and a small chat every few milliseconds.

`python bench/stall_watch.py URL KEY` prints a line for each answer (when it was asked for, in seconds of the monotonic
clock, how long it took, and its status) until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp

GAP = 0.015  # seconds between an answer and the next request
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


async def ask(session: aiohttp.ClientSession, method: str, url: str, body: object) -> None:
    """Ask again and again, on one connection."""
    while True:
        at, status = time.monotonic(), 0
        try:
            async with session.request(method, url, json=body) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, OSError):
            pass
        sys.stdout.write(f"{at:.4f} {time.monotonic() - at:.4f} {status}\n")
        sys.stdout.flush()
        await asyncio.sleep(GAP)


async def main(url: str, key: str) -> None:
    """Ask until nobody listens any more."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        asking = [
            asyncio.create_task(ask(session, "GET", f"{url}/health", None)),
            asyncio.create_task(ask(session, "POST", f"{url}/v1/chat/completions", CHAT)),
        ]
        await asyncio.to_thread(sys.stdin.read)
        for each in asking:
            each.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
