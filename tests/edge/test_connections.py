"""Connections of other kinds: pages in browsers, HTTP/1.0, clients that end their stream first, odd slashes, blanks."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.config import load
from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.gateway import lobby
from tests.edge.test_gateway import ENDLESS, chat, engine_is_free, until
from tests.stand_ins.gateway import Gate, gate

CHAT = "/v1/chat/completions"
PAGE = "https://app.example.org"


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data", cors={"origins": [PAGE]}) as found:
        yield found


def request(
    api: Gate, body: Any = None, path: str = CHAT, version: str = "1.1", key: str = "", **headers: str
) -> bytes:
    """A request in bytes, as programs without a library write it."""
    data = codec.dumps(body) if body is not None else b""
    lines = [f"{'POST' if data else 'GET'} {path} HTTP/{version}", "Host: x", f"Content-Length: {len(data)}"]
    lines += [f"Authorization: {key or 'Bearer ' + api.running.key}", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def connect(api: Gate) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(api.running.url.rpartition(":")[2]))


async def exchange(api: Gate, sent: bytes, half: bool = False) -> tuple[int, dict[str, str], bytes]:
    """What comes back until the server ends the connection: status, headers, and the bytes after them."""
    reader, writer = await connect(api)
    writer.write(sent)
    if half:
        writer.write_eof()
    async with asyncio.timeout(10):
        got = await reader.read()
    writer.close()
    head, _, rest = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), rest


# -- keys, slashes and methods


@pytest.mark.parametrize("written", ["Bearer  {}", "bearer {}", "BEARER {} ", "Bearer\t{}", "  Bearer {}  "])
async def test_blanks_and_case_do_not_make_a_key_wrong(api: Gate, written: str) -> None:
    sent = request(api, chat(), key=written.format(api.running.key), Connection="close")
    assert (await exchange(api, sent))[0] == 200


@pytest.mark.parametrize("path", [CHAT + "/", "/v1//chat/completions", "//v1/chat/completions//"])
async def test_a_slash_too_many_is_no_other_path(api: Gate, path: str) -> None:
    status, answer = await api.post(path, chat())
    assert (status, answer["object"]) == (200, "chat.completion")
    assert (await api.get("/v1/models/"))[0] == (await api.get("/health/"))[0] == 200


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/v1/agents/assistant", "/openapi.json"])
async def test_head_is_the_head_of_get(api: Gate, path: str) -> None:
    url = api.running.url + path
    async with api.session.get(url) as whole, api.session.head(url) as head:
        assert (head.status, await head.read()) == (200, b"")
        assert {n: v for n, v in head.headers.items() if n != "Date"} == {
            n: v for n, v in whole.headers.items() if n != "Date"
        }
    async with api.session.head(url, headers={"Authorization": "Bearer x"}) as refused:
        assert refused.status == (200 if path == "/health" else 401)


async def test_the_head_of_what_has_no_end_ends(api: Gate) -> None:
    async with asyncio.timeout(20), api.session.head(api.running.url + "/v1/events") as head:
        assert head.status == 200 and head.content_type == "text/event-stream"
    assert (await api.ask("HEAD", CHAT))[0] == 405
    assert (await api.ask("HEAD", "/v1/nowhere"))[0] == 404


async def test_options_and_a_405_say_what_is_offered(api: Gate) -> None:
    for path, offered in ((CHAT, "POST, OPTIONS"), ("/v1/agents/x", "DELETE, GET, PATCH, PUT, HEAD, OPTIONS")):
        async with api.session.options(api.running.url + path, headers={"Authorization": ""}) as answer:
            assert (answer.status, answer.headers["Allow"]) == (204, offered)
        async with api.session.request("TRACE", api.running.url + path) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, offered)


async def test_who_waits_to_be_told_to_go_on_is_told(api: Gate) -> None:
    sent = request(api, chat(), Expect="100-continue", Connection="close")
    head, body = sent.split(b"\r\n\r\n", 1)
    reader, writer = await connect(api)
    writer.write(head + b"\r\n\r\n")
    async with asyncio.timeout(20):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()


# -- HTTP/1.0


@pytest.mark.parametrize("stream", [False, True])
async def test_http_1_0_gets_no_chunks(api: Gate, stream: bool) -> None:
    sent = request(api, chat(text="one two three", stream=stream), version="1.0", Expect="100-continue")
    status, headers, body = await exchange(api, sent)
    assert status == 200 and "transfer-encoding" not in headers and headers["connection"] == "close"
    if stream:
        assert "content-length" not in headers
        assert body.startswith(b"data: {") and body.endswith(b"data: [DONE]\n\n")
    else:
        assert codec.loads(body)["choices"][0]["message"]["content"] == "one two three"


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/nowhere", "/v1/privacy/export"])
async def test_every_answer_is_whole_for_http_1_0(api: Gate, path: str) -> None:
    status, headers, body = await exchange(api, request(api, path=path, version="1.0"))
    assert status in (200, 404) and "transfer-encoding" not in headers and body
    assert not re.match(rb"[0-9a-f]+\r\n", body)


# -- clients that end their stream first


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_only_ended_its_stream_gets_its_answer(api: Gate, stream: bool, version: str) -> None:
    await api.script("slow", {"text": "one two three", "delay": 0.4, "pace": 0.05})
    status, headers, body = await exchange(api, request(api, chat("slow", stream=stream), version=version), half=True)
    assert status == 200 and headers["connection"] == "close" and b"\0" not in body
    text = b"".join(re.findall(rb'"content":"([^"]*)"', body))
    assert text == b"one two three"


async def test_so_do_two_requests_in_one_go(api: Gate) -> None:
    _, _, rest = await exchange(api, request(api, chat(text="first")) + request(api, chat(text="second")), half=True)
    assert [re.findall(rb'"content":"([^"]*)"', rest)] == [[b"first", b"second"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pace", [0.01, 60.0])
async def test_a_client_that_has_left_frees_the_engine_at_once(api: Gate, stream: bool, pace: float) -> None:
    await api.script("endless", {**ENDLESS, "pace": pace}, limit=1)
    with socket.create_connection(("127.0.0.1", int(api.running.url.rpartition(":")[2]))) as client:
        client.sendall(request(api, chat("endless", stream=stream)))
        await until(lambda: not engine_is_free(api))
        await asyncio.sleep(0.1)
    await until(lambda: engine_is_free(api))


async def test_one_that_ended_its_stream_and_leaves_later_frees_it_too(api: Gate) -> None:
    await api.script("endless", ENDLESS, limit=1)
    with socket.create_connection(("127.0.0.1", int(api.running.url.rpartition(":")[2]))) as client:
        client.sendall(request(api, chat("endless", stream=True)))
        client.shutdown(socket.SHUT_WR)
        await until(lambda: not engine_is_free(api))
        await asyncio.sleep(0.5)
        assert not engine_is_free(api)
    await until(lambda: engine_is_free(api))


async def test_half_a_request_is_none(api: Gate) -> None:
    reader, writer = await connect(api)
    writer.write(request(api, chat())[:-5])
    writer.write_eof()
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()


# -- pages of other origins


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    return {"Origin": origin, "Authorization": "", **asked}


async def log_in(api: Gate) -> str:
    """The cookie of a page of our own."""
    async with api.session.post(api.running.url + "/v1/login", headers={"Origin": api.running.url}) as answer:
        return answer.headers["Set-Cookie"].partition(";")[0]


async def test_a_page_that_is_named_may_ask(api: Gate) -> None:
    async with api.session.options(api.running.url + CHAT, headers=preflight(PAGE)) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"] and "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for body, key, status in (
        (chat(), None, 200),
        (chat(n=0), None, 400),
        (chat(), "Bearer x", 401),
        (chat("x"), None, 404),
    ):
        headers = {"Origin": PAGE} | ({"Authorization": key} if key else {})
        async with api.session.post(api.running.url + CHAT, json=body, headers=headers) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
            assert "retry-after" in answer.headers["Access-Control-Expose-Headers"]
    async with api.session.get(api.running.url + "/v1/nowhere", headers={"Origin": PAGE}) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, PAGE)
    async with api.session.post(api.running.url + CHAT, json=chat(stream=True), headers={"Origin": PAGE}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE and (await answer.read()).endswith(b"[DONE]\n\n")


@pytest.mark.parametrize("origin", ["https://evil.example", PAGE + ".evil.example", "null", PAGE + ":8443"])
async def test_a_page_that_is_not_named_may_not(api: Gate, origin: str) -> None:
    async with api.session.options(api.running.url + CHAT, headers=preflight(origin)) as answer:
        assert answer.status == 400 and "Access-Control-Allow-Origin" not in answer.headers
    async with api.session.post(api.running.url + CHAT, json=chat(), headers={"Origin": origin}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_a_rule_nothing_is_said_to_pages(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        async with api.session.options(api.running.url + CHAT, headers=preflight(PAGE)) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
        async with api.session.post(api.running.url + CHAT, json=chat(), headers={"Origin": PAGE}) as answer:
            assert answer.status == 200
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_every_page_may_ask_where_that_is_said_but_never_with_a_cookie(
    tmp_path: Path, models_folder: Path
) -> None:
    async with gate(tmp_path / "data", cors={"origins": ["*"]}) as api:
        cookie = await log_in(api)
        headers = {"Origin": "https://any.example", "Cookie": cookie}
        async with api.session.post(api.running.url + CHAT, json=chat(), headers=headers) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with api.session.post(
            api.running.url + CHAT, json=chat(), headers=headers | {"Authorization": ""}
        ) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("cors", [None, {}])
async def test_pages_of_this_machine_may_ask_where_that_is_on_and_no_page_where_it_is_off(
    tmp_path: Path, models_folder: Path, cors: Any
) -> None:
    origins = {
        "http://localhost:3000": True, "https://localhost": True, "http://127.0.0.1:8123": True,
        "http://[::1]:5173": True, "http://app.localhost:80": True, "https://evil.example": False,
        "http://localhost.evil.example": False, "http://127.0.0.1.evil.example": False,
        "http://127.0.0.1:80.evil.example": False, "http://10.0.0.7": False,
        "null": False, "file://": False,
    }  # fmt: skip
    async with gate(tmp_path / "data", cors=cors) as api:
        for origin, ours in origins.items():
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Authorization": ""}
            async with api.session.options(api.running.url + CHAT, headers=asked) as answer:
                allowed = answer.headers.get("Access-Control-Allow-Origin")
            async with api.session.post(api.running.url + CHAT, json=chat(), headers={"Origin": origin}) as answer:
                assert answer.status == 200
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed, origin
            assert allowed == (origin if ours and cors is not None else None), origin


async def test_a_page_may_use_the_logins_of_a_proxy_but_not_our_cookie(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", cors={"origins": [PAGE + "/"], "credentials": True}) as api:
        cookie = await log_in(api)
        headers = {"Origin": PAGE, "Cookie": cookie, "Authorization": ""}
        async with api.session.post(api.running.url + CHAT, json=chat(), headers=headers) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (403, PAGE)
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize(
    "cors",
    [
        {"origins": ["*"], "credentials": True},
        {"origins": []},
        {"credentials": True},
        {"origins": ["app.example.org"]},
        {"origins": ["https://app.example.org/path"]},
        {"origin": ["*"]},
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(tmp_path: Path, cors: Any) -> None:
    with pytest.raises(InvalidRequest, match="cors"):
        load({"data": tmp_path, "cors": cors})


# -- heads and bodies without an end


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"x" * 65_536),
        (b"GET /health HTTP/1.1\r\nX: ", b"x" * 65_536),
        (b"GET /health HTTP/1.1\r\n", b"X-Y: z\r\n" * 8_192),
        (b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536),
        (b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Y: z\r\n" * 8_192),
    ],
    ids=["address", "header", "headers", "chunk", "trailers"],
)
async def test_a_head_without_an_end_is_not_kept(api: Gate, begin: bytes, more: bytes) -> None:
    _, writer = await connect(api)
    writer.write(begin)
    sent = 0
    with suppress(ConnectionError):
        while sent < 16 << 20:
            writer.write(more)
            await writer.drain()
            sent += len(more)
            await asyncio.sleep(0)
    assert sent < 8 << 20  # what the sockets hold is sent as well
    writer.close()
    assert (await api.get("/health"))[0] == 200


async def test_a_long_head_that_ends_is_read(api: Gate) -> None:
    sent = request(api, chat(), Connection="close", **{f"X-{n}": "y" * 1000 for n in range(60)})
    assert (await exchange(api, sent))[0] == 200
    assert (await exchange(api, request(api, chat(text="x" * 300_000), Connection="close")))[0] == 200


async def test_who_does_not_begin_or_end_a_head_is_not_waited_for(api: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "HEAD_SECONDS", 0.8)
    monkeypatch.setattr(lobby, "LOOK", 0.05)
    for sent in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n"):
        reader, writer = await connect(api)
        writer.write(sent)
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()
    reader, writer = await connect(api)
    for wait in (1.2, 0.0):  # between two requests there is time
        writer.write(request(api, path="/v1/models"))
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
        await asyncio.sleep(wait)
    writer.close()


async def test_nobody_reads_a_body_where_no_route_takes_one(api: Gate) -> None:
    for path in ("/health", "/", "/docs"):
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        assert (await exchange(api, f"{head}Content-Length: 1\r\n\r\n{{".encode()))[0] == 200
        reader, writer = await connect(api)
        writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode())  # and none of it
        async with asyncio.timeout(20):
            assert b" 200 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize("path", [CHAT, "/v1/agents/assistant/messages", "/v1/conversations", "/v1/agents"])
async def test_no_route_reads_a_body_without_an_end(api: Gate, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.gateway.asgi.BODY_LIMIT", 100_000)
    status, answer = await api.post(path, {"text": "x" * 200_000})
    assert status == 413 and "longer than" in answer["error"]["message"]
    reader, writer = await connect(api)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.running.key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    with suppress(ConnectionError):
        for _ in range(10):
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()
        async with asyncio.timeout(20):
            assert b" 413 " in await reader.readline()
    writer.close()


async def test_a_body_that_does_not_go_on_is_not_waited_for(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", patience=0.2) as api:
        for path in ("/v1/agents", "/v1/conversations"):
            reader, writer = await connect(api)
            writer.write(request(api, {"name": "x"}, path, **{"Content-Type": "application/json"})[:-5])
            async with asyncio.timeout(20):
                assert b" 400 " in await reader.readline()
            writer.close()


# -- offers to go on in another protocol, as Java's HttpClient, JetBrains' and `curl --http2` make them with a request


@pytest.mark.parametrize("offer", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("form", ["whole", "two packets", "chunks", "byte by byte"])
async def test_an_offer_that_is_not_taken_up_loses_nothing(api: Gate, offer: str, form: str) -> None:
    reader, writer = await connect(api)
    offered = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": offer, "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    for text, headers in (("one", offered), ("two", {}), ("three", offered)):
        sent = request(api, chat(text=text), **headers)
        head, _, body = sent.partition(b"\r\n\r\n")
        if form == "chunks":
            head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if form == "byte by byte":
            for byte in head + b"\r\n\r\n" + body:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
        else:
            writer.write(head + b"\r\n\r\n")
            await asyncio.sleep(0.05 if form == "two packets" else 0)
            writer.write(body)
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer)
            assert answer.startswith(b"HTTP/1.1 200 ") and length is not None
            assert codec.loads(await reader.readexactly(int(length[1])))["choices"][0]["message"]["content"] == text
    writer.close()


async def test_offers_in_a_row_are_each_answered(api: Gate) -> None:
    offered = {"Connection": "Upgrade, close", "Upgrade": "h2c"}
    sent = request(api, chat(text="first"), Connection="Upgrade", Upgrade="h2c") + request(api, chat(), **offered)
    _, _, rest = await exchange(api, sent)
    assert len(re.findall(rb'"content":"', rest)) == 2
    status, _, _ = await exchange(api, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
    assert status == 400
