"""An encoder of some thousand weights, drawn at random, as a file."""

from __future__ import annotations

from pathlib import Path

import numpy

from llmagent_os.core.packs import Packed, write_pack

WORDS = """
the a film book day it was and very table lamp order house garden great lovely good fine wonderful bad awful poor
terrible sad send write call to letter mail for at in please ann bob carl dora eve frank acme initech globex umbra
"""
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS.split(), *"abcdefghijklmnopqrstuvwxyz", *".,!?-'",
              *(f"##{each}" for each in "abcdefghijklmnopqrstuvwxyz"), "##ing", "un", "##s"]  # fmt: skip
WIDTH, WIDE, LAYERS, PLACES = 64, 128, 2, 64


def save_encoder(path: Path) -> Path:
    """Write it."""
    drawn = numpy.random.default_rng(5)

    def matrix(*shape: int) -> Packed:
        return Packed("F32", shape, (drawn.standard_normal(shape) * 0.1).astype("<f4").tobytes())

    def ones(name: str) -> dict[str, Packed]:
        whole, none = numpy.ones(WIDTH, "<f4"), numpy.zeros(WIDTH, "<f4")
        return {f"{name}.weight": Packed("F32", (WIDTH,), whole.tobytes()),
                f"{name}.bias": Packed("F32", (WIDTH,), none.tobytes())}  # fmt: skip

    def linear(name: str, outputs: int, inputs: int) -> dict[str, Packed]:
        return {f"{name}.weight": matrix(outputs, inputs), f"{name}.bias": matrix(outputs)}

    tensors = {
        "embeddings.word_embeddings.weight": matrix(len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": matrix(PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": matrix(2, WIDTH), **ones("embeddings.LayerNorm"),
    }  # fmt: skip
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            tensors |= linear(f"{name}.attention.self.{part}", WIDTH, WIDTH)
        tensors |= linear(f"{name}.attention.output.dense", WIDTH, WIDTH) | ones(f"{name}.attention.output.LayerNorm")
        tensors |= linear(f"{name}.intermediate.dense", WIDE, WIDTH) | linear(f"{name}.output.dense", WIDTH, WIDE)
        tensors |= ones(f"{name}.output.LayerNorm")
    write_pack(path, tensors, VOCABULARY)
    return path
