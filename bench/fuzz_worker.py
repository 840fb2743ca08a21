"""One fuzzer of `fuzz`: `python bench/fuzz_worker.py NAME [libFuzzer's options, or a file to try again]`."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["llmagent_os", "yaml"]):
    from fuzz_targets import TARGETS

logging.disable()
atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
atheris.Fuzz()
