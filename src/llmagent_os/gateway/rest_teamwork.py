"""REST: the boards and topics that agents share, what was written and published, and dead letters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ..boot.acts import place_of
from ..core.errors import not_found
from ..core.records import Json
from .desk import Desk, Here
from .rest_agents import Strict
from .routes import Route

DEAD = 100  # letters that are shown


class Whose(Strict):
    """Whose board or topics: the caller's (`person`), everybody's in the tenant, or those of a run."""

    of: Literal["run", "person", "tenant"] = "person"
    pid: int | None = Field(None, description="of a run: a process of it, such as that of a flow or one below it")
    principal: str | None = Field(None, description="another person's, with the scope `people`")


class Some(Whose):
    """How many dead letters."""

    limit: int = Field(20, ge=1, le=DEAD)


class Group(Whose):
    """A group of a topic."""

    group: str = Field(min_length=1)


class Retry(Group):
    """Which dead letters of it: by their ids; without them as many as it may hold."""

    ids: list[str] | None = Field(None, min_length=1, max_length=1000)


class Tries(Group):
    """After how many tries its messages are dead letters."""

    tries: int = Field(ge=1, le=100)


class Version(BaseModel):
    """A value that lay on a board: who wrote it, for whom, and whose words are in it that nobody vouches for."""

    version: int
    value: Any
    by: str
    principal: str
    origins: list[str]
    at: float | None = Field(None, description="seconds since the epoch; of a history")


class Letter(BaseModel):
    """A message that a group gave up: why, and when (seconds since the epoch)."""

    group: str
    id: str
    why: str
    at: float
    value: Any


class Counts(BaseModel):
    """Of a group how many messages wait, are held by its consumers, and are dead; and after how many tries they are."""

    waiting: int
    held: int
    dead: int
    tries: int


class Shown(BaseModel):
    """A topic: how many of its messages not all groups have settled, and its groups."""

    messages: int
    groups: dict[str, Counts]


class Teamwork:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(route_class=Route, tags=["teamwork"])
        router.get("/v1/board")(self.board)
        router.get("/v1/board/{key:path}")(self.history)
        router.get("/v1/topics")(self.topics)
        router.get("/v1/topics/{topic:path}/dead")(self.dead)
        router.post("/v1/topics/{topic:path}/retry")(self.retry)
        router.post("/v1/topics/{topic:path}/tries", status_code=204)(self.tries)
        return router

    async def board(self, here: Here, whose: Annotated[Whose, Query()]) -> dict[str, dict[str, Version]]:
        """What lies on a board, by key."""
        found = here.system.teamwork.boards.listed(_place(here, whose))
        return {"values": {key: Version(version=version, **kept) for key, (version, kept) in found.items()}}

    async def history(self, here: Here, key: str, whose: Annotated[Whose, Query()]) -> dict[str, list[Version]]:
        """The versions of a value that are kept, the last first; one that was taken away is null."""
        boards, place = here.system.teamwork.boards, _place(here, whose)
        if not (found := boards.history(place, key)):
            raise not_found("value", key, boards.listed(place))
        return {"versions": [Version.model_validate(each) for each in found]}

    async def topics(self, here: Here, whose: Annotated[Whose, Query()]) -> dict[str, dict[str, Shown]]:
        """The topics, by name."""
        found = here.system.teamwork.topics.listed(_place(here, whose))
        return {"topics": {name: Shown.model_validate(each) for name, each in found.items()}}

    async def dead(self, here: Here, topic: str, some: Annotated[Some, Query()]) -> dict[str, list[Letter]]:
        """The dead letters of a topic, the oldest of each group first."""
        _known(here, topic, some)
        found = here.system.teamwork.topics.dead(_place(here, some), topic, some.limit)
        return {"dead": [Letter.model_validate(each) for each in found]}

    async def retry(self, here: Here, topic: str, body: Retry) -> dict[str, int]:
        """Have a group be given dead letters once more, as if for the first time: an act, which is journalled."""
        _known(here, topic, body, body.group)
        return {"retried": await here.sys.act("topics.retry", topic=topic, **_said(body))}

    async def tries(self, here: Here, topic: str, body: Tries) -> None:
        """Say after how many tries a group's messages are dead letters, those that it holds too: an act."""
        _known(here, topic, body, body.group)
        await here.sys.act("topics.tries", topic=topic, **_said(body))


def _place(here: Desk, whose: Whose) -> str:
    return place_of(here.system.kernel, here.caller, whose.of, whose.pid, whose.principal)


def _known(here: Desk, topic: str, whose: Whose, group: str = "") -> None:
    """Raise NotFound for a topic that is not there, or has no such group, with the nearest."""
    found = here.system.teamwork.topics.listed(_place(here, whose))
    if topic not in found:
        raise not_found("topic", topic, found)
    groups: dict[str, Json] = found[topic]["groups"]
    if group and group not in groups:
        raise not_found("group", group, groups)


def _said(body: Whose) -> dict[str, Any]:
    return body.model_dump(exclude_none=True)
