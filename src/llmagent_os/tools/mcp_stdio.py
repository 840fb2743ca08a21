"""An MCP server that is a process of ours: lines of JSON over its standard input and output.

A line is read in time that grows with its length, and only up to a bound: of a longer one the call that it answers is
told so, and the rest is read past.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO, Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, ErrorData, JSONRPCError, JSONRPCMessage, JSONRPCResponse, jsonrpc_message_adapter

from ..core import codec
from .mcp_listing import PARTS, contents

LARGEST = 8 << 20  # bytes of an answer
_PIECE = 1 << 16
_HEAVY = 1 << 18  # bytes of a line that is parsed in a thread
_GRACE = 2.0  # seconds to end after its input is closed, and again after it was asked to
_ID = re.compile(rb'"id"\s*:\s*("[^"\\]{1,200}"|\d{1,18})')

Heard = SessionMessage | Exception


class Lines:
    """Lines out of pieces; of one over `most` bytes only about so many are kept."""

    def __init__(self, most: int = LARGEST) -> None:
        self._most, self._pieces, self._size = most, list[bytes](), 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines that end in a piece, each with whether it is whole."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._add(piece)
            yield b"".join(self._pieces), self._size <= self._most
            self._pieces, self._size = [], 0
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._size <= self._most:
            self._pieces.append(piece)
        self._size += len(piece)


@asynccontextmanager
async def served(
    command: Sequence[str], env: Mapping[str, str], log: IO[Any], ended: Callable[[], None]
) -> AsyncIterator[tuple[ObjectReceiveStream[Heard], ObjectSendStream[SessionMessage]]]:
    """Start a server for the block; what it says and is told are streams. `ended` is called when it says no more.

    It is given `env` and what every program needs; what it writes to its standard error goes to `log`.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=log, env={**get_default_environment(), **env}, start_new_session=True
    )
    hear, heard = anyio.create_memory_object_stream[Heard](0)
    tell, told = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [asyncio.create_task(_hear(process, hear, ended)), asyncio.create_task(_tell(process, told, hear))]
    try:
        yield heard, tell
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (hear, heard, tell, told):
            stream.close()
        await asyncio.shield(_stop(process))


async def _hear(process: Process, hear: ObjectSendStream[Heard], ended: Callable[[], None]) -> None:
    """Hand on what the server says, for as long as somebody listens."""
    assert process.stdout is not None
    lines = Lines()
    try:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while data := await process.stdout.read(_PIECE):
                for line, whole in lines.feed(data):
                    if line.strip():
                        await hear.send(await _read(line) if whole else _too_long(line))
    finally:
        await hear.aclose()
        ended()


async def _read(line: bytes) -> Heard:
    return await asyncio.to_thread(_parsed, line) if len(line) > _HEAVY else _parsed(line)


def _parsed(line: bytes) -> Heard:
    """The message in a line; what is none is an error that the session deals with."""
    try:
        return SessionMessage(messages.validate_json(line, by_name=False))
    except ValueError as error:
        return _mended(line) or error


def _mended(line: bytes) -> Heard | None:
    """An answer that is not in the protocol's form, as it is meant; None for what is no answer.

    Whoever waits for it would wait until the call is given up.
    """
    try:
        told = codec.loads(line)
    except ValueError:
        return _unread(line, "what it answered cannot be read") if line.lstrip().startswith(b"{") else None
    if not isinstance(told, dict) or "method" in told or type(number := told.get("id")) not in (int, str):
        return None
    if (error := told.get("error")) is not None:
        said = error.get("message") if isinstance(error, dict) else error
        data = ErrorData(code=INTERNAL_ERROR, message=codec.words(said) if said else "it failed")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=data))
    if "result" not in told:
        return None
    result = told["result"] if isinstance(told["result"], dict) else {"content": told["result"]}
    return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=number, result=result))


class Messages:
    """Messages as the protocol's library reads them, in a third of the time, in which nothing else is done.

    Of a result only the parts that are handed on are looked at: the library would look through all the others.
    """

    def validate_json(self, data: str | bytes | bytearray, **how: Any) -> JSONRPCMessage:
        """A message; raises ValidationError as the library does."""
        try:
            told = codec.loads(data)
        except ValueError:  # numbers and levels that it takes and codec does not
            return jsonrpc_message_adapter.validate_json(data, **how)
        result = told.get("result") if isinstance(told, dict) else None
        if isinstance(result, dict) and isinstance(parts := result.get("content"), list) and len(parts) > PARTS:
            result["content"] = contents(parts)
        message = jsonrpc_message_adapter.validate_python(told, **how)
        return Answer(**vars(message)) if isinstance(message, JSONRPCResponse) else message


class Answer(JSONRPCResponse):
    """An answer that is short where it is logged: the library writes it out whole, for a log that nobody keeps."""

    def __str__(self) -> str:
        return f"the answer to {self.id}"


messages = Messages()


def _too_long(line: bytes) -> Heard:
    """What a call is told whose answer is too long, if its beginning says which one that is."""
    text = f"it answered with more than {LARGEST} bytes"
    return _unread(line, text) or ValueError(text)


def _unread(line: bytes, text: str) -> Heard | None:
    """The error that a call is told of whose answer is not read, where that says at its beginning which one it is."""
    found = _ID.search(line[:1000])
    if found is None:
        return None
    identifier = found[1].decode(errors="replace")
    number: int | str = identifier.strip('"') if identifier.startswith('"') else int(identifier)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=ErrorData(code=INTERNAL_ERROR, message=text)))


async def _tell(process: Process, told: ObjectReceiveStream[SessionMessage], hear: ObjectSendStream[Heard]) -> None:
    """Write down to the server what it is told."""
    assert process.stdin is not None
    try:
        async for each in told:
            process.stdin.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()
    except OSError:  # it listens no more: the connection has ended
        await hear.aclose()


async def _stop(process: Process) -> None:
    """End the server and what it started: by closing its input, by asking, by force."""
    assert process.stdin is not None
    process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
                break
        _signal(process, number)
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
