"""The files that a call names: each is told with what is in it, and no other is."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from llmagent_os.tools.named import MOST, REST, NamedFiles

FILES = {
    "run.sh": "sh sub/step.sh\n", "sub/step.sh": "echo\n", "helper.py": "import data\n", "data.csv": "run.sh\n",
    "package/__init__.py": "", "my notes.txt": "x", "other.txt": "y",
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        (tmp_path / "default" / "clerk@ann" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "default" / "clerk@ann" / path).write_text(text)
    return tmp_path / "default" / "clerk@ann"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sh run.sh", {"run.sh", "sub/step.sh"}),  # and what that names
        ("cd sub && sh ./step.sh", {"sub/step.sh"}),
        ("import helper\nhelper.go()", {"helper.py"}),
        ("from package.inner import x", {"package/__init__.py"}),
        ("open('data.csv')", {"data.csv"}),  # it is no script: what stands in it is not run
        ("cat 'my notes.txt'", {"my notes.txt"}),
        ("cat other.* | sh", {"other.txt"}),
        ("other.txt", {"other.txt"}),
        ("echo hello", set()),
    ],
)
async def test_a_file_is_named_as_code_names_it(workspace: Path, text: str, names: set[str]) -> None:
    found = await NamedFiles(workspace.parents[1]).digests("default/clerk@ann", [text])
    assert found == {name: f"sha256:{sha256(FILES[name].encode()).hexdigest()}" for name in names}


async def test_a_link_is_told_as_one_and_a_folder_that_is_not_there_has_nothing(workspace: Path) -> None:
    (workspace / "run").symlink_to("run.sh")
    found = await NamedFiles(workspace.parents[1]).digests("default/clerk@ann", ["./run"])
    assert found["run"] == "a link to run.sh" and found["run.sh"].startswith("sha256:")
    assert await NamedFiles(workspace.parents[1]).digests("default/nobody@ann", ["./run"]) == {}


async def test_with_too_many_one_digest_stands_for_all(workspace: Path) -> None:
    for number in range(MOST + 1):
        (workspace / f"part{number}.txt").write_text("x")
    named, before = NamedFiles(workspace.parents[1]), dict[str, str]()
    for _ in range(2):
        found = await named.digests("default/clerk@ann", ["cat part*.txt run.sh"])
        assert REST in found and found != before
        before = found
        (workspace / "run.sh").write_text("something else")
