"""A tiny OpenAI-compatible server that costs almost no CPU, to measure what stands in front of it.

    python bench/mock_openai.py --port 0 --delay 0.25 --tools 3

prints its port, then answers `/v1/chat/completions` (whole or streamed) after the delay. With `--tools N` it asks for
the first tool offered until the conversation holds N tool messages. On SIGTERM or SIGINT it prints the requests served
and the CPU milliseconds each. The HTTP is only what the clients under test send; the body is searched, not parsed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import signal
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream":\s*true')
_TOOL_MESSAGE = re.compile(rb'"role":\s*"tool"')
_TOOL_NAME = re.compile(rb'"tools":.*?"name":\s*"([^"]+)"', re.DOTALL)
_HEAD = {"id": "chatcmpl-mock", "created": 0, "model": "mock"}
_USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
_MODELS = {"object": "list", "data": [{"id": "mock", "object": "model", "created": 0, "owned_by": "bench"}]}


@dataclass
class Mock:
    """What to answer, and how many were answered."""

    delay: float
    tools: int
    text: str
    arguments: str
    served: int = 0
    cache: dict[tuple[int, bytes, bool], bytes] = field(default_factory=dict)

    def answer(self, head: bytes, body: bytes) -> bytes:
        """The bytes to send back for one request."""
        if head.startswith(b"GET "):
            return _whole(_MODELS)
        self.served += 1
        key = (*self._next(body), _STREAM.search(body) is not None)
        if key not in self.cache:
            self.cache[key] = self._render(*key)
        return self.cache[key]

    def _next(self, body: bytes) -> tuple[int, bytes]:
        """The step of the tool loop and the tool to ask for; no tool when it is done."""
        if not self.tools:
            return 0, b""
        step = len(_TOOL_MESSAGE.findall(body))
        name = _TOOL_NAME.search(body) if step < self.tools else None
        return step, name[1] if name else b""

    def _render(self, step: int, tool: bytes, stream: bool) -> bytes:
        function = {"name": tool.decode(), "arguments": self.arguments}
        call = {"index": 0, "id": f"call_{step}", "type": "function", "function": function}
        said = {"content": None, "tool_calls": [call]} if tool else {"content": self.text}
        finish = "tool_calls" if tool else "stop"
        if not stream:
            message = {"role": "assistant", **said}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return _whole({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE})
        words = [{"content": word + " "} for word in self.text.split()]
        deltas = [{"role": "assistant", "content": ""}, *([said] if tool else words)]
        choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
        choices.append([{"index": 0, "delta": {}, "finish_reason": finish}])
        events = [{**_HEAD, "object": "chat.completion.chunk", "choices": choice} for choice in choices]
        return _events([*events, {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}])


def _whole(data: object) -> bytes:
    body = json.dumps(data).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _events(events: list[dict[str, object]]) -> bytes:
    lines = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._buffer = b""
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            body, self._buffer = self._buffer[end + 4 : total], self._buffer[total:]
            self._answer(self._mock.answer(head, body))

    def _answer(self, answer: bytes) -> None:
        if self._mock.delay:
            self._loop.call_later(self._mock.delay, self._send, answer)
        else:
            self._transport.write(answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(mock: Mock, port: int) -> None:
    """Listen on 127.0.0.1, print the port, and stop at SIGTERM or SIGINT."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    server = await loop.create_server(lambda: Connection(mock), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    before = _cpu()
    await stop.wait()
    each = (_cpu() - before) * 1e3 / max(1, mock.served)
    print(json.dumps({"requests": mock.served, "cpu_ms_each": round(each, 4)}), flush=True)
    server.close()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--tools", type=int, default=0, help="tool messages wanted before the answer")
    parser.add_argument("--text", default="The answer is ready.")
    parser.add_argument("--arguments", default="{}", help="JSON arguments of every tool call")
    options = parser.parse_args()
    asyncio.run(serve(Mock(options.delay, options.tools, options.text, options.arguments), options.port))


if __name__ == "__main__":
    main()
