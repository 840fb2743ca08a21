"""`Finetuner`: a model and rows in, a tuned model out, which is served as it was trained or not handed on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, Self

from ..core import codec, extras
from ..core.errors import InvalidRequest, LLMAgentOSError, Unsupported
from ..core.records import Json, Message, ModelSpec
from .parity import TOP, Parity, parity
from .rows import Row, rows_of
from .settings import Settings, settings_of
from .split import Split, split

COMPARED = 24  # prompts and beginnings of answers that parity is looked at with
EXTRA = "tune"


class Served(Protocol):
    """A model that is served, as `LLM` is one."""

    spec: ModelSpec | None

    def encode(self, conversation: Any, said: str = "") -> list[int]:
        """The token ids of a conversation and the beginning of its answer."""
        ...

    def likeliest(self, context: Sequence[int], top: int, adapter: str | None = None) -> list[tuple[int, float]]:
        """The likeliest next tokens."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Finetuner:
    """Tunes a local model on rows {"input", "output"}: `finetune()`, then `save_model(path)`.

    `llm` is an `LLM` over a GGUF file of the llama or qwen2 family; the folder that is saved is one that
    `LLM.from_pretrained` opens. `settings` are those of `Settings`, by name. With a `folder`, a training that was
    broken off, also by `kill -9`, goes on where it stood when the same is asked for again. An input may be a text or a
    list of messages: what the model will be asked later should look as the rows do.

    Raises InvalidRequest, naming the row, for a bad one; MissingExtra without torch; Unsupported for a model that
    cannot be tuned here.
    """

    def __init__(
        self, llm: Any, rows: Iterable[Row | Mapping[str, Any]], folder: str | Path | None = None, **settings: Any
    ) -> None:  # fmt: skip
        self.settings: Settings = settings_of(settings)
        if self.settings.adversarial:
            raise Unsupported("`adversarial` is for encoders alone; leave it out", parameter="adversarial")
        self.rows: Split = split(rows_of(rows), self.settings.held, self.settings.seed)
        self._llm: Served = llm
        self._folder = Path(folder) if folder is not None else None
        self._base = _base(llm)
        self._train = extras.imported("llmagent_os.finetune.train", EXTRA, "tuning a model")
        self._file: Any = extras.imported("llmagent_os.finetune.gguf_file", EXTRA, "tuning a model")
        decoder = extras.imported("llmagent_os.finetune.decoder", EXTRA, "tuning a model")
        self._arrays = decoder.arrays
        file = self._file.ModelFile(Path(self._base.source).expanduser())
        _room(file.shape, self.settings)
        self._end = self._ending()
        examples = {id(row): self._example(row) for row in (*self.rows.train, *self.rows.held)}
        self._held = [examples[id(row)] for row in self.rows.held]
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._model = decoder.Decoder(file)
        self._training = self._train.Training(
            self._model, [examples[id(row)] for row in self.rows.train], self._held, self.settings, self._folder,
            _name(self.rows),
        )  # fmt: skip
        self._examples = list(examples.values())
        self._done = False

    @property
    def progress(self) -> Any:
        """How far it is; see `train.Progress`."""
        return self._training.progress

    def finetune(self, stop: Callable[[], bool] = lambda: False, told: Callable[[Any], None] | None = None) -> Self:
        """Train to the end, or until `stop` says so; `told` is called with the progress after every step.

        Interrupting it (Ctrl-C) loses what was done since the last checkpoint, or all without a folder.
        """
        self._done = self._training.run(stop, told)
        return self

    @property
    def done(self) -> bool:
        """Whether the training came to its end."""
        return self._done

    def save_model(self, path: str | Path) -> Path:
        """Write the tuned model to a folder, once what is served from it says what was trained.

        Raises NotTheSame, and leaves nothing, where it does not; InvalidRequest for a path that holds something else,
        LLMAgentOSError where the disk is full.
        """
        if not self._done:
            raise InvalidRequest("the training is not done; call finetune() first", parameter="path")
        path, told = Path(path), "tuned.json"
        if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / told).is_file())):
            raise InvalidRequest(f"{path} holds something that is no tuned model; choose another", parameter="path")
        fresh = path.with_name(f".{path.name}.new")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            pairs = self._arrays(self._model.pairs)
            digest = self._file.save_adapter(fresh / "adapter.gguf", self._model.shape, self.settings.alpha, pairs)
            (fresh / told).write_bytes(codec.dumps(self._told(path.name, digest)))
            found = self.compare(fresh)
            found.check()
            (fresh / told).write_bytes(codec.dumps({**self._told(path.name, digest), "parity": asdict(found)}))
            shutil.rmtree(path, ignore_errors=True)
            fresh.replace(path)
        except OSError as error:
            raise LLMAgentOSError(f"{path} cannot be written ({error}); free some space and save again") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return path

    def compare(self, path: str | Path, contexts: int = COMPARED) -> Parity:
        """How what is served from a folder differs from what was trained, on prompts and beginnings of answers."""
        served: Served = type(self._llm).from_pretrained(str(path), slots=1)  # type: ignore[attr-defined]
        try:
            places = self._contexts(contexts)
            with self._model.bare():
                base = parity(self._model.next, lambda context: served.likeliest(context, TOP, ""), places)
            found = parity(self._model.next, lambda context: served.likeliest(context, TOP), places)
            return replace(found, floor=base.mean)
        finally:
            served.close()

    def _contexts(self, count: int) -> list[list[int]]:
        """Token ids to compare on: of held-out rows first, cut off at the prompt's end and within the answer."""
        drawn, found = random.Random(self.settings.seed), list[list[int]]()
        for example in [*self._held, *self._examples][:count]:
            cut = drawn.randrange(len(example.answer)) if len(found) % 2 else 0
            found.append([*example.prompt, *example.answer[:cut]])
        return found

    def _example(self, row: Row) -> Any:
        """A row in the tokens of the engine that serves; raises InvalidRequest for one that is too long."""
        prompt = self._llm.encode(row.messages)
        whole = self._llm.encode(row.messages, said=row.output)
        if len(whole) > self.settings.longest:
            text = f"{row.origin} has {len(whole)} tokens, `longest` is {self.settings.longest}"
            raise InvalidRequest(f"{text}: shorten it or raise that", parameter="rows", row=row.origin)
        return self._train.Example(tuple(prompt), (*whole[len(prompt) :], self._end))

    def _ending(self) -> int:
        """The token that a chat template ends an answer with, or the first of those that end one."""
        ends: frozenset[int] = self._llm.engine.ends()  # type: ignore[attr-defined]
        closed = self._llm.encode((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
        return min(ends, key=lambda token: (token not in closed, token))

    def _told(self, name: str, digest: str) -> dict[str, Json]:
        source = Path(self._base.source).expanduser()
        progress = self.progress
        return {
            "engine": "adapter", "name": f"{name}-{digest[:16]}", "sha256": digest, "version": version("llmagent-os"),
            "base": {"name": self._base.name, "source": str(source), "size": source.stat().st_size},
            "settings": asdict(self.settings), "rows": _name(self.rows),
            "trained": len(self.rows.train), "held": len(self.rows.held), "dropped": self.rows.dropped,
            "steps": progress.step, "seconds": progress.seconds, "ended": progress.ended,
            "loss": {"before": progress.began, "after": progress.best}, "curve": progress.curve,
        }  # fmt: skip


def _base(llm: Any) -> ModelSpec:
    spec: ModelSpec | None = getattr(llm, "spec", None)
    if spec is None or spec.engine != "llamacpp":
        what = spec.engine if spec is not None else "not opened by its name"
        raise Unsupported(f"this model ({what}) cannot be tuned: open a GGUF file, such as `tiny`", parameter="llm")
    if spec.options.get("adapter"):
        raise Unsupported("this model is tuned already; tune its base on all rows together", parameter="llm")
    return spec


def _name(rows: Split) -> str:
    """What names these rows, and how they are parted."""
    return codec.digest("rows", codec.canonical([[row.sum for row in rows.train], [row.sum for row in rows.held]]))


def _room(shape: Any, settings: Settings) -> None:
    """Raise LLMAgentOSError where the machine has too little memory for the training."""
    piece = max(settings.tokens, settings.longest)
    state = shape.width * 4 * 40  # bytes that a token leaves in a layer for the way back
    needed = shape.weights * 4 + piece * (shape.layers * state + 3 * 4 * shape.vocabulary)
    free = _free()
    if free and needed > free:
        text = (
            f"tuning it takes about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; lower `tokens` and"
        )
        raise LLMAgentOSError(f"{text} `longest`, or choose a smaller model", needed=needed, free=free)


def _free() -> int:
    try:
        lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    except OSError:
        return 0
    return next((int(line[1]) << 10 for line in lines if line[0] == "MemAvailable:"), 0)
