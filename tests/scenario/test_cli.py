"""The command line as a person or a script meets it: real processes, a real server, the scripted model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmagent_os import __version__
from llmagent_os.gateway.cli import COMMANDS
from tests.stand_ins.shell import COMMAND, Shell, kill

RULES = """
- {match: capital of France, text: Paris.}
- {match: break, error: the script says so}
- {match: slowly, text: one two three four five six seven eight nine ten, pace: 0.3}
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, RULES)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running system that several tests share."""
    shell = Shell(tmp_path_factory.mktemp("busy"), RULES)
    with shell.system():
        yield shell


# -- help and wrong usage


def test_help_lists_every_command_without_importing_it(shell: Shell) -> None:
    before = os.times()
    shown = shell.alone("--help").stdout
    after = os.times()
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_examples(shell: Shell, name: str) -> None:
    shown = shell.ok(name, "--help")
    assert "Usage: llmagent-os " + name in shown
    assert "Examples:" in shown or "Commands:" in shown


def test_the_version_is_told(shell: Shell) -> None:
    assert shell.alone("--version").stdout == f"llmagent-os {__version__}\n"


def test_wrong_usage_is_exit_code_2_and_names_the_nearest(shell: Shell) -> None:
    assert "did you mean 'chat'?" in shell.fails("chatt", code=2)
    assert "--nosuch" in shell.fails("ps", "--nosuch", code=2)


def test_without_a_system_a_command_says_how_to_start_one(shell: Shell) -> None:
    expected = f"llmagent-os: no system is running on {shell.data}; start one with: llmagent-os up\n"
    done = shell.alone("ps")  # as a program
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)
    for command in (["ps"], ["chat"], ["run", "assistant", "hi"], ["top", "--once"], ["kill", "1"], ["agents", "list"]):
        assert shell.fails(*command) == expected


# -- models, doctor


def test_models_are_added_listed_and_removed_without_a_system(shell: Shell) -> None:
    shell.ok("models", "add", "far", "http://127.0.0.1:9/v1", "--model", "m", "--key-env", "FAR_KEY", "--limit", "3")
    listed = {model["spec"]["name"]: model for model in shell.json("models", "list")}
    assert listed["far"]["spec"]["engine"] == "openai" and listed["far"]["spec"]["limit"] == 3
    shell.ok("models", "add", "second", "rules.yaml", "--engine", "scripted")
    assert Path(shell.json("models", "list")[-1]["spec"]["source"]).is_absolute()
    assert listed["qwen2.5-coder-1.5b-instruct"]["present"] is False
    shell.ok("models", "rm", "far")
    assert "far" not in shell.ok("models", "list")
    assert "did you mean 'robot'?" in shell.fails("models", "rm", "robto")
    assert "there is no model file" in shell.fails("models", "add", "x", "/no/such.gguf")


def test_doctor_names_what_is_missing_and_the_command_that_mends_it(shell: Shell) -> None:
    done = shell.run("doctor", "--json")
    found = {check["name"]: check for check in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert found["python"]["status"] == "ok"
    assert found["model default"]["status"] == "problem"
    assert found["model default"]["mend"] == "llmagent-os models pull default"
    assert "llmagent-os models pull default" in shell.run("doctor").stderr


def test_doctor_finds_a_damaged_journal_and_an_open_key(shell: Shell) -> None:
    with shell.system():
        pass
    (shell.data / "key").chmod(0o644)
    with (shell.data / "journal.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    found = {check["name"]: check for check in map(json.loads, shell.run("doctor", "--json").stdout.splitlines())}
    assert found["key file"]["mend"] == f"chmod 600 {shell.data / 'key'}"
    assert found["journal"]["status"] == "problem"


def test_doctor_sees_the_running_system(busy: Shell) -> None:
    found = {check["name"]: check for check in map(json.loads, busy.run("doctor", "--json").stdout.splitlines())}
    assert found["system"]["status"] == "ok" and "http://127.0.0.1:" in found["system"]["found"]


# -- up


def test_with_empty_input_it_starts_says_where_it_is_and_ends(shell: Shell) -> None:
    done = shell.run("up", "--chat", "--model", "robot", "--port", "0")
    assert done.returncode == 0 and done.stdout == ""
    for said in ("http://127.0.0.1:", str(shell.data / "key"), str(shell.data / "journal.db"), "nothing is lost"):
        assert said in done.stderr
    assert not (shell.data / "server.json").exists()


def test_piped_lines_are_answered_on_standard_output(shell: Shell) -> None:
    lines = "What is the capital of France?\n\nhello\n"
    assert shell.ok("up", "--chat", "--model", "robot", "--port", "0", stdin=lines) == "Paris.\nhello\n"


def test_a_line_that_cannot_be_answered_is_told_and_the_rest_goes_on(shell: Shell) -> None:
    done = shell.run("up", "--chat", "--model", "robot", "--port", "0", stdin="break\nhello\n")
    assert (done.returncode, done.stdout) == (1, "hello\n")
    assert "llmagent-os: the script says so" in done.stderr


def test_a_second_up_is_refused_with_the_pid(busy: Shell) -> None:
    pid = json.loads((busy.data / "server.json").read_text())["pid"]
    for chat in ([], ["--chat"]):
        said = busy.fails("up", "--model", "robot", "--port", "0", *chat)
        assert f"process {pid} runs on {busy.data} already" in said


def test_a_taken_port_is_told_with_its_holder(busy: Shell, shell: Shell) -> None:
    told = json.loads((busy.data / "server.json").read_text())
    done = shell.run("up", "--model", "robot", "--port", told["url"].rpartition(":")[2])
    assert done.returncode == 1 and f"by process {told['pid']}" in done.stderr


def test_up_refuses_what_it_cannot_use(shell: Shell) -> None:
    assert "did you mean 'robot'?" in shell.fails("up", "--model", "robto")
    for path in ("./nosuch", "/no/such/model", "~/nosuch"):  # nobody asks a hub for those
        assert f"there is no GGUF file or folder {path}" in shell.fails("up", "--model", path)
    assert "port" in shell.fails("up", "--model", "robot", "--port", "70000")
    assert "durability" in shell.fails("up", "--model", "robot", "--durability", "maybe")
    assert "is not there" in shell.fails("up", "--model", "robot", "--port", "0", "--plugin", "nosuch.py")


def test_up_ends_well_by_ctrl_c(shell: Shell) -> None:
    with shell.system() as up:
        up.send_signal(signal.SIGINT)
        up.wait(60)


@pytest.mark.model
def test_the_tiny_model_answers_what_is_piped(tmp_path: Path, tiny_model: Path) -> None:
    shell = Shell(tmp_path, RULES, models=tiny_model.parent)
    with shell.system(model="tiny"):
        shell.ok("agents", "configure", "assistant", "sampling={max_tokens: 12, temperature: 0}")
    done = shell.run("up", "--chat", "--model", "tiny", "--port", "0", stdin="What is the capital of France?\n")
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


# -- talking


def test_run_prints_the_answer_or_the_whole_reply(busy: Shell) -> None:
    question = "What is the capital of France?"
    assert busy.ok("run", "assistant", question) == "Paris.\n"
    assert busy.ok("run", "assistant", question, "--no-stream") == "Paris.\n"
    assert busy.ok("run", "assistant", "-", stdin=question) == "Paris.\n"
    (reply,) = busy.json("run", "assistant", question)
    assert reply["text"] == "Paris." and reply["usage"]["output_tokens"] > 0


def test_run_says_what_went_wrong(busy: Shell) -> None:
    assert "did you mean 'assistant'?" in busy.fails("run", "asistant", "hi")
    assert "the script says so" in busy.fails("run", "assistant", "break")


def test_a_session_goes_on_in_the_same_process(busy: Shell) -> None:
    for text in ("first", "second"):
        busy.ok("run", "assistant", text, "--session", "mine")
    (process,) = [p for p in busy.json("ps") if p["name"] == "assistant@mine"]
    assert process["turns"] == 2


def test_chat_answers_piped_lines(busy: Shell) -> None:
    assert busy.ok("chat", stdin="capital of France\nhello") == "Paris.\nhello\n"


PAINTER = """
from llmagent_os.plugins import hookimpl
from llmagent_os.tools.toolkit import File, FunctionTool


def draw() -> File:
    return File("dot.png", b"a dot", "image/png")


@hookimpl
def tools():
    return {"draw": FunctionTool(draw)}


@hookimpl
def agents():
    return [{"name": "painter", "tools": ["draw"]}]
"""


def test_a_picture_in_an_answer_is_listed_and_saved(shell: Shell) -> None:
    (shell.home / "painter.py").write_text(PAINTER)
    with shell.system("--plugin", "painter.py"):
        told = shell.run("run", "painter", "call draw with {}").stderr
        command = told.partition("save it with: llmagent-os ")[2].split()
        assert told.startswith("[image] dot.png") and command[0] == "save" and command[2] == "dot.png"
        shell.ok(*command)
        assert (shell.home / "dot.png").read_bytes() == b"a dot"
        assert "no blob" in shell.fails("save", "0" * 32, "other.png")


# -- processes


def test_processes_are_listed_held_resumed_and_ended(busy: Shell) -> None:
    busy.ok("run", "assistant", "hello", "--session", "held")
    (pid,) = [str(p["pid"]) for p in busy.json("ps") if p["name"] == "assistant@held"]

    def status() -> str:
        return next(p["status"] for p in busy.json("ps", "--all") if str(p["pid"]) == pid)

    busy.ok("pause", pid)
    assert status() == "paused"
    busy.ok("resume", pid)
    assert status() == "waiting"
    busy.ok("kill", pid)
    assert status() == "stopped"
    assert pid not in [str(p["pid"]) for p in busy.json("ps")]
    assert pid in busy.ok("ps", "--all")
    assert "no process 99999" in busy.fails("kill", "99999")


def test_nice_takes_a_process_or_an_agent_and_negative_numbers(busy: Shell) -> None:
    busy.ok("run", "assistant", "hello", "--session", "polite")

    def nice() -> int:
        return next(p["nice"] for p in busy.json("ps") if p["name"] == "assistant@polite")

    (pid,) = [str(p["pid"]) for p in busy.json("ps") if p["name"] == "assistant@polite"]
    busy.ok("nice", pid, "-7")
    assert nice() == -7
    busy.ok("nice", "assistant", "4")
    assert nice() == 4
    busy.ok("nice", "assistant", "0")
    busy.fails("nice", pid, "20", code=2)


LEAKY = """
from llmagent_os.core.ports import Syscall, own, uncovered
from llmagent_os.core.secrets import secret
from llmagent_os.kernel.process import Program
from llmagent_os.plugins import hookimpl

async def spill(call, process):
    raise RuntimeError(f"cannot send to ada@example.org with password: hunter2zz and {secret('SHOP')}")

async def runs(sys, args, state):
    return await sys.syscall("spill")

@hookimpl
def syscalls():
    return {"spill": Syscall(spill, 5.0, uncovered, own)}

@hookimpl
def programs():
    return {"runs": Program(runs)}
"""


def test_the_log_of_up_has_no_values_of_people_and_no_secrets(tmp_path: Path) -> None:
    shell = Shell(tmp_path, RULES)
    (tmp_path / "leaky.py").write_text(LEAKY)
    (tmp_path / "SHOP").write_text("no-pattern-knows-this-one")
    shell.environment["LLMAGENT_OS_SECRETS"] = str(tmp_path)
    with shell.system("--plugin", str(tmp_path / "leaky.py")):
        where = json.loads((shell.data / "server.json").read_text())["url"]
        sent = {
            "Authorization": f"Bearer {(shell.data / 'key').read_text().strip()}",
            "Content-Type": "application/json",
        }
        asked = urllib.request.Request(f"{where}/v1/processes", b'{"program": "runs"}', sent)
        urllib.request.urlopen(asked).read()
        deadline = time.monotonic() + 10
        while "spill failed" not in (log := (shell.data / "log").read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "cannot send to <EMAIL> with" in log and "Traceback" in log
    for value in ("ada@example.org", "hunter2zz", "no-pattern-knows-this-one"):
        assert value not in log


def test_logs_tell_the_calls_of_a_process(busy: Shell) -> None:
    busy.ok("run", "assistant", "capital of France", "--session", "logged")
    (pid,) = [str(p["pid"]) for p in busy.json("ps") if p["name"] == "assistant@logged"]
    calls = busy.json("logs", pid)
    assert calls == busy.json("logs", "assistant@logged") == busy.json("logs", "logged")
    assert [call["seq"] for call in calls] == sorted(call["seq"] for call in calls)
    assert "generate" in [call["name"] for call in calls]
    assert "Paris." in busy.ok("logs", pid)
    busy.ok("kill", pid)
    assert "Paris." in busy.ok("logs", pid, "--follow")  # ends with the process


def test_logs_of_an_agent_are_those_of_all_its_processes_in_order(busy: Shell) -> None:
    for session in ("one", "two", "one"):
        busy.ok("run", "assistant", "capital of France", "--session", session)
    told = [line.split()[0] for line in busy.ok("logs", "assistant").splitlines()]
    assert {"assistant@one", "assistant@two"} <= set(told)
    calls = busy.json("logs", "assistant")
    assert [call["started"] for call in calls] == sorted(call["started"] for call in calls)
    assert len({call["pid"] for call in calls}) > 1
    assert "did you mean" in busy.fails("logs", "assistent")
    (pid,) = [str(p["pid"]) for p in busy.json("ps") if p["name"] == "assistant@two"]
    with subprocess.Popen(
        [COMMAND, "logs", "assistant@two", "--follow"], env=busy.environment, stdout=subprocess.PIPE, text=True
    ) as following:
        busy.ok("run", "assistant", "the last words", "--session", "two")
        busy.ok("kill", pid)
        seen, _ = following.communicate(timeout=60)
    assert "the last words" in seen and following.returncode == 0


def test_events_are_followed_until_somebody_stops_it(busy: Shell) -> None:
    busy.ok("run", "assistant", "capital of France")
    command = [COMMAND, "events", "--after", "0"]
    with subprocess.Popen(command, env=busy.environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        seen = ""
        while "generate" not in seen:
            seen = following.stdout.readline()
        assert "default/owner" in seen and "tokens of robot" in seen and "ok" in seen
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=60)  # read to the end: a pipe that is closed under it is another end
    assert following.returncode == 0


def test_top_shows_one_frame(busy: Shell) -> None:
    busy.ok("run", "assistant", "hello", "--session", "seen")
    assert "waiting" in (frame := busy.ok("top", "--once")) and "robot" in frame
    assert busy.json("top")[0]["engines"][0]["served"] > 0


# -- agents


def test_the_life_of_an_agent(busy: Shell) -> None:
    (busy.home / "writer.yaml").write_text("name: writer\nmodel: robot\nsampling: {temperature: 0.5, top_p: 0.9}\n")
    busy.ok("agents", "create", "writer.yaml")
    assert "there is an agent named 'writer'" in busy.fails("agents", "create", "writer.yaml")
    busy.ok("agents", "configure", "writer", "sampling.temperature=0.1", "prompt=Write.")
    (shown,) = busy.json("agents", "show", "writer")
    assert shown["version"] == 2 and shown["spec"]["prompt"] == "Write."
    assert shown["spec"]["sampling"] == {"temperature": 0.1, "top_p": 0.9}
    busy.ok("agents", "deploy", "writer", "2")
    busy.ok("agents", "scale", "writer", "1")
    assert [a["replicas"] for a in busy.json("agents", "list") if a["name"] == "writer"] == [1]
    busy.ok("pause", "writer")
    busy.ok("resume", "writer")
    busy.ok("agents", "terminate", "writer")
    busy.ok("agents", "delete", "writer")
    assert "no agent named 'writer'" in busy.fails("agents", "show", "writer")


def test_agents_are_applied_from_a_file_and_what_changed_is_told(busy: Shell) -> None:
    team = busy.home / "team.yaml"
    team.write_text("name: ann\nmodel: robot\n---\nname: bea\nmodel: robot\n")
    done = busy.run("agents", "apply", "team.yaml", "--check")
    assert (done.returncode, done.stderr) == (1, "would create ann\nwould create bea\n")
    assert "ann" not in [agent["name"] for agent in busy.json("agents", "list")]
    assert busy.run("agents", "apply", "team.yaml").stderr == "created ann\ncreated bea\n"
    assert busy.run("agents", "apply", "team.yaml", "--check").returncode == 0
    long = "You write letters, and you do so slowly, with a pen, on paper that is your own, "
    busy.ok("agents", "configure", "ann", f"prompt={long}at night", "policy.tools.clock=ask", "tools=[clock]")
    team.write_text(f"name: ann\nmodel: robot\nprompt: '{long}by day'\ntools: [clock]\n---\nname: bea\nmodel: robot\n")
    told = busy.run("agents", "apply", "team.yaml").stderr
    assert told.startswith("ann is now at version 3:\n    grant.policy.tools.clock: ")
    assert "your own, at night -> …" in told and told.endswith("bea is as it was, at version 1\n")
    team.write_text("name: cleo\nmodel: robot\n---\nname: bea\nmodel: robto\n")
    assert "robot" in busy.fails("agents", "apply", "team.yaml")
    assert "no agent named 'cleo'" in busy.fails("agents", "show", "cleo")  # all or none
    team.write_text("name: bea\n---\nname: bea\n")
    assert "defines 'bea' twice" in busy.fails("agents", "apply", "team.yaml")


def test_files_are_put_listed_and_got(busy: Shell) -> None:
    (busy.home / "prices.csv").write_bytes(b"tea,4\n\xff")
    for path, named in (((), "prices.csv"), (("data/",), "data/prices.csv"), (("a b/ü.csv",), "a b/ü.csv")):
        told = busy.run("files", "put", "assistant", "prices.csv", *path).stderr
        assert told == f"put {named} into the workspace of assistant, 7 B\n"
    listed = busy.json("files", "list", "assistant@work")
    assert [file["path"] for file in listed] == ["prices.csv", "a b/ü.csv", "data/prices.csv"]
    assert "data/prices.csv  7 B" in busy.ok("files", "list", "assistant", "data")
    assert "is there already" in busy.fails("files", "get", "assistant", "data/prices.csv")
    busy.ok("files", "get", "assistant", "a b/ü.csv", "copy.csv")
    assert (busy.home / "copy.csv").read_bytes() == b"tea,4\n\xff"
    (busy.home / "prices.csv").write_text("other")
    busy.ok("files", "get", "assistant", "prices.csv", "--force")
    assert (busy.home / "prices.csv").read_bytes() == b"tea,4\n\xff"
    busy.ok("files", "put", "assistant", "rules.yaml")
    assert busy.alone("files", "get", "assistant", "rules.yaml", "-").stdout == RULES
    assert "no agent named 'assistent'" in busy.fails("files", "list", "assistent")
    assert "is no path in the workspace" in busy.fails("files", "get", "assistant", "../key")
    assert "there is no 'x'" in busy.fails("files", "get", "assistant", "x")


def test_a_bad_definition_is_told_by_field(busy: Shell) -> None:
    (busy.home / "bad.yaml").write_text("name: bad\npromt: hi\n")
    assert "did you mean 'prompt'?" in busy.fails("agents", "create", "bad.yaml")
    assert "'oops' is not KEY=VALUE" in busy.fails("agents", "configure", "assistant", "oops")


@pytest.mark.parametrize("typed", ["flow check {}", "flow run {}", "run x hi --outcome @{}"])
def test_a_file_that_is_no_text_is_told_in_a_line(busy: Shell, typed: str) -> None:
    (busy.home / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    said = busy.fails(*typed.format("latin.yaml").split())
    assert said.count("\n") == 1 and "latin.yaml is not text in UTF-8" in said


def test_a_flow_that_is_no_file_is_told_as_what_it_is(busy: Shell) -> None:
    (busy.home / "graphs").mkdir()
    assert "the file nofile.yaml is not there" in busy.fails("flow", "run", "nofile.yaml")
    assert "the file here/nofile is not there" in busy.fails("flow", "run", "here/nofile")
    for folder in ("./graphs/", "graphs"):
        assert "graphs is a folder" in busy.fails("flow", "run", folder)
    assert "no agent named 'nothing'; " in busy.fails("flow", "run", "nothing")
    assert "nothing.yaml cannot be read: No such file" in busy.fails("run", "x", "hi", "--outcome", "@nothing.yaml")


# -- replay


def test_replay_needs_no_system_and_says_where_a_program_differs(shell: Shell) -> None:
    with shell.system():
        shell.ok("run", "assistant", "capital of France", "--session", "past")
        (pid,) = [str(p["pid"]) for p in shell.json("ps") if p["name"] == "assistant@past"]
        assert shell.json("replay", pid)[0]["diverged"] is None
    for target in (pid, "assistant", "assistant@past", "past"):
        assert "the same as it was" in shell.ok("replay", target)
    assert "no process, agent or session named 'nobody'" in shell.fails("replay", "nobody")
    plugin = shell.home / "other.py"
    plugin.write_text(OTHER_LOOP)
    done = shell.run("replay", pid, "--plugin", str(plugin))
    assert done.returncode == 1 and "diverged in turn 1" in done.stdout
    assert "no process 99999" in shell.fails("replay", "99999")


def test_replay_beside_a_system_has_its_plugins(shell: Shell) -> None:
    plugin = shell.home / "louder.py"
    plugin.write_text(OTHER_LOOP)
    with shell.system("--plugin", str(plugin)):
        shell.ok("run", "assistant", "capital of France", "--session", "past")
        assert "the same as it was" in shell.ok("replay", "past")
        assert [report["diverged"] for report in shell.json("replay", "assistant")] == [None]
        plain = shell.home / "plain.py"
        plain.write_text("")
        done = shell.run("replay", "past", "--plugin", str(plain))
        assert done.returncode == 1 and "diverged in turn 1" in done.stdout
    assert shell.run("replay", "past").returncode == 1  # without the system its plugin has to be named


def test_replay_after_a_crash(shell: Shell) -> None:
    with subprocess.Popen(
        [COMMAND, "up", "--model", "robot", "--port", "0"], env=shell.environment, cwd=shell.home, text=True
    ) as up:
        shell.wait_ready(up)
        shell.ok("run", "assistant", "hello", "--session", "past")
        (pid,) = [str(p["pid"]) for p in shell.json("ps") if p["name"] == "assistant@past"]
        kill(up)
    assert "no system is running" in shell.fails("ps")
    assert "the same as it was" in shell.ok("replay", pid)


OTHER_LOOP = """
from dataclasses import replace
from llmagent_os.agent.loop import Agent
from llmagent_os.plugins import hookimpl


class Louder(Agent):
    async def build_context(self, sys, turn):
        turn.message = replace(turn.message, content=turn.message.text.upper())
        return await super().build_context(sys, turn)


@hookimpl
def loops():
    return {"default": Louder}
"""


# -- bench


def test_benches_are_listed_and_unknown_ones_named(shell: Shell) -> None:
    assert "journal" in [bench["bench"] for bench in shell.json("bench", "list")]
    assert "did you mean 'journal'?" in shell.fails("bench", "jurnal")


def test_what_an_upgrade_kept_is_named_at_start(shell: Shell) -> None:
    shell.data.mkdir(parents=True, exist_ok=True)
    shell.data.joinpath("journal.db.before-3").touch()
    told = shell.run("up", "--chat", "--model", "robot", "--port", "0")
    assert f"{shell.data / 'journal.db.before-3'} is what it was before" in told.stderr


def test_an_answer_that_was_cut_off_says_so_beside_it(busy: Shell) -> None:
    busy.home.joinpath("brief.yaml").write_text("{name: brief, model: scripted, sampling: {max_tokens: 2}}")
    busy.ok("agents", "create", str(busy.home / "brief.yaml"))
    cut = busy.run("run", "brief", "capital of nowhere at all")
    assert cut.returncode == 0 and "cut off" in cut.stderr and "cut off" not in cut.stdout
    assert "cut off" not in busy.run("run", "assistant", "capital of France").stderr


def test_accounts_are_listed_and_credited(busy: Shell) -> None:
    busy.home.joinpath("saver.yaml").write_text("{name: saver, model: scripted, budget: {tokens: 1000}}")
    busy.ok("agents", "create", str(busy.home / "saver.yaml"))
    busy.ok("run", "saver", "hello")

    def used() -> float:
        found = json.loads(busy.ok("accounts", "list", "--json"))["accounts"]
        return float(next(each["used"] for each in found if each["account"] == "agent/saver"))

    before = used()
    assert before > 2 and "agent/saver" in busy.ok("accounts", "list")
    assert "2 tokens more" in busy.ok("accounts", "credit", "agent/saver", "tokens", "2")
    assert used() == before - 2
