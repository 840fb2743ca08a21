"""Tuning an encoder whole: labels of texts, or spans in them. Needs the extra `tune`.

It computes what `llm.encoder` serves, in torch; what is served is compared before it is handed on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ..core import spans
from ..core.packs import Packed, read_pack, write_pack
from ..core.wordpiece import Piece, WordPiece
from .clock import counted
from .rows import Row
from .rungs import Task
from .settings import Settings

LONGEST = 510  # pieces of a text that are read; while it learns spans, no more are
RATE = 1e-4  # of AdamW, where no other is asked for: what a whole encoder bears is less than an adapter does
EPOCHS = 10
DROPPED = 0.1  # of the numbers that the head reads
UNUSED = -100  # the target of what counts for nothing


@dataclass(frozen=True, slots=True)
class Read:
    """A row as it is learned from: its pieces with what stands around them, and a target for all, or for each."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]


class EncoderTraining:
    """One training: `run`, then `answer`s, and `save`. The best of what was seen is kept."""

    def __init__(self, base: Path, task: Task, settings: Settings) -> None:
        tensors, vocabulary = read_pack(base)
        self.words, self._task, self.settings = WordPiece(vocabulary), task, settings
        self.targets: list[str] = spans.tags(task.kinds) if task.kinds else list(task.labels)
        torch.manual_seed(settings.seed)
        self.weights = {name: _tensor(each) for name, each in tensors.items() if _used(name, each)}
        width = self.weights["embeddings.LayerNorm.weight"].shape[0]
        self.weights["head.weight"] = torch.randn(len(self.targets), width) * 0.02
        self.weights["head.bias"] = torch.zeros(len(self.targets))
        self.layers = sum(name.endswith("attention.self.query.weight") for name in self.weights)
        for each in self.weights.values():
            each.requires_grad_()
        self.curve: list[dict[str, float]] = []
        self.ended = ""

    def run(
        self, train: Sequence[Row], held: Sequence[Row], seconds: float, step: Callable[[str], None] = lambda line: None
    ) -> None:
        """Learn for so many seconds at most; `step` is called before every step, and may raise."""
        settings, began, worse, best = self.settings, counted(), 0, math.inf
        rows, judged = [self._read(row) for row in train], [self._read(row) for row in held]
        kept = dict[str, Any]()
        decayed = [each for each in self.weights.values() if each.dim() > 1]
        rest = [each for each in self.weights.values() if each.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": settings.decay}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=settings.rate)
        torch.set_num_threads(settings.threads or torch.get_num_threads())
        steps = EPOCHS * math.ceil(len(rows) / settings.batch)
        looks = max(1, steps // EPOCHS // settings.looks)
        for number, batch in enumerate(self._batches(rows), 1):
            gone = max(number / steps, (counted() - began) / seconds)
            step(f"step {number} of {steps}, {min(100.0, gone * 100):.0f} % of the time")
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1.0, number / max(1.0, settings.warmup * steps)) * max(0.05, 1 - gone)
            loss = self._step(batch, optimizer)
            if number % looks and gone < 1 and number < steps:
                continue
            now = self._look(judged)
            self.curve.append({"step": number, "seconds": counted() - began, "loss": loss, "held": now})
            worse = 0 if now < best else worse + 1
            if now < best or not kept:
                best, kept = now, {name: each.detach().clone() for name, each in self.weights.items()}
            if worse >= settings.patience or gone >= 1:
                break
        self.ended = "looks at the held-out rows brought nothing better" if worse else "its time or its rows were over"
        for name, each in kept.items():
            self.weights[name].data.copy_(each)

    def _batches(self, rows: Sequence[Read]) -> Iterator[list[Read]]:
        """Rows of like length together, in an order of their own in every epoch."""
        size = self.settings.batch
        for epoch in range(EPOCHS):
            drawn, order = random.Random(f"{self.settings.seed}.{epoch}"), list(rows)
            drawn.shuffle(order)
            near = [sorted(order[at : at + size * 16], key=_length) for at in range(0, len(order), size * 16)]
            batches = [pool[at : at + size] for pool in near for at in range(0, len(pool), size)]
            drawn.shuffle(batches)
            yield from batches

    def _step(self, batch: Sequence[Read], optimizer: Any) -> float:
        """One step of AdamW (Loshchilov & Hutter 2017) on cross-entropy, smoothed where that is asked for.

        With `adversarial` e, as well on embeddings that are moved by e g / |g|, where g is the loss's gradient by them
        (the fast gradient method of Miyato et al. 2017).
        """
        optimizer.zero_grad()
        loss, embedded = self._loss(batch, self.settings.smoothing, dropped=DROPPED)
        if self.settings.adversarial:
            embedded.retain_grad()
        loss.backward()
        if self.settings.adversarial:
            g = embedded.grad
            length = g.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
            moved, _ = self._loss(batch, self.settings.smoothing, self.settings.adversarial * g / length, DROPPED)
            moved.backward()
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.settings.clip)
        optimizer.step()
        return float(loss.detach())

    def _look(self, held: Sequence[Read]) -> float:
        """The mean loss of held-out rows; less than nothing better is ever found where there are none."""
        with torch.inference_mode():
            sums = [
                float(self._loss(held[at : at + 32])[0]) * len(held[at : at + 32]) for at in range(0, len(held), 32)
            ]
        return sum(sums) / len(held) if held else -math.inf

    def _read(self, row: Row) -> Read:
        pieces = self.words.pieces(row.text)[:LONGEST]
        ids = (self.words.begin, *(each.id for each in pieces), self.words.end)
        if not self._task.kinds:
            return Read(ids, (self.targets.index(row.output) if row.output in self.targets else UNUSED,))
        found = spans.located(row.text, spans.read(row.output) or []) or []
        told = (self.targets.index(tag) if tag in self.targets else 0 for tag in spans.tagged(pieces, found))
        return Read(ids, (UNUSED, *told, UNUSED))

    def _loss(self, batch: Sequence[Read], smoothing: float = 0.0, moved: Any = None, dropped: float = 0.0) -> Any:
        """The mean cross-entropy of a batch, and its embeddings."""
        longest = max(map(_length, batch))
        ids = torch.full((len(batch), longest), self.words.padding)
        for number, each in enumerate(batch):
            ids[number, : len(each.ids)] = torch.tensor(each.ids)
        there = ids != self.words.padding
        states, embedded = self._states(ids, there, moved)
        if self._task.kinds:
            targets = torch.full((len(batch), longest), UNUSED)
            for number, each in enumerate(batch):
                targets[number, : len(each.ids)] = torch.tensor(each.targets)
            states, wanted = states.flatten(0, 1), targets.flatten()
        else:
            states, wanted = _mean(states, there), torch.tensor([each.targets[0] for each in batch])
        scores = self._linear(functional.dropout(states, dropped) if dropped else states, "head")
        loss = functional.cross_entropy(scores, wanted, ignore_index=UNUSED, label_smoothing=smoothing)
        return loss, embedded

    def _odds(self, pieces: Sequence[Piece]) -> Any:
        """The probabilities of labels; of spans, those of every piece's tags."""
        ids = torch.tensor([[self.words.begin, *(each.id for each in pieces), self.words.end]])
        with torch.inference_mode():
            states, _ = self._states(ids, torch.ones_like(ids, dtype=torch.bool))
            states = states[0, 1:-1] if self._task.kinds else states[0].mean(dim=0)
            return torch.softmax(self._linear(states, "head"), dim=-1)

    def answer(self, text: str) -> str:
        """A text's label, or its spans as an answer."""
        pieces = self.words.pieces(text)[:LONGEST]
        odds = self._odds(pieces)
        if not self._task.kinds:
            return self.targets[int(odds.argmax())]
        told = [self.targets[int(each)] for each in odds.argmax(dim=-1)]
        return spans.answer(text, spans.spans_of(pieces, told))

    def save(self, path: Path) -> None:
        """Write the file that is served, in numbers of 16 bits."""
        tensors = {
            name: Packed("F16", tuple(each.shape), each.detach().half().numpy().tobytes())
            for name, each in self.weights.items()
        }
        write_pack(path, tensors, self.words.vocabulary)

    # -- what it computes

    def _states(self, ids: Any, there: Any, moved: Any = None) -> tuple[Any, Any]:
        """The last states of rows of pieces, and their embeddings, by `moved` elsewhere if that is given."""
        got, length = self.weights, ids.shape[1]
        embedded = functional.embedding(ids, got["embeddings.word_embeddings.weight"])
        x = embedded if moved is None else embedded + moved
        x = (
            x
            + got["embeddings.position_embeddings.weight"][:length]
            + got["embeddings.token_type_embeddings.weight"][0]
        )
        x, mask = self._norm(x, "embeddings.LayerNorm"), there[:, None, None, :]
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            seen = self._linear(self._attention(x, f"{name}.attention.self", mask), f"{name}.attention.output.dense")
            x = self._norm(x + seen, f"{name}.attention.output.LayerNorm")
            wide = functional.gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x, embedded

    def _linear(self, x: Any, name: str) -> Any:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Any, name: str) -> Any:
        weight = self.weights[f"{name}.weight"]
        return functional.layer_norm(x, weight.shape, weight, self.weights[f"{name}.bias"], 1e-12)

    def _attention(self, x: Any, name: str, mask: Any) -> Any:
        rows, length, width = x.shape
        q, k, v = (
            self._linear(x, f"{name}.{part}").view(rows, length, width // 32, 32).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return seen.transpose(1, 2).reshape(rows, length, width)


def chosen(settings: Settings, given: bool) -> Settings:
    """The settings for an encoder: with its own rate, where none was given."""
    return settings if given else replace(settings, rate=RATE)


def _tensor(packed: Packed) -> Any:
    kind = torch.float16 if packed.kind == "F16" else torch.float32
    return torch.frombuffer(bytearray(packed.data), dtype=kind).reshape(tuple(packed.shape)).float().clone()


def _used(name: str, packed: Packed) -> bool:
    return packed.kind != "I64" and not name.startswith(("pooler.", "head."))


def _length(read: Read) -> int:
    return len(read.ids)


def _mean(states: Any, there: Any) -> Any:
    mask = there[:, :, None].to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1)
