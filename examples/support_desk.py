"""A support desk as a flow: a message is sorted, a refund is looked up, approved of by you, paid, and answered.

    python examples/support_desk.py ["I want my money back for order 7"] [--model default] [--yes]

The flow and its three agents are in `desk/desk.yaml`; the tools are the functions below. You are asked on the terminal
before money moves (`--yes`: it is assumed that you agree).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llmagent_os import LLMAgentOS
from llmagent_os.core.errors import LLMAgentOSError
from llmagent_os.core.records import Json, Question

FILE = Path(__file__).with_name("desk") / "desk.yaml"
ORDERS = {
    7: {"customer": "Ada", "what": "a lamp", "amount": 30},
    8: {"customer": "Bob", "what": "a chair", "amount": 80},
}
MESSAGES = ("I want my money back for order 7, the lamp is broken.", "When are you open?")


@dataclass(slots=True)
class Seen:
    """What the shop noticed of a day."""

    refunds: list[tuple[int, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


def play(
    messages: Sequence[str], model: str = "default", yes: Callable[[Question], bool] = lambda question: True,
    engine: Any = None, data: Path | None = None,
) -> Seen:  # fmt: skip
    """Give the desk messages, one after another, and return what happened; `engine` serves `model` if given."""
    seen = Seen()

    def approve(question: Question) -> bool:
        seen.asked.append(str(question.arguments["question"]))
        return yes(question)

    with LLMAgentOS(data, approve, model="scripted" if engine is not None else model) as system:
        if engine is not None:
            system.system.add_engine(model, engine)

        @system.tool(effect="read", trusted=True)
        def find_order(number: int) -> Json:
            """Look an order up."""
            found = ORDERS.get(number)
            return {"found": found is not None, "number": number, **(found or {})}

        @system.tool(effect="external", meanings={"amount": "amount"})
        def refund(number: int, amount: int) -> Json:
            """Give money back."""
            seen.refunds.append((number, amount))
            return {"number": number, "amount": amount}

        @system.tool(effect="external")
        def take_back(number: int) -> str:
            """Take a refund back."""
            seen.refunds.append((number, -1))
            return "taken back"

        for definition in yaml.safe_load_all(FILE.read_text(encoding="utf-8")):
            system.create({**definition, "model": model})
        for message in messages:
            seen.answers.append(system.ask("desk", message))
    return seen


def asked(question: Question) -> bool:
    """Ask at the terminal."""
    print(question.arguments["question"])
    return input("[y/N] ").strip().lower() in ("y", "yes")


def main() -> None:
    """Play it and tell what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("messages", nargs="*", default=MESSAGES, help="what customers write")
    parser.add_argument("--model", default="default", help="a model of the catalog (default)")
    parser.add_argument("--yes", action="store_true", help="approve of every refund")
    given = parser.parse_args()
    try:
        seen = play(given.messages, given.model, (lambda question: True) if given.yes else asked)
    except LLMAgentOSError as error:
        parser.exit(1, f"{error.message}\n")
    for message, answer in zip(given.messages, seen.answers, strict=True):
        print(f"> {message}\n{answer}\n")
    print("refunds:", seen.refunds)


if __name__ == "__main__":
    main()
