"""Approvals: questions to people, kept until they are answered, also across a restart."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from ..core.errors import Conflict, not_found
from ..core.ports import Records
from ..core.records import Json, Question

SPACE = "approval"


class Nobody:
    """Where nobody can be asked, nothing is approved of."""

    async def ask(self, question: Question) -> bool:
        """See `core.ports.Approver`."""
        return False


class Approvals:
    """Where questions wait (see `core.ports.Approver`). Each is a record: the question, then what became of it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._changed: dict[str, asyncio.Event] = {}

    async def ask(self, question: Question) -> bool:
        """Put a question, and wait for its answer; one that was answered before is not put again."""
        found = self._records.get(SPACE, question.id)
        if found is None:
            self._records.put(SPACE, question.id, asdict(question) | {"allowed": None, "by": None})
        elif found[1]["allowed"] is not None:
            return bool(found[1]["allowed"])
        changed = self._changed.setdefault(question.id, asyncio.Event())
        try:
            await changed.wait()
        finally:
            self._changed.pop(question.id, None)
        found = self._records.get(SPACE, question.id)
        return found is not None and found[1]["allowed"] is True

    def waiting(self, tenant: str | None = None) -> list[dict[str, Json]]:
        """The questions without an answer, of one tenant or all."""
        found = [value for _, value in self._records.list(SPACE).values()]
        return [each for each in found if each["allowed"] is None and tenant in (None, each["tenant"])]

    def answer(self, identifier: str, allow: bool, by: str, tenant: str | None = None) -> dict[str, Any]:
        """Answer a question; raises NotFound, or Conflict where it has an answer."""
        found = self._records.get(SPACE, identifier)
        if found is None or tenant not in (None, found[1]["tenant"]):
            raise not_found("question", identifier, [each["id"] for each in self.waiting(tenant)])
        if found[1]["allowed"] is not None:
            raise Conflict(f"question {identifier} was answered by {found[1]['by']}")
        value: dict[str, Any] = found[1] | {"allowed": allow, "by": by}
        self._records.put(SPACE, identifier, value)
        if (changed := self._changed.get(identifier)) is not None:
            changed.set()
        return value
