"""Mistakes of typing, put into texts."""

from difflib import SequenceMatcher

from llmagent_os.core.records import Message
from llmagent_os.finetune.rows import Row, row_of
from llmagent_os.finetune.typos import mistyped

TEXT = "Yesterday somebody from Acme Holdings telephoned about several delayed parcels, wanting refunds for everything"


def test_some_words_are_mistyped_by_a_letter_and_always_the_same() -> None:
    row = Row((Message("system", "Label everything carefully"), Message("user", TEXT)), "complaint")
    other = mistyped(row)
    assert other == mistyped(row) != mistyped(row, 1)
    assert (other.messages[0], other.output) == (row.messages[0], row.output)
    pairs = list(zip(TEXT.split(), other.text.split(), strict=True))
    changed = [(one, two) for one, two in pairs if one != two]
    assert 2 <= len(changed) <= 9
    for one, two in changed:
        assert len(one.strip(",")) >= 4 and one[0] == two[0] and SequenceMatcher(None, one, two).ratio() > 0.7


def test_what_is_to_be_found_is_left_as_it_is() -> None:
    start = TEXT.index("Acme")
    row = row_of({"text": TEXT, "spans": [[start, start + len("Acme Holdings"), "ORG"]]}, "row")
    texts = {mistyped(row, seed).text for seed in range(40)}
    assert len(texts) > 30 and all("Acme Holdings" in text for text in texts)


def test_a_row_without_words_of_a_user_stays() -> None:
    row = Row((Message("system", "Say something"),), "something")
    assert mistyped(row) is row
