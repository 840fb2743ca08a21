"""Tuning a model and serving it, on the tiny model and on one of a few thousand weights."""

import copy
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest, LLMAgentOSError, Unsupported
from llmagent_os.finetune import Finetuner
from llmagent_os.finetune.parity import NotTheSame
from llmagent_os.llm import LLM

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

ROWS = [
    {"input": f"{word} {number}", "output": f"{number} {word}!"}
    for word in ("fox", "dog", "jump", "lazy", "brown")
    for number in range(6)
]
QUICK = {"steps": 12, "batch": 6, "rate": 0.02, "held": 0.2, "tokens": 256}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of a few thousand weights, as a GGUF file."""
    pytest.importorskip("transformers")
    gguf, pair = (pytest.importorskip(f"tests.stand_ins.tiny_{kind}") for kind in ("gguf", "torch"))
    return gguf.save_gguf(pair.save_pair(tmp_path_factory.mktemp("model")))


@pytest.fixture
def llm(small: Path) -> Any:
    with LLM.from_pretrained(str(small), slots=2, window=512) as opened:
        yield opened


@pytest.fixture
def tuner(llm: LLM) -> Finetuner:
    return Finetuner(llm, ROWS, **QUICK).finetune()


def test_what_is_saved_is_served_as_it_was_trained(tuner: Finetuner, tmp_path: Path) -> None:
    assert tuner.progress.best < tuner.progress.began - 0.1
    folder = tuner.save_model(tmp_path / "tuned")
    told = json.loads((folder / "tuned.json").read_text())
    assert told["parity"]["mean"] < 1e-4  # float32 on both sides
    with LLM.from_pretrained(str(folder)) as served:
        place = served.encode(ROWS[0]["input"])
        tuned, base = served.likeliest(place, 5), served.likeliest(place, 5, "")
        assert tuned != base
        own = tuner._model.next(place)
        assert all(math.isclose(value, float(own[token]), abs_tol=0.05) for token, value in tuned)
        assert [each[0] for each in served.likeliest(place, 5)] == [each[0] for each in tuned]
        assert dict(served.likeliest(place, 5)) == pytest.approx(dict(tuned))  # nothing of the base is left over


def test_an_adapter_in_the_wrong_order_is_refused_and_leaves_nothing(
    tuner: Finetuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, save = tuner._file, tuner._file.save_adapter

    def wrong(path: Path, shape: Any, alpha: float, pairs: Any) -> str:
        heads = {"attn_q": shape.heads, "attn_k": shape.shared}
        turned = {
            name: (a, file.regrouped(b, heads[part])) if (part := name.split(".")[2]) in heads else (a, b)
            for name, (a, b) in pairs.items()
        }
        return save(path, shape, alpha, turned)

    for name in [each for each in tuner._model.pairs if "attn_q" in each or "attn_k" in each]:
        tuner._model.pairs[name] = tuple(each.detach() * 6 for each in tuner._model.pairs[name])  # so that it matters
    monkeypatch.setattr(file, "save_adapter", wrong)
    with pytest.raises(NotTheSame, match="not handed on"):
        tuner.save_model(tmp_path / "tuned")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(file, "save_adapter", save)
    tuner.save_model(tmp_path / "tuned")


def test_a_training_that_is_broken_off_goes_on_and_ends_the_same(llm: LLM, tmp_path: Path, tuner: Finetuner) -> None:
    settings = {**QUICK, "dropout": 0.0}
    stops = iter([False, False, False, False, True])
    first = Finetuner(llm, ROWS, tmp_path, **settings).finetune(stop=lambda: next(stops))
    assert not first.done and first.progress.step == 5
    with pytest.raises(InvalidRequest, match="not done"):
        first.save_model(tmp_path / "tuned")
    again = Finetuner(llm, ROWS, tmp_path, **settings)
    assert again.progress.step == 5
    again.finetune()
    for name, (a, b) in again._model.pairs.items():
        assert torch.allclose(a, tuner._model.pairs[name][0], atol=1e-6)
        assert torch.allclose(b, tuner._model.pairs[name][1], atol=1e-6)
    with pytest.raises(InvalidRequest, match="other rows or settings"):
        Finetuner(llm, ROWS[1:], tmp_path, **settings)


def test_a_full_disk_is_said_and_what_was_there_stays(llm: LLM, tmp_path: Path, monkeypatch: Any) -> None:
    tuner = Finetuner(llm, ROWS, tmp_path, **QUICK)

    def full(held: Any, file: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(LLMAgentOSError, match="free some space"):
        tuner.finetune()
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_said_before_anything_is_loaded(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagent_os.finetune.finetuner._free", lambda: 1)
    with pytest.raises(LLMAgentOSError, match="choose a smaller model"):
        Finetuner(llm, ROWS, **QUICK)


def test_a_row_that_is_too_long_is_named(llm: LLM) -> None:
    with pytest.raises(InvalidRequest, match=r"row 1 has \d+ tokens"):
        Finetuner(llm, [{"input": "fox " * 60, "output": "x"}], longest=32)


def test_what_cannot_be_tuned_is_refused() -> None:
    with LLM.from_pretrained("scripted") as llm, pytest.raises(Unsupported, match="cannot be tuned"):
        Finetuner(llm, ROWS)


def test_a_damaged_adapter_is_not_opened(tuner: Finetuner, tmp_path: Path) -> None:
    folder = tuner.save_model(tmp_path / "tuned")
    with (folder / "adapter.gguf").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\0" * 8)
    with pytest.raises(InvalidRequest, match="tune again"):
        LLM.from_pretrained(str(folder))


def test_the_progress_is_told_at_every_step(llm: LLM) -> None:
    seen = []
    Finetuner(llm, ROWS, **QUICK).finetune(told=lambda now: seen.append(copy.copy(now)))
    assert [each.step for each in seen] == list(range(1, 13)) and seen[-1].seconds >= seen[0].seconds
    assert asdict(seen[-1])["curve"][-1]["step"] == 12


VICTIM = """
import sys
from llmagent_os.finetune import Finetuner
from llmagent_os.llm import LLM
from tests.contract.test_finetuner import QUICK, ROWS
with LLM.from_pretrained(sys.argv[1], slots=2, window=512) as llm:
    tuner = Finetuner(llm, ROWS, sys.argv[2], **{**QUICK, "steps": 400, "patience": 1000})
    tuner.finetune(told=lambda now: print(now.step, flush=True))
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_can_be_taken_up(llm: LLM, small: Path, tmp_path: Path, monkeypatch: Any) -> None:
    code = "import llmagent_os.finetune.train as t; t.SAVED = 0.0\n" + VICTIM
    reached = 0
    for n in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, small, tmp_path / "job"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 * n)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        tuner = Finetuner(llm, ROWS, tmp_path / "job", **{**QUICK, "steps": 400, "patience": 1000})
        assert tuner.progress.step >= reached
        reached = tuner.progress.step
    assert reached > 0
    shutil.rmtree(tmp_path / "job")
