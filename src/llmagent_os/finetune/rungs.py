"""The rungs of the ladder, from cheap to dear: each learns from rows, answers as it would be served, and is kept."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..core import extras
from ..core.errors import InvalidRequest
from ..core.grams import Labeller
from ..core.records import Json, Message
from .kept import describe
from .marked import kinds_of
from .parity import same
from .rows import Row
from .settings import settings_of

PACK = "encoder.pack"
SHOTS = 8  # examples in a prompt
TOKENS = 128  # of an answer that is no label
COMPARED = 50  # held-out rows that are asked of what was trained and of what is served


@dataclass(frozen=True, slots=True)
class Task:
    """What rows ask for: one of a few `labels`, the spans of some `kinds`, or, without either, a text."""

    labels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens an answer may have."""
        return TOKENS if not self.labels else max(len(each) for each in self.labels) + 2

    def told(self) -> str:
        """The task in words, for a model that was not tuned."""
        if self.kinds:
            which = ", ".join(self.kinds)
            return f'Answer with a JSON list of {{"label", "text"}} for every {which} in the text; [] for none.'
        if not self.labels:
            return "Answer as in the examples."
        return f"Answer with exactly one of these and nothing else: {', '.join(self.labels)}."


def task_of(rows: Sequence[Row]) -> Task:
    """What rows ask for: where each answer is short and there are few different ones, they are labels."""
    if kinds := kinds_of((row.text, row.output) for row in rows):
        return Task(kinds=kinds)
    count = Counter(row.output for row in rows)
    few = 2 <= len(count) <= max(2, min(100, len(rows) // 8))
    return Task(tuple(sorted(count)) if few and all(len(each) <= 64 and "\n" not in each for each in count) else ())


class Rung(Protocol):
    """One way to do a task. Of the time there is, it gets a share by its `weight`."""

    weight: float

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def learn(self, train: Sequence[Row], held: Sequence[Row], seconds: float) -> None:
        """Learn within about so many seconds; what was learned before is forgotten."""
        ...

    def answer(self, row: Row) -> str:
        """The answer to a row's input, as it would be served."""
        ...

    def keep(self, folder: Path, told: Mapping[str, Json]) -> dict[str, Json]:
        """Write what is served to a folder, if anything is; returns the fields of an agent that does the task so."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


@dataclass
class LinearRung:
    """TF-IDF and logistic regression."""

    task: Task
    name: str = "linear"
    weight: float = 0.2
    model: Labeller | None = None

    def learn(self, train: Sequence[Row], held: Sequence[Row], seconds: float) -> None:
        """See `Rung`."""
        self.model = extras.imported("llmagent_os.finetune.linear", "knowledge", "a linear model").fit(train, held)

    def answer(self, row: Row) -> str:
        """See `Rung`."""
        assert self.model is not None
        return self.model.label(row.text)

    def keep(self, folder: Path, told: Mapping[str, Json]) -> dict[str, Json]:
        """See `Rung`."""
        extras.imported("llmagent_os.finetune.linear", "knowledge", "a linear model").save(self.model, folder, told)
        return {"engine": "labels", "prompt": ""}

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class PromptRung:
    """The model as it is, told the task, with `shots` examples in its prompt."""

    llm: Any
    task: Task
    shots: int = SHOTS
    prompt: str = ""
    weight: float = 1.0

    @property
    def name(self) -> str:
        """`prompt`, or `examples`."""
        return "examples" if self.shots else "prompt"

    def learn(self, train: Sequence[Row], held: Sequence[Row], seconds: float) -> None:
        """Take examples of every label in turn, short ones of those that come first."""
        by: defaultdict[str, list[Row]] = defaultdict(list)
        for row in train[:400]:
            by[row.output if self.task.labels else ""].append(row)
        lines = [sorted(each, key=lambda row: len(row.text) + len(row.output)) for each in by.values()]
        middle = [each[len(each) // 4 :] or each for each in lines]
        chosen = [each[n] for n in range(self.shots) for each in middle if n < len(each)][: self.shots]
        shown = "".join(f"\n\nInput: {row.text}\nOutput: {row.output}" for row in chosen)
        self.prompt = self.task.told() + (f" Examples:{shown}" if shown else "")

    def answer(self, row: Row) -> str:
        """See `Rung`."""
        asked = [Message("system", self.prompt), *(each for each in row.messages if each.role != "system")]
        text: str = self.llm.generate(asked, temperature=0.0, max_tokens=self.task.tokens).text
        return text

    def keep(self, folder: Path, told: Mapping[str, Json]) -> dict[str, Json]:
        """See `Rung`."""
        return {"prompt": self.prompt}

    def close(self) -> None:
        """The model is its owner's."""


class Encoders(NamedTuple):
    """Where encoders come from: the file of one to tune, and how a folder is opened as a model. Both may raise."""

    base: Callable[[], Path]
    opened: Callable[[str], Any]


@dataclass
class EncoderRung:
    """A small encoder, tuned whole; for labels and spans."""

    encoders: Encoders
    task: Task
    folder: Path
    settings: Mapping[str, Any]
    notes: Any
    told: Callable[..., None]
    name: str = "encoder"
    weight: float = 3.0
    served: Any = None
    said: dict[str, Any] = field(default_factory=dict)
    progress: list[Any] = field(default_factory=list)

    def learn(self, train: Sequence[Row], held: Sequence[Row], seconds: float) -> None:
        """See `Rung`; raises NotTheSame where what is served does not answer as what was trained."""
        base = self.encoders.base()
        module = extras.imported("llmagent_os.finetune.encoder", "tune", "tuning an encoder")
        self.close()
        settings = module.chosen(settings_of(dict(self.settings)), "rate" in self.settings)
        made = module.EncoderTraining(base, self.task, settings)

        def step(line: str) -> None:
            self.notes.step()
            self.told(f"{self.name}: {line}", often=True)

        made.run(train, held, max(5.0, seconds), step)
        self.progress.append(made)
        self.folder.mkdir(parents=True, exist_ok=True)
        made.save(self.folder / PACK)
        kind, labels = ("spans", self.task.kinds) if self.task.kinds else ("labels", made.targets)
        self.said = {"kind": kind, "labels": list(labels), "ended": made.ended, "curve": made.curve}
        describe(self.folder, "encoder", PACK, self.said)
        self.served = self.encoders.opened(str(self.folder))
        same([(made.answer(row.text), self.answer(row)) for row in held[:COMPARED]])

    def answer(self, row: Row) -> str:
        """See `Rung`."""
        text: str = self.served.generate(row.messages).text
        return text

    def keep(self, folder: Path, told: Mapping[str, Json]) -> dict[str, Json]:
        """See `Rung`."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        describe(folder, "encoder", PACK, {**self.said, **told})
        return {"engine": "encoder", "prompt": ""}

    def close(self) -> None:
        """Free what is served."""
        if self.served is not None:
            self.served.close()
            self.served = None


@dataclass
class LoraRung:
    """The model, tuned."""

    llm: Any
    task: Task
    folder: Path
    settings: Mapping[str, Any]
    told: Callable[[Any], None] | None = None
    name: str = "lora"
    weight: float = 6.0
    served: Any = None
    saved: Path | None = None
    checkpoints: Path | None = None
    notes: Any = None  # `ladder.Notes`
    progress: list[Any] = field(default_factory=list)

    def learn(self, train: Sequence[Row], held: Sequence[Row], seconds: float) -> None:
        """See `Rung`."""
        module = extras.imported("llmagent_os.finetune.finetuner", "tune", "tuning a model")
        self.close()
        share = len(held) / (len(train) + len(held))
        minutes = max(0.1, seconds / 60)
        place = None if self.checkpoints is None else self.checkpoints / f"{len(train)}-{minutes:.3f}"
        asked = {"minutes": minutes, "held": share, **self.settings}
        tuner = module.Finetuner(self.llm, [*train, *held], place, **asked)
        if not tuner.finetune(self.notes.halt, self.told).done:
            self.notes.step()
        self.progress.append(tuner.progress)
        self.saved = tuner.save_model(self.folder)
        self.served = type(self.llm).from_pretrained(str(self.saved), slots=1)

    def answer(self, row: Row) -> str:
        """See `Rung`."""
        text: str = self.served.generate(row.messages, temperature=0.0, max_tokens=self.task.tokens).text
        return text

    def keep(self, folder: Path, told: Mapping[str, Json]) -> dict[str, Json]:
        """See `Rung`."""
        if self.saved is None:
            raise InvalidRequest("nothing was tuned yet", parameter="folder")
        shutil.copytree(self.saved, folder, dirs_exist_ok=True)
        return {"engine": "adapter", "prompt": ""}

    def close(self) -> None:
        """Free the tuned model."""
        if self.served is not None:
            self.served.close()
            self.served = None
