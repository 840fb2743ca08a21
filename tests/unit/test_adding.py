"""`tools add`: commands as READMEs print them, and what a person is shown before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.gateway.console.adding import Wanted, named, theirs, wanted


@pytest.mark.parametrize(
    ("line", "name", "entry"),
    [
        ("npx -y @modelcontextprotocol/server-filesystem /srv/files", "filesystem",
         {"command": ["npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv/files"]}),
        ("uvx mcp-server-git --repository /srv/git --name x --env y --mcp", "git",
         {"command": ["uvx", "mcp-server-git", "--repository", "/srv/git", "--name", "x", "--env", "y", "--mcp"]}),
        ("npx -y mcp-remote@1.2.3 https://example.org/sse", "remote",
         {"command": ["npx", "-y", "mcp-remote@1.2.3", "https://example.org/sse"]}),
        ("GITHUB_TOKEN=a=b MODE= npx -y @scope/github", "github",
         {"command": ["npx", "-y", "@scope/github"], "env": ["GITHUB_TOKEN=a=b", "MODE="]}),
        ("docker run -i --rm -e TOKEN mcp/fetch --verbose", "fetch",
         {"command": ["docker", "run", "-i", "--rm", "-e", "TOKEN", "mcp/fetch", "--verbose"]}),
        ("python -m mcp_server_time --local-timezone=UTC", "time",
         {"command": ["python", "-m", "mcp_server_time", "--local-timezone=UTC"]}),
        ("memory -- npx -y @modelcontextprotocol/server-memory", "memory",
         {"command": ["npx", "-y", "@modelcontextprotocol/server-memory"]}),
        ("npx -- -y server-everything", "everything", {"command": ["npx", "-y", "server-everything"]}),
        ("/opt/bin/my_server -v -- --data /x", "my-server",
         {"command": ["/opt/bin/my_server", "-v", "--", "--data", "/x"]}),
        ("https://mcp.example.org/mcp", "mcp-example-org", {"url": "https://mcp.example.org/mcp"}),
    ],
)  # fmt: skip
def test_a_command_stays_as_it_is_printed(line: str, name: str, entry: dict[str, Any]) -> None:
    args = theirs(["--mcp", "--data", "/d", *line.split()])
    at = args.index("--") if args[3] == "--" else 2
    source, *rest = args[at + 1 :]
    (found,) = wanted(source, rest, mcp=True)
    assert (found.kind, found.name, found.entry) == ("mcp", name, entry)
    assert any("with your rights" in line or entry.get("url", "-") in line for line in found.about())


def test_options_of_ours_stand_before_the_command_or_after_a_url() -> None:
    assert theirs(["--mcp", "--name", "a", "npx", "-y", "b", "--name", "c"]) == [
        "--mcp", "--name", "a", "--", "npx", "-y", "b", "--name", "c",
    ]  # fmt: skip
    for ours in (
        ["--mcp", "https://x/mcp", "--key-env", "K"],
        ["https://x/o.json", "--name", "n"],
        ["a.py"],
        ["--help"],
    ):
        assert theirs(ours) == ours


def test_json_as_readmes_print_it(tmp_path: Path) -> None:
    servers = {
        "my files": {"command": "npx", "args": ["-y", "server", 5], "env": {"KEY": "v"}},
        "far": {"type": "http", "url": "https://example.org/mcp", "headers": {"Authorization": "Bearer x"}},
    }
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": servers}))
    for source in (
        json.dumps({"mcpServers": servers}),
        str(tmp_path / "servers.json"),
        json.dumps({"servers": servers}),
    ):
        files, far = wanted(source, [])
        assert (files.name, files.entry) == ("my-files", {"command": ["npx", "-y", "server", "5"], "env": ["KEY=v"]})
        assert files.secret and not far.secret
        assert far.entry == {"url": "https://example.org/mcp"} and "Authorization" in "".join(far.about())
    (tmp_path / "openapi.json").write_text('{"openapi": "3.0.0"}')
    assert wanted(str(tmp_path / "openapi.json"), [])[0].kind == "openapi"


@pytest.mark.parametrize(
    ("source", "rest", "mcp"),
    [("{bad", [], False), ("A=1", [], True), ("https://x/mcp", ["more"], True), ("a.py", ["more"], False),
     ('{"mcpServers": {"a": {}}}', [], False)],
)  # fmt: skip
def test_what_is_no_source_is_refused(source: str, rest: list[str], mcp: bool) -> None:
    with pytest.raises(InvalidRequest):
        wanted(source, rest, mcp)


def test_a_person_is_told_what_is_given_and_where_it_runs() -> None:
    told = "\n".join(Wanted("mcp", "a", {"command": ["x"], "env": ["KEY=secret", "B"]}).about())
    assert "KEY, B" in told and "secret" not in told and "outside the sandbox" in told
    assert "all of its rights" in "".join(Wanted("plugins", "a.py", "a.py").about())
    assert "K" in "".join(Wanted("openapi", "a", {"source": "s", "key_env": "K"}).about())
    assert named(["server-"]) == "tools"
