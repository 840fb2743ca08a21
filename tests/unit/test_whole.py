"""Files that are there whole or not at all."""

import stat
from pathlib import Path

import pytest

from llmagent_os.core.whole import write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    (tmp_path / "key.new").write_text("left by a crash")
    write_whole(path, b"one")
    write_whole(path, b"two", private=True)
    assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_stood_there_stays_where_it_cannot_be_written(tmp_path: Path) -> None:
    (place := tmp_path / "place").mkdir()
    (place / "kept").write_text("here")
    with pytest.raises(OSError):
        write_whole(place, b"one")
    assert (place / "kept").read_text() == "here" and list(tmp_path.iterdir()) == [place]


def test_another_file_that_a_link_names_is_not_written_to(tmp_path: Path) -> None:
    (other := tmp_path / "other").write_text("theirs")
    (tmp_path / "key.new").symlink_to(other)
    write_whole(tmp_path / "key", b"one")
    assert other.read_text() == "theirs" and (tmp_path / "key").read_bytes() == b"one"
