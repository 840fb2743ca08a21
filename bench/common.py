"""What every bench shares: the result line, clocks that count one process only, and helper processes.

A bench ends with status 1 when a target was missed. Results go to standard output (one JSON object a line with
`--json`), everything else to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llmagent_os.gateway.client import Address, NotRunning, find

PAGE = os.sysconf("SC_PAGE_SIZE")
STOP_SECONDS = 10.0
START_SECONDS = 60.0
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Result:
    """One measured value; `target` reads like `<= 3.0`, and both it and `ok` are None where nothing was promised."""

    bench: str
    case: str
    metric: str
    value: float
    unit: str
    target: str | None = None
    ok: bool | None = None


class Report:
    """Prints results as they come, as JSON lines or, at the end, as a table."""

    def __init__(self, bench: str, as_json: bool) -> None:
        self.bench, self.as_json = bench, as_json
        self.results: list[Result] = []

    def add(
        self, case: str, metric: str, value: float, unit: str,
        at_most: float | None = None, at_least: float | None = None,
    ) -> None:  # fmt: skip
        """Report a value, and whether it is within its bound."""
        target, ok = None, None
        if at_most is not None:
            target, ok = f"<= {at_most:g}", value <= at_most
        elif at_least is not None:
            target, ok = f">= {at_least:g}", value >= at_least
        self.results.append(Result(self.bench, case, metric, round(value, 4), unit, target, ok))
        if self.as_json:
            print(json.dumps(asdict(self.results[-1])), flush=True)

    def close(self) -> int:
        """Print the table where one is wanted; the exit status."""
        if not self.as_json:
            Console(width=max(110, Console().width)).print(self._table())
        return int(any(result.ok is False for result in self.results))

    def _table(self) -> Table:
        table = Table("case", "metric", "value", "unit", "target", "ok", title=self.bench)
        for result in self.results:
            ok = "" if result.ok is None else "yes" if result.ok else "[red]NO[/red]"
            table.add_row(result.case, result.metric, f"{result.value:g}", result.unit, result.target or "", ok)
        return table


def run(
    bench: str, description: str, measure: Callable[[Report, argparse.Namespace], None],
    **options: tuple[type, Any, str],
) -> None:  # fmt: skip
    """A bench's command line: `options` are `name=(type, default, help)`. Measures, reports and exits."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    for name, (kind, default, words) in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{words} ({default})")
    given = parser.parse_args()
    report = Report(bench, given.json)
    say(f"{bench}: {machine()}, load {load()}")
    measure(report, given)
    status = report.close()
    say(f"{bench}: load {load()} at the end")
    sys.exit(status)


def say(text: str) -> None:
    """Tell whoever watches; not a result."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """Where and when this runs."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    date = time.strftime("%Y-%m-%d %H:%M")
    return f"{date}, {os.cpu_count()} x {models[0]}, {memory:.0f} GiB, Python {platform.python_version()}"


def load() -> str:
    """The load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


# -- clocks of one process


def cpu() -> float:
    """CPU seconds of this process, user and system."""
    return time.process_time()


def user_cpu() -> float:
    """User-CPU seconds of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def cpu_of(pid: int) -> float:
    """CPU seconds of the living threads of another process, user and system."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def memory(pid: int | str = "self") -> int:
    """Bytes of a process that are in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def disk(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


# -- rounds


Work = Callable[[], Awaitable[Mapping[str, float]]]


async def interleaved(cases: Mapping[str, Work], rounds: int) -> dict[str, dict[str, float]]:
    """Run the cases in turns and return the median of every value of each: what drifts, drifts for all."""
    seen: dict[str, list[Mapping[str, float]]] = {name: [] for name in cases}
    for number in range(rounds):
        order = list(cases) if number % 2 == 0 else list(reversed(cases))
        for name in order:
            seen[name].append(await cases[name]())
    return {name: medians(values) for name, values in seen.items()}


def medians(values: list[Mapping[str, float]]) -> dict[str, float]:
    """The median of each key."""
    return {key: statistics.median(value[key] for value in values) for key in values[0]}


def quantile(values: list[float], part: float) -> float:
    """The value below which `part` of them lie."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


# -- helper processes


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="llmagent-os-bench-") as name:
        yield Path(name)


@contextmanager
def mock(**options: object) -> Iterator[str]:
    """The mock model server in a process of its own; gives its base URL."""
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, str(Path(__file__).with_name("mock_openai.py")), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        stop(process)


class Server:
    """`llmagent-os up`, without a default model, on a data folder: a process that is started, killed, started again.

    Models are those registered in the folder `models` beside the journal.
    """

    def __init__(
        self, data: Path, plugins: Sequence[Path] = (), command: Path | None = None, limit: str = ""
    ) -> None:  # fmt: skip
        """`command` is this environment's `llmagent-os` unless another one is given; `limit` as `ulimit` takes it."""
        self.data = data
        command = command or Path(sys.executable).with_name("llmagent-os")
        words = [str(command), "up", "--model", "none", "--port", "0"]
        limited = ["sh", "-c", f'ulimit {limit} && exec "$0" "$@"'] if limit else []
        plugged = [word for file in plugins for word in ("--plugin", str(file))]
        self._command = [*limited, *words, "--data", str(data), *plugged]
        self._environment = os.environ | {"LLMAGENT_OS_MODELS": str(data / "models")}
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start it, without waiting for it."""
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def ready(self) -> Address | None:
        """Where it answers, once it does; raises SystemExit with its own words if it has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the server ended by itself: {self._process.communicate()[1]}")
        try:
            address = find(self.data)
            if address.pid != self.pid:  # left by one that was killed
                return None
            with urllib.request.urlopen(f"{address.url}/health", timeout=STOP_SECONDS):
                return address
        except (NotRunning, urllib.error.URLError):
            return None

    def start(self) -> Address:
        """Start it and wait until it answers."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while (address := self.ready()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise SystemExit(f"the server was not ready after {START_SECONDS:g} s")
            time.sleep(POLL_SECONDS)
        return address

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        """Ask it to end."""
        assert self._process is not None
        stop(self._process)


@contextmanager
def serving(data: Path) -> Iterator[tuple[Server, Address]]:
    """A running server, stopped afterwards."""
    server = Server(data)
    address = server.start()
    try:
        yield server, address
    finally:
        server.stop()


def stop(process: subprocess.Popen[str]) -> None:
    """End a process we started, with force where it does not go."""
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


async def gather(count: int, work: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """Do `work(0)` ... `work(count - 1)` at once."""
    return await asyncio.gather(*(work(number) for number in range(count)))
