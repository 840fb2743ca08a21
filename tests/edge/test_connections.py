"""Connections of other kinds: pages in browsers, HTTP/1.0, clients that end their stream first, odd slashes, blanks."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.config import load
from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest
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
    async with asyncio.timeout(2), api.session.head(api.running.url + "/v1/events") as head:
        assert head.status == 200 and head.content_type == "text/event-stream"
    assert (await api.ask("HEAD", CHAT))[0] == 405
    assert (await api.ask("HEAD", "/v1/nowhere"))[0] == 404


async def test_options_and_a_405_say_what_is_offered(api: Gate) -> None:
    for path, offered in ((CHAT, "POST, OPTIONS"), ("/v1/agents/x", "DELETE, GET, PATCH, HEAD, OPTIONS")):
        async with api.session.options(api.running.url + path, headers={"Authorization": ""}) as answer:
            assert (answer.status, answer.headers["Allow"]) == (204, offered)
        async with api.session.put(api.running.url + path, json={}) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, offered)


async def test_who_waits_to_be_told_to_go_on_is_told(api: Gate) -> None:
    sent = request(api, chat(), Expect="100-continue", Connection="close")
    head, body = sent.split(b"\r\n\r\n", 1)
    reader, writer = await connect(api)
    writer.write(head + b"\r\n\r\n")
    async with asyncio.timeout(2):
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
    async with asyncio.timeout(2):
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
        {"origins": ["app.example.org"]},
        {"origins": ["https://app.example.org/path"]},
        {"origin": ["*"]},
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(tmp_path: Path, cors: Any) -> None:
    with pytest.raises(InvalidRequest, match="cors"):
        load({"data": tmp_path, "cors": cors})
