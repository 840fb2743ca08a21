"""Knowledge: passages of documents, found by words and names, and by nobody whose they are not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.core.records import Document, Place, Sought
from llmagent_os.knowledge import folders, readers, rows, segments, words
from llmagent_os.knowledge.base import Knowledge
from llmagent_os.knowledge.folders import sync
from llmagent_os.knowledge.passages import cut
from llmagent_os.knowledge.readers import documents_of
from llmagent_os.knowledge.stem import stem
from llmagent_os.modules import KnowledgeBase
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.knowledge import HERE, document, found, knowledge


@pytest.mark.parametrize(
    ("word", "told"),
    [("caresses", "caress"), ("ponies", "poni"), ("agreed", "agre"), ("plastered", "plaster"), ("motoring", "motor"),
     ("sing", "sing"), ("conflated", "conflat"), ("hopping", "hop"), ("falling", "fall"), ("filing", "file"),
     ("happy", "happi"), ("relational", "relat"), ("vietnamization", "vietnam"), ("triplicate", "triplic"),
     ("hopefulness", "hope"), ("adoption", "adopt"), ("rate", "rate"), ("controlling", "control"), ("sky", "sky")],
)  # fmt: skip
def test_words_that_mean_alike_have_one_stem(word: str, told: str) -> None:
    assert stem(word) == told


def test_words_are_found_without_accents_and_chinese_by_two_characters() -> None:
    assert set(words.terms("Alû was a demon")) == {"alu", "wa", "a", "demon"}
    assert set(words.terms("会议在星期三")) == {"会议", "议在", "在星", "星期", "期三"}
    assert set(words.terms("用Python写")) == {"用", "python", "写"}


def test_names_are_runs_of_capitals_and_titles_what_is_without_their_brackets() -> None:
    named = words.mentioned("He met Sir Arthur Evans of the British Museum in Knossos.")
    assert {words.NAME + name for name in ("arthur evan", "british museum")} <= named
    assert words.titles("Lilu (mythology)") == {words.NAME + "lilu mythologi", words.NAME + "lilu"}
    assert words.titles("The Hukilau Song") == {words.NAME + "hukilau song"}


@settings(deadline=None)
@given(st.text(alphabet="ab. \n。", max_size=400), st.integers(2, 60))
def test_passages_are_in_order_and_leave_out_white_space_alone(text: str, longest: int) -> None:
    places = list(cut(text, longest))
    assert all(0 < end - begin <= longest for begin, end in places)
    assert "".join(text[begin:end] for begin, end in places).split() == text.split() or "".join(
        "".join(text[begin:end].split()) for begin, end in places
    ) == "".join(text.split())
    assert places == sorted(places)


async def test_a_passage_is_found_with_where_it_stands() -> None:
    known = knowledge()
    text = "The office opens at nine.\n\n" + "Nothing of note. " * 150 + "\n\nThe rent is due on the fifth of May."
    await known.add(HERE, [document("house.md", text, tags=("home",), at=5.0, origins=("document house.md",))])
    hit = (await found(known, "when is the rent due?"))[0]
    assert text[hit.begin : hit.end] == hit.text and "rent is due" in hit.text
    assert (hit.source, hit.tags, hit.at, hit.origins) == ("house.md", ("home",), 5.0, ("document house.md",))
    assert 0 < hit.score <= 1 and hit.legs["words"] == 1
    assert hit.told()["text"] == hit.text


async def test_what_no_word_of_the_question_is_in_is_found_by_a_name() -> None:
    known = knowledge()
    await known.add(HERE, [
        document("a", "Maximum Overdrive is a film that was shot around Leland, North Carolina.", "Overdrive"),
        document("b", "A novelist, born 1947. His hobby is the guitar.", "Stephen King"),
        document("c", "Overdrive was directed by Stephen King alone.", "Credits"),
        *(document(f"n{n}", f"Of no interest, number {n}, shot {n} times.") for n in range(30)),
    ])  # fmt: skip
    hits = await found(known, "who directed Overdrive?")
    reached = next(hit for hit in hits if hit.title == "Stephen King")
    assert "words" not in reached.legs and reached.legs["graph"] > 0
    assert reached.path == ("Credits", "stephen king", "Stephen King")


async def test_long_titles_and_questions_are_cut_and_taken_back_whole() -> None:
    store = SQLiteStore()
    known = knowledge(store)
    await known.add(HERE, [document("a", "apples", " " * 100_000 + "Word " * 100_000)])
    assert len((await found(known, "apples " * 100_000))[0].title) == 300
    assert await known.remove(HERE, "a") == 1
    assert store._reader.execute("SELECT count(*) FROM segment").fetchone() == (0,)


async def test_what_is_in_no_word_is_known_and_finds_nothing() -> None:
    known = knowledge()
    assert await known.add(HERE, [document("a", "!!! ...", " ")]) == 1
    assert await found(known, "apples") == []
    await known.add(HERE, [document("b", "apples")])
    assert [hit.source for hit in await found(known, "apples")] == ["b"]


async def test_what_an_earlier_version_took_in_is_found() -> None:
    store = SQLiteStore()
    await knowledge(store).add(HERE, [document("a", f"apples {n}", f"Title {n}") for n in range(5)])
    store._writer.execute("DELETE FROM segment")  # as its migration leaves it
    assert len(await found(knowledge(store), "apples")) == 5
    assert len(await found(knowledge(store), "title")) == 5


@pytest.mark.parametrize("room", [1, segments.CACHE])
async def test_segments_are_put_together_and_as_many_kept_as_there_is_room_for(room: int) -> None:
    store = SQLiteStore()
    known = knowledge(store)
    await found(known, "", HERE)
    known._index = segments.Segments(store, room)
    for n in range(100):
        await known.add(HERE, [document(f"d{n}", f"apples number{n}")])
    rows = store._reader.execute("SELECT passages FROM segment").fetchall()
    assert sum(count for (count,) in rows) == 100 and len(rows) < 10
    assert len(known._index._kept) == (1 if room == 1 else len(rows))
    assert [hit.source for hit in await found(known, "number7")] == ["d7"]


async def test_chinese_is_found() -> None:
    known = knowledge()
    await known.add(HERE, [document("甲", "周三下午三点在二号会议室开会。"), document("乙", "房租每月五日到期。")])
    assert (await found(known, "会议室在哪里"))[0].source == "甲"


async def test_documents_are_replaced_removed_and_known_once() -> None:
    store = SQLiteStore()
    known = knowledge(store)
    assert await known.add(HERE, [document("a", "apples and pears")]) == 1
    assert await known.add(HERE, [document("a", "apples and pears")]) == 0
    assert await known.add(HERE, [document("a", "plums"), document("a", "cherries")]) == 2
    assert await found(known, "apples") == []
    assert {hit.text for hit in await found(known, "plums cherries")} == {"plums", "cherries"}
    again = knowledge(store)
    assert [each.source for each in again.documents(again.places("here"))] == ["a", "a"]
    assert await again.remove(HERE, "a") == 2
    for table in ("document", "passage", "segment"):
        assert store._reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


class Broken(Exception):
    """What breaks off a change."""


def breaking(store: SQLiteStore, commits: int) -> Knowledge:
    """Knowledge whose commits fail after some."""
    left = [commits]

    async def append(statements: Sequence[tuple[str, tuple[Any, ...]]], then: Callable[[], None]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Broken
        store.write(statements)
        then()

    return Knowledge(store, append)


def rows_of(store: SQLiteStore) -> list[int]:
    """How many documents, passages and segments there are."""
    return [store._reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("document", "passage", "segment")]  # fmt: skip


@pytest.mark.parametrize("commits", range(5))
async def test_a_large_source_goes_in_and_out_in_parts_and_what_was_broken_off_is_done_the_next_time(
    monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    monkeypatch.setattr(rows, "PART", 4)
    old, new = ([document("a", f"{word} {n} " * 400) for n in range(6)] for word in ("pears", "apples"))
    whole = SQLiteStore()
    await knowledge(whole).add(HERE, new)
    store = SQLiteStore()
    known = knowledge(store)
    await known.add(HERE, [document("b", "plums")])
    before = rows_of(store)
    await known.add(HERE, old)
    with pytest.raises(Broken):
        await breaking(store, commits).add(HERE, new)
    again = knowledge(store)
    assert (again.sources(HERE)["a"].hash == "") == (commits > 0)  # nothing was begun, or it is there in part
    assert await again.add(HERE, new) > 6 and await again.add(HERE, new) == 0
    assert [m - n for m, n in zip(rows_of(store), before, strict=True)][:2] == rows_of(whole)[:2]
    assert await found(again, "pears") == [] and len(await found(again, "apples", limit=50)) == rows_of(whole)[1]
    with pytest.raises(Broken):
        await breaking(store, min(commits, 2)).remove(HERE, "a")
    assert await knowledge(store).add(HERE, new) > 0 or commits == 0  # in part it is not known
    assert await knowledge(store).remove(HERE, "a") == 6
    assert rows_of(store) == before and len(await found(knowledge(store), "plums")) == 1


async def test_a_table_of_many_rows_is_taken_back_row_by_row_and_not_by_all_rows_for_each() -> None:
    store, written, largest = SQLiteStore(), 0, 0

    async def append(statements: Sequence[tuple[str, tuple[Any, ...]]], then: Callable[[], None]) -> None:
        nonlocal written, largest
        written += sum(len(values[-1]) for name, values in statements if name == "know.segment")
        largest = max(largest, len(statements))
        store.write(statements)
        then()

    known = Knowledge(store, append)
    await known.add(HERE, [document("c", f"a: {n}") for n in range(3_000)])
    assert await known.remove(HERE, "c") == 3_000
    assert rows_of(store) == [0, 0, 0]
    assert written < 400_000  # each segment a time or two, and not for every row of the table
    assert largest < 3 * rows.PART


async def test_what_is_long_for_one_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PART", 4)
    store, commits, held = SQLiteStore(), 0, asyncio.Event()

    async def append(statements: Sequence[tuple[str, tuple[Any, ...]]], then: Callable[[], None]) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            await held.wait()
        store.write(statements)
        then()

    known = Knowledge(store, append)
    long = asyncio.create_task(known.add(HERE, [document("a", f"apples {n} " * 400) for n in range(6)]))
    while commits < 3:
        await asyncio.sleep(0)
    there = Place("there")
    async with asyncio.timeout(20):
        assert await known.add(there, [document("b", "plums")]) == 1 and await known.remove(there, "b") == 1
        assert await known.add(there, [document("b", "cherries")]) == 1
    assert not long.done()
    held.set()
    assert await long > 6
    assert len(await found(known, "apples", limit=50)) == await long
    assert [hit.text for hit in await found(known, "cherries", there)] == ["cherries"]


PLACES = [Place("x"), Place("x", "bob"), Place("x", "", "ann"), Place("x", "bob", "ann"), Place("y"), Place("y", "bob")]
TEXT = st.lists(st.sampled_from(["red", "green", "New York", "Blue Hat", "的"]), min_size=1, max_size=6).map(" ".join)
PLACE, NAMED = st.sampled_from(PLACES), st.sampled_from(["s/a", "s/b", "t/c"])
DOCUMENT = st.tuples(
    PLACE, NAMED, TEXT, st.sampled_from([None, 1.0, 2.0, 3.0]),
    st.sets(st.sampled_from(["p", "q"])),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(DOCUMENT, st.tuples(PLACE, NAMED)), max_size=12),
    st.sampled_from(["", "s/", "s/a"]), st.sets(st.sampled_from(["p", "q"])), st.sampled_from([None, 2.0]),
    st.sampled_from([None, 2.0]), st.sampled_from(["x", "y"]), st.sampled_from([None, "bob", "eve"]),
    st.sampled_from([None, "ann", "tom"]),
)  # fmt: skip
def test_a_search_finds_what_is_there_for_it_and_nothing_else(
    done: list, source: str, tags: set, since: float | None, until: float | None, tenant: str, agent: str | None,
    principal: str | None,
) -> None:  # fmt: skip
    async def told() -> None:
        known, there = knowledge(), dict[tuple[Place, str], tuple]()
        for place, name, *more in done:
            if more:
                text, at, tagged = more
                await known.add(place, [document(name, text, at=at, tags=tuple(sorted(tagged)))])
                there[place, name] = (text, at, tagged)
            else:
                await known.remove(place, name)
                there.pop((place, name), None)
        question = "red green New York Blue Hat 的"
        hits = await known.search(
            known.places(tenant, agent, principal),
            Sought(question, 100, source, tuple(tags), since, until),
        )
        assert {(hit.place, hit.source, hit.text) for hit in hits} == {
            (place, name, text) for (place, name), (text, at, tagged) in there.items()
            if place.tenant == tenant and name.startswith(source) and tags <= tagged
            and (agent is None or place.agent in ("", agent))
            and (principal is None or place.principal in ("*", principal))
            and (since is None or (at is not None and at >= since))
            and (until is None or (at is not None and at <= until))
        }  # fmt: skip

    asyncio.run(told())


async def test_what_others_know_changes_no_score() -> None:
    alone, beside = knowledge(), knowledge()
    for known in (alone, beside):
        await known.add(HERE, [document("a", "red apples"), document("b", "green apples and pears")])
    await beside.add(Place("there"), [document(f"n{n}", "red red apples") for n in range(20)])
    mine = [(hit.source, hit.score) for hit in await found(alone, "red apples")]
    assert [(hit.source, hit.score) for hit in await found(beside, "red apples")] == mine


def read(name: str, text: str | bytes) -> list[tuple[str, str]]:
    """What a reader makes of a file: titles and texts."""
    found = documents_of(text.encode() if isinstance(text, str) else text, name)
    return [(each.title, each.text) for each in found]


def test_files_are_read_by_their_kind() -> None:
    assert read("a.txt", "hello") == [("a.txt", "hello")]
    assert read("a.md", "# The House\n\nIt is old.") == [("The House", "# The House\n\nIt is old.")]
    assert read("a.html", "<title>A &amp; B</title><p>one<script>x</script><p>two") == [("A & B", "A & B\n\none\ntwo")]
    assert read("a.json", '[{"title": "T", "n": 1, "who": {"name": "Ann"}}]') == [
        ("T", "title: T\nn: 1\nwho name: Ann")
    ]
    assert read("a.jsonl", '{"title": "T", "text": "x"}\n\n"y"\n') == [("T", "x"), ("a.jsonl", "y")]
    assert read("a.csv", "name,age\nAnn,5\nTom,\n") == [("Ann", "name: Ann\nage: 5"), ("Tom", "name: Tom")]
    assert read("a.csv", "name;age\nAnn;5\n") == [("Ann", "name: Ann\nage: 5")]
    assert read("a.py", "def f(): ...") == [("a.py", "def f(): ...")]
    mail = "From: ann@example.com\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nSubject: =?utf-8?b?UsOpbnQ=?=\n\nIt is due."
    (found,) = documents_of(mail.encode(), "a.eml")
    assert found.title == "Rént" and "It is due." in found.text and found.at == 1772445600.0


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.txt", b"\xff\x00"), ("a.json", b"{"), ("a.jsonl", b"1\n{"), ("a.png", b"\x89PNG\0"),
     ("a.json", b"[" * 5000)],
)  # fmt: skip
def test_what_cannot_be_read_is_named(name: str, data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="a\\."):
        documents_of(data, name)


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.html", "<title" * 300_000 + "<p>text"), ("a.html", "<title " + "a" * 1_000_000 + "<p>text"),
     *(("a.eml", f"{head}: {value}\n\ntext") for head in ("From", "To", "Cc", "Date", "Subject", "Content-Disposition")
       for value in ('"' * 100_000, "(" * 100_000, "a@" * 50_000, "=?x?q?" * 20_000))],
)  # fmt: skip
def test_what_is_written_to_take_long_is_read_in_the_time_of_its_length(name: str, data: str) -> None:
    began = time.process_time()
    with suppress(RecursionError):  # of a header's kind, which is too deep: it is said, at once
        assert "text" in read(name, data)[0][1]
    assert time.process_time() - began < 5  # tens of milliseconds; by the square it was minutes


def test_a_mail_has_its_headers_as_they_stand() -> None:
    mail = 'From: =?utf-8?q?J=C3=B6rg?= <j@example.com>\nTo: "Smith, Ann" <a@b.c>,\n b@c.d\nSubject: x\n y\n\nhi'
    ((title, text),) = read("a.eml", mail)
    assert title == "x y"
    assert text.splitlines()[:2] == ["From: Jörg <j@example.com>", 'To: "Smith, Ann" <a@b.c>, b@c.d']


async def test_one_who_has_many_files_read_holds_up_nobody_else() -> None:
    async def done(*whose: str) -> bool:
        (found,) = await readers.read(b"text", "a.txt", whose)
        return found.text == "text"

    held = [readers._share(readers.PERSON, "here", "ann"), readers._share(readers.TENANT, "here")]
    for each in held:  # as while a file of theirs is read
        await each.acquire()
    second = asyncio.create_task(done("here", "ann"))
    assert await done("here", "bob") and await done("there", "eve")
    await held[1].acquire()
    third = asyncio.create_task(done("here", "bob"))
    assert await done("there", "eve")
    assert not second.done() and not third.done()
    for each in (*held, held[1]):
        each.release()
    assert await second and await third


async def test_a_folder_is_kept_in_step() -> None:
    with tempfile.TemporaryDirectory() as name:
        top, known = Path(name), knowledge()
        (top / "sub").mkdir()
        (top / ".git").mkdir()
        (top / ".git" / "x.txt").write_text("hidden")
        (top / "sub" / "a.txt").write_text("apples")
        (top / "b.txt").write_text("pears")
        (top / "c.bin").write_bytes(b"\0")
        (top / "d.txt").symlink_to("/etc/hostname")
        first = await sync(known, HERE, top, tags=("fruit",))
        assert (first.added, first.same, first.removed, list(first.skipped)) == (2, 0, 0, [str(top / "c.bin")])
        (hit,) = await found(known, "apples")
        assert hit.origins == (f"document {hit.source}",) and hit.tags == ("fruit",)
        before = known.documents(known.places("here"))
        again = await sync(known, HERE, top, tags=("fruit",))
        assert (again.added, again.same, again.removed) == (0, 2, 0)
        assert known.documents(known.places("here")) == before
        (top / "sub" / "a.txt").write_text("plums")
        (top / "b.txt").unlink()
        third = await sync(known, HERE, top, tags=("fruit",), trusted=True)
        assert (third.added, third.removed) == (1, 1)
        assert await found(known, "apples pears") == [] and (await found(known, "plums"))[0].origins == ()


async def test_what_was_said_of_a_folder_stays_until_something_else_is_said(tmp_path: Path) -> None:
    known, (a, b, c) = knowledge(), (tmp_path / name for name in ("a.txt", "b.txt", "c.txt"))

    def said(path: Path) -> tuple[tuple[str, ...], bool]:
        about = known.said(HERE, str(path))
        assert about is not None
        return about.tags, about.trusted

    a.write_text("apples")
    b.write_text("pears")
    await sync(known, HERE, tmp_path, ("notes", "fruit"), trusted=True)
    assert (await sync(known, HERE, tmp_path)).same == 2
    a.write_text("more apples")
    c.write_text("new")
    assert (await sync(known, HERE, tmp_path)).added == 2
    assert said(a) == said(b) == (("notes", "fruit"), True) and said(c) == (("notes", "fruit"), False)
    assert (await sync(known, HERE, tmp_path, trusted=False)).same == 1
    assert said(a) == said(c) == (("notes", "fruit"), False)
    await sync(known, HERE, tmp_path, ())
    assert said(a) == said(b) == said(c) == ((), False)


async def test_a_file_whose_name_is_no_text_is_named_and_the_rest_goes_in() -> None:
    with tempfile.TemporaryDirectory() as name:
        top, known = Path(name), knowledge()
        odd = [b"caf\xe9.txt", b"\x1b[2J.txt", b"a\nb.txt"]
        for each in odd:
            (top / os.fsdecode(each)).write_text("odd")
        (top / "zebra.txt").write_text("zebras")
        for added in (1, 0):
            synced = await sync(known, HERE, top)
            assert (synced.added, sorted(synced.skipped)) == (
                added, sorted(f"{top}/{each}" for each in (r"caf\xe9.txt", r"\x1b[2J.txt", r"a\x0ab.txt"))
            )  # fmt: skip
            assert all("UTF-8" in why for why in synced.skipped.values())
        assert [hit.text for hit in await found(known, "odd zebras")] == ["zebras"]


def test_a_file_that_ends_never_or_is_none_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidRequest, match="no plain file"):
        folders._made(str(tmp_path / "pipe"), "", (), ())
    if os.access("/proc/kmsg", os.R_OK):  # a plain file, whose end is never there
        with suppress(InvalidRequest):
            folders._made("/proc/kmsg", "", (), ())


async def test_a_folder_is_looked_into_and_its_files_are_read_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("apples")
    opened, known = list[str](), knowledge()

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if heard_of and event in ("open", "os.scandir") and str(args[0]).startswith(str(tmp_path)):
            opened.append(f"{event} {args[0]}")

    heard_of = [True]  # a hook stays for good
    sys.addaudithook(heard)
    try:
        assert (await sync(known, HERE, tmp_path)).added == 1 and (await sync(known, HERE, tmp_path)).same == 1
    finally:
        heard_of.clear()
    assert opened == []


async def test_what_a_kernel_makes_up_and_what_is_on_another_file_system_is_no_document() -> None:
    known = knowledge()
    for folder in ("/proc", "/proc/self/task"):
        with pytest.raises(InvalidRequest, match="no documents"):
            await sync(known, HERE, Path(folder))
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == shm.parent.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    with tempfile.NamedTemporaryFile("w", dir=shm, suffix=".txt") as file:
        file.write("zebras")
        file.flush()
        assert (await sync(known, HERE, shm)).added >= 1
        synced = await sync(known, HERE, shm.parent)
        assert "another file system" in synced.skipped[str(shm)]
        assert synced.removed == 0 and [hit.text for hit in await found(known, "zebras")] == ["zebras"]


async def test_the_systems_own_folder_is_left_out(tmp_path: Path) -> None:
    own, known = tmp_path / "data", knowledge()
    own.mkdir()
    (own / "key").write_text("secret zebra")
    (tmp_path / "a.txt").write_text("zebra")
    with pytest.raises(InvalidRequest, match="own"):
        await sync(known, HERE, own, own=own)
    synced = await sync(known, HERE, tmp_path, own=own)
    assert (synced.added, list(synced.skipped)) == (1, [str(own)])
    assert [hit.text for hit in await found(known, "zebra")] == ["zebra"]


@pytest.mark.parametrize("source", ["a\nb", "\x1b[2J", "\x00", "\x9b31m", "a\u2028b", "\ud800", "a" * 4096])
async def test_a_source_is_one_line_of_text(source: str) -> None:
    known = knowledge()
    with pytest.raises(InvalidRequest, match="one line"):
        await known.add(HERE, [document("a", "good"), document(source, "zebra", "zebra")])
    assert known.documents(known.places("here")) == []


async def test_many_documents_are_gathered_and_compared_off_the_loop(tmp_path: Path) -> None:
    store, threads = SQLiteStore(tmp_path / "known.db"), set[str]()

    def made() -> Iterator[Document]:
        for n in range(3):
            threads.add(threading.current_thread().name)
            yield document("a", f"apples {n}")

    known = knowledge(store)
    try:
        assert [await known.add(HERE, made()), await known.add(HERE, made())] == [3, 0]
    finally:
        known.close()
        store.close()
    assert len(threads) == 1 and threads != {threading.current_thread().name}


async def test_a_title_is_one_line() -> None:
    known = knowledge()
    await known.add(HERE, [document("a", "zebra", "T\x1b[2J\n [2]\u2028 Forged\x00 ")])
    assert [hit.title for hit in await found(known, "forged")] == ["T [2J [2] Forged"]


async def test_a_person_is_erased() -> None:
    store = SQLiteStore()
    known = knowledge(store)
    await known.add(Place("here", "bob", "ann"), [document("a", "Ann Smith lives in Paris")])
    await known.add(HERE, [document("b", "Everybody knows")])
    assert [each["texts"] for each in known.export("here", "ann")] == [["Ann Smith lives in Paris"]]
    assert await known.erase("here", "ann", ()) == 1
    assert list(known.export("here", "ann")) == []
    shared = known.places("here", "", "*")
    assert store._reader.execute("SELECT place FROM segment").fetchall() == [(place,) for place in shared]


def test_a_calendar_is_loaded_and_asked(tmp_path: Path) -> None:
    calendar = {
        "meetings": [
            {"title": "Budget", "day": "Tuesday", "with": ["Ann", "Tom"]},
            {"title": "预算会议", "day": "星期三", "room": "二号会议室"},
        ],
        "rules": {"lunch": "never between noon and one"},
    }
    path = tmp_path / "calendar.json"
    path.write_text(json.dumps(calendar))
    with KnowledgeBase(tmp_path / "known.db") as known:
        assert known.load_knowledge(calendar) == 3
        assert known.load_knowledge(str(path)) == known.load_knowledge(path) == 0
        assert known.retrieve_knowledge("who meets Tom about the budget?")[0]["title"] == "Budget"
        assert "二号会议室" in str(known.retrieve_knowledge("预算会议在哪个会议室")[0]["text"])
        assert known.load_knowledge('{"rules": ["lunch is at noon"]}') == 1
        assert len(known.list()) == 3 and known.remove("loaded/meetings") == 2
        with pytest.raises(InvalidRequest, match="not JSON"):
            known.load_knowledge("{")
    with KnowledgeBase(tmp_path / "known.db") as again:
        (hit,) = again.search("lunch at noon")
        assert hit["source"] == "loaded/rules"


async def test_a_knowledge_base_is_asked_within_an_event_loop(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("apples")
    with KnowledgeBase() as known:
        assert known.add("b", "pears", tags=["fruit"]) == 1
        assert known.sync(tmp_path)["added"] == 1
        assert [hit["source"] for hit in known.search("pears apples", tags=["fruit"])] == ["b"]


@given(st.text(max_size=200) | st.text("aB1_ .,-'\"“”《》\u00a0—会议é\u0301ﬁ", max_size=80))
def test_terms_by_number_are_the_terms(text: str) -> None:
    for _ in range(2):  # the second time what was made once
        assert words.hashed(text) == list(map(words.number, words.terms(text)))
        assert words.mentions(text) == set(map(words.number, words.mentioned(text)))
