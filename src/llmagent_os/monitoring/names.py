"""Which processes somebody means who gives a name instead of a number."""

from __future__ import annotations

import asyncio

from ..core.errors import not_found
from ..core.ports import Store
from ..core.records import DEFAULT, SHARED


async def pids_named(
    store: Store, name: str, tenant: str = DEFAULT, sight: str | None = None, principal: str = SHARED
) -> list[int]:
    """The living processes of a name, in order of pid; where there are none, those among a tenant's newest.

    An agent's name means its replicas, sessions and requests. A session is named `AGENT@SESSION`; among the newest, of
    which many have ended, `SESSION` alone finds it too. `sight`: only what belongs to one person. Raises NotFound with
    the nearest name of what is shared or `principal`'s.
    """
    pids = [pid for (pid,) in store.read("process.meant", tenant, name, sight)]
    pids = pids or [pid for (pid,) in await asyncio.to_thread(store.scan, "past.meant", tenant, name, sight)]
    if pids:
        return pids
    near = [each for (each,) in store.read("process.near", tenant, name, principal)]
    raise not_found("process, agent or session", name, near)
