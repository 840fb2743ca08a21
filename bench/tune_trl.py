"""One LoRA training by TRL for `tune`, in an environment that has nothing of ours; prints what it took as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer


def trained(asked: dict[str, Any]) -> dict[str, float]:
    file = Path(asked["model"])
    model = AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    rows = [
        {"prompt": [{"role": "user", "content": row["input"]}],
         "completion": [{"role": "assistant", "content": row["output"]}]}
        for row in asked["rows"]
    ]  # fmt: skip
    count = round(len(rows) * asked["held"])
    held, train = Dataset.from_list(rows[:count]), Dataset.from_list(rows[count:])
    settings = SFTConfig(
        output_dir=asked["folder"], num_train_epochs=1, per_device_train_batch_size=asked["batch"],
        learning_rate=asked["rate"], report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True,
        bf16=asked["bf16"], per_device_eval_batch_size=8,
    )  # fmt: skip

    class Clock(TrainerCallback):
        began = took = 0.0

        def on_train_begin(self, *args: Any, **more: Any) -> None:
            self.began = time.process_time()

        def on_train_end(self, *args: Any, **more: Any) -> None:
            self.took = time.process_time() - self.began

    clock = Clock()
    peft = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(model, args=settings, train_dataset=train, eval_dataset=held, processing_class=tokenizer,
                         peft_config=peft, callbacks=[clock])  # fmt: skip
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()["eval_loss"]
    return {"examples": len(train), "cpu": clock.took, "before": before, "after": after, "held": len(held)}


if __name__ == "__main__":
    found = trained(json.loads(Path(sys.argv[1]).read_text()))
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
