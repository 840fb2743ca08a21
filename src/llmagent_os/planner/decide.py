"""Who does a step, and what is done when that goes wrong: decisions over data, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Trouble = Literal["failed", "stalled", "overran", "gone"]
"""How a try of a step ended: `overran` its budget, `gone`: it could not be started."""
Act = Literal["retry", "hand over", "replan", "give up"]
_WORDS: dict[Trouble, str] = {
    "failed": "failed", "stalled": "made no progress", "overran": "needed more than its budget",
    "gone": "could not be started",
}  # fmt: skip
SHOWN = 300  # characters of an error


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an agent: what it declares, and how its last runs went; seconds, tokens and dollars are means.

    `failed` are of `runs` those that failed, stalled or overran a budget; what was cancelled is in neither.
    """

    name: str
    about: str = ""
    skills: Sequence[str] = ()
    tools: Sequence[str] = ()
    runs: int = 0
    failed: int = 0
    seconds: float = 0.0
    tokens: float = 0.0
    money: float = 0.0

    @property
    def offers(self) -> Sequence[str]:
        """What a step may need of it: its skills; of one that declares none, it itself."""
        return self.skills or (self.name,)

    def record(self) -> str:
        """How its runs went, in words."""
        if not self.runs:
            return "no runs yet"
        well = f"{self.runs - self.failed} of {self.runs} runs went well"
        cost = f", ${self.money:.4f}" if self.money else ""
        return f"{well}, {self.seconds:.1f} s, {self.tokens:.0f} tokens{cost}"


def ranked(known: Sequence[Known], need: str, out: Collection[str] = ()) -> list[Known]:
    """The agents that offer what is needed, the best first: by success in tenths, then money, tokens and seconds.

    Of whom nothing is known yet one run of two is taken to go well. Those that are `out` come last.
    """

    def key(each: Known) -> tuple[bool, int, float, float, float]:
        success = (each.runs - each.failed + 1) / (each.runs + 2)
        return each.name in out, -round(10 * success), each.money, each.tokens, each.seconds

    return sorted((each for each in known if need in each.offers), key=key)


def offered(known: Sequence[Known], out: Collection[str] = ()) -> list[str]:
    """What steps may need: what anybody offers who is not `out`; all, where nobody is left."""
    left = [each for each in known if each.name not in out] or known
    return list(dict.fromkeys(skill for each in left for skill in each.offers))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about a step, by whom, and why."""

    act: Act
    reason: str
    agent: str = ""


def decide(
    step: str, trouble: Trouble, error: str, tried: Sequence[str], able: Sequence[str], retries: int, replans: int
) -> Decision:
    """What follows from a try that went wrong.

    `tried` are the agents of all tries so far, this one the last; `able` those who could do it, the best first;
    `retries` is how often one agent may try again, `replans` how often the rest may still be planned anew.
    """
    agent, times = tried[-1], tried.count(tried[-1])
    what = f"{step}: {agent} {_WORDS[trouble]} ({error[:SHOWN]})"
    other, again = next((each for each in able if each not in tried), None), times <= retries
    if again and trouble == "failed":
        return Decision("retry", f"{what}; try {times + 1} of {retries + 1}", agent)
    if other is not None:
        return Decision("hand over", f"{what}; {other} is next by its record", other)
    if again and trouble == "stalled":
        return Decision("retry", f"{what}; nobody else can do it: try {times + 1} of {retries + 1}", agent)
    if replans:
        return Decision("replan", f"{what}; nobody is left who can do it: the rest is planned anew")
    return Decision("give up", f"{what}; nobody is left who can do it, and the rest may not be planned anew")
