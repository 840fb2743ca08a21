"""An explanation drawn: one HTML page with a model's attention maps and what each token of an answer was made from.

An explanation is JSON data: `tokens`, the texts of all T tokens, of which the first `prompt_tokens` are the prompt's;
`layers` L and `heads` H; `attention`, base64 of a byte a weight, [L, H, T, T] row by row, a row being the token that
looks; `rollout`, the same as [T, T], through all layers (Abnar & Zuidema 2020). A byte b stands for the weight
(b / 255)^2, and a row's weights sum to 1. `attribution` has a row for each token of the answer: the share of every
token before it, by gradient x input; absolute values sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from ..core import codec
from ..core.records import Json


def page(explanation: Mapping[str, Json]) -> str:
    """The whole page: it loads nothing, and what a model or user said stays text."""
    data = codec.dumps(explanation).decode().replace("<", "\\u003c")  # no text can end the script it stands in
    return files(__package__).joinpath("explain.html").read_text("utf-8").replace("__EXPLANATION__", data)
