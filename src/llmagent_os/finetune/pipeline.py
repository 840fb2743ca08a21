"""From rows to what is served: parted, tried on the ladder, kept under its sum. Deploying it is its caller's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..core.errors import InvalidRequest, nearest
from ..core.records import Json
from .check import LEAST
from .ladder import Climb, Judged, Notes, climb, score
from .rows import Row, rows_of
from .rungs import EncoderRung, Encoders, LinearRung, LoraRung, PromptRung, Rung, Task, task_of
from .split import split
from .typos import mistyped

HELD = 0.3  # of the rows: half to choose by, half to say how good it is
NAMES = ("prompt", "linear", "examples", "encoder", "lora")
"""The rungs, from cheap to dear."""
QUICK = ("linear", "encoder")
"""Those that answer at once."""
ASKED = 100  # rows that the model is asked as it comes, and what was chosen


@dataclass(slots=True)
class Made:
    """What was chosen: the `folder` it is kept in (none for a prompt), and the `fields` of an agent that has it.

    `before` is the model's score as it comes, on `test` rows that nothing was learned or chosen by; `typos` what was
    chosen has on them as they are, and with mistakes of typing: of what answers at once alone.
    """

    task: Task
    found: Climb
    fields: dict[str, Json]
    folder: Path | None
    test: list[Row]
    before: float | None
    curves: list[Any]
    typos: tuple[float, float] | None = None


def make(
    rows: Sequence[Row], llm: Callable[[], Any] | None, kept: Path, minutes: float, only: Sequence[str] = NAMES,
    settings: Mapping[str, Any] | None = None, told: Callable[..., None] = lambda line, often=False: None,
    notes: Notes | None = None, checkpoints: Path | None = None,
    encoders: Encoders | None = None,
) -> Made:  # fmt: skip
    """Find the best way for rows within minutes, and keep what it is served from in a folder below `kept`.

    `llm` opens the model; None leaves the rungs that need one out. With `notes` and a folder for `checkpoints` what was
    broken off goes on; raises Halted where the notes say so, InvalidRequest for an unknown rung, or where none is left.
    """
    for name in only:
        if name not in NAMES:
            raise InvalidRequest(f"there is no rung {name!r}; {nearest(name, NAMES)}", parameter="only")
    given, task, notes = dict(settings or {}), task_of(rows), notes or Notes()
    parted = split(rows, HELD, int(given.get("seed", 0)))
    held, test = parted.held[::2], parted.held[1::2]
    if len(rows) < LEAST or not held or not test:
        raise InvalidRequest(f"{len(rows)} rows are too few to choose by; bring at least {LEAST}", parameter="file")
    with ExitStack() as stack, TemporaryDirectory(prefix="llmagent-os-") as work:
        model = stack.enter_context(llm()) if llm is not None else None
        lora = LoraRung(model, task, Path(work, "tuned"), given, _stepping(told), checkpoints=checkpoints, notes=notes)
        there: dict[str, Rung] = {"linear": LinearRung(task)} if task.labels else {}
        if model is not None:
            there |= {"prompt": PromptRung(model, task, 0), "examples": PromptRung(model, task), "lora": lora}
        if encoders is not None and (task.labels or task.kinds):
            rung = EncoderRung(encoders, task, Path(work, "encoder"), given, notes, told, progress=lora.progress)
            there["encoder"] = rung
            stack.callback(rung.close)
        rungs = [there[name] for name in NAMES if name in only and name in there]
        if not rungs:
            raise InvalidRequest(f"none of {', '.join(only)} can do this: rows of texts need a model", parameter="only")
        stack.callback(lora.close)
        before = _before(model, task, test, told, notes) if model is not None else None
        best, found = climb(rungs, task, parted.train, held, minutes * 60, told, notes)
        fresh = Path(work, "kept")
        fields = best.keep(fresh, {"task": list(task.labels), "rows": len(rows), "score": found.why})
        folder = _kept(fresh, kept) if fresh.is_dir() else None
        typos = _typos(best, task, test[:ASKED], told, notes) if best.name in QUICK else None
        return Made(task, found, fields, folder, test[:ASKED], before, lora.progress, typos)


@dataclass(frozen=True, slots=True)
class _Curve:
    """A training, as far as a report tells of it."""

    curve: list[dict[str, float]]
    ended: str


def remade(data: Mapping[str, Any]) -> Made:
    """What a job has made, from the data that it left (see `boot.tuning`)."""
    found, task = data["found"], Task(**{**data["task"], "labels": tuple(data["task"]["labels"])})
    climbed = Climb(task, [Judged(**each) for each in found["tried"]], found["chosen"], found["why"], found["seconds"])
    folder = Path(data["folder"]) if data["folder"] else None
    curves = [_Curve(**each) for each in data["curves"]]
    typos = tuple(data["typos"]) if data["typos"] else None
    return Made(task, climbed, data["fields"], folder, rows_of(data["test"]), data["before"], curves, typos)


def _typos(
    best: Rung, task: Task, test: Sequence[Row], told: Callable[[str], None], notes: Notes
) -> tuple[float, float]:  # fmt: skip
    """The mean scores of rows as they are, and as somebody in a hurry would have typed them."""
    told(f"{len(test)} rows are asked with mistakes of typing")
    sums = [0.0, 0.0]
    for row in test:
        notes.step()
        for n, each in enumerate((row, mistyped(row))):
            sums[n] += score(task, row.output, best.answer(each)) / len(test)
    return sums[0], sums[1]


def _before(model: Any, task: Task, test: Sequence[Row], told: Callable[[str], None], notes: Notes) -> float:
    """The mean score of the model as it comes, told the task."""
    plain, asked = PromptRung(model, task, 0), test[:ASKED]
    plain.learn([], [], 0.0)
    told(f"{len(asked)} rows are asked of the model as it comes")
    scores = [float(each) for each in notes.get("before") or ()]
    for row in asked[len(scores) :]:
        notes.step()
        scores.append(score(task, row.output, plain.answer(row)))
        notes.put("before", scores)
    return sum(scores) / len(asked)


def _kept(fresh: Path, kept: Path) -> Path:
    """Move a folder to its place, which is named by the sum of what is served from it."""
    files = [each for each in sorted(fresh.iterdir()) if each.name in ("labels.json", "adapter.gguf", "encoder.pack")]
    name = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:16]
    place = kept / name
    kept.mkdir(parents=True, exist_ok=True)
    if not place.is_dir():
        half = kept / f".{name}.new"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(fresh, half)
        half.replace(place)
    return place


def _stepping(told: Callable[..., None]) -> Callable[[Any], None]:
    """Tells of a training's steps, with the time that is left of them."""

    def step(now: Any) -> None:
        told(f"step {now.step} of {now.steps}: loss {now.loss:.3f}, {_spoken(now.left)} left", often=True)

    return step


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
