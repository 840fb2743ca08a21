"""What clients send to /v1/messages, Anthropic's API: checked once, here, and turned into the core's records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from ..core import documents, schemas
from ..core.errors import InvalidRequest
from ..core.records import GenerateRequest, Json, Message, Sampling, ToolCall, ToolSpec
from .forms import refused
from .history import content
from .open_bodies import Open
from .reading import MESSAGES, ListOf

ATTRIBUTION = "x-anthropic-billing-header:"
"""What a block of Claude Code's system prompt begins with that is meant for Anthropic's accounts and for no model: it

differs with every request, so a model that read it would never find the prompt it has read before.
"""

REFUSED = {"compaction": "send the conversation as it is, or to an agent, which shortens it by itself"}
"""Fields of their API that change what an answer is, so that none can be given without them."""

THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Blocks of another model's answer that no other model is meant to read."""


class Turn(Open):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | ListOf[dict[str, Any]]


class Choice(Open):
    """Which tool is called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(Open):
    """A schema that the answer is held to."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Open):
    """What the answer is like."""

    format: OutputFormat | None = None
    effort: str | None = None


class MessagesBody(Open):
    """POST /v1/messages."""

    model: str = Field(min_length=1, description="the name of a model or of an agent, or one that `aliases` maps")
    messages: ListOf[Turn] = Field(min_length=1, max_length=MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    system: str | ListOf[dict[str, Any]] | None = None
    tools: ListOf[dict[str, Any]] | None = None
    tool_choice: Choice | None = None
    stop_sequences: ListOf[str] | None = None
    stream: bool | None = None
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1, description="0 and -1: any")
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    thinking: dict[str, Any] | None = Field(None, description="models here do not think aloud; left out")
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    cache_control: dict[str, Any] | None = Field(None, description="what was read before is found without it")
    context_management: dict[str, Any] | None = None
    mcp_servers: list[Any] | None = None
    container: Any = None
    diagnostics: Any = None
    inference_geo: str | None = None
    speed: str | None = None
    betas: list[str] | None = None
    thread: Any = Field(None, description="nothing is kept from one message to the next; refused")

    @property
    def single(self) -> bool:
        """Whether at most one tool is called."""
        return self.tool_choice is not None and bool(self.tool_choice.disable_parallel_tool_use)

    def request(self, model: str) -> GenerateRequest:
        """What a model or agent is asked."""
        if self.thread is not None:  # their SDK goes on without one when it is told so in these words
            details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
            raise refused("threads of messages", "thread", "send the whole conversation", details=details)
        messages = [*_system(self.system), *conversation(self.messages)]
        if not messages or all(message.role == "system" for message in messages):
            raise InvalidRequest("messages hold nothing that can be answered", parameter="messages")
        said, tools = "", tuple(self._tools())
        if messages[-1].role == "assistant":
            said = _beginning(messages.pop())
        return GenerateRequest(
            model, tuple(messages), tools=tools, tool_choice=self._choice(tools), schema=self._schema(),
            stream=bool(self.stream), said=said,
            sampling=Sampling(
                max_tokens=self.max_tokens, temperature=self.temperature, top_p=self.top_p,
                top_k=None if self.top_k == -1 else self.top_k,
                stop=tuple(filter(None, self.stop_sequences or ())) or None,
            ),
        )  # fmt: skip

    def left_out(self) -> list[str]:
        """What was sent and has no effect here, by the names of its fields and kinds."""
        asked = {
            "thinking": (self.thinking or {}).get("type", "disabled") != "disabled",
            "output_config.effort": self.output_config is not None and self.output_config.effort is not None,
            "context_management": bool((self.context_management or {}).get("edits")),
            "mcp_servers": bool(self.mcp_servers),
            "container": self.container is not None,
        }
        names = [name for name, sent in asked.items() if sent] + self.unknown()
        names += [f"tools: {tool.get('type')}" for tool in self.tools or () if not _ours(tool)]
        blocks = {str(block.get("type")) for turn in self.messages for block in _blocks(turn) if _skipped(block)}
        return names + [f"content: {kind}" for kind in sorted(blocks - THOUGHTS)]

    def _schema(self) -> Mapping[str, Json] | None:
        for wanted, where in (
            (self.output_format, "output_format"),
            (self.output_config.format if self.output_config else None, "output_config.format"),
        ):
            if wanted is not None:
                return schemas.meant(wanted.schema_, "the schema", f"{where}.schema")
        return None

    def _tools(self) -> Iterator[ToolSpec]:
        for i, tool in enumerate(self.tools or ()):
            if _ours(tool):
                yield _tool(tool, f"tools[{i}]")

    def _choice(self, tools: Sequence[ToolSpec]) -> str:
        choice = self.tool_choice
        if choice is None or choice.type in ("auto", "none"):
            return choice.type if choice else "auto"
        absent = {tool.get("name"): tool.get("type") for tool in self.tools or () if not _ours(tool)}
        if choice.type == "any":
            if absent and not tools:
                raise refused("any of the tools that were sent", "tool_choice", "offer one with an `input_schema`")
            return "required"
        if choice.name is None:
            raise InvalidRequest("tool_choice.name is missing", parameter="tool_choice.name")
        if choice.name in absent:
            what = f"tools of type {absent[choice.name]!r}, which {choice.name!r} is"
            raise refused(what, "tool_choice", "offer it with an `input_schema`, and run it in the client")
        return choice.name


class CountBody(MessagesBody):
    """POST /v1/messages/count_tokens."""


def conversation(turns: Sequence[Turn]) -> list[Message]:
    """The turns as messages; a tool's results come before what the user says in the same turn."""
    found: list[Message] = []
    calls: dict[str, str] = {}  # the names of tools by the ids of their calls
    for i, turn in enumerate(turns):
        where = f"messages[{i}].content"
        if turn.role == "system":
            _remind(found, _joined(turn.content, where))
            continue
        if isinstance(turn.content, str):
            found.append(Message(turn.role, turn.content))
            continue
        blocks = [(f"{where}[{j}]", block) for j, block in enumerate(turn.content)]
        found += [_result(block, at, calls) for at, block in blocks if block.get("type") == "tool_result"]
        made = tuple(_call(block, at) for at, block in blocks if block.get("type") == "tool_use")
        calls.update((call.id, call.name) for call in made)
        parts = _parts(blocks)
        if parts or made:
            found.append(Message(turn.role, content(parts, where), made))
    return found


def _beginning(last: Message) -> str:
    """What an answer is to go on from."""
    if last.tool_calls:
        raise InvalidRequest("the last message calls tools; send their results", parameter="messages")
    return last.text


def _system(given: str | Sequence[Mapping[str, Any]] | None) -> list[Message]:
    text = _joined(given or "", "system")
    return [Message("system", text)] if text else []


def _joined(given: str | Sequence[Mapping[str, Any]], where: str) -> str:
    """A prompt of blocks as one text."""
    if isinstance(given, str):
        return given
    texts = [_text(block, f"{where}[{i}]") for i, block in enumerate(given)]
    return "\n\n".join(text for text in texts if text and not text.startswith(ATTRIBUTION))


def _remind(found: list[Message], text: str) -> None:
    """Say what the system has to say within a conversation in the user's turn: models here know it at the beginning

    only, and an agent answers its user.
    """
    said = f"<system-reminder>\n{text}\n</system-reminder>"
    if found and found[-1].role == "user" and isinstance(found[-1].content, str):
        said = f"{found.pop().content}\n{said}"
    found.append(Message("user", said))


def _text(block: Mapping[str, Any], where: str) -> str:
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str):
        raise InvalidRequest(f"{where} is no text block", parameter=where)
    return text


def _blocks(turn: Turn) -> Iterator[Mapping[str, Any]]:
    """The blocks of a turn, and those in its tool results."""
    for block in turn.content if isinstance(turn.content, list) else ():
        yield block
        inner = block.get("content") if block.get("type") == "tool_result" else None
        yield from (each for each in inner if isinstance(each, dict)) if isinstance(inner, list) else ()


_READ = frozenset({"text", "image", "document", "search_result", "tool_use", "tool_result"})


def _skipped(block: Mapping[str, Any]) -> bool:
    return str(block.get("type")) not in _READ


def _parts(blocks: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Json]]:
    """The text and pictures of some blocks, as the core's messages have them."""
    found: list[dict[str, Json]] = []
    for where, block in blocks:
        kind = block.get("type")
        if kind == "text":
            found.append({"type": "text", "text": _text(block, where)})
        elif kind == "image":
            found.append({"type": "image_url", "image_url": {"url": _picture(block.get("source"), where)}})
        elif kind == "document":
            found.append({"type": "text", "text": _document(block, where)})
        elif kind == "search_result":
            text = content(_parts(_numbered(block.get("content"), where)), where)
            found.append({"type": "text", "text": f"{block.get('title')} ({block.get('source')})\n{text}\n"})
    return found


def _numbered(blocks: Any, where: str) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(blocks, str):
        return [(where, {"type": "text", "text": blocks})]
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise InvalidRequest(f"{where}.content is neither text nor a list of blocks", parameter=where)
    return [(f"{where}.content[{i}]", block) for i, block in enumerate(blocks)]


def _picture(source: Any, where: str) -> str:
    """A picture as a URL."""
    match source:
        case {"type": "base64", "media_type": str(media), "data": str(data)}:
            return f"data:{media};base64,{data}"
        case {"type": "url", "url": str(url)}:
            return url
        case {"type": "file"}:
            raise refused("files", f"{where}.source", "send the picture as base64 or by its URL")
    raise InvalidRequest(f"{where}.source is neither base64 nor a URL", parameter=f"{where}.source")


def _document(block: Mapping[str, Any], where: str) -> str:
    """A document's words, after its title and what is said about it."""
    head = [str(block[name]) for name in ("title", "context") if block.get(name)]
    match block.get("source"):
        case {"type": "text", "data": str(data)}:
            return "\n".join([*head, data, ""])
        case {"type": "content", "content": inner}:
            words = [part.get("text", "") for part in _parts(_numbered(inner, f"{where}.source"))]
            return "\n".join([*head, *words, ""])
    raise refused("documents other than text", f"{where}.source", "send the document's text")


def _call(block: Mapping[str, Any], where: str) -> ToolCall:
    match block:
        case {"id": str(identifier), "name": str(name), "input": dict(given)}:
            return ToolCall(identifier, name, documents.plain(given, f"{where}.input"))
    raise InvalidRequest(f"{where}: a tool_use has an id, a name, and an object as input", parameter=where)


def _result(block: Mapping[str, Any], where: str, calls: Mapping[str, str]) -> Message:
    """What a tool gave. That it failed is said in its words, for a model sees nothing else."""
    identifier = block.get("tool_use_id")
    if not isinstance(identifier, str):
        raise InvalidRequest(f"{where}.tool_use_id is missing", parameter=f"{where}.tool_use_id")
    given = block.get("content")
    said = content(_parts(_numbered("" if given is None else given, where)), where)
    text = said if isinstance(said, str) else ""
    if block.get("is_error") and not text.lower().startswith(("error", "<tool_use_error>")):
        said = f"Error: {text}" if isinstance(said, str) else [{"type": "text", "text": "Error:"}, *said]
    return Message("tool", said, tool_call_id=identifier, name=calls.get(identifier))


def _ours(tool: Mapping[str, Any]) -> bool:
    """Whether a tool is run by the client by the schema that it sent."""
    return tool.get("type") in (None, "custom")


def _tool(tool: Mapping[str, Any], where: str) -> ToolSpec:
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"{where}.name is missing", parameter=f"{where}.name")
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{where}.input_schema is missing: tool {name!r}", parameter=f"{where}.input_schema")
    return schemas.arguments(ToolSpec(name, str(tool.get("description") or ""), schema), f"{where}.input_schema")
