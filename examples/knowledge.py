"""A folder of documents in English and Chinese, rules about them, and five questions whose answers are checked.

    python examples/knowledge.py [--model default] [--ask "Which meeting does the budget review clash with?"]

What is known is in `knowledge/documents`; `knowledge/calendar.rules` reads facts in their sentences and says what
follows; `knowledge/changes.csv` is told later, and supersedes one. The agent is in `knowledge/secretary.yaml`. Each
answer is shown with what it cites, and with what became of each of its sentences: supported by a passage or a fact,
contradicted by a fact, or in no source at all. A proof is shown where a rule concluded what is cited.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from llmagent_os import LLMAgentOS
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Hidden, Json

FOLDER = Path(__file__).with_name("knowledge")
QUESTIONS = (
    "What does everybody bring to the team meeting?",  # one passage says it
    "Who is the caretaker of the house in which the budget review takes place?",  # three passages together
    "Which meeting does the budget review clash with?",  # no passage: a rule concludes it
    "The summer party takes place in the Town Hall, does it not?",  # a document says so, a later fact another thing
    "Who won the chess tournament?",  # nothing says it
)
OURS: dict[str, Json] = {"agent": "", "shared": True}


def learn(system: LLMAgentOS) -> dict[str, Json]:
    """Take in the documents, the rules, the facts that they state, and the later ones; returns how many of each."""
    documents = system.act("knowledge.sync", folder=str(FOLDER / "documents"), tags=None, trusted=None, **OURS)
    rules = FOLDER / "calendar.rules"
    kept = system.act("knowledge.rules", name=rules.name, data=Hidden(rules.read_text(encoding="utf-8")), **OURS)
    read = system.act("knowledge.extract", source="", model="", calls=1, after=0, **OURS)
    table = FOLDER / "changes.csv"
    mapping = yaml.safe_load((FOLDER / "changes.map.json").read_text(encoding="utf-8"))
    about = {"source": table.name, "name": table.name, "mapping": mapping, "trusted": True, **OURS}
    later = system.act("knowledge.facts", data=Hidden(table.read_bytes()), **about)
    return {"documents": documents["added"], "rules": kept["rules"], "read": read["added"], "later": later["added"]}


def play(
    questions: Sequence[str] = QUESTIONS, model: str = "default", engine: Any = None, data: Path | None = None
) -> Iterator[Json]:
    """What was learned, then the reply to each question. `engine` serves `model` if given."""
    with LLMAgentOS(data, model="scripted" if engine is not None else model) as system:
        if engine is not None:
            system.system.add_engine(model, engine)
        yield learn(system)
        definition = yaml.safe_load((FOLDER / "secretary.yaml").read_text(encoding="utf-8"))
        system.create({**definition, "model": model})
        for question in questions:
            yield system.reply("secretary", question)


def told(question: str, reply: Json) -> Iterator[str]:
    """A question and its answer, as they are shown."""
    yield f"\n{question}\n  {reply['text']}"
    for each in reply.get("citations", ()):
        yield f"  [{each['number']}] {each['title']} ({Path(each['source']).name})"
        if "rule" in each.get("proof", ""):
            yield "      " + each["proof"].replace("\n", "\n      ")
    for each in reply["grounding"]["sentences"]:
        by = f" by {', '.join(f'[{number}]' for number in each['by'])}" if each["by"] else ""
        yield f"  {each['verdict']}{by}: {each['text']}" + (f"\n      {each['against']}" if "against" in each else "")


def main() -> None:
    """Learn, ask, and show what the answers stand on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a model of the catalog (default)")
    parser.add_argument("--ask", action="append", default=[], help="a question of your own, instead of the five")
    given = parser.parse_args()
    questions = given.ask or QUESTIONS
    try:
        learned, *replies = play(questions, given.model)
    except LLMAgentOSError as error:
        parser.exit(1, f"{error.message}\n")
    print(", ".join(f"{name}: {count}" for name, count in learned.items()))
    for question, reply in zip(questions, replies, strict=True):
        print("\n".join(told(question, reply)))


if __name__ == "__main__":
    main()
