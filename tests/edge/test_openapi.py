"""Every operation of the OpenAPI document, with requests that fit it and requests that do not: no server error.

`LLMAGENT_OS_SECONDS=600` for a long look.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from llmagent_os.core import codec
from tests.stand_ins.gateway import Gate, gate

SECONDS = float(os.environ.get("LLMAGENT_OS_SECONDS", "0"))
SETTINGS = settings(
    max_examples=6, deadline=None, database=None, derandomize=not SECONDS, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        await found.post("/v1/agents", {"name": "helper", "model": "scripted"})
        yield found


class Asking:
    """Asks a server whatever its operations may be asked, and notes the first server error of each."""

    def __init__(self, api: Gate, mode: GenerationMode) -> None:
        self.url, self.mode = api.running.url, mode
        self.asked: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {api.running.key}"

    def all(self, document: dict[str, Any]) -> None:
        until = time.monotonic() + SECONDS / len(GenerationMode)
        with self.session:
            self.once(document)
            while time.monotonic() < until:
                self.once(document)

    def once(self, document: dict[str, Any]) -> None:
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            strategy = found.ok().as_strategy(generation_mode=self.mode)

            def one(case: Case) -> None:
                self.one(case)

            with suppress(Unsatisfiable):  # nothing can be sent that does not fit
                SETTINGS(given(case=strategy)(one))()

    def one(self, case: Case) -> None:
        label = case.operation.label
        self.asked[label] = self.asked.get(label, 0) + 1
        response = self.quick(case).call(base_url=self.url, session=self.session, timeout=20)
        if response.status_code >= 500:
            self.failed.setdefault(label, f"{response.status_code} {response.text[:300]} for {case.body!r:.500}")

    def quick(self, case: Case) -> Case:
        """The same request, but nobody waits for long."""
        for part in (case.body, case.query):
            if isinstance(part, dict) and isinstance(part.get("wait"), int | float):
                part["wait"] = min(part["wait"], 0.05)
        return case


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize("mode", list(GenerationMode))
async def test_no_request_ends_in_a_server_error(api: Gate, mode: GenerationMode) -> None:
    _, document = await api.get("/openapi.json")
    asking = Asking(api, mode)
    await asyncio.to_thread(asking.all, document)
    print(f"{sum(asking.asked.values())} requests of {len(asking.asked)} operations")
    assert not asking.failed, "\n".join(f"{label}: {said}" for label, said in asking.failed.items())
    assert len(asking.asked) > 15


SHAPES = ("ODD", '{"x": ODD}', '{"name": "x", "schema": {"a": ODD}, "body": ODD, "args": ODD}')
ODD = {"half a character": '"\\ud800"', "a number that is too large": "1" + "0" * 30, "too deep": "[" * 300 + "]" * 300}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_what_json_cannot_hold_is_no_server_error(api: Gate, odd: str) -> None:
    _, document = await api.get("/openapi.json")
    shapes = [shape.replace("ODD", odd) for shape in SHAPES]
    wrong = {}
    for path, item in document["paths"].items():
        for method in item.keys() & {"post", "put", "patch"}:
            for body in shapes:
                headers = {"Content-Type": "application/json"}
                status, said = await api.ask(method, path.replace("{name}", "helper"), data=body, headers=headers)
                if status >= 500:
                    wrong[f"{method} {path}"] = (status, said)
    assert not wrong, codec.dumps(wrong).decode()
