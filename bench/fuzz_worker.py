"""One fuzzer of `fuzz`: `python bench/fuzz_worker.py NAME [libFuzzer's options, or a file to try again]`."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["llmagent_os", "yaml"]):
    from fuzz_readers import COVERED
    from fuzz_targets import LONGEST, SLOW

KEPT = 50  # slow inputs


def timed(data: bytes) -> None:
    """Run the target; what takes it long is written to the folder `FUZZ_SLOW`, to be timed again without coverage."""
    began = time.thread_time()
    COVERED[sys.argv[1]](data)
    folder = os.environ.get("FUZZ_SLOW")
    if folder and time.thread_time() - began > SLOW * LONGEST and len(os.listdir(folder)) < KEPT:
        Path(folder, hashlib.sha1(data).hexdigest()).write_bytes(data)


logging.disable()
atheris.Setup([sys.argv[0], *sys.argv[2:]], timed)
atheris.Fuzz()
