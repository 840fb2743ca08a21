"""Folders of any depth, with any names and rights, and changed while they are walked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.places import meant, told
from llmagent_os.core.trees import Closed, below, contents, remove, walk
from llmagent_os.tools.sandbox import watch
from llmagent_os.tools.sandbox.watch import overfull, survey
from tests.stand_ins.deep import deepen

DEEP = 6000


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "top"
    made.mkdir()
    yield made
    remove(made)  # what tidies up after the tests does not get so deep


def opened() -> int:
    return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))


def test_any_depth_is_walked_with_a_few_files_open_and_removed(top: Path) -> None:
    deepen(top)
    (top / "a.txt").write_text("a")
    before, most, count, began = opened(), 0, 0, time.perf_counter()
    for _ in walk(top):
        count += 1
        if count % 500 == 0:
            most = max(most, opened() - before)
    assert count == DEEP + 1 and most < 30 and opened() == before
    found = {path: file.read() for path, file in contents(top)}
    assert found == {"a.txt": b"a", "d/" * DEEP + "end.txt": b"deep"}
    remove(top)
    assert not top.exists() and opened() == before
    assert time.perf_counter() - began < 20  # it does not grow with the square of the depth


def test_a_path_that_no_system_takes_is_shut_once_and_said(top: Path) -> None:
    deepen(top)
    (top / "z").mkdir()
    (top / "z" / "a.txt").write_text("a")
    shut = Closed()
    assert list(below(top, shut=shut)) == ["z/a.txt"]  # the walk goes on
    ((path, why),) = shut.first
    assert shut.count == 1 and len(path) > 4000 and why == "File name too long"


def test_folders_after_those_in_them(top: Path) -> None:
    (top / "a" / "b").mkdir(parents=True)
    (top / "c").mkdir()
    assert [here.path for here in walk(top)] == ["", "a/", "a/b/", "c/"]
    assert [here.path for here in walk(top, last=True)] == ["a/b/", "a/", "c/", ""]


def test_what_is_moved_meanwhile_leads_nowhere_else(top: Path, tmp_path: Path) -> None:
    deepen(top, 60, "a")
    (top / "b").mkdir()
    seen, missed = list[str](), list[str]()
    for here in walk(top, lambda path, why: missed.append(path)):
        seen.append(here.path)
        if here.path == "a/" * 40:  # the way back up leads elsewhere, and the way down from the top is gone
            top.joinpath(*["a"] * 20).rename(tmp_path / "elsewhere")
            top.joinpath(*["a"] * 10).rename(top / "a" / "other")
    assert missed == ["/".join(["a"] * 10)]
    assert seen == ["a/" * n for n in range(61)] + ["b/"]


def test_a_link_that_takes_the_place_of_a_folder_is_not_followed(top: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("hidden")
    (top / "a").mkdir()
    (top / "b").mkdir()
    seen = list[str]()
    for here in walk(top):
        seen += [here.path, *here.others]
        if here.path == "":
            (top / "a").rmdir()
            (top / "a").symlink_to(tmp_path / "outside")
    assert seen == ["", "b/"]
    remove(top / "a")
    assert (tmp_path / "outside" / "secret").exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.txt", r"caf\xe9.txt"), (b"\xff", r"\xff"), ("tea ü 茶.txt".encode(), "tea ü 茶.txt"),
        (b"a\nb", r"a\x0ab"), (b"\x1b[2Jx", r"\x1b[2Jx"), ("\u202egnp.exe".encode(), r"\xe2\x80\xaegnp.exe"),
    ],
)  # fmt: skip
def test_a_name_is_told_in_words_and_found_by_them(name: bytes, shown: str) -> None:
    assert told(os.fsdecode(name)) == shown and shown.isprintable()
    assert os.fsencode(meant(shown)) == name


@pytest.mark.parametrize("name", [r"\x2f", r"a\x2fb", r"\x2e\x2e", r"\x41", r"plain\xzz"])
def test_words_that_nothing_is_told_by_mean_themselves(name: str) -> None:
    assert meant(name) == name


def test_a_path_that_is_too_long_is_told_in_part() -> None:
    assert len(told("d/" * DEEP)) < 2100 and "more characters" in told("d/" * DEEP)


def ordinary(work: Callable[[], None]) -> None:
    """Do it as somebody who may not look anywhere: where root runs the tests, as nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other threads, which the child has not got
        child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes")
def test_an_ordinary_user_gets_into_closed_folders_of_their_own(tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces").chmod(0o777)
    top = tmp_path / "spaces" / "top"

    def work() -> None:
        for name, mode in (("a", 0o300), ("b", 0o000), ("c", 0o500), ("d", 0o600)):
            (top / name / "in").mkdir(parents=True)
            (top / name / "in" / "big").write_bytes(os.urandom(100_000))
            (top / name).chmod(mode)
        (top / "locked").write_text("x")
        (top / "locked").chmod(0)
        top.chmod(0o300)
        assert survey(top) > 400_000
        (top / "a").chmod(0o300)
        assert overfull(top, os.getpid(), 300_000, 0) and not overfull(top, os.getpid(), 900_000, 0)
        (top / "a").chmod(0o300)
        shut = Closed()
        assert [path for path, _ in contents(top, shut)] == [f"{name}/in/big" for name in "abcd"]
        assert shut.first == [("locked", "Permission denied")]
        for name in "abcd":
            (top / name).chmod(0o000)
        remove(top)
        assert not top.exists()

    ordinary(work)


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes")
def test_where_folders_move_while_they_are_counted_it_is_the_disk_that_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()

    def moved(folder: Path, shut: Any, unlock: int) -> Iterator[Any]:
        for here in walk(folder, shut, unlock=unlock):
            yield here
            for name in here.folders:
                (folder / name).rename(folder / ("e" if name == "d" else "d"))

    monkeypatch.setattr(watch, "walk", moved)
    assert overfull(tmp_path, os.getpid(), 1 << 30, (1 << 30) + 1)
    assert not overfull(tmp_path, os.getpid(), 1 << 30, 1 << 30)


EXIT = {"x86_64": 60, "aarch64": 93}  # the call that ends a thread, by machine
HELD = """
import ctypes, os, sys, threading
def hold():
    file = open("f", "wb")
    os.unlink("f")
    file.write(os.urandom(400_000))
    file.flush()
    while open(f"/proc/self/task/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "Z":
        pass
    print("held", flush=True)
    sys.stdin.read()
threading.Thread(target=hold).start()
ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in EXIT, reason="it calls Linux by numbers")
def test_files_that_the_other_threads_hold_are_counted_once_the_first_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELD, str(EXIT[platform.machine()])]
    held = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdin is not None and held.stdout is not None
    try:
        assert held.stdout.readline() == "held\n"
        assert os.listdir(tmp_path) == []
        assert overfull(tmp_path, held.pid, 300_000, 0) and not overfull(tmp_path, held.pid, 1 << 20, 0)
    finally:
        held.communicate()


def test_a_folder_of_any_depth_is_counted_to_its_end(top: Path) -> None:
    deepen(top, 3000, data=os.urandom(100_000))
    shut = Closed()
    assert survey(top, shut=shut) > 3000 * 4096 + 90_000 and shut.count == 0
