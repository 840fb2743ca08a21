"""One remote model server over HTTP: a shared session, server-sent events, and its errors in our words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp
from yarl import URL

from ..core import codec
from ..core.errors import ContextOverflow, EngineFailed, EngineUnavailable, InvalidRequest, LLMAgentOSError
from ..core.records import Json, ModelSpec
from ..core.secrets import missing, secret
from .wire import loads, text_of

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 300.0
CONNECTIONS = 4096
KEEP_ALIVE_SECONDS = 4.0  # less than the five after which uvicorn (vLLM and others) closes: never race it

_BUSY = frozenset({408, 425, 429, 502, 503, 504, 529})
_OVER_WINDOW = re.compile(r"context.{0,2}(length|window|size)|prompt is too long|too many tokens", re.IGNORECASE)
_BY_TYPE: dict[str | int, int] = {
    "invalid_request_error": 400, "context_length_exceeded": 400, "rate_limit_error": 429, "rate_limit_exceeded": 429,
    "overloaded_error": 529,
}  # fmt: skip
DONE = b"[DONE]"
"""The data of the event after which a stream of OpenAI's API has nothing more to say."""
LARGEST = 16 << 20  # bytes of an event
PIECE = 1 << 13  # bytes of what came at once that are taken apart in one turn of the loop
MANY = 256  # events that come at once before they are put together
LINGER_SECONDS = 1.0  # that a connection may stay open after it
_WHITE = b" \t\r\n"
_BLANK = b"\xef\xbb\xbf" + _WHITE
_NUMBER = re.compile(r"\b\d{2,}\b")


class Server:
    """A base URL and how to ask it. `options["idle"]` is the longest silence in seconds, 300 by default."""

    def __init__(self, spec: ModelSpec, base: str, headers: Mapping[str, str]) -> None:
        self._spec = spec
        self._base = base.rstrip("/")
        self._headers = {"Content-Type": "application/json", **headers}
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=spec.options.get("idle", IDLE_SECONDS)
        )
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._trouble: str | None = None
        self._closed = False

    @asynccontextmanager
    async def post(self, path: str, body: Mapping[str, Json]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send `body` and give the answer once its headers are here; leaving early closes the connection.

        Raises EngineUnavailable when the server cannot be reached, breaks off or is busy; InvalidRequest or
        ContextOverflow when it refuses the request; EngineFailed for the rest.
        """
        try:
            async with self._open().post(self._url(path), data=codec.dumps(body)) as response:
                self._trouble = None
                if response.status >= 400:
                    raise self.refused(response.status, await response.read(), response.headers.get("Retry-After"))
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._trouble = f"cannot reach {self._base}: {error}"
            raise EngineUnavailable(f"{self._trouble}; is the server running?", engine=self._spec.name) from error
        except aiohttp.ServerTimeoutError as error:
            raise self._broken("nothing was heard for too long (option `idle` sets the seconds)") from error
        except aiohttp.ClientError as error:
            raise self._broken(f"the connection broke: {error or type(error).__name__}") from error

    async def ask(self, path: str, body: Mapping[str, Json]) -> dict[str, Any]:
        """Send `body` and return the JSON answer; raises as `post` does."""
        async with self.post(path, body) as response:
            data = await response.read()
        return self.read(data)

    async def events(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[list[bytes]]:
        """Send `body` and give the data of server-sent events, those that came at once together; raises as `post` does,

        and EngineFailed for an event without an end.
        """
        async with self.post(path, body) as response:
            lines = Lines()
            if response.content_type == "application/json":  # it does not stream, though it was asked to; or says so
                whole = await response.read()
                yield [whole] if whole.lstrip(_BLANK).startswith(b"{") else lines.feed(whole + b"\n\n")
                return
            async for block in response.content.iter_any():
                found = await fed(lines, block)
                if lines.size > LARGEST:
                    raise EngineFailed(
                        f"{self._base} sent an event of more than {LARGEST} bytes", engine=self._spec.name
                    )
                if DONE in found:
                    yield found[: found.index(DONE) + 1]
                    await _ended(response)
                    return
                yield found
                if not found:
                    await asyncio.sleep(0)  # lines without events, which may be very many
            yield lines.feed(b"\n\n")

    def read(self, data: bytes) -> dict[str, Any]:
        """Parse an answer or an event; raises the error that it reports, or EngineFailed when it is no JSON object."""
        try:
            answer = loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            said = f"{self._base} did not answer in JSON; is the base URL right?"
            raise EngineFailed(said, engine=self._spec.name)
        if error := _error(answer):
            raise self.refused(_status(error), codec.dumps({"error": text_of(_words(data))}))
        return answer

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Raise EngineFailed for an answer that is JSON, and yet not as the API says, when it is taken apart."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            said = f"{self._base} did not answer as its API says ({error!r}); is the base URL right?"
            raise EngineFailed(said, engine=self._spec.name) from error

    def refused(self, status: int, answer: bytes, retry_after: str | None = None) -> LLMAgentOSError:
        """Make the error for an error answer: the server's own words and what to do next."""
        said = self._masked(_words(answer)) or f"HTTP {status}"
        facts: dict[str, Any] = {"engine": self._spec.name, "status": status}
        if status in _BUSY:
            return EngineUnavailable(f"{self._base} is busy: {said}; try later", **facts, retry_after=retry_after)
        if status in (401, 403):
            return EngineFailed(f"{self._base} refused the key: {said}; {self._about_key()}", **facts)
        if status == 404:
            hint = f"check the base URL and the model name {self._spec.model or self._spec.name!r}"
            return EngineFailed(f"{self._base} does not know what was asked for: {said}; {hint}", **facts)
        if status >= 500:
            return EngineFailed(f"{self._base} failed: {said}", **facts)
        if status == 413 or _OVER_WINDOW.search(said):
            return self._overflow(said)
        return InvalidRequest(f"{self._base} refused the request: {said}", **facts)

    def _overflow(self, said: str) -> ContextOverflow:
        """The sizes are the first two numbers in the message, as every known server words it."""
        sizes = sorted(int(number) for number in _NUMBER.findall(said)[:2])
        window, tokens = sizes if len(sizes) == 2 else (self._spec.window, 0)
        return ContextOverflow(f"the prompt is too long: {said}; shorten it", tokens=tokens, window=window)

    def broken_off(self) -> EngineUnavailable:
        """The error for an answer that ended before it was complete."""
        return self._broken("the answer broke off before its end")

    def _broken(self, what: str) -> EngineUnavailable:
        return EngineUnavailable(f"{self._base}: {what}; try again", engine=self._spec.name)

    def _about_key(self) -> str:
        name = self._spec.key_env
        return f"check the key in ${name}" if name else "name the variable that holds the key with `key_env`"

    def _masked(self, text: str) -> str:
        key = secret(self._spec.key_env)
        return text.replace(key, "***") if key else text

    def _url(self, path: str) -> URL:
        if path not in self._urls:
            self._urls[path] = URL(self._base + path)
        return self._urls[path]

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise EngineUnavailable(f"the engine of {self._spec.name!r} is closed", engine=self._spec.name)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                timeout=self._timeout,
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def health(self) -> str | None:
        """None unless the last request could not connect."""
        return "the engine is closed" if self._closed else self._trouble

    async def close(self) -> None:
        """Break off what runs and close the connections; twice is harmless."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


def gathered(block: list[bytes]) -> Iterator[list[bytes]]:
    """What came at once, an event at a time, as a model makes tokens; where it is very much, many at a time.

    Each piece of an answer costs every part of the system something, whoever makes pieces of one byte.
    """
    size = 1 if len(block) <= MANY else MANY
    for start in range(0, len(block), size):
        yield block[start : start + size]


class Lines:
    """Server-sent events out of bytes that are cut anywhere: the data of whole events, comments and names left out.

    `size` is that of the event which has not ended, in bytes.
    """

    def __init__(self) -> None:
        self.size = 0
        self._rest: list[bytes] = []  # of a line that has not ended, in the pieces that it came in
        self._half = False  # whether that ends in what may be half of a line's end
        self._data: list[bytes] = []
        self._said = 0  # bytes of these

    def feed(self, block: bytes) -> list[bytes]:
        """Return the events that this block completes; those without data are none."""
        self._rest.append(block)
        self.size += len(block)
        if not (self._half or b"\n" in block or b"\r" in block):
            return []
        data, kept = b"".join(self._rest), b""
        if data.endswith(b"\r"):  # it may be half of a line's end
            data, kept = data[:-1], b"\r"
        *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest, self._half = [rest + kept], bool(kept)
        events: list[bytes] = []
        for line in lines:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.startswith(b"data:"):
                said = line[5:].removeprefix(b" ")
                if said.startswith((b"{", DONE)) and self._is_whole():
                    self._end(events)
                self._data.append(said)
                self._said += len(said)
            elif not line:
                self._end(events)
        self.size = len(rest) + self._said
        return events

    def _is_whole(self) -> bool:
        """Whether the lines up to here are an event, of a server that writes no empty line after one."""
        return len(self._data) == 1 and self._data[0].startswith(b"{") and self._data[0].rstrip().endswith(b"}")

    def _end(self, events: list[bytes]) -> None:
        data = b"\n".join(self._data)
        self._data, self._said = [], 0
        if said := data.strip(_WHITE):
            events.append(DONE if said == DONE else data)


async def fed(lines: Lines, block: bytes) -> list[bytes]:
    """What `lines` make of a block, PIECE bytes in one turn of the loop: it may be all lines, or all empty events."""
    found = lines.feed(block[:PIECE])
    for begin in range(PIECE, len(block), PIECE):
        await asyncio.sleep(0)
        found += lines.feed(block[begin : begin + PIECE])
    return found


def api_key(spec: ModelSpec) -> str:
    """Read the secret that `key_env` names; empty when it names none. Raises EngineFailed if there is none."""
    key = secret(spec.key_env)
    if spec.key_env and not key:
        raise EngineFailed(f"the key for {spec.name!r} is missing; {missing(spec.key_env)}")
    return key


async def _ended(response: aiohttp.ClientResponse) -> None:
    """Read to the end, so that the connection can be used again; a server that holds it open is not waited for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in response.content.iter_any():
                pass


def _error(answer: Mapping[str, Any]) -> Any:
    """What an answer says that went wrong, in any of the places where servers put it; nothing where nothing did."""
    if error := answer.get("error"):
        return error
    if answer.get("object") == "error" or not {"choices", "usage", "type", "data", "id"} & answer.keys():
        return answer if answer.get("message") or answer.get("detail") else None
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("error") if isinstance(first, dict) else None


def _status(error: Any) -> int:
    """The status that an error inside a successful answer or a stream stands for."""
    facts = error if isinstance(error, dict) else {}
    for said in (facts.get("code"), facts.get("status"), facts.get("type")):
        if isinstance(said, str | int) and (status := _BY_TYPE.get(said, said)):
            code = int(status) if str(status).isdecimal() else 0
            if 400 <= code < 600:
                return code
    return 500


def _words(answer: bytes) -> str:
    """The message in an error body, in any of the shapes servers use."""
    try:
        data = loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace").strip()[:500]
    if isinstance(data, dict) and (inner := _error(data)):
        data = inner
    while isinstance(data, dict):
        data = next((data[key] for key in ("error", "message", "detail") if data.get(key)), "")
    return text_of(data) if isinstance(data, str) else codec.dumps(data).decode()[:500]
