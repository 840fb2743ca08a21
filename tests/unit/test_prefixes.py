"""What prompts begin with has one name everywhere: in another process too, whose own hashes differ."""

from __future__ import annotations

import os
import subprocess
import sys

from llmagent_os.core.records import GenerateRequest, Message
from llmagent_os.sched.prefixes import BLOCK, of_texts, of_tokens
from llmagent_os.sched.router import _beginnings

TOKENS = list(range(100, 100 + 3 * BLOCK + 5))
REQUEST = GenerateRequest("m", (Message("system", "Be brief."), Message("user", "hällo \ud800")))
_SHOW = """
from tests.unit.test_prefixes import REQUEST, TOKENS
from llmagent_os.sched.prefixes import of_tokens
from llmagent_os.sched.router import _beginnings
print(list(of_tokens(TOKENS, "style")), list(_beginnings(REQUEST)))
"""


def test_names_are_those_of_every_other_process() -> None:
    here = f"{list(of_tokens(TOKENS, 'style'))} {list(_beginnings(REQUEST))}"
    for seed in ("1", "2"):
        run = [sys.executable, "-c", _SHOW]
        path = os.pathsep.join(["src", ".", *sys.path])
        told = subprocess.run(run, env={"PYTHONHASHSEED": seed, "PYTHONPATH": path}, capture_output=True, check=True)
        assert told.stdout.decode().strip() == here
    assert next(of_tokens(TOKENS, None)).hex() == "9ceba08783a07ee1"  # nor do they change with time


def test_a_name_stands_for_a_whole_block_and_all_before_it_under_one_adapter() -> None:
    names = list(of_tokens(TOKENS, None))
    assert len(names) == 3
    assert names[:2] == list(of_tokens(TOKENS[: 2 * BLOCK + 1], None))
    changed = [TOKENS[0] + 1, *TOKENS[1:]]
    assert not set(names) & {*of_tokens(changed, None), *of_tokens(TOKENS, ""), *of_tokens(TOKENS, "style")}
    assert not set(of_tokens(TOKENS, "")) & set(of_tokens(TOKENS, "style"))


def test_texts_that_are_cut_elsewhere_are_others() -> None:
    assert list(of_texts([("user", "ab"), ("user", "c")]))[-1] != list(of_texts([("user", "a"), ("user", "bc")]))[-1]
    assert list(of_texts([("user", "x")])) != list(of_texts([("system", "x")]))
