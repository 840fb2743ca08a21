"""Time as a tuning counts it."""

import time
from pathlib import Path

from llmagent_os.finetune.clock import Clock


def waits(tasks: Path, **seconds: float) -> None:
    """So long has each thread waited for a processor."""
    for name, each in seconds.items():
        (tasks / name).mkdir(exist_ok=True)
        (tasks / name / "schedstat").write_text(f"5 {int(each * 1e9)} 3\n")


def test_what_others_had_of_the_machine_does_not_count(tmp_path: Path) -> None:
    now = [100.0]
    waits(tmp_path, one=7.0, two=1.0)
    clock = Clock(tmp_path, lambda: now[0])
    now[0] = 110.0
    waits(tmp_path, one=11.0, two=1.5, three=2.0)
    assert clock() == 106.0
    now[0] = 120.0
    (tmp_path / "one" / "schedstat").unlink()
    waits(tmp_path, two=4.5)
    assert clock() == 113.0


def test_it_never_goes_back(tmp_path: Path) -> None:
    now = [0.0]
    waits(tmp_path, one=0.0)
    clock = Clock(tmp_path, lambda: now[0])
    now[0] = 1.0
    waits(tmp_path, one=9.0)
    assert clock() == 0.0


def test_where_nothing_is_counted_it_is_the_time_that_passes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "schedstat").write_text("0\n")
    clock = Clock(tmp_path / "nowhere")
    began, first = time.monotonic(), clock()
    time.sleep(0.05)
    assert abs(clock() - first - (time.monotonic() - began)) < 0.02
    assert Clock(tmp_path, lambda: 3.0)() == 3.0
