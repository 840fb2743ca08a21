"""Budgets: what a process may draw on accounts, checked before every call, and set aside for it while it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from ..core.accounts import Draft, Reserve
from ..core.errors import BudgetExceeded
from ..core.ports import Engine, Proceed
from ..core.records import Call, EngineInfo, GenerateRequest, Usage
from ..core.stream import estimate, priced
from .process import Process


async def budgets(call: Call, process: Process, proceed: Proceed) -> Any:
    """A filter: refuse a call that would go over a budget that it comes under, cut its deadline to fit."""
    for draft in call.ledger.drawn(process, call.principal):
        if not (draft.budget.apiece and call.name == "receive"):  # whom it is for is not known before
            _check(call, draft, process)
    return await proceed(call)


def _check(call: Call, draft: Draft, process: Process) -> None:
    limit, account = draft.budget, draft.account
    if limit.steps is not None:
        refuse(draft, "steps", account.gone("steps") + 1, limit.steps)
        account.reserve(call, "steps", 1)
    if call.syscall.spends:
        refuse(draft, "money", account.used.get("money", 0.0), limit.money, spent=True)
        refuse(draft, "tokens", account.used.get("tokens", 0.0), limit.tokens, spent=True)
    if limit.seconds is not None:
        began = min(each.turn_began or time.monotonic() for each in (draft.holder, process))
        seconds = account.used.get("seconds", 0.0) + time.monotonic() - began
        refuse(draft, "seconds", seconds, limit.seconds, spent=True)
        call.deadline = min(call.deadline, limit.seconds - seconds)
        if call.clock is not None:  # it is made with that deadline else
            call.clock.within(limit.seconds - seconds)
    if call.name in ("spawn", "spawn_many"):
        refuse(draft, "depth", draft.above + 1, limit.depth)


def refuse(draft: Draft, resource: str, used: float, limit: float | None, spent: bool = False) -> None:
    """Raise BudgetExceeded over a limit. `spent`: `used` is what is gone already, so reaching the limit is enough."""
    if limit is None or used < limit or (used == limit and not spent):
        return
    budget, name = draft.budget, draft.account.name.removeprefix(f"{draft.holder.tenant}/")
    when = f"wait for the next {budget.period}, or " if budget.period is not None else ""
    raise BudgetExceeded(
        f"{name} has a budget of {limit:g} {resource}, and {used:g} are used or wanted; {when}raise it, and ask again",
        resource=resource, used=used, limit=limit, account=name, pid=draft.holder.pid,
    )  # fmt: skip


def pay(call: Call, process: Process, cost: Usage, sure: bool = True) -> None:
    """Set aside what something costs; raises BudgetExceeded where that is not left, or (not `sure`) nothing is."""
    for draft in call.ledger.drawn(process, call.principal):
        for resource, amount in (("money", cost.money), ("tokens", cost.input_tokens)):
            if amount and (limit := getattr(draft.budget, resource)) is not None:
                refuse(draft, resource, draft.account.gone(resource) + sure * amount, limit, spent=not sure)
                draft.account.reserve(call, resource, amount)


async def reserve(
    call: Call, process: Process, request: GenerateRequest, engine: Engine, times: int = 1
) -> tuple[GenerateRequest, Reserve]:  # fmt: skip
    """Set aside what `times` such generations may take, until they are over, and limit each to what there is.

    Where others have set aside what this one needs, it waits for them. Raises BudgetExceeded.
    """
    drawn: list[Draft] = call.ledger.drawn(process, call.principal)
    bounds = [each for each in drawn if each.budget.tokens is not None or each.budget.money is not None]
    if not bounds:
        return request, Reserve((), 0, 0)
    counted = any(each.budget.tokens is not None for each in bounds)  # money alone is not worth asking a server
    prompt = await engine.count_tokens(request) if counted else estimate(request)
    while (found := min(_rooms(bounds, prompt, engine.info, times), key=lambda each: each[0]))[0] < 1:
        _, resource, draft = found
        if not (account := draft.account).pending:
            least = priced(engine.info, prompt, 1)
            wanted = times * (least.money if resource == "money" else prompt + 1)
            refuse(draft, resource, account.gone(resource) + wanted, getattr(draft.budget, resource), spent=True)
        account.settled = account.settled or asyncio.Event()
        await account.settled.wait()
    if found[0] < (request.sampling.max_tokens or inf):
        request = replace(request, sampling=replace(request.sampling, max_tokens=int(found[0])))
    most = priced(engine.info, prompt, request.sampling.max_tokens or 0)
    tokens = times * (most.input_tokens + most.output_tokens)
    made = Reserve(tuple({each.account for each in bounds}), tokens, times * most.money)
    call.ends.append(lambda: made.settle(Usage()))
    return request, made


def _rooms(bounds: Sequence[Draft], prompt: int, info: EngineInfo, times: int) -> Iterator[tuple[float, str, Draft]]:
    """How many tokens an answer may have by each bound, with the resource that it goes by."""
    for each in bounds:
        limits, account = each.budget, each.account
        if limits.tokens is not None:
            yield (limits.tokens - account.gone("tokens")) // times - prompt, "tokens", each
        if limits.money is not None and (info.input_price or info.output_price):
            spare = (limits.money - account.gone("money")) / times * 1e6 - prompt * info.input_price
            yield spare // info.output_price if info.output_price else spare and spare * inf, "money", each
    yield inf, "", bounds[0]
