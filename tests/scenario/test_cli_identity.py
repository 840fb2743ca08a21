"""`keys` and `privacy` as a person meets them, and where secrets are found."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from llmagent_os.core.secrets import secret
from tests.stand_ins.shell import Shell


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("busy"), "- {match: hello, text: Hello.}\n")
    with shell.system():
        yield shell


def test_keys_are_minted_listed_and_revoked(busy: Shell) -> None:
    key = busy.ok("keys", "add", "--tenant", "acme", "--principal", "ann", "--role", "user", "--days", "1").strip()
    assert key.startswith("sk-") and len(key) > 40
    (listed,) = [json.loads(line) for line in busy.ok("keys", "list", "--json").splitlines()]
    assert (listed["tenant"], listed["principal"], listed["roles"]) == ("acme", "ann", ["user"])
    assert key not in busy.ok("keys", "list")
    assert "did you mean 'viewer'?" in busy.fails("keys", "add", "--role", "viewr")
    assert busy.run("keys", "revoke", listed["id"]).stderr == f"revoked: {listed['id']}\n"
    assert busy.ok("keys", "list", "--json") == ""
    assert f"no key {listed['id']!r}" in busy.fails("keys", "revoke", listed["id"])


def test_a_persons_data_is_exported_and_erased(busy: Shell) -> None:
    busy.ok("run", "assistant", "hello from peregrine", "--session", "mine")
    lines = [json.loads(line) for line in busy.ok("privacy", "export", "owner").splitlines()]
    assert {"process", "call", "message"} <= {line["kind"] for line in lines}
    assert busy.run("privacy", "erase", "nobody", "--prove", "peregrine").returncode == 1
    done = busy.run("privacy", "erase", "owner", "--prove", "peregrine")
    assert done.returncode == 0 and "'peregrine' is nowhere" in done.stderr
    busy.ok("run", "assistant", "hello again")
    assert "calls: 90 days" in busy.run("privacy", "retention").stderr
    assert json.loads(busy.ok("privacy", "retention", "--now", "--json"))["calls"] == 0


def test_a_secret_is_found_in_the_environment_then_a_file_then_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMAGENT_OS_SECRETS", str(tmp_path))
    assert secret("SOME_KEY") == ""
    keyring = ModuleType("keyring")
    keyring.get_password = lambda service, name: f"{service}:{name}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert secret("SOME_KEY") == "llmagent-os:SOME_KEY"
    (tmp_path / "SOME_KEY").write_text("from a file\n")
    assert secret("SOME_KEY") == "from a file"
    monkeypatch.setenv("SOME_KEY", "from the environment")
    assert secret("SOME_KEY") == "from the environment"
    assert secret("../SOME_KEY") == secret("") == ""
