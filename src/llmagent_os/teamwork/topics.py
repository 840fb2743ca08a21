"""Topics: messages that every group of consumers is given once more than it fails, in order, until it settles them.

A message is a row of the mailbox's table in a box of the topic's, numbered in order of commits. Of a group there is one
record: up to which number it was given them, and those that somebody holds. It is written with the row of the call that
changes it, and groups wait for themselves alone until that is durable. Whoever holds a message loses it when its turn
ends, or its time; after so many tries it is a dead letter. Once all groups have settled a message it is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

from ..core import codec
from ..core.commits import Statement
from ..core.errors import Conflict, InvalidRequest, NotFound
from ..core.records import Call, Json, Part
from ..core.rows import listed
from ..kernel.kernel import Kernel
from ..kernel.process import Process
from . import places

MOST = 10_000  # messages of a topic that some group has not settled
HELD = 1000  # messages of a group that are given out at a time
GROUPS = 5000  # of a topic
LEASE, TRIES = 60.0, 5
LOOK = 1.0  # seconds between two looks whether somebody has lost what it holds
RECENT = 256  # topics that stay in memory although nobody uses them
REASON = 500  # characters


class Held(NamedTuple):
    """A message that is given out: its number, the how-manieth time, to which process in which turn, until when, and
    for whom: a process may work for several people, also within a turn.
    """

    n: int
    tries: int
    pid: int
    turn: int
    until: float
    whom: str = ""  # a digest: what everybody's topic keeps names nobody


@dataclass(slots=True)
class Group:
    """Its record: up to which number it was given messages, those that are out, after how many tries one is dead."""

    cursor: int
    held: list[Held] = field(default_factory=list)
    tries: int = TRIES
    whose: str = ""  # the principal whose it is; nobody's where it is everybody's

    @property
    def floor(self) -> int:
        """Up to here all is settled."""
        return min([self.cursor, *(each.n - 1 for each in self.held)])


@dataclass(slots=True, eq=False, weakref_slot=True)
class Topic:
    """What is kept in memory of a topic: who waits, and what saves looking into its records."""

    place: str
    name: str
    floors: dict[str, int] | None = None  # by group; None: to be read
    high: int = 0  # the last number that a group was given: no message may come before it
    size: int = MOST  # messages that are not settled, at most
    coming: int = 0  # that are being published
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)  # by group
    takers: dict[str, deque[asyncio.Future[None]]] = field(default_factory=dict)  # by group, the first one first
    publishers: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def space(self) -> str:
        """Where the records of its groups are."""
        return f"{self.place}/topic:{quote(self.name, '')}"

    @property
    def box(self) -> str:
        """The box of its messages; it has no slash, so nobody sends to it."""
        return f"topic:{self.place.replace('/', ':')}:{quote(self.name, '')}"

    def lock(self, group: str) -> asyncio.Lock:
        """Whoever changes a group holds this."""
        return self.locks.setdefault(group, asyncio.Lock())

    def dead(self, group: str) -> str:
        """The box of a group's dead letters."""
        return f"dead:{self.box[6:]}:{quote(group, '')}"


class Topics:
    """The handlers, and what people look at."""

    def __init__(self, kernel: Callable[[], Kernel]) -> None:
        self._kernel = kernel
        self._topics: WeakValueDictionary[tuple[str, str], Topic] = WeakValueDictionary()
        self._recent: deque[Topic] = deque(maxlen=RECENT)

    def _read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._kernel().journal.store.read(query, *params)

    # -- what is there

    def listed(self, place: str) -> dict[str, dict[str, Json]]:
        """Of each topic how many messages are not settled, and of each group what waits, is held, and is dead."""
        prefix = Topic(place, "").box
        counts = {unquote(box[len(prefix) :]): n for box, n in self._read("topic.boxes", prefix, f"{prefix}\U0010ffff")}
        start = Topic(place, "").space
        spaces = [space for (space,) in self._read("record.spaces", start, f"{start}\U0010ffff")]
        names = sorted(counts.keys() | {unquote(space[len(start) :]) for space in spaces})
        return {
            name: {"messages": counts.get(name, 0), "groups": self._groups(Topic(place, name))} for name in names
        }  # fmt: skip

    def _groups(self, topic: Topic) -> dict[str, dict[str, int]]:
        found = {}
        for name, _, data in self._read("record.list", topic.space, "", -1):
            group = _loaded(data)
            waits = self._read("topic.count", topic.box, group.cursor)[0][0]
            dead = self._kernel().table.waiting_messages(topic.dead(name))
            found[name] = {"waiting": waits, "held": len(group.held), "dead": dead, "tries": group.tries}
        return found

    def dead(self, place: str, name: str, limit: int = 100) -> list[dict[str, Json]]:
        """The dead letters of a topic, the oldest of each group first: `{group, id, why, at, value}`."""
        topic = Topic(place, name)
        told = [
            {"group": group, "id": row[1], "why": row[6], "at": row[7], "value": self._unpacked(row)}
            for group, *_ in self._read("record.list", topic.space, "", -1)
            for row in self._read("message.first", topic.dead(group), limit)
        ]
        return told[:limit]

    def _unpacked(self, row: Sequence[Any]) -> Json:
        return self._kernel().journal.unpack(row[3])

    # -- publishing

    async def publish(self, call: Call, process: Process) -> str:
        """Publish a message and return its id. Under the same `key` the same message is there once.

        Where the topic is full it waits for room (`wait`), or raises Conflict.
        """
        call.origins, args, kernel = (), places.given(call), self._kernel()
        topic = self._topic(call, process)
        places.data(args["value"])
        identifier = places.name(args["key"], "key") if args.get("key") is not None else call.key
        while self._full(topic):
            if not args.get("wait"):
                text = f"topic {topic.name!r} has {MOST:,} messages that not all of its groups have settled"
                raise Conflict(f"{text}, and that is the most; publish it later, or with `wait: true`", most=MOST)
            await _news(topic.publishers, LOOK)
        self._reserve(topic, call)
        self._floors(topic)
        body, sender = kernel.journal.pack(args["value"], call.writes), "" if process.service else process.box
        row = (topic.high, identifier, topic.box, body, sender, time.time(), listed(process.made_of()), call.tenant)
        call.writes.append(("topic.add", (*row, call.principal)))
        call.after.append(lambda: self._published(topic))
        return identifier

    def _full(self, topic: Topic) -> bool:
        if topic.size + topic.coming < MOST:
            return False
        topic.size = self._kernel().table.waiting_messages(topic.box)
        return topic.size + topic.coming >= MOST

    def _reserve(self, topic: Topic, call: Call) -> None:
        def over() -> None:
            topic.coming -= 1

        topic.coming += 1
        call.ends.append(over)

    def _published(self, topic: Topic) -> None:
        topic.size += 1
        for waiting in topic.takers.values():
            _wake(waiting)

    # -- consuming

    async def take(self, call: Call, process: Process) -> list[dict[str, Json]]:
        """The next messages for a group, `most` of them, each as `{n, id, value, tries, origins}`; the last two where
        they are more than one, and any.

        They are the caller's until it settles them, its turn ends, or `lease` seconds are over. The first take makes
        the group: it is given what is published from then on, the first group of a topic also what was before, each
        `tries` times; InvalidRequest for other `tries` later. Waits `wait` seconds for a message, then gives none.
        """
        call.origins, args, loop = (), places.given(call), asyncio.get_running_loop()
        topic, group = self._topic(call, process), places.name(args["group"], "group")
        end = loop.time() + args.get("wait", 0)
        process.doing = "waiting"
        try:
            await self._join(topic, group, call.principal, args.get("tries", TRIES))
            while True:
                while process.life.paused:
                    await process.go.wait()
                if found := await self._given(topic, group, call, process):
                    return found
                left = end - loop.time()
                if left <= 0:
                    return []
                await _news(topic.takers.setdefault(group, deque()), min(left, LOOK))
        finally:
            process.doing = "running"

    async def _given(self, topic: Topic, name: str, call: Call, process: Process) -> list[dict[str, Json]]:
        """What there is for a group now; it is kept from others until that is durable."""
        args, now, writes = places.given(call), time.time(), list[Statement]()
        async with self._alone(topic, name, call) as keep:
            group = self._group(topic, name)
            if args.get("tries", group.tries) != group.tries:  # it is for all of its consumers to count on
                text = f"the group's messages are dead letters after {group.tries} tries, for all who take"
                raise InvalidRequest(f"{text}: leave `tries` out, or change it with `topics tries`", parameter="tries")
            lost = [each for each in group.held if self._lost(each, now)]
            buried = self._bury(topic, name, group, lost, "nobody settled it in time", writes)
            again = {each.n: each.tries for each in lost if each in group.held}
            numbers = sorted(again)[: args.get("most", 1)]
            group.held = [each for each in group.held if each.n not in numbers]
            more = min(args.get("most", 1) - len(numbers), HELD - len(group.held) - len(again))
            new = self._read("topic.after", topic.box, call.tenant, group.cursor, max(0, more))
            these = codec.dumps(numbers).decode()
            boxes = (topic.box, topic.dead(name)) if numbers else ()  # the other has what people want tried once more
            found = [row for box in boxes for row in self._read("topic.these", box, call.tenant, these)] + new
            until = now + args.get("lease", LEASE)
            taker = process.pid, process.turn, until, _whom(call)
            group.held += [Held(row[0], again.get(row[0], 0) + 1, *taker) for row in found]
            group.cursor = max([group.cursor, *(row[0] for row in new)])
            writes.append(_kept(topic, name, group))
            if found:
                keep()
                call.writes += writes
                call.after.append(lambda: self._moved(topic, name, group))
            elif buried or numbers:  # the caller waits on
                await self._kernel().journal.append(writes, lambda: self._moved(topic, name, group))
        told = [self._told(row, again.get(row[0], 0) + 1, call.principal) for row in found]
        call.origins = tuple(dict.fromkeys(o for each in told for o in each.get("origins", ())))
        return told

    def _told(self, row: Sequence[Any], tries: int, reader: str) -> dict[str, Json]:
        n, identifier, _, _, _, _, _, _, origins, _, principal = row
        told = {"n": n, "id": identifier, "value": self._unpacked(row)}
        whose = places.whose(codec.loads(origins) if origins else (), principal, reader)
        return told | ({"tries": tries} if tries > 1 else {}) | ({"origins": whose} if whose else {})

    async def settle(self, call: Call, process: Process) -> dict[str, int]:
        """Say of messages by their numbers that they are done with, or (`failed`, in words) that they are not.

        `{settled}`: how many of them the caller held, for the same person and in the same turn; of others that is not
        for it to say.
        """
        call.origins, args = (), places.given(call)
        topic, name, failed = self._topic(call, process), places.name(args["group"], "group"), args.get("failed")
        async with self._alone(topic, name, call) as keep:
            group, wanted = self._group(topic, name), set(args["numbers"])
            caller = process.pid, process.turn, _whom(call)
            mine = [each for each in group.held if each.n in wanted and (each.pid, each.turn, each.whom) == caller]
            numbers = {each.n for each in mine}
            if failed is None:
                group.held = [each for each in group.held if each.n not in numbers]
            else:
                self._bury(topic, name, group, mine, failed[:REASON], call.writes)
                group.held = [each._replace(pid=0) if each.n in numbers else each for each in group.held]
            if mine:
                keep()
                self._change(call, topic, name, group)
        return {"settled": len(mine)}

    def _change(self, call: Call, topic: Topic, name: str, group: Group) -> None:
        call.writes.append(_kept(topic, name, group))
        call.after.append(lambda: self._moved(topic, name, group))

    def _lost(self, held: Held, now: float) -> bool:
        """Whether who was given a message has it no more: it gave it back, has ended, or its turn or time is over."""
        if not held.pid or held.until <= now:
            return True
        process = self._kernel().table.find(held.pid)
        return process is None or process.life.ended or process.turn != held.turn

    def _bury(
        self, topic: Topic, name: str, group: Group, held: Iterable[Held], why: str, writes: list[Statement]
    ) -> bool:  # fmt: skip
        """Make those of some messages dead letters that were tried often enough; whether there are any."""
        dead = [each for each in held if each.tries >= group.tries]
        for each in dead:
            boxes = topic.box, topic.dead(name)  # the other where it was one already
            writes.append(("topic.bury", (topic.dead(name), why, time.time(), each.n, *boxes)))
            group.held.remove(each)
        return bool(dead)

    # -- what people do

    async def retry(self, call: Call, place: str, name: str, group: str, ids: Collection[str] | None) -> int:
        """Have a group be given its dead letters once more, by their ids or (None) all that it may hold; how many."""
        topic = self._at(place, name)
        async with self._alone(topic, group, call) as keep:
            made = self._group(topic, group)
            dead = [row for row in self._read("message.first", topic.dead(group), MOST) if ids is None or row[1] in ids]
            for n, *_ in (dead := dead[: HELD - len(made.held)]):
                made.held.append(Held(n, 0, 0, 0, 0.0))
                call.writes.append(("topic.retry", (time.time(), n)))
            keep()
            self._change(call, topic, group, made)
        return len(dead)

    async def change(self, call: Call, place: str, name: str, group: str, tries: int) -> None:
        """Say after how many tries the messages of a group are dead letters, those that it holds too."""
        topic = self._at(place, name)
        async with self._alone(topic, group, call) as keep:
            made = self._group(topic, group)
            made.tries = tries
            keep()
            self._change(call, topic, group, made)

    # -- groups

    async def _join(self, topic: Topic, name: str, principal: str, tries: int) -> None:
        """Make a group where there is none: it is durable before anything waits for its messages."""
        async with topic.lock(name):
            floors = self._floors(topic)
            if name in floors:
                return
            if len(floors) >= GROUPS:
                text = f"topic {topic.name!r} has {GROUPS:,} groups, and that is the most"
                raise InvalidRequest(text, parameter="group")
            newest, whose = self._read("message.newest")[0][0] if floors else 0, places.owner(topic.place, principal)
            made = Group(newest, tries=tries, whose=whose)
            await self._kernel().journal.append([_kept(topic, name, made)])
            self._floors(topic).setdefault(name, made.floor)

    def _group(self, topic: Topic, name: str) -> Group:
        rows = self._read("record.get", topic.space, name)
        if not rows:
            raise NotFound(f"topic {topic.name!r} has no group of that name; the first `topic_take` makes it")
        return _loaded(rows[0][1])

    def _moved(self, topic: Topic, name: str, group: Group) -> None:
        """A group is written: what was given back is for others, and what all groups have settled is taken."""
        for each in group.held:
            if not each.pid:
                _wake(topic.takers.get(name, ()))
        floors = self._floors(topic)
        before, floors[name], topic.high = floors.get(name, 0), group.floor, max(topic.high, group.cursor)
        lowest = min(floors.values())
        if lowest > before:
            append = self._kernel().journal.append([("topic.settle", (topic.box, lowest))], lambda: self._room(topic))
            append.add_done_callback(lambda done: done.cancelled() or done.exception())  # the next one settles it, too

    def _room(self, topic: Topic) -> None:
        for _ in range(len(topic.publishers)):
            _wake(topic.publishers)

    def _topic(self, call: Call, process: Process) -> Topic:
        args = places.given(call)
        return self._at(places.place(process, call, args.get("of", "person")), places.name(args["topic"], "topic"))

    def _at(self, place: str, name: str) -> Topic:
        found = self._topics.get((place, name))
        if found is None:
            found = self._topics[place, name] = Topic(place, name)
            self._recent.append(found)
        return found

    def _floors(self, topic: Topic) -> dict[str, int]:
        if topic.floors is None:
            groups = {name: _loaded(data) for name, _, data in self._read("record.list", topic.space, "", -1)}
            topic.high = max([topic.high, *(each.cursor for each in groups.values())])
            topic.floors = {name: each.floor for name, each in groups.items()}
        return topic.floors

    @asynccontextmanager
    async def _alone(self, topic: Topic, name: str, call: Call) -> AsyncIterator[Callable[[], None]]:
        """A block in which nobody else changes a group; where it says `keep()`, until the call is over."""
        lock, kept = topic.lock(name), False

        def keep() -> None:
            nonlocal kept
            kept = True
            call.ends.append(lock.release)

        await lock.acquire()
        try:
            yield keep
        finally:
            if not kept:
                lock.release()

    # -- people

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """Nothing that is not in messages and records; see `core.ports.Personal`."""
        return ()

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """Forget what is in memory of records that may be erased; returns 0."""
        for topic in list(self._topics.values()):
            topic.floors, topic.size = None, MOST
        return 0


def taken(args: Any, result: Any, origins: Sequence[str]) -> list[Part]:
    """The words of messages that were taken, each with whose they are."""
    return [Part(each["value"], tuple(each.get("origins", ()))) for each in result or ()]


def _whom(call: Call) -> str:
    return codec.digest("topic", call.principal.encode())


def _kept(topic: Topic, name: str, group: Group) -> tuple[str, tuple[Any, ...]]:
    value: dict[str, Json] = {"cursor": group.cursor, "tries": group.tries, "held": [list(each) for each in group.held]}
    value |= {"principal": group.whose} if group.whose else {}
    return "record.put", (topic.space, name, 1, codec.dumps(value), time.time())


def _loaded(data: bytes) -> Group:
    kept = codec.loads(data)
    return Group(kept["cursor"], [Held(*each) for each in kept["held"]], kept["tries"], kept.get("principal", ""))


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    """Let the first who waits go on, and still waits."""
    for each in waiting:
        if not each.done():
            each.set_result(None)
            return


async def _news(waiting: deque[asyncio.Future[None]], seconds: float) -> None:
    """Wait to be woken, so long at most."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _wake, (future,))
    waiting.append(future)
    try:
        await future
    finally:
        timer.cancel()
        waiting.remove(future)
