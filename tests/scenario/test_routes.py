"""Routes as they are configured, and asked about over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import System, boot
from llmagent_os.config import load
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Decoding, ModelSpec
from llmagent_os.llm import catalog


@pytest.fixture(autouse=True)
def models(models_folder: Path) -> None:
    for name in ("east", "west"):
        catalog.add(ModelSpec(name, "scripted", output_price=1e4))


@asynccontextmanager
async def configured(data: Path, **fields: Any) -> AsyncIterator[System]:
    system = await boot(load({"data": data, **fields}))
    try:
        yield system
    finally:
        await system.close()


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"replicas": ["easy"]}, "routes.r: no model named 'easy'; did you mean 'east'?"),
        ({"replicas": ["east"], "quality": {"wets": {"chat": 1}}}, "routes.r: 'wets' is none of its models"),
        ({"replicas": []}, "routes.r.replicas: List should have at least 1 item"),
        ({"replicas": ["east"], "quality": {"east": {"chat": 2}}}, "routes.r.quality.east.chat"),
        (
            {"replicas": ["east"], "strategies": {"maths": {"strategy": "vote", "width": "x"}}},
            "routes.r.strategies.maths",
        ),
        ({"replica": ["east"]}, "routes.r"),
    ],
)
async def test_a_wrong_route_is_refused_by_name(tmp_path: Path, route: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        async with configured(tmp_path / "data", routes={"r": route}):
            pass
    assert words in caught.value.message


async def test_a_route_cannot_have_a_models_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"routes.east: a model has that name"):
        async with configured(tmp_path / "data", routes={"east": {"replicas": ["west"]}}):
            pass


async def test_a_route_may_be_the_default_and_is_listed(tmp_path: Path) -> None:
    route = {"replicas": ["scripted"], "strategies": {"maths": {"strategy": "vote", "width": 3}}}
    async with configured(tmp_path / "data", routes={"r": route}, model="r") as system:
        engines = system.kernel.engines
        assert engines.routes["default"] == engines.routes["r"]
        assert engines.routes["r"].decodings == {"maths": Decoding("vote", width=3)}
        assert engines.resolve("default") == engines.resolve("r") == "scripted"
        assert "r" in system.models()
