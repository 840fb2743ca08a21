"""Manners to try on a model with `everyday --manner NAME`: how it would be told of its tools (`llm/manners.py`).

What does best over the whole set, and over seeds, becomes the model's own. `any` is that of models which nobody has
measured: with it, `plain` is the loop of a framework over our API as it was before models had manners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from llmagent_os.llm.manners import ANY, MANNERS, Manner

_OWN = MANNERS["qwen2.5-coder-1.5b-instruct"]

TRIED: Mapping[str, Manner] = {
    "any": ANY,
    "own": _OWN,
    "within": replace(_OWN, begin="", instruction=_OWN.instruction + "\n\nExamples:\n{examples}"),
    "short": replace(_OWN, begin="Those were examples; their files are not there. The conversation begins now."),
    "from-result": replace(
        _OWN,
        result="Result of {tool}:\n{text}\n\nThe request: {request}\nAnswer from this result, or use the next tool.",
        failure="Result of {tool}:\n{text}\n\nThe request: {request}\n"
        "That did not work. Try another way, or say what did not work.",
    ),
    "bare": replace(_OWN, result="Result of {tool}:\n{text}", failure="Result of {tool}:\n{text}"),
}
"""`own` is the default model's, for others; in `within` its examples are told and not shown; the last two ask otherwise
after a result, or not at all."""
