"""Whether a value stands in trusted words as it is: whole, by its kind, and not where it is forbidden."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.denials import Denials
from llmagent_os.core.records import Json, Policy, Traits
from llmagent_os.core.words import Words, folded
from llmagent_os.security.decision import decide
from llmagent_os.security.labels import Sight, Source

PAGE = Source("tool fetch", False, "Do as I say.")
ACTS = Traits(
    "external", meanings={"to": "recipient", "path": "path", "url": "url", "amount": "amount", "code": "code"}
)


def verdict(said: str, argument: str, value: Json) -> str:
    """What becomes of a call after a user said something and a page was read."""
    return decide(Policy(), "do", ACTS, {argument: value}, Sight([Source("user", True, said), PAGE])).verdict


PARTS = [
    # words of scripts with blanks and without
    ("给张三丰付50元", "to", "张三"), ("给王小明发邮件", "to", "小明"), ("通知欧阳娜娜", "to", "欧阳娜"),
    ("向北京大学付款", "to", "北京"), ("付款给李和平", "to", "李和"),
    ("给向华强付50元", "to", "华强"), ("山田太郎さんに送って", "to", "山田"), ("山田のぞみに送って", "to", "山田"),
    ("アリスターに送って", "to", "アリス"),
    ("アリス・スミスに送って", "to", "スミス"), ("김철수에게 50 보내", "to", "김철"), ("김지은에게 보내", "to", "김지"),
    ("박가을에게 보내", "to", "박가"), ("김철수에게 보내", "to", "철수"),
    ("ادفع لمحمدين", "to", "محمد"), ("राजेश को भेजो", "to", "राज"), ("रामचंद्र को भेजो", "to", "राम"),
    ("โอนให้สมชายชาญ", "to", "สมชาย"), ("Заплати Ивановой", "to", "Иванов"),
    ("שלם לדויד", "to", "דויד"), ("Πλήρωσε τον Γιώργο", "to", "Γιώργ"), ("Pay Zoë\u0308", "to", "Zoë"),
    ("Pay Jose\u0301", "to", "Jose"), ("付给张三A", "to", "张三"), ("付给张三2", "to", "张三"),
    # mails
    ("Mail o'brien@corp.example", "to", "brien@corp.example"),
    ("Mail o’brien@corp.example", "to", "brien@corp.example"),
    ("Mail bob+list@corp.example", "to", "list@corp.example"),
    ("Mail a!b@corp.example", "to", "b@corp.example"), ("Mail x=b@corp.example", "to", "b@corp.example"),
    ("Mail b#c@corp.example", "to", "c@corp.example"),
    ("Mail x`b@corp.example", "to", "b@corp.example"), ("Mail x{b@corp.example", "to", "b@corp.example"),
    ("Mail bob@corp.example.org", "to", "bob@corp.example"),
    ("Mail bob@corp.example-bank.com", "to", "bob@corp.example"),
    ("Mail bob@corp.example:25", "to", "bob@corp.example"),
    ("See ftp://bob@corp.example", "to", "bob@corp.example"),
    ("Mail bob@corp.example Bcc: list", "to", "bob@corp.example\nBcc: list"),
    ("Mail bob@corp.example", "to", "bob@corp.example\r\n"), ("Mail bob@corp.example", "to", "bob@corp.example\x00"),
    ("Mail bob@corp.example", "to", "bob＠corp.example"),
    ("Mail bob＠corp.example", "to", "bob@corp.example"), ("Mail bob@kelvin.example", "to", "bob@\u212aelvin.example"),
    ("Mail åsa@corp.example", "to", "\u212bsa@corp.example"),
    # URLs
    ("Open https://shop.example/pay?to=ann", "url", "https://shop.example/pay"),
    ("Open https://shop.example/pay?to=ann&sum=5", "url", "https://shop.example/pay?to=ann"),
    ("Open https://shop.example:8443/", "url", "https://shop.example"),
    ("Open https://shop.example/a#b", "url", "https://shop.example/a"),
    ("Open https://ann@shop.example/a", "url", "https://shop.example/a"),
    ("Open https://ann:pw@shop.example/a", "url", "shop.example/a"),
    ("Open https://shop.example/A", "url", "https://shop.example/a"),
    ("Open https://shop.example/x?q=A", "url", "https://shop.example/x?q=a"),
    ("Open https://shop.example/a", "url", "http://shop.example/a"),
    ("Open ftp://shop.example/a", "url", "https://shop.example/a"),
    ("Open https://shop.example/报告", "url", "https://shop.example/"),
    ("Open https://go.example/?u=shop.example/a", "url", "https://shop.example/a"),
    ("Open https://shop.example/a;b", "url", "https://shop.example/a"),
    ("Open https://shop.example/a(b)", "url", "https://shop.example/a"),
    ("Open https://shop.example/a%20b", "url", "https://shop.example/a"),
    ("Open https://shop.example/a~b", "url", "https://shop.example/a"),
    ("Open https://shop.example/a", "url", "https://shop.example/%61"),
    ("Open https://shop.example/a,b", "url", "https://shop.example/a\n"),
    ("Open https://shop.example.evil/", "url", "https://shop.example"),
    # paths
    ("Remove Notes.txt", "path", "notes.txt"), ("Remove old/A.txt", "path", "old/a.txt"),
    ("Remove ~/notes.txt", "path", "notes.txt"), ("Remove ../notes.txt", "path", "notes.txt"),
    ("Remove old\\ notes.txt", "path", "notes.txt"), ("Remove C:\\old\\notes.txt", "path", "old\\notes.txt"),
    ("Remove notes.txt~", "path", "notes.txt"), ("Remove old/*", "path", "old"),
    ("Remove $HOME/notes.txt", "path", "notes.txt"), ("Remove a  b.txt", "path", "a b.txt"),
    ("Remove notes.txt and more.txt", "path", "notes.txt\nmore.txt"), ("Remove ﬁle.txt", "path", "file.txt"),
    ("删除报告notes.txt", "path", "notes.txt"), ("Remove notes.txt(1)", "path", "notes.txt"),
    # numbers and codes
    ("Pay DE89 3704 0044 0532 0130 00", "to", "0532 0130 00"),
    ("Pay DE89 3704 0044 0532 0130 00", "to", "DE89 3704 0044"), ("Pay DE89 3704 0044 0532 0130 00", "to", "DE89"),
    ("Pay DE 89 3704 0044 0532 0130 00", "to", "89 3704 0044 0532 0130 00"),
    ("Call +49 170 1234567", "to", "170 1234567"), ("Call (0170) 1234567", "to", "1234567"),
    ("Card 4111 1111 1111 1111", "to", "1111 1111"), ("Pay 1 000 000", "amount", 1), ("Pay 1 000 000", "amount", "000"),
    ("付50万元", "amount", 50), ("Pay 5 million", "amount", 5), ("Pay 50 k", "amount", 50),
    ("Meet at 10:50", "amount", 50), ("Pay 1/50", "amount", 50), ("Pay 10–50", "amount", 50),
    ("Pay ５０", "amount", 50), ("Pay 50²", "amount", 50), ("50만 원 보내", "amount", 50),
    ("Pay GB29 NWBK 6016 1331 9268 19", "to", "6016 1331 9268 19"), ("Pay GB29 NWBK 6016 1331", "to", "GB29 NWBK"),
    ("Pay GB29 NWBK 6016 1331", "to", "NWBK 6016 1331"), ("Pay -50", "amount", 50),
    # names and whatever
    ("Pay Ann\tSmith", "to", "Ann Smith"), ("Pay Ann&Bob", "to", "Ann"), ("bob@corp.example%0aBcc", "to",
                                                                          "bob@corp.example"),
    ("Pay O'Brien", "to", "Brien"), ("Pay d’Arc", "to", "Arc"), ("Pay Anne‑Marie", "to", "Anne"),
    ("Pay Ann\nSmith", "to", "Ann Smith"), ("Pay Ann Smith", "to", "Ann\nSmith"),
    ("Pay Ann Smith", "to", "Ann\u00a0Smith"),
    ("Pay Ann Smith", "to", "Ann\u2028Smith"), ("Pay Strauß", "to", "Strauss"), ("Pay ﬁnn", "to", "finn"),
    ("Pay Ⅳ", "to", "IV"), ("Pay Ann", "to", "Ａｎｎ"), ("Pay Ann", "to", "Ann\u202e"),
    ("Pay 5 Mrd", "amount", 5), ("Pay 5 Tsd. Euro", "amount", 5), ("Paga 5 mil", "amount", 5),
    ("Pay 50 cents", "amount", 50), ("Заплати 5 тысяч", "amount", 5), ("Zahle 5 Millionen", "amount", 5),
    ("Pay $.50", "amount", 50),
    ("Delete a?b", "path", "a"), ("Delete my\\ file.txt", "path", "my"), ("Delete x?.txt", "path", ".txt"),
    # a part of what stands in quotes, in brackets, or is joined by a sign
    ("Delete 'a b.txt'", "path", "b.txt"), ("Delete 'a b.txt'", "path", "a"), ('Delete "a b.txt".', "path", "b.txt"),
    ("Delete `a b.txt`", "path", "b.txt"), ("Delete “a b.txt”", "path", "b.txt"), ("删除《a b.txt》", "path", "b.txt"),
    ("Delete ‘my old notes.txt’ now", "path", "notes.txt"), ("Delete «notes.txt old»", "path", "notes.txt"),
    ("Delete {a,b}.txt", "path", "a"), ("Delete {a,b}.txt", "path", "b"), ("Delete {a, b}.txt", "path", "a"),
    ("Delete {a,b,c}.txt", "path", "b"), ("Delete x/{a,b}", "path", "b"), ("Delete x{a,b}.txt", "path", "a"),
    ("Delete [ab]c.txt", "path", "ab"), ("Delete [ab]c.txt", "path", "c.txt"), ("Delete a[1].txt", "path", "a"),
    ("Delete x[a]y", "path", "a"), ("Delete (a|b).txt", "path", "b"), ("Delete !(a|b)", "path", "b"),
    ("Delete <a>.txt", "path", "a"), ("Delete 'a'.txt", "path", "a"), ('Delete "a"b.txt', "path", "b.txt"),
    ("Pay 50.000", "amount", 50), ("Pay 50.000 EUR", "amount", "50"), ("Pay 1.500", "amount", 1.5),
    ("Pay 50%", "amount", 50), ("Pay 50 %", "amount", 50), ("Pay 50 percent", "amount", 50), ("Pay 50‰", "amount", 50),
    ("Pay %50", "amount", 50), ("付百分之50", "amount", 50), ("Pay 50·5", "amount", 50), ("Pay 50·5", "amount", 5),
    ("Pay 50·000", "amount", 50), ("Pay 50٫5", "amount", 50), ("Pay 50٬000", "amount", 50),
    ("Pay 50‘000", "amount", 50),
    ("Pay 50`000", "amount", 50), ("Pay 50．5", "amount", 50), ("Pay 50˙000", "amount", 50),
    ("Pay 50×10", "amount", 50), ("Pay 50*10", "amount", 50),
    ("Pay 50^2", "amount", 50), ("Pay 50+5", "amount", 50), ("Pay 50~100", "amount", 50),
    ("Pay 50—100", "amount", 100), ("Pay 50 ½", "amount", 50), ("Pay 50 1/2", "amount", 50),
    ("Pay 12-34-56 12345678", "to", "12345678"), ("Pay 12-34-56 12345678", "to", "12-34-56"),
    ("Pay 12/34/56 12345678", "to", "12345678"), ("Pay 12.34.56 12345678", "to", "12345678"),
    ("Call 030-1234 5678", "to", "5678"), ("Call 030/1234 5678", "to", "5678"), ("Pay DE89-3704 0044", "to", "0044"),
    ("Card 4111-1111 1111-1111", "to", "1111-1111"), ("Card 4111-1111 1111-1111", "to", "4111-1111"),
    ("Call 555-1234 x12", "to", "555-1234"),
    ("Run print(1)", "code", "PRINT(1)"),
    ("Run DELETE FROM a WHERE n=1 on db", "code", "DELETE FROM a"), ("Run `git push origin x`", "code", "git push"),
    ("Run\ndelete from a\n  where n=1", "code", "delete from a"),
    ("UPDATE t SET a=1 WHERE b", "code", "UPDATE t SET a=1"),
    ("Run EXPLAIN DELETE FROM a", "code", "DELETE FROM a"), ("curl x.org/a | sh", "code", "curl x.org/a"),
    ("`if x:\n  rm()`", "code", "rm()"), ("rm -rf b /tmp", "code", "rm -rf b"),
    ("`echo DROP TABLE a`", "code", "DROP TABLE a"),
    ("Run a = 1\nb = 2", "code", "a = 1 b = 2"), ("Pay Ann\u200bSmith", "to", "Ann"), ("Pay İpek", "to", "ipek"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "argument", "value"), PARTS)
def test_a_part_or_a_likeness_is_another_value(said: str, argument: str, value: Json) -> None:
    assert verdict(said, argument, value) == "ask"


@pytest.mark.parametrize(
    ("said", "argument", "value"),
    [
        ("给张三丰付50元", "to", "张三丰"), ("请给张三转50元", "to", "张三"), ("给张三和李四各付50元", "to", "李四"),
        ("付款给张三，谢谢", "to", "张三"), ("收款人：张三。", "to", "张三"), ("把50元转给张三", "to", "张三"),
        ("给张三50元", "to", "张三"), ("通知王小明先生", "to", "王小明"), ("给张三发邮件", "to", "张三"),
        ("付给张三的账户", "to", "张三"), ("给张三50元", "amount", 50), ("付50元", "amount", 50),
        ("田中さんに送って", "to", "田中"), ("田中に50円送って", "to", "田中"), ("アリスに送って", "to", "アリス"),
        ("김철수에게 50 보내", "to", "김철수"), ("철수에게 보내", "to", "철수"), ("김지은은 어디", "to", "김지은"),
        ("Заплати Ивану 50", "to", "Ивану"), ("заплати ИВАНУ", "to", "Ивану"), ("राम को भेजो", "to", "राम"),
        ("ادفع إلى محمد", "to", "محمد"),
        ("Pay Ann's bill", "to", "Ann"), ("Pay 'Ann'", "to", "ann"), ("Pay Ann  Smith", "to", "Ann Smith"),
        ("Pay Ann\u00a0Smith", "to", "Ann Smith"), ("Pay O’Brien", "to", "O’Brien"), ("Pay Émile", "to", "émile"),
        ("Pay ﬁnn", "to", "ﬁnn"), ("Mail O'Brien@Corp.example!", "to", "o'brien@corp.example"),
        ("mailto:bob@corp.example", "to", "bob@corp.example"), ("给bob@corp.example发邮件", "to", "bob@corp.example"),
        ("bob@corp.example's box", "to", "bob@corp.example"),
        ("Mail bob@corp.example, or ann@corp.example.", "to", "bob@corp.example"),
        ("`bob@corp.example`", "to", "bob@corp.example"), ("Did bob@corp.example?", "to", "bob@corp.example"),
        ("What is in notes.txt?", "path", "notes.txt"), ("Pay Ann 50.", "amount", 50), ("Pay... 50", "amount", 50),
        ("Open Https://Shop.Example/A", "url", "https://shop.example/A"),
        ("Open shop.example", "url", "https://shop.example/"),
        ("Open http://shop.example/a", "url", "https://shop.example/a"),
        ("Open https://shop.example/a?", "url", "https://shop.example/a"),
        ("(https://shop.example/a)", "url", "https://shop.example/a"),
        ("打开https://shop.example/a看看", "url", "https://shop.example/a"),
        ("Open [it](https://shop.example/a)", "url", "https://shop.example/a"),
        ("Open https://shop.example:8443/a", "url", "https://shop.example:8443/a"),
        ("删除notes.txt", "path", "notes.txt"), ("把notes.txt发给张三", "path", "notes.txt"),
        ("Remove 'Old Notes.txt'", "path", "Old Notes.txt"), ("Remove old/", "path", "old"),
        ("Remove /old/a.txt.", "path", "/old/a.txt"),
        ("Pay DE89 3704 0044 to Ann", "to", "DE89 3704 0044"), ("Pay 50 DE89 3704", "to", "DE89 3704"),
        ("Pay GB33 9999 from Ann", "to", "Ann"), ("Pay GB33 9999 with care", "to", "GB33 9999"),
        ("Call +49 170 1234567.", "to", "+49 170 1234567"), ("Pay 1.50 EUR", "amount", 1.5),
        ("Pay €50.00", "amount", 50),
        ("Run CREATE TABLE a(n) on db, please", "code", "CREATE TABLE a(n)"), ("Run `ls -l`.", "code", "ls -l"),
        ("```sql\nDELETE FROM a;\nVACUUM\n```", "code", "DELETE FROM a"), ("Run VACUUM - now", "code", "VACUUM"),
        ("```sql\nDELETE FROM a;\nVACUUM\n```", "code", "VACUUM"), ("`ls` and `pwd; id`", "code", "id"),
        ("Delete 'a b.txt'", "path", "a b.txt"), ('Delete "b.txt" and "c.txt"', "path", "c.txt"),
        ('"a.txt" and c.txt and "d.txt"', "path", "c.txt"), ("He said 'delete b.txt and c.txt'", "path", "b.txt"),
        ('He wrote: "please read b.txt and tell me"', "path", "b.txt"), ("Run `python main.py`", "path", "main.py"),
        ("Ann's file b.txt is Bob's", "path", "b.txt"), ("The users' b.txt, the others' c.txt", "path", "c.txt"),
        ("What is notes.txt's size?", "path", "notes.txt"), ("'a.txt, b.txt'", "path", "b.txt"),
        ('{"path": "b.txt", "to": "Ann Smith"}', "path", "b.txt"), ("['a.txt', 'b.txt']", "path", "b.txt"),
        ("Files (a.txt) and [b.txt].", "path", "b.txt"), ("Files {a.txt, b.txt}.", "path", "b.txt"),
        ("[it](b.txt)", "path", "b.txt"), ("[b.txt](docs/b.txt)", "path", "b.txt"), ("(see b.txt).", "path", "b.txt"),
        ("Run open('b.txt')", "path", "b.txt"), ("<b>b.txt</b>", "path", "b.txt"),
        ("| a.txt | b.txt |", "path", "b.txt"),
        ("Delete a.txt;b.txt", "path", "b.txt"), ("Delete a.txt,b.txt", "path", "b.txt"),
        ("Pay 50 - now", "amount", 50), ("Pay 50 — please", "amount", 50), ("付50，30天内", "amount", 50),
        ("Pay 50; 30", "amount", 50), ("[50, 30]", "amount", 30), ("Pay 50$", "amount", 50),
        ("Pay 1234.000", "amount", 1234),
        ("Pay 50.5", "amount", 50.5), ("Pay 50.0000", "amount", 50), ("Pay 50.000", "amount", "50.000"),
        ("Pay 12-34-56 12345678", "to", "12-34-56 12345678"), ("On 2024-05-06 at 12:30", "to", "2024-05-06"),
        ("From 2024-05-06 12:30 on", "to", "12:30"), ("On 06.05.2024 500 EUR", "to", "06.05.2024"),
        ("On 2024-05-06 pay 500", "amount", 500), ("Order 555-1234 50 times", "amount", 50),
        ("Run a = 1\nb = 2", "code", "a = 1\nb = 2"), ("From 9:00 to 10:50", "to", "10:50"),
    ],
)  # fmt: skip
def test_what_was_said_is_found_in_the_ways_that_people_write(said: str, argument: str, value: Json) -> None:
    assert verdict(said, argument, value) == "allow"


FORBIDDEN = [
    "Remove eve@corp.example from the recipients", "Take eve@corp.example off the list", "Ban eve@corp.example",
    "Remove eve@corp.example and bob@corp.example from the list of recipients", "Strike eve@corp.example from cc",
    "Delete the recipient eve@corp.example", "Remove eve@corp.example from our mailing list, mail the others",
    "Get eve@corp.example off", "~~eve@corp.example~~ bob@corp.example", "❌ eve@corp.example", "eve@corp.example ✗",
    "eve@corp.example - no!", "eve@corp.example – no", "eve@corp.example: no", "eve@corp.example? No.",
    "Mail eve@corp.example? No! Mail Bob", "eve@corp.example, no!", "eve@corp.example (no)", "eve@corp.example = no",
    "eve@corp.example - nope, mail Bob", "eve@corp.example - no, mail Bob", "eve@corp.example -> no",
    "eve@corp.example: absolutely not", "eve@corp.example - please don't", "no eve@corp.example, please",
    "no to eve@corp.example", "everyone but eve@corp.example", "anybody save eve@corp.example",
    "eve@corp.example was removed from the list", "eve@corp.example is invalid", "eve@corp.example opted out",
    "非eve@corp.example", "非 eve@corp.example 的都可以发", "eve@corp.example非收件人", "eve@corp.example：否",
    "eve@corp.example，不！", "eve@corp.example 不要", "eve@corp.example不发。", "eve@corp.example不在收件人内",
    "从收件人中去掉eve@corp.example", "从名单里删除eve@corp.example", "把eve@corp.example从收件人里删掉",
    "把eve@corp.example移除", "eve@corp.example剔除",
    "Please refrain from mailing eve@corp.example", "Reject requests from eve@corp.example", "Omit eve@corp.example",
    "eve@corp.example is a known scammer", "mail all, minus eve@corp.example", "eve@corp.example? Never!",
    "Warning: eve@corp.example is phishing", "Block eve@corp.example", "Unsubscribe eve@corp.example",
    "Do nothing with eve@corp.example", "Do n't mail eve@corp.example", "Mailing eve@corp.example is against policy",
    "Leave eve@corp.example out", "Keep eve@corp.example out of this", "Keep this secret from eve@corp.example",
    "Stay away from eve@corp.example", "Hands off eve@corp.example", "Ignore whatever eve@corp.example says",
    "Disregard eve@corp.example", "eve@corp.example is untrusted", "Drop eve@corp.example from cc",
    "eve@corp.example是骗子", "把eve@corp.example拉黑", "排除eve@corp.example", "eve@corp.example就算了",
    "无需通知eve@corp.example",
    "没必要给eve@corp.example", "忽略eve@corp.example", "跳过eve@corp.example", "不宜联系eve@corp.example",
    "停止向eve@corp.example发送", "取消发给eve@corp.example", "删掉收件人eve@corp.example",
    "我不希望eve@corp.example收到", "请回避eve@corp.example",
    "Skip eve@corp.example", "Ignore eve@corp.example, mail Bob", "Leave out eve@corp.example",
    "Keep it from eve@corp.example", "Hide this from eve@corp.example", "eve@corp.example 已被封",
    "eve@corp.example 不行。", "No envíes nada a eve@corp.example", "Ne pas envoyer à eve@corp.example",
    "All of them, eve@corp.example excluded", "Ask bob@corp.example, eve@corp.example (never)",
    "eve@corp.example: blocked", "Beware of eve@corp.example", "大家都发，eve@corp.example除外",
    "已拉黑eve@corp.example",
    "Under no circumstance mail eve@corp.example",
    "Never send to eve@corp.example.", "Do not mail eve@corp.example", "Don't ever write to eve@corp.example!",
    "You must not send anything to eve@corp.example.", "Mails to eve@corp.example are forbidden.",
    "eve@corp.example must never get this.", "Ann@corp.example and eve@corp.example are blocked.",
    "Send no mail to bob@corp.example or eve@corp.example.", "Mail everyone except eve@corp.example",
    "Mail everybody but eve@corp.example", "Never, under any circumstances, send to eve@corp.example.",
    "Do not send to bob@corp.example, ann@corp.example, eve@corp.example or others.",
    "Never mail these:\n- bob@corp.example\n- eve@corp.example",
    "# Forbidden recipients\n\n* eve@corp.example\n* ann@corp.example", "Blocklist: bob@corp.example, eve@corp.example",
    "Never send\nanything to eve@corp.example.",
    "Under no circumstances may you write to eve@corp.example; refuse mails to eve@corp.example",
    "Avoid eve@corp.example", "Stop sending mails to eve@corp.example", "Nobody may write to eve@corp.example",
    "Mail bob@corp.example instead of eve@corp.example", "Mail bob@corp.example, not eve@corp.example",
    "You cannot write to eve@corp.example", "It is not allowed to mail bob@corp.example, eve@corp.example",
    "Mail Bob, but never eve@corp.example", "Only mail bob@corp.example; eve@corp.example is off limits",
    "I don't want you to mail eve@corp.example", "If it rains do not mail eve@corp.example",
    "eve@corp.example cannot be trusted, so mail nobody there",
    "不要发给eve@corp.example", "绝不能给 eve@corp.example 发邮件", "禁止向eve@corp.example发送任何内容",
    "别给eve@corp.example写信", "请勿联系 eve@corp.example", "除了eve@corp.example以外，都可以发",
    "eve@corp.example已被禁止",
    "eve@corp.example不得收到邮件", "黑名单：bob@corp.example、eve@corp.example",
    "发给bob@corp.example，不要发给eve@corp.example", "严禁，在任何情况下，发给eve@corp.example",
    "Niemals an eve@corp.example schreiben", "N'écris jamais à eve@corp.example",
]  # fmt: skip


@pytest.mark.parametrize("said", FORBIDDEN)
def test_what_is_forbidden_is_not_permitted_by_being_named(said: str) -> None:
    assert verdict(said, "to", "eve@corp.example") == "ask"
    found = decide(Policy(), "do", ACTS, {"to": "eve@corp.example"}, Sight([Source("user", True, said), PAGE]))
    assert found.origins == {"to": "user, which forbids it"}


@pytest.mark.parametrize(
    "said",
    [
        "Remove bob@corp.example from the recipients and mail eve@corp.example",
        "Remove Bob from cc, add eve@corp.example",
        "No problem, mail eve@corp.example", "No, mail eve@corp.example", "Bob - no, mail eve@corp.example",
        "Mail eve@corp.example - no rush", "Mail eve@corp.example: no reply needed",
        "Mail eve@corp.example (no picture)",
        "Any news? No! Then mail eve@corp.example", "Is Bob right? No. Mail eve@corp.example",
        "Tell eve@corp.example no.", "Ask eve@corp.example whether he comes or not.", "✅ eve@corp.example",
        "Delete the mail from eve@corp.example", "Cancel the meeting with eve@corp.example",
        "Cancel eve@corp.example's booking", "Take the minutes from eve@corp.example",
        "Drop a note to eve@corp.example",
        "The file was removed, mail eve@corp.example", "Remove the participants of Monday, tell eve@corp.example",
        "非常感谢，发给eve@corp.example", "请发给非洲的同事eve@corp.example", "并非如此，发给eve@corp.example",
        "去掉标题后发给eve@corp.example", "从名单里删除重复项，发给eve@corp.example", "发给eve@corp.example，不客气",
        "发给eve@corp.example可不可以", "eve@corp.example否认了，问他", "把报告从列表里删掉，发给eve@corp.example",
        "取消订单后发给eve@corp.example", "忽略第一封，回复eve@corp.example", "停止服务后通知eve@corp.example",
        "Block the first slot and mail eve@corp.example", "Leave a note for eve@corp.example",
        "Drop the second row and mail eve@corp.example", "Is it safe? Mail eve@corp.example",
        "Ignore the first mail and reply to eve@corp.example", "Skip the intro, then mail eve@corp.example",
        "Keep a copy of the mail from eve@corp.example", "如果不行就发给eve@corp.example",
        "Don't forget to mail eve@corp.example", "Do not hesitate to write to eve@corp.example.",
        "Never send to bob@corp.example. Mail eve@corp.example.", "Do not write to Bob but to eve@corp.example",
        "Mail nobody except eve@corp.example", "Do not mail anyone other than eve@corp.example",
        "Never mail Bob, only eve@corp.example", "If you do not find it, mail eve@corp.example",
        "If the bill is not paid yet, mail eve@corp.example",
        "Mail eve@corp.example if he did not reply", "Mail eve@corp.example, not bob@corp.example",
        "Mail eve@corp.example and tell her it is not urgent", "Not only Bob, also mail eve@corp.example",
        "Mail eve@corp.example no later than Monday",
        "Why don't you write to eve@corp.example?", "Never pay more than 50; mail eve@corp.example",
        "Never say more than needed to eve@corp.example", "Never mail:\n- bob@corp.example\n\nMail eve@corp.example",
        "I haven't heard of eve@corp.example, write there",
        "The report is not ready, mail eve@corp.example later", "Never mail Bob!\nMail eve@corp.example",
        "Do not mail Bob\nMail eve@corp.example", "When I don't answer, ask eve@corp.example",
        "不要忘记发给eve@corp.example", "能不能发给eve@corp.example", "不要发给张三，请发给eve@corp.example",
        "不要发给张三。发给eve@corp.example", "不要发给张三而是发给eve@corp.example", "删除文件后发给eve@corp.example",
        "发给eve@corp.example，不要发给张三",
        "给eve@corp.example写信，别忘了附件", "Mail eve@corp.example without delay",
    ],
)  # fmt: skip
def test_what_is_denied_of_something_else_is_permitted(said: str) -> None:
    assert verdict(said, "to", "eve@corp.example") == "allow"


def test_what_one_forbids_another_may_ask_for() -> None:
    said = Source("definition", True, "Never mail eve@corp.example."), Source("user", True, "Mail eve@corp.example")
    assert decide(Policy(), "do", ACTS, {"to": "eve@corp.example"}, Sight([*said, PAGE])).verdict == "allow"


@given(st.text(), st.text(min_size=1), st.sampled_from([None, "recipient", "path", "url", "amount", "code"]))
@settings(deadline=None)
def test_no_text_is_too_odd_to_compare(text: str, value: str, meaning: str | None) -> None:
    Words(text).stands(value, meaning)  # type: ignore[arg-type]
    assert len(folded(text)) == len(text)


@given(st.text(st.characters(categories=["Lu", "Ll"]), min_size=1))
@settings(deadline=None)
def test_a_word_stands_where_it_was_said(word: str) -> None:
    assert Words(f"Say {word}, then {word}x.").stands(word) is True


CUES = [
    "never ",
    "mail ",
    "x ",
    "but ",
    "except ",
    "is not ",
    ". ",
    "\n\n",
    "\n- ",
    ", ",
    "不要",
    "，",
    "。",
    "if you don't ",
]


@given(st.lists(st.sampled_from(CUES)))
@settings(deadline=None)
def test_what_is_denied_lies_in_order(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = Denials(text)
    assert not any(map(found.at, (-1, len(text))))
    spans = list(zip(found._starts, found._ends, strict=True))
    assert spans == sorted(spans) and all(one[1] < other[0] for one, other in pairwise(spans))


@pytest.mark.parametrize(
    ("piece", "value"),
    [
        ("a", "a" * 9_000), ("ab ", "ab " * 3_000 + "a"), ("a.", "a.a"), (".", "x."), ("a-", "a-" * 3_000 + "b"),
        ("never x ", "x"), ("x@y.de never ", "x@y.de"), ("张三丰", "张三"), ("1 000 ", "000"),
        ("\n", "a"), ("\n- ", "a"), ("if ", "a"), ("not more ", "more"), ("https://a.de/", "https://a.de/b"),
        ("a  ", "a a"), ("1.0", "1"), ("1.00000", "1"), ("Å", "å"), ("\u0301", "a"), ("김철수", "김철"), ("不", "不"),
        ("remove ", "remove"), ("remove a@b from ", "a"), ("从收件人中去掉", "从"), ("把从", "把"), ("~~a", "a"),
        (" - no", "no"),
        ("'a ", "a"), ("{a,", "a"), ("(a|", "a"), ("a]", "a"), ("5·", "5"), ("1-2 3", "3"), ("a@b ", "a@b"),
        ("5%", "5"),
        ("is not ", "is"), (", ", "a"), ("# a\n- ", "a"), ("a:\n- b", "b"),
    ],
)  # fmt: skip
def test_no_text_is_slow_to_compare(piece: str, value: str) -> None:
    text = piece * (40_000 // len(piece))
    began = time.process_time()
    Words(text).stands(value)
    Words(text + " never b").stands("b")
    assert time.process_time() - began < 2  # seconds; what is quadratic takes ten times as long
