"""A document review as a flow: does the document say what it must say? What is missing is told to its author.

    python examples/document_review.py [examples/review/proposal.md ...] [--model default]

The flow and its agents are in `review/review.yaml`, the questions among them. Small models say that all is well when
they are asked for a judgement, and find the best sentence when they are asked for that. So of each question (a map)
two readers quote a passage, a tool looks whether it stands in the document and has what it must have, and three judges
vote on it; an editor writes the letter. The tools are below.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from llmagent_os import LLMAgentOS
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Json

FOLDER = Path(__file__).with_name("review")
FILE = FOLDER / "review.yaml"
DOCUMENTS = (FOLDER / "proposal.md", FOLDER / "minutes.md")
LIKE = 0.5  # of the words of a quote and a sentence, at least so many are in both
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE = rf"\b(?:{MONTHS}) \d|\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{MONTHS})|\b\d{{4}}-\d\d-\d\d\b"
MUST = {
    "amount": (r"(?<![\w:.,])\d[\d.,]*(?![\w:])", "it has no amount"),  # no 6th, no 23:00
    "date": (DATE, "it has no date"),
}
"""What a passage must have, by name, and what is said of one that has not."""


def document(path: str) -> str:
    """Read a document."""
    return Path(path).read_text(encoding="utf-8")


def passage(text: str, quotes: list[str], must: str = "") -> dict[str, str]:
    """The sentences of a text that are quoted and have what they must have, and why there are none: `said` and `why`.

    A model's quote may be a little off: it is of the sentence that it has most words in common with, and at least half.
    """
    found = [each for each in dict.fromkeys(_quoted(text, quote) for quote in quotes) if each]
    pattern, why = MUST.get(must, ("", ""))
    fit = [each for each in found if re.search(pattern, each)]
    return {"said": " ".join(fit), "why": "" if fit else why if found else "nothing was quoted that stands there"}


def _quoted(text: str, quote: str) -> str:
    """The sentence that a quote is of, or of a part of it; nothing if there is none."""
    wanted, best = _words(quote), ("", 0.0)
    for each in sentences(text):
        words = _words(each)
        likeness = 1.0 if _plain(quote) in _plain(each) else len(wanted & words) / len(wanted | words)
        if wanted and likeness > best[1]:
            best = each, likeness
    return best[0] if best[1] >= LIKE else ""


def sentences(text: str) -> list[str]:
    """The sentences of a text in Markdown, without its headings."""
    parts = [" ".join(part.split()) for part in re.split(r"(?m)^#.*$|\n\s*\n", text)]
    return [each for part in parts for each in re.split(r"(?<=[.!?]) +(?=[A-Z0-9])", part) if _words(each)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def count_votes(votes: list[str]) -> str:
    """What most of several say who were asked for a yes or a no; whatever is no yes counts as a no."""
    ayes = sum(each.strip().casefold().startswith("yes") for each in votes)
    return "yes" if 2 * ayes > len(votes) else "no"


def verdict(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """What comes of the answers: `accept` or `revise`, and what is `missing`, also in words."""
    missing = [each["about"] for each in answers if each["verdict"] != "yes"]
    words = " and ".join(missing)
    return {"verdict": "revise" if missing else "accept", "missing": missing, "missing_in_words": words}


TOOLS = (document, passage, count_votes, verdict)


def play(
    documents: Sequence[Path], model: str = "default", engine: Any = None, data: Path | None = None
) -> list[dict[str, Json]]:
    """Review documents, one after another: of each `verdict`, what is `missing`, `answers` and a `letter`.

    `engine` serves `model` if given.
    """
    with LLMAgentOS(data, model="scripted" if engine is not None else model) as system:
        if engine is not None:
            system.system.add_engine(model, engine)
        for each in TOOLS:
            system.tool(each, effect="read", trusted=True)
        for definition in yaml.safe_load_all(FILE.read_text(encoding="utf-8")):
            system.create({**definition, "model": model})
        return [system.reply("review", str(each))["output"] for each in documents]


def main() -> None:
    """Review them and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, default=DOCUMENTS, help="files in Markdown or plain text")
    parser.add_argument("--model", default="default", help="a model of the catalog (default)")
    given = parser.parse_args()
    try:
        found = play(given.documents, given.model)
    except LLMAgentOSError as error:
        parser.exit(1, f"{error.message}\n")
    for document, made in zip(given.documents, found, strict=True):
        print(f"> {document.name}: {made['verdict']}\n")
        for each in made["answers"]:
            print(f"{each['about']}: {each['verdict']} {each['why'] or repr(each['passage'])}")
        print(f"\n{made['letter']}\n")


if __name__ == "__main__":
    main()
