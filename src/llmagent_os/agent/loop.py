"""How an agent answers: understand, build context, infer, post-process, present.

Each step is a method that a subclass or plugin may replace. Every effect is a syscall, so a turn that a crash cut off
is taken up where it stood.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from ..core import codec, context, files
from ..core.errors import (
    BudgetExceeded,
    ContextOverflow,
    Interrupted,
    InvalidRequest,
    JournalDamaged,
    JournalUnavailable,
    LLMAgentOSError,
    from_data,
    nearest,
    not_found,
)
from ..core.ports import Tool
from ..core.records import (
    RELAYED,
    SUMMARY,
    UNSET,
    Envelope,
    GenerateRequest,
    Generation,
    Json,
    Message,
    Part,
    Sampling,
    ToolCall,
    ToolSpec,
    Usage,
)
from ..core.sys import Sys
from ..core.visible import named
from ..kernel.process import Idle, Program
from . import recalled, said
from .outcomes import worked
from .prompt import PromptTemplate
from .spec import AGENT, ASKED, TRIGGER, AgentSpec, stored
from .steering import Steering
from .window import CUT, ROOM, SMALLEST, drop_oldest, shorten, weight

RESULT_CHARACTERS = 20_000  # of a tool's result that a model is shown
TRIES = 6  # of a context record to fit
SHOWN = 500  # characters of a result that is told once more
JUDGE = "judge"  # who says that an answer is not accepted
FAILED = "error: "  # what stands before a failure that a model is told
SAME = 3  # times that a call may have the same result in one turn, before no more tools are offered
TIMED = re.compile(r'"seconds":[\d.]+')  # in a result: that code takes another time makes it no other result
LAST = "{calls} was not called: tools are not offered in the last step of a turn (max_steps), nor unasked for (when)"
AGAIN = (
    "not done again: {tool} did this before, with the same arguments, and returned: {result}\n"
    "[answer with that; if the user wants it more than once, call it again]"
)

Find = Callable[[str], AgentSpec]


@dataclass(slots=True)
class Memory:
    """What an agent keeps between turns: the conversation, the summary of what was dropped from it, its size."""

    history: list[Message] = field(default_factory=list)
    summary: str = ""
    tokens: int = 0  # of the last prompt and its answer, as the engine counted
    window: int = 0  # of the model; 0 while unknown

    @classmethod
    def load(cls, state: Json) -> Memory:
        """Rebuild it from a process's state."""
        if state is None:
            return cls()
        said = [codec.message(m) for m in state.get("history", ())]
        return cls(said, state.get("summary", ""), state.get("tokens", 0), state.get("window", 0))

    def rewind(self) -> dict[str, Json]:
        """Forget the last message and its answer; the reply says which, and what tools were called for it.

        Raises InvalidRequest where there is none. What tools did stays done.
        """
        asked = [n for n, message in enumerate(self.history) if message.role == "user"]
        if not asked:
            raise InvalidRequest("there is no message to take back in this conversation", parameter="rewind")
        (message, *rest), self.history = self.history[asked[-1] :], self.history[: asked[-1]]
        self.tokens = 0
        tools = [call.name for each in rest for call in each.tool_calls]
        usage: Json = codec.loads(codec.dumps(Usage()))
        reply: dict[str, Json] = {"text": "", "parts": [], "finish": "stop", "usage": usage, "model": ""}
        return reply | {"rewound": {"text": message.text, "tools": tools}}


@dataclass(slots=True)
class Turn:
    """One user message on its way to an answer; the steps fill it in."""

    envelope: Envelope
    memory: Memory
    message: Message = field(default_factory=lambda: Message("user"))
    earlier: list[Message] = field(default_factory=list)  # given with the message, for callers that keep the history
    options: dict[str, Json] = field(default_factory=dict)
    record: context.Record | None = None  # of the flow that it is a node of
    intent: str | None = None
    exchange: list[Message] = field(default_factory=list)  # this turn's tool calls and results
    said: list[Message] = field(default_factory=list)  # what users said meanwhile, until the model is told
    answer: Generation = field(default_factory=lambda: Generation(""))
    files: list[dict[str, Json]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    seen: Counter[tuple[str, bytes, str]] = field(default_factory=Counter)  # tool, arguments and result, how often
    stopped: str | None = None  # why no more tools were offered
    recalled: list[dict[str, Json]] = field(default_factory=list)  # passages, in the order of their numbers
    pinned: int = 0  # of them come first, and are pinned
    grounding: dict[str, Json] | None = None  # what of the answer stands in them


class Agent:
    """The default interaction loop over one spec."""

    steering: Steering | None = None  # what tells of messages to a turn that runs

    def __init__(self, spec: AgentSpec, tools: Mapping[str, Tool]) -> None:
        """Raises NotFound for a tool that does not exist."""
        self.spec = spec
        offers = _offers(spec.tools, tools)
        self.tools: tuple[ToolSpec, ...] = tuple(offered for offered, _ in offers)
        self._agents = {offered.name: agent for offered, agent in offers if agent is not None}
        self._recalls = spec.knowledge.recall if spec.knowledge is not None else "never"
        self._infers = spec.knowledge.infer if spec.knowledge is not None else "never"
        self._pinned = spec.knowledge.pinned if spec.knowledge is not None else []
        self._strict = spec.knowledge is not None and spec.knowledge.grounded == "strict"
        ways = ((recalled.SPEC, self._recalls), (recalled.INFERS, self._infers))
        self._asking = tuple(each for each, how in ways if how == "tool")
        for each in {each.name for each in self._asking} & {each.name for each in self.tools}:
            raise InvalidRequest(f"a tool of its own is called `{each}`, as what asks for knowledge is")
        self._outward = {name for name in spec.tools if name in tools and _acts_outside(tools[name])}

    def check(self, find: Find) -> None:
        """Raise InvalidRequest, naming what is wrong, for a definition that no message could be answered by.

        `find` gives the definition of another agent, or raises NotFound.
        """
        self._prompt()
        said.sampling(self.spec.sampling)
        for name in self.spec.when:
            if name not in self.spec.tools:
                text = f"agent definition: when.{name}: it is none of its tools; {nearest(name, self.spec.tools)}"
                raise InvalidRequest(text, parameter=f"when.{name}")

    async def turn(self, sys: Sys, envelope: Envelope, memory: Memory) -> dict[str, Json]:
        """Answer one message; `memory` is changed to include it."""
        turn = Turn(envelope, memory)
        await self.understand(sys, turn)
        request = await self.build_context(sys, turn)
        await self.infer(sys, turn, request)
        await self.post_process(sys, turn)
        return await self.present(sys, turn)

    def again(self, envelope: Envelope, reply: Mapping[str, Any], why: str) -> Envelope:
        """The message that has a turn tried once more, whose reply was not accepted: nobody's words direct by it."""
        body = envelope.body if isinstance(envelope.body, Mapping) else {"text": envelope.body}
        told: dict[str, Json] = {"text": why}
        if len(body.get("messages") or ()) > 1:  # none of which is remembered
            answer = {"role": "assistant", "content": reply["text"]}
            told = {"messages": [*body["messages"], answer, {"role": "user", "content": why}]}
        if "options" in body:
            told["options"] = body["options"]
        return replace(envelope, body=told, sender=envelope.sender or JUDGE, origins=[*envelope.origins, JUDGE])

    async def understand(self, sys: Sys, turn: Turn) -> None:
        """Read the message: text, parts, or a whole conversation; with intents, let the model say which it has."""
        body = turn.envelope.body
        (*turn.earlier, turn.message), turn.options = said.read(body)
        turn.record = context.load(body.get("context")) if isinstance(body, Mapping) else None
        if turn.envelope.sender and turn.envelope.origins:  # also once it is shortened, or history after a restart
            *turn.earlier, turn.message = [replace(each, name=RELAYED) for each in (*turn.earlier, turn.message)]
        if self.spec.intents:
            turn.intent = await self._classify(sys, turn)

    async def _classify(self, sys: Sys, turn: Turn) -> str:
        names = tuple(self.spec.intents)
        question = f"Which of {', '.join(names)} fits this message best?\n\nMessage: {turn.message.text}"
        asked = Message("user", question, name=turn.message.name)
        request = self._aside(asked, choices=names)
        return (await self._generate(sys, turn, request, shown=False)).text

    def _aside(self, question: Message, **options: Any) -> GenerateRequest:
        """A question of the loop's own, whose answer nobody sees."""
        spec = self.spec
        options |= {"service": spec.service, "needs": spec.needs, "adapter": spec.adapter}
        return GenerateRequest(spec.model, (question,), stream=False, **options)

    async def build_context(self, sys: Sys, turn: Turn) -> GenerateRequest:
        """Put system prompt, summary, history and message together, fitted to the model's window."""
        memory = turn.memory
        if self._pinned:
            turn.recalled += await sys.syscall("recall", text="", pinned=self._pinned)
            turn.pinned = len(turn.recalled)
        if self._recalls == "always":
            await self._recall(sys, turn, turn.message.text)
        if self._infers == "always":
            await self._infer(sys, turn, turn.message.text, self.spec.knowledge.ask if self.spec.knowledge else ())
        given = [message for message in turn.earlier if message.role == "system"]
        if turn.record is not None:
            turn.message = await self._informed(sys, turn, turn.record, self._instructions(turn, given))
        asked = self.asked(turn)
        history = [*memory.history, *(message for message in turn.earlier if message.role != "system")]
        request = GenerateRequest(
            self.spec.model,
            (*self._instructions(turn, given), *history, asked),
            sampling=Sampling(**sampling) if (sampling := self.sampling(turn)) else UNSET,
            tools=self.offered(turn),
            schema=turn.options.get("schema") or self.spec.answer_schema,
            decoding=self.spec.decoding,
            service=self.spec.service,
            needs=self.spec.needs,
            adapter=turn.options.get("adapter", self.spec.adapter),
            stream=turn.envelope.task is not None,
        )
        if memory.tokens:
            grown = memory.tokens + weight(asked) + sum(map(weight, turn.earlier))
        else:
            grown = sum(map(weight, request.messages)) + len(str(request.tools))
        if grown < (memory.window or SMALLEST) * (ROOM - 1) // ROOM:
            return request
        return await self._fit(sys, turn, request, len(request.messages) - len(history) - 1)

    def offered(self, turn: Turn) -> tuple[ToolSpec, ...]:
        """The tools that the message may need: all but those of `when` that it has no word of."""
        if not (when := self.spec.when):
            return (*self.tools, *self._asking)
        said, tools = turn.message.text.lower(), zip(dict.fromkeys(self.spec.tools), self.tools, strict=True)
        meant = [tool for name, tool in tools if any(word.lower() in said for word in when.get(name, ("",)))]
        return (*meant, *self._asking)

    def asked(self, turn: Turn) -> Message:
        """The message as the model is shown it: with what is known that is nearest to it, which is nobody's words."""
        shown = self._pinned or "always" in (self._recalls, self._infers)
        if not shown or not (turn.recalled or self._strict):
            return turn.message
        head = f"{recalled.HEAD} {recalled.STRICT}" if self._strict else recalled.HEAD
        known = f"{head}\n\n{recalled.told(turn.recalled)}\n\n"
        content = turn.message.content
        whole = known + content if isinstance(content, str) else [{"type": "text", "text": known}, *content]
        return replace(turn.message, content=whole)

    async def _recall(self, sys: Sys, turn: Turn, text: str) -> str:
        """Look for what is known; returns the passages as they are shown, with numbers that go on."""
        about, hits = self.spec.knowledge, list[dict[str, Json]]()
        assert about is not None
        if text.strip():
            hits = await sys.syscall("recall", text=text, limit=about.limit, source=about.source, tags=about.tags)
        shown = {each.get("passage") for each in turn.recalled[: turn.pinned]}
        hits = [each for each in hits if each["passage"] not in shown]
        before = len(turn.recalled)  # now: a model may look for several things at once
        turn.recalled += hits
        told = recalled.told(hits, before)
        return f"{told}\n\n{recalled.STRICT}" if self._strict else told

    async def _infer(self, sys: Sys, turn: Turn, text: str, questions: Sequence[str] = ()) -> str:
        """Ask what follows from facts and rules; returns the facts as they are shown, with numbers that go on."""
        about, found = self.spec.knowledge, list[dict[str, Json]]()
        assert about is not None
        asked: list[dict[str, Json]] = [{"question": each} for each in questions]
        asked += [recalled.meant(text) if self._infers == "tool" else {"about": text}] if text.strip() else []
        for each in asked:
            answers = (await sys.syscall("infer", limit=about.limit, **each))["answers"]
            known = {fact["title"] for fact in found}
            found += recalled.inferred([answer for answer in answers if answer["fact"] not in known])
        before = len(turn.recalled)
        turn.recalled += found
        return recalled.told(found, before)

    def sampling(self, turn: Turn) -> dict[str, Any]:
        """The spec's sampling parameters, overridden by the message's own."""
        values = self.spec.sampling | turn.options.get("sampling", {})
        stop = values.get("stop")
        return values | ({"stop": (stop,) if isinstance(stop, str) else tuple(stop)} if stop else {})

    def _prompt(self) -> str:
        variables = self.spec.variables
        return PromptTemplate(list(variables), self.spec.prompt).format(**variables) if variables else self.spec.prompt

    def _instructions(self, turn: Turn, given: Sequence[Message]) -> list[Message]:
        text = self._prompt()
        if turn.intent is not None:
            text += "\n" + self.spec.intents[turn.intent]
        if turn.memory.summary:
            text += SUMMARY + turn.memory.summary
        texts = [text, *(message.text for message in given)]
        return [Message("system", "\n".join(filter(None, texts)))] if any(texts) else []

    def parts(self, turn: Turn) -> list[Part]:
        """Whose words a prompt is made of: its definition, the users', and a summary of what the process had seen.

        What a subclass puts into a prompt beside these directs nobody, unless it is a part as well. Tools' results are
        judged by the tool.
        """
        intent = self.spec.intents[turn.intent] if turn.intent is not None else ""
        own = Part(f"{self._prompt()}\n{intent}", who="definition")
        heard = (*turn.memory.history, *turn.earlier, turn.message, *turn.exchange)
        said = [message for message in heard if _by_user(message)]
        return [own, Part(turn.memory.summary, None, "memory"), *(Part(each.text, who=each.role) for each in said)]

    async def _fit(self, sys: Sys, turn: Turn, request: GenerateRequest, instructions: int) -> GenerateRequest:
        """Measure the prompt and shorten it until it leaves room for an answer: old turns first, then the message."""
        tokens, window = await self._measure(sys, turn, request)
        target = window * (ROOM - 1) // ROOM
        if not window or tokens <= target:
            return request
        system, history = request.messages[:instructions], request.messages[instructions:-1]
        asked = self.asked(turn)
        fixed = await self._measure(sys, turn, replace(request, messages=(*system, asked)))
        dropped, kept = drop_oldest(history, tokens - fixed[0], target - fixed[0])
        if dropped and self.spec.window == "summarise":
            await self._summarise(sys, turn, dropped)
            system = tuple(self._instructions(turn, [m for m in turn.earlier if m.role == "system"]))
        turn.memory.history = kept if not turn.earlier else turn.memory.history
        message = asked
        if fixed[0] > target:
            alone = await self._measure(sys, turn, replace(request, messages=(*system, Message("user", "."))))
            message = shorten(message, fixed[0] - alone[0], max(target - alone[0], 16))
        return replace(request, messages=(*system, *kept, message))

    async def _informed(self, sys: Sys, turn: Turn, record: context.Record, before: Sequence[Message]) -> Message:
        """The message with the context record before it, as much of that as fits beside it and an answer."""
        said, room = turn.message, sum(len(each.text) + context.WORDS for each in record.entries) + 2 * context.GOAL
        message = replace(said, content=f"{record.told(room)}\n\n{said.text}")
        fixed = sum(map(weight, before)) + len(str(self.tools))
        for _ in range(TRIES if fixed + weight(message) >= SMALLEST * (ROOM - 1) // ROOM else 0):
            request = GenerateRequest(self.spec.model, (*before, message), tools=self.tools)
            tokens, window = await self._measure(sys, turn, request)
            over = tokens - window * (ROOM - 1) // ROOM
            if not window or over <= 0:
                break
            text = record.told(room)
            room = len(text) - over * len(message.text) // max(tokens, 1) - 2 * len(CUT)
            message = replace(said, content=f"{record.told(room)}\n\n{said.text}")
        return message

    async def _measure(self, sys: Sys, turn: Turn, request: GenerateRequest) -> tuple[int, int]:
        tokens, turn.memory.window = await sys.measure(request)
        return tokens, turn.memory.window

    async def _summarise(self, sys: Sys, turn: Turn, dropped: Sequence[Message]) -> None:
        said = "\n".join(f"{message.role}: {message.text}" for message in dropped if message.text)
        task = "Summarise in a few sentences what matters of this conversation. Keep names, numbers and decisions.\n\n"
        text = (f"Summary so far: {turn.memory.summary}\n" if turn.memory.summary else "") + said
        message = Message("user", task + text, name=RELAYED)
        window = turn.memory.window
        message = shorten(message, len(message.text), window)  # a token is at least a character: it surely fits
        request = self._aside(message, sampling=Sampling(max_tokens=window // 8 or 64))
        turn.memory.summary = (await self._generate(sys, turn, request, shown=False)).text.strip()

    async def infer(self, sys: Sys, turn: Turn, request: GenerateRequest) -> None:
        """Ask the model, run the tools it wants, and ask again, until it answers or its steps are used up.

        A model that gets the same result for the same call again and again is asked once more, without tools. Calls
        that come where none are offered any more are not made: what it says beside them is the answer.
        """
        step = 0
        while step < self.spec.max_steps:
            step += 1
            if (step == self.spec.max_steps or turn.stopped) and request.tools:
                request = replace(request, tools=(), tool_choice="auto")
            try:
                turn.answer, request = await self._ask(sys, turn, request)
            except Interrupted:
                step, request = step - 1, await self._steered(sys, turn, request)
                continue
            calls = turn.answer.tool_calls
            if not calls:
                answered = Message("assistant", turn.answer.text)
                steered = await self._steered(sys, turn, request, answered) if step < self.spec.max_steps else request
                if steered is request:
                    return
                request = steered
                continue
            if (self.tools or self._asking) and not request.tools:
                turn.answer = replace(turn.answer, tool_calls=(), finish="stop")
                turn.stopped = turn.stopped or LAST.format(calls=", ".join(named(call.name) for call in calls))
                return
            results = await asyncio.gather(*(self._run_tool(sys, turn, call) for call in calls))
            results = [self._watch(turn, *each) for each in zip(calls, results, strict=True)]
            new = [Message("assistant", turn.answer.text, tool_calls=calls), *results]
            turn.exchange += new
            request = await self._steered(sys, turn, replace(request, messages=(*request.messages, *new)))

    async def _steered(self, sys: Sys, turn: Turn, request: GenerateRequest, *before: Message) -> GenerateRequest:
        """The request with what users said meanwhile that is to be taken in now (see `Steering`), after what was said
        `before`; the same one where there is nothing.
        """
        if self.steering is not None and self.steering.due(sys):
            turn.said += await self._heard(sys)
        if not turn.said:
            return request
        said, turn.said = (*before, *turn.said), []
        turn.exchange += said
        return replace(request, messages=(*request.messages, *said))

    async def _heard(self, sys: Sys) -> list[Message]:
        return [Message("user", each["text"]) for each in await sys.syscall("steer")]

    async def _ask(self, sys: Sys, turn: Turn, request: GenerateRequest) -> tuple[Generation, GenerateRequest]:
        """Generate; where tool results outgrew the window meanwhile, cut them and try again."""
        while True:
            try:
                return await self._generate(sys, turn, request, shown=True), request
            except ContextOverflow:
                longest = max((len(m.text) for m in request.messages if m.role == "tool"), default=0)
                if longest <= 2 * len(CUT):
                    raise
                request = replace(request, messages=tuple(_halved(m, longest) for m in request.messages))

    def _watch(self, turn: Turn, call: ToolCall, result: Message) -> Message:
        """Count what a call returned, and tell the model where it is going round in circles.

        One that fails for the same reason with other arguments goes round, too.
        """
        failed = result.text.startswith(FAILED)
        same = (call.name, b"" if failed else codec.dumps(call.arguments), TIMED.sub("", result.text))
        turn.seen[same] += 1
        if turn.seen[same] < SAME:
            return result
        alike = f"was called {SAME} times with the same arguments and returned the same"
        turn.stopped = f"{call.name} {f'failed {SAME} times for the same reason' if failed else alike}"
        return replace(result, content=f"{result.text}\n\n[{turn.stopped}: answer with what you have]")

    async def _run_tool(self, sys: Sys, turn: Turn, call: ToolCall) -> Message:
        """Run one tool; its failure is told to the model, which may do better."""
        before = self._before(turn, call) if call.name in self._outward else None
        if before is not None:
            held = AGAIN.format(tool=call.name, result=before[:SHOWN])
            return Message("tool", held, tool_call_id=call.id, name=call.name)
        try:
            if call.name in self._agents:
                result = await self._consult(sys, turn, self._agents[call.name], call)
            elif call.name == recalled.RECALL and self._recalls == "tool":
                result = await self._recall(sys, turn, recalled.sought(call.arguments))
            elif call.name == recalled.INFER and self._infers == "tool":
                result = await self._infer(sys, turn, recalled.sought(call.arguments, recalled.INFER))
            elif call.name in self.spec.tools:
                result = await sys.call(call.name, dict(call.arguments), show=RESULT_CHARACTERS)
            else:
                raise not_found("tool", call.name, [*self.spec.tools, *self._agents])
        except (BudgetExceeded, JournalUnavailable, JournalDamaged):
            raise
        except LLMAgentOSError as error:
            return Message("tool", f"{FAILED}{error.message}", tool_call_id=call.id, name=call.name)
        turn.files += files.found(result)
        return Message("tool", _text(result), tool_call_id=call.id, name=call.name)

    def _before(self, turn: Turn, call: ToolCall) -> str | None:
        """What the same call returned, where it was made once: a weak model sends a mail again to see that it went."""
        arguments = codec.dumps(call.arguments)
        same = [(seen[2], times) for seen, times in turn.seen.items() if seen[:2] == (call.name, arguments)]
        return same[0][0] if len(same) == 1 and same[0][1] == 1 else None

    async def _consult(self, sys: Sys, turn: Turn, agent: str, call: ToolCall) -> str:
        """Ask another agent; what files it made are shown with ours. A trigger says what became of it."""
        said = str(call.arguments.get("message", ""))
        body = {"text": said} | ({"input": said} if agent.startswith(TRIGGER) else {})
        reply = (await sys.ask(agent, body)).body
        if "error" in reply:
            raise from_data(reply["error"])
        turn.files += [part for part in reply.get("parts", ()) if "blob" in part]
        return str(reply["text"]) if "text" in reply else _text(reply)

    async def _generate(self, sys: Sys, turn: Turn, request: GenerateRequest, shown: bool) -> Generation:
        task = turn.envelope.task if shown else None
        parts = self.parts(turn)
        stream = None if task is None else lambda chunk: sys.publish(task, chunk)
        while True:
            try:
                answer = await sys.generate(request, stream=stream, parts=parts)
                break
            except Interrupted:
                if shown:
                    raise
                turn.said += await self._heard(sys)  # which is told once this is answered
        turn.usage += answer.usage
        if shown:
            turn.memory.tokens = answer.usage.input_tokens + answer.usage.output_tokens
        return answer

    async def post_process(self, sys: Sys, turn: Turn) -> None:
        """Tidy the answer and remember the exchange. A caller that keeps the history itself is not remembered."""
        turn.answer = replace(turn.answer, text=turn.answer.text.strip())
        if self._strict:
            passages, text = [hit.get("passage", hit["title"]) for hit in turn.recalled], turn.answer.text
            turn.grounding = recalled.grounded(text, await sys.syscall("ground", text=text, passages=passages))
        if not turn.earlier:
            answer = Message("assistant", turn.answer.text)
            turn.memory.history += [turn.message, *turn.exchange, answer]

    async def present(self, sys: Sys, turn: Turn) -> dict[str, Json]:
        """The reply: text, and as parts also the pictures and files that tools made (by the name of their blob)."""
        text = turn.answer.text
        parts = [{"type": "text", "text": text}] if text else []
        parts += [{"type": _kind(file), **file} for file in turn.files]
        reply: dict[str, Json] = {
            "text": text,
            "parts": parts,
            "finish": turn.answer.finish,
            "usage": codec.loads(codec.dumps(turn.usage)),
            "model": turn.answer.model,
        }
        if turn.recalled:
            reply["citations"] = recalled.cited(text, turn.recalled, turn.message.text)
        if turn.grounding is not None:
            reply["grounding"] = turn.grounding
        if turn.stopped is not None:
            reply["stopped"] = turn.stopped
        if turn.intent is not None:
            reply["intent"] = turn.intent
        if turn.answer.logprobs:
            reply["logprobs"] = codec.loads(codec.dumps(turn.answer.logprobs))
        return reply


Loops = Mapping[str, type[Agent]]


def program(tools: Mapping[str, Tool], loops: Loops, steering: Steering | None = None) -> Program:
    """The program that agents run: one message a turn; `args` are `{spec, version}` and how it lives.

    With `session` it remembers the conversation, and `{rewind: true}` has it forget the last message and its answer;
    without, every message is answered as the first one, for they may come from different people. With `once` it ends
    with the reply to its first message.
    """

    async def run(sys: Sys, args: Json, state: Json) -> Any:
        envelope = await sys.receive()
        if _is_stop(envelope):
            return None
        memory, failed = Memory.load(state), False
        try:
            spec = stored(args["spec"])
            sys.defined(f"{spec.name}@{args['version']}" if args.get("version") else spec.name)
            if spec.loop not in loops:
                raise not_found("loop", spec.loop, loops)
            if said.rewinds(envelope.body) and not envelope.sender:
                reply = memory.rewind()
            else:
                loop = loops[spec.loop](spec, tools)
                loop.steering = steering
                reply = await worked(sys, loop, envelope, memory)
        except (BudgetExceeded, JournalUnavailable, JournalDamaged):
            raise
        except LLMAgentOSError as error:
            reply, failed = {"error": error.to_data()}, True
        await sys.reply(envelope, reply)
        if args.get("once"):
            return reply
        if failed:  # as if the message had not been: what it read is not kept either
            return Idle(state)
        return Idle(codec.loads(codec.canonical(memory)) if args.get("session") else None)

    return Program(run, wakes=True)


STOP = {"$stop": True}
"""The message after which an agent's process ends: what was sent before it is still answered."""


def _is_stop(envelope: Envelope) -> bool:
    """Whether a message is the manager's STOP: whoever else says so wants an answer, or is a process."""
    return envelope.body == STOP and not envelope.sender and envelope.reply_to is None


def _offers(names: Sequence[str], tools: Mapping[str, Tool]) -> list[tuple[ToolSpec, str | None]]:
    """What a model may call, each under a name of its own, and the agent that is asked so; raises NotFound."""
    taken = {name for name in names if not name.startswith(ASKED)}
    found: list[tuple[ToolSpec, str | None]] = []
    for name in dict.fromkeys(names):
        if not name.startswith(ASKED):
            if name not in tools:
                raise not_found("tool", name, tools)
            found.append((tools[name].spec, None))
            continue
        agent = name.removeprefix(AGENT)
        offered = _asking(agent)
        if offered.name in taken:  # such as that of `a.b` beside `a_b`
            digest = blake2b(agent.encode(), digest_size=4).hexdigest()
            offered = replace(offered, name=f"{offered.name[:55]}_{digest}")
        taken.add(offered.name)
        found.append((offered, agent))
    return found


def _acts_outside(tool: Tool) -> bool:
    """Whether a second call reaches beyond this system once more."""
    return tool.traits.effect == "external" and not tool.traits.idempotent


def _asking(agent: str) -> ToolSpec:
    """Another agent, or a trigger, as a tool; its name in letters that every model's API takes."""
    message = {"type": "string", "description": "all that it needs to know: it sees nothing of this conversation"}
    schema = {"type": "object", "properties": {"message": message}, "required": ["message"]}
    if agent.startswith(TRIGGER):
        name = agent.removeprefix(TRIGGER)
        about = f"Start the work of the trigger {name!r}; what it does is not waited for."
        return ToolSpec(f"start_{name.replace('.', '_')}"[:64], about, schema)
    return ToolSpec(f"ask_{agent.replace('.', '_')}"[:64], f"Ask the agent {agent!r} and get its answer.", schema)


def _text(result: Json) -> str:
    """A result as a model is shown it."""
    if isinstance(result, dict) and result.keys() == {"$file", "shown", "left_out"}:
        file = f"{result['$file'].get('name')} (blob {result['$file'].get('blob')})"
        left = f"{result['left_out']} more characters are left out; the user gets them all as the file {file}"
        return f"{result['shown']}\n\n[{left}]"
    return codec.words(result)


def _halved(message: Message, longest: int) -> Message:
    """A tool's result cut to half of the longest one; other messages as they are."""
    return shorten(message, len(message.text), longest // 2) if message.role == "tool" else message


def _by_user(message: Message) -> bool:
    """Whether a message is in the words of whoever the agent answers, and not of what that has read."""
    return message.role not in ("assistant", "tool") and message.name != RELAYED


def _kind(file: Mapping[str, Json]) -> str:
    return "image" if str(file.get("mime", "")).startswith("image/") else "file"
