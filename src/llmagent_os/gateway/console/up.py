"""`up`: bring the model here, start the system, say where everything is, and talk or serve until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Annotated, Any

import typer
from anyio.from_thread import start_blocking_portal

from ...boot import PATIENCE, prepare_folder
from ...config import Config, load
from ...core.errors import DataFolderBusy, InvalidRequest, LLMAgentOSError
from ...llm import catalog
from ...llm.known import models_folder
from ...llm.progress import shown
from ...security.masking import CleanLogs
from ..auth import key_file
from ..client import Address, find
from ..server import Running, running, serve
from .models import bring
from .opening import opening
from .options import Data, Plugin, Remember, commands, examples, reach
from .output import say
from .talk import converse, interrupts, leaving

app = commands()

_LOG_BYTES = 10 << 20
_ASSISTANT = "assistant"


@app.command(epilog=examples("up --chat", "up --model small --port 9000", "up --model none --plugin mine.py"))
def up(
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="default, small, tiny, any other, a path, OWNER/REPO, or none."),
    ] = None,
    data: Data = None,
    port: Annotated[int | None, typer.Option(help="Where to listen; 8080 without it, 0 for any free one.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; this machine only without it.")] = None,
    durability: Annotated[
        str | None, typer.Option(metavar="crash|power", help="What accepted work survives; power waits for the disk.")
    ] = None,
    plugin: Plugin = None,
    chat: Annotated[bool, typer.Option(help="Talk to the assistant; piped lines are answered, then it ends.")] = False,
    history: Remember = True,
) -> None:
    """Start the system; what it was doing when it was stopped goes on.

    The model is fetched first where it is not on this machine. Where everything is stands on standard error.
    """
    for file in plugin or ():
        if not file.is_file():
            raise InvalidRequest(f"plugin {file} is not there, or no file", parameter="plugin")
    given = {"data": data, "port": port, "host": host, "durability": durability, "plugins": plugin}
    config = load(given | ({"model": model} if model != "none" else {}))
    prepare_folder(config)
    _refuse_second(config.data)
    config = config.model_copy(update={"model": None if model == "none" else _at_hand(config)})
    _log_to(config.data / "log")
    well = _chat(config, history) if chat else _serve(config)
    say(f"stopped; nothing is lost: the next start goes on from {config.data}")
    if not well:
        raise typer.Exit(1)


def _refuse_second(data: Path) -> None:
    """Raise DataFolderBusy where a system answers on the data folder: before anything is fetched for it."""
    try:
        address = find(data)
        asyncio.run(reach(address, lambda client: client.get("/v1/models")))
    except LLMAgentOSError:  # nobody is there, or somebody who does not know our key; the lock has the last word
        return
    hint = f"talk to it with: llmagent-os chat; stop it with: kill {address.pid}"
    raise DataFolderBusy(f"process {address.pid} runs on {data} already; {hint}", pid=address.pid, path=str(data))


def _at_hand(config: Config) -> str:
    """Make sure that the model is on this machine and return the name it is opened by; a route opens what it needs."""
    name = config.model or "default"
    if name in config.routes:
        return name
    with shown(name) as progress:
        return asyncio.run(bring(name, progress)).name


def _log_to(file: Path) -> None:
    """Keep the log in the data folder, so that the terminal is the conversation's; no keys or values of people."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = RotatingFileHandler(file, maxBytes=_LOG_BYTES, backupCount=2, encoding="utf-8", errors="backslashreplace")
    handler.addFilter(CleanLogs())
    logging.basicConfig(
        handlers=[handler], level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _serve(config: Config) -> bool:
    watching = set[asyncio.Task[None]]()

    def ready(system: Running) -> None:
        _tell(config, system, "Ctrl-C")
        watching.add(asyncio.get_running_loop().create_task(_watch(system)))

    asyncio.run(serve(config, ready, warm=config.model is not None))
    return True


def _chat(config: Config, history: bool) -> bool:
    """Talk in this thread, which has the terminal and its signals, while another one serves."""
    signal.signal(signal.SIGTERM, _leave)
    with _serving(config) as (system, opened):
        address = Address(system.url, system.key, os.getpid())
        _tell(config, system, "Ctrl-D" if sys.stdin.isatty() else "Ctrl-C")
        if opened is not None and (size := _held_for(config.model)) and sys.stdin.isatty():
            with opening(str(config.model), size), interrupts(leaving):
                wait([opened])
        return converse(address, _ASSISTANT, None, history)


def _leave(*_: Any) -> None:
    sys.exit(0)


@contextmanager
def _serving(config: Config) -> Iterator[tuple[Running, Future[None] | None]]:
    """A system in a thread of its own for as long as the block runs, and when its model is open.

    Raises what starting or stopping it raises.
    """
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running(config)) as system:
        portal.start_task_soon(_watch, system)
        opened = portal.start_task_soon(_open, system) if config.model is not None else None
        yield system, opened


def _held_for(model: str | None) -> int:
    """The bytes of a model that llama.cpp opens, which nothing else goes on beside; 0 of any other."""
    found = (each for each in catalog.list_models() if each.spec.name == model and each.present)
    return next((each.size for each in found if each.spec.engine == "llamacpp"), 0)


async def _watch(system: Running) -> None:
    """Say which plugins and tools are missing: once all are there or have failed, for nobody waits for them."""
    await system.system.sources.settled(PATIENCE)
    for each in system.system.missing():
        if each["trouble"]:
            say(f"missing: {each['source']}: {each['trouble']}")
        elif each["left_out"]:
            say(f"left out: {each['source']}: {len(each['left_out'])} of its tools; see: llmagent-os tools list")


async def _open(system: Running) -> None:
    """Open the model while the user reads; where that fails, say why."""
    try:
        await system.system.kernel.engines.get("default")
    except LLMAgentOSError as error:
        say(f"llmagent-os: {error.message}")


def _tell(config: Config, system: Running, key: str) -> None:
    data = config.data
    say(f"""\
LLMAgentOS runs.
  address   {system.url}   (asks for the key below)
  key       {key_file(data)}
  data      {data}
  journal   {data / "journal.db"}
  models    {models_folder()}   (default: {config.model or "none"})
  log       {data / "log"}
  stop      {key}, or kill {os.getpid()}
  desktop   {system.desktop()}
            (logs a browser here in, once, within ten minutes; later: llmagent-os desktop)
""")
    for kept in sorted(data.glob("journal.db.before-*")):
        say(f"This folder was upgraded: {kept} is what it was before; delete it once you are content.\n")
