"""What tenants hold, as the owner has granted it: bounds that no key of theirs and no definition of theirs exceeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from ..core import codec
from ..core.errors import Conflict, LLMAgentOSError, NotFound, not_found
from ..core.holdings import EVERYTHING, ORDINARY, Holding, Models, lacking
from ..core.ports import Facts
from ..core.records import DEFAULT, Call, Json
from .identity import Caller, check_names

log = logging.getLogger(__name__)

SPACE = "tenant"


class Tenants:
    """What every tenant holds: the owner's everything, another one what it was granted, or what is ordinary.

    As a part of the gate (`permit`) it holds for everything that is done in a tenant's name: its agents, and what its
    people ask of tools and models themselves.
    """

    def __init__(self, facts: Facts, models: Callable[[], Models]) -> None:
        self._facts, self._models = facts, models
        self._own = dict(_readable(facts))

    def of(self, tenant: str) -> Holding:
        """What a tenant holds."""
        return EVERYTHING if tenant == DEFAULT else self._own.get(tenant, ORDINARY)

    def permit(self, call: Call) -> None:
        """Raise PermissionDenied for a call of a tool or a model that the tenant does not hold, or NotFound."""
        holding = self.of(call.tenant)
        for kind, name in call.syscall.covers(call.args):
            if kind == "tools" and not holding.tool(name):
                raise lacking(call.tenant, "tool", name)
            if kind == "models":
                self.model(call.tenant, name)

    def model(self, tenant: str, name: str) -> None:
        """Raise PermissionDenied for a model that a tenant does not hold, or NotFound, which names none of those."""
        holding = self.of(tenant)
        if holding.models is None:
            return
        try:
            held = holding.model(name, self._models())
        except NotFound:
            raise not_found("model", name, self.held(tenant, self._models().names())) from None
        if not held:
            raise lacking(tenant, "model", name)

    def held(self, tenant: str, names: Iterable[str]) -> list[str]:
        """Those of the names of models that a tenant holds."""
        holding = self.of(tenant)
        return [name for name in names if holding.models is None or holding.model(name, self._models())]

    def names(self) -> list[str]:
        """The tenants that something was granted to."""
        return sorted(self._own)

    async def grant(self, call: Call, by: Caller) -> Json:
        """The act `tenants.grant` (`tenant`, and fields of `Holding`): says what a tenant holds from now on; what is
        left out is as it is for an ordinary one.

        Raises InvalidRequest for what is no tenant's name, Conflict for the owner's own.
        """
        given = {name: value for name, value in call.args.items() if name not in ("by", "tenant")}
        tenant, holding = call.args["tenant"], codec.record(Holding, asdict(ORDINARY) | given)
        check_names(tenant, by.principal)
        if tenant == DEFAULT:
            raise Conflict(f"tenant {DEFAULT!r} is the owner's, which holds everything; grant something to another one")
        call.writes.append(self._facts.written(SPACE, tenant, asdict(holding)))
        call.after.append(partial(self._hold, tenant, holding))
        return shown(tenant, holding, True)

    async def reset(self, call: Call, by: Caller) -> Json:
        """The act `tenants.reset` (`tenant`): it holds from now on what is ordinary. Raises NotFound."""
        tenant = call.args["tenant"]
        if tenant not in self._own:
            raise not_found("tenant with a grant", tenant, self._own)
        call.writes.append(self._facts.dropped(SPACE, tenant))
        call.after.append(partial(self._hold, tenant, None))
        return shown(tenant, ORDINARY, False)

    def _hold(self, tenant: str, holding: Holding | None) -> None:
        if holding is None:
            self._own.pop(tenant, None)
        else:
            self._own[tenant] = holding

    def shown(self, tenant: str) -> dict[str, Any]:
        """What a tenant holds, as whoever may know it is shown it."""
        return shown(tenant, self.of(tenant), tenant in self._own)


def shown(tenant: str, holding: Holding, granted: bool) -> dict[str, Any]:
    """A tenant: `granted` where it does not hold what is ordinary."""
    return {"name": tenant, "granted": granted, **asdict(holding)}


def _readable(facts: Facts) -> Iterator[tuple[str, Holding]]:
    """What was granted, by tenant; where this release cannot read it, the tenant has what is ordinary."""
    for tenant, (_, value) in facts.list(SPACE).items():
        try:
            yield tenant, codec.record(Holding, value)
        except (TypeError, AttributeError, LLMAgentOSError) as error:
            log.error("what tenant %s was granted cannot be read: %s", tenant, error)
