"""The model as the trainer runs it: a decoder over the weights of the served file, with LoRA. Needs the extra `tune`.

It computes in the layout of the file, so what is trained needs no conversion; and it computes scores only where they
are asked for, which is what most of a small model's memory goes into otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from .gguf_file import PROJECTIONS, ModelFile, Shape
from .settings import Settings

Tensor = Any
"""A tensor of torch's, which is not there where types are checked."""


class Decoder:
    """A llama or qwen2 with frozen weights; `pairs` are the adapter's (A, B) by tensor, the only thing trained."""

    def __init__(self, file: ModelFile) -> None:
        self.shape: Shape = file.shape
        self._weights = {name: torch.from_numpy(each) for name, each in file.weights().items()}
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}
        self.scale = 0.0
        self._dropout = 0.0
        self.training = False

    def adapt(self, settings: Settings) -> list[Tensor]:
        """Put a fresh adapter on every projection and return its tensors: A is drawn as a linear layer's, B is zero."""
        drawn = torch.Generator().manual_seed(settings.seed)
        self.scale, self._dropout, self.pairs = settings.alpha / settings.rank, settings.dropout, {}
        for layer in range(self.shape.layers):
            for part in PROJECTIONS:
                name = f"blk.{layer}.{part}.weight"
                outputs, inputs = self._weights[name].shape
                bound = 1 / math.sqrt(inputs)  # Kaiming's uniform with a = sqrt(5), as in LoRA's own code
                a = (torch.rand(settings.rank, inputs, generator=drawn) * 2 - 1) * bound
                self.pairs[name] = (a.requires_grad_(), torch.zeros(outputs, settings.rank, requires_grad=True))
        return [each for pair in self.pairs.values() for each in pair]

    def load(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Take over the values of an adapter."""
        with torch.no_grad():
            for name, (a, b) in pairs.items():
                self.pairs[name][0].copy_(a)
                self.pairs[name][1].copy_(b)

    def kept(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A copy of the adapter's values."""
        return {name: (a.detach().clone(), b.detach().clone()) for name, (a, b) in self.pairs.items()}

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Compute without the adapter in the block."""
        pairs, self.pairs = self.pairs, {}
        try:
            yield
        finally:
            self.pairs = pairs

    def hidden(self, tokens: Tensor) -> Tensor:
        """The last states of rows of tokens. What is filled up behind a row's end changes nothing before it."""
        x = functional.embedding(tokens, self._weights["token_embd.weight"])
        turns = self._turns(tokens.shape[1])
        for layer in range(self.shape.layers):
            x = x + self._attention(self._norm(x, f"blk.{layer}.attn_norm"), f"blk.{layer}", turns)
            h = self._norm(x, f"blk.{layer}.ffn_norm")
            gate = functional.silu(self._linear(h, f"blk.{layer}.ffn_gate"))
            x = x + self._linear(gate * self._linear(h, f"blk.{layer}.ffn_up"), f"blk.{layer}.ffn_down")
        return self._norm(x, "output_norm")

    def scores(self, states: Tensor) -> Tensor:
        """The logits of states; a model without a head of its own shares its embeddings."""
        head = self._weights.get("output.weight", self._weights["token_embd.weight"])
        return functional.linear(states, head)

    def next(self, context: Sequence[int]) -> Tensor:
        """The log-probabilities of all tokens after a context."""
        with torch.inference_mode():
            states = self.hidden(torch.tensor([list(context)]))
            return torch.log_softmax(self.scores(states[0, -1]).double(), dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        y = functional.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))
        pair = self.pairs.get(f"{name}.weight")
        if pair is None:
            return y
        dropped = functional.dropout(x, self._dropout, self.training) if self._dropout else x
        return y + functional.linear(functional.linear(dropped, pair[0]), pair[1]) * self.scale

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight = self._weights[f"{name}.weight"]
        return functional.rms_norm(x, weight.shape, weight, self.shape.epsilon)

    def _attention(self, x: Tensor, block: str, turns: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = x.shape
        shape = self.shape

        def heads(part: str, count: int) -> Tensor:
            return self._linear(x, f"{block}.{part}").view(rows, length, count, shape.head).transpose(1, 2)

        q, k = self._turned(heads("attn_q", shape.heads), turns), self._turned(heads("attn_k", shape.shared), turns)
        v, several = heads("attn_v", shape.shared), shape.heads // shape.shared
        k, v = (each.repeat_interleave(several, dim=1) if several > 1 else each for each in (k, v))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self._linear(seen.transpose(1, 2).reshape(rows, length, -1), f"{block}.attn_output")

    def _turns(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines by place (Su et al. 2021: the i-th pair turns by place * base^(-2i/d))."""
        slow = self.shape.base ** -(torch.arange(0, self.shape.head, 2, dtype=torch.float64) / self.shape.head)
        angles = torch.outer(torch.arange(length, dtype=torch.float64), slow)
        return angles.cos().float(), angles.sin().float()

    def _turned(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        cos, sin = turns
        one, other = (x[..., 0::2], x[..., 1::2]) if self.shape.neighbours else x.chunk(2, dim=-1)
        pair = (one * cos - other * sin, one * sin + other * cos)
        return torch.stack(pair, dim=-1).flatten(-2) if self.shape.neighbours else torch.cat(pair, dim=-1)


def arrays(pairs: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """An adapter's values as numpy arrays."""
    return {name: (a.detach().numpy(), b.detach().numpy()) for name, (a, b) in pairs.items()}
