"""`explain`: what a model looked at for an answer, as a page to open in a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ...core.records import GenerateRequest, Message, Sampling
from ...llm.explain import page
from ...offline import explained
from .options import commands, examples
from .output import say

app = commands()


@app.command(epilog=examples('explain ./my-model "Is it warm?"', 'explain mine "Once upon a" --raw -o once.html'))
def explain(
    model: Annotated[str, typer.Argument(help="A transformers folder, or the name of one that was added.")],
    prompt: Annotated[str, typer.Argument(help="What to answer.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the page.")] = Path(
        "explanation.html"
    ),
    raw: Annotated[bool, typer.Option(help="Go on from the prompt as it is, without a chat format.")] = False,
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens of the answer.")] = 64,
) -> None:
    """Answer a prompt and draw attention maps and token attributions as one HTML page.

    Works without a running system. The answer, always of the likeliest tokens, goes to standard output.
    """
    asked = {"prompt": prompt} if raw else {"messages": (Message("user", prompt),)}
    request = GenerateRequest(model, sampling=Sampling(temperature=0, max_tokens=tokens), **asked)
    answer = asyncio.run(explained(request))
    assert answer.explanation is not None  # asked for, so given or refused
    output.write_text(page(answer.explanation), "utf-8")
    print(answer.text)
    say(f"saved {output}")
