"""What every test may ask for."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from llmagent_os.llm.known import known_model, path_of

# a shell lets what it runs in the background ignore Ctrl-C, and what we start here would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# what a start pins of its audit log is no business of who runs the tests
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="llmagent-os-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# libraries that somebody has set up for sandboxes on this machine are not there for tests
os.environ["LLMAGENT_OS_SANDBOX"] = "/nowhere"


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """The tiny model's file; `make test` has fetched it."""
    model = known_model("tiny")
    assert model is not None
    path = path_of(model)
    if not path.is_file():
        pytest.fail(f"{path} is missing; run: llmagent-os models pull tiny")
    return path


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder of this test's own."""
    folder = tmp_path / "models"
    monkeypatch.setenv("LLMAGENT_OS_MODELS", str(folder))
    return folder
