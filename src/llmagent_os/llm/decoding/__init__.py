"""Decoding strategies above any engine: beam search, several candidates, and what an answer must not say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ...core.errors import InvalidRequest, Unsupported, not_found
from ...core.ports import DecodingStrategy, Engine
from ...core.records import Chunk, Decoding, GenerateRequest
from .bans import restrained
from .beam import beam
from .candidates import best_of, vote

STRATEGIES: Mapping[str, DecodingStrategy] = {"beam": beam, "best_of": best_of, "vote": vote}
"""Decoding strategies by name."""

WIDEST = 1000  # hypotheses of one request: each is work of its own, before anybody can give it up
BANS, LONGEST = 1000, 1000  # words, phrases and topics of one request that are looked for at every token; characters


def decoded(
    request: GenerateRequest, engine: Engine, strategies: Mapping[str, DecodingStrategy] = STRATEGIES
) -> AsyncIterator[Chunk]:
    """Answer as `request.decoding` says; without it, the engine's own answer. Itself a DecodingStrategy.

    Raises NotFound for an unknown strategy, InvalidRequest for a width or count that cannot be, Unsupported for what
    the strategy or the engine cannot honour.
    """
    decoding = request.decoding or Decoding()
    if decoding.strategy is None and not (decoding.banned or decoding.topics):
        return engine.generate(request)
    for name, banned in (("banned", decoding.banned), ("topics", decoding.topics)):
        if len(banned) > BANS or any(len(each) > LONGEST for each in banned):
            raise InvalidRequest(f"{name} are {BANS} of {LONGEST} characters at most", parameter=name)
    if decoding.explain and decoding.strategy != "beam":
        raise Unsupported("only an answer made in one go can be explained: leave the rest out", parameter="explain")
    if decoding.strategy is None:
        return restrained(request, engine)
    if decoding.strategy not in strategies:
        raise not_found("decoding strategy", decoding.strategy, strategies)
    if not 1 <= decoding.width <= WIDEST:
        raise InvalidRequest(f"width is {decoding.width}; it goes from 1 to {WIDEST}", parameter="width")
    if not 1 <= decoding.n <= decoding.width:
        raise InvalidRequest(f"n is {decoding.n}; it goes from 1 to the width, {decoding.width}", parameter="n")
    return strategies[decoding.strategy](request, engine)
