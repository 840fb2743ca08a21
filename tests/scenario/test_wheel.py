"""What is built from a clean checkout, away from its sources: it serves the desktop, every file of it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from llmagent_os.gateway.rest_pages import PAGES

ROOT = Path(__file__).parents[2]
SERVE = """
import asyncio, hashlib, json, sys
from pathlib import Path
import aiohttp, llmagent_os
from llmagent_os.config import Config
from llmagent_os.gateway.server import running
from llmagent_os.gateway.rest_pages import PAGES

async def main():
    found = {"from": llmagent_os.__file__}
    config = Config(data=Path(sys.argv[1]), port=0, model="scripted")
    async with running(config) as system, aiohttp.ClientSession() as http:
        for path in PAGES:
            async with http.get(system.url + path) as answer:
                found[path] = answer.status, hashlib.sha256(await answer.read()).hexdigest()
    print(json.dumps(found))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_a_wheel_from_a_clean_checkout_serves_the_desktop(tmp_path: Path, models_folder: Path) -> None:
    checkout, site = tmp_path / "checkout", tmp_path / "site"
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(checkout, filter="data")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, str(checkout)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    # our dependencies are those of this environment, the package is the wheel's
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{SERVE}"
    command, environment = (
        [sys.executable, "-c", program, str(tmp_path / "data")],
        {"LLMAGENT_OS_MODELS": str(models_folder)},
    )
    made = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout.splitlines()[-1])
    assert found.pop("from").startswith(str(site))
    files = {path: checkout / file.relative_to(ROOT) for path, file in PAGES.items()}
    assert found == {path: [200, hashlib.sha256(file.read_bytes()).hexdigest()] for path, file in files.items()}
