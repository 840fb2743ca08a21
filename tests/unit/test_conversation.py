"""An answer that is not waited for any more is stopped, whenever that is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from llmagent_os.core.errors import Conflict, LLMAgentOSError, NotFound
from llmagent_os.core.records import Json
from llmagent_os.gateway.client import Client
from llmagent_os.gateway.console import conversation
from llmagent_os.gateway.console.conversation import answer
from llmagent_os.gateway.console.screen import Screen


class Silent(Client):
    """A system that never answers, and says to each wish to take the message back what it was given to say."""

    def __init__(self, *replies: LLMAgentOSError | None) -> None:
        super().__init__("http://127.0.0.1:9", "key")
        self.replies, self.sent, self.taken_back = list(replies), "", list[str]()

    async def events(self, path: str, body: Json, task: str | None = None) -> AsyncGenerator[tuple[str, Json]]:
        self.sent = task or ""
        await asyncio.sleep(3600)
        yield "never", None

    async def delete(self, path: str) -> Json:
        self.taken_back.append(path)
        if (error := self.replies.pop(0)) is not None:
            raise error


@pytest.mark.parametrize(
    ("replies", "tries"),
    [
        ((None,), 1),
        ((Conflict("answered"),), 1),
        ((NotFound("not yet"), NotFound("not yet"), None), 3),  # accepted while it was being taken back
        ((NotFound("never came"),) * conversation.TRIES, conversation.TRIES),
    ],
)
async def test_a_message_is_taken_back_also_where_it_is_still_on_its_way(
    replies: tuple[LLMAgentOSError | None, ...], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "PAUSE", 0.0)
    client = Silent(*replies)
    asked = asyncio.ensure_future(answer(client, "clerk", {"text": "hello"}, Screen()))
    await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert client.sent and client.taken_back == [f"/v1/tasks/{client.sent}"] * tries
