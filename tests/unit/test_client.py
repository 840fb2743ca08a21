"""The command line's own HTTP client, against answers in every form in which they may come over a wire."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from llmagent_os.core.errors import InvalidRequest, LLMAgentOSError, NotFound
from llmagent_os.gateway.client import Client, NotRunning
from llmagent_os.gateway.console.options import ask

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Server:
    """Answers every connection with the same pieces, and keeps what it was sent."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces, self.heard = pieces, b""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        self.heard = head + await reader.readexactly(length)
        for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()


@asynccontextmanager
async def served(*pieces: bytes) -> AsyncIterator[tuple[Server, Client]]:
    server = Server(pieces)
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with Client(url, "sk-key") as client:
            yield server, client


BODY = b'{"a": [1, 2]}'


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"Content-Length: 13\r\n\r\n" + BODY],
        [bytes([each]) for each in OK + b"content-length: 13\r\n\r\n" + BODY],
        [CHUNKED, b"5\r\n" + BODY[:5] + b"\r\n", b"8\r\n" + BODY[5:] + b"\r\n0\r\n\r\n"],
        [OK + b"Connection: close\r\n\r\n", BODY],
        [b"HTTP/1.0 200 OK\r\n\r\n" + BODY],
    ],
    ids=["whole", "byte by byte", "chunked", "to the end of the connection", "HTTP/1.0"],
)
async def test_an_answer_is_read_in_any_form(pieces: list[bytes]) -> None:
    async with served(*pieces) as (_, client):
        assert await client.get("/x") == {"a": [1, 2]}
        assert await client.read("/x") == BODY


async def test_an_answer_without_a_body_is_none() -> None:
    async with served(b"HTTP/1.1 204 No Content\r\n\r\n") as (_, client):
        assert await client.delete("/x") is None


async def test_a_request_says_what_is_wanted() -> None:
    async with served(OK + b"Content-Length: 2\r\n\r\n{}") as (server, client):
        await client.get("/v1/agents/ü b?x=1#y", after=5, name="a&b", none=None)
        assert server.heard.startswith(
            b"GET /v1/agents/%C3%BC%20b?x=1%23y&after=5&name=a%26b HTTP/1.1\r\nHost: 127.0.0.1"
        )
        assert b"\r\nAuthorization: Bearer sk-key\r\n" in server.heard and b"Content-" not in server.heard
        await client.post("/x", {"text": "ü"})
        assert b"Content-Type: application/json\r\n" in server.heard and server.heard.endswith('{"text":"ü"}'.encode())
        await client.post("/x")
        assert b"Content-Length: 0\r\n" in server.heard
        await client.put("/x", b"\0bytes")
        assert b"application/octet-stream" in server.heard and server.heard.endswith(b"\r\n\r\n\0bytes")


async def test_events_come_as_they_are_sent_however_they_are_cut() -> None:
    long = "x" * 300_000
    text = f'event: chunk\ndata: {{"text":"ü"}}\n\nevent: reply\r\ndata: "{long}"\r\n\r\n: a sign of life\n\n'.encode()
    cuts = [text[at : at + 7] for at in range(0, 70, 7)] + [text[70:]]
    pieces = [b"%x\r\n%s\r\n" % (len(cut), cut) for cut in cuts]
    async with served(CHUNKED, *pieces, b"0\r\n\r\n") as (_, client):
        assert [event async for event in client.events("/x", {})] == [("chunk", {"text": "ü"}), ("reply", long)]
        assert [name async for name, _ in client.follow("/x")] == ["chunk", "reply"]


async def test_the_servers_errors_are_raised_as_what_they_were() -> None:
    error = b'{"error": {"type": "NotFound", "message": "no agent named x", "facts": {"name": "x"}}}'
    async with served(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(error) + error) as (_, client):
        with pytest.raises(NotFound, match="no agent named x"):
            await client.get("/x")
    for status in (b"502 Bad Gateway", b"301 Moved"):
        async with served(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n<no/>") as (_, client):
            with pytest.raises(LLMAgentOSError, match=f"answered {status[:3].decode()}: <no/>"):
                await client.get("/x")


@pytest.mark.parametrize(
    "pieces",
    [[], [OK], [OK + b"Content-Length: 99\r\n\r\n{}"], [CHUNKED + b"5\r\nab"], [b"SSH-2.0-OpenSSH_9.6\r\n"]],
    ids=["nothing", "half a head", "half a body", "half a chunk", "another protocol"],
)
async def test_an_answer_that_breaks_off_is_told(pieces: list[bytes]) -> None:
    async with served(*pieces) as (_, client):
        with pytest.raises(NotRunning, match="stopped answering"):
            await client.get("/x")


async def test_where_nobody_answers_it_says_how_to_start_a_system() -> None:
    async with served() as (_, client):
        pass
    for url in (client._url, "http://no-such-host.invalid", "http://" + "x" * 80 + ".example"):
        with pytest.raises(NotRunning, match="start one with: llmagent-os up"):
            await Client(url, "k").get("/x")


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Client(url, "k")


async def test_a_plain_server_is_not_talked_to_in_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.gateway.client._CONNECT", 1.0)  # it waits for a greeting that nobody sends
    async with served(OK + b"Content-Length: 2\r\n\r\n{}") as (_, client):
        with pytest.raises(NotRunning, match=r"in private|start one"):
            await Client(client._url.replace("http:", "https:"), "k").get("/x")


def test_a_command_that_loses_its_answer_does_not_say_that_no_system_runs(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = {"url": f"http://127.0.0.1:{server.getsockname()[1]}", "pid": 1}
        (tmp_path / "server.json").write_text(json.dumps(told))

        def cut_off() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(CHUNKED + b"5\r\nhe")

        answering = threading.Thread(target=cut_off)
        answering.start()
        with pytest.raises(NotRunning, match="stopped answering") as lost:
            ask(tmp_path, lambda client: client.get("/x"))
        answering.join()
    assert "no system is running" not in lost.value.message
    with pytest.raises(NotRunning, match=r"no system is running on .*start one with: llmagent-os up"):
        ask(tmp_path, lambda client: client.get("/x"))
