"""The real command line, on folders of a test's own: in this process, or in processes of its own (see `Shell`)."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from llmagent_os.gateway import command_line

COMMAND = str(Path(sys.executable).with_name("llmagent-os"))
SECONDS = 60
_STYLES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")  # and the cursor's ways
_CUT = re.compile(r"\x1b(\[[0-9;?]*)?\Z")


class Shell:
    """Runs commands with `home/data` as their data folder; a scripted model named `robot` is registered.

    What ends by itself runs in this process, as if it had one of its own: that saves the start of a Python, half a
    second a command. A system, a terminal and what is `alone` are real processes.
    """

    def __init__(self, home: Path, rules: str, models: Path | None = None) -> None:
        self.data = home / "data"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("LLMAGENT_OS_")},
            "LLMAGENT_OS_DATA": str(self.data),
            "LLMAGENT_OS_MODELS": str(models or home / "models"),
            "XDG_STATE_HOME": str(home / "state"),
            "LLMAGENT_OS_SANDBOX": str(home / "libraries"),
            "COLUMNS": "200",
        }
        self.home = home
        if models is None:
            (home / "rules.yaml").write_text(rules)
            (home / "models").mkdir()
            robot = {"engine": "scripted", "source": str(home / "rules.yaml")}
            (home / "models" / "models.yaml").write_text(json.dumps({"models": {"robot": robot}}))

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; without `stdin` its input is empty."""
        if arguments[:1] == ("up",):
            return self.alone(*arguments, stdin=stdin)
        return self._here(arguments, stdin or "")

    def alone(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a process of its own."""
        return subprocess.run(
            [COMMAND, *arguments], input=stdin or "", env=self.environment, cwd=self.home, capture_output=True,
            text=True, timeout=SECONDS,
        )  # fmt: skip

    def _here(self, arguments: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        read, *written = (io.BytesIO(stdin.encode()), io.BytesIO(), io.BytesIO())
        streams = [io.TextIOWrapper(each, "utf-8", write_through=True) for each in (read, *written)]
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(_ended()), daemon=True)  # of no loop, in no context
        with contextlib.chdir(self.home), _program([COMMAND, *arguments], self.environment, streams):
            thread.start()
            thread.join(SECONDS)
        assert codes, f"{arguments} has not ended"
        return subprocess.CompletedProcess(arguments, codes[0], *(each.getvalue().decode() for each in written))

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command that must succeed and return its standard output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *arguments: str, code: int = 1) -> str:
        """Run a command that must fail at once and return what it says about it: one line, no traceback."""
        done = self._here(arguments, "")
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stdout == "" and "Traceback" not in done.stderr
        return done.stderr

    def json(self, *arguments: str) -> list[Any]:
        """The JSON lines that a command prints."""
        return [json.loads(line) for line in self.ok(*arguments, "--json").splitlines()]

    @contextmanager
    def system(self, *arguments: str, model: str = "robot") -> Iterator[subprocess.Popen[str]]:
        """A system that runs for the block, and ends well by SIGTERM."""
        command = [COMMAND, "up", "--model", model, "--port", "0", *arguments]
        with subprocess.Popen(command, env=self.environment, cwd=self.home, stderr=subprocess.PIPE, text=True) as up:
            try:
                self.wait_ready(up)
                yield up
            finally:
                up.terminate()
                _, said = up.communicate(timeout=SECONDS)
        assert up.returncode == 0, said

    def wait_ready(self, up: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + SECONDS
        while not (self.data / "server.json").exists():
            assert up.poll() is None and time.monotonic() < deadline, up.stderr and up.stderr.read()
            time.sleep(0.05)

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """A command on a terminal of its own."""
        with on_terminal([COMMAND, *arguments], self.environment) as found:
            yield found


@contextmanager
def on_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A program on a terminal of its own."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={**environment, "TERM": "xterm"}, start_new_session=True,
        preexec_fn=_own_terminal,
    ) as process:  # fmt: skip
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(master)


def _ended() -> int:
    """Run what was typed; the exit code that a process would have."""
    try:
        command_line.run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # what a Python that ends by it would do
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _program(words: list[str], environment: Mapping[str, str], streams: Sequence[TextIO]) -> Iterator[None]:
    """For the block, a program's words, environment and standard streams are these."""
    before, usual = (sys.argv, sys.stdin, sys.stdout, sys.stderr), dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, (sys.stdin, sys.stdout, sys.stderr) = words, streams
    try:
        yield
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before
        os.environ.clear()
        os.environ.update(usual)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """What a person sees and types. `seen` is what was not expected yet, without styles; `raw` is all, as it came."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self.seen, self.raw = process, "", ""
        self._master, self._cut = master, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._master, b"\x03")

    def expect(self, pattern: str) -> str:
        """Read until the pattern comes, and return what stood before its end."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} did not come after {self.seen!r}"
            self.seen += self._read()
        before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def _read(self) -> str:
        try:
            data = os.read(self._master, 4096)
        except OSError:  # the program has closed the terminal
            data = b""
        assert data, f"the program ended after {self.seen!r}"
        return self._without_styles(data)

    def _without_styles(self, data: bytes) -> str:
        text = self._decoder.decode(data)
        self.raw += text
        text = _STYLES.sub("", self._cut + text)
        self._cut = found[0] if (found := _CUT.search(text)) else ""
        return text.removesuffix(self._cut)

    def end(self) -> int:
        """Wait for the program's end; its exit code."""
        while self.process.poll() is None:
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                try:
                    self.seen += self._without_styles(os.read(self._master, 4096))
                except OSError:
                    break
        return self.process.wait(SECONDS)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process the way a crash does."""
    process.send_signal(signal.SIGKILL)
    process.wait(SECONDS)
