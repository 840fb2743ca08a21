"""What models that understand would say to the agents of the examples: scripts for the scripted engine."""

from __future__ import annotations

import json
import re

from llmagent_os.core.records import GenerateRequest
from llmagent_os.llm.script import Reply

_ASKED = {
    "cost": r"[^.\n]*310,000[^.\n]*\.",
    "date": r"[^.\n]*until May[^.\n]*\.",
    "wrong": r"If [^.\n]*\.",
    "risk": r"If [^.\n]*\.",
}


def desk(request: GenerateRequest) -> str:
    """The support desk: sorts, reads the order's number, and says what its notes say."""
    said = request.messages[-1].text
    if said.startswith("Is this message"):
        return '"refund"' if "money back" in said else '"question"'
    if said.startswith("Which order"):
        found = re.search(r"order (\d+)", said)
        return f'{{"order": {found[1] if found else 0}}}'
    return re.split(r"Notes: |\n\nWrite", said)[1]


def review(request: GenerateRequest) -> str:
    """The document review: readers quote what they look for, or whatever comes first, and judges know what is meant."""
    said = request.messages[-1].text
    if said.startswith("Document:"):
        text, _, asked = said.rpartition("\n\n")
        wanted = next((pattern for word, pattern in _ASKED.items() if word in asked), "")
        found = re.search(wanted, text) or re.search(r"[A-Z][^.\n]*\.", text)
        return found[0] if found else "There is none."
    if said.startswith("Sentence:"):
        sentence, _, asked = said.rpartition("\n\n")
        return "Yes." if "If " in sentence or not re.search("wrong|plan", asked) else "No."
    return f"Dear author, {said.partition('. ')[0].removeprefix('The author')}"


def research(request: GenerateRequest) -> Reply | str:
    """The research task: as planner, as reader and scout, and as writer."""
    last = request.messages[-1]
    if last.role == "tool":
        return "it costs 310,000 a year (offer.txt)"
    if "What a step may need" in last.text:
        if "What went wrong" in last.text:
            return _steps(("Find what it costs", "look up", []), ("Write the answer", "write", [3]))
        return _steps(("Read offer.txt", "read", []), ("Write the answer", "write", [1]))
    if "Say what it needs" in last.text:
        return '{"word": "bus"}'
    if "read_text" in [tool.name for tool in request.tools]:
        return Reply(calls=(("read_text", {"path": "offer.txt"}),))
    return "310,000 a year, says offer.txt" if "310,000" in last.text else "nothing"


def _steps(*listed: tuple[str, str, list[int]]) -> str:
    return json.dumps({"steps": [{"do": do, "needs": needs, "after": after} for do, needs, after in listed]})


def anybody(request: GenerateRequest) -> Reply | str:
    """All of them, by what they are asked."""
    said = request.messages[-1].text
    if said.startswith(("Is this message", "Which order", "A customer wrote")):
        return desk(request)
    return review(request) if said.startswith(("Document:", "Sentence:", "The author")) else research(request)


_KNOWS = (
    ("bring to the team", "Team meeting", "Everybody brings the sales numbers of the week before [{}]."),
    ("caretaker", "Lantern House", "Its caretaker is Tom Brandt [{}]."),
    ("clash", 'clashes_with("budget review"', "The budget review clashes with 审计会议 [{}]."),
    ("Town Hall", "Summer party", "The summer party takes place in the Town Hall [{}]."),
)


def secretary(request: GenerateRequest) -> str:
    """The secretary of the example with knowledge: says what stands under a head, with its number."""
    known, _, question = request.messages[-1].text.rpartition("\n\n")
    for word, head, answer in _KNOWS:
        found = re.search(rf"^\[(\d+)\] {re.escape(head)}", known, re.MULTILINE)
        if word in question and found:
            return answer.format(found[1])
    return "That is not in the sources."
