"""The scripted engine: deterministic answers from rules or a function, for tests, demos and work without a model.

An answer is a function of the request alone: nothing is remembered between calls, so a call that is issued again after
a crash is answered as it was the first time. A script puts all probability on one answer, which no sampling parameter
moves: temperature and its kin are accepted and change nothing; `max_tokens` and `stop` cut the text.
A token is four characters. Log-probabilities are made up from the token's checksum: right in shape and sign only.
"""

from __future__ import annotations

import asyncio
import math
import re
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence

from ..core import codec
from ..core.errors import ContextOverflow, Unsupported, from_data
from ..core.records import (
    SAMPLING_NAMES,
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    FinishReason,
    GenerateRequest,
    Json,
    ModelSpec,
    TokenLogprob,
    ToolCall,
    Usage,
)
from ..core.validity import fault
from .engines import check, refuse_unknown
from .instance import Impossible, smallest
from .script import Called, Reply, Script, as_reply, follow, read_rules, rules
from .stops import Stops
from .wire import priced

TOKEN = 4
"""Characters in a token."""

DIMENSION = 64
"""Length of an embedding: hashed counts of the text's words, scaled to length 1."""

_LONG = 1 << 15  # characters of texts whose vectors are made in a thread
_BREATHER = 64  # pieces, after which others have their turn
PIECES = 4096  # of an answer at most, unless its script wants time between them
_WORD = re.compile(r"\w+")


class ScriptedEngine:
    """Answers from a script; see the module for what its tokens, log-probabilities and embeddings are."""

    def __init__(self, spec: ModelSpec, script: Script = follow) -> None:
        self.info = EngineInfo(
            name="scripted",
            model=spec.name,
            window=spec.window,
            parameters=frozenset(spec.options.get("parameters", SAMPLING_NAMES)),
            abilities=frozenset({"chat", "prompt", "tools", "schema", "choices", "embed", "said"}),
            limit=spec.limit or 1024,
            input_price=spec.input_price,
            output_price=spec.output_price,
        )
        self._script = script

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the script's answer; raises what its rule says, and ContextOverflow over `window`."""
        request = check(request, self.info)
        tokens = _prompt_tokens(request)
        self._fit(tokens)
        reply = _constrained(as_reply(self._script(request)), request)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.error:
            raise from_data(reply.error.to_data())  # a new one: an exception remembers where it was raised
        said = _after(request.said, reply.text) if request.said else reply.text
        room = self.info.window - tokens if self.info.window else None
        text, finish, stopped = _cut(said, request, room)
        calls = _tool_calls(reply, request)
        if not calls:
            async for chunk in _pieces(text, reply, request):
                yield chunk
        usage, ends = self._usage(tokens, text, calls), "tool_calls" if calls else finish
        yield Chunk(tool_calls=calls, finish=ends, usage=usage, stopped=None if calls else stopped)

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
        if sum(map(len, request.texts)) > _LONG:
            vectors = await asyncio.to_thread(_vectors, request.texts)
        else:
            vectors = _vectors(request.texts)
        return Embeddings(vectors, priced(self.info, tokens, 0), self.info.model)

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

    `options["parameters"]` are the sampling parameters to take, all by default. Raises InvalidRequest for rules that
    cannot be read and for other options.
    """
    refuse_unknown(spec.options, ("script", "rules", "parameters"), "option of a scripted model")
    script = spec.options.get("script")
    if script is None and (found := spec.options.get("rules") or read_rules(spec.source)):
        script = rules(found)
    return ScriptedEngine(spec, script or follow)


def _constrained(reply: Reply, request: GenerateRequest) -> Reply:
    """Bend the reply to `tool_choice`, `choices` and `schema`, as a model under constraint would."""
    free = request.tool_choice == "auto" and not request.choices and request.schema is None
    if reply.error or free:
        return reply
    text, calls = reply.text, reply.calls if request.tool_choice != "none" else ()
    if request.tools and request.tool_choice not in ("auto", "none"):
        calls = _forced(calls, request)
    if request.choices:
        text = next((choice for choice in request.choices if choice in text), request.choices[0])
    elif request.schema is not None and not calls:
        text = _fitting(text, request.schema)
    return Reply(text, calls, None, reply.delay, reply.pace, reply.piece)


def _forced(calls: tuple[Called, ...], request: GenerateRequest) -> tuple[Called, ...]:
    wanted = [tool for tool in request.tools if request.tool_choice in ("required", tool.name)]
    allowed = {tool.name for tool in wanted}
    kept = tuple(call for call in calls if call[0] in allowed)
    return kept or ((wanted[0].name, _least(wanted[0].parameters, f"tool {wanted[0].name!r}", "tools")),)


def _fitting(text: str, schema: Mapping[str, Json]) -> str:
    """The text itself if it is JSON that is valid under the schema, else the smallest instance."""
    try:
        if fault(schema, codec.loads(text)) is None:
            return text
    except ValueError:  # no JSON, or nobody can tell
        pass
    return codec.dumps(_least(schema, "the schema", "schema")).decode()


def _least(schema: Mapping[str, Json], what: str, parameter: str) -> Json:
    """The smallest instance; raises Unsupported, which says what cannot be constrained, where none was found."""
    try:
        return smallest(schema)
    except Impossible as error:
        raise Unsupported(f"{what} cannot constrain an answer: {error}", parameter=parameter) from error


def _tool_calls(reply: Reply, request: GenerateRequest) -> tuple[ToolCall, ...]:
    """Ids count the calls of the whole conversation, so they are unique in it and the same when asked again."""
    if not reply.calls:
        return ()
    before = sum(len(message.tool_calls) for message in request.messages)
    return tuple(ToolCall(f"call_{before + i}", name, args) for i, (name, args) in enumerate(reply.calls))


def _after(said: str, text: str) -> str:
    """What is left to say; raises Unsupported where the script never said that."""
    if not text.startswith(said):
        raise Unsupported(f"the script does not say {said!r} here, so there is nothing to go on with", parameter="said")
    return text[len(said) :]


def _cut(text: str, request: GenerateRequest, room: int | None) -> tuple[str, FinishReason, str | None]:
    """Shorten the text to the first stop string (which is the last of the three) and to `max_tokens` or the room."""
    stops = Stops(request.sampling.stop or ())
    text, _ = stops.add(text)
    text += "" if stops.found else stops.rest()
    limits = [limit for limit in (request.sampling.max_tokens, room) if limit is not None]
    if limits and _count(text) > min(limits):
        return text[: min(limits) * TOKEN], "length", None
    return text, "stop", stops.found


async def _pieces(text: str, reply: Reply, request: GenerateRequest) -> AsyncIterator[Chunk]:
    """The answer piece by piece, or after the same time whole."""
    size, top = reply.piece * TOKEN, request.sampling.top_logprobs
    if not reply.pace:  # every piece costs every part of the system something
        size = max(size, -(-len(text) // (PIECES * TOKEN)) * TOKEN)
    starts = range(0, len(text), size)
    if not request.stream:
        await asyncio.sleep(reply.pace * max(0, len(starts) - 1))
        yield Chunk(text, _logprobs(text, top))
        return
    for start in starts:
        if start and (reply.pace or start % (_BREATHER * size) == 0):
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


def _count(text: str | bytes) -> int:
    return -(-len(text) // TOKEN)


def _prompt_tokens(request: GenerateRequest) -> int:
    if request.prompt is not None:
        return max(1, _count(request.prompt))
    return max(1, sum(_count(m.text) + sum(_count(c.name) for c in m.tool_calls) for m in request.messages))


def _vectors(texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(_vector, texts))


def _vector(text: str) -> tuple[float, ...]:
    counts = [0.0] * DIMENSION
    for word in _WORD.findall(text.lower()) or [""]:
        counts[zlib.crc32(word.encode()) % DIMENSION] += 1.0
    length = math.sqrt(sum(count * count for count in counts))
    return tuple(count / length for count in counts)
