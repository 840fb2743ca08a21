"""A running system stops what sends a canary or a key, or runs in circles; a person looks and lets it go on."""

from __future__ import annotations

import asyncio
import base64
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Grant, Json, Policy
from llmagent_os.core.sys import Sys
from llmagent_os.kernel.journal import ERASED
from llmagent_os.kernel.process import Program
from llmagent_os.plugins import hookimpl
from llmagent_os.security.anomaly import AnomalySettings
from llmagent_os.tools.toolkit import ToolKit
from tests.stand_ins.gateway import Gate, gate

CANARY = "zq7-Harbour-Lantern"
KEY = "AKIA" + "IOSFODNN7EXAMPLE"


class Post:
    """A plugin: a tool that posts, and a program that posts what it is told, each as often as it is told."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.errors: list[str] = []
        kit = self.kit = ToolKit()

        @kit.add(meanings={"to": "recipient"})
        def post(to: str, text: str) -> str:
            self.posted.append(text)
            return "posted"

        @kit.add(effect="write")
        def keep(text: str) -> str:
            return "kept"

    @hookimpl
    def tools(self) -> dict[str, Any]:
        return dict(self.kit)

    @hookimpl
    def programs(self) -> dict[str, Program]:
        return {"posts": Program(self.posts)}

    async def posts(self, sys: Sys, args: Json, state: Json) -> str:
        """Post."""
        for tool, given in args["calls"]:
            try:
                await sys.call(tool, given)
            except LLMAgentOSError as error:
                self.errors.append(error.message)
        return "over"


def watched(data: Path, plugin: Post, **settings: Any) -> AbstractAsyncContextManager[Gate]:
    return gate(data, plugin, anomalies=AnomalySettings(canaries=(CANARY,), **settings))


async def start(api: Gate, *calls: tuple[str, dict[str, str]]) -> int:
    args = {"calls": list(calls), "spec": {"name": "clerk"}}
    return await api.system.sys.spawn("posts", args, grant=Grant(policy=Policy(untrusted="allow")))


async def until(api: Gate, pid: int, status: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (found := (await api.get(f"/v1/processes/{pid}"))[1])["status"] != status:
            await asyncio.sleep(0.01)
    assert isinstance(found, dict)
    return found


def to(text: str) -> tuple[str, dict[str, str]]:
    return "post", {"to": "ann", "text": text}


@pytest.mark.parametrize("text", [f"so: {CANARY}!", base64.b64encode(f"it is {CANARY}.".encode()).decode()])
async def test_who_sends_a_canary_is_in_quarantine_until_released(tmp_path: Path, text: str) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin) as api:
        pid = await start(api, to("fine"), to(text), to("later"))
        found = await until(api, pid, "paused")
        assert "planted string" in found["reason"] and plugin.posted == ["fine"]
        other = await start(api, to("another process of the agent"))
        await until(api, other, "paused")
        _, seen = await api.get("/v1/anomalies")
        assert seen["quarantined"].keys() == {"clerk"}
        assert [(each["action"], each["cause"]) for each in seen["anomalies"]] == [
            ("quarantine", "canary"), ("pause", "quarantine")
        ]  # fmt: skip
        metrics = (await api.get("/metrics"))[1].decode()
        assert 'llmagent_os_anomalies_total{action="quarantine",cause="canary"} 1.0' in metrics
        calls = (await api.get(f"/v1/processes/{pid}/calls"))[1]["calls"]
        assert any("anomaly:canary" in (each["labels"] or "") for each in calls)
    async with watched(tmp_path, plugin) as api:
        assert (await api.get("/v1/anomalies"))[1]["quarantined"].keys() == {"clerk"}  # also after a restart
        assert (await api.ask("DELETE", "/v1/anomalies/clark"))[0] == 404
        assert (await api.ask("DELETE", "/v1/anomalies/clerk"))[0] == 204
        for each in (pid, other):
            assert (await api.post(f"/v1/processes/{each}/resume"))[0] == 200
            await until(api, each, "done")
        assert plugin.posted == ["fine", "later"]  # what was refused stays refused
        assert "anomalies release clerk" in plugin.errors[0]


async def test_a_key_does_not_go_out_but_may_be_kept(tmp_path: Path) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin) as api:
        pid = await start(api, ("keep", {"text": KEY}), to(f"the key: {KEY}"), to("later"))
        assert "secret key" in (await until(api, pid, "paused"))["reason"]
        assert (await api.get("/v1/anomalies"))[1]["quarantined"] == {}
        assert (await api.post(f"/v1/processes/{pid}/resume"))[0] == 200
        await until(api, pid, "done")
        assert plugin.posted == ["later"]


async def test_a_loop_is_paused_and_once_somebody_looked_it_goes_on(tmp_path: Path) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin, most={"again": 5}) as api:
        pid = await start(api, *(to("the same") for _ in range(12)))
        assert "again 6, over the limit of 5" in (await until(api, pid, "paused"))["reason"]
        assert len(plugin.posted) == 6
        assert (await api.post(f"/v1/processes/{pid}/resume"))[0] == 200
        await until(api, pid, "done")
        assert len(plugin.posted) == 11


async def seen(api: Gate, action: str) -> dict[str, Any]:
    """The first of its kind, once it is there: statistics come after the calls that they are about."""
    async with asyncio.timeout(20):
        while True:
            for each in (await api.get("/v1/anomalies"))[1]["anomalies"]:
                if each["action"] == action:
                    return dict(each)
            await asyncio.sleep(0.02)


async def test_a_turn_unlike_those_before_is_noted_and_goes_on(tmp_path: Path) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin, warm=5) as api:
        for number in range(6):
            await until(api, await start(api, to(f"letter {number}")), "done")
        pid = await start(api, *(to(f"circular {number}") for number in range(60)))
        await until(api, pid, "done")
        found = await seen(api, "note")
        assert (found["pid"], found["agent"]) == (pid, "clerk") and "is unusual" in found["reason"]
        assert len(plugin.posted) == 66
        metrics = (await api.get("/metrics"))[1].decode()
        assert 'llmagent_os_anomalies_total{action="note"' in metrics
        assert 'llmagent_os_calls_total{call="call",outcome="ok"} 66.0' in metrics


async def test_where_it_is_configured_statistics_pause_a_turn_at_its_next_call(tmp_path: Path) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin, warm=5, pause=4.0, most={"calls": 10_000}) as api:
        for number in range(6):
            await until(api, await start(api, to(f"letter {number}")), "done")
        pid = await start(api, *(to(f"circular {number}") for number in range(3000)))
        assert "is unusual" in (await until(api, pid, "paused"))["reason"]
        assert (await seen(api, "pause"))["pid"] == pid and len(plugin.posted) < 3000
        assert "look at `logs" in plugin.errors[0]


async def test_calls_of_no_sense_and_rows_without_content_stop_no_reader(tmp_path: Path) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin) as api:
        args = {"calls": [("post", 7), ("post", ["x"]), ([1], {}), ({}, None), ("nothing", {}), to("x" * 5000)],
                "spec": {"name": ["odd"]}}  # fmt: skip
        pid = await api.system.sys.spawn("posts", args, grant=Grant(policy=Policy(untrusted="allow")))
        await until(api, pid, "done")
        api.kernel.store.write([("erase.calls_of", (*ERASED, f"[{pid}]"))])
        api.kernel.feed.forget()  # as erasure does
        await until(api, await start(api, to("hello")), "done")
        await asyncio.sleep(0.3)
        parts = (await api.get("/health"))[1]["parts"]
        assert parts["worker metrics"] is parts["worker anomalies"] is None
        assert 'outcome="ok"} ' in (await api.get("/metrics"))[1].decode()


async def test_a_caller_from_outside_is_refused_and_nothing_is_paused(tmp_path: Path) -> None:
    plugin = Post()
    async with watched(tmp_path, plugin) as api:
        status, answer = await api.post("/v1/tools/post", {"arguments": {"to": "ann", "text": CANARY}})
        assert status == 403 and "ask again without it" in answer["error"]["message"], answer
        assert plugin.posted == []


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_pause_is_not_ended_by_the_user_that_it_was_meant_for(tmp_path: Path, waiting: bool) -> None:
    plugin = Post()
    async with watched(tmp_path / "data", plugin) as api:
        await api.post("/v1/agents", {"name": "bot", "model": "scripted", "tools": ["post"]})
        made = (await api.post("/v1/keys", {"roles": ["user"], "principal": "mallory"}))[1]
        user, path = {"Authorization": f"Bearer {made['key']}"}, "/v1/agents/bot/messages"
        leak = {"text": f'call post with {{"to": "x", "text": "{KEY}"}}', "session": "s", "wait": 0}
        await api.post(path, leak, headers=user | {"Idempotency-Key": "t1"})
        async with asyncio.timeout(20):
            while not (pids := api.kernel.table.named("bot@s")):
                await asyncio.sleep(0.01)
        await until(api, pids[0], "paused")
        if waiting:
            await api.post(path, {"text": "hello", "session": "s", "wait": 0}, headers=user)
        assert (await api.post(f"/v1/processes/{pids[0]}/resume", headers=user))[0] == 403
        assert (await api.ask("DELETE", "/v1/tasks/t1", headers=user))[0] == 204
        assert (await api.get("/v1/tasks/t1", headers=user))[0] == 502  # its caller gave up
        status, _ = await api.post(path, {"text": "hello again", "session": "s", "wait": 0.3}, headers=user)
        assert status == 202 and plugin.posted == []
        assert (await api.get(f"/v1/processes/{pids[0]}"))[1]["status"] == "paused"
        assert (await api.post(f"/v1/processes/{pids[0]}/resume"))[0] == 200  # somebody has looked
        assert (await api.post(path, {"text": "now", "session": "s"}, headers=user))[1]["reply"]["text"] == "now"
