"""What comes out of a sandbox, read as strictly as the strictest server: heads and bodies of HTTP, first words of TLS.

What two servers could read in two ways (two lengths, a folded line, a bare line feed) is taken by none: one request
could hide in another.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

LIMIT = 16 << 10  # bytes of a head, or of a first message of TLS
PIECE = 64 << 10

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) (HTTP/1\.[01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):([\t -~\x80-\xff]*+)")  # in time by its length, as all of these
_BETWEEN = re.compile(rb"host|connection|keep-alive|proxy-.*|te|trailer|upgrade|http2-settings|content-length"
                      rb"|transfer-encoding|forwarded|x-forwarded-.*|x-(original-)?host")  # fmt: skip
"""Fields for the proxy, or that some servers take for `Host`; lengths are written anew."""
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~]*)?\r\n")
_WORDS = re.compile(rb"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]*(?:[ \t][^\n]*)?")  # how a line of HTTP begins
_HTTP = re.compile(rb"\s*+[!#$%&'*+.^_`|~0-9A-Za-z-]++[ \t]++(?:[/*]|https?:|HTTP/|\S*+[ \t]++HTTP/)", re.IGNORECASE)
_HANDSHAKE, _HELLO, _NAMES, _HOST = 22, 1, 0, 0  # numbers of TLS: a record, a message, an extension, a kind of name
_RECORDS = 64  # of a first message, which is one mostly: all are looked at again with each byte that comes


class Odd(Exception):
    """It is not HTTP or TLS as everybody reads it; the message is for the one who wrote it."""


class Stream:
    """What one end sends, of which the beginning can be looked at before it is taken."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader, self._ahead = reader, b""

    async def read(self, most: int = PIECE) -> bytes:
        """Some bytes; none at its end."""
        if not self._ahead:
            return await self._reader.read(most)
        found, self._ahead = self._ahead[:most], self._ahead[most:]
        return found

    async def until(self, end: bytes) -> bytes:
        """All up to an end, and that; raises Odd where none comes within LIMIT, or at all."""
        while (found := self._ahead.find(end)) < 0:
            if len(self._ahead) > LIMIT or not await self._more():
                raise Odd("it has no end")
        return await self.read(found + len(end))

    async def exactly(self, size: int) -> AsyncIterator[bytes]:
        """So many bytes, in pieces; raises Odd where there are fewer."""
        while size:
            piece = await self.read(min(size, PIECE))
            if not piece:
                raise Odd("it breaks off")
            size -= len(piece)
            yield piece

    async def opening(self) -> bytes:
        """The first words, as many as it takes to tell what they are; nothing of them is taken."""
        while not _told(self._ahead) and len(self._ahead) <= LIMIT and await self._more():
            pass
        return self._ahead

    async def _more(self) -> bool:
        piece = await self._reader.read(LIMIT)
        self._ahead += piece
        return bool(piece)


def _told(data: bytes) -> bool:
    """Whether first words are enough to tell whose they are."""
    if is_tls(data):
        return _hello(data) is not None
    return b"\n" in data.lstrip() or _WORDS.fullmatch(data) is None


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request: `length` of its body in bytes, None: it comes in chunks. `fields` are those passed on."""

    method: str
    target: str
    version: bytes
    fields: tuple[bytes, ...]
    length: int | None

    def head(self, path: str, host: str) -> bytes:
        """It as a server gets it, which is to close the connection after it."""
        lines = [f"{self.method} {path} ".encode() + self.version, b"Host: " + host.encode("idna"), *self.fields]
        if self.length is None:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length or self.method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            lines.append(b"Content-Length: %d" % self.length)
        return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def request(head: bytes) -> Request:
    """A head up to its empty line; raises Odd."""
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    begin, fields = _LINE.fullmatch(line), [_FIELD.fullmatch(each) for each in lines]
    if begin is None or None in fields:
        raise Odd("that is no request of HTTP/1.1")
    named = [(field[1].lower(), field[2].strip(b" \t"), field[0]) for field in fields if field is not None]
    lengths = [value for name, value, _ in named if name == b"content-length"]
    codings = [value.lower() for name, value, _ in named if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]) or len(lengths) + len(codings) > 1:
        raise Odd("the length of its body can be read in two ways")
    if lengths and re.fullmatch(rb"\d{1,15}", lengths[0]) is None:
        raise Odd("the length of its body is no number")
    if codings and begin[3] != b"HTTP/1.1":
        raise Odd("HTTP/1.0 knows no chunks")
    dropped = {word.strip().lower() for name, value, _ in named if name == b"connection" for word in value.split(b",")}
    kept = tuple(each for name, _, each in named if not _BETWEEN.fullmatch(name) and name not in dropped)
    length = None if codings else int(lengths[0]) if lengths else 0
    return Request(begin[1].decode(), begin[2].decode(), begin[3], kept, length)


async def body(stream: Stream, length: int | None) -> AsyncIterator[bytes]:
    """The body of a request as a server gets it, and not a byte of what comes after it; raises Odd."""
    if length is not None:
        async for piece in stream.exactly(length):
            yield piece
        return
    while size := _chunk(await stream.until(b"\r\n")):
        async for piece in stream.exactly(size):
            yield b"%x\r\n%s\r\n" % (len(piece), piece)
        if await stream.until(b"\r\n") != b"\r\n":
            raise Odd("a chunk is longer than it says")
    while await stream.until(b"\r\n") != b"\r\n":  # fields after it, which nobody needs
        pass
    yield b"0\r\n\r\n"


def _chunk(line: bytes) -> int:
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise Odd("a chunk does not say how long it is")
    return int(found[1], 16)


# -- tunnels


def is_tls(data: bytes) -> bool:
    """Whether first words are of TLS."""
    return data[:1] == bytes([_HANDSHAKE])


def is_http(data: bytes) -> bool:
    """Whether some server would take first words for a request."""
    return _HTTP.match(data) is not None


def server_name(data: bytes) -> str | None:
    """The host that a first message of TLS names, None for none; raises Odd for what is no such message."""
    hello = _hello(data)
    if hello is None:
        raise Odd("that is no whole first message of TLS")
    try:
        return _named(hello)
    except (IndexError, ValueError) as error:
        raise Odd("that is no first message of TLS") from error


def _hello(data: bytes) -> bytes | None:
    """The first message, put together from its records; None where it is not all there, or not one."""
    message, at = b"", 0
    for _ in range(_RECORDS):
        if len(data) < at + 5 or data[at] != _HANDSHAKE:
            break
        size = int.from_bytes(data[at + 3 : at + 5])
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4]):
            return message if message[0] == _HELLO else None
    return None


def _named(hello: bytes) -> str | None:
    at = 4 + 2 + 32  # the message's head, a version, random bytes
    for width in (1, 2, 1):  # a session, ciphers, compressions
        at += width + int.from_bytes(_cut(hello, at, width))
    end = at + 2 + int.from_bytes(_cut(hello, at, 2)) if at < len(hello) else at
    names = list[str]()
    at += 2
    while at < end:
        kind, size = int.from_bytes(_cut(hello, at, 2)), int.from_bytes(_cut(hello, at + 2, 2))
        content = _cut(hello, at + 4, size)
        at += 4 + size
        if kind == _NAMES:
            length = int.from_bytes(_cut(content, 3, 2))
            if content[2] != _HOST or len(content) != 5 + length:
                raise ValueError("there are several names")
            names.append(_cut(content, 5, length).decode("ascii"))
    if len(names) > 1:
        raise ValueError("there are several names")
    return names[0] if names else None


def _cut(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise IndexError(at)
    return data[at : at + size]
