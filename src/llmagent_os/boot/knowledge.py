"""Knowledge on a whole system: what people add, keep in step and remove. Here the rooms meet, which know no other."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import InvalidRequest
from ..core.records import SHARED, Call, Document, Json, Place
from ..knowledge.base import Knowledge
from ..knowledge.folders import sync
from ..knowledge.readers import read
from ..security.administration import Deed
from ..security.identity import Caller


def knowledge_acts(knowledge: Knowledge, data: Path) -> dict[str, Deed]:
    """What does the acts of people: what is for everybody takes the scope `agents:write`, a folder `system`.

    The files in `data` are the system's own.
    """

    async def add(call: Call, by: Caller) -> Json:
        args, source = call.args, call.args["source"]
        place = _meant(call, by)
        origins = () if args["trusted"] else (f"document {source}",)
        found = await read(args["data"].value, args["name"], (call.tenant, call.principal))
        documents = (Document(source, each.text, args["title"] or each.title, each.at, tuple(args["tags"]), origins)
                     for each in found)  # fmt: skip
        if not found:
            raise InvalidRequest(f"{args['name']}: there is no text in it", parameter="file")
        new = await knowledge.add(place, documents)
        return {"source": source, "documents": len(found), "passages": new, "changed": new > 0}

    async def remove(call: Call, by: Caller) -> Json:
        place, source = _meant(call, by), call.args["source"]
        below = knowledge.sources(place, source.rstrip("/") + "/") if call.args["below"] else ()
        return {"removed": sum([await knowledge.remove(place, each) for each in dict.fromkeys((source, *below))])}

    async def folder(call: Call, by: Caller) -> Json:
        by.need("system")
        origins = () if call.args["trusted"] else None
        where, tags = Path(call.args["folder"]), call.args["tags"]
        done = await sync(knowledge, _meant(call, by), where, tags, origins, own=data)
        return done.told()

    return {"knowledge.add": add, "knowledge.remove": remove, "knowledge.sync": folder}


def _meant(call: Call, by: Caller) -> Place:
    """Whose knowledge is changed: the caller's own unless it is `shared`."""
    if call.args["shared"]:
        by.need("agents:write")
    return Place(call.tenant, call.args["agent"], SHARED if call.args["shared"] else call.principal)
