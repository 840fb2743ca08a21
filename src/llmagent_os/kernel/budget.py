"""Budgets: what a process and everything below it may consume, checked before every call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from ..core.errors import BudgetExceeded
from ..core.ports import Proceed
from ..core.records import Budget, Call, GenerateRequest
from .process import Process


async def budgets(call: Call, process: Process, proceed: Proceed) -> Any:
    """A filter: refuse a call that would go over a budget of the process or an ancestor, cut its deadline to fit."""
    for generation, holder in enumerate(process.lineage()):
        if holder.budget != _UNLIMITED:
            _check(call, holder, generation)
    return await proceed(call)


_UNLIMITED = Budget()


def _check(call: Call, holder: Process, generation: int) -> None:
    limit, own, below = holder.budget, holder.tally, holder.below
    _refuse(holder, "steps", own.steps + below.steps + 1, limit.steps)
    _refuse(holder, "money", own.money + below.money, limit.money, spent=True)
    _refuse(holder, "tokens", holder.tokens_used(), limit.tokens, spent=True)
    if limit.seconds is not None:
        used = holder.seconds_used()
        _refuse(holder, "seconds", used, limit.seconds, spent=True)
        call.deadline = min(call.deadline, limit.seconds - used)
    if call.name == "spawn":
        _refuse(holder, "depth", generation + 1, limit.depth)


def _refuse(holder: Process, resource: str, used: float, limit: float | None, spent: bool = False) -> None:
    """`spent`: `used` is what is gone already, so reaching the limit is enough."""
    if limit is None or used < limit or (used == limit and not spent):
        return
    raise BudgetExceeded(
        f"process {holder.pid} has used its budget of {resource} ({used:g} of {limit:g}); "
        f"give it a larger one and send the message again",
        resource=resource, used=used, limit=limit, pid=holder.pid,
    )  # fmt: skip


async def reserve(
    call: Call, process: Process, request: GenerateRequest, count: Callable[[GenerateRequest], Awaitable[int]],
    times: int = 1,
) -> GenerateRequest:  # fmt: skip
    """Set aside, until the call is over, what `times` such generations may take, and limit each to what there is.

    Where calls of the same budget have set aside what this one needs, it waits for them. Raises BudgetExceeded.
    """
    holders = [holder for holder in process.lineage() if holder.budget.tokens is not None]
    if not holders:
        return request
    prompt = await count(request)
    while _left(holders) // times <= prompt and any(holder.reserved for holder in holders):
        settled = holders[0].settled = holders[0].settled or asyncio.Event()
        await settled.wait()
    request = _cut(request, prompt, _left(holders) // times)
    _set_aside(call, holders, times * (prompt + (request.sampling.max_tokens or 0)))
    return request


def _left(holders: Sequence[Process]) -> int:
    return min((h.budget.tokens or 0) - h.tokens_used() - h.reserved for h in holders)


def _set_aside(call: Call, holders: Sequence[Process], tokens: int) -> None:
    for holder in holders:
        holder.reserved += tokens

    def release() -> None:
        for holder in holders:
            holder.reserved -= tokens
            if holder.settled is not None:
                holder.settled.set()
                holder.settled = None

    call.ends.append(release)


def _cut(request: GenerateRequest, prompt_tokens: int, left: int) -> GenerateRequest:
    """Limit a generation to the tokens that are left after its prompt; raises BudgetExceeded where there are none."""
    room = left - prompt_tokens
    if room < 1:
        raise BudgetExceeded(
            f"the prompt takes {prompt_tokens} tokens and the budget leaves {left}; give the process a larger one",
            resource="tokens", used=prompt_tokens, limit=left,
        )  # fmt: skip
    wanted = request.sampling.max_tokens
    if wanted is not None and wanted <= room:
        return request
    return replace(request, sampling=replace(request.sampling, max_tokens=room))
