"""An encoder that was trained on moved embeddings as well (the fast gradient method) against a plain one, with typos.

Real headlines (`tune_data`), the same rows, parts and seed for both; each is asked rows that nothing was chosen by, as
they are and with mistakes of typing (`finetune.typos`), as it is served. Needs `[tune]` and the model `encoder`.

    python bench/robust.py [--json] [--rows 800] [--seeds 3] [--strength 1.0] [--minutes 4]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

from common import Report, run, say
from tune_data import rows

from llmagent_os.boot.tuning import encoder_file
from llmagent_os.finetune.pipeline import make
from llmagent_os.finetune.rows import rows_of
from llmagent_os.finetune.rungs import Encoders
from llmagent_os.llm import LLM


def measure(report: Report, options: argparse.Namespace) -> None:
    folder = Path(tempfile.gettempdir(), "llmagent-os-bench-tune")
    folder.mkdir(exist_ok=True)
    texts = rows_of(rows("sarcasm", options.rows, folder))
    encoders = Encoders(encoder_file, LLM.from_pretrained)
    found: dict[float, list[tuple[float, float]]] = {0.0: [], options.strength: []}
    for seed in range(options.seeds):
        for strength, scores in found.items():
            with tempfile.TemporaryDirectory(prefix="llmagent-os-bench-") as kept:
                asked = {"adversarial": strength, "seed": seed}
                made = make(texts, None, Path(kept), options.minutes, ("encoder",), asked, encoders=encoders)
            assert made.typos is not None
            scores.append(made.typos)
            last = made.found.tried[-1]
            say(f"seed {seed}, strength {strength:g}: {made.typos} on {len(made.test)} rows, {last.learning:.0f} s")
    for strength, scores in found.items():
        case = f"{options.rows} rows, strength {strength:g}, {len(scores)} seeds"
        for n, name in enumerate(("as they are", "with typos")):
            report.add(case, f"score of rows {name}", fmean(each[n] for each in scores), "")
    clean, typed = (fmean(b[n] - a[n] for a, b in zip(*found.values(), strict=True)) for n in (0, 1))
    report.add("moved against plain", "score of rows with typos", typed, "", at_least=0.05)
    report.add("moved against plain", "score of rows as they are", clean, "", at_least=-0.01)


if __name__ == "__main__":
    run(
        "robust", __doc__, measure,
        rows=(int, 800, "rows"), seeds=(int, 3, "seeds, and parts of the rows"),
        strength=(float, 1.0, "how far embeddings are moved"), minutes=(float, 4.0, "minutes of each training"),
    )  # fmt: skip
