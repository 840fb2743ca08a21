"""Whether what is served is what the trainer computes, by model; and whether the gate refuses a wrong adapter.

The base model alone, and with an adapter on every projection that is drawn at random (so that it changes what is said
by about as much as a short tuning does): the mean KL divergence of served from trained over prompts and beginnings of
answers, and how often the likeliest token is the same. Then the same adapter with the rows of q and k in the order of
transformers: how often the gate refuses it. Needs `[llamacpp]` and `[tune]`.

    python bench/parity.py [--json] [--models tiny] [--prompts 40] [--wrong 20]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
from common import Report, run, say

from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.finetune.decoder import Decoder
from llmagent_os.finetune.gguf_file import ModelFile, regrouped, save_adapter
from llmagent_os.finetune.parity import TOP, Parity, parity
from llmagent_os.finetune.settings import Settings
from llmagent_os.llm import LLM

ASKED = (
    "What is the capital of country number {}?", "Write a line about {} birds.", "Is {} an odd number?",
    "Tell me what happened in the year {}.", "List {} things that are red.",
)  # fmt: skip
BEGUN = ("", "The answer is", "Here are", "I think that there")
STRONG = 0.03  # the standard deviation of B, of which A is drawn as a training begins


class Bed:
    """One model's file, as the trainer has it."""

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, Decoder(ModelFile(path))

    def adapter(self, seed: int) -> None:
        """Draw another adapter."""
        self.model.adapt(Settings(seed=seed))
        drawn = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for _, b in self.model.pairs.values():
                b.copy_(torch.randn(b.shape, generator=drawn) * STRONG)

    def saved(self, path: Path, wrong: bool = False) -> Path:
        """The adapter as a file, with its rows as they are or in another order."""
        shape = self.model.shape
        heads = {"attn_q": shape.heads, "attn_k": shape.shared} if wrong else {}
        pairs: dict[str, Any] = {}
        for name, (a, b) in self.model.pairs.items():
            part, rows = name.split(".")[2], b.detach().numpy()
            pairs[name] = a.detach().numpy(), regrouped(rows, heads[part]) if part in heads else rows
        save_adapter(path, shape, Settings().alpha, pairs)
        return path

    def compare(self, adapter: Path, contexts: list[list[int]]) -> Parity:
        """What is served with a file, against the adapter of the trainer; with the base model's own difference."""
        with LLM.from_pretrained(str(self.path), slots=1, window=1024, adapters={"one": str(adapter)}) as llm:
            with self.model.bare():
                base = parity(self.model.next, lambda context: llm.likeliest(context, TOP, ""), contexts)
            found = parity(self.model.next, lambda context: llm.likeliest(context, TOP, "one"), contexts)
        say(f"base {base}")
        return replace(found, floor=base.mean)


def contexts_of(path: Path, count: int) -> list[list[int]]:
    """Prompts, and beginnings of answers."""
    with LLM.from_pretrained(str(path), slots=1, window=1024) as llm:
        return [llm.encode(ASKED[n % 5].format(n), said=BEGUN[n % 4]) for n in range(count)]


def measure(report: Report, options: argparse.Namespace) -> None:
    """Each model."""
    for name in options.models.split(","):
        with LLM.from_pretrained(name, slots=1, window=1024) as llm:
            assert llm.spec is not None
            path = Path(llm.spec.source)
        bed, contexts = Bed(path), contexts_of(path, options.prompts)
        bed.adapter(0)
        with tempfile.TemporaryDirectory() as folder:
            found = bed.compare(bed.saved(Path(folder, "right.gguf")), contexts)
            case = f"{name}: {bed.model.shape.architecture}, {len(contexts)} prompts"
            report.add(case, "mean KL, base model", found.floor, "nats")
            report.add(case, "mean KL, adapted", found.mean, "nats", at_most=found.most)
            report.add(case, "greatest KL, adapted", found.greatest, "nats")
            report.add(case, "same likeliest token, adapted", found.agreed * 100, "%")
            changed = numpy.mean([_moved(bed, context) for context in contexts[:8]])
            report.add(case, "KL of adapted from base", float(changed), "nats")
            refused = 0
            for seed in range(1, options.wrong + 1):
                bed.adapter(seed)
                wrong = bed.compare(bed.saved(Path(folder, f"{seed}.gguf"), wrong=True), contexts[:8])
                try:
                    wrong.check()
                except LLMAgentOSError:
                    refused += 1
            report.add(case, "wrong order refused", refused, f"of {options.wrong}", at_least=options.wrong)


def _moved(bed: Bed, context: list[int]) -> float:
    adapted = bed.model.next(context)
    with bed.model.bare():
        base = bed.model.next(context)
    return float((adapted.exp() * (adapted - base)).sum())


if __name__ == "__main__":
    run(
        "parity", __doc__, measure,
        models=(str, "tiny", "names of models, with commas"), prompts=(int, 40, "prompts"),
        wrong=(int, 20, "adapters in the wrong order; of a qwen2 there is none"),
    )  # fmt: skip
