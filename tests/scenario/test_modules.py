"""Libraries for code in sandboxes: brought by one command, there at every level, and told to models."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import boot
from llmagent_os.config import load
from llmagent_os.core.errors import FetchFailed
from llmagent_os.core.records import GenerateRequest, ModelSpec, Ticket
from llmagent_os.gateway.console import checks
from llmagent_os.llm.script import Reply
from llmagent_os.llm.scripted import open_engine
from llmagent_os.monitoring.replay import replay
from llmagent_os.tools.code import code_tools
from llmagent_os.tools.sandbox import Job, Sandbox, SandboxSettings, levels, modules
from llmagent_os.tools.sandbox.levels import trouble
from tests.stand_ins.shell import COMMAND

PLOTS = '''
"""As much of matplotlib as the sandbox knows of: figures that are open, and that they can be saved."""
import os

class Figure:
    def savefig(self, path):
        open(path, "wb").write(b"\\x89PNG\\r\\n" + os.environ["MPLBACKEND"].encode())

open_ones = []

def plot(*values):
    open_ones.append(len(open_ones) + 1)

def get_fignums():
    return open_ones

def figure(number):
    return Figure()

def savefig(path):
    Figure().savefig(path)
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for libraries, of this test's own."""
    monkeypatch.setenv("LLMAGENT_OS_SANDBOX", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def libraries(cache: Path) -> Path:
    """Libraries as `set_up` leaves them: two modules, one of which has matplotlib's name, and a list of fonts."""
    folder = modules.place(levels.interpreter())
    (folder / "lib" / "matplotlib").mkdir(parents=True)
    (folder / "lib" / "abacus.py").write_text("__version__ = '1.2'\ndef beads(n): return 'o' * n\n")
    (folder / "lib" / "matplotlib" / "__init__.py").write_text("")
    (folder / "lib" / "matplotlib" / "pyplot.py").write_text(PLOTS)
    (folder / "fonts").mkdir()
    (folder / "fonts" / "fontlist-v1.json").write_text("[]")
    about = {"versions": {"abacus": "1.2", "matplotlib": "3.0"}, "size": 321, "lock": "another"}
    (folder / "modules.json").write_text(json.dumps(about | {"fonts": ["fontlist-v1.json"]}))
    return folder


@pytest.fixture(params=["bwrap", "landlock"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    if lacking := trouble(request.param):
        pytest.skip(lacking)
    made = Sandbox(SandboxSettings(level=request.param, warm=1))
    yield made
    await made.close()


async def printed(sandbox: Sandbox, code: str, folder: Path) -> str:
    done = await sandbox.run(Job(code, folder=folder))
    return done.stdout + done.stderr


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


# -- in the sandbox


@pytest.mark.usefixtures("libraries")
async def test_code_finds_them_and_can_only_read_them(sandbox: Sandbox, work: Path) -> None:
    assert await printed(sandbox, "import abacus\nabacus.beads(3)", work) == "'ooo'\n"
    spoil = "import abacus\ntry: open(abacus.__file__, 'a')\nexcept OSError as e: print('no:', e.errno)"
    assert (await printed(sandbox, spoil, work)).startswith("no:")
    beside = "import abacus, os\nfolder = os.path.dirname(abacus.__file__)\ntry: os.mkdir(folder + '/x')\n"
    assert (await printed(sandbox, beside + "except OSError as e: print('no:', e.errno)", work)).startswith("no:")
    assert list(work.iterdir()) == []


@pytest.mark.usefixtures("libraries")
async def test_a_shells_python_has_them_too_where_it_is_the_same(sandbox: Sandbox, work: Path) -> None:
    same = levels._same_python("/usr/local/bin:/usr/bin:/bin")
    done = await sandbox.run(
        Job(argv=("/bin/sh", "-c", "python3 -c 'import abacus; print(abacus.beads(2))'"), folder=work)
    )
    assert done.stdout == ("oo\n" if same else "")


@pytest.mark.usefixtures("libraries")
async def test_matplotlib_finds_a_place_to_write_and_its_fonts(sandbox: Sandbox, work: Path) -> None:
    code = "import os\nplace = os.environ['MPLCONFIGDIR']\nos.makedirs(place, exist_ok=True)\n"
    code += "open(place + '/x', 'w').close()\nprint(os.environ['MPLBACKEND'], sorted(os.listdir(place)))"
    fonts = "'fontlist-v1.json', " if sandbox.settings.level == "bwrap" else ""
    assert await printed(sandbox, code, work) == f"Agg [{fonts}'x']\n"


@pytest.mark.usefixtures("cache")
async def test_without_them_everything_is_as_it_was(sandbox: Sandbox, work: Path) -> None:
    code = "import os\nprint(*sorted(os.environ))\ntry: import abacus\nexcept ImportError: print('none')"
    names, none = (await printed(sandbox, code, work)).splitlines()
    assert {"HOME", "LANG", "PATH", "TMPDIR"} <= set(names.split()) <= {"HOME", "LANG", "PATH", "PWD", "TMPDIR"}
    assert none == "none"


async def test_a_sandbox_that_waited_while_they_came_is_not_used(
    sandbox: Sandbox, work: Path, cache: Path, request: pytest.FixtureRequest
) -> None:
    await sandbox.prepare(work)
    request.getfixturevalue("libraries")
    assert await printed(sandbox, "import abacus\nabacus.beads(1)", work) == "'o'\n"


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("import matplotlib.pyplot as plt\nplt.plot(1)", ["figure-1.png"]),
        ("import matplotlib.pyplot as plt\nplt.plot(1)\nplt.plot(2)\nNone", ["figure-1.png", "figure-2.png"]),
        ("import matplotlib.pyplot as plt\nplt.plot(1)\nplt.savefig('mine.png')", ["mine.png"]),
        ("import matplotlib.pyplot as plt", []),
        ("import matplotlib.pyplot as plt, os\nos.chdir('/tmp')\nplt.plot(1)", ["figure-1.png"]),
    ],
)
async def test_what_is_drawn_comes_out_saved_or_not(
    sandbox: Sandbox, tmp_path: Path, code: str, shown: list[str]
) -> None:
    result = await code_tools(sandbox, tmp_path)["python"].run({"code": code}, Ticket("k", home="default/a"))
    assert (result["exit"], result["stderr"]) == (0, "")
    assert [each["$file"]["name"] for each in result.get("files", ())] == shown
    kept = [each.name for each in (tmp_path / "default" / "a").iterdir() if each.name != ".cache"]
    assert kept == [name for name in shown if name == "mine.png"]


# -- what models are told


async def test_a_module_that_is_missing_is_told_with_those_that_are_there(
    tmp_path: Path, cache: Path, request: pytest.FixtureRequest
) -> None:
    if lacking := trouble("bwrap"):
        pytest.skip(lacking)
    python = code_tools(Sandbox(SandboxSettings(warm=0)), tmp_path)["python"]
    ticket = Ticket("k", home="default/a")
    before: Any = await python.run({"code": "import abacus"}, ticket)
    assert before["hint"].endswith("come with Python, such as csv, statistics")
    request.getfixturevalue("libraries")
    after: Any = await python.run({"code": "import scipy"}, ticket)
    assert after["hint"] == "there is no module scipy here; use those that come with Python, or abacus, matplotlib"


async def test_models_are_told_of_them_and_turns_from_before_replay(
    tmp_path: Path, models_folder: Path, cache: Path, request: pytest.FixtureRequest
) -> None:
    told: list[str] = []

    def script(wanted: GenerateRequest) -> Reply:
        told.append(wanted.tools[0].description)
        return Reply("done")

    config = load({"data": tmp_path / "data", "model": "scripted"})
    system = await boot(config)
    system.add_engine("script", await open_engine(ModelSpec("script", "scripted", options={"script": script})))
    await system.agents.create({"name": "coder", "model": "script", "tools": ["python"]})
    await system.agents.ask("coder", "hi", "s", 10)
    request.getfixturevalue("libraries")
    await system.agents.ask("coder", "hi again", "s", 10)
    assert "standard library, no pandas" in told[0] and "abacus and matplotlib are there" in told[1]
    assert "pictures that it shows, go to the user" in told[1].partition("\n")[0]
    await asyncio.sleep(0.1)  # its end is on its way to the journal
    kernel = system.kernel
    (pid,) = kernel.table.named("coder@s")
    report = await replay(kernel.store, pid, kernel.programs, kernel.door.table)
    assert (report.turns, report.diverged) == (2, None)
    assert "abacus" in system.tools["python"].told  # type: ignore[attr-defined]
    await system.close()


# -- bringing them


def wheel(folder: Path, code: str = "__version__ = '2.0'") -> Path:
    """A package `counting` 2.0 as a wheel, and a lock that pins it."""
    path = folder / "counting-2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("counting/__init__.py", code)
        archive.writestr("counting-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: counting\nVersion: 2.0\n")
        archive.writestr(
            "counting-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("counting-2.0.dist-info/RECORD", "")
    lock = folder / "lock.txt"
    lock.write_text(f"counting @ {path.as_uri()} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n")
    return lock


async def test_they_are_brought_tried_and_there_at_once(sandbox: Sandbox, cache: Path, work: Path) -> None:
    said: list[str] = []
    python = levels.interpreter()
    done = modules.set_up(python, said.append, wheel(work.parent), ["counting"])
    assert done.versions == {"counting": "2.0"} and done.size > 0 and done == modules.found(python)
    assert not done.current  # they are of another lock than this release's
    assert await printed(sandbox, "import counting\ncounting.__version__", work) == "'2.0'\n"
    again = modules.set_up(python, said.append, wheel(work.parent, "__version__ = '2.1'"), ["counting"])
    assert again.versions == {"counting": "2.1"}
    assert [each.name for each in cache.iterdir()] == [again.folder.name]
    assert not (again.folder / "before").exists()
    if os.geteuid() == 0:
        assert all(each.stat().st_mode & 0o004 for each in again.folder.rglob("*"))


@pytest.mark.parametrize(
    ("code", "spoilt", "says"),
    [
        ("raise ImportError('no such CPU')", False, "do not work with .*: ImportError: no such CPU"),
        ("__version__ = '2.0'", True, "could not bring .*HASHES? .*DO NOT MATCH|could not bring .*hash"),
    ],
)
def test_what_cannot_be_used_is_told_and_leaves_what_was_there(
    cache: Path, tmp_path: Path, code: str, spoilt: bool, says: str
) -> None:
    python = levels.interpreter()
    first = modules.set_up(python, lambda _: None, wheel(tmp_path), ["counting"])
    lock = wheel(tmp_path, code)
    if spoilt:
        with zipfile.ZipFile(tmp_path / "counting-2.0-py3-none-any.whl", "a") as archive:
            archive.writestr("counting/more.py", "")
    with pytest.raises(FetchFailed, match=f"(?i){says}"):
        modules.set_up(python, lambda _: None, lock, ["counting"])
    assert modules.found(python) == first and [each.name for each in cache.iterdir()] == [first.folder.name]


SET_UP = """
import sys
from pathlib import Path
from llmagent_os.tools.sandbox import levels, modules
modules.set_up(levels.interpreter(), lambda text: print(text, flush=True), Path(sys.argv[1]), ["counting"])
"""


def test_an_interrupt_leaves_nothing_behind(cache: Path, tmp_path: Path) -> None:
    lock = wheel(tmp_path, "import time\ntime.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", SET_UP, str(lock)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("trying"):
                break
        assert list(cache.glob(".new-*"))
        running.send_signal(signal.SIGINT)
        assert running.wait(20) != 0
    assert list(cache.iterdir()) == []


def test_doctor_and_status_say_what_is_there(
    cache: Path, models_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert checks._libraries().mend == "llmagent-os sandbox setup"

    def status(*more: str) -> str:
        run = [COMMAND, "sandbox", "status", "--data", str(tmp_path), *more]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout

    assert "none but Python's own" in status()
    request.getfixturevalue("libraries")
    found = checks._libraries()
    assert (found.status, found.found) == ("ok", "abacus 1.2, matplotlib 3.0; 321 B")
    told = json.loads(status("--json"))
    assert told["libraries"]["versions"] == {"abacus": "1.2", "matplotlib": "3.0"} and not told["libraries"]["current"]


def test_the_lock_pins_every_package_by_hash() -> None:
    text = modules.LOCK.read_text()
    pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert {line.partition("==")[0] for line in pinned} >= set(modules.NAMES)
    assert all("==" in line for line in pinned) and text.count("--hash=sha256:") >= len(pinned)


# -- the real ones

CHART = """
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
table = pd.DataFrame({"fruit": ["apple", "pear"], "price": [3, 4]})
table.plot.bar(x="fruit", y="price")
plt.show()
print(np.arange(4).sum())
table["price"].mean()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_numpy_pandas_and_matplotlib_work_without_a_screen_and_a_network(cache: Path, tmp_path: Path) -> None:
    """About 60 MB from the package index."""
    await asyncio.to_thread(modules.set_up, levels.interpreter(), print)
    for level in ("bwrap", "landlock"):
        if trouble(level):  # type: ignore[arg-type]
            continue
        tools = code_tools(Sandbox(SandboxSettings(level=level, warm=0)), tmp_path / level)  # type: ignore[arg-type]
        done: Any = await tools["python"].run({"code": CHART}, Ticket("k", home="default/a"))
        assert (done["exit"], done["stdout"], done["stderr"]) == (0, "6\nnp.float64(3.5)\n", ""), done
        (picture,) = done["files"]
        assert picture["$file"]["mime"] == "image/png" and len(picture["$file"]["data"]) > 1000
