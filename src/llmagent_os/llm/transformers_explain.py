"""Why a `transformers` model said what it said: attention maps and token attributions of a finished answer."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..core.errors import Unsupported
from ..core.records import Json

_MOST_TOKENS = 512
_MOST_BYTES = 16 << 20  # of all maps: the page holds them whole


def room(config: Any) -> int:
    """The most tokens, prompt and answer together, that a model can explain: its maps grow with their square."""
    text = config.get_text_config()
    maps = text.num_hidden_layers * text.num_attention_heads
    return min(_MOST_TOKENS, math.isqrt(_MOST_BYTES // maps))


def explain(
    model: Any, tokenizer: Any, prompt: Sequence[int], drawn: Sequence[int], stop: Callable[[], bool]
) -> Mapping[str, Json] | None:
    """The explanation (see `llm.explain`) by one more pass over all tokens; None once `stop` says so.

    Raises Unsupported for a model that gives no attention maps.
    """
    tokens = torch.tensor([[*prompt, *drawn]], device=model.device)
    with _eager(model), torch.enable_grad():
        inputs = model.get_input_embeddings()(tokens).detach().requires_grad_()
        output = model(inputs_embeds=inputs, output_attentions=True, use_cache=False)
    if not output.attentions or any(layer is None for layer in output.attentions):
        raise Unsupported(f"a {model.config.model_type} model gives no attention maps", parameter="explain")
    attention = torch.cat(output.attentions).detach().float()
    attribution = []
    for place in range(len(prompt), tokens.shape[1]):
        if stop():
            return None
        score = output.logits[0, place - 1, tokens[0, place]]
        attribution.append(_attributed(score, inputs)[:place].tolist())
    return {
        "tokens": [tokenizer.decode([token]) for token in tokens[0].tolist()],
        "prompt_tokens": len(prompt),
        "layers": attention.shape[0],
        "heads": attention.shape[1],
        "attention": _packed(attention),
        "rollout": _packed(_rollout(attention)),
        "attribution": attribution,
    }


def _attributed(score: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Gradient x input of every token (Shrikumar et al. 2017), of the score before softmax (Simonyan et al. 2014).

    The absolute values sum to 1; what is negative spoke against the token.
    """
    (gradient,) = torch.autograd.grad(score, inputs, retain_graph=True)
    values = (gradient[0] * inputs.detach()[0]).float().sum(dim=-1)
    return torch.nn.functional.normalize(values, p=1, dim=0)


def _rollout(attention: torch.Tensor) -> torch.Tensor:
    """Attention through all layers (Abnar & Zuidema 2020): heads averaged, half of each layer passes by on its side."""
    own = torch.eye(attention.shape[-1], device=attention.device)
    result = own
    for layer in attention.mean(dim=1):
        result = (layer + own) / 2 @ result
    return result


def _packed(weights: torch.Tensor) -> str:
    """Base64 of a byte a weight, 255 times its square root: small weights are many, and would else all be 0."""
    data = (weights.clamp(0, 1).sqrt() * 255).round().to(torch.uint8)
    return base64.b64encode(data.cpu().numpy().tobytes()).decode()


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """The attention that shows its weights, for the block: the faster ones never hold them."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
