"""An encoder of the BERT family as an engine, in numpy: vectors of texts, and, once tuned, labels or spans of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from ..core import spans
from ..core.errors import InvalidRequest
from ..core.packs import Packed, read_pack
from ..core.records import Chunk, Embeddings, EmbedRequest, EngineInfo, GenerateRequest, ModelSpec, Usage
from ..core.wordpiece import Piece, WordPiece
from .engines import check, refuse_unknown
from .labels import ABILITIES, asked, labelled
from .tuned import digest, read

FILE = "encoder.pack"
KINDS = {"F16": numpy.float16, "F32": numpy.float32}
WINDOW = 510  # pieces of a text that are read at once, beside the one before and the one after
EPSILON = 1e-12


class Encoder:
    """The weights of a file, and what they compute. Its heads have 32 numbers each, as those of MiniLM have."""

    def __init__(self, tensors: Mapping[str, Packed], vocabulary: Sequence[str]) -> None:
        self.words = WordPiece(vocabulary)
        self.weights: dict[str, Any] = {
            name: numpy.frombuffer(each.data, KINDS[each.kind]).reshape(each.shape).astype(numpy.float32)
            for name, each in tensors.items()
            if each.kind in KINDS
        }
        self.layers = sum(name.endswith("attention.self.query.weight") for name in self.weights)
        self.heads = self.weights["embeddings.LayerNorm.weight"].shape[0] // 32

    def states(self, pieces: Sequence[Piece]) -> Any:
        """The last states of pieces, with that of what stands before and after them: rows of a matrix."""
        ids = [self.words.begin, *(each.id for each in pieces), self.words.end]
        got = self.weights
        x = got["embeddings.word_embeddings.weight"][ids] + got["embeddings.position_embeddings.weight"][: len(ids)]
        x = self._norm(x + got["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            seen = self._linear(self._attention(x, f"{name}.attention.self"), f"{name}.attention.output.dense")
            x = self._norm(x + seen, f"{name}.attention.output.LayerNorm")
            wide = _gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    def vector(self, text: str) -> Any:
        """The mean of the states of a text's beginning."""
        return self.states(self.words.pieces(text)[:WINDOW]).mean(axis=0)

    def odds(self, states: Any) -> Any:
        """The probabilities that the head gives by states, by softmax."""
        scores = self._linear(states, "head")
        powers = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def spans(self, text: str, tags: Sequence[str]) -> list[spans.Span]:
        """The spans of a text; what is longer than a window is read in several."""
        found, pieces = [], self.words.pieces(text)
        while pieces:
            end = min(len(pieces), WINDOW)
            while end < len(pieces) and end > 1 and not pieces[end].first:
                end -= 1
            told = [tags[number] for number in self.odds(self.states(pieces[:end])[1:-1]).argmax(axis=-1)]
            found += spans.spans_of(pieces[:end], told)
            pieces = pieces[end:]
        return found

    def _linear(self, x: Any, name: str) -> Any:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: Any, name: str) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        length = numpy.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
        return centred / length * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _attention(self, x: Any, name: str) -> Any:
        q, k, v = (
            self._linear(x, f"{name}.{part}").reshape(len(x), self.heads, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(32)
        powers = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        return (powers / powers.sum(axis=-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(x), -1)


def _gelu(x: Any) -> Any:
    """x Phi(x) (Hendrycks & Gimpel 2016), by an error function that is right to 1.5e-7 (Abramowitz & Stegun 7.1.26)."""
    z = numpy.abs(x) * numpy.float32(math.sqrt(0.5))
    t = 1 / (1 + numpy.float32(0.3275911) * z)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    return 0.5 * x * (1 + numpy.sign(x) * (1 - series * numpy.exp(-z * z)))


async def open_engine(spec: ModelSpec) -> EncoderEngine:
    """Open an encoder's file, or a folder that `llmagent-os tune` wrote; raises InvalidRequest for anything else."""
    refuse_unknown(spec.options, (), "option of the encoder engine")
    return await asyncio.to_thread(_opened, spec)


def _opened(spec: ModelSpec) -> EncoderEngine:
    path, told = Path(spec.source).expanduser(), dict[str, Any]()
    if path.is_dir():
        told, path = dict(read(path)), path / FILE
        if told["sha256"] != digest(path):
            raise InvalidRequest(f"{path} is not the file that was saved there; tune again", parameter="source")
    try:
        encoder = Encoder(*read_pack(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{path} cannot be read as an encoder: {error!r}", parameter="source") from error
    return EncoderEngine(spec, encoder, told.get("labels", ()), told.get("kind", ""))


class EncoderEngine:
    """An Engine that answers what the user said last with one of its labels (`kind` is `labels`), or with the `spans`
    that are in it, as a JSON list of {label, text}; see `core.ports.Engine`. All of them have vectors of texts.
    """

    def __init__(self, spec: ModelSpec, encoder: Encoder, labels: Sequence[str], kind: str) -> None:
        abilities = {"labels": ABILITIES, "spans": {"chat", "prompt"}}.get(kind, set())
        self.info = EngineInfo(
            "encoder", spec.name, WINDOW, abilities=frozenset({"embed", *abilities}), limit=spec.limit or 2,
            input_price=spec.input_price, output_price=spec.output_price,
        )  # fmt: skip
        self.encoder, self._labels, self._kind = encoder, labels, kind

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """The likeliest label, or the spans, whole; raises InvalidRequest for a choice that is none of its labels."""
        request = check(request, self.info)
        text = asked(request)
        count = len(self.encoder.words.pieces(text))
        if self._kind == "labels":
            states = await asyncio.to_thread(self.encoder.vector, text)
            odds = map(float, self.encoder.odds(states))
            yield labelled(request, dict(zip(self._labels, odds, strict=True)), count)
        else:
            found = await asyncio.to_thread(self.encoder.spans, text, spans.tags(self._labels))
            yield Chunk(spans.answer(text, found), finish="stop", usage=Usage(count, len(found)))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Vectors of length 1."""
        usage = Usage(sum(len(self.encoder.words.pieces(text)) for text in request.texts))
        return Embeddings(await asyncio.to_thread(self._vectors, request.texts), usage)

    def _vectors(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        found = (self.encoder.vector(text) for text in texts)
        return tuple(tuple(map(float, each / max(1e-12, float(numpy.linalg.norm(each))))) for each in found)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The pieces of what it is asked."""
        return len(self.encoder.words.pieces(asked(request)))

    def health(self) -> str | None:
        """Nothing is ever wrong."""
        return None

    async def close(self) -> None:
        """Nothing is held but memory."""
