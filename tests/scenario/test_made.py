"""Files that code makes are parts of its result, and of the reply; nothing else of the folder is."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.boot import boot
from llmagent_os.config import load
from llmagent_os.core.records import Ticket
from llmagent_os.core.trees import remove
from llmagent_os.tools import made as limits
from llmagent_os.tools.code import code_tools
from llmagent_os.tools.sandbox import Sandbox, SandboxSettings
from llmagent_os.tools.sandbox.levels import trouble
from tests.stand_ins.deep import deepen

PNG = b"\x89PNG\r\n\x1a\n a picture"


class Bench:
    """The tools `python` and `shell` of one level, and the folder that they work in."""

    def __init__(self, level: Any, root: Path) -> None:
        self.sandbox = Sandbox(SandboxSettings(level=level, warm=0))
        self.tools = code_tools(self.sandbox, root)
        self.folder = root / "default" / "a"
        self.folder.mkdir(parents=True)

    async def python(self, code: str, contained: bool = False) -> Any:
        done = await self.tools["python"].run({"code": code}, Ticket("k", home="default/a", contained=contained))
        assert done["exit"] == 0, done
        return done


@pytest.fixture(params=["bwrap", "landlock"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if lacking := trouble(request.param):
        pytest.skip(lacking)
    made = Bench(request.param, tmp_path)
    yield made
    await made.sandbox.close()


def files(result: Any) -> dict[str, tuple[str, bytes]]:
    """The files of a result: kind and content, by name."""
    told = [each["$file"] for each in result.get("files", ())]
    return {each["name"]: (each["mime"], base64.b64decode(each["data"])) for each in told}


async def test_what_is_new_or_written_to_is_a_part_and_what_is_only_there_is_not(bench: Bench) -> None:
    (bench.folder / "data").mkdir()
    for name in ("old.txt", "data/in.csv", "longer.txt"):
        (bench.folder / name).write_text("before")
    code = "open('data/out.csv', 'w').write('a,b'); open('longer.txt', 'a').write(', and after')"
    assert files(await bench.python(code + "; open('old.txt').read()")) == {
        "data/out.csv": ("text/csv", b"a,b"), "longer.txt": ("text/plain", b"before, and after"),
    }  # fmt: skip
    assert "files" not in await bench.python("print(open('data/out.csv').read())")
    done = await bench.tools["shell"].run({"command": "rm old.txt; date > when"}, Ticket("k", home="default/a"))
    assert files(done).keys() == {"when"}


async def test_what_is_hidden_or_a_cache_is_nobodys_result(bench: Bench) -> None:
    (bench.folder / "tool.py").write_text("x = 1")
    code = "import os, tool; os.makedirs('.config/a'); open('.config/a/b', 'w').write('x'); open('.rc', 'w').write('y')"
    assert "files" not in await bench.python(code)


async def test_links_pipes_and_other_names_are_no_files(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    (bench.folder / "there").write_text("x")
    code = f"import os; os.symlink({str(tmp_path / 'secret')!r}, 'link'); os.mkfifo('pipe'); os.link('there', 'other')"
    assert "files" not in await bench.python(code)


async def test_names_that_are_no_text_are_told_all_the_same(bench: Bench) -> None:
    done = await bench.python("import os; os.close(os.open(b'a\\xff.txt', os.O_CREAT | os.O_WRONLY))")
    assert files(done).keys() == {"a\\xff.txt"}
    kept = await bench.python("import os; os.close(os.open(b'b\\xff.txt', os.O_CREAT | os.O_WRONLY))", contained=True)
    assert kept["not_kept"] == ["b\\xff.txt"]


async def test_what_is_too_large_or_too_many_is_named(bench: Bench) -> None:
    code = f"open('large.bin', 'wb').write(b'x' * ({limits.LARGEST} + 1))\n"
    code += f"for n in range({limits.MOST} + 2): open(f'{{n:02}}.txt', 'w').write('x')"
    done = await bench.python(code)
    assert len(files(done)) == limits.MOST and done["more_files"] == ["10.txt", "11.txt", "large.bin"]


DRAWS = """
import os
os.makedirs('.shown', exist_ok=True)
open('.shown/figure-1.png', 'wb').write(PNG)
open('.shown/invoice.html', 'w').write('pay')
open('.shown/not.png', 'w').write('no picture')
""".replace("PNG", repr(PNG))


@pytest.mark.parametrize("contained", [False, True])
async def test_a_picture_that_is_shown_is_a_part_and_does_not_stay(bench: Bench, contained: bool) -> None:
    done = await bench.python(DRAWS, contained)
    assert files(done) == {"figure-1.png": ("image/png", PNG)} and "not_kept" not in done
    assert list(bench.folder.iterdir()) == []
    assert "files" not in await bench.python("print(1)", contained)


async def test_what_contained_code_writes_is_no_part(bench: Bench) -> None:
    done = await bench.python("open('out.html', 'w').write('pay'); 1 + 1", contained=True)
    assert done["not_kept"] == ["out.html"] and "files" not in done and done["stdout"] == "2\n"


async def test_a_link_in_the_place_of_what_is_shown_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "figure-1.png").write_bytes(PNG)
    done = await bench.python(f"import os; os.symlink({str(tmp_path / 'theirs')!r}, '.shown')")
    assert "files" not in done and list(bench.folder.iterdir()) == []
    assert (tmp_path / "theirs" / "figure-1.png").read_bytes() == PNG


async def test_what_a_call_that_was_cut_off_showed_is_not_the_next_ones(bench: Bench) -> None:
    (bench.folder / ".shown").mkdir()
    (bench.folder / ".shown" / "figure-1.png").write_bytes(PNG)
    assert "files" not in await bench.python("print(1)")


async def test_what_was_handed_over_to_the_codes_user_is_not_made_by_it(bench: Bench) -> None:
    """Where root runs the system, files that other tools wrote become nobody's before code runs."""
    (bench.folder / "notes.txt").write_text("by write_file")
    done = await bench.python("print(open('notes.txt').read())")
    assert "files" not in done and done["stdout"] == "by write_file\n"
    if os.geteuid() == 0:
        assert (bench.folder / "notes.txt").stat().st_uid != 0


async def test_the_reply_of_an_agent_has_them_and_keeps_their_bytes(tmp_path: Path, models_folder: Path) -> None:
    if lacking := trouble("bwrap"):
        pytest.skip(lacking)
    system = await boot(load({"data": tmp_path, "model": "scripted", "tools": {"sandbox": {"warm": 0}}}))
    try:
        await system.agents.create({"name": "coder", "tools": ["python"]})
        code = "open('out.csv', 'w').write('tea,4')"
        reply = await system.agents.ask("coder", f'call python with {{"code": "{code}"}}', timeout=20)
        (part,) = [part for part in reply["parts"] if part["type"] != "text"]
        assert (part["type"], part["name"], part["mime"]) == ("file", "out.csv", "text/csv")
        assert system.kernel.journal.file(part["blob"], "default", "owner") == b"tea,4"
    finally:
        await system.close()


async def test_folders_of_any_depth_break_nothing(bench: Bench) -> None:
    deepen(bench.folder, 2500)
    try:
        done = await bench.python("open('out.txt', 'w').write('x'); open('d/new.txt', 'w').write('y')")
        assert files(done).keys() == {"out.txt", "d/new.txt"}
        kept = await bench.python("import os; print(os.listdir()); open('d/more.txt', 'w').write('z')", contained=True)
        assert kept["not_kept"] == ["d/more.txt"] and kept["left_out"].startswith("1 of your folders: d/d/")
        made = await bench.python("import os\nfor n in range(3000): os.mkdir('e'); os.chdir('e')")
        assert "files" not in made
    finally:
        remove(bench.folder)


async def test_very_many_paths_are_told_in_part(bench: Bench) -> None:
    done = await bench.python("for n in range(500): open(f'{n:03}', 'w').write('x')", contained=True)
    assert done["not_kept"][:2] == ["000", "001"] and done["not_kept"][-1] == "and 300 more"
