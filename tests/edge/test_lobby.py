"""Who connects and does not ask: heads that come late, are too long, or never come, and more of them than files."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from llmagent_os.gateway import corked, lobby
from llmagent_os.gateway.lobby import Lobby, room
from tests.edge.test_connections import connect, exchange, request
from tests.edge.test_gateway import chat
from tests.stand_ins.gateway import Gate, gate


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    monkeypatch.setattr(lobby, "HEAD_SECONDS", 0.8)
    monkeypatch.setattr(lobby, "LOOK", 0.05)
    async with gate(tmp_path / "data") as found:
        yield found


@pytest.fixture
def few_files() -> Iterator[int]:
    """A process that may hold no more than a hundred files beside those that it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    few = 4 * (held // 3 + 40)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(api: Gate, sent: bytes) -> None:
    status, headers, body = await exchange(api, sent)
    assert status == 408
    assert headers["connection"] == "close"
    assert b"no whole request came" in body


async def test_nor_does_one_that_comes_a_byte_at_a_time(api: Gate) -> None:
    reader, writer = await connect(api)

    async def trickle() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.02)

    writer.write(b"GET / HTTP/1.1\r\nX: ")
    slowly = asyncio.create_task(trickle())
    async with asyncio.timeout(20):
        assert b" 408 " in await reader.readline()
    slowly.cancel()
    writer.close()


async def test_the_head_of_a_further_request_has_its_time_as_well(api: Gate) -> None:
    reader, writer = await connect(api)
    writer.write(request(api, path="/health"))
    assert b" 200 " in await reader.readline()
    await asyncio.sleep(1.2)  # idle is not late
    writer.write(request(api, path="/health")[:-4])
    async with asyncio.timeout(20):
        assert b" 408 " in await reader.read()
    writer.close()


async def test_an_answer_and_a_body_may_take_longer_than_a_head(api: Gate) -> None:
    await api.script("slow", {"text": "at last", "delay": 1.2})
    whole = request(api, chat("slow"))
    reader, writer = await connect(api)
    writer.write(whole[:-9])
    await asyncio.sleep(1.2)
    writer.write(whole[-9:])
    async with asyncio.timeout(20):
        assert b" 200 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize("line", [b"X: 1\r\n", b"1"])
async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(
    api: Gate, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "HEAD_SECONDS", 30.0)
    reader, writer = await connect(api)
    writer.write(b"GET / HTTP/1.1\r\nX: " + line)
    answer = asyncio.create_task(reader.read())
    for _ in range(100):
        writer.write(line * (2048 // len(line)))
        await asyncio.sleep(0.001)
        if answer.done():
            break
    head, _, body = (await answer).partition(b"\r\n\r\n")
    assert (b" 431 " in head, b"64 KiB at most" in body) == (True, True)
    writer.close()


@pytest.mark.parametrize("line", [b"X: 1\r\n", b"1"])
async def test_of_a_head_of_sixty_megabytes_no_more_is_taken_than_a_head_may_have(api: Gate, line: bytes) -> None:
    port = int(api.running.url.rpartition(":")[2])
    began = time.process_time()
    taken = await asyncio.to_thread(pushed, port, b"GET / HTTP/1.1\r\nX: " + line, line * (65_536 // len(line)))
    assert taken < 10 << 20  # what the system's own buffers take, and 64 KB
    assert time.process_time() - began < 2  # seconds; what is kept and looked through anew takes minutes
    assert (await api.get("/health"))[0] == 200


def pushed(port: int, begin: bytes, more: bytes) -> int:
    """Send a head of 60 MB as fast as it is taken, and return how much was."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
        caller.sendall(begin)
        taken = 0
        with suppress(ConnectionError):
            while taken < 60 << 20:
                taken += caller.send(more)
    return taken


async def test_a_long_body_before_the_next_head_is_none_of_it(api: Gate) -> None:
    long = request(api, chat(messages=[{"role": "user", "content": "word " * 30_000}]))
    last = request(api, path="/health", Connection="close")
    reader, writer = await connect(api)
    writer.write(long + last[:20])
    writer.write(last[20:])
    async with asyncio.timeout(10):
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 2
    writer.close()


async def test_more_who_only_connect_than_there_are_files_shut_nobody_out(
    few_files: int, tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = few_files // 2
    monkeypatch.setattr("llmagent_os.gateway.server.room", lambda: most)
    async with gate(tmp_path / "data") as api:
        held = []
        for n in range(3 * most):
            if n % 50 == 0:
                status, _, _ = await exchange(api, request(api, path="/health", Connection="close"))
                assert status == 200
            held.append(await connect(api))
            held[-1][1].write(b"GET / HT" if n % 2 else b"")
            if len(held) > most // 2:
                held.pop(0)[1].close()
        status, _, _ = await exchange(api, request(api, path="/health", Connection="close"))
        assert status == 200
        for _, writer in held:
            writer.close()


async def test_one_that_is_worked_for_keeps_its_place(api: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.script("slow", {"text": "at last", "delay": 0.5})
    working, writer = await connect(api)
    writer.write(request(api, chat("slow"), Connection="close"))
    await asyncio.sleep(0.1)
    crowd = [await connect(api) for _ in range(20)]
    for _, each in crowd:
        each.write(b"GET")
    assert b"at last" in await working.read()
    for _, each in (*crowd, (working, writer)):
        each.close()


class Guest:
    def __init__(self, asked: bool = False) -> None:
        self.dropped, self.asked = False, asked

    def late(self) -> None:
        raise AssertionError

    def drop(self) -> bool:
        self.dropped = not self.asked
        return self.dropped


async def test_who_is_slow_gives_way_first_then_who_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    place, (slow, idle, other, first, last) = Lobby(3), (Guest() for _ in range(5))
    for each in (idle, other, slow):
        place.enter(each)
    for each in (idle, other):
        place.asked(each)
        place.rests(each)
    place.enter(first)
    assert (idle.dropped, other.dropped, slow.dropped) == (True, False, False)  # nobody is slow yet
    monkeypatch.setattr(lobby, "SLOW", -1.0)
    place.enter(last)
    assert (slow.dropped, other.dropped, first.dropped, place.open) == (True, False, False, 3)


async def test_who_has_just_come_has_time_and_who_comes_next_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    place, guests = Lobby(3), [Guest() for _ in range(5)]
    for each in guests[:3]:
        assert not place.full()
        place.enter(each)
    assert place.full()
    place.asked(guests[0])
    place.rests(guests[0])
    assert place.full()  # who keeps a connection does not pay for a crowd that has just come
    monkeypatch.setattr(lobby, "SLOW", -1.0)
    for each in guests[3:]:
        assert not place.full()
        place.enter(each)
    assert [each.dropped for each in guests] == [False, True, True, False, False]


async def test_who_turns_out_to_have_asked_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "SLOW", -1.0)
    place, (asked, slow, last) = Lobby(2), (Guest(asked=True), Guest(), Guest())
    for each in (asked, slow, last):
        place.enter(each)
    assert (asked.dropped, slow.dropped, last.dropped, place.open) == (False, True, False, 2)


async def test_a_first_byte_gives_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    place, (waits, other) = Lobby(1), (Guest() for _ in range(2))
    place.enter(waits)
    monkeypatch.setattr(lobby, "SLOW", 0.05)
    await asyncio.sleep(0.1)
    place.begins(waits)
    place.rests(other)
    place.enter(Guest())
    assert (waits.dropped, other.dropped) == (True, False)  # it counts as slow


# -- the porch, where it is crowded


@pytest.fixture
async def small(tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """A system with places for twelve."""
    monkeypatch.setattr("llmagent_os.gateway.server.room", lambda: 12)
    async with gate(tmp_path / "data") as found:
        yield found


@asynccontextmanager
async def silent(api: Gate, count: int) -> AsyncIterator[None]:
    """So many connections that say nothing."""
    held = [await connect(api) for _ in range(count)]
    await asyncio.sleep(0.05)
    yield
    for _, writer in held:
        writer.close()


async def half_heads(api: Gate, counts: list[int]) -> None:
    """Connect, send half a head, and come again whenever that is ended."""
    while True:
        with suppress(OSError):
            reader, writer = await connect(api)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ")
            counts[0] += 1
            await reader.read()
            writer.close()


async def test_who_asks_is_heard_beside_a_crowd_that_comes_again_at_once(
    small: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "SLOW", 0.05)
    counts = [0]
    crowd = [asyncio.create_task(half_heads(small, counts)) for _ in range(60)]
    await asyncio.sleep(0.3)
    for number in range(30):
        sent = request(small, chat() if number % 2 else None, "/v1/chat/completions" if number % 2 else "/health")
        reader, writer = await connect(small)
        writer.write(sent)
        async with asyncio.timeout(30):
            assert b" 200 " in await reader.readline()
        writer.close()
    assert counts[0] > 100  # they did come again
    for each in crowd:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


@pytest.mark.parametrize("cut", [1, 20, -1, -3])
async def test_a_head_in_pieces_is_put_together_there(small: Gate, cut: int) -> None:
    sent = request(small, path="/health", Connection="close")
    async with silent(small, 8):
        reader, writer = await connect(small)
        for piece in (sent[:cut], sent[cut:]):
            writer.write(piece)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            assert b" 200 " in await reader.readline()
        writer.close()


async def test_long_heads_bodies_and_ended_streams_come_through_it(small: Gate) -> None:
    long = {f"X-{n}": "y" * 1000 for n in range(60)}
    async with silent(small, 8):
        assert (await exchange(small, request(small, chat(), Connection="close", **long)))[0] == 200
        assert (await exchange(small, request(small, chat(text="x" * 300_000), Connection="close")))[0] == 200
        assert (await exchange(small, request(small, chat()), half=True))[0] == 200
        twice = request(small, chat()) + request(small, chat(), Connection="close")
        assert (await exchange(small, twice))[2].count(b"HTTP/1.1 200 ") == 1  # and the first before it
        reader, writer = await connect(small)
        writer.write_eof()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_who_is_late_there_is_told_so(small: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    async with silent(small, 8):
        monkeypatch.setattr(lobby, "HEAD_SECONDS", 0.4)
        monkeypatch.setattr(lobby, "LOOK", 0.05)
        status, headers, body = await exchange(small, b"GET / HTTP/1.1\r\n")
        assert (status, headers["connection"]) == (408, "close")
        assert b"no whole request came" in body


async def test_a_connection_that_is_kept_outlives_a_crowd(small: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "SLOW", 0.05)
    reader, writer = await connect(small)
    crowd: list[asyncio.Task[None]] = []
    for _ in range(3):
        writer.write(request(small, chat()))
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
        crowd += [asyncio.create_task(half_heads(small, [0])) for _ in range(20)]
        await asyncio.sleep(0.3)
    for each in crowd:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    writer.close()


async def test_where_no_file_is_left_the_next_is_accepted_later(small: Gate, few_files: int) -> None:
    client = socket.socket()
    client.setblocking(False)
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    port = int(small.running.url.rpartition(":")[2])
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    await asyncio.sleep(0.3)
    for each in taken:
        os.close(each)
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(request(small, path="/health"))
    async with asyncio.timeout(10):
        assert b" 200 " in await reader.readline()
    writer.close()


def test_all_files_that_are_allowed_are_asked_for() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(900, before[1]), before[1]))
        assert 0.7 * min(before[1], 60_000) < room() < before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 900
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_bounds_are_what_the_docs_say() -> None:
    assert (lobby.HEAD_SECONDS, corked.HEAD) == (10.0, 64 << 10)
