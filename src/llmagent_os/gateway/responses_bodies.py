"""What clients send to /v1/responses: checked once, here, and turned into the core's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from ..core import schemas
from ..core.errors import InvalidRequest
from ..core.records import GenerateRequest, Json, Message, Sampling
from .asgi import Exchange
from .bodies import REFUSED, Drawn, Harmless, Limit, unless
from .choices import flat
from .errors import MissingField
from .open_bodies import Open, take_open
from .reading import MESSAGES, ListOf
from .responses_items import skipped
from .responses_tools import Toolbox

LOGPROBS = "message.output_text.logprobs"


class Format(Open):
    """How the answer is shaped."""

    type: Literal["text", "json_object", "json_schema"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class Text(Open):
    """What the answer's text is like."""

    format: Format | None = None
    verbosity: str | None = None


class ConversationRef(Open):
    """A conversation by its id."""

    id: str


class ResponsesBody(Drawn, Harmless, Open):
    """POST /v1/responses. What is sent and has no effect here is named in the answer's `metadata.left_out`."""

    model_config = ConfigDict(extra="allow", frozen=True, ignored_types=(cached_property,))

    model: str = Field(min_length=1, description="the name of a model or of an agent")
    input: str | Annotated[ListOf[dict[str, Any]], Field(max_length=MESSAGES)] | None = None
    instructions: str | ListOf[dict[str, Any]] | None = None
    previous_response_id: Annotated[str | None, unless("")] = None
    conversation: Annotated[str | ConversationRef | None, unless("")] = Field(
        None, description="not beside previous_response_id"
    )
    tools: ListOf[dict[str, Any]] | None = None
    tool_choice: Annotated[Literal["auto", "none", "required"] | dict[str, Any] | None, BeforeValidator(flat)] = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = Field(None, description="of tools that this server runs, which are none")
    text: Text | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_output_tokens: Limit = None
    adapter: str | None = Field(None, description="a LoRA adapter of the model; empty: none")
    top_logprobs: int | None = Field(None, ge=0, le=20)
    include: ListOf[str] | None = None
    store: bool | None = Field(None, description="false: it cannot be a `previous_response_id`")
    background: bool | None = Field(None, description="answer at once, and be asked for the rest by its id")
    reasoning: dict[str, Any] | None = Field(None, description="models here have no settings for it; left out")
    truncation: Literal["auto", "disabled"] | None = None
    context_management: list[Any] | None = None
    client_metadata: dict[str, Any] | None = None
    prompt_cache_options: dict[str, Any] | None = None

    @property
    def items(self) -> list[dict[str, Any]]:
        """The input as items."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return list(self.input or ())

    @property
    def conversation_id(self) -> str | None:
        """The conversation that it belongs to."""
        return self.conversation.id if isinstance(self.conversation, ConversationRef) else self.conversation

    @cached_property
    def toolbox(self) -> Toolbox:
        """The tools; raises InvalidRequest for one that cannot be read."""
        return Toolbox(self.tools)

    def request(self, model: str, messages: Sequence[Message]) -> GenerateRequest:
        """The request, with the instructions before the conversation."""
        tools, choice = self.toolbox.chosen(self.tool_choice)
        return GenerateRequest(
            model, tuple(messages), tools=tools, tool_choice=choice, schema=self._schema(), stream=bool(self.stream),
            adapter=self.adapter, service=self.service,
            sampling=Sampling(
                max_tokens=self.max_output_tokens, temperature=self.temperature, top_p=self.top_p, top_k=self.top_k,
                min_p=self.min_p, typical_p=self.typical_p, repetition_penalty=self.repetition_penalty,
                top_logprobs=self._logprobs(),
            ),
        )  # fmt: skip

    def left_out(self) -> list[str]:
        """What was sent and has no effect here, by the names of its fields and kinds."""
        asked = {
            "reasoning": (self.reasoning or {}).get("effort") not in (None, "none"),
            "text.verbosity": self.text is not None and self.text.verbosity not in (None, "medium"),
            "truncation": self.truncation == "auto",
            "context_management": bool(self.context_management),
        }
        names = [name for name, sent in asked.items() if sent] + self.unknown()
        return (
            names + [f"tools: {kind}" for kind in self.toolbox.skipped] + [f"input: {k}" for k in skipped(self.items)]
        )

    def _logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if LOGPROBS in (self.include or ()) else None

    def _schema(self) -> Mapping[str, Json] | None:
        wanted = self.text.format if self.text else None
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return {"type": "object"}
        if wanted.schema_ is None:
            raise MissingField("text.format.schema is missing", parameter="text.format.schema")
        return schemas.meant(wanted.schema_, "the schema", "text.format.schema")


async def take_response(http: Exchange) -> ResponsesBody:
    """Check a body, and what in it excludes what; raises InvalidRequest that names the field to blame."""
    body = await take_open(ResponsesBody, http, REFUSED)
    if body.conversation_id and body.previous_response_id:
        text = "conversation and previous_response_id exclude each other; send one"
        raise InvalidRequest(text, parameter="conversation")
    if body.background and body.stream:
        raise InvalidRequest("what is answered in the background is not streamed; send one", parameter="background")
    if body.background and body.store is False:
        raise InvalidRequest("what is answered in the background must be kept; leave store out", parameter="store")
    return body
