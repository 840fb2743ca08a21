"""The scripted engine: deterministic answers from rules or a function, for tests, demos and work without a model.

An answer is a function of the request alone: nothing is remembered between calls, so a call that is issued again after
a crash is answered as it was the first time. A script puts all probability on one answer, which no sampling parameter
moves: temperature and its kin are accepted and change nothing; `max_tokens` and `stop` cut the text.
A token is four characters. Log-probabilities are made up from the token's checksum: right in shape and sign only.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from ..core import codec
from ..core.errors import ContextOverflow, InvalidRequest, LLMAgentOSError, from_data
from ..core.records import (
    SAMPLING_NAMES,
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    FinishReason,
    GenerateRequest,
    Generation,
    Json,
    ModelSpec,
    TokenLogprob,
    ToolCall,
    Usage,
)
from .engines import check
from .instance import smallest
from .wire import priced

_JSON = json.JSONDecoder()
TOKEN = 4
"""Characters in a token."""

DIMENSION = 64
"""Length of an embedding: hashed counts of the text's words, scaled to length 1."""

_CALL = re.compile(r"\bcall\s+([\w.-]+)(\s+with\s+(?=\{))?", re.IGNORECASE)
_FIELD = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer: `text` and `calls`, or `error`.

    `delay` seconds pass before the first piece and `pace` seconds before every other; a piece is `piece` tokens.
    """

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Json]], ...] = ()
    error: LLMAgentOSError | None = None
    delay: float = 0.0
    pace: float = 0.0
    piece: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """When to give a reply: `match` is searched in the last user or tool message, `step` counts the assistant's
    messages since the last user message (0: the first answer to it). Both None: always.

    In the reply's text and in the strings of its tool arguments, `{echo}` stands for the matched message, and `{1}` or
    `{name}` for a group of `match`; other braces are left alone.
    """

    reply: Reply
    match: re.Pattern[str] | None = None
    step: int | None = None


Script = Callable[[GenerateRequest], "Reply | Generation | str | Sequence[ToolCall]"]


def rule(data: Mapping[str, Any]) -> Rule:
    """Read one rule: `match`, `step`, and the reply's `text`, `calls`, `error`, `delay`, `pace`, `piece`.

    `calls` are `{name, arguments}`; `error` is a message, or `{type, message}` with a class of `core.errors`.
    Raises InvalidRequest for an unknown key or a broken pattern.
    """
    unknown = set(data) - {"match", "step", "text", "calls", "error", "delay", "pace", "piece"}
    if unknown:
        raise InvalidRequest(f"a rule has no {min(unknown)!r}; it has match, step, text, calls, error, delay")
    try:
        pattern = re.compile(data["match"], re.DOTALL) if "match" in data else None
    except re.error as error:
        raise InvalidRequest(f"the rule's match {data['match']!r} is no regular expression: {error}") from error
    return Rule(_reply(data), pattern, data.get("step"))


def _reply(data: Mapping[str, Any]) -> Reply:
    error = data.get("error")
    if isinstance(error, str):
        error = {"type": "EngineFailed", "message": error}
    return Reply(
        text=data.get("text", ""),
        calls=tuple((call["name"], call.get("arguments", {})) for call in data.get("calls", ())),
        error=from_data(error) if error else None,
        delay=data.get("delay", 0.0),
        pace=data.get("pace", 0.0),
        piece=data.get("piece", 1),
    )


def rules(found: Sequence[Rule | Mapping[str, Any]]) -> Script:
    """Make a script of ordered rules: the first that fits answers; where none fits, `follow` does."""
    ordered = [one if isinstance(one, Rule) else rule(one) for one in found]

    def script(request: GenerateRequest) -> Reply:
        text, step = _last(request), _step(request)
        for one in ordered:
            groups = _groups(one, text, step)
            if groups is not None:
                return _filled(one.reply, groups)
        return follow(request)

    return script


def follow(request: GenerateRequest) -> Reply:
    """The script used when none is given.

    With tools on offer, a user's text such as `call add with {"a": 1}, then call done` has the named tools called in
    that order, one a turn, and then their results reported; any other text is echoed.
    """
    text, results = _turn(request)
    calls = _named(text, request) if request.tools else []
    if len(results) < len(calls):
        return Reply(calls=(calls[len(results)],))
    if results:
        return Reply("Done: " + "; ".join(results))
    return Reply(text)


class ScriptedEngine:
    """Answers from a script; see the module for what its tokens, log-probabilities and embeddings are."""

    def __init__(self, spec: ModelSpec, script: Script = follow) -> None:
        self.info = EngineInfo(
            name="scripted",
            model=spec.name,
            window=spec.window,
            parameters=frozenset(spec.options.get("parameters", SAMPLING_NAMES)),
            abilities=frozenset({"chat", "prompt", "tools", "schema", "choices", "embed"}),
            limit=spec.limit or 1024,
            input_price=spec.input_price,
            output_price=spec.output_price,
        )
        self._script = script

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the script's answer; raises what its rule says, and ContextOverflow over `window`."""
        check(request, self.info)
        tokens = _prompt_tokens(request)
        self._fit(tokens)
        reply = _constrained(_as_reply(self._script(request)), request)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.error:
            raise reply.error
        text, finish = _cut(reply.text, request, self.info.window - tokens if self.info.window else None)
        calls = _tool_calls(reply, request)
        if not calls:
            async for chunk in _pieces(text, reply, request):
                yield chunk
        yield Chunk(tool_calls=calls, finish="tool_calls" if calls else finish, usage=self._usage(tokens, text, calls))

    def _fit(self, tokens: int) -> None:
        window = self.info.window
        if window and tokens > window:
            message = f"the prompt has {tokens} tokens and the window of {self.info.model!r} {window}; shorten it"
            raise ContextOverflow(message, tokens=tokens, window=window)

    def _usage(self, tokens: int, text: str, calls: tuple[ToolCall, ...]) -> Usage:
        output = sum(_count(call.name) + _count(codec.dumps(call.arguments)) for call in calls) or _count(text)
        return priced(self.info, tokens, output)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Return unit vectors of length 64, near for texts that share words."""
        tokens = sum(_count(text) for text in request.texts)
        return Embeddings(tuple(map(_vector, request.texts)), priced(self.info, tokens, 0), self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The prompt's length in four-character tokens; tools and roles are not counted."""
        return _prompt_tokens(request)

    def health(self) -> str | None:
        """Always well."""
        return None

    async def close(self) -> None:
        """Nothing is held."""


async def open_engine(spec: ModelSpec) -> ScriptedEngine:
    """Open with the function in `options["script"]`, the rules in `options["rules"]`, or the YAML list in `source`.

    Raises InvalidRequest where they cannot be read.
    """
    script = spec.options.get("script")
    if script is None and (found := spec.options.get("rules") or _from_file(spec.source)):
        script = rules(found)
    return ScriptedEngine(spec, script or follow)


def _from_file(source: str) -> list[dict[str, Any]]:
    if not source:
        return []
    try:
        found = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRequest(f"the script {source} cannot be read: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidRequest(
            f"the script {source} must be a YAML list of rules, such as `- {{match: hi, text: Hello}}`"
        )
    return found


# What was asked


def _last(request: GenerateRequest) -> str:
    if request.prompt is not None:
        return request.prompt
    return next((m.text for m in reversed(request.messages) if m.role in ("user", "tool")), "")


def _step(request: GenerateRequest) -> int:
    steps = 0
    for message in reversed(request.messages):
        if message.role == "user":
            break
        steps += message.role == "assistant"
    return steps


def _turn(request: GenerateRequest) -> tuple[str, list[str]]:
    """The last user text and the tool results since, in order."""
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role == "user":
            return message.text, results[::-1]
        if message.role == "tool":
            results.append(message.text)
    return request.prompt or "", results[::-1]


def _named(text: str, request: GenerateRequest) -> list[tuple[str, Mapping[str, Json]]]:
    offered = {tool.name for tool in request.tools}
    found = []
    for match in _CALL.finditer(text):
        name = match[1].rstrip(".")
        if name in offered:
            found.append((name, _object_at(text, match.end()) if match[2] else {}))
    return found


def _object_at(text: str, start: int) -> Mapping[str, Json]:
    try:
        value: Mapping[str, Json] = _JSON.raw_decode(text, start)[0]
    except ValueError as error:
        raise InvalidRequest(f"after `with` in {text[:start][-40:]!r} there is no JSON object: {error}") from error
    return value


def _groups(one: Rule, text: str, step: int) -> dict[str, str] | None:
    """The fields the reply may use, or None when the rule does not fit."""
    if one.step is not None and one.step != step:
        return None
    if one.match is None:
        return {"echo": text}
    match = one.match.search(text)
    if match is None:
        return None
    numbered = {str(i): group or "" for i, group in enumerate((match[0], *match.groups()))}
    return {"echo": text, **numbered, **match.groupdict("")}


def _filled(reply: Reply, groups: Mapping[str, str]) -> Reply:
    if "{" not in reply.text and not reply.calls:
        return reply
    calls = tuple((name, _fill(arguments, groups)) for name, arguments in reply.calls)
    return Reply(_fill(reply.text, groups), calls, reply.error, reply.delay, reply.pace, reply.piece)


def _fill(value: Any, groups: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _FIELD.sub(lambda field: groups.get(field[1], field[0]), value)
    if isinstance(value, Mapping):
        return {name: _fill(one, groups) for name, one in value.items()}
    return [_fill(one, groups) for one in value] if isinstance(value, list) else value


# What is answered


def _as_reply(answer: Reply | Generation | str | Sequence[ToolCall]) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, str):
        return Reply(answer)
    if isinstance(answer, Generation):
        return Reply(answer.text, tuple((call.name, call.arguments) for call in answer.tool_calls))
    return Reply(calls=tuple((call.name, call.arguments) for call in answer))


def _constrained(reply: Reply, request: GenerateRequest) -> Reply:
    """Bend the reply to `tool_choice`, `choices` and `schema`, as a model under constraint would."""
    if reply.error:
        return reply
    text, calls = reply.text, reply.calls if request.tool_choice != "none" else ()
    if request.tools and request.tool_choice not in ("auto", "none"):
        calls = _forced(calls, request)
    if request.choices:
        text = next((choice for choice in request.choices if choice in text), request.choices[0])
    elif request.schema is not None and not calls:
        text = _fitting(text, request.schema)
    return Reply(text, calls, None, reply.delay, reply.pace, reply.piece)


def _forced(
    calls: tuple[tuple[str, Mapping[str, Json]], ...], request: GenerateRequest
) -> tuple[tuple[str, Mapping[str, Json]], ...]:
    wanted = [tool for tool in request.tools if request.tool_choice in ("required", tool.name)]
    allowed = {tool.name for tool in wanted}
    kept = tuple(call for call in calls if call[0] in allowed)
    return kept or ((wanted[0].name, smallest(wanted[0].parameters)),)


def _fitting(text: str, schema: Mapping[str, Json]) -> str:
    """The text itself if it is JSON that the schema allows, else the smallest instance."""
    try:
        if Draft202012Validator(schema).is_valid(codec.loads(text)):
            return text
    except ValueError:
        pass
    return codec.dumps(smallest(schema)).decode()


def _tool_calls(reply: Reply, request: GenerateRequest) -> tuple[ToolCall, ...]:
    """Ids count the calls of the whole conversation, so they are unique in it and the same when asked again."""
    if not reply.calls:
        return ()
    before = sum(len(message.tool_calls) for message in request.messages)
    return tuple(ToolCall(f"call_{before + i}", name, args) for i, (name, args) in enumerate(reply.calls))


def _cut(text: str, request: GenerateRequest, room: int | None) -> tuple[str, FinishReason]:
    """Shorten the text to the first stop string and to `max_tokens` or the room in the window."""
    for stop in request.sampling.stop or ():
        text = text.partition(stop)[0] if stop else text
    limits = [limit for limit in (request.sampling.max_tokens, room) if limit is not None]
    if limits and _count(text) > min(limits):
        return text[: min(limits) * TOKEN], "length"
    return text, "stop"


async def _pieces(text: str, reply: Reply, request: GenerateRequest) -> AsyncIterator[Chunk]:
    """The answer piece by piece, or after the same time whole."""
    size, top = reply.piece * TOKEN, request.sampling.top_logprobs
    starts = range(0, len(text), size)
    if not request.stream:
        await asyncio.sleep(reply.pace * max(0, len(starts) - 1))
        yield Chunk(text, _logprobs(text, top))
        return
    for start in starts:
        if start and reply.pace:
            await asyncio.sleep(reply.pace)
        yield Chunk(text[start : start + size], _logprobs(text[start : start + size], top))


def _logprobs(text: str, top: int | None) -> tuple[TokenLogprob, ...]:
    if top is None:
        return ()
    return tuple(_logprob(text[start : start + TOKEN], top) for start in range(0, len(text), TOKEN))


def _logprob(token: str, top: int) -> TokenLogprob:
    """The chosen token above 90 %, then alternatives whose probabilities fall by e and sum to less than the rest."""
    chosen = -(zlib.crc32(token.encode()) % 1000 + 1) / 10_000
    others = ((f"{token}{i}", -4.0 - i) for i in range(1, top))
    return TokenLogprob(token, chosen, ((token, chosen), *others) if top else ())


# Counting


def _count(text: str | bytes) -> int:
    return -(-len(text) // TOKEN)


def _prompt_tokens(request: GenerateRequest) -> int:
    if request.prompt is not None:
        return max(1, _count(request.prompt))
    return max(1, sum(_count(m.text) + sum(_count(c.name) for c in m.tool_calls) for m in request.messages))


def _vector(text: str) -> tuple[float, ...]:
    counts = [0.0] * DIMENSION
    for word in _WORD.findall(text.lower()) or [""]:
        counts[zlib.crc32(word.encode()) % DIMENSION] += 1.0
    length = math.sqrt(sum(count * count for count in counts))
    return tuple(count / length for count in counts)
