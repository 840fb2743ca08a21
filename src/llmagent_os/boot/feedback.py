"""Feedback: an opinion on an answer, joined with what was asked and said, as an act that is kept with its person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..agent import said
from ..agent.loop import Memory
from ..agent.manager import AgentManager
from ..core.errors import Conflict, NotFound
from ..core.ports import Facts
from ..core.records import Call, Message, agent_of, owned
from ..finetune.feedback import SPACE, Collected, Opinion, collect, kept
from ..kernel.kernel import Kernel
from ..security.administration import Deed
from ..security.identity import Caller
from ..security.privacy import Privacy

SAID = ("good", "rating", "correction", "note")


def feedback_acts(kernel: Kernel, facts: Facts, agents: Callable[[Call], Awaitable[AgentManager]]) -> dict[str, Deed]:
    """What does the act `feedback.give`: the last word of a person about a task holds."""

    async def give(call: Call, by: Caller) -> None:
        task, opinion = call.args["task"], Opinion(**{name: call.args.get(name) for name in SAID})
        own = await agents(call)
        asked, answered = own.accepted(task), own.answered(task)
        if asked is None or answered is None:
            raise Conflict(f"task {task!r} is not answered yet; give feedback once it is", task=task)
        if "text" not in answered.body:
            raise NotFound(f"task {task!r} has no answer, but an error", kind="answer", name=task)
        answer, messages = str(answered.body["text"]), [*said.read(asked.body)[0]]
        process = kernel.table.find(int(asked.box.removeprefix("pid/")))
        before = Memory.load(kernel.journal.unpack(process.state)).history if process is not None else []
        agent = agent_of(process.name or "") if process is not None else ""
        whole = [*_before(before, messages[-1].text, answer), *messages]
        value = kept(opinion, task, agent, call.principal, whole, answer, time.time(), asked.box)
        call.writes.append(facts.written(owned(call.tenant, SPACE), f"{call.principal} {task}", value))

    return {"feedback.give": give}


def _before(history: list[Message], asked: str, answer: str) -> list[Message]:
    """What a conversation had come to when it was asked something; all of it is in the last turn's memory."""
    pairs = zip(range(len(history)), history, history[1:], strict=False)
    places = [n for n, one, other in pairs if (one.role, one.text, other.text) == ("user", asked, answer)]
    return [each for each in history[: places[-1]] if each.role in ("user", "assistant")] if places else []


async def collected(facts: Facts, privacy: Privacy, tenant: str, agent: str = "") -> Collected:
    """The rows that may be learned from, of one agent of a tenant, or of all."""
    values = await asyncio.to_thread(facts.list, owned(tenant, SPACE))
    return collect((value for _, value in values.values()), lambda person: privacy.consents(tenant, person), agent)
