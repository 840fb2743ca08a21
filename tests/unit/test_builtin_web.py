"""`fetch`, against a server here: what comes back, and every way round its rules that we know."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from llmagent_os.core.errors import PermissionDenied, ToolFailed
from llmagent_os.core.records import Grant, Ticket
from llmagent_os.tools.builtin_web import LARGEST, Web
from tests.stand_ins.server import serving

TICKET = Ticket("key-1", 7)
PAGE = """<html><head><title>News</title><style>p {}</style><script>alert("<p>no</p>")</script></head>
<body><h1>Hello</h1><p>One &amp; <a href="/two">two</a></p><p>three<br>four</p></body></html>"""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def page(request: web.Request) -> web.StreamResponse:
        name = request.path[1:]
        if name == "loop":
            raise web.HTTPFound("/loop")
        if name == "away":
            raise web.HTTPFound(request.query["to"])
        if name == "large":
            return web.Response(text="x" * (LARGEST + 5))
        if name == "picture":
            return web.Response(body=b"\x89PNG", content_type="image/png")
        if name == "odd":
            return web.Response(body=b"caf\xe9", headers={"Content-Type": "text/plain; charset=no-such"})
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{name}", page)
    async with serving(app) as found:
        yield found


def here(url: str) -> Web:
    return Web([URL(url).authority, "localhost:*"], [URL(url).authority])


async def test_html_becomes_text_with_its_links(url: str) -> None:
    found: Any = await here(url).fetch(f"{url}/page", TICKET)
    assert found["status"] == 200
    assert found["text"].split("\n") == ["News", "", "Hello", "", f"One & two ({url}/two)", "", "three", "four"]


async def test_a_large_page_is_cut_a_picture_is_a_file_and_odd_letters_are_read(url: str) -> None:
    large: Any = await here(url).fetch(f"{url}/large", TICKET)
    assert len(large["text"]) == LARGEST and "left_out" in large
    picture: Any = await here(url).fetch(f"{url}/picture", TICKET)
    assert picture["file"].data == b"\x89PNG"
    odd: Any = await here(url).fetch(f"{url}/odd", TICKET)
    assert odd["text"].startswith("caf")


async def test_only_hosts_that_operator_and_grant_both_name(url: str) -> None:
    with pytest.raises(PermissionDenied, match="configuration"):
        await Web([]).fetch(f"{url}/page", TICKET)
    with pytest.raises(PermissionDenied, match="grant"):
        await here(url).fetch(f"{url}/page", Ticket("k", grant=Grant(hosts=("example.org",))))
    narrow = Ticket("k", grant=Grant(hosts=(URL(url).authority,)))
    assert (await here(url).fetch(f"{url}/page", narrow))["status"] == 200


async def test_each_redirect_is_checked_again(url: str) -> None:
    again: Any = await here(url).fetch(str(URL(f"{url}/away").with_query(to="/page")), TICKET)
    assert again["url"] == f"{url}/page"
    for to in ("http://127.0.0.1:1/", "http://example.org/", "file:///etc/passwd", "http://u:p@127.0.0.1/"):
        with pytest.raises(PermissionDenied):
            await here(url).fetch(str(URL(f"{url}/away").with_query(to=to)), TICKET)
    with pytest.raises(ToolFailed, match="more than 5 times"):
        await here(url).fetch(f"{url}/loop", TICKET)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "2130706433", "127.1",
     "0x7f000001", "0.0.0.0", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "192.168.1.1", "localhost."],
)  # fmt: skip
async def test_what_lies_inside_this_network_is_refused_whatever_it_is_called(url: str, host: str) -> None:
    with pytest.raises((PermissionDenied, ToolFailed)) as caught:
        await Web(["*"]).fetch(f"http://{host}:{URL(url).port}/page", TICKET)
    assert re.search("inside|is not|nvalid|not known", str(caught.value))


async def test_a_name_that_is_private_by_permission_is_reached(url: str) -> None:
    port = URL(url).port
    with pytest.raises(PermissionDenied, match="inside"):
        await Web(["*"], ["example.org"]).fetch(f"http://localhost:{port}/page", TICKET)
    assert (await Web(["*"], [f"localhost:{port}"]).fetch(f"http://localhost:{port}/page", TICKET))["status"] == 200
