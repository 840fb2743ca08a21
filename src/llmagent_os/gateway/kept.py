"""What is kept of OpenAI's responses and conversations: a chain of records, each with what was said and answered.

A record names the one before it. A conversation is a name for the last one, so each turn writes what is new and no
more; models and agents may take turns in it, which is why it is no session of one agent.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any

from ..core import codec
from ..core.errors import NotFound
from ..core.records import Json, Message, owned
from .desk import Desk
from .responses_items import kind_of, messages

SPACE = "response"
Record = Mapping[str, Any]


class Kept:
    """What one person's responses and conversations hold; what is another's is not there."""

    def __init__(self, desk: Desk) -> None:
        self._facts = desk.system.facts
        self._space, self._principal = owned(desk.caller.tenant, SPACE), desk.caller.principal

    def _find(self, key: str) -> dict[str, Any] | None:
        found = self._facts.get(self._space, key)
        return found[1] if found is not None and found[1]["principal"] == self._principal else None

    def _put(self, key: str, record: Record) -> Awaitable[None]:
        """Write a record, which whoever reads sees at once."""
        return self._facts.put(self._space, key, {**record, "principal": self._principal})

    # -- responses

    def response(self, identifier: str) -> dict[str, Json]:
        """A response as it was answered; raises NotFound."""
        record = self._find(identifier)
        if record is None or not record.get("response"):
            raise NotFound(f"no response {identifier!r} is kept", kind="response", name=identifier)
        return {**record["response"], "output": record["output"]}

    def read_by(self, identifier: str) -> list[dict[str, Json]]:
        """The items that a response was made of: all before it, and what was said then."""
        self.response(identifier)
        *earlier, last = reversed(list(self._chain(identifier)))
        return [item for record in earlier for item in _items(record)] + list(last["input"])

    async def keep(
        self, response: Record, said: Sequence[Json], conversation: str | None = None, shown: bool = True
    ) -> None:
        """Keep a response with the items that were said before it, as the last of its conversation if it has one.

        Not `shown`, its items are part of the conversation alone.
        """
        key, before = response["id"], self._find(response["id"])
        head = self._find(conversation) if conversation is not None and before is None else None
        previous = response["previous_response_id"]
        if conversation is not None:  # one that is kept again has its place already
            previous = before["previous"] if before else head and head["last"]
        about = {name: value for name, value in response.items() if name != "output"} if shown else None
        record = {"previous": previous, "input": list(said), "output": response["output"], "response": about}
        written = [self._put(key, record)]
        if head is not None and conversation is not None:
            written.append(self._put(conversation, head | {"last": key}))
        await asyncio.gather(*written)

    async def forget(self, identifier: str) -> None:
        """Delete a response; raises NotFound. What goes on from it needs its items to be sent again.

        An empty record stays until its time is over, so that a conversation has what was before it.
        """
        self.response(identifier)
        record = self._find(identifier)
        await self._put(
            identifier, {"previous": record and record["previous"], "input": [], "output": [], "gone": True}
        )

    def said_until(self, identifier: str) -> list[Message]:
        """Everything said up to a response; raises NotFound."""
        parts: list[list[Message]] = []
        for record in self._chain(identifier):
            if "gone" in record:
                text = f"no response {identifier!r} is kept with all before it; send the conversation in `input`"
                raise NotFound(text, kind="response", name=identifier, parameter="previous_response_id")
            parts.append(_messages(record))
        return [message for part in reversed(parts) for message in part]

    def _chain(self, key: str | None) -> Iterator[Record]:
        """The records from one on backwards; where one is missing, `_GONE` is the last."""
        while key is not None:
            record = self._find(key)
            if record is None or "created" in record:  # a conversation is no response
                yield _GONE
                return
            yield record
            key = record["previous"]

    # -- conversations

    def conversation(self, identifier: str, parameter: str | None = None) -> dict[str, Any]:
        """The record of a conversation; raises NotFound."""
        head = self._find(identifier)
        if head is None or "created" not in head:
            more = {"parameter": parameter} if parameter else {}
            raise NotFound(f"there is no conversation {identifier!r}", kind="conversation", name=identifier, **more)
        return head

    async def begin(self, items: Sequence[Json], metadata: Json) -> str:
        """A new conversation's id."""
        identifier = f"conv_{uuid.uuid4().hex}"
        await self._put(identifier, {"created": int(time.time()), "metadata": metadata or {}, "last": None})
        await self.add(identifier, items)
        return identifier

    async def label(self, identifier: str, metadata: Json) -> None:
        """Give a conversation other metadata; raises NotFound."""
        await self._put(identifier, self.conversation(identifier) | {"metadata": metadata or {}})

    async def add(self, identifier: str, items: Sequence[Json]) -> list[dict[str, Json]]:
        """Add items to a conversation and return them with their ids; raises NotFound."""
        self.conversation(identifier)
        link = uuid.uuid4().hex
        named = numbered(items, link)
        if named:
            await self.keep(
                {"id": f"link_{link}", "previous_response_id": None, "output": []}, named, identifier, shown=False
            )
        return named

    def said_in(self, identifier: str) -> list[Message]:
        """Everything said in a conversation, as far as it is kept; raises NotFound."""
        return [message for record in self._records(identifier) for message in _messages(record)]

    def items(self, identifier: str) -> list[dict[str, Json]]:
        """The items of a conversation in order, as far as they are kept; raises NotFound."""
        return [item for record in self._records(identifier) for item in _items(record)]

    def _records(self, identifier: str) -> list[Record]:
        head = self.conversation(identifier, "conversation")
        return [record for record in reversed(list(self._chain(head["last"]))) if record is not _GONE]

    async def remove(self, identifier: str, item: str) -> None:
        """Delete an item of a conversation; raises NotFound."""
        found = next((each for each in self.items(identifier) if each["id"] == item), None)
        if found is None:
            raise NotFound(f"there is no item {item!r} in {identifier!r}", kind="item", name=item)
        key: str | None = self.conversation(identifier)["last"]
        while key is not None and (record := self._find(key)) is not None:
            less = {name: [each for each in record[name] if each["id"] != item] for name in ("input", "output")}
            if less != {name: record[name] for name in less}:
                await self._put(key, record | less)
            key = record["previous"]

    async def end(self, identifier: str) -> None:
        """Delete a conversation; raises NotFound. Its responses are kept, and what stood in it alone is deleted."""
        key: str | None = self.conversation(identifier)["last"]
        await self._facts.drop(self._space, identifier)
        while key is not None and (record := self._find(key)) is not None:
            if not record.get("response"):
                await self._facts.drop(self._space, key)
            key = record["previous"]

    # -- items

    def resolved(self, items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Items with those in the place of references that they refer to; raises NotFound for what is not kept."""
        return [
            self._item(str(item.get("id")), f"input[{i}].id") if kind_of(item) == "item_reference" else item
            for i, item in enumerate(items)
        ]

    def _item(self, name: str, where: str) -> Mapping[str, Any]:
        parts = name.split("_")
        if len(parts) == 3:  # its name tells where it stands
            for key in (f"resp_{parts[1]}", f"link_{parts[1]}"):
                record = self._find(key)
                for item in _items(record) if record is not None else ():
                    if item["id"] == name:
                        return item
        raise NotFound(f"no item {name!r} is kept; send it itself", kind="item", name=name, parameter=where)


_GONE: Record = {"gone": True}


def numbered(items: Sequence[Mapping[str, Any]], record: str) -> list[dict[str, Json]]:
    """Items as they are kept and shown: each with an id, a message with its text in parts."""
    return [{**_shown(item), "id": item.get("id") or f"msg_{record}_i{i}"} for i, item in enumerate(items)]


def _shown(item: Mapping[str, Any]) -> dict[str, Json]:
    if kind_of(item) != "message":
        return dict(item)
    said, role = item.get("content"), item.get("role")
    if isinstance(said, str):
        part: dict[str, Json] = {"type": "output_text", "annotations": []} if role == "assistant" else {}
        said = [{"type": "input_text", **part, "text": said}]
    return {"status": "completed", **item, "type": "message", "content": said or []}


def _items(record: Record) -> list[dict[str, Json]]:
    """The items of a record; one that was kept before there were any has none to show."""
    return [*record.get("input", ()), *record.get("output", ())]


def _messages(record: Record) -> list[Message]:
    if "messages" in record:  # kept before records had items
        return [codec.message(message) for message in record["messages"]]
    return messages(_items(record))
