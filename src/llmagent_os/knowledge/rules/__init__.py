"""Rules over facts: Datalog that an expert writes, with proofs. Pure: it takes data and gives decisions.

`Program.read` checks a text, `Reasoner` holds facts beside it and answers, `explain` shows why, or why not.
"""

from .explain import Missing, Proof, Step, explain, why_not
from .limits import Limits
from .program import Program
from .reasoner import Answer, Changes, Fact, Reasoner
from .relation import Given
from .syntax import Atom, Rule, goal

__all__ = [
    "Answer", "Atom", "Changes", "Fact", "Given", "Limits", "Missing", "Program", "Proof", "Reasoner", "Rule", "Step",
    "explain", "goal", "why_not",
]  # fmt: skip
