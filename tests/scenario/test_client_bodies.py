"""What clients of OpenAI's API really send: nulls, echoes of other servers' answers, odd values, broken JSON.

Each is answered in the same way by the scripted engine and by a real one.
"""

from __future__ import annotations

import asyncio
import copy
import random
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Message, ToolCall
from llmagent_os.gateway.bodies import ChatBody, CompletionBody, EmbeddingsBody, read
from llmagent_os.gateway.responses_bodies import ResponsesBody
from llmagent_os.gateway.responses_items import messages
from tests.stand_ins.gateway import Gate, gate, user

CHAT, RAW, RESPONSES, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"
HI = user("hi there")
PLAIN: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HI, "max_tokens": 4},
    RAW: {"prompt": "one two", "max_tokens": 4},
    RESPONSES: {"input": "hi there", "max_output_tokens": 4},
    VECTORS: {"input": "hi there"},
}
BODIES = {CHAT: ChatBody, RAW: CompletionBody, RESPONSES: ResponsesBody, VECTORS: EmbeddingsBody}
LOOK_UP = {"name": "look_up", "description": "Look a word up", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": LOOK_UP}]


@pytest.fixture(params=["scripted", pytest.param("tiny", marks=[pytest.mark.model, pytest.mark.timeout(300)])])
async def api(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """A system whose `default` is the model of the round."""
    folder = request.getfixturevalue("tiny_model").parent if request.param == "tiny" else tmp_path / "models"
    monkeypatch.setenv("LLMAGENT_OS_MODELS", str(folder))
    async with gate(tmp_path / "data", model=request.param) as found:
        yield found


def chat(*messages: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
    return CHAT, {"max_tokens": 4, **more, "messages": [*messages] or HI}


def said(**more: Any) -> tuple[str, dict[str, Any]]:
    """A conversation whose assistant's message carries more than text."""
    return chat(*HI, {"role": "assistant", "content": "Hello!", **more}, *user("And now?"))


def called(arguments: Any, result: Any = "none", **more: Any) -> tuple[str, dict[str, Any]]:
    """A conversation in which a tool was called."""
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": arguments}, **more}
    spoken = {"role": "assistant", "content": None, "tool_calls": [call]}
    return chat(*HI, spoken, {"role": "tool", "tool_call_id": "c1", "content": result}, *user("Go on."))


def with_(path: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return path, {**PLAIN[path], **more}


def part(*parts: Any) -> tuple[str, dict[str, Any]]:
    return chat({"role": "user", "content": [*parts]})


NULLS = {
    path: {name: None for name in cls.model_fields if name not in ("model", *PLAIN[path])}
    for path, cls in BODIES.items()
}

ANSWERED: dict[str, tuple[str, dict[str, Any]]] = {
    # null is as if not sent, wherever it stands
    **{f"nulls {path}": with_(path, **nulls) for path, nulls in NULLS.items()},
    "null, a field unknown here": with_(CHAT, made_up_by_somebody=None),
    "nulls in a message": chat({**HI[0], "name": None, "tool_calls": None, "tool_call_id": None}),
    "nulls in a tool": with_(CHAT, tools=[{**TOOLS[0], "function": {**LOOK_UP, "strict": None, "description": None}}]),
    "nulls in options of a stream": with_(CHAT, stream_options={"include_usage": None}),
    "nulls in a format": with_(CHAT, response_format={"type": "text", "json_schema": None}),
    "nulls in decoding": with_(CHAT, decoding={"strategy": None, "width": None}),
    "nulls in a format of a response": with_(RESPONSES, text={"format": None, "verbosity": None}),
    # what other models' answers left in a history
    **{f"echo {name}": said(**{name: value}) for name, value in {
        "reasoning_content": "\n", "reasoning": {"text": "hm"}, "reasoning_details": [{"type": "x"}], "thinking": "hm",
        "thinking_blocks": [{}], "cache_control": {"type": "ephemeral"}, "provider_specific_fields": {"x": 1},
        "extra_content": {"x": 1}, "images": [], "audio": {"id": "a"}, "annotations": [{}], "refusal": None, "id": "m1",
        "prefix": False, "function_call": None, "tool_calls": [], "parsed": {"a": 1}, "created_at": 1, "model": "other",
        "citations": ["x"], "status": "done", "metadata": {"a": None}, "usage": {"total_tokens": 1},
    }.items()},
    "echo of a part": part({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}, "annotations": []}),
    "thoughts among parts": chat(*HI, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "Hello!"}]}, *user("So?")),
    "extra in a call": called("{}", index=0, extra_content={"google": {"thought_signature": "x"}}),
    "thoughts among items": with_(RESPONSES, input=[
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, *HI]),
    # calls whose arguments were no JSON, and other forms of calls
    **{f"arguments {text[:9]!r}": called(text) for text in (
        '{"word": ', "", "no JSON at all", "[1]", "null", '"text"', "{'word': 1}", '{"a": 1e999}', "[" * 300,
        '"\\ud800"',
    )},
    "arguments null": called(None), "arguments as an object": called({"word": "x"}),
    "arguments of a response": with_(RESPONSES, input=[
        {"type": "function_call", "call_id": "c", "name": "look_up", "arguments": '{"a": '},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "wrong"}]},
        *HI]),
    "a call without an id": chat(*HI, {"role": "assistant", "tool_calls": [{"function": {"name": "look_up"}}]},
                                 {"role": "tool", "content": "none"}),
    "a call as it once was": chat(*HI, {"role": "assistant", "function_call": {"name": "look_up", "arguments": "{}"}},
                                  {"role": "function", "name": "look_up", "content": "none"}),
    "a custom call": chat(*HI, {"role": "assistant", "tool_calls": [
        {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "x"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": ""}),
    # contents and orders
    **{f"content {content!r}": chat({"role": "user", "content": content}) for content in (
        "", None, [], ["hi"], {"type": "text", "text": "hi"}, [{"text": "hi"}], [{"type": "input_text", "text": "hi"}],
    )},
    "a result in parts": called("{}", [{"type": "text", "text": "none"}]),
    "a result that is null": called("{}", None),
    "an answer that was nothing": said(content=None),
    "a developer": chat({"role": "developer", "content": "Be brief."}, *HI),
    "instructions in the middle": chat(*HI, {"role": "system", "content": "Be brief."}, *HI),
    "two in a row": chat(*HI, *HI), "an answer first": chat({"role": "assistant", "content": "Hello!"}, *HI),
    "an answer last": chat(*HI, {"role": "assistant", "content": "Hello!"}),
    "a call without its result": chat(*HI, {"role": "assistant", "tool_calls": [
        {"id": "c1", "function": {"name": "look_up", "arguments": "{}"}}]}, *HI),
    "a result without its call": chat(*HI, {"role": "tool", "tool_call_id": "c9", "content": "none"}, *HI),
    # values that mean nothing, or something else than they say
    **{f"{name} {value!r}": with_(CHAT, **{name: value}) for name, value in (
        ("max_tokens", -1), ("max_completion_tokens", 4), ("top_k", -1), ("top_k", 0), ("top_k", 2**40), ("n", 1),
        ("stop", ""), ("stop", []), ("stop", ["", "x"]), ("stop", ["x"] * 20), ("seed", -1), ("seed", -7),
        ("seed", 2**62), ("logit_bias", {}), ("logit_bias", []), ("temperature", 0), ("temperature", 1e30), ("user", 7),
        ("metadata", {"a": "b"}), ("service_tier", "scale"), ("parallel_tool_calls", True), ("tool_choice", "auto"),
        ("tool_choice", "none"), ("tools", []), ("functions", []), ("function_call", "none"), ("modalities", ["text"]),
        ("reasoning_effort", "none"), ("reasoning_effort", "high"), ("reasoning", {"effort": "low"}),
        ("verbosity", "low"),
        ("store", True), ("prediction", {"type": "content", "content": "x"}), ("logprobs", False), ("top_logprobs", 0),
        ("presence_penalty", 0), ("stream_options", {"include_usage": True, "continuous_usage_stats": True}),
        ("chat_template_kwargs", {"enable_thinking": False}), ("keep_alive", "5m"), ("thinking", {"type": "disabled"}),
        ("repetition_penalty", 1e-30), ("prompt_cache_key", "x"),
    ) if (name, value) != ("max_tokens", -1)},
    "as many tokens as there is room": with_(CHAT, max_tokens=-1, stop=[" "]),
    "more tokens than 32 bits hold": with_(CHAT, max_tokens=2**40, stop=[" "]),
    **{f"raw {name} {value!r}": with_(RAW, **{name: value}) for name, value in (
        ("suffix", ""), ("best_of", 1), ("echo", False), ("logprobs", False), ("stop", None), ("n", None))},
    "choice of any": with_(CHAT, tools=TOOLS, tool_choice={"type": "auto"}),
    "choice of those allowed": with_(CHAT, tools=TOOLS, tool_choice={
        "type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": TOOLS}}),
    "extras of a tool": with_(CHAT, tools=[{**TOOLS[0], "cache_control": {"type": "ephemeral"}}]),
    "a schema beside its format": with_(CHAT, max_tokens=20, response_format={
        "type": "json_object", "schema": {"type": "object"}}),
    "a schema without a name": with_(CHAT, max_tokens=20, response_format={
        "type": "json_schema", "json_schema": {"schema": {"type": "object"}}}),
    "thinking of a response": with_(RESPONSES, reasoning={"effort": "medium", "summary": "auto"}, include=["x"]),
    "limits of a response": with_(RESPONSES, truncation="disabled", background=False, max_tool_calls=3),
    "links of a response to nothing": with_(RESPONSES, previous_response_id="", conversation=""),
    # whole bodies, field by field as their clients send them
    "Roo Code": with_(CHAT, stream_options={"include_usage": True}, thinking={"type": "enabled"},
                      reasoning={"effort": "medium", "exclude": True}, transforms=["middle-out"],
                      provider={"order": ["x"], "allow_fallbacks": False}),
    "Open WebUI": with_(CHAT, params={}, tool_servers=[], files=[], features={}, variables={"{{USER_NAME}}": "x"},
                        session_id="s", chat_id="c", id="", background_tasks={"title_generation": True},
                        model_item={"id": "m"}),
    "SillyTavern": with_(CHAT, top_a=0, min_p=0, top_k=0, repetition_penalty=1, use_fallback=False, logit_bias={},
                         include_reasoning=True, provider=None),
    "the page of llama.cpp": with_(CHAT, reasoning_format="auto", dynatemp_range=0, dynatemp_exponent=1, typ_p=1,
                                   typical_p=1, xtc_probability=0, xtc_threshold=0.1, repeat_last_n=64,
                                   dry_multiplier=0, dry_base=1.75, dry_allowed_length=2, dry_penalty_last_n=-1,
                                   samplers=["top_k"], timings_per_token=True, return_progress=True,
                                   backend_sampling=False),
    "LiteLLM": with_(CHAT, extra_body={}, litellm_params={"a": 1}, litellm_trace_id="x", fallbacks=[], caching=False,
                     guardrails=["pii"], api_base="x", **{"no-log": False}),
    "vLLM": with_(CHAT, use_beam_search=False, early_stopping=False, length_penalty=1.0, ignore_eos=False,
                  min_tokens=0, skip_special_tokens=True, spaces_between_special_tokens=True, stop_token_ids=[],
                  bad_words=[], include_stop_str_in_output=False, add_special_tokens=False, documents=[],
                  mm_processor_kwargs={}, return_token_ids=False, truncate_prompt_tokens=100),
    "others at rest": with_(CHAT, options={}, grammar="", json_schema={}, lora=[], raw=False, context=[], mirostat=0,
                            tfs_z=1, n_probs=0, do_sample=True, enable_search=False, data_sources=[], deferred=False,
                            plugins=[], safe_prompt=False, return_images=False, system="", instructions="", input=[]),
    "Continue": with_(RAW, raw=False, keep_alive=1800, stop=["<|endoftext|>", "```"], suffix=""),
    "NVIDIA's and Jina's": with_(VECTORS, input_type="query", truncate="END", task="x", late_chunking=False),
    # tools and calls in the words of other makers
    "a tool as responses have it": with_(CHAT, tools=[{"type": "function", **LOOK_UP, "strict": None}]),
    "a tool as Anthropic has it": with_(CHAT, tools=[{"name": "look_up", "input_schema": {"type": "object"}}]),
    "a result that is data": called("{}", {"found": None, "at": [1]}),
    "a result that is a list of data": called("{}", [{"id": 1}, {"id": 2}]),
    "parts of nothing": part(None, {"type": "text", "text": None}, {"type": "text", "text": "hi"}),
    "a text in a text": part({"type": "text", "text": {"value": "hi", "annotations": []}}),
}  # fmt: skip

REFUSED: dict[str, tuple[tuple[str, dict[str, Any]], str | None]] = {
    "a typo": (with_(CHAT, temprature=1), "temprature"),
    "a typo that says nothing": (with_(CHAT, strem=False), "strem"),
    "a chat in the words of responses": (with_(CHAT, input="hi"), "input"),
    "a sampler that is not here": (with_(CHAT, dry_multiplier=0.8), "dry_multiplier"),
    "a grammar": (with_(CHAT, grammar='root ::= "a"'), "grammar"),
    "a wrong schema beside its name": (
        with_(CHAT, tools=[{"name": "x", "input_schema": {"type": "odd"}}]), "tools[0].input_schema.type"),
    "no function": (with_(CHAT, tools=[{"type": "function", "function": None}]), "tools[0].function"),
    "a content of no kind": (chat({"role": "user", "content": {"x": 1}}), "messages[0].content.type"),
    "ids to embed": (with_(VECTORS, input=[[1, 2], [3]]), "input"),
    "a typo in a message": (chat({"role": "user", "contnt": "hi"}), "messages[0].contnt"),
    "a typo in a tool": (
        with_(CHAT, tools=[{"function": {"name": "x", "paramters": {}}}]), "tools[0].function.paramters"),
    "no such role": (chat({"role": "boss", "content": "hi"}), "messages[0].role"),
    "no role": (chat({"content": "hi"}), "messages[0].role"),
    "no message": (with_(CHAT, messages=[]), "messages"),
    "messages that are none": (with_(CHAT, messages="hi"), "messages"),
    "a message that is none": (with_(CHAT, messages=["hi"]), "messages[0]"),
    "content of numbers": (chat({"role": "user", "content": [5]}), "messages[0].content[0]"),
    "content that is a number": (chat({"role": "user", "content": 5}), "messages[0].content"),
    "a sound": (part({"type": "input_audio", "input_audio": {}}), "messages[0].content[0]"),
    "a part of no type": (part({"type": None, "x": 1}), "messages[0].content[0].type"),
    "a result of nothing": (chat(*HI, {"role": "tool", "content": "x"}), "messages[1].tool_call_id"),
    "a call of nothing": (chat(*HI, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}),
                          "messages[1].tool_calls[0].function"),
    "functions": (with_(CHAT, functions=[LOOK_UP]), "functions"),
    "a custom tool": (with_(CHAT, tools=[{"type": "custom", "custom": {"name": "x"}}]), "tools[0].type"),
    "sounds wanted": (with_(CHAT, modalities=["text", "audio"]), "modalities"),
    "a search wanted": (with_(CHAT, web_search_options={}), "web_search_options"),
    "a tool must be called, none is there": (with_(CHAT, tool_choice="required"), "tool_choice"),
    "another tool": (with_(CHAT, tools=TOOLS, tool_choice={"function": {"name": "x"}}), "tool_choice"),
    "no choice": (
        with_(CHAT, tools=TOOLS, tool_choice={"type": "function", "function": {}}), "tool_choice.function.name"),
    "no format": (with_(CHAT, response_format={"type": "xml"}), "response_format.type"),
    "no schema": (with_(CHAT, response_format={"type": "json_schema"}), "response_format.json_schema.schema"),
    "no tokens": (with_(CHAT, max_tokens=0), "max_tokens"),
    "no answers": (with_(CHAT, n=0), "n"),
    "hot": (with_(CHAT, temperature="hot"), "temperature"),
    "a bias for a word": (with_(CHAT, logit_bias={"word": 1}), "logit_bias"),
    "a huge bias": (with_(CHAT, logit_bias={"5": 1e30}), "logit_bias.5"),
    "stops without end": (with_(CHAT, stop=[str(n) for n in range(101)]), "stop"),
    "a stop without end": (with_(CHAT, stop="x" * 1001), "stop"),
    "over 64 bits": (with_(CHAT, seed=10**22), "seed"),
    "over 64 bits, deep down": (with_(CHAT, metadata={"a": [1, 10**22]}), "metadata.a[1]"),
    "a wish for more": (with_(RAW, suffix="end"), "suffix"),
    "token ids": (with_(RAW, prompt=[1, 2]), "prompt"),
    "nothing to go on from": (with_(RAW, prompt=""), "prompt"),
    "other vectors": (with_(VECTORS, dimensions=7), "dimensions"),
    "nothing to embed": (with_(VECTORS, input=[]), "input"),
    "no text to embed": (with_(VECTORS, input=[None]), "input[0]"),
    "only thoughts": (with_(RESPONSES, input=[{"type": "reasoning", "summary": []}]), "input"),
    "a search in a response": (
        with_(RESPONSES, tools=[{"type": "web_search"}], tool_choice="required"), "tool_choice",
    ),
}  # fmt: skip

UNREADABLE = {
    "nothing": b"",
    "half": b'{"messages": [',
    "no JSON": b"model=x&messages=y",
    "no object": b"[]",
    "text": b'"hi"',
    "null": b"null",
    "a number that is none": b'{"messages": [], "temperature": NaN}',
    "infinity": b'{"messages": [], "temperature": 1e999}',
    "no UTF-8": b'{"messages": "\xff\xfe"}',
    "half a letter": b'{"messages": "\\ud83d"}',
    "UTF-16": '{"messages": []}'.encode("utf-16"),
    "too deep": b'{"metadata": ' + b'{"a":' * 150 + b"1" + b"}" * 150 + b"}",
    "bottomless": b"[" * 100_000,
    "endless digits": b'{"seed": ' + b"9" * 5000 + b"}",
}

OURS = re.compile(r"[A-Z][a-z]+[A-Z]\w*|instance of|pydantic|literal\[|Value error")
"""Words that are of the inside of this system, or of its libraries."""


def told(answer: Any) -> dict[str, Any]:
    """The error of an answer in OpenAI's form."""
    error: dict[str, Any] = answer["error"]
    assert {"message", "type", "param", "code"} <= error.keys(), answer
    assert not OURS.search(error["message"].replace("OpenAI", "").replace("UTF-8", "")), error["message"]
    return error


async def test_what_clients_send_and_mean_is_answered(api: Gate) -> None:
    places, wrong = asyncio.Semaphore(4), {}

    async def one(name: str, path: str, body: dict[str, Any]) -> None:
        async with places:
            status, answer = await api.post(path, {"model": "default", **body})
        if status != 200:
            wrong[name] = status, answer

    await asyncio.gather(*(one(name, *sent) for name, sent in ANSWERED.items()))
    assert not wrong


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_answered_is_a_400_at_a_path_that_was_written(api: Gate, stream: bool) -> None:
    wrong = {}
    for name, ((path, body), param) in REFUSED.items():
        sent = {"model": "default", **body, **({"stream": True} if stream and path != VECTORS else {})}
        status, answer = await api.post(path, sent)
        if (status, told(answer)["param"]) != (400, param):
            wrong[name] = status, answer
    assert not wrong


@pytest.mark.parametrize("path", [*BODIES, "/v1/agents", "/v1/route"])
async def test_what_is_no_body_is_a_400(tmp_path: Path, models_folder: Path, path: str) -> None:
    kinds = ("application/json", "text/plain", "multipart/form-data; boundary=x", "application/json; charset")
    async with gate(tmp_path / "data") as api:
        for name, data in UNREADABLE.items():
            for kind in kinds:
                status, answer = await api.ask("POST", path, data=data, headers={"Content-Type": kind})
                assert status == 400 and told(answer), (name, kind, answer)


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/v1/embeddings", {"model": "default", "input": None}, "input"),
        ("/v1/embeddings", {"model": None, "input": "x"}, "model"),
        ("/v1/chat/completions", {"model": "default", "messages": None}, "messages"),
        (
            "/v1/chat/completions",
            {"model": "default", "messages": [{"role": None, "content": "x"}]},
            "messages[0].role",
        ),
        ("/v1/messages", {"model": "default", "max_tokens": 5, "messages": None}, "messages"),
    ],
)
async def test_what_is_sent_as_null_is_missing_where_it_was_written(
    tmp_path: Path, models_folder: Path, path: str, body: Any, where: str
) -> None:
    async with gate(tmp_path / "data") as api:
        status, said = await api.post(path, body)
        assert status == 400 and said["error"]["message"].startswith(where + " "), said
        assert said["error"].get("param", where) == where


async def test_json_is_read_whatever_it_is_called_and_what_stands_twice_counts_once(
    tmp_path: Path, models_folder: Path
) -> None:
    data = b'\xef\xbb\xbf{"model": "x", "messages": [{"role": "user", "content": "hi"}], "model": "scripted"}'
    async with gate(tmp_path / "data") as api:
        for kind in ("", "text/plain", "application/x-www-form-urlencoded"):
            status, answer = await api.ask("POST", CHAT, data=data, headers={"Content-Type": kind})
            assert (status, answer["model"]) == (200, "scripted"), answer


async def test_the_other_routes_tell_it_in_the_same_words(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        for method, path, body, param in (
            ("POST", "/v1/agents", {"name": "x", "promt": "y"}, "promt"),
            ("POST", "/v1/agents", {"name": "x", "sampling": {"stop": [5]}}, "sampling.stop.0"),
            ("POST", "/v1/agents", ["x"], None),
            ("POST", "/v1/agents/assistant/messages", {"body": {"messages": [5]}}, "messages.0"),
            ("POST", "/v1/route", {"model": "scripted", "messages": [5]}, "messages[0]"),
            ("GET", "/v1/processes?limit=many", None, "limit"),
        ):
            status, answer = await api.ask(method, path, json=body)
            assert (status, told(answer)["param"]) == (400, param), answer
        status, answer = await api.get("/v1/models/none")
        assert (status, told(answer)["code"], answer["error"]["type"]) == (404, "model_not_found", "not_found_error")


async def test_no_guess_leads_astray(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        for path, hint in {
            "/chat/completions": "did you mean '/v1/chat/completions'?", "/v1/respones": "did you mean '/v1/resp",
            "/v1/mcp": "see /openapi.json", "/v1/chat": "see /openapi.json", "/v1/tokenize": "see /openapi.json",
            "/sse": "see /openapi.json", "/v1/rerank": "see /openapi.json",
        }.items():  # fmt: skip
            status, answer = await api.post(path, {})
            assert status == 404 and hint in told(answer)["message"], answer
        for name, hint in {"input": "send `messages`", "api_kee": "available: "}.items():
            status, answer = await api.post(CHAT, {"model": "scripted", "messages": HI, name: "x"})
            assert status == 400 and hint in told(answer)["message"], answer


def bare(value: Any) -> Any:
    """A message with nothing but what a model is given of it."""
    known = {"role", "content", "tool_calls", "tool_call_id", "function", "name", "arguments", "text"}
    if isinstance(value, dict):
        return {name: bare(each) for name, each in value.items() if name in known and each is not None}
    return [bare(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [name for name in ANSWERED if name.startswith(("echo", "nulls /", "nulls in a m"))])
def test_what_is_left_out_changes_nothing(name: str) -> None:
    path, body = ANSWERED[name]
    plain = {field: bare(each) for field, each in body.items() if field in PLAIN[path]}
    assert asked(path, body) == asked(path, plain)


def asked(path: str, body: dict[str, Any]) -> Any:
    """What a model is asked."""
    found: Any = read(BODIES[path], codec.dumps({"model": "scripted", **body}))
    if path == RESPONSES:
        return found.request("m", messages(found.items))
    return found.texts() if path == VECTORS else found.requests()


def heard(path: str, body: dict[str, Any]) -> tuple[Message, ...]:
    """The messages that a model is given."""
    (request,) = read(ChatBody, codec.dumps({"model": "scripted", **body})).requests()
    return request.messages


def test_a_broken_call_is_told_as_it_was_written() -> None:
    call = heard(*called('{"word": '))[1].tool_calls[0]
    assert call == ToolCall("c1", "look_up", {"invalid_json": '{"word": '})
    assert heard(*called({"word": "x"}))[1].tool_calls[0].arguments == {"word": "x"}


def test_a_result_belongs_to_the_first_call_of_its_name_that_waits() -> None:
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in ("look_up", "other", "look_up")]
    results = [{"role": "function", "name": name, "content": "x"} for name in ("other", "look_up", "look_up")]
    _, asked, *answered = heard(*chat(*HI, {"role": "assistant", "tool_calls": calls}, *results))
    first, other, last = [call.id for call in asked.tool_calls]
    assert [message.tool_call_id for message in answered] == [other, first, last]
    assert {message.role for message in answered} == {"tool"} and len({first, other, last}) == 3


def test_parts_of_every_maker_are_one_text_or_a_picture() -> None:
    text = ["a", {"text": "b"}, {"type": "output_text", "text": "c"}, {"type": "refusal", "refusal": "d"}]
    assert heard(*part(*text))[0].content == "abcd"
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    pictures = [{"type": "image", "source": source}, {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": None}}]  # fmt: skip
    wanted = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert heard(*part(*pictures))[0].content == [wanted] * 3


def test_what_a_tool_gave_is_told_as_json_where_it_is_data() -> None:
    assert heard(*called("{}", {"at": [1]}))[2].content == '{"at":[1]}'
    assert heard(*called("{}", [{"id": 1}]))[2].content == '[{"id":1}]'
    assert heard(*called("{}", [{"type": "text", "text": "a"}, "b"]))[2].content == "ab"


def test_values_mean_what_their_clients_mean() -> None:
    def sampling(**more: Any) -> Any:
        return read(ChatBody, codec.dumps({"model": "scripted", "messages": HI, **more})).requests()[0].sampling.sent()

    nothing = {"max_tokens": -1, "seed": -1, "stop": ["", ""], "logit_bias": {}, "reasoning_effort": "none"}
    assert sampling(**nothing) == {}
    assert sampling(top_k=-1, temperature=0, stop="x") == {"top_k": 0, "temperature": 0, "stop": ("x",)}
    seeds = read(ChatBody, codec.dumps({"model": "m", "messages": HI, "seed": 2**63 - 1, "n": 2})).requests()
    assert [request.sampling.seed for request in seeds] == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("choice", "chosen", "offered"),
    [
        ("any", "required", 2),
        ({"type": "any"}, "required", 2),
        ({"type": "tool", "name": "look_up"}, "look_up", 2),
        ({"type": "function", "name": "look_up"}, "look_up", 2),
        ({"function": {"name": "look_up"}}, "look_up", 2),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": TOOLS}}, "required", 1),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look_up"}]}, "auto", 1),
    ],
)
def test_a_choice_in_the_words_of_every_maker(choice: Any, chosen: str, offered: int) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    body = {"model": "scripted", "messages": HI, "tools": [*TOOLS, other], "tool_choice": choice}
    (request,) = read(ChatBody, codec.dumps(body)).requests()
    assert (request.tool_choice, len(request.tools)) == (chosen, offered)
    flat = [{"type": "function", **LOOK_UP}, {"type": "function", "name": "other"}]
    response = read(ResponsesBody, codec.dumps({"model": "m", "input": "hi", "tools": flat, "tool_choice": choice}))
    request = response.request("m", messages(response.items))
    assert (request.tool_choice, len(request.tools)) == (chosen, offered)


def test_an_allowed_tool_that_is_not_there_is_told() -> None:
    allowed = {"type": "allowed_tools", "tools": [{"type": "function", "name": "look_down"}]}
    body = {"model": "m", "messages": HI, "tools": TOOLS, "tool_choice": allowed}
    with pytest.raises(InvalidRequest, match="allows 'look_down'; the tools are: look_up"):
        read(ChatBody, codec.dumps(body)).requests()


async def test_a_marked_beginning_is_gone_on_from(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        begun = {"role": "assistant", "content": "hi ", "prefix": True}
        _, answer = await api.post(CHAT, {"model": "scripted", "messages": [*HI, begun]})
        assert answer["choices"][0]["message"]["content"] == "there"


async def test_vectors_of_the_length_that_is_asked_for(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        status, answer = await api.post(VECTORS, {"model": "scripted", "input": "hi", "dimensions": 64})
        assert status == 200 and len(answer["data"][0]["embedding"]) == 64


JUNK: list[Any] = [
    None, True, 0, -1, 1.5, 10**25, "", "x", "\0", "auto", [], [None], ["x"], [[]], {}, {"type": None}, {"type": {}},
    {"type": ["x"]}, {"type": "text"}, {"type": "text", "text": 1}, {"name": "x"}, {"type": "function"},
    {"function": {}}, {"a": {"b": [{}]}}, 1e308,
]  # fmt: skip


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body."""
    for name, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, name)
        yield from places(each, (*place, name))


def spoilt(body: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A body with junk in one place."""
    found = copy.deepcopy(body)
    *way, last = draw.choice([*places(found)])
    inner: Any = found
    for step in way:
        inner = inner[step]
    inner[last] = copy.deepcopy(draw.choice(JUNK))
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_junk_in_any_place_is_no_fault_of_ours(tmp_path: Path, models_folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    pool = [*ANSWERED.values(), *(asked for asked, _ in REFUSED.values())]
    async with gate(tmp_path / "data") as api:
        for _ in range(150):
            path, body = draw.choice(pool)
            sent = spoilt({"model": "scripted", **body}, draw)
            status, answer = await api.post(path, sent)
            assert status in (200, 400, 404), (path, sent, answer)
            if status != 200:
                told(answer)
