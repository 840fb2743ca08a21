"""Models of the `transformers` library in this process: a pair that the user loaded, or a folder. One call at once."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path
from typing import Any

import llguidance.hf
import torch
from jinja2 import TemplateError
from llguidance import LLMatcher, LLTokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from ..core.errors import ContextOverflow, EngineFailed, InvalidRequest, NotFound
from ..core.records import (
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    ModelSpec,
    Sampling,
    Usage,
)
from . import constrain, toolcalls
from .answer import Answer
from .engines import check, refuse_unknown
from .transformers_run import Piece, Plan, Run
from .workers import Workers

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
    """An Engine over a causal model and its tokenizer; see `core.ports.Engine` for the contract.

    A tokenizer without a chat template gets plain `role: text` lines. Schemas, choices and tools need a fast tokenizer
    that has an end token. Log-probabilities are the model's own, before penalties and sampling.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: ModelSpec | None = None) -> None:
        spec = spec or ModelSpec(Path(model.config.name_or_path).name or model.config.model_type, _NAME)
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._defaults: GenerationConfig = model.generation_config or GenerationConfig()
        self._ends = _ends(self._defaults.eos_token_id, tokenizer.eos_token_id)
        self._workers = Workers(_NAME, 1)
        constrained = isinstance(tokenizer, PreTrainedTokenizerFast) and bool(self._ends)
        abilities = {"chat", "prompt", "embed"}
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
        check(request, self.info)
        self._workers.check_open()
        plan, answer = self._plan(request), Answer(request)
        with self._workers.run(Run(self._model, self._tokenizer, plan)) as events:
            async for event in events:
                if isinstance(event, Piece):
                    yield answer.piece(event.text, event.logprobs)
                else:
                    yield answer.last(event.finish, Usage(len(plan.prompt), event.tokens))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """The last hidden state, averaged over the tokens and normalised."""
        self._workers.check_open()
        inputs = [self._fitting(self._encode(text)) for text in request.texts]
        vectors = [await asyncio.to_thread(self._vector, tokens) for tokens in inputs]
        return Embeddings(tuple(vectors), Usage(sum(map(len, inputs))), self.info.model)

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The exact length of the prompt after the chat template."""
        return len(self._tokens(request))

    def health(self) -> str | None:
        """None while the engine can serve; see `Workers.health`."""
        return self._workers.health()

    async def close(self) -> None:
        """End running work. The model is freed with its last reference, which may be the caller's."""
        await self._workers.close()

    def _plan(self, request: GenerateRequest) -> Plan:
        prompt = self._fitting(self._tokens(request))
        bias = request.sampling.logit_bias or {}
        for token in bias:
            if int(token) >= self._model.config.vocab_size:
                raise InvalidRequest(
                    f"logit_bias names token {token}; the model has no such one", parameter="logit_bias"
                )
        grammar = constrain.grammar(request)
        stops = request.sampling.stop or ()
        if request.messages and not self._tokenizer.chat_template:
            stops = (*stops, _PLAIN_STOP)
        return Plan(
            prompt=prompt,
            sampling=request.sampling,
            config=self._config(request.sampling, len(prompt)),
            ends=self._ends,
            stops=stops,
            matcher=LLMatcher(self._grammar_tokenizer, grammar) if grammar else None,
        )

    def _config(self, sampling: Sampling, used: int) -> GenerationConfig:
        """The model's own settings with what the request says; drawing only where something asks for it."""
        config = copy.deepcopy(self._defaults)
        native = {name: value for name, value in sampling.sent().items() if name in _NATIVE}
        if native.get("temperature") == 0:
            native = {"do_sample": False}
        elif native or sampling.seed is not None:
            native["do_sample"] = True
        free = self.info.window - used if self.info.window else _MOST_TOKENS
        most = min(sampling.max_tokens or free, free)
        try:
            config.update(**native, max_new_tokens=most, max_length=None, pad_token_id=min(self._ends, default=0))
            config.validate()
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        return config

    def _tokens(self, request: GenerateRequest) -> list[int]:
        if request.prompt is not None:
            return self._encode(request.prompt)
        messages = toolcalls.render(request)
        if not self._tokenizer.chat_template:
            lines = [f"{message['role']}: {message['content']}\n" for message in messages]
            return self._encode("".join(lines) + "assistant:")
        try:
            text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise InvalidRequest(f"the model's chat template refuses the messages: {error}") from error
        return self._encode(text, special=False)

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
