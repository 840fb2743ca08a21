"""How a model that only writes text is told about its tools: plain data, one for any model, others as measured.

What is in `MANNERS` was found with `bench everyday` on that model, and is used for it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.records import Json

PATIENCE = 2  # calls in a row that a model has to make again, see `Manner.insist`

Step = tuple[str, Mapping[str, Json], str]
"""A call of an example: the tool, its arguments, and its result."""


@dataclass(frozen=True, slots=True)
class Example:
    """A message, the calls that it takes, and the answer.

    Shown where all the tools that it uses are on offer and take those arguments, and `unless` is not.
    """

    said: str
    answer: str
    steps: tuple[Step, ...] = ()
    unless: str = ""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is spoken to while tools are on offer.

    `instruction` has `{tools}` in it, and `{examples}`, which follow one of each tool's form where `each` says so; with
    `begin` they are shown as earlier conversations instead, after which that is said.
    `lean`: a tool is shown as the call to write, with the first paragraph of its description and without optional
    parameters that it gives no examples of; a result that is an object is told field by field. `result` is a result as
    it is told, with `{tool}`, `{text}` and the user's `{request}`; `failure` that of a call that went wrong. One that
    has to be made again is a result in which the pattern `insist` is found: it is told as `again`, and the model can
    only call the same tool, drawn with `anew` as its sampling, but `PATIENCE` times in a row at most. A request in
    which a pattern of `first` is found begins with the tool that stands beside it. `sampling` holds where a request
    says nothing of sampling at all.
    """

    instruction: str
    examples: tuple[Example, ...]
    each: bool = True
    begin: str = ""
    lean: bool = False
    result: str = "Result of {tool}: {text}"
    failure: str = "Result of {tool}: {text}"
    insist: str = ""
    again: str = ""
    first: tuple[tuple[str, str], ...] = ()
    anew: Mapping[str, float] = field(default_factory=dict)
    sampling: Mapping[str, float] = field(default_factory=dict)


ANY = Manner(
    instruction="""Decide first: does one of your tools fit the request? Then reply with exactly one JSON object.

Tools:
{tools}

Examples:
{examples}

Rules:
1. When a tool fits the request, reply with its tool object. You do not know what tools know, so never guess.
2. When no tool fits, or the result of the tool is already there, reply with an answer object.""",
    examples=(
        Example("Hello!", "Hello! How can I help?"),
        Example("What is the capital of Peru?", "The capital of Peru is Lima."),
        Example("Write a short greeting for a card.", "Wishing you a wonderful day!"),
    ),
)
"""For models that nobody has measured."""

_CODER = Manner(
    instruction="""You are the AI assistant of this computer, which runs LLMAgentOS. You do what the user asks with \
your tools. Reply with exactly one JSON object: use a tool, or answer.

Tools:
{tools}
{{"tool": "none", "answer": <string>}} - Answer the user in words.

Rules:
1. What is in files, mails, lists or on a clock you know only from a tool: use it before you answer, never guess.
2. Compute sums, percentages and dates with a tool, never in your head.
3. A file is read before it is changed, counted or passed on; what nobody wants changed stays in it.
4. Do all that is asked for, one thing after the other, and nothing else. Then answer.
5. A result that is no error means that it is done: say so, and say what the result says.
6. After an error, try another way, or say what did not work. Never say that something was done that was not.
7. To talk, translate or explain takes no tool: answer. What no tool can do, you cannot do: say so.
8. Answer in the user's language.""",
    examples=(
        Example("Who are you?", "I am the AI assistant of this computer, which runs LLMAgentOS."),
        Example("Translate 'thank you' into Spanish.", "Gracias."),
        Example(
            "What does plan.txt say?", "plan.txt says: Call Mia at noon.",
            (("read_file", {"path": "plan.txt"}, "Call Mia at noon."),),
        ),
        Example("Order a pizza for me.", "I cannot order a pizza: I have no tool for that."),
        Example(
            "Who is older, by tom.txt and ann.txt?", "Tom, who is 41. Ann is 38.",
            (("read_file", {"path": "tom.txt"}, "age 41"), ("read_file", {"path": "ann.txt"}, "age 38")),
        ),
        Example(
            "What is in ghost.txt?", "There is no file ghost.txt.",
            (("read_file", {"path": "ghost.txt"}, "error: there is no file 'ghost.txt' in the workspace"),),
        ),
        Example(
            "Add jam to list.txt.", "I added jam to list.txt.",
            (
                (
                    "append_file", {"path": "list.txt", "text": "jam"},
                    "added to list.txt, which ends now with: rice / jam",
                ),
            ),
        ),
        Example(
            "Add jam to list.txt.", "I added jam to list.txt.",
            (
                (
                    "edit_file", {"path": "list.txt", "old": "", "new": "jam"},
                    "added to list.txt, which ends now with: rice / jam",
                ),
            ),
            unless="append_file",
        ),
        Example(
            "Add jam to list.txt.", "I added jam to list.txt.",
            (
                ("read_file", {"path": "list.txt"}, "tea\nrice"),
                ("write_file", {"path": "list.txt", "text": "tea\nrice\njam\n"}, "wrote 13 characters to list.txt"),
            ),
            unless="edit_file",
        ),
        Example(
            "Put what memo.txt says into old.txt.", "old.txt says what memo.txt says: Rent is due on Friday.",
            (
                ("read_file", {"path": "memo.txt"}, "Rent is due on Friday."),
                (
                    "write_file", {"path": "old.txt", "text": "Rent is due on Friday."},
                    "wrote 22 characters to old.txt",
                ),
            ),
        ),
        Example(
            "Send what rent.txt says to kim@nord.dk.", "I sent what rent.txt says to kim@nord.dk.",
            (
                ("read_file", {"path": "rent.txt"}, "Rent is due on Friday."),
                (
                    "send_mail", {"to": "kim@nord.dk", "subject": "Rent", "body": "Rent is due on Friday."},
                    "sent to kim@nord.dk",
                ),
            ),
        ),
        Example(
            "What do the prices in cost.csv come to?", "They come to 23.5.",
            (
                ("read_file", {"path": "cost.csv"}, "name,price\npen,3.5\nbag,20"),
                (
                    "python",
                    {
                        "code": "import csv\nrows = list(csv.DictReader(open('cost.csv')))  # no header\n"
                        "print(sum(float(row['price']) for row in rows))"
                    },
                    "stdout: 23.5",
                ),
            ),
        ),
        Example(
            "What do the prices in cost.csv come to?", "They come to 23.5.",
            (
                ("read_file", {"path": "cost.csv"}, "name,price\npen,3.5\nbag,20"),
                ("calculator", {"expression": "3.5 + 20"}, "23.5"),
            ),
            unless="python",
        ),
        Example(
            "Write into due.txt what day tomorrow is in Lisbon.", "I wrote Tuesday, 2025-07-01 into due.txt.",
            (
                ("clock", {"zone": "Europe/Lisbon"}, "weekday: Monday\ntomorrow: 2025-07-01, Tuesday"),
                ("write_file", {"path": "due.txt", "text": "Tuesday, 2025-07-01"}, "wrote 19 characters to due.txt"),
            ),
        ),
        Example(
            "How many days are there from 3 May to 9 June 2024?", "There are 37 days.",
            (
                (
                    "python",
                    {"code": "from datetime import date\nprint((date(2024, 6, 9) - date(2024, 5, 3)).days)"},
                    "stdout: 37",
                ),
            ),
        ),
        Example(
            "ren.txt 里有几个人？", "ren.txt 里有两个人：小王和小李。",
            (("read_file", {"path": "ren.txt"}, "小王\n小李"),),
        ),
        Example(
            "Write a short greeting and save it as hi.txt.", "I wrote a greeting into hi.txt: Have a lovely day!",
            (("write_file", {"path": "hi.txt", "text": "Have a lovely day!"}, "wrote 18 characters to hi.txt"),),
        ),
        Example(
            "1250 的 8% 是多少？", "1250 的 8% 是 100。", (("calculator", {"expression": "1250 * 8 / 100"}, "100.0"),)
        ),
        Example(
            "What is 8 % of 50?", "8 % of 50 is 4.", (("calculator", {"expression": "50 * 8 / 100"}, "4.0"),)
        ),  # without it an English sum may be answered in Chinese
    ),
    each=False,
    begin="Those were examples; their files are not there. The conversation begins now. A file is read first, and its "
    "own words are put into a call: nothing can be attached.",
    lean=True,
    result="Result of {tool}:\n{text}\n\n[Asked: {request}\n"
    "Is all of it done? Then answer in its language. Else use the next tool.]",
    failure="Result of {tool}:\n{text}\n\n[Asked: {request}\n"
    "This did not work. Do it in another way, or answer why it cannot be done.]",
    insist=r'\A(?:error: nothing was written|\{"stdout".*(?:Traceback|SyntaxError).*"exit": ?1)',
    again="Result of {tool}:\n{text}\n\n[Asked: {request}\n"
    "Nothing is done yet. Find the mistake in the call, and write the call again without it.]",
    first=(
        (
            r"(?i)(?=.*(?:\b(?:e-?mail|mail|send|forward|copy)\b|复制|抄到|发给|发送|邮件|寄给))"
            r".*\b[\w-]+\.(?:txt|md|csv|log|json)\b",
            "read_file",
        ),
    ),
    anew={"temperature": 0.7},  # at 0 it would make the same mistake
    sampling={"temperature": 0.0},
)  # fmt: skip

MANNERS: dict[str, Manner] = {
    "qwen2.5-coder-1.5b-instruct": _CODER,
    "qwen2.5-coder-0.5b-instruct": _CODER,  # 12 of 27 tasks right
}
"""By the name of a known model."""


def manner_of(model: str) -> Manner:
    """How a model is spoken to, by its name."""
    return MANNERS.get(model, ANY)
