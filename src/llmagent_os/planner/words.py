"""What a model is asked: for a plan, for the rest of one, for what a template needs, for an answer of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core import codec
from ..core.records import Json
from .decide import Known
from .plan import Step

SHOWN = 600  # characters of a result that a model is shown when the rest is planned
WHOLE = 4000  # and when an answer is made of it

SYSTEM = "You plan work for a team of agents. Each step is done by one of them, which sees only its step and the "
SYSTEM += "results of the steps it comes after."


def goal_and_team(goal: str, known: Sequence[Known], needs: Sequence[str]) -> str:
    """The goal, and what the team offers."""
    lines = []
    for need in needs:
        who = [each for each in known if need in each.offers]
        about = "; ".join(dict.fromkeys(filter(None, (each.about for each in who))))
        tools = ", ".join(dict.fromkeys(tool for each in who for tool in each.tools))
        lines.append(f"- {need}: {about or 'no description'}" + (f" (tools: {tools})" if tools else ""))
    return f"Goal: {goal}\n\nWhat a step may need:\n" + "\n".join(lines)


def for_a_plan(most: int, first: int = 1) -> str:
    """What a plan is to be, whose steps are counted from `first`. No example: a weak model plans that."""
    return (
        f"\n\nMake a plan of at most {most} steps. Of each step say in `do`, in one sentence that can be understood "
        "alone, what is to be done; in `needs` what it takes, as listed; in `after` the numbers of the steps, counted "
        f"from {first}, whose results it needs. The last step gives what the goal asks for."
    )


def for_the_rest(done: Sequence[Step], results: Mapping[str, Json], failed: Mapping[str, str]) -> str:
    """What is done, and what failed, where only the rest is to be planned."""
    told = [f"[{each.number}] {each.do}\n{short(results[each.id])}" for each in done]
    before = ["Done, with the results:", *told] if told else ["Nothing is done yet."]
    last = "Plan only what is left. Steps that are done may stand in `after`, too."
    return "\n\n" + "\n".join([*before, "", "What went wrong:", *failed.values(), "", last])


def for_slots(goal: str, about: str, slots: Mapping[str, Json]) -> str:
    """What a template needs."""
    told = [f"- {name}: {schema.get('description') or name}" for name, schema in slots.items()]
    return f"Goal: {goal}\n\nThis will be done: {about}\n\nSay what it needs:\n" + "\n".join(told)


def for_a_choice(goal: str, templates: Mapping[str, str]) -> str:
    """Which of several templates."""
    told = [f"- {name}: {about}" for name, about in templates.items()]
    return f"Goal: {goal}\n\nWhich of these does it take?\n" + "\n".join(told)


def for_an_answer(goal: str, results: Mapping[str, Json]) -> str:
    """One answer of several results."""
    told = "\n\n".join(f"[{name}] {short(value, WHOLE)}" for name, value in results.items())
    return (
        f"Goal: {goal}\n\nResults:\n\n{told}\n\nAnswer the goal from these results and nothing else. Put the number of "
        "the result that a statement is from behind it, such as [s1]."
    )


def short(value: Json, most: int = SHOWN) -> str:
    """A value in words, cut."""
    text = codec.words(value)
    return text if len(text) <= most else f"{text[:most]} ..."
