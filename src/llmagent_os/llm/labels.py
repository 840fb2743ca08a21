"""A linear model that labels texts, as an engine: it answers with one of its labels, at once. It needs no library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from ..core import codec
from ..core.errors import InvalidRequest, Unsupported
from ..core.grams import Labeller
from ..core.records import Alternative, Chunk, Embeddings, EmbedRequest, EngineInfo, GenerateRequest, ModelSpec, Usage
from .engines import check, refuse_unknown
from .tuned import read

FILE = "labels.json"
ABILITIES = frozenset({"chat", "prompt", "choices", "schema"})
WORD = 4  # characters of what is counted as a token: it has none


async def open_engine(spec: ModelSpec) -> LabelsEngine:
    """Open the folder at `spec.source`, as `llmagent-os tune` writes one; raises InvalidRequest for another."""
    refuse_unknown(spec.options, (), "option of the labels engine")
    folder = Path(spec.source).expanduser()
    read(folder)
    try:
        held = codec.loads((folder / FILE).read_bytes())
        return LabelsEngine(spec, Labeller(held["labels"], held["bias"], held["grams"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{folder / FILE} cannot be read: {error!r}", parameter="source") from error


class LabelsEngine:
    """An Engine whose answers are labels of what the user said last; see `core.ports.Engine` for the contract.

    `choices` leave it fewer labels, and so does a schema of one string out of an `enum`, which is answered in JSON. The
    probabilities of all are the answer's `alternatives`.
    """

    def __init__(self, spec: ModelSpec, labeller: Labeller) -> None:
        self.info = EngineInfo(
            "labels", spec.name, abilities=ABILITIES, limit=spec.limit or 64,
            input_price=spec.input_price, output_price=spec.output_price,
        )  # fmt: skip
        self.labeller = labeller

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """The likeliest label, whole; raises InvalidRequest for a choice that is none of its labels."""
        request = check(request, self.info)
        text = asked(request)
        yield labelled(request, self.labeller.probabilities(text), len(text) // WORD)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Raises Unsupported: it has no vectors."""
        raise Unsupported("what labels texts has no vectors; choose another model", parameter="model")

    async def count_tokens(self, request: GenerateRequest) -> int:
        """An estimate: it has no tokens."""
        return len(asked(request)) // WORD

    def health(self) -> str | None:
        """Nothing is ever wrong."""
        return None

    async def close(self) -> None:
        """Nothing is held."""


def labelled(request: GenerateRequest, found: Mapping[str, float], read: int) -> Chunk:
    """The likeliest of labels, with all of them as alternatives; raises InvalidRequest for a choice that is none, and
    Unsupported for a schema that is more than an `enum`.
    """
    schema = request.schema
    choices = request.choices if schema is None else schema.get("enum")
    if schema is not None and (not isinstance(choices, list | tuple) or schema.keys() - {"type", "enum"}):
        text = "what labels texts answers to a schema with an `enum` of its labels alone"
        raise Unsupported(text, parameter="schema")
    for each in choices or ():
        if not isinstance(each, str) or each not in found:  # an enum may hold anything
            known = ", ".join(found)
            raise InvalidRequest(f"{each!r} is none of its labels: {known}", parameter="choices")
    left = {label: found[label] for label in choices or found}
    ranked = sorted(left, key=lambda label: -left[label])
    several = tuple(Alternative(label, left[label]) for label in ranked)
    text = ranked[0] if schema is None else codec.dumps(ranked[0]).decode()
    return Chunk(text, finish="stop", usage=Usage(read, len(ranked[0]) // WORD + 1), alternatives=several)


def asked(request: GenerateRequest) -> str:
    """What the user said last."""
    said = (each.text for each in reversed(request.messages) if each.role == "user")
    return request.prompt if request.prompt is not None else next(said, "")
