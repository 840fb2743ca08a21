"""REST: facts and rules, what follows from them and why."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from ..core.errors import InvalidRequest, NotFound
from ..core.records import Hidden
from ..knowledge import triples
from ..knowledge.rules import graph, svg
from ..knowledge.triples import BASE, FORMATS
from .desk import Desk, Here
from .rest_files import BYTES, sent
from .rest_knowledge import Whose, seen
from .routes import Route

Time = float | str | None
"""Seconds since the epoch, or a date like 2026-03-01."""


class Stated(BaseModel):
    """A fact."""

    subject: str
    predicate: str
    object: str | int | float
    since: Time = Field(None, description="seconds since the epoch, or a date like 2026-03-01; when it is told without")
    until: Time = None
    confidence: float = Field(1.0, gt=0, le=1)
    sentence: str = Field("", description="what says so")


class Stating(Whose):
    """Facts that somebody tells."""

    facts: list[Stated] = Field(min_length=1, max_length=10_000)
    source: str = Field("", description="where they are from; the caller without")
    trusted: bool = Field(True, description="their words may direct an agent, as the caller's own do")


class Table(Whose):
    """A table whose rows are facts, in place of what was told by it."""

    source: str = Field(min_length=1, description="the name by which it is replaced and removed")
    name: str = Field("", description="its file's name, whose ending says how it is read; the source without")
    mapping: str = Field(
        "null", description='JSON like {"subject": "{name}", "facts": {"born in": "{city}"}}: columns in braces'
    )
    base: str = Field(BASE, description="what stands before names in a file of RDF, which needs no mapping")
    trusted: bool = False


class Which(BaseModel):
    """Which facts."""

    agent: str | None = Field(None, description="what this agent looks into; all there is without")
    subject: str | None = None
    predicate: str | None = None
    source: str | None = None
    after: int = 0
    limit: int = Field(100, ge=1, le=1000)


class Lost(Whose):
    """Which facts are removed."""

    number: list[int] = Field(default_factory=list)
    source: str = ""


class Merged(Whose):
    """Two names of the same thing."""

    kept: str
    other: str


class Numbered(Whose):
    """Which merging is taken back."""

    number: int


class Named(Whose):
    """A file of rules."""

    name: str = Field(min_length=1)


class Asking(BaseModel):
    """What is asked of facts and rules: one of `question`, `about` and `check`."""

    agent: str | None = Field(None, description="what this agent looks into; all there is without")
    question: str | None = Field(None, description='like room(X, "Room 2"): what begins with a capital is asked for')
    about: str | None = Field(None, description="a text: what is known and follows about what it names")
    check: str | None = Field(None, description="a text: what it says that is known to be otherwise")
    limit: int = Field(10, ge=1, le=50)
    at: float | None = Field(None, description="a moment, in seconds since the epoch; now without")


class Explained(BaseModel):
    """A fact whose proof is asked for."""

    fact: str = Field(description='like room("budget meeting", "Room 2")')
    agent: str | None = None
    at: float | None = None
    svg: bool = Field(False, description="as an SVG image too")


class Near(BaseModel):
    """What is drawn."""

    agent: str | None = None
    about: str = Field("", description="a name: with what is near it; everything without")
    depth: int = Field(2, ge=1, le=5)
    limit: int = Field(100, ge=1, le=500)
    svg: bool = Field(False, description="as an SVG image too")


class Based(BaseModel):
    """Which facts are seen as RDF, and as what."""

    agent: str | None = Field(None, description="what this agent looks into; all there is without")
    base: str = Field(BASE, description="what stands before a name in its IRI")


class Sparql(Based):
    """A question in SPARQL."""

    query: str = Field(max_length=100_000, description="SELECT, ASK, CONSTRUCT or DESCRIBE; the prefix : is the base")
    limit: int = Field(100, ge=1, le=1000)


class Exported(Based):
    """A file that facts are written to."""

    format: str = Field("ttl", description=", ".join(FORMATS))


class Reading(Whose):
    """Documents that facts are read in."""

    source: str = Field("", description="how the name of where they are from begins")
    model: str = Field("", description="a model that reads them; the patterns of the rules without")
    calls: int = Field(20, ge=1, le=10_000, description="of the model, at most")
    after: int = Field(0, description="the number of the document after which a model goes on")


class Facts:
    """The handlers."""

    def router(self) -> APIRouter:
        """The routes."""
        router, at = APIRouter(route_class=Route, tags=["knowledge"]), "/v1/knowledge"
        router.get(f"{at}/facts")(self.facts)
        router.post(f"{at}/facts", status_code=201)(self.state)
        router.put(f"{at}/facts", openapi_extra=BYTES)(self.load)
        router.delete(f"{at}/facts")(self.remove)
        router.get(f"{at}/names")(self.names)
        router.post(f"{at}/names", status_code=201)(self.merge)
        router.delete(f"{at}/names")(self.part)
        router.get(f"{at}/rules")(self.rules)
        router.put(f"{at}/rules", openapi_extra=BYTES)(self.rule)
        router.delete(f"{at}/rules")(self.unrule)
        router.post(f"{at}/infer")(self.infer)
        router.get(f"{at}/explain")(self.explain)
        router.get(f"{at}/graph")(self.graph)
        router.post(f"{at}/sparql")(self.sparql)
        router.get(f"{at}/export", response_class=Response)(self.export)
        router.post(f"{at}/extract")(self.extract)
        return router

    async def facts(self, here: Here, query: Annotated[Which, Query()]) -> dict[str, Any]:
        """Facts by number, those that were superseded or have ended too: `holds` says whether each does now."""
        about = query.model_dump(exclude={"agent"})
        return {"facts": await here.system.told.listed(seen(here, query.agent), **about)}

    async def state(self, here: Here, body: Stating) -> dict[str, Any]:
        """Add facts; returns their numbers. A newer one of a functional predicate supersedes the older one."""
        done: dict[str, Any] = await here.sys.act("knowledge.facts", **body.model_dump())
        return done

    async def load(self, here: Here, query: Annotated[Table, Query()], request: Request) -> dict[str, Any]:
        """Have the facts of a source be the rows of the table, or the triples, that are the body; what is not there any
        more ends now.
        """
        try:
            mapping = json.loads(query.mapping)
        except ValueError as error:
            raise InvalidRequest(f"the mapping is not JSON: {error}", parameter="mapping") from None
        told = query.model_dump() | {"name": query.name or query.source, "mapping": mapping}
        done: dict[str, Any] = await here.sys.act("knowledge.facts", **told, data=Hidden(await sent(request)))
        return done

    async def remove(self, here: Here, query: Annotated[Lost, Query()]) -> dict[str, Any]:
        """Forget facts for good, by number or source."""
        told = query.model_dump(exclude={"number"}) | {"numbers": query.number}
        done: dict[str, Any] = await here.sys.act("knowledge.forget", **told)
        return done

    async def names(self, here: Here, agent: str | None = None) -> dict[str, Any]:
        """Which names were merged, by the number that takes it back."""
        return {"names": here.system.told.merged(seen(here, agent))}

    async def merge(self, here: Here, body: Merged) -> dict[str, Any]:
        """Let `other` stand for what `kept` stands for."""
        done: dict[str, Any] = await here.sys.act("knowledge.merge", **body.model_dump())
        return done

    async def part(self, here: Here, query: Annotated[Numbered, Query()]) -> dict[str, Any]:
        """Take a merging back, whatever came after it."""
        await here.sys.act("knowledge.part", **query.model_dump())
        return {"parted": query.number}

    async def rules(self, here: Here, agent: str | None = None) -> dict[str, Any]:
        """The files of rules."""
        return {"rules": here.system.told.rules(seen(here, agent))}

    async def rule(self, here: Here, query: Annotated[Named, Query()], request: Request) -> dict[str, Any]:
        """Keep the body, a text of rules, in place of what had its name, once it is checked with the others."""
        try:
            text = (await sent(request)).decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{query.name} is not text in UTF-8: {error.reason}", parameter="rules") from None
        done: dict[str, Any] = await here.sys.act("knowledge.rules", **query.model_dump(), data=Hidden(text))
        return done

    async def unrule(self, here: Here, query: Annotated[Named, Query()]) -> dict[str, Any]:
        """Remove a file of rules."""
        await here.sys.act("knowledge.drop_rules", **query.model_dump())
        return {"removed": query.name}

    async def infer(self, here: Here, asked: Asking) -> dict[str, Any]:
        """What follows, each answer with its proof; where there is none, `why_not` says what each rule lacks."""
        told, places = here.system.told, seen(here, asked.agent)
        if sum(each is not None for each in (asked.question, asked.about, asked.check)) != 1:
            raise InvalidRequest("say one of `question`, `about` and `check`", parameter="question")
        if asked.check is not None:
            found = await told.contradicted(places, asked.check)
            return {"contradictions": [{"claim": claim._asdict(), **known.told()} for _, claim, known in found]}
        if asked.about is not None:
            return (await told.about(places, asked.about, asked.limit)).told()
        return (await told.infer(places, asked.question or "", asked.limit, asked.at)).told()

    async def explain(self, here: Here, query: Annotated[Explained, Query()]) -> dict[str, Any]:
        """The proof of a fact, down to the sentences that say so; 404, with why not, where it does not follow."""
        found = await here.system.told.infer(seen(here, query.agent), query.fact, 1, query.at)
        if not found.answers:
            why = "; ".join(map(str, found.missing))
            raise NotFound(f"{query.fact} does not follow: {why}", why_not=list(map(str, found.missing)))
        (answer,) = found.answers
        return answer.told() | ({"svg": svg(answer.proof)} if query.svg else {})

    async def graph(self, here: Here, query: Annotated[Near, Query()]) -> dict[str, Any]:
        """Facts as a graph, given and concluded."""
        found = await here.system.told.graph(seen(here, query.agent), query.about, query.depth, query.limit)
        edges = [dict(zip(("subject", "predicate", "object"), each, strict=True)) for each in found]
        nodes = list(dict.fromkeys(end for subject, _, thing in found for end in (subject, thing)))
        return {"nodes": nodes, "edges": edges} | ({"svg": graph(found, query.about)} if query.svg else {})

    async def sparql(self, here: Here, asked: Sparql) -> dict[str, Any]:
        """Answer a question in SPARQL from the facts that hold now, which it changes nothing of."""
        places = seen(here, asked.agent)
        return await triples.ask(here.system.told, places, _whose(here), asked.query, asked.base, asked.limit)

    async def export(self, here: Here, query: Annotated[Exported, Query()]) -> Response:
        """The facts that hold now as a file of RDF."""
        places = seen(here, query.agent)
        made = await triples.write(here.system.told, places, _whose(here), query.format, query.base)
        return Response(made, media_type="application/octet-stream")

    async def extract(self, here: Here, body: Reading) -> dict[str, Any]:
        """Read facts in documents: by the declared patterns, or by a model as work that has time, within `calls`."""
        done: dict[str, Any] = await here.sys.act("knowledge.extract", **body.model_dump())
        return done


def _whose(here: Desk) -> tuple[str, str]:
    """For whom work is done."""
    return here.caller.tenant, here.caller.principal
