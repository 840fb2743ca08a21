"""Tuning as a process of the system."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.finetune.job import checked
from llmagent_os.finetune.pipeline import remade
from llmagent_os.llm import LLM
from tests.stand_ins.gateway import Gate, gate
from tests.unit.test_ladder import opinions

ASKED = {"rows": [row.data() for row in opinions(200)], "model": "none", "minutes": 0.5, "only": ["linear"]}


async def started(api: Gate, **changed: Any) -> int:
    status, found = await api.post("/v1/processes", {"program": "tune", "args": {**ASKED, **changed}})
    assert status in (200, 201), found
    return int(found["pid"])


def workers(data: Path) -> list[str]:
    """The programs that work on jobs of a system."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(each.read_text())
    return [line for line in found if "boot.tuning" in line and str(data) in line]


async def ended(api: Gate, pid: int) -> dict[str, Any]:
    """A process once it has ended."""
    for _ in range(1000):
        status, found = await api.get(f"/v1/processes/{pid}")
        assert status == 200, found
        if found["status"] in ("done", "stopped"):
            return dict(found)
        await asyncio.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.timeout(300)
async def test_a_job_is_held_taken_up_after_a_stop_and_done(tmp_path: Path, models_folder: Path) -> None:
    async with gate(tmp_path / "data") as api:
        pid = await started(api)
        assert (await api.post(f"/v1/processes/{pid}/pause"))[0] == 200
        assert (await api.get(f"/v1/processes/{pid}"))[1]["status"] == "paused"
    async with gate(tmp_path / "data") as api:
        assert (await api.get(f"/v1/processes/{pid}"))[1]["status"] == "paused"
        assert (await api.post(f"/v1/processes/{pid}/resume"))[0] == 200
        done = await ended(api, pid)
        assert done["status"] == "done"
        made = remade(done["result"])
        assert made.found.chosen == "linear" and made.folder is not None
        with LLM.from_pretrained(str(made.folder)) as llm:
            answers = [llm.generate(row.text).text == row.output for row in made.test]
        assert sum(answers) >= 0.8 * len(answers)
        failing = await ended(api, await started(api, model="nowhere"))
        assert failing["status"] == "stopped"
        status, calls = await api.get(f"/v1/processes/{failing['pid']}/calls")
        assert status == 200 and "nowhere" in str(calls)


@pytest.mark.timeout(120)
async def test_its_budget_ends_it_and_the_program_at_work_and_nothing_is_left(
    tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagent_os.finetune.job.TIDIED", 0.2)
    async with gate(tmp_path / "data") as api:
        body = {"program": "tune", "args": {**ASKED, "rows": [row.data() for row in opinions(5000)]}}
        status, found = await api.post("/v1/processes", {**body, "budget": {"seconds": 1}})
        assert status == 201, found
        while not workers(tmp_path / "data"):
            await asyncio.sleep(0.05)
        done = await ended(api, found["pid"])
        assert done["status"] == "stopped" and "not answered within" in done["reason"]
        assert not workers(tmp_path / "data")
        while list((tmp_path / "data" / "tuning").iterdir()):  # rows of people stand in it
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("args", [None, {}, {"rows": []}, {"rows": ["x"]}, {"rows": [{"input": "a"}], "minutes": 0}])
def test_a_job_that_is_no_job_is_refused(args: Any) -> None:
    with pytest.raises(InvalidRequest):
        checked(args)
