"""Works on a task until its outcome is there: each try is judged, and the verdict is a row of the journal (`judge`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core import codec, outcomes, validity
from ..core.errors import InvalidRequest, LLMAgentOSError, from_data, not_found
from ..core.errors import text as words
from ..core.outcomes import Outcome
from ..core.ports import Syscall, Tool, own, uncovered
from ..core.records import Call, Envelope, Hidden, Json, Ticket
from ..core.sys import Sys
from ..kernel.process import Process

PYTHON = "python"
SHOWN = 2_000  # characters of what tests print, the last of them
JUDGED = {
    "type": "object",
    "properties": {"passed": {"type": "boolean"}, "why": {"type": "string"}},
    "required": ["passed", "why"],
}
QUESTION = """Judge a result by a rubric. Say whether it passed, and why; where it did not, what has to change.

Rubric:
{rubric}

Result:
{result}"""
AGAIN = "This was not accepted: {why}\n\nDo it again, and answer with the whole result."
Functions = Callable[[], Mapping[str, Callable[[Json], Json]]]


async def worked(sys: Sys, loop: Any, envelope: Envelope, memory: Any) -> dict[str, Json]:
    """What a loop answers to a message; one that asks for an outcome is worked on until that is there.

    The reply has the last `verdict` (`{passed, why, by, tries}`) then, and the usage of all tries.
    """
    wanted = outcomes.of(envelope.body)
    reply: dict[str, Any] = await loop.turn(sys, envelope, memory)
    if wanted is None:
        return reply
    usage = reply["usage"]
    for number in range(1, wanted.tries + 1):
        verdict = await _judged(sys, wanted, outcomes.result(reply), number)
        if verdict["passed"] or number == wanted.tries:
            break
        envelope = loop.again(envelope, reply, AGAIN.format(why=verdict["why"]))
        reply = await loop.turn(sys, envelope, memory)
        usage = {name: amount + usage.get(name, 0) for name, amount in reply["usage"].items()}
    return {**reply, "usage": usage, "verdict": {**verdict, "tries": number}}


async def _judged(sys: Sys, wanted: Outcome, result: Json, number: int) -> dict[str, Any]:
    """A verdict on a try; another agent is asked for its opinion as any is, by who wants it."""
    opinion: Json = None
    if wanted.by == "rubric":
        question = QUESTION.format(rubric=wanted.what, result=codec.words(result))
        said = (await sys.ask(wanted.judge, {"text": question, "options": {"schema": JUDGED}})).body
        if "error" in said:
            raise from_data(said["error"])
        opinion = outcomes.result(said)
    told: dict[str, Any] = await sys.syscall(
        "judge", by=wanted.by, what=wanted.what, judge=wanted.judge, number=number, result=Hidden(result),
        opinion=Hidden(opinion),
    )  # fmt: skip
    return told


class Judges:
    """The syscall `judge`. `functions` are those of flows; tests run in what the tool `python` runs in."""

    def __init__(self, functions: Functions, tools: Callable[[], Mapping[str, Tool]]) -> None:
        self._functions, self._tools = functions, tools

    def table(self) -> dict[str, Syscall]:
        """The row of the syscall table. It holds what was wanted and the verdict; the result stands in other rows."""
        takes = {"by": (str,), "judge": (str,), "number": (int,)}
        return {"judge": Syscall(self.judge, 600.0, uncovered, own, takes=takes, spends=False)}

    async def judge(self, call: Call, process: Process) -> dict[str, Json]:
        """Whether a result is what was wanted: `{passed, why, by}`. What a judge does wrong is a verdict, too."""
        by, what, result = call.args["by"], call.args["what"], call.args["result"].value
        call.origins = ()
        if by == "schema":  # of words that could be data as well
            return _verdict(validity.wrong(what, result) and validity.wrong(what, codec.words(result)), "schema")
        if by == "function":
            return _verdict(self._called(what, result), f"function {what}")
        if by == "tests":
            call.origins = (f"tool {PYTHON}",)
            return _verdict(await self._tested(what, result, call, process), "tests")
        return _verdict(_said(call.args["opinion"].value), f"agent {call.args['judge']}")

    def _called(self, name: str, result: Json) -> str | None:
        functions = self._functions()
        if name not in functions:
            raise not_found("function", name, functions)
        try:
            return _said(functions[name](result))
        except Exception as error:  # other people's code
            return f"{type(error).__name__}: {words(error)}"

    async def _tested(self, code: str, result: Json, call: Call, process: Process) -> str | None:
        """What tests print that fail. They run contained: on a copy of the workspace, without a network."""
        python = self._tools().get(PYTHON)
        if python is None or not python.traits.contained:
            raise InvalidRequest(
                "tests need a sandbox that keeps everything in: see tools.sandbox", parameter="outcome"
            )
        data = codec.dumps(result).decode()
        given = f"import json as _json\nresult = _json.loads({data!r})\n"
        ticket = Ticket(
            call.key, call.pid, call.tenant, call.principal, process.home(call.principal), process.grant, True
        )
        try:
            told: Any = await python.run({"code": given + code}, ticket)
        except LLMAgentOSError as error:
            return error.message
        return None if told["exit"] == 0 else f"{told['stdout']}{told['stderr']}"[-SHOWN:].strip() or "the tests failed"


def _said(opinion: Json) -> str | None:
    """What a function or a judge finds wrong: it says true, why not, or `{passed, why}`."""
    if isinstance(opinion, Mapping):
        passed, why = opinion.get("passed"), opinion.get("why")
    else:
        passed, why = opinion is True, opinion if isinstance(opinion, str) else None
    return None if passed is True else words(why) if why else "it says no more than that"


def _verdict(wrong: str | None, by: str) -> dict[str, Json]:
    return {"passed": wrong is None, "why": wrong or "", "by": by}
