"""The fuzzers: what they found once, and a few seconds of each."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from bench.fuzz_targets import TARGETS
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.tools.openapi import openapi_tools
from llmagent_os.tools.settings import Document

FOUND = [  # by atheris, 2026-11-25
    ("toolcalls", "Iyr//yMquP8="),
    ("openai", "26qrdXV1dXWrjY0AAAAAjY0/q6vs6uzq5A=="), ("anthropic", "AwAABAD4AG5ubvg="),
    ("policy", "m+vr9uvr6+v2+/4="), ("openapi", "DjIyMiY0+ec="),
    ("schema", "/HKz"),  # 2026-11-30
]  # fmt: skip
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: str) -> None:
    TARGETS[name](b64decode(data))


@pytest.mark.parametrize("data", [b"", b"[" * 5000, b"a: 2001-99-99", b"a: &a [*a]", b"\xff\xfe", b"? [a]\n: b"])
@pytest.mark.parametrize("name", TARGETS)
def test_odd_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("servers", [{"url": "/"}, [[]], ["/"], [{}], 1, [{"url": 1}], [{"url": "http://[/"}]])
async def test_servers_that_are_none_are_told(servers: Any, tmp_path: Path) -> None:
    (tmp_path / "document").write_text(json.dumps({"openapi": "3.1.0", "servers": servers}))
    with pytest.raises(InvalidRequest):
        await openapi_tools("odd", Document(str(tmp_path / "document")), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_few_seconds_find_nothing(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="it has wheels for Linux only")
    command = [sys.executable, str(ROOT / "bench" / "fuzz.py"), name, "--seconds", "2", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
