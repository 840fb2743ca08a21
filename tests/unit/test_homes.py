"""Workspaces by whose they are: shown and deleted with a person's data, and taken over from earlier folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmagent_os.kernel.journal import Journal
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.homes import SPACE, Homes
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.deep import deepen

ANN = "ann@example.org"


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    files = {"acme/clerk@ann@example.org/notes/a.txt": b"mine", "acme/clerk@ann@example.org/b.bin": b"\xff",
             "acme/clerk@ann/a.txt": b"hers", "acme/clerk/a.txt": b"everybody's",
             "rival/clerk@ann@example.org/a.txt": b"theirs"}  # fmt: skip
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "acme/clerk@ann@example.org/link").symlink_to(tmp_path / "rival")
    return Homes(tmp_path)


def test_a_person_is_shown_their_files_and_nobody_elses(homes: Homes) -> None:
    assert list(homes.export("acme", ANN)) == [
        {"workspace": "clerk@ann@example.org", "path": "b.bin", "data": "/w=="},
        {"workspace": "clerk@ann@example.org", "path": "notes/a.txt", "text": "mine"},
    ]
    assert list(homes.export("nobodys", ANN)) == []


async def test_their_workspaces_go_with_their_data_and_no_others(homes: Homes, tmp_path: Path) -> None:
    assert await homes.erase("acme", ANN, ()) == 1 and await homes.erase("acme", ANN, ()) == 0
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["acme/clerk/a.txt", "acme/clerk@ann/a.txt", "rival/clerk@ann@example.org/a.txt"]


async def test_what_one_person_alone_used_becomes_theirs_once(homes: Homes, tmp_path: Path) -> None:
    store = SQLiteStore()
    facts = StoredFacts(store, Journal(store).append)
    for home in ("acme/clerk", "acme/gone"):
        await facts.put(SPACE, home, {"principal": "bea"})
    await homes.adopt(facts)
    assert (tmp_path / "acme/clerk@bea/a.txt").read_text() == "everybody's" and not (tmp_path / "acme/clerk").exists()
    assert facts.list(SPACE) == {}
    (tmp_path / "acme/clerk").mkdir()  # of the agent, declared shared
    await homes.adopt(facts)
    assert (tmp_path / "acme/clerk").exists()


async def test_what_lies_deeper_than_a_path_can_say_is_shown_and_goes_too(homes: Homes, tmp_path: Path) -> None:
    folder = tmp_path / "acme/clerk@ann@example.org"
    deepen(folder)
    shown = {each.get("text"): each["path"] for each in homes.export("acme", ANN)}
    assert shown["deep"].endswith("d/d/end.txt") and shown["mine"] == "notes/a.txt"
    assert await homes.erase("acme", ANN, ()) == 1
    assert not folder.exists()
