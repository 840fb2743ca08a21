"""The library of llama.cpp (xllamacpp), told how long its threads may wait awake; libgomp reads that as it is loaded.

The threads meet after every operation, thousands of times a token. libgomp lets the first one turn for milliseconds
until the last one is there, which on an idle machine it is at once. Where another program has its processor, what
turns keeps the one that it waits for from working: two processors and three busy programs gave 0.5 tokens/s for 14.
"""

import os

_ROUNDS = "1000"  # some 10 us; 300,000 where nothing is said

_said = "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ
if not _said:
    os.environ["GOMP_SPINCOUNT"] = _ROUNDS

import xllamacpp  # noqa: E402

if not _said:  # it is nobody else's: no child's, and not torch's
    del os.environ["GOMP_SPINCOUNT"]

__all__ = ["xllamacpp"]
