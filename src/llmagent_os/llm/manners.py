"""How a model that only writes text is told about its tools: plain data, one for any model, others as measured.

What is in `MANNERS` was found with `bench everyday` on that model, and is used for it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..core.records import Json

SAME = "="  # in `Manner.then`: the same tool once more, if it looks something up
PATIENCE = 2  # calls in a row that a model has to make again, see `Manner.insist`

Step = tuple[str, Mapping[str, Json], str]
"""A call of an example: the tool, its arguments, and its result."""


@dataclass(frozen=True, slots=True)
class Example:
    """A message, the calls that it takes, and the answer.

    Shown where all the tools that it uses are on offer and take those arguments, `unless` is not, and the pattern
    `when` is found in the request.
    """

    said: str
    answer: str
    steps: tuple[Step, ...] = ()
    unless: str = ""
    when: str = ""


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

    For models that choose badly among tools, and stop halfway, what follows says which they can call at all; what they
    are told stays as it is. `then` has what comes after a tool that worked: patterns of its name and of the request,
    and the next tool, or SAME. What a request names, by the pattern `named`, has to be in a call before it is answered,
    once something was done. `only` has tools that need an occasion, a pattern of what was said lately, and `never` what
    speaks against them in the request; those of `once` are not called again after they worked, but for what results
    name. A tool that is not in `only`, and looks something up by the pattern `looks` of its description, is called
    first where the request has its name or two words of its description, or what `senses` has for a pattern that is
    found in the request; no other that nobody knows is ever forced.
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
    then: tuple[tuple[str, str, str], ...] = ()
    named: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    never: Mapping[str, str] = field(default_factory=dict)
    once: frozenset[str] = frozenset()
    looks: str = ""
    senses: Mapping[str, str] = field(default_factory=dict)
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

_ENDS = r"\.(?:txt|md|csv|tsv|log|json|ya?ml|xml|html?|py|js|sh|ini|cfg|conf|toml|sql|bak)(?![A-Za-z0-9])"
_FILE = rf"[\w-]{_ENDS}"
_ADDRESS = r"[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_ASKS = (
    r"total|sum|average|mean|how many|how much|count|most|least|high|low|larg|small|max|min|cheap|expensive|which|who"
    r"|best|worst|old|young|add up|rows|come to|多少|几|最|平均|总|一共|合计|加起来|哪|谁"
)
_ADDS = r"\b(?:add|append)\b(?! up| together|.*column)|(?:加|添)(?:上|入|进|一|个)|追加|末尾"
_CHANGES = r"\b(?:change|replace|correct|rename|misspel\w*|fix|update)\b|改成|改为|换成|替换|更正"
_MAKES = r"\b(?:write|create|make|save|new|put|store|script)\b|写(?!了|着|的)|新建|创建|保存|存"


_MAIL = rf"{_ADDRESS}|(?i:mail)|邮件"
_TALKS = r"(?i)translat|\bword\b|synonym|who are|explain|draft(?!\.)|翻译|英文|怎么说|解释|你是"
_TEXT = rf"(?s)^(?!.*\.csv).*{_FILE}"
_BIDS = rf"(?is)^(?!.*(?:[?？]|{_FILE}|{_ADDRESS}|几|多少|什么|谁|哪|吗|\b(?:what|how|who|which|when|where|why)\b))"
_ZH = r"[\u4e00-\u9fff]"


_DATE = (
    r"\d ?月|\b(?:19|20)\d\d\b|\b\d\d?(?:st|nd|rd|th)?(?: of)? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* \d"
)
_SENDS = rf"(?!.*(?:draft|n't|not|别|不要|草稿|{_FILE}))"
_UNSENT = r"(?i)\bdraft(?!\.)|(?:not|n't) (?:send|mail)|不要发|别发|先不发|草稿|起草"


def _case(when: str, said: str, answer: str, *steps: Step, unless: str = "") -> Example:
    return Example(said, answer, steps, unless, when)


def _table(when: str, said: str, code: str, printed: str, answer: str) -> Example:
    """What is asked of a table of three rows."""
    read: Step = ("read_file", {"path": "cost.csv"}, "name,kind,price\npen,desk,3.5\nbag,trip,20\nlamp,desk,9")
    code = "import csv\nrows = list(csv.DictReader(open('cost.csv')))\n" + code
    counted: Step = ("python", {"code": code}, f"stdout: {printed}")
    return _case(rf"(?i)(?=.*(?:{when})).*\.csv", said, answer, read, counted)


def _sum(when: str, said: str, answer: str, expression: str, result: str, others: str = _ZH) -> Example:
    computed: Step = ("calculator", {"expression": expression}, result)
    return _case(rf"(?i)^(?!.*(?:{_FILE}|{others}))(?=.*(?:{when}))", said, answer, computed)


_PLAN: Step = ("read_file", {"path": "plan.txt"}, "Call Mia at noon.")
_RENT: Step = ("read_file", {"path": "rent.txt"}, "Rent is due on Friday.")
_CASES = (
    _case("", "Who are you?", "I am the AI assistant of this computer, which runs LLMAgentOS."),
    _case(_ZH, "你是谁？", "我是这台电脑的智能助手，运行在 LLMAgentOS 上。"),
    _case(_TALKS, "Translate 'thank you' into Spanish.", "Gracias."),
    _case(_TALKS, "“苹果”用英文怎么说？", "apple"),
    _case(
        r"(?i)draft(?!\.)|草稿|not send", "Draft a short note to Tom about the party. Do not send it.",
        "Dear Tom,\nyou are invited to our party on Saturday.\nYours",
    ),
    _case("(?i)explain|解释", "解释一下：print(2 * 3)", "这行代码计算 2 乘以 3，打印 6。"),
    _case(_BIDS, "Order a pizza for me.", "I cannot order a pizza: I have no tool for that."),
    _case(f"{_BIDS}(?=.*{_ZH})", "帮我打开空调。", "抱歉，我无法打开空调：我没有这样的工具。"),
    _case(_TEXT, "What does plan.txt say?", "plan.txt says: Call Mia at noon.", _PLAN),
    _case(
        rf"{_TEXT}.*{_ZH}|(?!.*csv){_ZH}.*{_FILE}", "ren.txt 里有几个人？", "ren.txt 里有两个人：小王和小李。",
        ("read_file", {"path": "ren.txt"}, "小王\n小李"),
    ),
    _case(
        _TEXT, "What is in ghost.txt?", "There is no file ghost.txt.",
        ("read_file", {"path": "ghost.txt"}, "error: there is no file 'ghost.txt' in the workspace"),
    ),
    _case(
        rf"(?s){_FILE}.*{_FILE}", "Who is older, by tom.txt and ann.txt?", "Tom, who is 41. Ann is 38.",
        ("read_file", {"path": "tom.txt"}, "age 41"), ("read_file", {"path": "ann.txt"}, "age 38"),
    ),
    _case(
        rf"(?s){_FILE}.*{_FILE}", "Put what rent.txt says into old.txt.",
        "old.txt says what rent.txt says: Rent is due on Friday.", _RENT,
        ("write_file", {"path": "old.txt", "text": "Rent is due on Friday."}, "wrote 22 characters to old.txt"),
    ),
    *(
        replace(each, when=f"(?i){_ADDS}") for each in _CODER.examples if each.said.startswith("Add jam")
    ),
    _case(
        f"(?i){_CHANGES}", "In plan.txt change noon to 2 pm.", "I changed noon to 2 pm in plan.txt.",
        ("edit_file", {"path": "plan.txt", "old": "noon", "new": "2 pm"},
         "changed plan.txt, where it says now: Call Mia at 2 pm."),
    ),
    _case(
        f"(?i)(?:{_MAKES}).*{_FILE}", "Write a short greeting and save it as hi.txt.",
        "I wrote a greeting into hi.txt: Have a lovely day!",
        ("write_file", {"path": "hi.txt", "text": "Have a lovely day!"}, "wrote 18 characters to hi.txt"),
    ),
    _case(
        f"(?:写|建|存).*{_FILE}|{_FILE}.*写", "新建 meal.txt，写两行：早饭、午饭",
        "meal.txt 写好了，有两行：早饭和午饭。",
        ("write_file", {"path": "meal.txt", "text": "早饭\n午饭"}, "wrote 5 characters to meal.txt"),
    ),
    _case(
        rf"(?s)(?=.*{_FILE}).*(?:{_MAIL})", "Send what rent.txt says to kim@nord.dk.",
        "I sent what rent.txt says to kim@nord.dk.", _RENT,
        (
            "send_mail", {"to": "kim@nord.dk", "subject": "Rent", "body": "Rent is due on Friday."},
            "sent to kim@nord.dk",
        ),
    ),
    _case(
        rf"(?s)^(?!.*{_FILE}).*(?:{_MAIL})", "Mail kim@nord.dk and tim@nord.dk that I am late.",
        "I sent both mails: to kim@nord.dk and to tim@nord.dk.",
        ("send_mail", {"to": "kim@nord.dk", "subject": "Late", "body": "I am late."}, "sent to kim@nord.dk"),
        ("send_mail", {"to": "tim@nord.dk", "subject": "Late", "body": "I am late."}, "sent to tim@nord.dk"),
    ),
    _table(
        ".", "Which things in cost.csv are for the desk, and how many are they?",
        "found = [row['name'] for row in rows if row['kind'] == 'desk']\nprint(found, len(found))",
        "['pen', 'lamp'] 2", "The pen and the lamp: there are 2.",
    ),
    _table(
        "total|sum|come to|add|总|一共|合计|加", "What do the prices in cost.csv come to?",
        "print(sum(float(row['price']) for row in rows))", "32.5", "They come to 32.5.",
    ),
    _table(
        "average|mean|平均|total|sum|总|一共", "cost.csv 里 desk 类的总价和平均价格是多少？",
        "found = [float(row['price']) for row in rows if row['kind'] == 'desk']\n"
        "print(sum(found), sum(found) / len(found))", "12.5 6.25", "总价是12.5，平均价格是6.25。",
    ),
    _table(
        "最", "cost.csv 里谁最便宜？多少钱？", "row = min(rows, key=lambda row: float(row['price']))\nprint(row)",
        "{'name': 'pen', 'kind': 'desk', 'price': '3.5'}", "最便宜的是 pen，3.5元。",
    ),
    _table(
        "most|least|est\\b|max|min", "Which is the dearest thing in cost.csv?",
        "row = max(rows, key=lambda row: float(row['price']))\nprint(row['name'], row['price'])", "bag 20.0",
        "The dearest thing is the bag, at 20.",
    ),
    _case(
        r"(?i)\bday|date|tomorrow|today|time|几点|几号|星期|周|日期|今天|明天",
        "Write into due.txt what day tomorrow is in Lisbon.", "I wrote Tuesday, 2025-07-01 into due.txt.",
        ("clock", {"zone": "Europe/Lisbon"}, "weekday: Monday\ntomorrow: 2025-07-01, Tuesday"),
        ("write_file", {"path": "due.txt", "text": "Tuesday, 2025-07-01"}, "wrote 19 characters to due.txt"),
    ),
    _case(
        "几点|几号|星期|周|日期|今天|明天", "里斯本今天星期几？现在几点？",
        "里斯本今天是2025年6月30日，星期一，现在是14:20。",
        ("clock", {"zone": "Europe/Lisbon"}, "time: 2025-06-30T14:20:05+01:00\nweekday: Monday"),
    ),
    _case(
        r"(?i)\bdays?\b.*\d|\d.*\bdays?\b|\d.*天", "How many days are there from 3 May to 9 June 2024?",
        "There are 37 days.",
        (
            "python", {"code": "from datetime import date\nprint((date(2024, 6, 9) - date(2024, 5, 3)).days)"},
            "stdout: 37",
        ),
    ),
    _case(
        "(?i)python", "Use Python to find the 10th number of 1, 3, 9, 27 ...", "It is 19683.",
        ("python", {"code": "n = 1\nfor _ in range(9):\n    n = n * 3\nprint(n)"}, "stdout: 19683"),
    ),
    _case(
        "(?i)python", "用 Python 算出 50 以内所有奇数的和", "和是625。",
        ("python", {"code": "print(sum(n for n in range(1, 50) if n % 2 == 1))"}, "stdout: 625"),
    ),
    _sum(rf"{_ZH}.*\d|\d.*{_ZH}", "1250 的 8% 是多少？", "1250 的 8% 是 100。", "1250 * 8 / 100", "100.0", "(?!)"),
    _sum("折|元", "一双鞋300元，打七折后多少钱？", "打七折后是210元。", "300 * 0.7", "210.0", "(?!)"),
    _sum(r"\d", "I buy 4 pens at 1.5 and 2 bags at 20. What do I pay?", "You pay 46.", "4 * 1.5 + 2 * 20", "46.0"),
    _sum(r"\d.*%|percent", "A price of 60 falls by 5 %. What is it then?", "It is 57.", "60 * (1 - 5 / 100)", "57.0"),
    _sum(r"\d", "What is 8 % of 50?", "8 % of 50 is 4.", "50 * 8 / 100", "4.0"),
    _sum(
        r"(?:second|minute|hour|day|week|year).*\d|\d.*(?:second|minute|hour|day|week|year)",
        "How many minutes are 2 days, 5 hours and 7 minutes?", "They are 3187 minutes.",
        "(2 * 24 + 5) * 60 + 7", "3187",
    ),
)  # fmt: skip

_SMALL = replace(
    _CODER,
    examples=_CASES,
    first=(
        (rf"(?i)(?=.*(?:\b(?:e-?mail|mail|send|forward|copy)\b|复制|抄到|发给|发送|邮件|寄给)).*{_FILE}", "read_file"),
        *((rf"(?i)(?=.*(?:{_ADDS})).*{_FILE}", tool) for tool in ("append_file", "edit_file", "read_file")),
        (r"(?i)\b(?:today|tomorrow|yesterday)'?s? date\b|\bwhat (?:time|day|date)\b|\bthe time\b", "clock"),
        (r"几点|几号|星期几|礼拜几|周几|(?:今天|明天|昨天|现在)的?(?:日期|时间)", "clock"),
        (r"(?i)(?=.*(?:\b(?:write|create|save)\b|写|新建|创建)).*\.py\b", "write_file"),
        (r"(?i)\b(?:use|using|with|run)\b.*\bpython\b|用 ?python", "python"),
        (
            rf"(?i)^(?!.*(?:{_FILE}|{_ADDRESS}|python|{_DATE}))(?=.*\d)"
            r"(?=.*(?:\d[^\d.,]+\d|\d[.,]? .*\d|root|square|cube|half|double|power|折))"
            r".*(?:how|what|split|comput|calculat|多少|几|算|等于)",
            "calculator",
        ),
        (rf"(?i)^(?!.*(?:{_MAKES}|{_CHANGES}|解释|explain)).*{_FILE}", "read_file"),
        (rf"(?i)^{_SENDS}.*\b(?:send|mail|e-?mail|write)\b.*{_ADDRESS}", "send_mail"),
        (rf"(?i)^{_SENDS}.*{_ADDRESS}.*(?:发|邮件|告诉)", "send_mail"),
    ),
    then=(
        (".*", r"(?i)\bor\b|\bboth\b|还是|分别|各", SAME),
        ("read_file", rf"(?i)(?=.*(?:{_ASKS})).*\.csv", "python"),
        ("write_file", r"(?i)(?=.*(?:\brun\b|execute|运行|执行)).*\.py\b", "python"),
        ("read_file", rf"(?i)^(?!.*{_ADDRESS})(?=.*(?:{_ADDS})).*{_FILE}", "write_file"),
        (".*", r"(?i)\d.*\b(?:cost|pay|price)|\b(?:cost|pay|price).*\d|\d.*(?:多少钱|一共|总价)", "calculator"),
        ("read_file", r"(?i)total|\bsum\b|average|add up|come to|平均|总|一共|合计|加起来", "calculator"),
    ),
    named=rf"(?i)[A-Za-z0-9_-]+{_ENDS}|{_ADDRESS}",
    only={
        "read_file": rf"(?i){_FILE}|file|note|文件|笔记|文档|\.txt",
        "write_file": rf"(?i){_FILE}|file|save|note|文件|笔记|保存|记下|\.txt",
        "edit_file": rf"(?i){_FILE}|file|文件|\.txt",
        "append_file": rf"(?i){_FILE}|file|文件|\.txt",
        "list_files": r"(?i)file|folder|director|workspace|文件|目录",
        "python": r"(?i)python|code|script|program|comput|代码|程序|脚本|计算|\.(?:csv|py|json)|\d",
        "calculator": r"(?i)\d|half|third|percent|average|total|\bsum\b|[一二三四五六七八九十百千两]",
        "clock": r"(?i)time|date|\bday|today|tomorrow|yesterday|week|month|year|hour|clock|morning|evening|点|号|星期"
        r"|周|今天|明天|昨天|时间|日期|月|年",
        "send_mail": r"(?i)mail|send|@|tell|messag|forward|邮|发|告诉|通知|转告",
    },
    result="[Asked: {request}]\nResult of {tool}:\n{text}\n\n"
    "Say what the result says, in the language of the request; or use the next tool.",
    failure="[Asked: {request}]\nResult of {tool}:\n{text}\n\n"
    "This did not work. Do it in another way, or answer why it cannot be done.",
    anew={"temperature": 1.0, "max_tokens": 600},
    sampling={"temperature": 0.0, "max_tokens": 600},  # it may go on for ever
    never={"send_mail": _UNSENT},
    once=frozenset({"read_file", "write_file", "edit_file", "append_file", "list_files", "send_mail", "python"}),
    senses={
        "库存|仓库|存货|剩": "stock inventory",
        "多少钱|价格|价钱|单价|贵": "price cost",
        "天气|气温|温度|下雨|下雪|冷|热": "weather temperature forecast",
        r"(?i)\b(?:warm|cold|hot|rain|snow|sunny|umbrella|degrees)": "weather temperature forecast",
        "邮箱|邮件地址|联系方式|电话": "contact address phone",
        "订单": "order", "汇率": "exchange currency", "新闻": "news", "日程|安排": "calendar event schedule",
    },
    looks=r"(?i)(?:say|get|look|find|show|list|search|read|return|fetch|check|query|tell|give|count|查|获取|返回|搜索)",
)  # fmt: skip

MANNERS: dict[str, Manner] = {
    "qwen2.5-coder-1.5b-instruct": _CODER,
    "qwen2.5-coder-0.5b-instruct": _SMALL,
}
"""By the name of a known model."""


def manner_of(model: str) -> Manner:
    """How a model is spoken to, by its name."""
    return MANNERS.get(model, ANY)
