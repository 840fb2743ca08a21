"""The way out of a sandbox: each request goes to the host that was judged, and says so to the server there."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from llmagent_os.tools.sandbox import Job, Sandbox, SandboxSettings, levels
from llmagent_os.tools.sandbox.proxy import Proxy

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Web:
    """A server that keeps all that it was sent; it answers each head, or, with `greeting`, speaks first and echoes."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.got, self.port = bytearray(), 0
        self._greeting = greeting

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._greeting)
        try:
            while data := await reader.read(65536):
                self.got += data
                if self._greeting:
                    writer.write(data.upper())
                elif b"\r\n\r\n" in self.got:
                    writer.write(ANSWER)
                    if b"Connection: close" in self.got:
                        await asyncio.sleep(0.1)  # what else may come
                        self.got += await asyncio.wait_for(reader.read(65536), 0.3)
                        break
        except (TimeoutError, ConnectionError):
            pass
        writer.close()

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def lines(self) -> list[str]:
        return bytes(self.got).decode("latin-1").split("\r\n")


@asynccontextmanager
async def web(greeting: bytes = b"") -> AsyncIterator[Web]:
    made = Web(greeting)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    made = Proxy()
    made.lists, made.private = (("localhost:*",),), ("localhost:*",)
    await made.start(None)
    yield made
    await made.close()


async def sent(proxy: Proxy, *pieces: bytes, end: bool = False) -> bytes:
    """All that comes back for some bytes; with `end` they are all there will be."""
    reader, writer = await asyncio.open_unix_connection(proxy.path)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
    if end:
        writer.write_eof()
    async with asyncio.timeout(10):
        found = await reader.read(-1)
    writer.close()
    return found


async def test_a_server_is_told_the_host_that_was_asked_for(proxy: Proxy) -> None:
    async with web() as server:
        head = f"GET http://{server.host}/a//b?c=1#d HTTP/1.1\r\nHost: evil.example\r\nhost: evil.example\r\n"
        more = "X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nConnection: keep-alive, x-own\r\n"
        answer = await sent(proxy, f"{head}{more}X-Own: 1\r\nAccept: */*\r\n\r\n".encode())
        assert answer.endswith(b"ok")
        assert server.lines == [
            "GET /a//b?c=1 HTTP/1.1", f"Host: {server.host}", "Accept: */*", "Connection: close", "", "",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "as_sent"),
    [
        ("", ""),
        ("Content-Length: 5\r\n\r\nhello", "hello"),
        (
            "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n",
            "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ),
    ],
)  # fmt: skip
async def test_a_connection_has_one_request_and_nothing_of_the_next_one_goes_out(
    proxy: Proxy, body: str, as_sent: str
) -> None:
    async with web() as server:
        second = f"GET http://{server.host}/second HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode()
        first = f"POST http://{server.host}/first HTTP/1.1\r\nHost: x\r\n{body or chr(13) + chr(10)}".encode()
        answer = await sent(proxy, first + second, second)
        assert answer.count(b"HTTP/1.1 200") == 1
        got = bytes(server.got).decode()
        assert got.startswith("POST /first") and got.endswith(f"\r\n\r\n{as_sent}")
        assert "second" not in got and "evil" not in got


@pytest.mark.parametrize(
    "head",
    [
        "GET http://{host}/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "GET http://{host}/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "GET http://{host}/ HTTP/1.1\r\nContent-Length: 5, 5\r\n",
        "GET http://{host}/ HTTP/1.1\r\nContent-Length: +5\r\n",
        "GET http://{host}/ HTTP/1.1\r\nContent-Length : 5\r\n",
        "GET http://{host}/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n",
        "GET http://{host}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "GET http://{host}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
        "GET http://{host}/ HTTP/1.1\r\nA: b\r\n folded\r\n",
        "GET http://{host}/ HTTP/1.1\r\nA: b\nHost: evil.example\r\n",
        "GET http://{host}/ HTTP/1.1\r\nA: b\rHost: evil.example\r\n",
        "GET http://{host}/ HTTP/1.1\r\nA: b\0c\r\n",
        "GET http://{host}/\tHTTP/1.1\r\nA: b\r\n",
        "GET  http://{host}/ HTTP/1.1\r\n",
        "GET http://{host}/ HTTP/2\r\n",
        "GET /path HTTP/1.1\r\nHost: {host}\r\n",
        "GET https://{host}/ HTTP/1.1\r\n",
        "GET ftp://{host}/ HTTP/1.1\r\n",
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_sent_to_none(proxy: Proxy, head: str) -> None:
    async with web() as server:
        answer = await sent(proxy, (head.replace("{host}", server.host) + "\r\n").encode())
        assert answer.startswith(b"HTTP/1.1 400") and not server.got


@pytest.mark.parametrize("chunk", ["5\nhello\r\n", "-1\r\n", "0x5\r\nhello\r\n", "5\r\nhello!\r\n", "\r\n"])
async def test_a_chunk_that_is_none_breaks_the_request_off(proxy: Proxy, chunk: str) -> None:
    async with web() as server:
        head = f"POST http://{server.host}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        await sent(proxy, f"{head}{chunk}0\r\n\r\nGET /second HTTP/1.1\r\n\r\n".encode(), end=True)
        assert b"second" not in server.got and not server.got.endswith(b"0\r\n\r\n")


def hello(name: str | None) -> bytes:
    """The first message of TLS that a client sends to a host."""
    context, to = ssl.create_default_context(), ssl.MemoryBIO()
    context.check_hostname = name is not None
    client = context.wrap_bio(ssl.MemoryBIO(), to, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return to.read()


def tunnel(server: Web) -> bytes:
    return f"CONNECT {server.host} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()


async def test_tls_in_a_tunnel_names_the_host_that_it_leads_to(proxy: Proxy) -> None:
    async with web(b"-") as server:
        for name in ("localhost", "LOCALHOST", None):
            server.got.clear()
            begin = hello(name)
            answer = await sent(proxy, tunnel(server), begin[:3], begin[3:90], begin[90:], end=True)
            assert server.got == begin and answer.startswith(b"HTTP/1.1 200")
        server.got.clear()
        await sent(proxy, tunnel(server) + hello("evil.example"), end=True)
        await sent(proxy, tunnel(server), b"\x16\x03\x01\x00\x05hello" + b"x" * 99, end=True)
        assert not server.got


async def test_http_in_a_tunnel_is_one_request_for_its_host(proxy: Proxy) -> None:
    async with web() as server:
        request = b"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        answer = await sent(proxy, tunnel(server), request[:1], request[1:] + request)
        assert answer.endswith(b"ok") and server.lines[:2] == ["GET /x HTTP/1.1", f"Host: {server.host}"]
        assert b"evil" not in server.got and server.got.count(b"GET") == 1
        server.got.clear()
        bare = b"GET /x HTTP/1.1\nHost: evil\n\n"
        for odd in (bare, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n GET /x HTTP/1.1\r\n\r\n"):
            await sent(proxy, tunnel(server), odd, end=True)
        assert not server.got


async def test_anything_else_goes_through_a_tunnel_as_it_is(proxy: Proxy) -> None:
    async with web(b"220 here\r\n") as server:
        answer = await sent(proxy, tunnel(server), b"EHLO me\r\n", b"\0\1\2", end=True)
        assert answer.endswith(b"220 here\r\nEHLO ME\r\n\0\1\2") and server.got == b"EHLO me\r\n\0\1\2"


async def test_an_answer_comes_whole_where_the_server_takes_no_more_of_the_request(proxy: Proxy) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        head = f"POST http://localhost:{port}/ HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n".encode()
        assert (await sent(proxy, head + b"x" * 1000)).startswith(b"HTTP/1.1 413")


async def test_a_proxy_leaves_nothing_behind(proxy: Proxy) -> None:
    (proxy.folder / "sub" / "sub").mkdir(parents=True)
    (proxy.folder / "sub" / "left").write_bytes(b"x" * 1000)
    await proxy.close()
    assert not proxy.folder.exists()


async def test_of_the_proxy_a_sandbox_has_the_socket_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if lacking := levels.trouble("bwrap"):
        pytest.skip(lacking)
    with tempfile.TemporaryDirectory(prefix="box-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", place)
        sandbox = Sandbox(SandboxSettings(hosts=("example.org",), warm=0))
        code = """
import os
for folder, folders, names in os.walk('/run'):
    for name in [*names, 'new']:
        try:
            open(os.path.join(folder, name), 'wb').write(b'x' * 1000)
            print('wrote', folder, name)
        except OSError as error:
            print(error.strerror)
from urllib.request import urlopen
try:
    urlopen('http://elsewhere.example/')
except OSError as error:
    print(error)
"""
        done = await sandbox.run(Job(code))
        assert "wrote" not in done.stdout and "403" in done.stdout, done
        assert os.listdir(place) == []
