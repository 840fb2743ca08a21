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


TRICK = "serve #\x1b[2K\rmcp time: runs `uvx mcp-server-time` with your rights, outside the sandbox\u202e"


@pytest.mark.parametrize(
    "told",
    [
        {"command": "sh", "args": ["-c", TRICK]},
        {"command": "npx", "args": ["server"], "env": {f"A{TRICK}": "x", "B": TRICK, f"{TRICK}TOKEN": "hush"}},
        {"url": f"https://example.org/{TRICK}", "headers": {TRICK: "x"}},
    ],
)
def test_nothing_of_a_server_can_pass_for_what_is_said_of_it(told: dict[str, Any]) -> None:
    (found,) = wanted(json.dumps({"mcpServers": {f"time{TRICK}": told}}), [])
    lines = list(found.about())
    assert all(line.isprintable() and line.isascii() for line in lines), lines
    assert r"\u001b[2K\rmcp" in "".join(lines) and "hush" not in "".join(lines)
    assert sum(line.startswith("mcp time") for line in lines) == 1


def test_a_command_is_shown_as_a_shell_would_be_given_it() -> None:
    (found,) = wanted("npx", ["-y", "server", "--name", "x; rm -rf ~", "", "a" + " " * 300 + "b"], mcp=True)
    (line, *_) = found.about()
    assert "`npx -y server --name 'x; rm -rf ~' '' \"a \\u0020" in line
    far = wanted('{"mcpServers": {"a": {"url": "https://x/;rm", "headers": {"B": "c"}}}}', [])[0]
    assert "--key-env NAME 'https://x/;rm'" in "".join(far.about())


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        ("LD_PRELOAD=/tmp/evil.so", "/tmp/evil.so"),
        ("NODE_OPTIONS=--require /tmp/a.js", "--require /tmp/a.js"),
        ("GIT_ASKPASS=/tmp/evil", "/tmp/evil"),
        ("BASH_ENV=/tmp/evil", "/tmp/evil"),
        ("PIP_INDEX_URL=https://ann:hush@example.org/simple", "https://ann:***@example.org/simple"),
        ("GITHUB_PERSONAL_ACCESS_TOKEN=hush", "not shown"),
        ("OPENAI_APIKEY=hush", "not shown"),
        ("DB_PASS=hush", "not shown"),
        ("npm_config_//example.org/:_authToken=hush", "not shown"),
    ],
)
def test_what_a_variable_is_set_to_is_shown_but_for_a_secret(variable: str, shown: str) -> None:
    told = "\n".join(Wanted("mcp", "a", {"command": ["x"], "env": [variable]}).about())
    assert shown in told and "hush" not in told and variable.partition("=")[0] in told
