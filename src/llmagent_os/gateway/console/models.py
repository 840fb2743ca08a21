"""`models`: what models there are, and bringing them here. Works with and without a running system."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ...core.errors import InvalidRequest, NotFound
from ...core.records import ModelSpec
from ...llm import catalog
from ...llm.fetch import Progress, fetch, pull
from ...llm.known import known_model
from ...llm.progress import shown
from ...llm.registry import local_spec
from ..client import NotRunning
from .options import AsJson, Data, ask, examples, group
from .output import emitted, say, show, size, table

app, models = group("models", "List, add, fetch and remove models.")

Name = Annotated[str, typer.Argument(help="The model's name.")]


@models.command("list", epilog=examples("models list", "models list --json"))
def listed(as_json: AsJson = False) -> None:
    """List the models that can be named."""
    found = catalog.list_models()
    if emitted(found, as_json):
        return
    show(table(("NAME", "ALSO", "ENGINE", "SIZE", "STATE", "LICENCE", "SOURCE"), map(_row, found)))


def _row(model: catalog.Listed) -> tuple[object, ...]:
    spec = model.spec
    state = "ready" if model.present else f"get it: models pull {(*model.aliases, spec.name)[0]}"
    if not model.present and not model.known:
        state = "gone"
    bytes_ = size(model.size) if model.size else ""
    return (spec.name, " ".join(model.aliases), spec.engine, bytes_, state, model.licence, spec.source)


@models.command(
    "add",
    epilog=examples(
        "models add mine ./mine.gguf",
        "models add gpt https://api.openai.com/v1 --model gpt-4o-mini --key-env OPENAI_API_KEY",
        "models add local http://127.0.0.1:11434/v1 --model llama3",
        "models add claude --engine anthropic --model claude-sonnet-4-5 --key-env ANTHROPIC_API_KEY",
    ),
)
def add(
    name: Name,
    source: Annotated[str, typer.Argument(help="A GGUF file, a transformers folder, or a server's base URL.")] = "",
    engine: Annotated[str, typer.Option(help="The driver; told by the source without it.")] = "",
    model: Annotated[str, typer.Option(help="The name that the server knows it by.")] = "",
    key_env: Annotated[str, typer.Option(help="The environment variable that holds the server's key.")] = "",
    window: Annotated[int, typer.Option(help="Tokens; 0: ask the engine.")] = 0,
    limit: Annotated[int, typer.Option(help="Calls at once; 0: the driver's default.")] = 0,
    input_price: Annotated[float, typer.Option(help="US dollars per million tokens.")] = 0.0,
    output_price: Annotated[float, typer.Option(help="US dollars per million tokens.")] = 0.0,
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the driver.")] = None,
    data: Data = None,
) -> None:
    """Add a local file or a server's model under a name; a running system knows it at once."""
    path = Path(source).expanduser()
    source = str(path.absolute()) if source and path.exists() else source
    spec = ModelSpec(
        name, engine or _engine_of(name, source), source, model, window, limit, input_price, output_price, key_env,
        _options(option or []),
    )  # fmt: skip
    try:
        ask(data, lambda client: client.post("/v1/models", spec))
    except NotRunning:
        catalog.add(spec)
    say(f"added {name}: {spec.engine}, {source or 'its official server'}")


def _engine_of(name: str, source: str) -> str:
    """The driver that a source is for; raises NotFound or InvalidRequest for a path that holds no model."""
    if source.startswith(("http://", "https://")):
        return "openai"
    if not source:
        raise InvalidRequest("give a file, folder or base URL, or say which --engine", parameter="source")
    return local_spec(name, Path(source)).engine


def _options(given: list[str]) -> dict[str, Any]:
    options = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign:
            raise InvalidRequest(f"{text!r} is not KEY=VALUE", parameter="option")
        options[key] = yaml.safe_load(value)
    return options


@models.command("pull", epilog=examples("models pull default", "models pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M"))
def pulled(
    reference: Annotated[str, typer.Argument(help="A known model, or OWNER/REPO or OWNER/REPO:FILE of the model hub.")],
    name: Annotated[str, typer.Option(help="What to call it; named after the file without it.")] = "",
) -> None:
    """Fetch a model; goes on where an earlier try was interrupted."""
    with shown(reference) as progress:
        spec = asyncio.run(pull(reference, name, progress))
    say(f"{spec.name} is here: {spec.source}")


@models.command("rm", epilog=examples("models rm mine"))
def remove(name: Name, data: Data = None) -> None:
    """Forget a model, and delete the files that were fetched for it; your own files stay."""
    try:
        ask(data, lambda client: client.delete(f"/v1/models/{name}"))
    except NotRunning:
        catalog.remove(name)
    say(f"removed {name}")


async def bring(name: str, progress: Progress) -> ModelSpec:
    """Return how to open a model that may have to be fetched or registered first.

    `name` is a known or registered name, a path, or a reference to the model hub. Raises NotFound, FetchFailed.
    """
    if known_model(name):
        await fetch(name, progress)
    try:
        spec = await catalog.resolve(name)
    except NotFound:
        if "/" not in name:
            raise
        if name.startswith((".", "/", "~")) or name.count("/") > 1:  # no name of a hub's
            raise NotFound(f"there is no GGUF file or folder {name}", kind="model", name=name) from None
        return await pull(name, progress=progress)
    # what is listed is without the adapters that were deployed to it
    if not any((spec.name, spec.source) == (each.spec.name, each.spec.source) for each in catalog.list_models()):
        catalog.add(spec)
    return spec
