"""The crowd of `crowd.py`, in a process of its own: `python bench/crowd_attack.py PORT COUNT`.

Half of it sends half a head and waits, a quarter nothing at all, a quarter a byte a second; each comes again the moment
it is sent away. Says so once all have begun, and how often they came when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import sys

HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Wait: "
STORM = 200  # connections that are made at a time


async def one_of_the_crowd(number: int, port: int, counts: dict[str, int]) -> None:
    """Connect, hold on without asking, and come again."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.2)
            continue
        counts["made"] += 1
        with contextlib.suppress(OSError):
            if number % 4 < 2:
                writer.write(HALF)
            trickle = number % 4 == 3
            for letter in itertools.cycle(HALF[:-2]) if trickle else ():
                writer.write(bytes([letter]))
                if await _ended(reader, 1.0):
                    break
            if not trickle:
                await reader.read()
        counts["sent away"] += 1
        with contextlib.suppress(OSError):
            writer.close()


async def _ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)  # whatever comes is the end
            return True
    except TimeoutError:
        return False


async def main(port: int, count: int) -> None:
    """Be a crowd until nobody listens any more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = {"made": 0, "sent away": 0}
    crowd = []
    for number in range(count):
        crowd.append(asyncio.create_task(one_of_the_crowd(number, port, counts)))
        if number % STORM == STORM - 1:
            await asyncio.sleep(0.05)
    print("all here", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for each in crowd:
        each.cancel()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
