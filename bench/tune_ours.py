"""One LoRA training by our trainer for `tune`, in a process of its own; prints what it took as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from llmagent_os.finetune import Finetuner
from llmagent_os.llm import LLM


def trained(asked: dict[str, Any]) -> dict[str, float]:
    rows = [{**row, "group": row["input"][:40]} for row in asked["rows"]]
    with LLM.from_pretrained("tiny", slots=1, window=1024) as llm:
        tuner = Finetuner(llm, rows, held=asked["held"], batch=asked["batch"], epochs=1, rate=asked["rate"],
                          looks=1, decay=0.0, warmup=0.0)  # fmt: skip
        held, train = tuner.rows.held, tuner.rows.train
        began, looked = time.process_time(), 0.0
        look = tuner._training._look

        def timed() -> float:
            nonlocal looked
            at = time.process_time()
            found = look()
            looked += time.process_time() - at
            return found

        tuner._training._look = timed
        tuner.finetune()
        took = time.process_time() - began - looked
        told = tuner.progress
        return {"examples": len(train), "cpu": took, "before": told.began, "after": told.curve[-1]["held"],
                "held": len(held), "tokens": told.tokens}  # fmt: skip


if __name__ == "__main__":
    found = trained(json.loads(Path(sys.argv[1]).read_text()))
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
