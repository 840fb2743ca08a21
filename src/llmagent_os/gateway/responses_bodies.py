"""What clients send to /v1/responses: checked once, here, and turned into the core's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ..core import schemas
from ..core.errors import InvalidRequest, Unsupported
from ..core.records import GenerateRequest, Json, Message, Sampling, ToolCall
from .bodies import Drawn, Function, Harmless, Limit, StreamOptions, tool_spec
from .choices import ResponseChoice, offered
from .errors import MissingField
from .history import arguments, content
from .reading import Piece

LOGPROBS = "message.output_text.logprobs"


class Said(Piece):
    """A message, as a client writes it or as an answer gave it."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[str | dict[str, Any]] | dict[str, Any] = ""


class CalledItem(Piece):
    """A tool call that an answer made."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str | dict[str, Any] = ""


class OutputItem(Piece):
    """What a tool call gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[str | dict[str, Any]] | dict[str, Any] = ""


class Thought(Piece):
    """What another model thought aloud: its own, and left out."""

    type: Literal["reasoning"]


class FunctionTool(Function):
    """A function on offer."""

    type: Literal["function"]
    defer_loading: Literal[False] | None = None


class Format(Piece):
    """How the answer is shaped."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class Text(Piece):
    """What the answer's text is like; how many words it has (`verbosity`) is for the prompt to say."""

    format: Format | None = None


def _kind(item: Any) -> Any:
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return kind if isinstance(kind, str) else "message"


Item = Annotated[
    Annotated[Said, Tag("message")]
    | Annotated[CalledItem, Tag("function_call")]
    | Annotated[OutputItem, Tag("function_call_output")]
    | Annotated[Thought, Tag("reasoning")],
    Discriminator(_kind),
]


class ResponsesBody(Drawn, Harmless):
    """POST /v1/responses."""

    model: str = Field(min_length=1, description="the name of a model or of an agent")
    input: str | list[Item]
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ResponseChoice = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: Limit = None
    adapter: str | None = Field(None, description="a LoRA adapter of the model; empty: none")
    top_logprobs: int | None = Field(None, ge=0, le=20)
    include: list[str] | None = Field(
        None, description="what is not there, as thoughts that were none, is not included"
    )
    store: bool | None = Field(None, description="false: it cannot be a `previous_response_id`")

    def said(self) -> list[Message]:
        """The messages of the input."""
        return messages(self.input)

    def request(self, earlier: Sequence[Message], said: Sequence[Message]) -> GenerateRequest:
        """The request, with the instructions before the conversation."""
        instructions = [Message("system", self.instructions)] if self.instructions else []
        tools, choice = offered(
            [tool_spec(tool, f"tools[{i}]") for i, tool in enumerate(self.tools or ())], self.tool_choice
        )
        return GenerateRequest(
            self.model,
            (*instructions, *earlier, *said),
            sampling=Sampling(
                max_tokens=self.max_output_tokens, temperature=self.temperature, top_p=self.top_p, top_k=self.top_k,
                min_p=self.min_p, typical_p=self.typical_p, repetition_penalty=self.repetition_penalty,
                top_logprobs=self._logprobs(),
            ),
            tools=tools,
            tool_choice=choice,
            schema=self._schema(),
            stream=bool(self.stream), adapter=self.adapter,
        )  # fmt: skip

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


def refuse(data: Mapping[str, Json]) -> None:
    """Raise Unsupported by name for kinds of tools and input items that are not known here."""
    items = data.get("input")
    for i, item in enumerate(items if isinstance(items, list) else ()):
        kind = item.get("type", "message") if isinstance(item, dict) else "message"
        if kind not in (None, "message", "function_call", "function_call_output", "reasoning"):
            text = f"input[{i}]: items of type {kind!r} are not supported; send messages, calls and their outputs"
            raise Unsupported(text, parameter=f"input[{i}].type")
    tools = data.get("tools")
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind != "function":
            text = f"tools[{i}]: tools of type {kind!r} are not supported; offer it as a function, or ask an agent"
            raise Unsupported(text, parameter=f"tools[{i}].type")


def messages(given: str | Sequence[Said | CalledItem | OutputItem | Thought]) -> list[Message]:
    """The conversation; calls belong to the assistant's message before them, as chats have it."""
    if isinstance(given, str):
        return [Message("user", given)]
    if not given:
        raise InvalidRequest("input is an empty list", parameter="input")
    found: list[Message] = []
    for i, item in enumerate(given):
        where = f"input[{i}]"
        if isinstance(item, Said):
            role = "system" if item.role == "developer" else item.role
            found.append(Message(role, content(item.content, f"{where}.content")))
        elif isinstance(item, OutputItem):
            found.append(Message("tool", content(item.output, f"{where}.output"), tool_call_id=item.call_id))
        elif isinstance(item, CalledItem):
            call = ToolCall(item.call_id, item.name, arguments(item.arguments))
            last = found.pop() if found and found[-1].role == "assistant" else Message("assistant")
            found.append(replace(last, tool_calls=(*last.tool_calls, call)))
    return found
