"""OpenAI's responses that are kept, and its conversations: read, went on with, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from ..core.errors import InvalidRequest, NotFound
from ..core.records import Json
from .desk import Here
from .kept import Kept
from .open_bodies import Open
from .reading import ListOf
from .responses_api import as_it_is
from .responses_items import messages
from .routes import Route

PAGE = 100  # items at most

After = Query("", description="the items after this one in that order")
Limit = Query(20, ge=1, le=PAGE)
Order = Query("desc", description="newest first, or `asc`")


class NewConversation(Open):
    """A conversation to begin."""

    items: ListOf[dict[str, Any]] | None = None
    metadata: dict[str, Any] | None = None


class Labels(Open):
    """What a conversation is labelled with."""

    metadata: dict[str, Any] | None = None


class NewItems(Open):
    """Items to add, as in the `input` of a response."""

    items: ListOf[dict[str, Any]] = Field(min_length=1, max_length=PAGE)


class Conversing:
    """The handlers. What is somebody else's is not there."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["openai"])
        at = "/v1/responses/{response}"
        router.get(at)(self.response)
        router.delete(at)(self.forget)
        router.post(f"{at}/cancel")(self.cancel)
        router.get(f"{at}/input_items")(self.read_by)
        at = "/v1/conversations/{conversation}"
        router.post("/v1/conversations")(self.begin)
        router.get(at)(self.conversation)
        router.post(at)(self.label)
        router.delete(at)(self.end)
        router.get(f"{at}/items")(self.items)
        router.post(f"{at}/items")(self.add)
        router.get(f"{at}/items/{{item}}")(self.item)
        router.delete(f"{at}/items/{{item}}")(self.remove)
        return router

    async def response(self, request: Request, here: Here, response: str, stream: bool = False) -> dict[str, Any]:
        """A response that is kept, as it stands now."""
        if stream:
            raise InvalidRequest("a response that is kept comes whole; leave `stream` out", parameter="stream")
        return as_it_is(Kept(here).response(response), request.scope["background"])

    async def forget(self, request: Request, here: Here, response: str) -> dict[str, Any]:
        """Delete a response; what goes on from it needs the conversation to be sent again."""
        Kept(here).response(response)
        await request.scope["background"].cancel(response)
        await Kept(here).forget(response)
        return {"id": response, "object": "response", "deleted": True}

    async def cancel(self, request: Request, here: Here, response: str) -> dict[str, Any]:
        """Stop a response that is answered in the background; one that is waited for ends when its client leaves."""
        found = Kept(here).response(response)
        if not found["background"]:
            text = "only a response that is answered in the background is cancelled; to end another one, hang up"
            raise InvalidRequest(text, parameter="response_id")
        await request.scope["background"].cancel(response)
        return as_it_is(Kept(here).response(response), request.scope["background"])

    async def read_by(
        self, here: Here, response: str, after: str = After, limit: int = Limit,
        order: Literal["asc", "desc"] = Order,
    ) -> dict[str, Any]:  # fmt: skip
        """The items that a response was made of: all before it, and what was said then."""
        return _page(Kept(here).read_by(response), after, limit, order)

    async def begin(self, here: Here, body: NewConversation) -> dict[str, Any]:
        """Begin a conversation, which responses go on with; models and agents may take turns in it."""
        _check(body.items or ())
        kept = Kept(here)
        return _conversation(kept, await kept.begin(body.items or (), body.metadata))

    async def conversation(self, here: Here, conversation: str) -> dict[str, Any]:
        """A conversation, without its items."""
        return _conversation(Kept(here), conversation)

    async def label(self, here: Here, conversation: str, body: Labels) -> dict[str, Any]:
        """Give a conversation other metadata."""
        await Kept(here).label(conversation, body.metadata)
        return _conversation(Kept(here), conversation)

    async def end(self, here: Here, conversation: str) -> dict[str, Any]:
        """Delete a conversation; responses of it that were kept stay."""
        await Kept(here).end(conversation)
        return {"id": conversation, "object": "conversation.deleted", "deleted": True}

    async def items(
        self, here: Here, conversation: str, after: str = After, limit: int = Limit,
        order: Literal["asc", "desc"] = Order,
    ) -> dict[str, Any]:  # fmt: skip
        """The items of a conversation, as far as they are kept."""
        return _page(Kept(here).items(conversation), after, limit, order)

    async def add(self, here: Here, conversation: str, body: NewItems) -> dict[str, Any]:
        """Add items to a conversation, which nobody answers yet."""
        _check(body.items)
        return _list(await Kept(here).add(conversation, body.items), False)

    async def item(self, here: Here, conversation: str, item: str) -> dict[str, Any]:
        """One item of a conversation."""
        for each in Kept(here).items(conversation):
            if each["id"] == item:
                return each
        raise NotFound(f"there is no item {item!r} in {conversation!r}", kind="item", name=item)

    async def remove(self, here: Here, conversation: str, item: str) -> dict[str, Any]:
        """Delete an item of a conversation."""
        await Kept(here).remove(conversation, item)
        return _conversation(Kept(here), conversation)


def _check(items: Sequence[dict[str, Any]]) -> None:
    """Raise InvalidRequest for items that no answer could be made of."""
    messages(items, "items")


def _conversation(kept: Kept, identifier: str) -> dict[str, Json]:
    head = kept.conversation(identifier)
    return {"id": identifier, "object": "conversation", "created_at": head["created"], "metadata": head["metadata"]}


def _page(items: Sequence[dict[str, Json]], after: str, limit: int, order: str) -> dict[str, Json]:
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after:
        names = [item["id"] for item in ordered]
        if after not in names:
            raise InvalidRequest(f"there is no item {after!r} here", parameter="after")
        ordered = ordered[names.index(after) + 1 :]
    return _list(ordered[:limit], len(ordered) > limit)


def _list(items: Sequence[dict[str, Json]], more: bool) -> dict[str, Json]:
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {"first_id": None, "last_id": None}
    return {"object": "list", "data": list(items), **ends, "has_more": more}
