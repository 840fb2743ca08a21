"""Facts, names and rules on a whole system: what people add and remove, and what is read in documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.errors import InvalidRequest
from ..core.records import Call, GenerateRequest, Generation, Json
from ..kernel.kernel import Kernel
from ..knowledge import triples
from ..knowledge.base import Knowledge
from ..knowledge.extraction import by_model, by_patterns
from ..knowledge.facts import FactBase
from ..knowledge.rules import Statement, mapped
from ..knowledge.rules.told import moment
from ..knowledge.tables import table
from ..security.administration import Deed
from ..security.identity import Caller
from .knowledge import meant


def fact_acts(knowledge: Knowledge, facts: FactBase, kernel: Kernel) -> dict[str, Deed]:
    """What does the acts of people; what is for everybody takes the scope `agents:write`."""

    async def add(call: Call, by: Caller) -> Json:
        place, args, origins = meant(call, by), call.args, _origins(call)
        if args.get("data") is not None and triples.suffix(args["name"]):
            about = args["name"], args["source"], args["base"]
            return await triples.load(facts, place, args["data"].value, *about, origins)
        if args.get("data") is not None:
            rows = await table(args["data"].value, args["name"], (call.tenant, call.principal))
            said = [replace(each, origins=origins) for each in mapped(rows, _mapping(args["mapping"]))]
            return await facts.load(place, args["source"], said)
        source = args["source"] or f"said by {call.principal}"
        return {"numbers": await facts.add(place, [_said(each, source, origins) for each in args["facts"]])}

    async def forget(call: Call, by: Caller) -> Json:
        return {"removed": await facts.remove(meant(call, by), call.args["numbers"], call.args["source"])}

    async def extract(call: Call, by: Caller) -> Json:
        place, args = meant(call, by), call.args
        if not args["model"]:
            return await by_patterns(knowledge, facts, place, args["source"])
        sys = (await kernel.service("gateway", call.principal, call.tenant)).acting(call.principal)

        async def ask(request: GenerateRequest) -> Generation:
            return await sys.generate(request)

        about = (args["source"], args["after"], args["calls"])
        return await by_model(knowledge, facts, place, ask, args["model"], *about)

    return {"knowledge.facts": add, "knowledge.forget": forget, "knowledge.extract": extract, **_rule_acts(facts)}


def _rule_acts(facts: FactBase) -> dict[str, Deed]:
    async def merge(call: Call, by: Caller) -> Json:
        return {"number": await facts.merge(meant(call, by), call.args["kept"], call.args["other"])}

    async def part(call: Call, by: Caller) -> Json:
        await facts.part(meant(call, by), call.args["number"])

    async def rules(call: Call, by: Caller) -> Json:
        return await facts.put_rules(meant(call, by), call.args["name"], call.args["data"].value)

    async def unrule(call: Call, by: Caller) -> Json:
        await facts.drop_rules(meant(call, by), call.args["name"])

    return {"knowledge.merge": merge, "knowledge.part": part, "knowledge.rules": rules, "knowledge.drop_rules": unrule}


def _origins(call: Call) -> tuple[str, ...]:
    """Whose words facts are in: those of who adds them, unless they are said to be a source's."""
    return () if call.args["trusted"] else (f"document {call.args['source']}",)


def _said(told: Mapping[str, Any], source: str, origins: tuple[str, ...]) -> Statement:
    since, until = moment(told.get("since")), moment(told.get("until"))
    return Statement(told["subject"], told["predicate"], told["object"], since, until, 0.0, source,
                     told.get("confidence", 1.0), origins, sentence=told.get("sentence", ""))  # fmt: skip


def _mapping(given: Json) -> Mapping[str, Any]:
    """What makes facts of rows; raises InvalidRequest."""
    facts = given.get("facts") if isinstance(given, Mapping) else None
    texts = [*facts.values()] if isinstance(facts, Mapping) else []
    texts += [given[each] for each in ("subject", "source", "since", "until") if each in given] if facts else []
    if not facts or "subject" not in given or not all(isinstance(each, str) for each in texts):
        raise InvalidRequest('a mapping is like {"subject": "{name}", "facts": {"born in": "{city}"}}, with columns in '
                             "braces, and may have `since` and `until`", parameter="mapping")  # fmt: skip
    return given
