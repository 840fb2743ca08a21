"""The engine's threads do not keep each other from working on a busy machine."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("xllamacpp")

_LOADED = "import os; from llmagent_os.llm import llamacpp_library; print('left', os.environ.get('GOMP_SPINCOUNT'))"


def loaded(**said: str) -> tuple[str, str]:
    """What a process that loads the library prints, and what libgomp says of its settings."""
    environ = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-c", _LOADED], env=environ | said | {"OMP_DISPLAY_ENV": "VERBOSE"}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def test_its_threads_wait_briefly_and_nobody_elses_are_told_to() -> None:
    printed, settings = loaded()
    assert "GOMP_SPINCOUNT = '1000'" in settings
    assert printed == "left None\n"


def test_who_has_said_something_else_has_that() -> None:
    printed, settings = loaded(GOMP_SPINCOUNT="20000")
    assert "GOMP_SPINCOUNT = '20000'" in settings
    assert printed == "left 20000\n"
