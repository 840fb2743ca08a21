"""Faults of the first day: folders, keys, models and commands that are not as they should be, each one line."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.gateway.auth import load_key
from llmagent_os.gateway.console import checks
from llmagent_os.llm.known import damaged, known_model, path_of
from llmagent_os.stores.folder import Claim, unusable
from tests.stand_ins.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, "[]")


def test_a_data_folder_that_cannot_be_used_is_one_line_with_what_to_do(shell: Shell) -> None:
    shell.data.write_text("I am a file")
    for data in (shell.data, shell.data / "below"):
        said = shell.fails("up", "--model", "robot", "--port", "0", "--data", str(data))
        assert f"{shell.data} is no folder" in said and "--data" in said and said.count("\n") == 1
    assert "no system is running" in shell.fails("ps", "--data", str(shell.data / "below"))
    assert "cannot be used" in shell.fails("up", "--model", "robot", "--port", "0", "--data", "/proc/none")


@pytest.mark.parametrize(("number", "says"), [(28, "full"), (30, "only be read"), (13, "another user"), (5, "Input")])
def test_why_a_folder_cannot_be_used(tmp_path: Path, number: int, says: str) -> None:
    error = OSError(number, "Input/output error")
    assert says in unusable(tmp_path, error).message


def test_a_full_disk_is_told_before_anything_is_left_half(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "lock").symlink_to("/dev/full")
    with pytest.raises(InvalidRequest, match="full"):
        Claim(tmp_path)


def test_an_empty_key_file_is_no_key_and_an_odd_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    key = load_key(tmp_path)
    assert key.startswith("sk-") and load_key(tmp_path) == key
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load_key(tmp_path)


@pytest.mark.model
def test_a_model_file_that_was_cut_says_so_and_how_to_have_it_again(
    tmp_path: Path, tiny_model: Path, models_folder: Path
) -> None:
    model = known_model("tiny")
    assert model is not None
    models_folder.mkdir()
    cut = path_of(model)
    with tiny_model.open("rb") as whole:
        cut.write_bytes(whole.read(1 << 20))
    said = damaged(cut, model.name)
    assert "1,048,576 bytes of 98,362,432" in said and f"models pull {model.name}" in said
    changed = bytearray(tiny_model.read_bytes())
    changed[-1] ^= 1
    cut.write_bytes(changed)
    assert model.sha256 in damaged(cut, model.name)
    shutil.copy(tiny_model, cut)
    assert "as it should be" in damaged(cut, model.name)


def test_commands_of_readmes_are_added_tried_and_what_is_wrong_with_them_told(shell: Shell) -> None:
    odd = [sys.executable, str(Path(__file__).parents[1] / "stand_ins" / "odd_mcp.py")]
    added = shell.run("tools", "add", "--mcp", "--name", "odd", "ODD_KEY=s3cret", *odd)
    assert added.returncode == 0 and "odd_fine" in added.stderr and "outside the sandbox" in added.stderr
    config = shell.data / "config.yaml"
    assert config.stat().st_mode & 0o077 == 0 and "ODD_KEY=s3cret" in config.read_text()
    added = shell.run("tools", "add", "--mcp", "--name", "broken", *odd, "--name", "x")
    assert added.returncode == 0 and "missing: mcp broken" in added.stderr and "set ODD_KEY" in added.stderr
    assert "--name" in config.read_text()
    added = shell.run("tools", "add", json.dumps({"mcpServers": {"third": {"command": "/no/such", "args": ["-y"]}}}))
    assert added.returncode == 0 and "missing: mcp third" in added.stderr
    assert "odd_fine" in shell.ok("tools", "list")


def test_an_empty_yaml_is_none(shell: Shell) -> None:
    (shell.data / "agents").mkdir(parents=True)
    (shell.data / "config.yaml").touch()
    (shell.data / "agents" / "a.yaml").touch()
    (shell.home / "empty.yaml").touch()
    with shell.system():
        assert [each["name"] for each in shell.json("agents", "list")] == ["assistant"]
        assert "empty.yaml" in shell.fails("agents", "create", "empty.yaml")
    assert "empty.yaml" in shell.fails("tools", "add", "empty.yaml")


def test_an_extra_that_is_not_there_is_told_with_what_needs_it_and_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*checks._EXTRAS} <= {*metadata("llmagent-os").get_all("Provides-Extra", [])}
    monkeypatch.setitem(checks._EXTRAS, "mcp", ("no_such_module", "optional", "MCP servers"))
    (found,) = [check for check in checks.machine() if check.name == "extra mcp"]
    assert (found.status, found.found) == ("optional", "not installed: MCP servers")
    assert "pip install" in found.mend and "mcp" in found.mend
