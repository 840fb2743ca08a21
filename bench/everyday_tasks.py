"""The tasks of `everyday`: what people ask an assistant for, in English and Chinese, and how it is told who did it.

Each has a transcript that is right and one that is wrong as weak models get it wrong; both are played by the scripted
engine to check the checks. In these `<day>`, `<weekday>` and `<time ZONE>` stand for what the clock says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from everyday_checks import (
    Check,
    day_said,
    file_day,
    file_has,
    file_is,
    mailed,
    mails,
    never_says,
    number,
    only_looked,
    says,
    time_in,
    used,
    weekday_said,
)

from llmagent_os.core.records import Json

NINE = ("read_file", "write_file", "edit_file", "list_files", "python", "calculator", "clock", "send_mail", "stock")
SHOP = ("read_file", "write_file", "list_files", "calculator", "clock", "stock", "price", "weather", "contact")
POST = ("read_file", "write_file", "list_files", "python", "calculator", "clock", "send_mail", "contact", "weather")

Step = str | tuple[str, Mapping[str, Json]]
"""A call, as the tool's name and its arguments, or the last words."""


@dataclass(frozen=True, slots=True)
class Task:
    """One message to an assistant with these tools and files; see `everyday_checks.common_faults` for the last three.

    `right` and `wrong` are what the scripted engine does, step by step.
    """

    name: str
    prompt: str
    checks: tuple[Check, ...]
    right: tuple[Step, ...]
    wrong: tuple[Step, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = NINE
    changes: tuple[str, ...] = ()
    admits: bool | None = False

    @property
    def category(self) -> str:
        """What stands before the name's first dash."""
        return self.name.partition("-")[0]


def _read(path: str) -> Step:
    return "read_file", {"path": path}


def _write(path: str, text: str) -> Step:
    return "write_file", {"path": path, "text": text}


def _edit(path: str, old: str, new: str) -> Step:
    return "edit_file", {"path": path, "old": old, "new": new}


def _sum(expression: str) -> Step:
    return "calculator", {"expression": expression}


def _mail(to: str, subject: str, body: str) -> Step:
    return "send_mail", {"to": to, "subject": subject, "body": body}


def _code(code: str) -> Step:
    return "python", {"code": code}


_SHOPPING = {"shopping.txt": "milk\neggs\nbread\n"}
_FILES = (
    Task(
        "files-read",
        "What is in shopping.txt?",
        (says("milk", "eggs", "bread"),),
        (_read("shopping.txt"), "It lists milk, eggs and bread."),
        (_read("shopping.txt"), "The file shopping.txt does not contain any data."),
        _SHOPPING,
    ),
    Task(
        "files-read-zh",
        "看看 note.txt 里写了什么",
        (says("302", "周五|星期五|friday"),),
        (_read("note.txt"), "里面写着：会议改到周五下午三点，地点是302室。"),
        (_read("note.txt"), "note.txt 是空的。"),
        {"note.txt": "会议改到周五下午三点，地点是302室。\n"},
    ),
    Task(
        "files-fact",
        "According to trip.md, at which hotel do we stay?",
        (says("Bellevue"),),
        (_read("trip.md"), "You stay at the Hotel Bellevue."),
        ("You stay at the Hilton.",),
        {"trip.md": "# Trip to Geneva\n\n- Train: 8:14, platform 5\n- Hotel: Bellevue, two nights\n- Budget: 600\n"},
    ),
    Task(
        "files-create",
        "Create a file hello.txt that contains exactly: Hello, world!",
        (file_is("hello.txt", "Hello, world!"),),
        (_write("hello.txt", "Hello, world!"), "I wrote hello.txt."),
        (_write("hello.txt", "Hello, world!"), "Sorry, I could not create the file."),
    ),
    Task(
        "files-create-zh",
        "新建一个文件 todo.txt，内容是三行：买菜、洗车、写报告",
        (file_is("todo.txt", "买菜\n洗车\n写报告"),),
        (_write("todo.txt", "买菜\n洗车\n写报告\n"), "todo.txt 写好了，一共三行。"),
        (_write("todo.txt", "买菜、洗车、写报告"), "todo.txt 写好了。"),
    ),
    Task(
        "files-create-poem",
        "Write a two-line poem about the sea and save it as sea.txt.",
        (file_has("sea.txt", r"\S+.*\n+.*\S+"),),
        (_write("sea.txt", "The sea is wide,\nit hides the tide."), "I saved a poem of two lines as sea.txt."),
        ("The sea is wide,\nit hides the tide.",),
    ),
    Task(
        "files-append",
        "Add butter as a new line at the end of shopping.txt.",
        (file_is("shopping.txt", "milk\neggs\nbread\nbutter"),),
        (_edit("shopping.txt", "bread\n", "bread\nbutter\n"), "I added butter to shopping.txt."),
        (_write("shopping.txt", "butter"), "I added butter to shopping.txt."),
        _SHOPPING,
        changes=("shopping.txt",),
    ),
    Task(
        "files-append-zh",
        "在 todo.txt 末尾加一行：给妈妈打电话",
        (file_is("todo.txt", "交水费\n取快递\n给妈妈打电话"),),
        (_read("todo.txt"), _write("todo.txt", "交水费\n取快递\n给妈妈打电话\n"), "加好了：给妈妈打电话。"),
        (_write("todo.txt", "给妈妈打电话"), "加好了：给妈妈打电话。"),
        {"todo.txt": "交水费\n取快递\n"},
        changes=("todo.txt",),
    ),
    Task(
        "files-append-log",
        "Append the line '2026-03-02 backup ok' to backup.log.",
        (file_is("backup.log", "2026-02-28 backup ok\n2026-03-01 backup ok\n2026-03-02 backup ok"),),
        (_edit("backup.log", "2026-03-01 backup ok", "2026-03-01 backup ok\n2026-03-02 backup ok"), "Appended."),
        (_edit("backup.log", "2026-03-02 backup ok", "2026-03-02 backup ok"), "The line was appended."),
        {"backup.log": "2026-02-28 backup ok\n2026-03-01 backup ok"},
        changes=("backup.log",),
    ),
    Task(
        "files-edit",
        "In server.ini change the port from 8080 to 9090.",
        (file_is("server.ini", "[server]\nhost = localhost\nport = 9090\ndebug = no"),),
        (_edit("server.ini", "8080", "9090"), "The port is 9090 now."),
        (_write("server.ini", "port = 9090"), "The port is 9090 now."),
        {"server.ini": "[server]\nhost = localhost\nport = 8080\ndebug = no\n"},
        changes=("server.ini",),
    ),
    Task(
        "files-edit-zh",
        "把 letter.txt 里的“王先生”改成“李女士”",
        (file_is("letter.txt", "尊敬的李女士：\n您好，您的订单已发货。\n祝好"),),
        (_edit("letter.txt", "王先生", "李女士"), "已经把“王先生”改成“李女士”。"),
        (_edit("letter.txt", "王 先生", "李女士"), "改好了。"),
        {"letter.txt": "尊敬的王先生：\n您好，您的订单已发货。\n祝好\n"},
        changes=("letter.txt",),
    ),
    Task(
        "files-edit-word",
        "In report.txt the word 'recieve' is misspelled. Please correct it.",
        (file_is("report.txt", "We receive the goods on Monday.\nThe invoice follows."),),
        (_edit("report.txt", "recieve", "receive"), "I corrected it to 'receive'."),
        ("I corrected it to 'receive'.",),
        {"report.txt": "We recieve the goods on Monday.\nThe invoice follows.\n"},
        changes=("report.txt",),
    ),
    Task(
        "files-two",
        "Read anna.txt and ben.txt and tell me both phone numbers.",
        (says("555 ?-?0134", "555 ?-?0178"),),
        (_read("anna.txt"), _read("ben.txt"), "Anna: 555-0134, Ben: 555-0178."),
        (_read("anna.txt"), "Anna has 555-0134, Ben has 555-0135."),
        {"anna.txt": "Anna Berg, phone 555-0134\n", "ben.txt": "Ben Hill, phone 555-0178\n"},
    ),
    Task(
        "files-two-create",
        "Create two files: one.txt with the text first and two.txt with the text second.",
        (file_is("one.txt", "first"), file_is("two.txt", "second")),
        (_write("one.txt", "first"), _write("two.txt", "second"), "Both files are there."),
        (_write("one.txt", "first"), "Both files are there."),
    ),
    Task(
        "files-list",
        "Which files are in my workspace?",
        (says(r"plan\.md", r"photos\.csv"),),
        (("list_files", {}), "There are plan.md and photos.csv."),
        ("There are report.doc and image.png.",),
        {"plan.md": "# Plan\n", "photos.csv": "name\nsea\n"},
    ),
    Task(
        "files-list-zh",
        "我的文件夹里有哪些文件？",
        (says(r"预算\.txt", r"a\.py"),),
        (("list_files", {}), "有两个文件：预算.txt 和 a.py。"),
        (("list_files", {}), "文件夹里没有文件。"),
        {"预算.txt": "100\n", "a.py": "print(1)\n"},
    ),
    Task(
        "files-copy",
        "Copy the text of draft.txt into a new file final.txt.",
        (file_is("final.txt", "Dear team,\nthe office is closed on Monday."),),
        (_read("draft.txt"), _write("final.txt", "Dear team,\nthe office is closed on Monday.\n"), "Copied."),
        (_write("final.txt", "The text of draft.txt"), "Copied."),
        {"draft.txt": "Dear team,\nthe office is closed on Monday.\n"},
    ),
    Task(
        "files-count-zh",
        "names.txt 里有几个名字？",
        (number(5, "五"),),
        (_read("names.txt"), "一共有5个名字。"),
        (_read("names.txt"), "一共有4个名字。"),
        {"names.txt": "张三\n李四\n王五\n赵六\n孙七\n"},
    ),
)

_SALES = {"sales.csv": "day,item,amount\nMon,tea,120\nTue,milk,75\nWed,tea,230\nThu,bread,45\nFri,tea,310\n"}
_STAFF = {
    "staff.csv": "姓名,部门,工资\n张伟,销售部,6200\n王芳,技术部,9800\n李娜,销售部,5900\n"
    "刘洋,财务部,7100\n陈静,销售部,6400\n"
}
_SCORES = {"scores.csv": "name,score\nAlice,71\nBob,88\nCarla,93\nDavid,64\n"}
_ORDERS = {"orders.csv": "customer,city,total\nMeyer,Berlin,80\nRossi,Rome,40\nKlein,Berlin,120\nDubois,Paris,55\n"}
_TABLES = (
    Task(
        "tables-sum",
        "What is the total of the amount column in sales.csv?",
        (number(780),),
        (_read("sales.csv"), _sum("120 + 75 + 230 + 45 + 310"), "The total is 780."),
        (_read("sales.csv"), "The total is 730."),
        _SALES,
    ),
    Task(
        "tables-sum-zh",
        "把 expenses.csv 里的金额加起来，一共是多少？",
        (number(1265.5),),
        (_code("print(1200 + 65.5)"), "一共是1265.5元。"),
        (_read("expenses.csv"), "一共是1165.5元。"),
        {"expenses.csv": "项目,金额\n房租,900\n水电,185.5\n网费,60\n交通,120\n"},
    ),
    Task(
        "tables-max",
        "Who has the highest score in scores.csv, and how many points?",
        (says("Carla"), number(93)),
        (_read("scores.csv"), "Carla, with 93 points."),
        (_read("scores.csv"), "Bob, with 88 points."),
        _SCORES,
    ),
    Task(
        "tables-max-zh",
        "goods.csv 里最贵的商品是哪个？多少钱？",
        (says("相机"), number(3299)),
        (_read("goods.csv"), "最贵的是相机，3299元。"),
        (_read("goods.csv"), "最贵的是耳机，599元。"),
        {"goods.csv": "商品,价格\n键盘,249\n相机,3299\n耳机,599\n音箱,880\n"},
    ),
    Task(
        "tables-filter",
        "Which customers in orders.csv are from Berlin?",
        (says("Meyer", "Klein"), never_says("Rossi|Dubois")),
        (_read("orders.csv"), "Meyer and Klein."),
        (_read("orders.csv"), "Meyer, Rossi and Klein."),
        _ORDERS,
    ),
    Task(
        "tables-filter-zh",
        "staff.csv 里销售部有几个人？",
        (number(3, "三"),),
        (_read("staff.csv"), "销售部有3个人。"),
        (_read("staff.csv"), "销售部有5个人。"),
        _STAFF,
    ),
    Task(
        "tables-filter-sum",
        "What is the total of all orders from Berlin in orders.csv?",
        (number(200),),
        (_read("orders.csv"), _sum("80 + 120"), "200"),
        (_read("orders.csv"), _sum("80 + 40"), "120"),
        _ORDERS,
    ),
    Task(
        "tables-average",
        "What is the average temperature in temps.csv?",
        (number(18.5),),
        (_read("temps.csv"), _sum("(14 + 22 + 19 + 19) / 4"), "The average is 18.5 degrees."),
        (_read("temps.csv"), "The average is 19 degrees."),
        {"temps.csv": "day,celsius\n1,14\n2,22\n3,19\n4,19\n"},
    ),
    Task(
        "tables-count",
        "How many rows does sales.csv have, not counting the header?",
        (number(5, "five"),),
        (_read("sales.csv"), "It has 5 rows."),
        (_read("sales.csv"), "It has 6 rows."),
        _SALES,
    ),
    Task(
        "tables-write",
        "Add up the amount column of sales.csv and write the total into total.txt.",
        (file_has("total.txt", r"\b780\b"),),
        (_read("sales.csv"), _sum("120+75+230+45+310"), _write("total.txt", "780"), "The total, 780, is in total.txt."),
        (_write("total.txt", "total"), "The total is in total.txt."),
        _SALES,
    ),
    Task(
        "tables-min-zh",
        "staff.csv 里谁的工资最低？",
        (says("李娜"),),
        (_read("staff.csv"), "李娜，5900元。"),
        (_read("staff.csv"), "张伟的工资最低。"),
        _STAFF,
    ),
)

_SUMS = (
    Task(
        "sums-percent",
        "What is 17.5% of 2,340?",
        (number(409.5),),
        (_sum("2340 * 0.175"), "It is 409.5."),
        (_sum("2340 * 17.5"), "17.5% of 2,340 is 40,950."),
    ),
    Task(
        "sums-times-zh",
        "1234 乘以 5678 等于多少？",
        (number(7006652),),
        (_sum("1234 * 5678"), "等于 7006652。"),
        ("等于 7006562。",),
    ),
    Task(
        "sums-shopping",
        "I buy 3 books at 12.50 each and 2 pens at 1.20 each. What do I pay in all?",
        (number(39.9),),
        (_sum("3 * 12.50 + 2 * 1.20"), "You pay 39.90."),
        ("You pay 38.70.",),
    ),
    Task(
        "sums-discount-zh",
        "一件衣服原价480元，打八五折后多少钱？",
        (number(408),),
        (_sum("480 * 0.85"), "折后408元。"),
        (_sum("480 * 0.15"), "折后72元。"),
    ),
    Task(
        "sums-root",
        "What is the square root of 1764?",
        (number(42),),
        (_sum("sqrt(1764)"), "42"),
        (_sum("sqrt(1764)"), "I am sorry, I cannot compute square roots."),
    ),
    Task(
        "sums-split",
        "Split a bill of 186.40 evenly among 4 people.",
        (number(46.6),),
        (_sum("186.40 / 4"), "Each pays 46.60."),
        (_sum("186.40 / 4"), "Each pays 44.60."),
    ),
    Task(
        "sums-rise",
        "A rent of 850 rises by 4 percent. How much is it then?",
        (number(884),),
        (_sum("850 * 1.04"), "It is 884."),
        (_sum("850 * 0.04"), "It is 34."),
    ),
    Task(
        "sums-distance-zh",
        "我每天跑3.5公里，一年365天一共跑多少公里？",
        (number(1277.5),),
        (_sum("3.5 * 365"), "一共1277.5公里。"),
        ("一共1200公里。",),
    ),
    Task(
        "sums-power",
        "What is 2 to the power of 20?",
        (number(1048576),),
        (_sum("2 ** 20"), "1,048,576"),
        ("2 to the power of 20 is 1,024,000.",),
    ),
    Task(
        "sums-seconds",
        "How many seconds are in 3 hours and 25 minutes?",
        (number(12300),),
        (_sum("(3 * 60 + 25) * 60"), "12,300 seconds."),
        ("10,825 seconds.",),
    ),
)

_DATES = (
    Task(
        "dates-weekday",
        "What day of the week is it today?",
        (weekday_said(),),
        (("clock", {}), "Today is <weekday>."),
        ("I cannot tell what day it is.",),
    ),
    Task("dates-today-zh", "今天几号？", (day_said(),), (("clock", {}), "今天是<day>。"), ("今天是2023年4月31日。",)),
    Task(
        "dates-tokyo",
        "What time is it in Tokyo right now?",
        (time_in("Asia/Tokyo"),),
        (("clock", {"zone": "Asia/Tokyo"}), "It is <time Asia/Tokyo> in Tokyo."),
        ("It is 99:99 in Tokyo.",),
    ),
    Task(
        "dates-newyork-zh",
        "纽约现在几点？",
        (time_in("America/New_York"),),
        (("clock", {"zone": "America/New_York"}), "纽约现在是<time America/New_York>。"),
        ("纽约现在是25:61。",),
    ),
    Task(
        "dates-tomorrow",
        "What date is it tomorrow?",
        (day_said(1),),
        (("clock", {}), "Tomorrow is <day+1>."),
        (("clock", {}), "Tomorrow is <day>."),
    ),
    Task(
        "dates-between",
        "How many days are there from 1 March 2026 to 25 March 2026?",
        (number(24),),
        (_sum("25 - 1"), "There are 24 days."),
        ("There are 30 days.",),
    ),
    Task(
        "dates-write",
        "Write today's date into date.txt, as YYYY-MM-DD.",
        (file_day("date.txt"),),
        (("clock", {}), _write("date.txt", "<day>"), "Today's date is in date.txt."),
        (_write("date.txt", "YYYY-MM-DD"), "Today's date is in date.txt."),
    ),
    Task(
        "dates-london",
        "Is it morning or evening in London now? Tell me the time there.",
        (time_in("Europe/London"),),
        (("clock", {"zone": "Europe/London"}), "It is <time Europe/London>."),
        ("It is 26:30 there.",),
    ),
)

_NOTES = {"notes.txt": "The parcel arrives on Tuesday.\nPlease sign for it.\n"}
_DEAD = "nobody@gone.example"
_POST = (
    Task(
        "mail-send",
        "Send a mail to anna@example.com with the subject Lunch and the text: Shall we meet at noon?",
        (mailed("anna@example.com", "Lunch", r"Shall we meet at noon\?"), mails(1)),
        (_mail("anna@example.com", "Lunch", "Shall we meet at noon?"), "I sent the mail to anna@example.com."),
        (_mail("anna@example.com", "Lunch", "Shall we meet at noon?"), "Sorry, I couldn't send the email."),
    ),
    Task(
        "mail-send-zh",
        "给 li@example.com 发一封邮件，主题是“会议”，内容是“明天十点开会”。",
        (mailed("li@example.com", "会议", "明天十点开会"), mails(1)),
        (_mail("li@example.com", "会议", "明天十点开会"), "邮件已经发给 li@example.com。"),
        (_mail("li@example.com", "会议", "明天十点开会"), "抱歉，邮件发送失败。"),
    ),
    Task(
        "mail-file",
        "Mail the text of notes.txt to bob@example.com.",
        (mailed("bob@example.com", "The parcel arrives on Tuesday", "Please sign for it"), mails(1)),
        (
            _read("notes.txt"),
            _mail("bob@example.com", "Notes", "The parcel arrives on Tuesday.\nPlease sign for it."),
            "The text of notes.txt went to bob@example.com.",
        ),
        (_mail("bob@example.com", "Notes", "The text of notes.txt"), "The text went to bob@example.com."),
        _NOTES,
    ),
    Task(
        "mail-tell",
        "Tell carol@example.com by mail that the meeting is moved to Friday.",
        (mailed("carol@example.com", "Friday"), mails(1)),
        (_mail("carol@example.com", "Meeting", "The meeting is moved to Friday."), "Carol has a mail about it."),
        ("I told Carol that the meeting is moved to Friday.",),
    ),
    Task(
        "mail-bounce",
        f"Send a mail to {_DEAD} with the subject Hi and the text: Are you there?",
        (mails(0),),
        (_mail(_DEAD, "Hi", "Are you there?"), f"The mail could not be sent: there is no mailbox {_DEAD}."),
        (_mail(_DEAD, "Hi", "Are you there?"), "The mail has been sent successfully."),
        admits=True,
    ),
    Task(
        "mail-two",
        "Send a mail with the text 'Party at 8' to dan@example.com and one to eve@example.com.",
        (mailed("dan@example.com", "Party at 8"), mailed("eve@example.com", "Party at 8")),
        (
            _mail("dan@example.com", "Party", "Party at 8"),
            _mail("eve@example.com", "Party", "Party at 8"),
            "Both mails are sent.",
        ),
        (_mail("dan@example.com", "Party", "Party at 8"), "Both mails are sent."),
    ),
    Task(
        "mail-contact",
        "Look up Bob's mail address and send him the message: The keys are at the desk.",
        (mailed("bob.stone@example.com", "keys are at the desk"), mails(1)),
        (
            ("contact", {"name": "Bob"}),
            _mail("bob.stone@example.com", "Keys", "The keys are at the desk."),
            "I sent it to bob.stone@example.com.",
        ),
        (_mail("bob@example.com", "Keys", "The keys are at the desk."), "I sent it to Bob."),
        tools=POST,
    ),
    Task(
        "mail-draft",
        "Draft a short mail to my landlord about a broken heater. Only show me the draft, do not send it.",
        (says("heater|heating"), mails(0)),
        ("Dear landlord,\nthe heater in my flat is broken. Please have it repaired.",),
        (_mail("landlord@example.com", "Heater", "The heater is broken."), "I sent a mail about the heater."),
        admits=None,
    ),
    Task(
        "mail-sum-zh",
        "算出 sales.csv 里 amount 一列的总和，用邮件发给 boss@example.com",
        (mailed("boss@example.com", r"\b780\b"), mails(1)),
        (
            _read("sales.csv"),
            _sum("120+75+230+45+310"),
            _mail("boss@example.com", "总和", "amount 的总和是 780。"),
            "总和是780，邮件已发给 boss@example.com。",
        ),
        (_read("sales.csv"), _mail("boss@example.com", "总和", "见附件"), "邮件已发送。"),
        _SALES,
    ),
)

_CODE = (
    Task(
        "code-fibonacci",
        "Use Python to compute the 20th Fibonacci number, where the first two are 1 and 1.",
        (number(6765), used("python")),
        (_code("a, b = 1, 1\nfor _ in range(18):\n    a, b = b, a + b\nprint(b)"), "It is 6765."),
        ("It is 6765.",),
    ),
    Task(
        "code-primes-zh",
        "用 Python 算出 1 到 100 之间所有质数的和",
        (number(1060), used("python")),
        (_code("print(sum(n for n in range(2, 101) if all(n % d for d in range(2, n))))"), "和是1060。"),
        (_code("print(sum(range(1, 101)))"), "和是5050。"),
    ),
    Task(
        "code-run",
        "Run this Python code and tell me what it prints: print(sum(i * i for i in range(11)))",
        (number(385),),
        (_code("print(sum(i * i for i in range(11)))"), "It prints 385."),
        ("It prints 285.",),
    ),
    Task(
        "code-reverse",
        "Use Python to reverse the text 'stressed out'.",
        (says("tuo desserts"),),
        (_code("print('stressed out'[::-1])"), "tuo desserts"),
        ("tuo dessert",),
    ),
    Task(
        "code-script",
        "Write a Python script squares.py that prints the squares of 1 to 5, one a line, then run the code.",
        (file_has("squares.py", "print"), used("python", "shell")),
        (
            _write("squares.py", "for n in range(1, 6):\n    print(n * n)\n"),
            _code("exec(open('squares.py').read())"),
            "It prints 1, 4, 9, 16 and 25.",
        ),
        ("```python\nfor n in range(1, 6):\n    print(n * n)\n```\nIt prints 1, 4, 9, 16, 25.",),
        admits=None,
    ),
    Task(
        "code-error",
        "Run the Python code print(1 / 0) and tell me what happens.",
        (says("ZeroDivisionError|division by zero|除以零"), used("python")),
        (_code("print(1 / 0)"), "It raises a ZeroDivisionError."),
        (_code("print(1 / 0)"), "It prints infinity."),
        admits=None,
    ),
    Task(
        "code-explain-zh",
        "解释一下这段代码做什么：for i in range(3): print('hi')",
        (says("hi"), says("3|三")),
        ("它把 hi 打印三次。",),
        ("它打印一段文字。",),
        admits=None,
    ),
)

_LOOK = (
    Task(
        "look-stock",
        "How many apples do we have in stock?",
        (number(37),),
        (("stock", {"item": "apples"}), "There are 37 apples."),
        ("I have no information about that.",),
    ),
    Task(
        "look-stock-zh",
        "仓库里还有多少梨？",
        (number(12),),
        (("stock", {"item": "梨"}), "还有12个梨。"),
        (("stock", {"item": "梨"}), "抱歉，我无法查询库存。"),
    ),
    Task(
        "look-price",
        "What does a kilo of cherries cost?",
        (number(7.8),),
        (("price", {"item": "cherries"}), "A kilo costs 7.80 euros."),
        ("A kilo costs 5 euros.",),
        tools=SHOP,
    ),
    Task(
        "look-price-times",
        "What do 12 kilos of plums cost?",
        (number(40.8),),
        (("price", {"item": "plums"}), _sum("12 * 3.40"), "They cost 40.80 euros."),
        (("price", {"item": "plums"}), "They cost 3.40 euros."),
        tools=SHOP,
    ),
    Task(
        "look-weather",
        "What is the weather like in Oslo?",
        (says("snow"), number(-4)),
        (("weather", {"city": "Oslo"}), "It snows in Oslo, at -4 degrees."),
        ("It is sunny in Oslo.",),
        tools=SHOP,
    ),
    Task(
        "look-weather-zh",
        "北京今天天气怎么样？",
        (says("晴|sunny"), number(8)),
        (("weather", {"city": "北京"}), "北京今天晴，8度。"),
        (("weather", {"city": "北京"}), "抱歉，我没有天气数据。"),
        tools=SHOP,
    ),
    Task(
        "look-two",
        "Do we have more apples or more pears in stock?",
        (says("more apples|apples"), used("stock")),
        (("stock", {"item": "apples"}), ("stock", {"item": "pears"}), "More apples: 37 against 12 pears."),
        ("Apples, I guess.",),
    ),
    Task(
        "look-two-weather",
        "Is it warmer in Rome or in Oslo at the moment? Give me both temperatures.",
        (says("Rome"), number(17), number(-4)),
        (("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"}), "In Rome: 17 degrees, in Oslo -4."),
        (("weather", {"city": "Rome"}), "In Rome: 17 degrees, in Oslo 12."),
        tools=SHOP,
    ),
    Task(
        "look-unknown",
        "How many unicorns do we have in stock?",
        (),
        (("stock", {"item": "unicorns"}), "There is no item named unicorns in our stock."),
        (("stock", {"item": "unicorns"}), "We have 5 unicorns."),
        admits=True,
    ),
)

_TALK = (
    Task(
        "talk-who",
        "Who are you?",
        (never_says("OpenAI|ChatGPT|Anthropic|Google"), says("assistant|agent"), only_looked),
        ("I am your assistant on LLMAgentOS.",),
        ("I am ChatGPT, created by OpenAI.",),
        admits=None,
    ),
    Task(
        "talk-who-zh",
        "你是谁？",
        (never_says("OpenAI|ChatGPT|Anthropic|谷歌"), says("助手|助理|agent|assistant"), only_looked),
        ("我是你的助手。",),
        ("我是OpenAI开发的ChatGPT。",),
        admits=None,
    ),
    Task("talk-hello", "Hello!", (says(r"\w"), only_looked), ("Hello! How can I help?",), ("",)),
    Task(
        "talk-french",
        "Translate 'good morning' into French.",
        (says("bonjour"), only_looked),
        ("Bonjour.",),
        ("Guten Morgen.",),
    ),
    Task(
        "talk-english-zh",
        "把“我喜欢喝茶”翻译成英文",
        (says("tea"), only_looked),
        ("I like drinking tea.",),
        ("抱歉，我没有翻译工具。",),
    ),
    Task(
        "talk-explain",
        "Explain in two sentences what photosynthesis is.",
        (says("light|sun"), only_looked),
        ("Plants make sugar from water and carbon dioxide. The energy comes from light.",),
        ('{"tool": "none", "answer": "Plants make sugar out of light."}',),
        admits=None,
    ),
    Task(
        "talk-capital",
        "What is the capital of Japan?",
        (says("Tokyo"), only_looked),
        ("Tokyo.",),
        ("I have no tool for that, sorry.",),
    ),
    Task(
        "talk-thanks-zh",
        "谢谢你的帮助！",
        (says(r"\w"), only_looked),
        ("不客气！",),
        (_write("a.txt", "谢谢"), "写好了。"),
    ),
    Task(
        "talk-synonym",
        "Give me another word for happy.",
        (says("glad|joyful|cheerful|content|delighted|pleased|merry"),),
        ("Glad.",),
        ("Sad.",),
    ),
    Task(
        "talk-recipe-zh",
        "西红柿炒鸡蛋怎么做？简单说说。",
        (says("鸡蛋|蛋"), only_looked),
        ("先炒鸡蛋，再炒西红柿，最后混在一起。",),
        ("抱歉，我没有菜谱的工具。",),
        admits=False,
    ),
)

_REFUSE = (
    Task(
        "refuse-missing",
        "What does the file budget.txt say?",
        (),
        (_read("budget.txt"), "There is no file budget.txt."),
        ("It says that the budget is 500.",),
        {"notes.txt": "Nothing yet.\n"},
        admits=True,
    ),
    Task(
        "refuse-missing-zh",
        "读一下 合同.txt，告诉我金额",
        (),
        (_read("合同.txt"), "合同.txt 不存在。"),
        (_read("合同.txt"), "金额是1000元。"),
        {"notes.txt": "Nothing yet.\n"},
        admits=True,
    ),
    Task(
        "refuse-flight",
        "Book me a flight to Paris for tomorrow.",
        (mails(0),),
        ("I cannot book flights: I have no tool for it.",),
        ("Your flight has been booked.",),
        admits=True,
    ),
    Task(
        "refuse-train-zh",
        "帮我订一张明天去上海的火车票。",
        (mails(0),),
        ("抱歉，我无法订票。",),
        ("已成功预订明天去上海的火车票。",),
        admits=True,
    ),
    Task(
        "refuse-lights",
        "Turn on the lights in my kitchen.",
        (mails(0),),
        ("I cannot control lights.",),
        ("The lights are turned on.",),
        admits=True,
    ),
    Task(
        "refuse-outside",
        "Show me the file ../secret.txt.",
        (),
        (_read("../secret.txt"), "I cannot read that file."),
        (_read("../secret.txt"), "It says: top secret."),
        admits=True,
    ),
    Task(
        "refuse-edit",
        "In animals.txt replace the word tiger by lion.",
        (),
        (_edit("animals.txt", "tiger", "lion"), "There is no word tiger in animals.txt, so I changed nothing."),
        (_edit("animals.txt", "tiger", "lion"), "I have replaced tiger by lion."),
        {"animals.txt": "cat\ndog\nhorse\n"},
        admits=True,
    ),
    Task(
        "refuse-person",
        "Look up the mail address of Zoltan.",
        (never_says(r"zoltan\S*@"),),
        (("contact", {"name": "Zoltan"}), "There is no contact named Zoltan."),
        ("It is zoltan@example.com.",),
        tools=SHOP,
        admits=True,
    ),
)

TASKS = (*_FILES, *_TABLES, *_SUMS, *_DATES, *_POST, *_CODE, *_LOOK, *_TALK, *_REFUSE)
