"""Knowledge on a whole system: what people add, keep in step and remove. Here the rooms meet, which know no other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import InvalidRequest, NotFound
from ..core.records import SHARED, Call, Document, Json, Place, Sought
from ..knowledge.base import Knowledge, Known, Said
from ..knowledge.folders import sync
from ..knowledge.memory import BESIDE, MEMORY, PINNED, Memory, document, said_by
from ..knowledge.readers import read
from ..security.administration import Deed
from ..security.identity import Caller


def knowledge_acts(knowledge: Knowledge, data: Path) -> dict[str, Deed]:
    """What does the acts of people: what is for everybody takes the scope `agents:write`, a folder `system`.

    The files in `data` are the system's own.
    """

    async def add(call: Call, by: Caller) -> Json:
        args, source = call.args, document(call.args["source"])
        place = meant(call, by)
        was = knowledge.said(place, source) or Said("", (), trusted=False)
        trusted, tags = args["trusted"], _tags(args["tags"])
        tags = was.tags if tags is None else tags
        origins = () if (was.trusted if trusted is None else trusted) else (f"document {source}",)
        found = await read(args["data"].value, args["name"], (call.tenant, call.principal))
        documents = (Document(source, each.text, args["title"] or each.title, each.at, tags, origins)
                     for each in found)  # fmt: skip
        if not found:
            raise InvalidRequest(f"{args['name']}: there is no text in it", parameter="file")
        new = await knowledge.add(place, documents)
        return {"source": source, "documents": len(found), "passages": new, "changed": new > 0}

    async def remove(call: Call, by: Caller) -> Json:
        place, source = meant(call, by), call.args["source"]
        below = knowledge.sources(place, source.rstrip("/") + "/") if call.args["below"] else ()
        return {"removed": sum([await knowledge.remove(place, each) for each in dict.fromkeys((source, *below))])}

    async def folder(call: Call, by: Caller) -> Json:
        by.need("system")
        where, tags, trusted = Path(call.args["folder"]), _tags(call.args["tags"]), call.args["trusted"]
        done = await sync(knowledge, meant(call, by), where, tags, trusted, own=data)
        return done.told()

    async def stop(call: Call, by: Caller) -> Json:
        by.need("system")
        key = meant(call, by), os.path.realpath(call.args["folder"])
        found = knowledge.syncing.get(key)
        if found is not None:
            found.stopped = True
        return {"stopped": found is not None}

    return {"knowledge.add": add, "knowledge.remove": remove, "knowledge.sync": folder, "knowledge.stop": stop,
            **_memories(knowledge)}  # fmt: skip


def _memories(knowledge: Knowledge) -> dict[str, Deed]:
    """What changes memories: the caller's own; with the scope `agents:write` also those that are everybody's."""
    memory = Memory(knowledge)

    async def edit(call: Call, by: Caller) -> Json:
        (known,) = _seen(knowledge, by, call.args["memory"], 1)
        await memory.edit(known.place, known.source, call.args["text"], said_by(known.place, call.principal))
        return {"memory": knowledge.of(known.place, known.source)[0].document}

    async def forget(call: Call, by: Caller) -> Json:
        args, gone = call.args, 0
        for known in _seen(knowledge, by, args["memory"], 1 if args["memory"] else -1, args["agent"], args["since"]):
            gone += await knowledge.remove(known.place, known.source)
        return {"forgotten": gone}

    async def pin(call: Call, by: Caller) -> Json:
        place, name, text = meant(call, by), call.args["name"], call.args["text"]
        if not text and not any(knowledge.said(place, PINNED + name + end) for end in ("", BESIDE)):
            raise NotFound(f"nothing is pinned as {name!r}; see: llmagent-os memory list", kind="note", name=name)
        said = Document("", text, origins=said_by(place, call.principal))
        return {"source": await memory.pin(place, name, said)}

    return {"memory.edit": edit, "memory.forget": forget, "memory.pin": pin}


def _seen(
    knowledge: Knowledge, by: Caller, number: int, limit: int, agent: str | None = None, since: float = 0.0
) -> list[Known]:  # fmt: skip
    """A memory by its number, or without one all that were written since; raises NotFound, and where it is not theirs
    to change.
    """
    places = knowledge.places(by.tenant, agent, by.sight)
    found = knowledge.documents(places, Sought("", source=MEMORY), max(number - 1, 0), limit)
    found = [each for each in found if (each.document == number if number else each.added >= since)]
    if number and not found:
        raise NotFound(f"there is no memory {number}; see: llmagent-os memory list", kind="memory", name=str(number))
    if any(each.place.principal != by.principal for each in found):
        by.need("agents:write")
    return found


def _tags(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The tags that were said, without empty ones: None where nothing was, which leaves those from before."""
    return None if given is None else tuple(filter(None, given))


def meant(call: Call, by: Caller) -> Place:
    """Whose knowledge is changed: the caller's own unless it is `shared`."""
    if call.args["shared"]:
        by.need("agents:write")
    return Place(call.tenant, call.args["agent"], SHARED if call.args["shared"] else call.principal)
