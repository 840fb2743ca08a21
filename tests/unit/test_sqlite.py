"""The SQLite store by itself."""

import shutil
from pathlib import Path

from llmagent_os.stores.sqlite import SQLiteStore


def test_the_log_does_not_grow_from_crash_to_crash(tmp_path: Path) -> None:
    """A copy of the files of an open store is what a kill leaves."""
    sizes = []
    (tmp_path / "0").mkdir()
    for n in range(4):
        store = SQLiteStore(tmp_path / str(n) / "journal.db")
        for i in range(100):
            store.write([("record.put", (f"run {n}", str(i), 1, b"x" * 500, 0.0))])
        sizes.append((tmp_path / str(n) / "journal.db-wal").stat().st_size)
        shutil.copytree(tmp_path / str(n), tmp_path / str(n + 1))
        store.close()
    assert sizes[3] < 2 * sizes[0]
    last = SQLiteStore(tmp_path / "4" / "journal.db")
    assert [len(last.read("record.list", f"run {n}", "", -1)) for n in range(4)] == [100] * 4
    last.close()
