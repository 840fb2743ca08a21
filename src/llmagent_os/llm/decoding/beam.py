"""Beam search: the `width` likeliest beginnings are carried on, not only the one that looks best at each token.

The rules are those of `transformers` (`GenerationMixin._beam_search`), so that equal models give equal answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...core.errors import ContextOverflow, Unsupported
from ...core.ports import Engine, Stepper
from ...core.records import Alternative, Chunk, Decoding, GenerateRequest, Usage
from ..engines import check
from ..wire import priced
from .asking import AskedStepper, stepper
from .phrases import Phrases

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The beginning of an answer: its tokens, their summed natural log-probability, the slot its context lies on."""

    tokens: Tokens = ()
    total: float = 0.0
    slot: int = 0
    finished: bool = False


class Search:
    """Which hypotheses live; decides on data alone.

    A hypothesis scores `total / length ** length_penalty` (Wu et al. 2016, as `transformers` applies it). `limit` is
    the most tokens of an answer: at it, what still lives competes with what has finished.
    """

    def __init__(self, decoding: Decoding, limit: int, slot: int = 0) -> None:
        self.running = [Hypothesis(slot=slot)]
        self.finished: list[Hypothesis] = []
        self._decoding, self._limit = decoding, limit

    def score(self, hypothesis: Hypothesis, length: int = 0) -> float:
        """The score it has, or would have at another length."""
        return hypothesis.total / (length or len(hypothesis.tokens)) ** self._decoding.length_penalty

    def advance(self, ranked: Sequence[Hypothesis]) -> None:
        """Choose among continuations, likeliest first. Only the first `width` of them may finish."""
        width = self._decoding.width
        ended = [each for each in ranked[:width] if self._ends(each)]
        self.running = [each for each in ranked if not self._ends(each)][:width]
        self.finished = sorted(self.finished + ended, key=self.score, reverse=True)[:width]

    def over(self) -> bool:
        """Whether to stop: nothing is left to carry on, or no better answer is to be expected."""
        if not self.running:
            return True
        if len(self.finished) < self._decoding.width:
            return False
        early, best = self._decoding.early_stopping, self.running[0]
        hopeful = early == "never" and self._decoding.length_penalty > 0
        possible = self.score(best, self._limit if hopeful else len(best.tokens))
        return early is True or possible <= self.score(self.finished[-1])

    def _ends(self, hypothesis: Hypothesis) -> bool:
        return hypothesis.finished or len(hypothesis.tokens) >= self._limit


async def beam(request: GenerateRequest, engine: Engine) -> AsyncIterator[Chunk]:
    """The best answer in one chunk, with the `n` best as alternatives.

    An engine with beams of its own is asked, unless something is banned. Raises Unsupported for what a beam search
    cannot honour (drawing, penalties, constraints, topics).
    """
    decoding = request.decoding or Decoding()
    if "beams" in engine.info.abilities and not (decoding.banned or decoding.topics):
        async for chunk in engine.generate(request):
            yield chunk
        return
    _refuse(request, decoding)
    check(request, engine.info)
    driver = Driver(request, decoding, engine, stepper(request, engine))
    found = await driver.run()
    alternatives = tuple([Alternative(await driver.text(each), driver.search.score(each)) for each in found])
    yield Chunk(
        alternatives[0].text,
        finish="stop" if found[0].finished else "length",
        usage=driver.usage(),
        alternatives=alternatives,
    )


def _refuse(request: GenerateRequest, decoding: Decoding) -> None:
    used = {name for name, value in request.sampling.sent().items() if name != "temperature" or value != 0}
    asked: dict[str, object] = {"schema": request.schema, "choices": request.choices, "tools": request.offered()}
    asked |= {"topics": decoding.topics, "explain": decoding.explain}
    used = used - {"max_tokens", "stop", "seed"} | {name for name, value in asked.items() if value}
    if used:
        name = min(used)
        raise Unsupported(f"a beam search takes no {name!r}: leave it out, or take another strategy", parameter=name)


class Driver:
    """Carries a search out on a Stepper."""

    def __init__(
        self, request: GenerateRequest, decoding: Decoding, engine: Engine, steps: Stepper | AskedStepper
    ) -> None:
        self._request, self._decoding, self._engine, self._steps = request, decoding, engine, steps
        self._ends = steps.ends()
        self._stops = tuple(filter(None, request.sampling.stop or ()))
        self._phrases = Phrases(decoding.banned)
        self._prompt: list[int] = []
        self._stepped = 0

    async def run(self) -> list[Hypothesis]:
        """The `n` best, the best first. Raises Unsupported where every way on is banned."""
        self._prompt = await self._steps.encode(self._request)
        self._room = self._limit()
        async with self._steps.lease(self._decoding.width) as slots:
            self.search = Search(self._decoding, self._room, slots[0])
            held: dict[int, Tokens] = {}
            while not self.search.over():
                placed = place(self.search.running, slots, held)
                held |= {each.slot: each.tokens for each in placed}
                self.search.advance(await self._continuations(placed))
        if not self.search.finished:
            raise Unsupported("every way to go on is banned; ban less", parameter="banned")
        return self.search.finished[: self._decoding.n]

    async def text(self, hypothesis: Hypothesis) -> str:
        """Its text up to the first stop text."""
        return self._cut(await self._steps.decode(hypothesis.tokens))

    def _cut(self, text: str) -> str:
        return text[: min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=None)]

    def usage(self) -> Usage:
        """The prompt, and every token that was looked at."""
        if isinstance(self._steps, AskedStepper):
            return self._steps.usage
        return priced(self._engine.info, len(self._prompt), self._stepped)

    def _limit(self) -> int:
        most, window, prompt = self._request.sampling.max_tokens, self._engine.info.window, len(self._prompt)
        if window and prompt >= window:
            message = f"the prompt has {prompt} tokens and the window {window}; shorten it"
            raise ContextOverflow(message, tokens=prompt, window=window)
        room = [each for each in (most, window - prompt if window else None) if each is not None]
        if not room:
            raise Unsupported("the model's window is unknown: say how long an answer may be", parameter="max_tokens")
        return min(room)

    async def _continuations(self, placed: Sequence[Hypothesis]) -> list[Hypothesis]:
        """The likeliest first: enough that `width` do not end by a token."""
        width, ends = self._decoding.width, len(self._ends)
        contexts = [[*self._prompt, *each.tokens] for each in placed]
        self._stepped += len(contexts)
        top = (2 if self._stops or self._decoding.banned else 1) * width + ends  # texts rule further ones out
        rows = await self._steps.step(contexts, [each.slot for each in placed], top, self._request.adapter)
        found = [
            Hypothesis((*each.tokens, token), each.total + logprob, each.slot, finished=token in self._ends)
            for each, row in zip(placed, rows, strict=True)
            for token, logprob in row
        ]
        found.sort(key=lambda each: each.total, reverse=True)
        del found[max(2, 1 + ends) * width :]
        if not self._stops and not self._decoding.banned:
            return found
        return [read for each in found if (read := await self._read(each)) is not None]

    async def _read(self, hypothesis: Hypothesis) -> Hypothesis | None:
        """The hypothesis with what its text means: finished at a stop text, None with a banned one."""
        whole = await self._steps.decode(hypothesis.tokens)
        text = self._cut(whole)
        ended = hypothesis.finished or len(text) < len(whole)
        final = ended or len(hypothesis.tokens) == self._room
        return None if self._phrases.found(text, final=final) is not None else replace(hypothesis, finished=ended)


def place(hypotheses: Sequence[Hypothesis], slots: Sequence[int], held: Mapping[int, Tokens]) -> list[Hypothesis]:
    """Give each a slot: its parent's to the first child, so that it is read on from there; the nearest free to others.

    `held` are the tokens that lie on each slot.
    """
    first = {each.slot: each for each in reversed(hypotheses)}
    free = set(slots) - first.keys()
    placed = []
    for each in hypotheses:
        if first[each.slot] is not each:
            tokens = each.tokens
            slot = max(free, key=lambda other: _shared(tokens, held.get(other, ())))
            free.remove(slot)
            each = replace(each, slot=slot)
        placed.append(each)
    return placed


def _shared(one: Tokens, other: Tokens) -> int:
    """How many tokens two have in common from the beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
