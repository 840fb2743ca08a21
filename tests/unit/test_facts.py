"""Records go with the journal's next commit: many at once are one, and who reads sees them before it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import JournalFull
from llmagent_os.kernel.journal import Journal
from llmagent_os.security.vault import TOGETHER, Vault
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.sqlite import SQLiteStore

KEY = bytes(32)


class Counting(SQLiteStore):
    """A store that counts its commits, and fails them while it is `full`."""

    commits, full = 0, False

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        self.commits += 1
        if self.full:
            raise JournalFull("the journal cannot be written (test)")
        super().write(batch, patience)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "journal.db")


@pytest.fixture
def facts(store: Counting) -> StoredFacts:
    return StoredFacts(store, Journal(store).append)


async def test_many_records_are_one_commit_and_durable_once_awaited(store: Counting, facts: StoredFacts) -> None:
    await asyncio.gather(*(facts.put("space", str(n), {"n": n}) for n in range(50)))
    assert store.commits == 1
    assert facts.list("space") == {str(n): (1, {"n": n}) for n in range(50)}
    assert len(store.read("record.list", "space", "", -1)) == 50


async def test_what_is_queued_is_read_at_once(store: Counting, facts: StoredFacts) -> None:
    await facts.put("space", "old", 1)
    done = [
        facts.put("space", "key", "first"),
        facts.put("space", "key", "second", 2),
        facts.drop("space", "old"),
    ]
    assert facts.get("space", "key") == (2, "second")
    assert facts.get("space", "old") is None
    assert facts.list("space") == {"key": (2, "second")}
    await asyncio.gather(*done)
    assert facts.list("space") == {"key": (2, "second")}
    assert store.commits == 2


async def test_a_record_that_is_dropped_right_after_it_was_put_is_gone(facts: StoredFacts) -> None:
    await asyncio.gather(facts.put("space", "key", 1), facts.drop("space", "key"))
    assert facts.get("space", "key") is None
    await asyncio.gather(facts.drop("space", "key"), facts.put("space", "key", 2))
    assert facts.get("space", "key") == (1, 2)


async def test_what_could_not_be_kept_is_said_and_is_not_there(store: Counting, facts: StoredFacts) -> None:
    store.full = True
    with pytest.raises(JournalFull):
        await facts.put("space", "key", 1)
    assert facts.get("space", "key") is None


async def test_new_masked_values_are_one_commit(store: Counting, facts: StoredFacts) -> None:
    vault = Vault(KEY, facts)
    tokens = {vault.token("t", "EMAIL", f"p{n}@example.org") for n in range(50)}
    await asyncio.gather(vault.kept(), vault.kept())
    assert store.commits == 1
    assert Vault(KEY, facts).known("t").values.keys() == tokens


async def test_very_many_new_masked_values_are_several_commits(store: Counting, facts: StoredFacts) -> None:
    vault = Vault(KEY, facts)
    tokens = {vault.token("t", "EMAIL", f"p{n}@example.org") for n in range(3 * TOGETHER)}
    await vault.kept()
    assert store.commits >= 3
    assert Vault(KEY, facts).known("t").values.keys() == tokens


async def test_a_masked_value_that_could_not_be_kept_is_tried_again(store: Counting, facts: StoredFacts) -> None:
    vault = Vault(KEY, facts)
    token = vault.token("t", "EMAIL", "ann@example.org")
    store.full = True
    with pytest.raises(JournalFull):
        await vault.kept()
    store.full = False
    assert vault.token("t", "EMAIL", "ann@example.org") == token
    await vault.kept()
    assert Vault(KEY, facts).known("t").values == {token: "ann@example.org"}


async def test_the_same_value_masked_in_many_threads_has_one_token(facts: StoredFacts) -> None:
    vault, start = Vault(KEY, facts), threading.Barrier(4)

    def mask() -> list[str]:
        start.wait()
        return [vault.token("t", "EMAIL", f"p{n}@example.org") for n in range(200)]

    first, *others = await asyncio.gather(*(asyncio.to_thread(mask) for _ in range(4)))
    assert all(each == first for each in others)
    await vault.kept()
    assert len(Vault(KEY, facts).known("t").values) == 200


async def test_a_store_that_is_held_does_not_stop_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = SQLiteStore(path)
    journal = Journal(store)
    facts = StoredFacts(store, journal.append)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    loop = asyncio.get_running_loop()
    putting = asyncio.ensure_future(facts.put("space", "key", 1))
    began = loop.time()
    await asyncio.sleep(0.05)
    assert loop.time() - began < 0.5
    other.execute("ROLLBACK")
    await asyncio.wait_for(putting, 20)
    assert facts.get("space", "key") == (1, 1)
    await journal.drain()
