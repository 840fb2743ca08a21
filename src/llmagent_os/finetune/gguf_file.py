"""GGUF files: what a model is by its own file, its weights, and adapters to it. Needs the extra `tune`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy

from ..core.errors import Unsupported

NEIGHBOURS = {"llama": True, "qwen2": False}
"""The architectures that are tuned, and whether rotary embeddings turn neighbours (True) or the halves of a head.

A file's rows of q and k stand as its architecture turns them: what is trained on them is served without reordering.
"""
PROJECTIONS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a decoder, by the words of GGUF."""

    architecture: str
    layers: int
    width: int
    heads: int
    shared: int
    head: int
    epsilon: float
    base: float
    vocabulary: int
    weights: int

    @property
    def neighbours(self) -> bool:
        """How rotary embeddings turn."""
        return NEIGHBOURS[self.architecture]


class ModelFile:
    """A model's GGUF file; raises Unsupported for an architecture that is not known to be served as it is trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = gguf.GGUFReader(path)
        self.shape = self._shape()

    def _shape(self) -> Shape:
        kind = str(self._value("general.architecture"))
        if kind not in NEIGHBOURS:
            known = ", ".join(NEIGHBOURS)
            raise Unsupported(f"{self.path.name} is a {kind}; what is tuned here is one of: {known}", parameter="model")
        if self._value(f"{kind}.rope.scaling.type", "none") != "none" or self._has("rope_freqs.weight"):
            raise Unsupported(f"{self.path.name} scales its rotary embeddings, which the trainer does not know")
        if int(self._value(f"{kind}.expert_count", 0)):
            raise Unsupported(f"{self.path.name} is a mixture of experts, which the trainer does not know")
        heads, width = int(self._value(f"{kind}.attention.head_count")), int(self._value(f"{kind}.embedding_length"))
        return Shape(
            kind, int(self._value(f"{kind}.block_count")), width, heads,
            int(self._value(f"{kind}.attention.head_count_kv", heads)),
            int(self._value(f"{kind}.attention.key_length", width // heads)),
            float(self._value(f"{kind}.attention.layer_norm_rms_epsilon")),
            float(self._value(f"{kind}.rope.freq_base", 10_000.0)),
            int(self._tensor("token_embd.weight").shape[-1]),
            sum(int(each.n_elements) for each in self._reader.tensors),
        )  # fmt: skip

    def _value(self, name: str, default: Any = None) -> Any:
        field = self._reader.get_field(name)
        if field is None and default is None:
            raise Unsupported(f"{self.path.name} does not say {name}", parameter="model")
        return default if field is None else field.contents()

    def _has(self, name: str) -> bool:
        return any(each.name == name for each in self._reader.tensors)

    def _tensor(self, name: str) -> Any:
        found = next((each for each in self._reader.tensors if each.name == name), None)
        if found is None:
            raise Unsupported(f"{self.path.name} has no tensor {name}", parameter="model")
        return found

    def weights(self) -> dict[str, Any]:
        """Every tensor as a numpy array of 32 bits, by its name, rows first."""
        return {
            each.name: numpy.require(
                gguf.quants.dequantize(each.data, each.tensor_type), numpy.float32, ["C", "W"]
            ).reshape(tuple(int(n) for n in reversed(each.shape)))
            for each in self._reader.tensors
        }


def save_adapter(path: Path, shape: Shape, alpha: float, pairs: Mapping[str, tuple[Any, Any]]) -> str:
    """Write a LoRA adapter, (A, B) by the name of the tensor it changes; returns the sha256 of the file."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", numpy.ascontiguousarray(a, numpy.float32))
        writer.add_tensor(f"{name}.lora_b", numpy.ascontiguousarray(b, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def regrouped(rows: Any, heads: int) -> Any:
    """Rows of q or k from the halves of each head, as transformers has them, to neighbours, as a llama's file does."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)
