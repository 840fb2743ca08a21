"""A system in a thread for frameworks that block, three tools whose use is recorded, and a watch on the network."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.config import Config
from llmagent_os.core.records import ModelSpec
from llmagent_os.gateway.server import running
from llmagent_os.llm.scripted import ScriptedEngine
from tests.interop.scripts import ANSWER, SCRIPTS, STEPS

SILENT = {
    "AGNO_TELEMETRY": "false",
    "AGNO_MONITOR": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
}
os.environ.update(SILENT)  # before a framework is imported: some look only then

if importlib.util.find_spec("crewai") is None:  # not in this environment: `make test-interop` has its own
    collect_ignore_glob = ["test_*.py"]

LOOPBACK = ("127.0.0.1", "::1", "localhost", None, "")
_outside: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in LOOPBACK:
        _outside.append(f"connect {args[1]}")
    if event == "socket.getaddrinfo" and args[0] not in LOOPBACK:
        _outside.append(f"resolve {args[0]}")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def nothing_leaves_the_machine() -> Iterator[None]:
    _outside.clear()
    yield
    assert _outside == []


both_apis = pytest.mark.parametrize("api", ["chat", "responses"])


@dataclass
class Shop:
    """The tools, and what they were called with."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def find_order(self, customer: str) -> str:
        """Find the order of a customer."""
        self.calls.append(("find_order", {"customer": customer}))
        return "order 7"

    def price_of(self, order: int) -> str:
        """The price of an order."""
        self.calls.append(("price_of", {"order": order}))
        return "42"

    def ship(self, order: int, price: int) -> str:
        """Ship an order at a price."""
        self.calls.append(("ship", {"order": order, "price": price}))
        return "shipped"

    @property
    def tools(self) -> list[Callable[..., str]]:
        """As plain functions, which every framework takes; some read what their arguments are from the text."""

        def find_order(customer: str) -> str:
            """Find the order of a customer.

            Args:
                customer: Who ordered.
            """
            return self.find_order(customer)

        def price_of(order: int) -> str:
            """The price of an order.

            Args:
                order: Its number.
            """
            return self.price_of(order)

        def ship(order: int, price: int) -> str:
            """Ship an order at a price.

            Args:
                order: Its number.
                price: What it costs.
            """
            return self.ship(order, price)

        return [find_order, price_of, ship]

    def check(self, answer: object) -> None:
        """Every tool was used once, in order, and the model's answer came through."""
        assert self.calls == list(STEPS)
        assert ANSWER in str(answer)


@dataclass(frozen=True)
class Server:
    """Where the system answers."""

    base_url: str
    api_key: str
    model: str = "shopkeeper"


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("interop")
    os.environ["LLMAGENT_OS_MODELS"] = str(folder / "models")
    ready: Future[Server] = Future()
    stopping = asyncio.Event()
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as threads:
        work = threads.submit(runner.run, _serve(folder / "data", ready, stopping))
        try:
            yield ready.result(timeout=30)
        finally:
            runner.get_loop().call_soon_threadsafe(stopping.set)
            work.result(timeout=10)


async def _serve(data: Path, ready: Future[Server], stopping: asyncio.Event) -> None:
    async with running(Config(data=data, port=0, model="scripted")) as found:
        for name, script in SCRIPTS.items():
            found.system.add_engine(name, ScriptedEngine(ModelSpec(name, "scripted"), script))
        ready.set_result(Server(f"{found.url}/v1", found.key))
        await stopping.wait()
