"""What the scripted models say: the same three tools in a row, in each way that a framework has them called."""

from __future__ import annotations

import json
from typing import Any

from llmagent_os.core.records import GenerateRequest
from llmagent_os.llm.script import Reply

STEPS = (
    ("find_order", {"customer": "Ann"}),
    ("price_of", {"order": 7}),
    ("ship", {"order": 7, "price": 42}),
)
ANSWER = "Order 7 was shipped for 42."
TASK = "Ship Ann's order and say what it cost."

NUMBER, TEXT = {"type": "integer"}, {"type": "string"}
PARAMETERS = {
    "find_order": {"customer": TEXT},
    "price_of": {"order": NUMBER},
    "ship": {"order": NUMBER, "price": NUMBER},
}
FUNCTIONS: list[dict[str, Any]] = [
    {"name": name, "description": name, "parameters": {"type": "object", "properties": fields, "required": [*fields]}}
    for name, fields in PARAMETERS.items()
]
"""The tools as OpenAI's API has functions."""

OBJECT = '{"city": "Paris", "people": 2}'
"""What is said where an object is asked for."""

LAST = ("final_answer", "submit")
"""Tools by which frameworks that force a call have an answer given."""


def script(request: GenerateRequest) -> Reply:
    """Three different tools one after another, then the answer."""
    if request.schema is not None:
        return Reply(OBJECT)
    done = sum(message.role == "tool" or message.text.startswith("Observation:") for message in request.messages)
    if done < len(STEPS):
        return Reply(calls=(STEPS[done],))
    last = next((tool.name for tool in request.tools if tool.name in LAST), None)
    return Reply(ANSWER) if last is None else Reply(calls=((last, {"answer": ANSWER}),))


def coder(request: GenerateRequest) -> Reply:
    """The same as Python code, a call at a time, as smolagents wants it."""
    done = sum(message.text.startswith("Observation:") for message in request.messages)
    code = f"final_answer({ANSWER!r})"
    if done < len(STEPS):
        name, arguments = STEPS[done]
        code = f"print({name}(**{arguments!r}))"
    return Reply(f"Thought: step {done + 1}.\n<code>\n{code}\n</code>")


def planner(request: GenerateRequest) -> Reply:
    """The same in the fields of DSPy's texts."""
    told = "\n".join(message.text for message in request.messages)
    done = told.count("[[ ## observation_")
    name, arguments = STEPS[done] if done < len(STEPS) else ("finish", {})
    fields = {"next_thought": f"Step {done + 1}.", "next_tool_name": name, "next_tool_args": json.dumps(arguments)}
    if "next_tool_name" not in told:
        fields = {"reasoning": "It was shipped.", "answer": ANSWER}
    said = "".join(f"[[ ## {field} ## ]]\n{value}\n\n" for field, value in fields.items())
    return Reply(said + "[[ ## completed ## ]]")


SCRIPTS = {"shopkeeper": script, "coder": coder, "planner": planner, "gpt-4o": script}
"""The names of the models, each with what it says. One is a name that clients know: some call tools of no other."""
