"""Rules over facts: Datalog that an expert writes, with proofs. Pure: it takes data and gives decisions.

`Program.read` checks a text, `Reasoner` holds facts beside it and answers, `explain` shows why, `why_not` why not.
`told` has the statements that facts are made of: with their time, and who is who.
"""

from .explain import Missing, Proof, Step, explain, why_not
from .limits import Limits
from .picture import graph, svg
from .program import Program
from .reasoner import Answer, Changes, Fact, Reasoner
from .relation import Given
from .syntax import Atom, Rule, goal
from .told import Entities, Statement, history, holding, mapped, rows

__all__ = [
    "Answer", "Atom", "Changes", "Entities", "Fact", "Given", "Limits", "Missing", "Program", "Proof", "Reasoner",
    "Rule", "Statement", "Step", "explain", "goal", "graph", "history", "holding", "mapped", "rows", "svg", "why_not",
]  # fmt: skip
