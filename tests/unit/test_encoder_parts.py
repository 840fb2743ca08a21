"""What encoders stand on: their files, pieces of words, spans, and the engine in numpy."""

from pathlib import Path

import pytest

from llmagent_os.core import spans
from llmagent_os.core.errors import InvalidRequest, Unsupported
from llmagent_os.core.packs import Packed, read_pack, write_pack
from llmagent_os.core.wordpiece import WordPiece
from llmagent_os.finetune.ladder import score
from llmagent_os.finetune.marked import doccano
from llmagent_os.finetune.read import read
from llmagent_os.finetune.report import entities
from llmagent_os.finetune.rows import row_of, rows_of
from llmagent_os.finetune.rungs import Task, task_of
from llmagent_os.llm import LLM
from tests.stand_ins.tiny_encoder import VOCABULARY, save_encoder


def test_a_pack_is_read_as_it_was_written_and_half_of_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.pack"
    write_pack(path, {"one": Packed("F16", (2, 1), b"abcd"), "two": Packed("F32", (1,), b"efgh")}, ["[PAD]", "ü"])
    tensors, words = read_pack(path)
    assert tensors == {"one": ("F16", [2, 1], b"abcd"), "two": ("F32", [1], b"efgh")} and words == ["[PAD]", "ü"]
    whole = path.read_bytes()
    for wrong in (b"", whole[:20], whole.replace(b'"shape":[1]', b'"shape":[9]'), b"\xff" * 40):
        path.write_bytes(wrong)
        with pytest.raises(ValueError):
            read_pack(path)


def test_pieces_say_where_they_stand() -> None:
    words = WordPiece(VOCABULARY)
    text = "Sending  the LÉTTER to zoë-42!"
    told = [(words.vocabulary[each.id], text[each.start : each.end], each.first) for each in words.pieces(text)]
    assert told[:2] == [("send", "Send", True), ("##ing", "ing", False)]
    assert ("letter", "LÉTTER", True) in told and ("-", "-", True) in told
    assert [each[0] for each in told[-3:]] == ["-", "[UNK]", "!"]
    assert words.pieces("") == [] and len(words.pieces("x" * 101)) == 1


def test_tags_and_spans_are_each_others_inverse() -> None:
    words, text = WordPiece(VOCABULARY), "Ann and bobs call Acme, Globex in umbra"
    found = [spans.Span(0, 3, "PER"), spans.Span(8, 12, "PER"), spans.Span(18, 22, "ORG"), spans.Span(24, 30, "ORG")]
    pieces = words.pieces(text)
    assert spans.spans_of(pieces, spans.tagged(pieces, found)) == found
    answer = spans.answer(text, found)
    assert spans.located(text, spans.read(answer) or []) == found
    assert spans.read("no list") is None and spans.read('[{"label": 1}]') is None


@pytest.mark.parametrize(
    "value",
    [
        {"text": "call Ann now", "spans": [{"start": 5, "end": 8, "label": "PER"}]},
        {"text": "call Ann now", "label": [[5, 8, "PER"]]},
        {"text": "call Ann now", "entities": [[5, 8, "PER"]]},
        {"tokens": ["call", "Ann", "now"], "tags": ["O", "B-PER", "O"]},
        {"tokens": ["call", "Ann", "now"], "tags": ["O", "PER", "O"]},
    ],
)
def test_rows_with_spans_by_the_names_that_others_use(value: dict[str, object]) -> None:
    row = row_of(value, "row 1")
    assert (row.text, spans.read(row.output)) == ("call Ann now", [("PER", "Ann")])
    assert row_of(doccano(row.text, row.output), "x").output == row.output
    assert row_of(doccano("a", "b"), "x").output == "b"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"tokens": ["a"], "tags": []}, "1 tokens and 0 tags"),
        ({"text": "ab", "spans": [{"start": 0, "end": 3, "label": "X"}]}, "within its 2 characters"),
        ({"text": "abc", "spans": [[0, 2, "X"], [1, 3, "Y"]]}, "overlap"),
        ({"text": "abc", "spans": [[0, 2]]}, "no {start, end, label}"),
    ],
)
def test_a_bad_row_of_spans_is_named(value: object, what: str) -> None:
    with pytest.raises(InvalidRequest, match="row 1") as error:
        rows_of([value])
    assert what in error.value.message


def test_sentences_of_tagged_words_are_rows_and_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("-DOCSTART- O\n\nAnn NNP B-PER\nBell NNP I-PER\ncalls VB O\n\nAcme NNP B-ORG\n")
    rows = read(file)
    assert [(row.text, spans.read(row.output), row.origin) for row in rows] == [
        ("Ann Bell calls", [("PER", "Ann Bell")], "a.conll:3"), ("Acme", [("ORG", "Acme")], "a.conll:7"),
    ]  # fmt: skip
    assert task_of(rows) == Task(kinds=("ORG", "PER"))
    file.write_text("Ann B-PER\nBell\n")
    with pytest.raises(InvalidRequest, match=r"a\.conll:2 has no tag"):
        read(file)


def test_answers_of_spans_are_scored_by_what_is_found_and_reported_by_kind() -> None:
    task = Task(kinds=("ORG", "PER"))
    wanted = '[{"label":"PER","text":"Ann"},{"label":"ORG","text":"Acme"}]'
    assert score(task, wanted, wanted) == 1.0
    assert score(task, wanted, '[{"label":"PER","text":"Ann"}]') == pytest.approx(2 / 3)
    assert score(task, wanted, "Ann") == 0.0 and score(task, "[]", "[]") == 1.0
    found = entities(task.kinds, [(wanted, '[{"label":"PER","text":"Ann"},{"label":"PER","text":"Acme"}]')])
    assert found["PER"] == (0.5, 1.0, pytest.approx(2 / 3), 1) and found["ORG"][2] == 0.0
    assert found["all"] == (0.5, 0.5, 0.5, 2)


def test_an_encoder_has_vectors_and_no_answers_before_it_is_tuned(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    file = save_encoder(tmp_path / "tiny.pack")
    with LLM.from_pretrained("tiny", engine="encoder", source=str(file)) as llm:
        one, again, other = llm.embed(["a good day", "a good day", "send the letter"])
        assert one == again != other and sum(each * each for each in one) == pytest.approx(1)
        with pytest.raises(Unsupported):
            llm.generate("a good day")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InvalidRequest, match="cannot be read as an encoder"):
        LLM.from_pretrained("tiny", engine="encoder", source=str(file))
