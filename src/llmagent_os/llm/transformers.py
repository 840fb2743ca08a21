"""Models of the `transformers` library in this process: a pair that the user loaded, or a folder. One call at once."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import llguidance.hf
import torch
from jinja2 import TemplateError
from llguidance import LLMatcher, LLTokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from ..core import schemas
from ..core.errors import ContextOverflow, EngineFailed, InvalidRequest, NotFound
from ..core.records import (
    Chunk,
    Decoding,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    ModelSpec,
    Sampling,
    Usage,
)
from . import constrain, toolcalls
from .answer import AnswerText, raw_stops
from .engines import check, refuse_unknown
from .transformers_beams import Beams, refuse, settings
from .transformers_explain import room
from .transformers_run import Piece, Recipe, Run, failures, text_of
from .workers import Workers

_T = TypeVar("_T")

_NAME = "transformers"
_MOST_TOKENS = 2048  # of an answer, where neither the request nor the model says
_NATIVE = ("temperature", "top_k", "top_p", "min_p", "typical_p")  # `generate` takes them; `Run` does the others
_PLAIN_STOP = "\nuser:"  # without a chat template a model goes on with the user's part


async def open_engine(spec: ModelSpec) -> TransformersEngine:
    """Load the folder at `spec.source`; the option `dtype` ("float32", ...) overrides the one it was saved in.

    Raises NotFound for a missing folder, EngineFailed for one that cannot be loaded. Code in the folder is never run.
    """
    refuse_unknown(spec.options, ("dtype",), "option of the transformers engine")
    path = Path(spec.source).expanduser()
    if not path.is_dir():
        raise NotFound(f"there is no model folder at {path}", path=str(path))
    try:
        pair = await asyncio.to_thread(_load, path, spec.options.get("dtype", "auto"))
    except (OSError, ValueError) as error:
        raise EngineFailed(f"transformers cannot load {path}: {error}", path=str(path)) from error
    return TransformersEngine(*pair, spec)


def _load(path: Path, dtype: str) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
    return model, AutoTokenizer.from_pretrained(path, local_files_only=True)


class TransformersEngine:
    """An Engine over a causal model and its tokenizer, and a Stepper; see `core.ports` for the contracts.

    A tokenizer without a chat template gets plain `role: text` lines. Schemas, choices and tools need a fast tokenizer
    that has an end token. Log-probabilities are the model's own, before penalties and sampling.
    While an answer is explained the model's attention is switched: do not use it elsewhere at that moment.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: ModelSpec | None = None) -> None:
        spec = spec or ModelSpec(Path(model.config.name_or_path).name or model.config.model_type, _NAME)
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._defaults: GenerationConfig = model.generation_config or GenerationConfig()
        self._ends = _ends(self._defaults.eos_token_id, tokenizer.eos_token_id)
        self._workers = Workers(_NAME, 1)
        constrained = isinstance(tokenizer, PreTrainedTokenizerFast) and bool(self._ends)
        abilities = {"chat", "prompt", "embed", "said", "beams", "explain"}
        self.info = EngineInfo(
            name=_NAME,
            model=spec.name,
            window=_window(spec.window, model.config),
            abilities=frozenset(abilities | {"tools", "schema", "choices"} if constrained else abilities),
            input_price=spec.input_price,
            output_price=spec.output_price,
        )

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer; closing the iterator stops the model at the next token."""
        request = check(request, self.info)
        self._workers.check_open()
        recipe, answer = self._recipe(request), AnswerText(request)
        answer.piece(request.said)
        work, drawn = Beams if recipe.decoding.strategy == "beam" else Run, 0
        with self._workers.run(work(self._model, self._tokenizer, recipe)) as events:
            async for event in events:
                if isinstance(event, Piece):
                    drawn += 1  # a piece is a token, but of beams, which come whole
                    yield answer.piece(event.text, event.logprobs)
                    if answer.done and work is Run and not recipe.decoding.explain:
                        yield answer.last("stop", Usage(len(recipe.prompt), drawn))
                        return
                else:
                    last = answer.last(event.finish, Usage(len(recipe.prompt), event.tokens))
                    yield replace(
                        last, alternatives=event.alternatives, explanation=event.explanation,
                        stopped=event.stopped or last.stopped,
                    )  # fmt: skip

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """The last hidden state, averaged over the tokens and normalised."""
        self._workers.check_open()
        inputs = [self._fitting(self._encode(text)) for text in request.texts]
        vectors = [await self._aside(partial(self._vector, tokens)) for tokens in inputs]
        return Embeddings(tuple(vectors), Usage(sum(map(len, inputs))), self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The exact length of the prompt after the chat template."""
        return len(self._tokens(schemas.fitted(request)))

    async def encode(self, request: GenerateRequest) -> list[int]:
        """See `core.ports.Stepper.encode`."""
        request = check(request, self.info)
        return self._tokens(request) + self._said(request)

    async def decode(self, tokens: Sequence[int]) -> str:
        """See `core.ports.Stepper.decode`."""
        return text_of(self._tokenizer, tokens)

    def ends(self) -> frozenset[int]:
        """See `core.ports.Stepper.ends`."""
        return self._ends

    @asynccontextmanager
    async def lease(self, width: int) -> AsyncIterator[Sequence[int]]:
        """There are no slots: every step reads its contexts from their beginning."""
        yield range(width)

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        """See `core.ports.Stepper.step`. Contexts of one length are read at once, others one after another."""
        if len({len(context) for context in contexts}) > 1:
            return [(await self.step([context], slots, top))[0] for context in contexts]
        return await self._aside(partial(self._likeliest, contexts, top))

    def health(self) -> str | None:
        """None while the engine can serve; see `Workers.health`."""
        return self._workers.health()

    async def close(self) -> None:
        """End running work. The model is freed with its last reference, which may be the caller's."""
        await self._workers.close()

    async def _aside(self, work: Callable[[], _T]) -> _T:
        """Use the model on its thread, between generations."""

        def run(take: Callable[[_T], bool]) -> None:
            take(work())

        with failures(), self._workers.run(run) as events:
            return await anext(events)

    def _recipe(self, request: GenerateRequest) -> Recipe:
        decoding, said = request.decoding or Decoding(), self._said(request)
        prompt = self._fitting(self._tokens(request) + said)
        if decoding.strategy == "beam":
            refuse(request, decoding)
        bias = request.sampling.logit_bias or {}
        for token in bias:
            if int(token) >= self._model.config.vocab_size:
                raise InvalidRequest(
                    f"logit_bias names token {token}; the model has no such one", parameter="logit_bias"
                )
        grammar = constrain.grammar(request)
        stops = raw_stops(request)
        if request.messages and not self._tokenizer.chat_template:
            stops = (*stops, _PLAIN_STOP)
        return Recipe(
            prompt=prompt,
            said=len(said),
            sampling=request.sampling,
            decoding=decoding,
            config=self._config(request.sampling, decoding, len(prompt)),
            ends=self._ends,
            stops=stops,
            matcher=self._matcher(grammar, said) if grammar else None,
        )

    def _matcher(self, grammar: str, said: list[int]) -> LLMatcher:
        matcher = LLMatcher(self._grammar_tokenizer, grammar)
        if not matcher.consume_tokens(said):
            raise InvalidRequest("what was said breaks the answer's constraint; begin it otherwise", parameter="said")
        return matcher

    def _config(self, sampling: Sampling, decoding: Decoding, used: int) -> GenerationConfig:
        """The model's own settings with what the request says; drawing only where something asks for it."""
        config = copy.deepcopy(self._defaults)
        native = {name: value for name, value in sampling.sent().items() if name in _NATIVE}
        if native.get("temperature") == 0:
            native = {"do_sample": False}
        elif native or sampling.seed is not None:
            native["do_sample"] = True
        if decoding.strategy == "beam":
            native |= settings(decoding)
        free = self.info.window - used if self.info.window else _MOST_TOKENS
        if decoding.explain:
            free = min(free, self._explainable(used, sampling.max_tokens or 1))
        most = min(sampling.max_tokens or free, free)
        try:
            config.update(**native, max_new_tokens=most, max_length=None, pad_token_id=min(self._ends, default=0))
            config.validate()
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        return config

    def _explainable(self, used: int, wanted: int) -> int:
        """How long an answer may be that is explained; raises InvalidRequest where that is less than `wanted`."""
        most = room(self._model.config)
        if used + wanted > most:
            message = f"at most {most} tokens of this model can be explained: the prompt has {used}, the answer may "
            message += f"have {wanted}; shorten the prompt or lower max_tokens"
            raise InvalidRequest(message, parameter="explain")
        return most - used

    def _said(self, request: GenerateRequest) -> list[int]:
        return self._encode(request.said, special=False) if request.said else []

    def _tokens(self, request: GenerateRequest) -> list[int]:
        if request.prompt is not None:
            return self._encode(request.prompt)
        messages = toolcalls.render(request)
        if not self._tokenizer.chat_template:
            lines = [f"{message['role']}: {message['content']}\n" for message in messages]
            return self._encode("".join(lines) + "assistant:")
        return self._encode(toolcalls.templated(self._templated, messages), special=False)

    def _templated(self, messages: Sequence[Mapping[str, str]]) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise toolcalls.refused(str(error)) from error
        return text

    def _encode(self, text: str, special: bool = True) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=special)["input_ids"]
        return tokens

    def _fitting(self, tokens: list[int]) -> list[int]:
        window = self.info.window
        if window and len(tokens) >= window:
            message = f"the prompt has {len(tokens)} tokens, the window {window}; shorten it"
            raise ContextOverflow(message, tokens=len(tokens), window=window)
        return tokens

    def _vector(self, tokens: list[int]) -> tuple[float, ...]:
        inputs = torch.tensor([tokens], device=self._model.device)
        with torch.inference_mode():
            states = self._model.base_model(input_ids=inputs).last_hidden_state
        return tuple(torch.nn.functional.normalize(states[0].float().mean(dim=0), dim=0).tolist())

    def _likeliest(self, contexts: Sequence[Sequence[int]], top: int) -> list[list[tuple[int, float]]]:
        inputs = torch.tensor(contexts, device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
        best = torch.log_softmax(logits, dim=-1).topk(min(top, logits.shape[-1]))
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [list(zip(ids, values, strict=True)) for ids, values in rows]

    @cached_property
    def _grammar_tokenizer(self) -> LLTokenizer:
        return llguidance.hf.from_tokenizer(self._tokenizer, eos_token=sorted(self._ends))


def _ends(*tokens: int | list[int] | None) -> frozenset[int]:
    lists = [token if isinstance(token, list) else [token] for token in tokens if token is not None]
    return frozenset(token for several in lists for token in several)


def _window(wanted: int, config: Any) -> int:
    """The smaller of what was asked for and what the model was trained for; 0 where neither is known."""
    trained = getattr(config.get_text_config(), "max_position_embeddings", None) or 0
    return min(wanted, trained) if wanted and trained else wanted or trained
