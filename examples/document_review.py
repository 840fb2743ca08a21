"""A document review as a flow: each section is read by itself, three reviewers vote, an editor tells the author.

    python examples/document_review.py [examples/review/proposal.md ...] [--model default]

The flow and its five agents are in `review/review.yaml`: a map over the sections, a Parallel whose branches vote, and a
letter. The tool that cuts a document into sections is below.
"""

from __future__ import annotations

import argparse
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


def cut(text: str) -> list[dict[str, str]]:
    """The sections of a text in Markdown, with their titles; what stands before the first one is none."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        if line.startswith("## "):
            found.append({"title": line[3:].strip(), "text": ""})
        elif found:
            found[-1]["text"] += f"{line}\n"
    return [{**each, "text": each["text"].strip()} for each in found]


def play(
    documents: Sequence[Path], model: str = "default", engine: Any = None, data: Path | None = None
) -> list[dict[str, Json]]:
    """Review documents, one after another: of each `verdict`, `votes`, `notes` by section and a `letter`.

    `engine` serves `model` if given.
    """
    with LLMAgentOS(data, model="scripted" if engine is not None else model) as system:
        if engine is not None:
            system.system.add_engine(model, engine)

        @system.tool(effect="read", trusted=True)
        def sections(path: str) -> list[dict[str, str]]:
            """Cut a document into its sections."""
            return cut(Path(path).read_text(encoding="utf-8"))

        for definition in yaml.safe_load_all(FILE.read_text(encoding="utf-8")):
            system.create({**definition, "model": model})
        return [system.reply("review", str(each))["output"] for each in documents]


def main() -> None:
    """Review them and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, default=DOCUMENTS, help="files in Markdown, with sections")
    parser.add_argument("--model", default="default", help="a model of the catalog (default)")
    given = parser.parse_args()
    try:
        found = play(given.documents, given.model)
    except LLMAgentOSError as error:
        parser.exit(1, f"{error.message}\n")
    for document, made in zip(given.documents, found, strict=True):
        votes = ", ".join(f"{who}: {what}" for who, what in made["votes"].items())
        print(f"> {document.name}: {made['verdict']} ({votes})\n")
        for section, note in zip(cut(document.read_text(encoding="utf-8")), made["notes"], strict=True):
            print(f"{section['title']}: {note}")
        print(f"\n{made['letter']}\n")


if __name__ == "__main__":
    main()
