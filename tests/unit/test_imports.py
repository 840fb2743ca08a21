"""What commands do not import, so that they start at once: help, and whatever only asks a running system."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "aiohttp", "fastapi", "numpy", "rich", "sqlite3", "starlette", "uvicorn", "xllamacpp",
    "llmagent_os.agent", "llmagent_os.boot", "llmagent_os.config", "llmagent_os.kernel", "llmagent_os.llm",
    "llmagent_os.security", "llmagent_os.stores", "llmagent_os.tools",
}  # fmt: skip
"""Each takes from a tenth of a second to several to import."""

RUN = """
import json, sys
from llmagent_os.gateway.cli import main
sys.argv = ["llmagent-os", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)))
"""


def imported(data: Path, *arguments: str) -> set[str]:
    """The modules that a command has imported at its end."""
    command = [sys.executable, "-c", RUN, *arguments]
    environment = {"LLMAGENT_OS_DATA": str(data), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]], ids=" ".join)
def test_help_imports_no_more_than_it_prints(tmp_path: Path, arguments: list[str]) -> None:
    found = imported(tmp_path, *arguments)
    assert found.isdisjoint(
        HEAVY | {"pydantic", "yaml", "asyncio", "ssl", "llmagent_os.core.records", "llmagent_os.gateway.client"}
    )


RECORDS = {"llmagent_os.core.records", "llmagent_os.core.codec"}


@pytest.mark.parametrize(
    "line", ["logs 1", "files list clerk", "agents scale clerk 1", "agents list", "approvals list"]
)
def test_what_asks_a_system_imports_no_system(tmp_path: Path, line: str) -> None:
    assert imported(tmp_path, *line.split()).isdisjoint(HEAVY)


@pytest.mark.parametrize("line", ["ps", "kill clerk", "keys list", "events"])
def test_the_quickest_import_not_even_the_records(tmp_path: Path, line: str) -> None:
    assert imported(tmp_path, *line.split()).isdisjoint(HEAVY | RECORDS)
