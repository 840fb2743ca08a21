"""Values in parts: whatever is split comes back exactly, and what comes again costs nothing."""

from __future__ import annotations

import hashlib
import random
import re
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.parts import CHUNK, MANY, MARK, SMALL, join, pressed, split


class Kept(dict[str, bytes]):
    """Contents by the hash that names them."""

    def __call__(self, content: bytes) -> str:
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        self[name] = content
        return name

    def size(self) -> int:
        return sum(map(len, self.values()))


TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(max_size=20).map(lambda text: MARK + text),
    st.sampled_from(["s", "l", "v", "", MARK]).map(lambda kind: MARK + kind + "0" * 32),
    st.integers(0, 3).map(lambda n: f"a long text, said {n} times " * 20),
)
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=30), st.dictionaries(TEXTS, inner, max_size=6)),
    max_leaves=60,
)


@given(st.binary(max_size=400), st.integers(1, 100))
@settings(max_examples=100, deadline=None)
def test_what_is_pressed_is_a_zlib_stream_of_any_size(content: bytes, times: int) -> None:
    assert zlib.decompress(pressed(content * times)) == content * times


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, 10 * SMALL])
def test_a_small_window_presses_what_it_is_for_as_well_as_a_large_one(size: int) -> None:
    content = random.Random(size).randbytes(size // 2).hex().encode()
    assert zlib.decompress(pressed(content)) == content
    assert len(pressed(content)) <= len(zlib.compress(content, 1)) * 1.01 + 16


@given(DATA)
@settings(max_examples=200, deadline=None)
def test_what_was_split_comes_back_exactly(value: Any) -> None:
    data, kept = orjson.dumps(value), Kept()
    made = split(data, kept)
    assert orjson.dumps(join(made, kept.__getitem__)) == data
    assert split(data, kept) == made


@given(st.lists(DATA, max_size=40), st.lists(DATA, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_list_that_grew_keeps_the_parts_of_its_beginning(items: list[Any], more: list[Any]) -> None:
    before, after = Kept(), Kept()
    split(orjson.dumps(items), before)
    split(orjson.dumps(items + more), after)
    assert before.keys() <= after.keys()


@given(DATA)
@settings(max_examples=100, deadline=None)
def test_every_part_is_found_by_who_looks_for_names(value: Any) -> None:
    """As the collector of blobs does, which knows nothing of the form."""
    kept = Kept()
    made = split(orjson.dumps(value), kept)
    found: set[str] = set()
    left = [made]
    while left:
        names = set(re.findall(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", left.pop().decode())) & kept.keys()
        left += [kept[name] for name in names - found]
        found |= names
    assert found == kept.keys()


def prompts(turns: int) -> list[dict[str, Any]]:
    """The requests of a conversation with messages that do not compress."""
    rng = random.Random(7)
    messages: list[dict[str, str]] = [{"role": "system", "content": "You are a helpful assistant. " * 20}]
    made = []
    for _ in range(turns):
        messages.append({"role": "user", "content": f"{rng.getrandbits(4000):x}"})
        made.append({"request": {"model": "m", "messages": list(messages)}, "show": 1})
        messages.append({"role": "assistant", "content": f"{rng.getrandbits(4000):x}"})
    return made


def test_a_conversation_costs_the_same_at_every_turn() -> None:
    kept, sizes = Kept(), [0]
    for request in prompts(200):
        rows = len(split(orjson.dumps(request), kept))
        assert rows < 2 * CHUNK
        sizes.append(kept.size())
    first, last = sizes[100] - sizes[50], sizes[200] - sizes[150]
    assert last <= 1.05 * first
    assert last / 50 < 2000 + 400  # of which the texts are 2000


def test_the_same_text_in_message_prompt_state_and_reply_is_one_part() -> None:
    kept, text = Kept(), "a text that is said again " * 40
    for value in (
        {"text": text},
        {"to": 1, "body": {"text": text}},
        {"request": {"messages": [{"role": "user", "content": text}]}},
        {"history": [{"role": "user", "content": text}], "summary": ""},
        {"text": text, "parts": [{"type": "text", "text": text}]},
        text,
    ):
        split(orjson.dumps(value), kept)
    assert list(kept.values()) == [text.encode()]


def test_the_same_record_in_two_values_is_one_part() -> None:
    kept = Kept()
    spec = {"name": "bot", "tools": [f"tool-{n}" for n in range(100)], **{f"field{n}": n for n in range(50)}}
    one = split(orjson.dumps({"args": {"spec": spec, "version": 1}, "name": "a"}), kept)
    parts = len(kept)
    two = split(orjson.dumps({"spec": spec, "version": 1}), kept)
    assert len(kept) == parts
    assert len(one) < 1500 and len(two) < 1500


def test_a_large_list_has_few_parts_and_grows_by_what_is_added() -> None:
    kept, rows = Kept(), [{"token": f"t{n}", "logprob": -n / 7} for n in range(20_000)]
    split(orjson.dumps(rows), kept)
    parts, size = len(kept), len(orjson.dumps(rows))
    assert parts < size / 4000
    split(orjson.dumps([*rows, *rows[:500]]), kept)
    assert len(kept) - parts < 10


def test_numbers_stay_together() -> None:
    kept, vectors = Kept(), [[n / 7 + m for n in range(384)] for m in range(3)]
    split(orjson.dumps({"vectors": vectors}), kept)
    assert len(kept) == 3


@pytest.mark.parametrize("odd", [1, "a" * 300, MARK + "s", [[2]], {"text": "b" * 2000}])
def test_a_very_long_list_is_said_some_items_at_a_time(odd: Any) -> None:
    items: list[Any] = [[n] for n in range(3 * MANY)]
    items[MANY] = odd
    kept: dict[str, bytes] = {}

    def keep(content: bytes) -> str:
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        kept[name] = content
        return name

    assert join(split(orjson.dumps({"a": items}), keep), kept.__getitem__) == {"a": items}
    before = len(kept)
    assert before < 3 * MANY / 50
    items.append("one more")
    assert join(split(orjson.dumps({"a": items}), keep), kept.__getitem__) == {"a": items}
    assert len(kept) - before <= 3  # what it begins with is shared
