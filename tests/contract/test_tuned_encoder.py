"""Tuning an encoder, and serving it in numpy, as it was trained in torch."""

import random
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.wordpiece import WordPiece
from llmagent_os.finetune.ladder import Halted, Notes
from llmagent_os.finetune.pipeline import make
from llmagent_os.finetune.report import entities
from llmagent_os.finetune.rows import Row, rows_of
from llmagent_os.finetune.rungs import Encoders
from llmagent_os.llm import LLM
from tests.stand_ins.tiny_encoder import VOCABULARY, save_encoder
from tests.unit.test_ladder import WORDS, opinions

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
QUICK = {"rate": 0.003, "batch": 8, "patience": 20}


@pytest.fixture
def encoders(tmp_path: Path) -> Encoders:
    return Encoders(lambda: save_encoder(tmp_path / "tiny.pack"), LLM.from_pretrained)


def mentions(count: int) -> list[Row]:
    """Sentences in which what stands after `to` is a person, and what stands after `at` a company."""
    drawn, names = random.Random(2), ["Ann", "Bob", "Carl", "Dora", "Eve", "Frank"]
    firms, rows = ["Acme", "Initech", "Globex", "Umbra"], []
    for _ in range(count):
        person, firm = drawn.choice(names), drawn.choice(firms)
        before, after = (" ".join(drawn.choices(WORDS, k=drawn.randrange(2, 7))) for _ in range(2))
        named = ((person, "PER"), (firm, "ORG"))
        text = f"{before} {drawn.choice(['send', 'write'])} to {person} at {firm} {after}"
        found = [[text.index(each), text.index(each) + len(each), kind] for each, kind in named]
        rows.append({"text": text, "spans": found})
    return rows_of(rows)


def test_spans_are_learned_and_served_as_they_were_trained(encoders: Encoders, tmp_path: Path) -> None:
    rows = mentions(200)
    made = make(rows, None, tmp_path / "kept", 5.0, ("encoder",), QUICK, encoders=encoders)
    assert made.folder is not None and made.fields == {"engine": "encoder", "prompt": ""}
    with LLM.from_pretrained(str(made.folder)) as llm:
        pairs = [(row.output, llm.generate(row.messages).text) for row in made.test]
        assert entities(made.task.kinds, pairs)["all"][2] >= 0.9
        assert len(llm.embed(["a letter"])[0]) == 64


def test_labels_are_learned_with_their_probabilities(encoders: Encoders, tmp_path: Path) -> None:
    settings = {**QUICK, "smoothing": 0.1, "adversarial": 0.1, "decay": 0.1}
    made = make(opinions(200), None, tmp_path / "kept", 5.0, ("encoder",), settings, encoders=encoders)
    assert made.found.tried[-1].score >= 0.85 and made.folder is not None
    with LLM.from_pretrained(str(made.folder)) as llm:
        answer = llm.generate("it was a lovely day", choices=["good", "bad"])
        assert answer.text == "good" and sum(each.score for each in answer.alternatives) == pytest.approx(1)


def test_what_is_served_otherwise_than_it_was_trained_is_refused(
    encoders: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip("llmagent_os.finetune.encoder")
    save = module.EncoderTraining.save

    def wrong(self: Any, path: Path) -> None:
        self.weights["head.weight"].data = self.weights["head.weight"].data.flip(0)
        save(self, path)
        self.weights["head.weight"].data = self.weights["head.weight"].data.flip(0)

    monkeypatch.setattr(module.EncoderTraining, "save", wrong)
    with pytest.raises(LLMAgentOSError, match="it is not handed on"):
        make(opinions(200), None, tmp_path / "kept", 0.2, ("encoder",), QUICK, encoders=encoders)
    assert not (tmp_path / "kept").exists()


def test_it_stops_where_it_is_told_to_and_goes_on_from_its_notes(encoders: Encoders, tmp_path: Path) -> None:
    file = tmp_path / "tried.json"
    with pytest.raises(Halted):
        make(opinions(100), None, tmp_path / "kept", 0.2, notes=Notes(file, lambda: file.is_file()), encoders=encoders)
    assert Notes(file).get("1.linear") is not None and Notes(file).get("1.encoder") is None
    made = make(opinions(100), None, tmp_path / "kept", 0.2, notes=Notes(file), encoders=encoders)
    assert made.found.chosen and made.folder is not None and [each.round for each in made.found.tried][:2] == [1, 1]


def test_pieces_are_those_of_the_library() -> None:
    library = pytest.importorskip("tokenizers")
    theirs = library.Tokenizer(
        library.models.WordPiece({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    theirs.normalizer = library.normalizers.BertNormalizer()
    theirs.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    ours, drawn = WordPiece(VOCABULARY), random.Random(3)
    signs = "the film was sad unsending -'.,!?ÄÉñß漢字かな\u00a0\u200b\t\n 1234ǅ"
    for _ in range(400):
        text = "".join(drawn.choices(signs, k=drawn.randrange(40)))
        wanted = theirs.encode(text)
        assert [each.id for each in ours.pieces(text)] == wanted.ids, text
