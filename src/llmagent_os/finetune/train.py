"""Training an adapter: batches without padding to speak of, loss on the answer alone, the best of what was seen.

Needs the extra `tune`. Where there is a folder, a checkpoint in it lets the same training go on after any kill.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ..core.errors import InvalidRequest, LLMAgentOSError
from .clock import counted
from .decoder import Decoder
from .settings import Settings

CHECKPOINT = "checkpoint.pt"
SAVED = 30.0  # seconds between two checkpoints
POOL = 8  # batches whose rows are put in order of length together
BETTER = 1e-3  # of the held-out loss that counts as better


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, as the engine that serves counts them: of what is asked, and of the answer with its end."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(slots=True)
class Progress:
    """How far a training is; losses are in nats a token. `curve` has {step, seconds, loss, held} at every look."""

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    loss: float = 0.0
    best: float = math.inf
    worse: int = 0  # looks since the best
    began: float = math.inf  # the held-out loss before the first step
    ended: str = ""  # why it ended
    minutes: float = 0.0  # that it may take; 0: no bound
    curve: list[dict[str, float]] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds that the rest would take, or that are left of its minutes."""
        rest = self.seconds / self.step * (self.steps - self.step) if self.step else 0.0
        return min(rest, max(0.0, self.minutes * 60 - self.seconds)) if self.minutes else rest


class Training:
    """One training of a decoder's adapter. `settings` and rows are the same whenever it is taken up again."""

    def __init__(
        self, model: Decoder, train: Sequence[Example], held: Sequence[Example], settings: Settings,
        folder: Path | None = None, name: str = "",
    ) -> None:  # fmt: skip
        """`name` says which rows these are: a checkpoint of others is refused."""
        self._model, self._train, self._held, self.settings = model, train, held, settings
        self._path = folder / CHECKPOINT if folder is not None else None
        self._told = {"settings": asdict(settings), "rows": name}
        torch.manual_seed(settings.seed)
        self._tensors = model.adapt(settings)
        self._best = model.kept()
        self._optimizer = torch.optim.AdamW(self._tensors, lr=settings.rate, weight_decay=settings.decay)
        self.progress = Progress(steps=_steps(len(train), settings), minutes=settings.minutes)
        self._resume()

    def run(self, stop: Callable[[], bool] = lambda: False, told: Callable[[Progress], None] | None = None) -> bool:
        """Train to the end, with the best adapter in the model; False where `stop` broke it off, to be gone on with.

        `told` is called after every step. Raises LLMAgentOSError where a checkpoint cannot be written.
        """
        settings, progress, began = self.settings, self.progress, counted() - self.progress.seconds
        torch.set_num_threads(settings.threads or os.cpu_count() or 1)
        looks = max(1, _epoch(len(self._train), settings) // settings.looks)
        saved = time.monotonic()
        if not progress.step and not progress.ended:
            progress.began = self._look()
        for batch in self._batches(progress.step):
            if progress.ended:
                break
            progress.loss = self._step(batch)
            progress.step += 1
            progress.tokens += sum(map(len, batch))
            progress.seconds = counted() - began
            out_of_time = bool(settings.minutes) and progress.seconds > settings.minutes * 60
            if progress.step % looks == 0 or progress.step == progress.steps or out_of_time:
                self._judge(out_of_time)
            if told is not None:
                told(progress)
            halted = not progress.ended and stop()
            if halted or progress.ended or time.monotonic() - saved > SAVED:
                self._save()
                saved = time.monotonic()
            if halted:
                return False
        if not progress.ended:
            progress.ended = "all rows were read as often as asked for"
            self._save()
        self._model.load(self._best)
        return True

    def _batches(self, done: int) -> Iterator[list[Example]]:
        """What the steps read, from the one after `done` on: the same in every run."""
        settings, step = self.settings, 0
        for epoch in range(settings.epochs if not settings.steps else 1 << 30):
            drawn = random.Random(f"{settings.seed}.{epoch}")
            order = list(self._train)
            drawn.shuffle(order)
            pool = settings.batch * POOL
            batches = []
            for start in range(0, len(order), pool):
                near = sorted(order[start : start + pool], key=len)
                batches += [near[at : at + settings.batch] for at in range(0, len(near), settings.batch)]
            drawn.shuffle(batches)
            for batch in batches:
                if step >= self.progress.steps:
                    return
                step += 1
                if step > done:
                    yield batch

    def _step(self, batch: Sequence[Example]) -> float:
        """One step of AdamW on the mean loss over all answers' tokens of a batch; returns that loss."""
        self._model.training = True
        total, answers = 0.0, sum(len(each.answer) for each in batch)
        self._optimizer.zero_grad()
        for piece in pieces(batch, self.settings.tokens):
            loss = self._loss(piece, self.settings.smoothing) / answers
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._tensors, self.settings.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate * self._height()
        self._optimizer.step()
        self._model.training = False
        if not math.isfinite(total):
            raise LLMAgentOSError(f"the loss is {total} at step {self.progress.step}; lower `rate` or `clip`")
        return total

    def _height(self) -> float:
        """The share of the learning rate: up over the warm-up, then down to a tenth, by steps or by time."""
        progress, settings = self.progress, self.settings
        gone = progress.step / max(1, progress.steps)
        if settings.minutes:
            gone = max(gone, progress.seconds / (settings.minutes * 60))
        rise = max(1.0, settings.warmup * progress.steps)
        return min(1.0, (progress.step + 1) / rise) * max(0.1, 1.0 - 0.9 * gone)

    def _loss(self, rows: Sequence[Example], smoothing: float = 0.0) -> Any:
        """The summed cross-entropy of the answers' tokens; scores are computed for those alone."""
        longest = max(map(len, rows))
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        wanted = torch.zeros(len(rows), longest, dtype=torch.bool)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = torch.tensor([*row.prompt, *row.answer])
            wanted[number, len(row.prompt) - 1 : len(row) - 1] = True
        states = self._model.hidden(tokens)[wanted]
        targets = tokens.roll(-1, dims=1)[wanted]
        return functional.cross_entropy(self._model.scores(states), targets, reduction="sum", label_smoothing=smoothing)

    def _look(self) -> float:
        """The mean loss of the held-out answers' tokens; not a number where none are held out."""
        answers = sum(len(each.answer) for each in self._held)
        if not answers:
            return math.nan
        with torch.inference_mode():
            whole = sorted(self._held, key=len)
            return sum(float(self._loss(each)) for each in pieces(whole, self.settings.tokens)) / answers

    def _judge(self, out_of_time: bool) -> None:
        """Look at the held-out rows: keep what is best, and say when it is time to end."""
        progress, held = self.progress, self._look()
        progress.curve.append({"step": progress.step, "seconds": progress.seconds, "loss": progress.loss, "held": held})
        if not held > progress.best - BETTER:  # also where nothing is held out
            progress.best, progress.worse, self._best = held, 0, self._model.kept()
        else:
            progress.worse += 1
        if progress.worse >= self.settings.patience:
            progress.ended = f"{progress.worse} looks at the held-out rows brought nothing better"
        elif out_of_time:
            progress.ended = f"the {self.settings.minutes:g} minutes are over"

    # -- checkpoints

    def _save(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".tmp")
        held = {
            "told": self._told, "progress": asdict(self.progress), "pairs": self._model.kept(), "best": self._best,
            "optimizer": self._optimizer.state_dict(), "drawn": torch.get_rng_state(),
        }  # fmt: skip
        try:
            with fresh.open("wb") as file:
                torch.save(held, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except (OSError, RuntimeError) as error:  # torch has its own words for a full disk
            fresh.unlink(missing_ok=True)
            text = f"the checkpoint {self._path} cannot be written ({error}); free some space and start it again"
            raise LLMAgentOSError(text, path=str(self._path)) from error

    def _resume(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        held: dict[str, Any] = torch.load(self._path, weights_only=True)
        if held["told"] != self._told:
            text = f"{self._path} is of a training with other rows or settings; take another folder, or delete it"
            raise InvalidRequest(text, parameter="folder")
        self._model.load(held["pairs"])
        self._best, self.progress = held["best"], Progress(**held["progress"])
        self._optimizer.load_state_dict(held["optimizer"])
        torch.set_rng_state(held["drawn"])


def pieces(rows: Sequence[Example], tokens: int) -> Iterator[list[Example]]:
    """Rows in pieces of at most so many tokens, filled up as they are; a longer row is a piece of its own."""
    piece: list[Example] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row))
        if piece and longest * (len(piece) + 1) > tokens:
            yield piece
            piece, longest = [], len(row)
        piece.append(row)
    if piece:
        yield piece


def _epoch(rows: int, settings: Settings) -> int:
    return math.ceil(rows / settings.batch)


def _steps(rows: int, settings: Settings) -> int:
    return settings.steps or _epoch(rows, settings) * settings.epochs
