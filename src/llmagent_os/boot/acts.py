"""Acts that belong to no room alone: about accounts, workspaces, topics, and the quarantine that the system wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ..agent.manager import AgentManager
from ..core.accounts import book, statements
from ..core.errors import InvalidRequest
from ..core.records import SHARED, Call
from ..kernel.kernel import Kernel
from ..security.administration import Deed
from ..security.identity import Caller
from ..teamwork import places
from ..teamwork.topics import Topics
from ..tools.by_hand import Files


def account_acts(kernel: Kernel) -> dict[str, Deed]:
    """What does the acts about accounts."""

    async def credit(call: Call, by: Caller) -> None:
        args = (call.args[name] for name in ("account", "resource", "period", "amount"))
        entries = kernel.ledger.credit(call.tenant, *args)
        call.writes += statements(entries)
        call.after.append(partial(book, entries))

    return {"accounts.credit": credit}


def file_acts(files: Files, agents: Callable[[Call], Awaitable[AgentManager]]) -> dict[str, Deed]:
    """What does the acts about files of workspaces."""

    async def put(call: Call, by: Caller) -> None:
        ticket = (await agents(call)).workspace(call.args["agent"])
        await files.write(call.args["path"], call.args["data"].value, ticket)

    return {"files.put": put}


def place_of(kernel: Kernel, by: Caller, of: str, pid: int | None, principal: str | None) -> str:
    """Where the boards and topics are that somebody looks at: everybody's, a person's, or those of a process's run.

    Raises PermissionDenied for another person's without the scope `people`, and NotFound as `ps` does.
    """
    if of == "tenant":
        return places.everybody(by.tenant)
    if of == "person":
        whose = principal or by.principal
    elif pid is None:
        raise InvalidRequest("of which run: name a process of it with `pid`", parameter="pid")
    else:
        *_, top = kernel.table.of(pid, by.tenant, by.sight).lineage()
        whose = principal or (by.principal if top.principal == SHARED else top.principal)
    if not by.sees(whose):
        by.need("people")
    return places.person(by.tenant, whose) if of == "person" else places.run(by.tenant, top.pid, whose)


def topic_acts(kernel: Kernel, topics: Topics) -> dict[str, Deed]:
    """What does the acts about groups of topics; whose topic it is they are told as `place_of` is."""

    def meant(call: Call, by: Caller) -> tuple[Call, str, str, str]:
        place = place_of(kernel, by, call.args["of"], call.args.get("pid"), call.args.get("principal"))
        return call, place, call.args["topic"], call.args["group"]

    async def retry(call: Call, by: Caller) -> int:
        return await topics.retry(*meant(call, by), call.args.get("ids"))

    async def tries(call: Call, by: Caller) -> None:
        await topics.change(*meant(call, by), call.args["tries"])

    return {"topics.retry": retry, "topics.tries": tries}


async def quarantine(kernel: Kernel, tenant: str, agent: str, reason: str) -> None:
    """Put an agent into quarantine, which is the system's own act."""
    await (await kernel.service("system", tenant=tenant)).act("anomalies.quarantine", agent=agent, reason=reason)
