"""Files of workspaces over REST: the same files, paths and permissions as the agent's own file tools have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.stand_ins.gateway import Gate, gate
from tests.stand_ins.rivals import Tenant, tenant

TOOLS = ["read_file", "write_file"]
CLERK = "/v1/agents/clerk"


@pytest.fixture
async def api(tmp_path: Path, models_folder: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path / "data") as found:
        await found.post("/v1/agents", {"name": "clerk", "model": "scripted", "tools": TOOLS})
        yield found


async def put(api: Gate, path: str, data: bytes, agent: str = "clerk", **query: str) -> tuple[int, Any]:
    return await api.ask("PUT", f"/v1/agents/{agent}/files/{quote(path, '')}", data=data, params=query)


async def get(api: Gate, path: str, agent: str = "clerk", **query: str) -> tuple[int, Any]:
    return await api.get(f"/v1/agents/{agent}/files/{quote(path, '')}", params=query)


async def say(api: Gate, text: str, agent: str = "clerk", **more: Any) -> str:
    _, answer = await api.post(f"/v1/agents/{agent}/messages", {"text": text, **more})
    return str(answer["reply"]["text"])


async def test_what_a_person_puts_there_the_agent_reads_and_what_it_writes_they_get(api: Gate) -> None:
    assert await put(api, "data/notes.txt", b"call Ann") == (200, {"path": "data/notes.txt", "size": 8})
    for session in (None, "s"):
        said = await say(api, 'call read_file with {"path": "data/notes.txt"}', session=session)
        assert "call Ann" in said
    await say(api, 'call write_file with {"path": "out.csv", "text": "tea,4"}', session="s")
    status, listed = await api.get(f"{CLERK}/files")
    assert (status, listed["files"]) == (200, [{"path": "out.csv", "size": 5}, {"path": "data/notes.txt", "size": 8}])
    assert await get(api, "out.csv") == (200, b"tea,4")
    assert (await api.get("/v1/agents/clerk@s/files"))[1] == listed  # a session works in its agent's
    assert (await api.get(f"{CLERK}/files?folder=data"))[1]["files"] == listed["files"][1:]
    assert (await api.get(f"{CLERK}/files?pattern=*.csv"))[1]["files"] == listed["files"][:1]


async def test_bytes_stay_as_they_are_and_a_file_is_replaced_whole(api: Gate) -> None:
    every = bytes(range(256)) * 300
    for data in (every, b"", b'{"not": "parsed", "NaN": NaN}'):
        assert (await put(api, "a b/ü.bin", data))[1]["size"] == len(data)
        assert (await get(api, "a b/ü.bin")) == (200, data)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "link/secret", "inner", "a/.."])
async def test_no_path_leads_out(api: Gate, path: str) -> None:
    folder = api.system.config.data / "workspaces" / "default" / "clerk@owner"
    folder.mkdir(parents=True)
    (api.system.config.data / "secret").write_text("hidden")
    (folder / "link").symlink_to(api.system.config.data)
    (folder / "inner").symlink_to(api.system.config.data / "secret")
    status, answer = await get(api, path)
    assert status in (400, 403, 404) and b"hidden" not in str(answer).encode(), answer
    if path != "inner":  # a link in the workspace is replaced by the file, and not followed
        assert (await put(api, path, b"mine"))[0] in (400, 403)
    else:
        assert (await put(api, path, b"mine"))[0] == 200
    assert (api.system.config.data / "secret").read_text() == "hidden"


async def test_what_the_agent_may_not_touch_is_refused(api: Gate) -> None:
    await api.post("/v1/agents", {"name": "aide", "model": "scripted", "grant": {"paths": ["reports/*"]}})
    assert (await put(api, "reports/may.txt", b"ok", "aide"))[0] == 200
    status, answer = await put(api, "other.txt", b"no", "aide")
    assert status == 403 and "add it to `paths`" in answer["error"]["message"]
    (api.system.config.data / "workspaces" / "default" / "aide@owner" / "other.txt").write_text("there all the same")
    assert [file["path"] for file in (await api.get("/v1/agents/aide/files"))[1]["files"]] == ["reports/may.txt"]
    assert (await get(api, "other.txt", "aide"))[0] == 403


async def test_what_is_not_there_or_no_file_is_said(api: Gate) -> None:
    await put(api, "folder/a.txt", b"a")
    assert (await get(api, "b.txt"))[0] == 404
    assert (await api.get(f"{CLERK}/files?folder=nowhere"))[0] == 404
    assert (await get(api, "folder"))[0] == 400
    assert (await put(api, "folder", b"x"))[0] == 400
    assert (await put(api, "folder/a.txt/b.txt", b"x"))[0] == 400
    assert (await put(api, "x", b"x", "clark"))[0] == 404
    status, answer = await put(api, "big.bin", b"\0" * ((64 << 20) + 1))
    assert status == 413, answer


async def test_a_workspace_is_its_persons_and_who_sees_people_sees_theirs(api: Gate) -> None:
    ann, bea = [await tenant(api, "default", name, "user") for name in ("ann", "bea")]
    await put(api, "mine.txt", b"the owner's")
    assert (await ann.ask("PUT", f"{CLERK}/files/mine.txt", "ann's"))[0] == 200
    assert (await bea.ask("GET", f"{CLERK}/files/mine.txt"))[0] == 404
    assert (await bea.ask("GET", f"{CLERK}/files/mine.txt?principal=ann"))[0] == 403
    assert (await get(api, "mine.txt", principal="ann"))[1] == b'"ann\'s"'
    assert (await put(api, "more.txt", b"for ann", principal="ann"))[0] == 200
    assert (await ann.ask("GET", f"{CLERK}/files/more.txt"))[1] == b"for ann"
    viewer = await tenant(api, "default", "vic", "viewer")
    assert (await viewer.ask("GET", f"{CLERK}/files"))[0] == 403
    await api.post("/v1/agents", {"name": "team", "model": "scripted", "shared": True})
    assert (await ann.ask("PUT", "/v1/agents/team/files/ours.txt", "x"))[0] == 200
    assert (await bea.ask("GET", "/v1/agents/team/files/ours.txt"))[0] == 200


async def test_putting_is_an_act_with_its_row_and_without_the_content(api: Gate) -> None:
    await put(api, "notes.txt", b"nobody else's business")
    owner = Tenant(api, {"key": api.running.key})
    gateway = next(
        p for p in (await owner.ask("GET", "/v1/processes"))[1]["processes"] if p["name"] == "service/gateway"
    )
    calls = (await owner.ask("GET", f"/v1/processes/{gateway['pid']}/calls?limit=1000"))[1]["calls"]
    (row,) = [call for call in calls if call["name"] == "files.put"]
    assert row["args"]["path"] == "notes.txt" and row["args"]["size"] == 22 and row["decision"]["key"] == "owner"
    assert "business" not in str(row)
