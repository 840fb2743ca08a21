"""What other programs send, field by field as their sources and traffic have it; `MODEL` stands for the model's name.

Codex: `ResponsesApiRequest`, `ResponseItem` and `ToolSpec` of its Rust sources, and what its version 0.171 sent here.
Claude Code: its gateway protocol, and what its version 2.1.197 sent here. Cline: `openai.ts`, `openai-native.ts`,
`anthropic.ts`. Continue: `OpenAI.ts`. Aider: `Model.send_completion`, through LiteLLM. Open WebUI:
`routers/openai.py`. LibreChat: its default parameters. n8n: `createRequest` of the OpenAI node. LiteLLM:
`ResponsesAPIOptionalRequestParams`. Vercel's AI SDK: references to items.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MODEL = "MODEL"
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"


@dataclass(frozen=True)
class Sent:
    """A request of a client, and what of it is without effect here and has to be said in the answer."""

    client: str
    path: str
    body: dict[str, Any]
    left_out: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


def _schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TEXT = {"type": "string"}
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SHELL = {
    "type": "function", "name": "shell", "description": "Runs a command", "strict": False,
    "parameters": _schema(command={"type": "array", "items": TEXT}),
}  # fmt: skip
PATCH = {
    "type": "custom", "name": "apply_patch", "description": "Edits files",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" /.+/'},
}  # fmt: skip
GITHUB = {
    "type": "namespace", "name": "mcp__github", "description": "Tools in the mcp__github namespace.",
    "tools": [{"type": "function", "name": "search", "description": "Search", "strict": False,
               "defer_loading": True, "parameters": _schema(query=TEXT)}],
}  # fmt: skip
CODEX_TOOLS = [
    SHELL, PATCH, GITHUB, {"type": "web_search", "external_web_access": False}, {"type": "local_shell"},
    {"type": "image_generation", "output_format": "png"},
    {"type": "tool_search", "execution": "client", "description": "Find tools", "parameters": _schema(query=TEXT)},
]  # fmt: skip
CODEX_SKIPPED = ("tools: web_search", "tools: local_shell", "tools: image_generation", "tools: tool_search")


def said(text: str, role: str = "user") -> dict[str, Any]:
    """A message as Codex has it."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


CODEX_HISTORY = [
    said("<permissions>", "developer"),
    said("List the files."),
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "content": None,
     "encrypted_content": "gAAAA"},
    {**said("I look.", "assistant"), "id": "msg_1", "phase": "commentary",
     "internal_chat_message_metadata_passthrough": {"turn_id": "t"}},
    {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "c1"},
    {"type": "function_call_output", "call_id": "c1", "output": "a.txt"},
    {"type": "function_call", "name": "search", "namespace": "mcp__github", "arguments": '{"query":"x"}',
     "call_id": "c2"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "none"}]},
    {"type": "custom_tool_call", "call_id": "c3", "name": "apply_patch", "input": "*** Begin Patch", "status":
     "completed"},
    {"type": "custom_tool_call_output", "call_id": "c3", "output": "Done"},
    {"type": "local_shell_call", "call_id": "c4", "status": "completed", "action": {"type": "exec", "command": ["pwd"],
     "timeout_ms": None, "working_directory": None, "env": None, "user": None}},
    {"type": "local_shell_call_output", "call_id": "c4", "output": "/tmp"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
    {"type": "compaction", "encrypted_content": "gAAAA"},
    said("Reply with pong."),
]  # fmt: skip


def codex(**more: Any) -> dict[str, Any]:
    """What Codex sends at each step: no earlier response, all of the conversation, always a stream."""
    return {
        "model": MODEL, "instructions": "You code.", "input": [said("Reply with pong.")], "tools": [SHELL],
        "tool_choice": "auto", "parallel_tool_calls": False, "reasoning": None, "store": False, "stream": True,
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "0199-abc",
        "client_metadata": {"x-codex-installation-id": "1"}, **more,
    }  # fmt: skip


def claude_code(**more: Any) -> dict[str, Any]:
    """What Claude Code sends at each step."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>\nToday is Sunday.\n</system-reminder>\n"},
            {"type": "text", "text": "Reply with pong.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": "Available agent types for the Agent tool: none"}],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197.abc; cc_entrypoint=cli;"},
            {"type": "text", "text": "You are a coding agent.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "tools": [{"name": "Bash", "description": "Runs a command",
                   "input_schema": {"$schema": DRAFT, **_schema(command=TEXT)}}],
        "metadata": {"user_id": '{"device_id":"1","account_uuid":"","session_id":"1"}'}, "max_tokens": 64000,
        "stream": True, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, **more,
    }  # fmt: skip


CLAUDE_LEFT_OUT = ("thinking", "output_config.effort", "context_management")
CLAUDE_HEADERS = {
    "anthropic-version": "2023-06-01", "x-app": "cli", "user-agent": "claude-cli/2.1.77 (external, cli)",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "anthropic-dangerous-direct-browser-access": "true", "x-stainless-helper-method": "stream",
}  # fmt: skip
CLAUDE_HISTORY = [
    {"role": "user", "content": "Look."},
    {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "cat b"}}]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True, "content": [
            {"type": "text", "text": "<tool_use_error>no b</tool_use_error>"}]},
        {"type": "text", "text": "Reply with pong."}]},
]  # fmt: skip
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather of a city", "parameters": _schema(city=TEXT)},
}
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Reply with pong."}
N8N = {
    "model": MODEL, "input": [{"role": "user", "content": [{"type": "input_text", "text": "Reply with pong."}]}],
    "parallel_tool_calls": True, "store": True, "background": False,
}  # fmt: skip

SENT = [
    Sent("codex", RESPONSES, codex()),
    Sent("codex, tools of every kind", RESPONSES, codex(tools=CODEX_TOOLS), CODEX_SKIPPED),
    Sent("codex, settings", RESPONSES,
         codex(reasoning={"effort": "medium", "summary": "auto"}, text={"verbosity": "low"}, service_tier="priority",
               stream_options={"reasoning_summary_delivery": "sequential_cutoff"}, access_programs={"x": True}),
         ("reasoning", "text.verbosity", "access_programs")),
    Sent("codex, history", RESPONSES, codex(input=CODEX_HISTORY, tools=CODEX_TOOLS),
         (*CODEX_SKIPPED, "input: compaction", "input: web_search_call")),
    Sent("codex, a schema", RESPONSES, codex(text={"format": {
        "type": "json_schema", "strict": True, "name": "codex_output", "schema": _schema(pong=TEXT)}}, tools=[])),
    Sent("claude code", MESSAGES, claude_code(), CLAUDE_LEFT_OUT, CLAUDE_HEADERS),
    Sent("claude code, history", MESSAGES, claude_code(messages=CLAUDE_HISTORY), CLAUDE_LEFT_OUT, CLAUDE_HEADERS),
    Sent("claude code, is there a quota", MESSAGES, {
        "model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}],
        "metadata": {"user_id": "user_1"}}, (), CLAUDE_HEADERS),
    Sent("claude code, a title", MESSAGES, claude_code(
        tools=[], thinking={"type": "disabled"}, context_management=None,
        output_config={"format": {"type": "json_schema", "schema": _schema(title=TEXT)}}), (), CLAUDE_HEADERS),
    Sent("claude code, a search", MESSAGES, claude_code(
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}], tool_choice={"type": "auto"}),
        (*CLAUDE_LEFT_OUT, "tools: web_search_20250305"), CLAUDE_HEADERS),
    Sent("cline", CHAT, {"model": MODEL, "messages": [SYSTEM, USER], "temperature": 0, "stream": True,
                         "stream_options": {"include_usage": True}, "tools": [WEATHER], "tool_choice": "auto",
                         "parallel_tool_calls": False}),
    Sent("cline, anthropic", MESSAGES, {
        "model": MODEL, "max_tokens": 8192, "temperature": 0, "stream": True,
        "system": [{"text": "Be brief.", "type": "text", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Reply with pong.",
                                                   "cache_control": {"type": "ephemeral"}}]}]}),
    Sent("cline, responses", RESPONSES, {
        "model": MODEL, "instructions": "Be brief.", "input": [{"role": "user", "content": [
            {"type": "input_text", "text": "Reply with pong."}]}], "stream": True,
        "tools": [{**SHELL, "strict": True}], "reasoning": {"effort": "none", "summary": "auto"}}),
    Sent("continue", CHAT, {"messages": [SYSTEM, {"role": "user", "content": [
        {"type": "text", "text": "Reply with pong."}]}], "model": MODEL, "max_tokens": 16, "temperature": 0.5,
        "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "stream": True, "stop": ["zebra"]}, (),
        {"api-key": "x"}),
    Sent("continue, completion", "/v1/completions", {"prompt": "Reply with pong.", "model": MODEL, "max_tokens": 16,
                                                     "temperature": 0.5, "stream": True, "stop": ["zebra"]}),
    Sent("aider", CHAT, {"model": MODEL, "messages": [SYSTEM, USER, {"role": "assistant", "content": "Ok."}, USER],
                         "stream": True, "temperature": 0}),
    Sent("aider, a function", CHAT, {"model": MODEL, "messages": [SYSTEM, USER], "stream": False, "temperature": 0,
                                     "tools": [WEATHER], "tool_choice": {
                                         "type": "function", "function": {"name": "get_weather"}}}),
    Sent("open webui", CHAT, {"stream": True, "model": MODEL, "messages": [SYSTEM, USER],
                              "stream_options": {"include_usage": True}, "tools": [WEATHER]}),
    Sent("open webui, a title", CHAT, {"model": MODEL, "messages": [USER], "stream": False,
                                       "max_completion_tokens": 100}),
    Sent("open webui, responses", RESPONSES, {
        "model": MODEL, "stream": True, "instructions": "Be brief.", "tools": [{"type": "function", "name": "search",
                                                                              "parameters": {}, "strict": False}],
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look."}]},
                  {"type": "reasoning", "id": "rs_1", "summary": []},
                  {"type": "function_call", "call_id": "c1", "name": "search", "arguments": "{}", "id": "fc_1"},
                  {"type": "function_call_output", "call_id": "c1", "output": "ok"},
                  said("Found.", "assistant"), said("Reply with pong.")]}),
    Sent("librechat", CHAT, {"model": MODEL, "temperature": 1, "top_p": 1, "presence_penalty": 0,
                             "frequency_penalty": 0, "user": "LibreChat_User_ID", "stream": True,
                             "stream_options": {"include_usage": True}, "messages": [USER]}),
    Sent("n8n", RESPONSES, N8N),
    Sent("n8n, settings", RESPONSES, N8N | {
        "truncation": "auto", "service_tier": "default", "safety_identifier": "u", "prompt_cache_key": "k",
        "max_tool_calls": 3, "top_logprobs": 2, "include": ["message.output_text.logprobs"], "metadata": {"run": "1"},
        "text": {"verbosity": "medium", "format": {"type": "text"}}, "reasoning": {"effort": "low"}},
        ("reasoning", "truncation")),
    Sent("n8n, its own tools", RESPONSES, N8N | {"tools": [
        {"type": "web_search", "search_context_size": "medium"}, {"type": "local_shell"},
        {"type": "mcp", "server_label": "deepwiki", "server_url": "https://example.org", "require_approval": "never"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        ("tools: web_search", "tools: local_shell", "tools: mcp deepwiki", "tools: code_interpreter",
         "tools: file_search")),
    Sent("litellm", RESPONSES, {"model": MODEL, "input": "Reply with pong.", "metadata": None, "user": None,
                                "reasoning": None, "store": None, "truncation": "disabled", "tool_choice": None}),
    Sent("the ai sdk", RESPONSES, {"model": MODEL, "store": True, "tools": [{"type": "web_search_preview"}],
                                   "input": [{"role": "user", "content": [{"type": "input_text", "text": "pong"}]}]},
         ("tools: web_search_preview",)),
]  # fmt: skip
