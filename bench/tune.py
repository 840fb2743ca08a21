"""LoRA on the tiny model by our trainer and by TRL's SFTTrainer, in turns: examples per CPU-second, memory, loss.

Real short rows (headlines and what they are; see `tune_data`), the same rows, batch, rank, scale and learning rate;
everything else of TRL is as it comes. Each training is a process of its own. `--peer` is a Python that has trl, peft
and accelerate; without it an environment is made under the temporary folder.
Needs the tiny model and `[llamacpp,tune]`.

    python bench/tune.py [--json] [--rows 160] [--rounds 2] [--peer /path/to/python]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from common import Report, interleaved, run, say
from tune_data import rows

from llmagent_os.llm import catalog

ASK = "Is this headline sarcastic or serious? "


def peer(given: str, folder: Path) -> str:
    """A Python with TRL."""
    if given:
        return given
    python = folder / "trl" / "bin" / "python"
    if not python.is_file():
        say("an environment with trl is made, which takes some minutes")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "trl")], check=True)
        wanted = ["torch==2.13.0", "transformers", "trl", "peft", "accelerate", "datasets", "gguf", "numpy"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True)
    return str(python)


async def trained(python: str, which: str, file: Path) -> Mapping[str, float]:
    process = await asyncio.create_subprocess_exec(
        python, str(Path(__file__).with_name(f"tune_{which}.py")), str(file), stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )  # fmt: skip
    said, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{which} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    say(f"{which}: {found}")
    return found


def measure(report: Report, options: argparse.Namespace) -> None:
    folder = Path(tempfile.gettempdir(), "llmagent-os-bench-tune")
    folder.mkdir(exist_ok=True)
    python = peer(options.peer, folder)
    texts = [{"input": ASK + each["text"], "output": each["label"]} for each in rows("sarcasm", options.rows, folder)]
    asked = {
        "rows": texts, "held": 0.2, "batch": 16, "rate": 1e-3, "folder": str(folder / "out"),
        "bf16": bool(options.bf16), "model": asyncio.run(catalog.resolve("tiny")).source,
    }  # fmt: skip
    (file := folder / "asked.json").write_text(json.dumps(asked))
    cases = {
        "ours": partial(trained, sys.executable, "ours", file),
        "trl": partial(trained, python, "trl", file),
    }
    found = asyncio.run(interleaved(cases, options.rounds))
    for name, each in found.items():
        report.add(name, "examples per CPU-second", each["examples"] / each["cpu"], "/s")
        report.add(name, "peak memory", each["peak"], "MiB")
        report.add(name, "held-out loss before", each["before"], "nats")
        report.add(name, "held-out loss after an epoch", each["after"], "nats")
    one, other = found["ours"], found["trl"]
    speed = one["examples"] / one["cpu"] / (other["examples"] / other["cpu"])
    report.add("ours / trl", "examples per CPU-second", speed, "x", at_least=1.3)
    report.add("ours / trl", "peak memory", one["peak"] / other["peak"], "x", at_most=0.6)
    report.add("ours - trl", "held-out loss", one["after"] - other["after"], "nats", at_most=0.05)


if __name__ == "__main__":
    run(
        "tune", __doc__, measure,
        rows=(int, 160, "rows, of which a fifth is held out"), rounds=(int, 2, "rounds"),
        peer=(str, "", "a Python with trl"), bf16=(int, 0, "1: TRL computes in bfloat16, as it does by default"),
    )  # fmt: skip
