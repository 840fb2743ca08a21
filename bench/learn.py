"""One command from real rows to a live agent: held-out score of the served agent, the rung it chose, and the time.

`llmagent-os tune` beside a running system, on sets of `tune_data`; the score is what the agent answers over the gateway
on rows that nothing was learned or chosen by. Needs `[knowledge]`, and for the dearer rungs the models and `[tune]`.

    python bench/learn.py [--json] [--sets sarcasm,ner_finance] [--rows 600] [--minutes 2] [--model none]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import Report, run, say, serving
from tune_data import rows

from llmagent_os.llm.known import models_folder


def measure(report: Report, options: argparse.Namespace) -> None:
    kept = Path(tempfile.gettempdir(), "llmagent-os-bench-tune")
    kept.mkdir(exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="llmagent-os-bench-"))
    (models := data / "models").mkdir()
    for each in (*models_folder().glob("*.gguf"), *models_folder().glob("*.pack")):
        (models / each.name).symlink_to(each)
    with serving(data) as (server, _):
        for which in options.sets.split(","):
            file = Path(data, f"{which}.jsonl")
            file.write_text("".join(json.dumps(row) + "\n" for row in rows(which, options.rows, kept)))
            command = [
                str(Path(sys.executable).with_name("llmagent-os")), "tune", str(file),
                "--agent", which.replace("_", "-"),
                "--model", options.model, "--minutes", str(options.minutes), "--only", options.only, "--json",
                "--report", str(Path(data, f"{which}.html")), "--data", str(server.data),
            ]  # fmt: skip
            began = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            say(done.stderr)
            if done.returncode:
                raise SystemExit(f"{which}: {done.stderr}")
            found = json.loads(done.stdout.splitlines()[-1])
            case = f"{which}, {options.rows or 'all'} rows, chose {found['chosen']}"
            report.add(case, "score of the served agent", found["score"], f"of {found['asked']}")
            if "kinds" in found:
                _, _, both, count = found["kinds"]["all"]
                report.add(case, "F1 of what was to be found", both, f"of {count}")
            if found["typos"] is not None:
                report.add(case, "score with mistakes of typing", found["typos"][1], "")
            if found["before"] is not None:
                report.add(case, "score of the model as it comes", found["before"], "")
            report.add(case, "from rows to the agent", time.monotonic() - began, "s", at_most=1800)
    shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    run(
        "learn", __doc__, measure,
        sets=(str, "sarcasm,ner_finance", "which sets, with commas"), rows=(int, 600, "rows of each; 0: all"),
        minutes=(float, 2.0, "minutes of each"), model=(str, "none", "the model to ask and tune"),
        only=(str, "", "rungs, with commas; all without them"),
    )  # fmt: skip
