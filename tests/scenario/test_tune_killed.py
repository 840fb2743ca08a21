"""A tuning outlives `kill -9` of the system: the program at work sees it, and the next start goes on from there."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.shell import COMMAND, Shell, kill

pytestmark = [pytest.mark.torch, pytest.mark.slow]
torch = pytest.importorskip("torch")
SETTINGS = ("steps=1000000", "patience=1000", "batch=6", "tokens=256", "looks=1")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of a few thousand weights, as a GGUF file."""
    pytest.importorskip("transformers")
    gguf, pair = (pytest.importorskip(f"tests.stand_ins.tiny_{kind}") for kind in ("gguf", "torch"))
    found: Path = gguf.save_gguf(pair.save_pair(tmp_path_factory.mktemp("model")))
    return found


@pytest.fixture
def shell(tmp_path: Path, small: Path) -> Shell:
    found = Shell(tmp_path, "- {match: a, text: b}")
    known = {"engine": "llamacpp", "source": str(small), "window": 512}
    file = tmp_path / "models" / "models.yaml"
    file.write_text(json.dumps({"models": {**json.loads(file.read_text())["models"], "little": known}}))
    return found


@contextmanager
def crashing(shell: Shell) -> Iterator[None]:
    """A system that runs for the block, and is then killed."""
    (shell.data / "server.json").unlink(missing_ok=True)
    command = [COMMAND, "up", "--model", "robot", "--port", "0"]
    with subprocess.Popen(command, env=shell.environment, cwd=shell.home, stderr=subprocess.PIPE, text=True) as up:
        try:
            shell.wait_ready(up)
            yield
        finally:
            kill(up)


def soon(what: Callable[[], Any], folder: Path) -> Any:
    """What is found once it is there; the job in the folder must not have failed."""
    deadline = time.monotonic() + 150  # it goes last on a busy machine
    while not (found := what()):
        assert time.monotonic() < deadline
        assert not (wrong := folder / "error.json").is_file(), wrong.read_text()
        time.sleep(0.05)
    return found


def steps(folder: Path) -> list[int]:
    """The steps that the program at work has told of since it began."""
    log = folder / "log.txt"
    return [int(each) for each in re.findall(r"step (\d+) of", log.read_text() if log.is_file() else "")]


@pytest.mark.timeout(400)
def test_lora_goes_on_from_its_checkpoint_after_the_system_was_killed(shell: Shell, tmp_path: Path) -> None:
    rows = [{"input": f"{word} {n}", "output": f"{n} {word}!"} for word in ("fox", "dog", "lazy") for n in range(10)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ("tune", "rows.jsonl", "--agent", "clerk", "--model", "little", "--only", "lora", "--minutes", "0.1")
    with crashing(shell):
        pid = shell.ok(*line, "--detach", *(part for each in SETTINGS for part in ("--setting", each))).strip()
        folder = shell.data / "tuning" / pid
        soon(lambda: steps(folder)[1:], folder)
    checkpoint = soon(lambda: next(folder.glob("lora/*/checkpoint.pt"), None), folder)  # it saw that it is alone
    saved = torch.load(checkpoint, weights_only=True)["progress"]["step"]
    assert saved >= steps(folder)[1] and not (folder / "made.json").exists()
    (folder / "log.txt").unlink()
    with crashing(shell):
        first = soon(lambda: steps(folder), folder)[0]
        done = json.loads(shell.ok("tune", "--of", pid, "--json").splitlines()[-1])
        assert done["agent"] == "clerk" and done["chosen"] == "lora" and first > saved
        assert json.loads(shell.ok("agents", "show", "clerk", "--json"))["spec"]["adapter"] and not folder.exists()
