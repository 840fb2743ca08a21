"""The gateway in trouble: wrong keys and bodies, clients that vanish or do not read, crashes, taken ports."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.config import Config
from llmagent_os.core import codec
from llmagent_os.core.errors import InvalidRequest, PortTaken
from llmagent_os.core.records import Chunk, GenerateRequest, Generation, Message, ModelSpec
from llmagent_os.gateway.answering import follow
from llmagent_os.gateway.auth import ROUTES
from llmagent_os.gateway.client import Client, find
from llmagent_os.gateway.server import running
from llmagent_os.llm.scripted import ScriptedEngine
from llmagent_os.stores.backup import back_up
from tests.stand_ins.gateway import Gate, gate, user
from tests.stand_ins.kernels import until
from tests.stand_ins.rivals import BODIES, NOWHERE, filled

CHAT = "/v1/chat/completions"
ENDLESS = {"text": "word " * 20_000, "pace": 0.01}


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        yield found


def chat(model: str = "scripted", text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": user(text), **more}


def engine_is_free(api: Gate) -> bool:
    return not any(d.scheduler.running or d.scheduler.waiting for d in api.kernel.dispatchers.values())


# -- keys


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer sk-wrong", "Basic abc"])
@pytest.mark.parametrize("path", ["/v1/agents", "/metrics", "/openapi.json", "/nowhere"])
async def test_without_the_key_nothing_is_said(api: Gate, header: str, path: str) -> None:
    status, answer = await api.get(path, headers={"Authorization": header})
    assert status == 401 and "key" in answer["error"]["message"]
    assert str(api.system.config.data) not in str(answer) and "/key" not in str(answer)


async def test_the_key_is_its_owners_alone_and_stays(tmp_path: Path, models_folder: Path) -> None:
    keys = []
    for _ in range(2):
        async with gate(tmp_path / "data") as api:
            keys.append(api.running.key)
            for name in ("key", "server.json"):
                assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600
            assert find(tmp_path / "data").url == api.running.url
    assert keys[0] == keys[1] and len(keys[0]) > 40
    assert not (tmp_path / "data" / "server.json").exists()


async def test_the_journal_is_its_owners_alone_with_all_that_lies_beside_it(
    tmp_path: Path, models_folder: Path
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    before = os.umask(0)
    try:
        async with gate(data) as api:
            await api.post(CHAT, chat())
            beside = sorted(each.name for each in data.glob("journal.db*"))
            assert beside == ["journal.db", "journal.db-shm", "journal.db-wal"]
            assert {(data / name).stat().st_mode & 0o777 for name in beside} == {0o600}
            back_up(data, backup)
        for name in ("journal.db", "backup.json"):
            assert (backup / name).stat().st_mode & 0o777 == 0o600
        for name in ("journal.db", "journal.db.before-2"):
            (data / name).touch()
            (data / name).chmod(0o644)  # as earlier versions left them
        async with gate(data):
            for name in ("journal.db", "journal.db.before-2", "journal.db-wal"):
                assert (data / name).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


# -- names of this server, where no key is asked for


NAMES = {
    "evil.example": 403, "evil.example:{port}": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example": 403,
    "evil.example.": 403, "me@127.0.0.1": 403, "evil.example#@127.0.0.1": 403, "": 403, "a:b:c": 403,
    "xn--80ak6aa92e.com": 403, "node.example.org.evil.example": 403,
    "127.0.0.1": 200, "127.0.0.1:{port}": 200, "LOCALHOST:{port}": 200, "[::1]:{port}": 200, "10.0.0.7": 200,
    "box": 200, "box:80": 200, "box.local": 200, "pod.svc.cluster.local.": 200, "a.node.example.org": 200,
}  # fmt: skip


@pytest.mark.parametrize("path", ["/health/", "/", "/desktop/app.js"])
async def test_what_needs_no_key_is_answered_under_names_of_this_server_alone(
    tmp_path: Path, models_folder: Path, path: str
) -> None:
    async with gate(tmp_path / "data", names=["*.node.example.org"]) as api:
        port = api.running.url.rpartition(":")[2]
        for name, expected in NAMES.items():
            host = {"Host": name.format(port=port)}
            for method in ("GET", "HEAD"):
                status, answer = await api.ask(method, path, headers=host | {"Authorization": ""})
                assert status == expected, (name, method)
                if expected == 403 and method == "GET":
                    assert "`names` in config.yaml" in answer["error"]["message"] and "parts" not in answer
            status, _ = await api.ask("OPTIONS", path, headers=host)
            assert status == (204 if expected == 200 else 403)
            assert (await api.get("/v1/agents", headers=host))[0] == 200  # who has a key may come by any name


# -- bodies


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (chat("scriptd"), 404, "model_not_found", "did you mean 'scripted'?"),
        (chat("asistant"), 404, "model_not_found", "did you mean 'assistant'?"),
        (chat(temprature=1), 400, "unknown_parameter", "did you mean 'temperature'?"),
        (
            chat(tools=[{"type": "function", "function": {"name": "x", "paramters": {}}}]),
            400,
            "unknown_parameter",
            "did you mean 'parameters'?",
        ),
        (chat(max_tokens=1, max_completion_tokens=2), 400, "invalid_value", "differ"),
        (chat(functions=[{}]), 400, "unsupported_parameter", "use `tools`"),
        (chat(temperature="hot"), 400, "invalid_value", "temperature"),
        (chat(max_tokens=0), 400, "invalid_value", "max_tokens"),
        (chat(top_logprobs=2), 400, "invalid_value", "logprobs: true"),
        (chat(tool_choice="required"), 400, "invalid_value", "no tools were sent"),
        ({"model": "scripted"}, 400, "missing_required_parameter", "messages"),
        (
            {"model": "scripted", "messages": [{"role": "tool", "content": "x"}]},
            400,
            "missing_required_parameter",
            "tool_call_id",
        ),
        (
            {"model": "scripted", "messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            400,
            "unsupported_parameter",
            "input_audio",
        ),
    ],
)
async def test_a_wrong_body_is_named(api: Gate, body: Any, status: int, code: str, says: str) -> None:
    for stream in (False, True):
        found, answer = await api.post(CHAT, body | {"stream": stream})
        assert (found, answer["error"]["code"]) == (status, code)
        assert says in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"model": "scripted", "input": [{"type": "web_search_call"}]}, "empty"),
        (
            {"model": "scripted", "input": "x", "tools": [{"type": "web_search"}], "tool_choice": "required"},
            "tools of type 'web_search'",
        ),
        ({"model": "scripted", "input": "x", "prompt": {"id": "p"}}, "`instructions` and `input` to /v1/responses"),
        ({"model": "scripted", "input": []}, "empty"),
        ({"model": "scripted", "input": [{"role": "user", "contnt": "x"}]}, "did you mean 'content'?"),
    ],
)
async def test_what_responses_do_not_take_is_named(api: Gate, body: Any, says: str) -> None:
    status, answer = await api.post("/v1/responses", body)
    assert status == 400
    assert says in answer["error"]["message"]


NO_JSON = [
    ("application/json", b"{"),
    ("application/json", b'{"name": "x",}'),
    ("application/json", b"\xff\xfe{\x00}\x00"),
    ("application/json; charset=latin-1", b'{"name": "\xe9"}'),
    ("application/json", b"[" * 100_000),
    ("application/vnd.api+json", b"nonsense"),
    ("application/x-www-form-urlencoded", b"name=x&model=scripted"),
    ("application/x-www-form-urlencoded", b"%ff=%zz&&&==="),
    ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n'),
    ("multipart/form-data", b"no boundary"),
    ("text/plain", b"hello"),
    ("", b"hello"),
    ("nonsense", b"{"),
]
TAKING = sorted(BODIES.keys() - {"PUT /v1/agents/{name}/files/{path:path}"})
OTHERS = sorted(ROUTES.keys() - BODIES.keys() - {"POST /v1/login", "DELETE /v1/login", "GET /v1/events"})


async def test_a_body_that_is_no_json_is_a_400_on_every_route_that_takes_one(api: Gate) -> None:
    for route in [*TAKING, *OTHERS]:
        method, path, _ = filled(route, NOWHERE)
        for kind, data in NO_JSON:
            status, answer = await api.ask(method, path, data=data, headers={"Content-Type": kind})
            assert status == 400 if route in TAKING else status < 500, (route, kind, status, answer)
            assert route in OTHERS or "there is no" not in answer["error"]["message"], (route, kind)


async def test_a_form_is_told_to_come_as_json(api: Gate) -> None:
    for route in ("POST /v1/agents", "PATCH /v1/agents/{name}", "POST /v1/keys", "POST /v1/models"):
        method, path, _ = filled(route, NOWHERE)
        for kind, data in [each for each in NO_JSON if "form" in each[0]]:
            status, answer = await api.ask(method, path, data=data, headers={"Content-Type": kind})
            assert (status, answer["error"]["param"]) == (400, None), (route, kind)
            assert answer["error"]["message"] == "send JSON, with the header `Content-Type: application/json`"


async def test_what_is_no_json_is_refused(api: Gate) -> None:
    for path in (CHAT, "/v1/agents"):
        status, answer = await api.ask("POST", path, data=b"{", headers={"Content-Type": "application/json"})
        assert status == 400
        assert "JSON" in answer["error"]["message"]


async def test_a_name_that_does_not_fit_is_told_in_words(api: Gate) -> None:
    for method, path, body in (
        ("POST", "/v1/agents", {"name": "my agent", "model": "scripted"}),
        ("POST", "/v1/agents", {"name": "", "model": "scripted"}),
        ("POST", "/v1/processes", {"program": "agent", "name": "a/b"}),
        ("GET", "/v1/blobs/" + "0" * 32 + "?mime=png", None),
    ):
        status, answer = await api.ask(method, path, json=body)
        text = answer["error"]["message"]
        assert status == 400 and "such as" in text and not set("^$[]\\") & set(text), text
    with pytest.raises(InvalidRequest, match="such as research-helper"):
        await api.system.agents.create({"name": "my agent"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/v1/agents/asistant", None, 404, "did you mean 'assistant'?"),
        ("POST", "/v1/agents", {"name": "x", "promt": "y"}, 400, "did you mean 'prompt'?"),
        ("POST", "/v1/agents", {"name": "x", "sampling": {"temprature": 1}}, 400, "did you mean 'temperature'?"),
        ("POST", "/v1/agents", {"name": "x", "sampling": {"temperature": "hot"}}, 400, "sampling.temperature"),
        ("POST", "/v1/agents", {"name": "x", "budget": {"tokns": 1}}, 400, "did you mean 'tokens'?"),
        ("POST", "/v1/agents", {"name": "assistant"}, 409, "there is an agent named"),
        ("POST", "/v1/agents/assistant/messages", {"txt": "x"}, 400, "did you mean 'text'?"),
        ("POST", "/v1/agents/assistant/messages", {}, 400, "either text or body"),
        ("GET", "/v1/processes?limt=3", None, 400, "did you mean 'limit'?"),
        ("GET", "/v1/processes/999", None, 404, "999"),
        ("GET", "/v1/tasks/none", None, 404, "none"),
        ("GET", "/v1/agent", None, 404, "did you mean '/v1/agents'?"),
        ("PUT", "/v1/agents", None, 405, "not offered"),
        ("GET", "/v1/chat/completions", None, 405, "not offered"),
        ("POST", "/v1/models", {"name": "m", "engine": "opnai"}, 404, "did you mean 'openai'?"),
    ],
)
async def test_what_rest_does_not_know_is_named(
    api: Gate, method: str, path: str, body: Any, status: int, says: str
) -> None:
    found, answer = await api.ask(method, path, json=body)
    assert found == status
    assert says in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"$stop": True}, "a message to an agent is text"),
        ({"text": 5}, "text"),
        ({"messages": 5}, "messages"),
        ({"messages": [5]}, "messages.0"),
        ({"messages": [{"content": "x"}]}, "role"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "text"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [5]}]}, "tool_calls"),
        ({"text": "x", "options": 5}, "options"),
        ({"text": "x", "options": {"schema": 5}}, "schema"),
        ({"text": "x", "options": {"sampling": {"temprature": 1}}}, "did you mean 'temperature'?"),
        ({"text": "x", "options": {"sampling": {"temperature": "hot"}}}, "sampling.temperature"),
        ({"text": "x", "options": {"sampling": {"stop": [5]}}}, "sampling.stop"),
    ],
)
async def test_a_message_that_no_agent_understands_is_refused_and_fails_nobody(api: Gate, body: Any, says: str) -> None:
    await api.post("/v1/agents", {"name": "clerk", "model": "scripted"})
    path, (pid,) = "/v1/agents/clerk/messages", (await api.post("/v1/agents/clerk/deploy"))[1]["pids"]
    for _ in range(5):  # a supervisor gives up sooner
        status, answer = await api.post(path, {"body": body, "wait": 5})
        assert status == 400 and says in answer["error"]["message"], answer
    assert (await api.post(path, {"text": "hi", "wait": 5}))[0] == 200
    assert api.kernel.table.named("clerk", "default") == [pid]


async def test_a_request_asks_for_so_many_answers_at_most(api: Gate) -> None:
    body = {"model": "scripted", "prompt": ["x"] * 10, "n": 103}
    status, answer = await api.post("/v1/completions", body)
    assert status == 400 and "1024 at most" in answer["error"]["message"]
    status, answer = await api.post("/v1/embeddings", {"model": "scripted", "input": ["x"] * 2049})
    assert status == 400 and "at most 2048" in answer["error"]["message"]


async def test_what_is_null_in_a_message_is_left_out(api: Gate) -> None:
    said = {"role": "user", "content": "hi", "tool_calls": None, "name": None}
    body = {"text": None, "messages": [said], "options": None}
    status, answer = await api.post("/v1/agents/assistant/messages", {"body": body, "wait": 5})
    assert status == 200 and answer["reply"]["text"] == "hi"


async def test_a_body_that_is_nested_too_deep_is_said_to_be(api: Gate) -> None:
    for depth in (200, 3000, 100_000):
        data, headers = b'{"body":' + b"[" * depth + b"]" * depth + b"}", {"Content-Type": "application/json"}
        status, answer = await api.ask("POST", "/v1/agents/assistant/messages", data=data, headers=headers)
        assert status == 400 and "body" in answer["error"]["message"], (depth, answer)


async def test_a_prompt_over_the_window(api: Gate) -> None:
    await api.script("tight", window=50)
    status, answer = await api.post(CHAT, chat("tight", "word " * 100))
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    await api.system.agents.create({"name": "short", "model": "tight"})
    status, answer = await api.post(CHAT, chat("short", "word " * 100))
    assert status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("EngineFailed", 502),
        ("EngineUnavailable", 503),
        ("DeadlineExceeded", 504),
        ("BudgetExceeded", 429),
        ("PermissionDenied", 403),
        ("Conflict", 409),
        ("JournalFull", 507),
        ("HandlerFailed", 500),
    ],
)
async def test_errors_have_their_status(api: Gate, error: str, status: int) -> None:
    await api.script("broken", {"error": {"type": error, "message": "as scripted"}})
    for stream in (False, True):
        found, answer = await api.post(CHAT, chat("broken", stream=stream))
        assert (found, answer["error"]["message"]) == (status, "as scripted")


# -- clients that leave or do not read


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["endless", "talker"])
async def test_a_vanished_client_frees_the_engine(api: Gate, model: str, stream: bool) -> None:
    await api.script("endless", ENDLESS, limit=1)
    await api.system.agents.create({"name": "talker", "model": "endless"})
    asking = asyncio.create_task(api.post(CHAT, chat(model, stream=stream)))
    await until(lambda: not engine_is_free(api))
    asking.cancel()
    await until(lambda: engine_is_free(api))
    await until(lambda: api.kernel.table.named_like("talker@") == [])


async def test_a_client_that_leaves_early_leaves_no_process(api: Gate) -> None:
    await api.script("endless", ENDLESS)
    await api.system.agents.create({"name": "talker", "model": "endless"})
    for step in range(20):
        asking = asyncio.create_task(api.post(CHAT, chat("talker")))
        await asyncio.sleep(step / 2000)
        asking.cancel()
    await until(lambda: api.kernel.table.named_like("talker@") == [])


async def test_a_client_that_does_not_read_is_dropped(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", patience=0.3) as api:
        await api.script("flood", {"text": "x" * 40_000_000, "piece": 25_000, "pace": 0.02})
        with socket.create_connection(("127.0.0.1", int(api.running.url.rpartition(":")[2]))) as client:
            client.setblocking(False)
            client.sendall(_request(api, chat("flood", stream=True)))
            await until(lambda: not engine_is_free(api))
            await until(lambda: engine_is_free(api))


def _request(api: Gate, body: Any) -> bytes:
    data = codec.dumps(body)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.running.key}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def test_a_client_that_stops_sending_is_dropped(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data", patience=0.2) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.running.url.rpartition(":")[2]))
        writer.write(_request(api, chat("scripted"))[:-5])
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()


async def test_one_failure_ends_the_other_answers(api: Gate) -> None:
    await api.script("fails", {"match": "b", "error": "no"}, ENDLESS, limit=4)
    status, _ = await api.post("/v1/completions", {"model": "fails", "prompt": ["a", "b"]})
    assert status == 502
    await until(lambda: engine_is_free(api))


async def test_a_watcher_that_leaves_does_not_stop_the_task(api: Gate) -> None:
    await api.script("slow", {"text": "one two three", "pace": 0.05})
    await api.system.agents.create({"name": "slowly", "model": "slow"})
    url, body = f"{api.running.url}/v1/agents/slowly/messages", {"text": "go", "stream": True}
    async with api.session.post(url, json=body, headers={"Idempotency-Key": "t1"}) as response:
        await response.content.readline()
    status, answer = await api.get("/v1/tasks/t1?wait=5")
    assert (status, answer["reply"]["text"]) == (200, "one two three")


async def test_a_caller_that_leaves_is_not_waited_for(api: Gate) -> None:
    await api.script("slow", {"text": "done", "delay": 2.0})
    await api.system.agents.create({"name": "slowly", "model": "slow"})
    asking = asyncio.create_task(
        api.post("/v1/agents/slowly/messages", {"text": "go"}, headers={"Idempotency-Key": "t2"})
    )
    await until(lambda: not engine_is_free(api))
    asking.cancel()
    await until(lambda: "task/t2" not in api.kernel.mail._watchers)
    assert not engine_is_free(api)
    assert (await api.get("/v1/tasks/t2?wait=5"))[1]["reply"]["text"] == "done"


async def test_a_stop_does_not_wait_for_streams(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        await api.script("endless", ENDLESS)
        address = ("127.0.0.1", int(api.running.url.rpartition(":")[2]))
        clients = [await asyncio.open_connection(*address) for _ in "ab"]
        for stream, (_, writer) in enumerate(clients):
            writer.write(_request(api, chat("endless", stream=bool(stream))))
        await until(lambda: sum(len(d.scheduler.running) for d in api.kernel.dispatchers.values()) == 2)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    whole, streamed = [await reader.read() for reader, _ in clients]
    assert b"503 Service Unavailable" in whole and b"stopping" in whole
    assert b"200 OK" in streamed and b"[DONE]" not in streamed
    for _, writer in clients:
        writer.close()


# -- health


class Mortal(ScriptedEngine):
    """An engine that can die."""

    dead = False

    def health(self) -> str | None:
        return "died" if self.dead else None


async def test_health_turns_red_when_an_engine_dies(api: Gate) -> None:
    engine = Mortal(ModelSpec("mortal", "scripted"))
    api.system.add_engine("mortal", engine)
    await api.post(CHAT, chat("mortal"))
    assert (await api.get("/health"))[0] == 200
    engine.dead = True
    status, answer = await api.get("/health")
    assert (status, answer["status"], answer["parts"]["engine mortal"]) == (503, "red", "died")


async def test_health_turns_red_when_a_worker_dies(api: Gate) -> None:
    async def works() -> None:
        raise RuntimeError("worn out")

    api.kernel.worker("cleaner", works())
    await until(lambda: any(api.kernel.health().values()))
    status, answer = await api.get("/health")
    assert (status, answer["status"]) == (503, "red")
    assert "worn out" in answer["parts"]["worker cleaner"]
    api.kernel.workers.clear()


# -- ports and crashes


async def test_a_taken_port_names_its_holder(tmp_path: Path, models_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as raised:
            async with running(Config(data=tmp_path, port=port, model="scripted")):
                pass
    assert raised.value.facts == {"port": port, "holder": os.getpid()}
    assert "--port" in raised.value.message
    assert not (tmp_path / "lock").exists()


SERVER = """
import asyncio, sys
from pathlib import Path
from llmagent_os.config import Config
from llmagent_os.gateway.server import serve
asyncio.run(serve(Config(data=Path(sys.argv[1]), port=0, model="slow"), lambda found: print(found.url, flush=True)))
"""

MODELS = """
models:
  slow: {engine: scripted, options: {rules: [{text: "done at last", delay: 0.6}]}}
"""


@pytest.fixture
def start(tmp_path: Path, models_folder: Path) -> Callable[[], subprocess.Popen[str]]:
    models_folder.mkdir()
    (models_folder / "models.yaml").write_text(MODELS)

    def started() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SERVER, str(tmp_path / "data")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline().startswith("http://127.0.0.1:")
        return server

    return started


async def test_an_accepted_task_survives_a_kill(start: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    server = start()
    address = find(tmp_path / "data")
    async with Client(address.url, address.key) as client:
        task = (await client.post("/v1/agents/assistant/messages", {"text": "hi", "wait": 0}))["task"]
    server.kill()
    server.wait()
    server = start()
    try:
        address = find(tmp_path / "data")
        async with Client(address.url, address.key) as client:
            answer = await client.get(f"/v1/tasks/{task}", wait=10)
        assert answer["reply"]["text"] == "done at last"
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(5) == 0
    assert not (tmp_path / "data" / "server.json").exists()


async def test_answers_that_are_broken_off_have_ended_when_that_is_said() -> None:
    ended: list[GenerateRequest] = []

    class Slow:
        async def answer(self, request: GenerateRequest, stream: Any, telling: Any) -> Generation:
            try:
                stream(Chunk("x"))
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                ended.append(request)
            raise AssertionError

    requests = [GenerateRequest("m", (Message("user", text),)) for text in ("one", "two")]
    async with aclosing(follow(Slow(), requests)) as batches:  # type: ignore[arg-type]
        async for _ in batches:
            break
    assert sorted(request.messages[0].text for request in ended) == ["one", "two"]
