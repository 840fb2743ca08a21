"""The fuzzers of `fuzz`, one after another: `python bench/fuzz_worker.py`, or `... NAME FILE` to try an input again.

Asked over standard input, by a line of JSON each: [parser, libFuzzer's options, where to write what is said, folder for
slow inputs]; each is answered with a line, its exit status. libFuzzer ends the process that it is in, so each parser
has a fork of this one: what is fuzzed is instrumented once for all of them.
"""

from __future__ import annotations

import hashlib
import json
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


def fuzz(name: str, options: list[str], slow: str | None = None) -> None:
    """Fuzz until this process is ended; what takes long is kept in `slow`, to be timed again without coverage."""

    def timed(data: bytes) -> None:
        began = time.thread_time()
        COVERED[name](data)
        if slow and time.thread_time() - began > SLOW * LONGEST and len(os.listdir(slow)) < KEPT:
            Path(slow, hashlib.sha1(data).hexdigest()).write_bytes(data)

    atheris.Setup([sys.argv[0], *options], timed)
    atheris.Fuzz()


def forked(name: str, options: list[str], said: str, slow: str) -> int:
    """Fuzz in a fork; its exit status, a negative one for the signal that ended it."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        fuzz(name, options, slow)
    finally:
        os._exit(1)


logging.disable()
if len(sys.argv) > 1:
    fuzz(sys.argv[1], sys.argv[2:])
for line in sys.stdin:
    print(forked(*json.loads(line)), flush=True)
