"""A planned research task over local files: a question is planned, done by a team, and answered with its sources.

    python examples/research.py ["What does the night bus cost?"] [--model default] [--kill reader] [--template]

The team and the planner are in `research/research.yaml`, the files in `research/files`; the tools are the functions
below. `--kill NAME` ends every process of that agent when it reads: the planner tries again, and then plans the rest
anew, without it. `--template` does not ask the model for a plan: the flow `answer_from_files` is filled in.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from llmagent_os import LLMAgentOS
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Json, Ticket

FOLDER = Path(__file__).with_name("research")
QUESTION = "What does the night bus cost, and who is against it?"
Found = list[dict[str, str]]


def team(model: str, tries: int = 2) -> list[dict[str, Any]]:
    """The definitions of the file, on a model; its flows are the templates of its planner."""
    found = list(yaml.safe_load_all((FOLDER / "research.yaml").read_text(encoding="utf-8")))
    templates = {each["name"]: {"about": each["description"], "flow": each["flow"]} for each in found if "flow" in each}
    made = [{**each, "model": model} for each in found if "flow" not in each]
    made[-1]["plan"] |= {"templates": templates, "tries": tries}
    return made


def play(
    goal: str = QUESTION, model: str = "default", kill: Collection[str] = (), tries: int = 2, engine: Any = None,
    data: Path | None = None,
) -> Json:  # fmt: skip
    """The planner's reply: `text`, and `plan` with how it came about. `engine` serves `model` if given."""
    with LLMAgentOS(data, model="scripted" if engine is not None else model) as system:
        if engine is not None:
            system.system.add_engine(model, engine)

        @system.tool(effect="read")
        def find_files(word: str) -> Found:
            """Find the files in which a word stands, in any case, with their texts."""
            texts = {each.name: each.read_text(encoding="utf-8") for each in sorted((FOLDER / "files").iterdir())}
            return [{"path": name, "text": text} for name, text in texts.items() if word.casefold() in text.casefold()]

        @system.tool(effect="read")
        async def read_text(path: str, ticket: Ticket) -> str:
            """Read a file by its name."""
            if ticket.home.split("/")[-1].split("@")[0] in kill:
                ending = asyncio.ensure_future(system.system.sys.kill(ticket.pid, "killed on purpose"))
                await asyncio.shield(ending)
            return (FOLDER / "files" / Path(path).name).read_text(encoding="utf-8")

        for definition in team(model, tries):
            system.create(definition)
        return system.reply("researcher", goal)


def main() -> None:
    """Ask, and tell what was decided on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--model", default="default", help="a model of the catalog (default)")
    parser.add_argument("--kill", action="append", default=[], help="an agent whose processes are ended")
    parser.add_argument("--template", action="store_true", help="do not ask the model for a plan")
    given = parser.parse_args()
    try:
        reply = play(given.question, given.model, given.kill, 0 if given.template else 2)
    except LLMAgentOSError as error:
        parser.exit(1, f"{error.message}\n")
    for each in reply["plan"]["decisions"]:
        print(f"{each['act']}: {each['reason']}")
    print(f"\nby {reply['plan']['by']}:\n{reply['text']}")


if __name__ == "__main__":
    main()
