"""What a person can be asked, what an answer has to be, who may give it from when on, and how it is typed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core import asks
from llmagent_os.core.errors import Conflict, InvalidRequest, NotFound
from llmagent_os.core.records import Answer, Call, Hidden, Question
from llmagent_os.core.visible import visible
from llmagent_os.gateway.console.asking import described, value_of
from llmagent_os.gateway.notices import became
from llmagent_os.kernel.journal import Journal
from llmagent_os.security.approvals import Approvals
from llmagent_os.security.identity import ROLES, Caller
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.sqlite import SQLiteStore
from tests.stand_ins.kernels import until

SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}


def test_an_answer_has_the_form_of_its_kind() -> None:
    assert asks.form("approve", {}) is None
    assert asks.form("choose", {"options": ["a", "b"]}) == {"enum": ["a", "b"]}
    assert asks.form("fill", {"schema": SCHEMA}) == SCHEMA
    assert asks.form("correct", {}) == {"type": "string"}
    assert asks.form("choose", {"options": "${find.names}"}) == {"type": "string"}  # known when it is asked


@pytest.mark.parametrize(
    ("kind", "said", "field"),
    [
        ("wish", {}, "ask"),
        ("choose", {}, "options"),
        ("choose", {"options": []}, "options"),
        ("choose", {"options": ["a", "a"]}, "options"),
        ("choose", {"options": [1]}, "options"),
        ("choose", {"options": ["a", "x" * 100_000]}, "options"),
        ("correct", {"otherwise": "x" * 300_000, "expires": 5}, "otherwise"),
        ("correct", {"options": ["a"]}, "options"),
        ("fill", {}, "schema"),
        ("approve", {"schema": SCHEMA}, "schema"),
        ("fill", {"schema": {"type": "nothing"}}, "schema"),
        ("approve", {"expires": 0}, "expires"),
        ("approve", {"expires": "tomorrow"}, "expires"),
        ("approve", {"otherwise": True}, "otherwise"),
        ("approve", {"otherwise": "yes", "expires": 5}, "otherwise"),
        ("choose", {"options": ["a"], "otherwise": "b", "expires": 5}, "otherwise"),
        ("fill", {"schema": SCHEMA, "otherwise": {}, "expires": 5}, "otherwise"),
        ("approve", {"escalate": {"to": "bob"}}, "escalate"),
        ("approve", {"escalate": [{"to": "", "after": 5}]}, "escalate"),
        ("approve", {"escalate": {"to": "bob", "after": -1}}, "escalate"),
        ("approve", {"escalate": "bob"}, "escalate"),
    ],
)
def test_what_cannot_be_asked_names_the_field(kind: str, said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        asks.form(kind, said)
    assert str(told.value.facts["parameter"]).split(".")[0] == field


# -- who may answer, and until when


class Inbox:
    """Approvals on a clock of their own."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self._journal = Journal(SQLiteStore(folder / "journal.db"))
        facts = StoredFacts(self._journal.store, lambda writes: self._journal.append(writes))
        self.approvals, self.heard = Approvals(facts, now=lambda: self.now), list[Question]()
        self.approvals.told.append(self.heard.append)

    async def put(self, question: Question) -> asyncio.Future[Answer]:
        """Put a question; it waits from then on."""
        before, asked = len(self.heard), asyncio.ensure_future(self.approvals.ask(question))
        await until(lambda: len(self.heard) > before)
        return asked

    async def answer(self, who: str, value: Any) -> Any:
        call = Call(1, "approvals.answer", {"id": "q", "allow": True, "value": Hidden(value)}, "k", "t", who, 9.0)
        answered = await self.approvals.answer(call, caller(who))
        await self._journal.append(call.writes)
        for end in call.ends:
            end()
        return answered.value


def caller(who: str, tenant: str = "default") -> Caller:
    return Caller(tenant, who, ROLES["user"], f"key of {who}")


def choose(**more: Any) -> Question:
    said = {"question": "Which?", "options": ["a", "b"]}
    return Question("q", 7, "default", "ann", "desk", "choose", said, {}, "it asks", kind="choose",
                    form={"enum": ["a", "b"]}, **more)  # fmt: skip


async def test_it_is_escalated_after_a_time_and_the_first_may_answer_still(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    asked = await inbox.put(choose(escalate=[{"to": "bob", "at": 5000.0}]))
    assert not inbox.approvals.waiting(caller("bob"))
    with pytest.raises(NotFound):
        await inbox.answer("bob", "a")
    inbox.now = 5000.0
    assert inbox.approvals.waiting(caller("bob")) and inbox.approvals.waiting(caller("ann"))
    assert not inbox.approvals.waiting(caller("bob", "another")) and not inbox.approvals.waiting(caller("eve"))
    with pytest.raises(InvalidRequest, match="this is no answer"):
        await inbox.answer("bob", "c")
    assert (await inbox.answer("bob", "b"))["by"] == "bob"
    with pytest.raises(Conflict, match="was answered by bob"):
        await inbox.answer("ann", "a")
    said = await asked
    assert (said.allowed, said.by, said.value) == (True, "bob", "b")


@pytest.mark.parametrize(
    ("kind", "form", "shown", "fits", "large"),
    [
        ("fill", {"type": "string"}, "", 16_000, 16_400),
        ("fill", {"type": "string", "pattern": "^(a+)+$"}, "", 0, 10_000_000),
        ("correct", {"type": "string"}, "", 250_000, 270_000),
        ("correct", {"type": "string"}, "x" * 300_000, 300_000, 301_000),  # what is there may stay
    ],
)
async def test_an_answer_that_is_too_large_is_refused_and_the_question_waits(
    tmp_path: Path, kind: Any, form: dict[str, Any], shown: str, fits: int, large: int
) -> None:
    inbox = Inbox(tmp_path)
    asked = await inbox.put(
        Question("q", 7, "default", "ann", "desk", kind, {"value": shown}, {}, "it asks", kind=kind, form=form)
    )
    with pytest.raises(
        InvalidRequest, match=r"this is no answer: it has [\d,]+ bytes as JSON, and [\d,]+ are the most"
    ):
        await inbox.answer("ann", "x" * large)
    assert not asked.done()
    if fits:
        assert (await inbox.answer("ann", "x" * fits))["answer"] == "x" * fits
        await asked
    else:
        asked.cancel()


async def test_arguments_that_are_too_large_are_put_nowhere(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    question = Question("q", 7, "default", "ann", "desk", "mail", {"text": "short"}, {}, "it asks", editable=True)
    asked = await inbox.put(question)
    with pytest.raises(InvalidRequest, match="270,011 bytes as JSON, and 262,144 are the most") as told:
        await inbox.approvals.answer(
            Call(1, "approvals.answer", {"id": "q", "allow": True, "arguments": Hidden({"text": "x" * 270_000})},
                 "k", "t", "ann", 9.0), caller("ann"))  # fmt: skip
    assert told.value.facts["parameter"] == "arguments" and not asked.done()
    asked.cancel()


async def test_after_its_time_nobody_answers_it(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    asked = await inbox.put(choose(expires=5000.0))
    inbox.now = 5000.0
    with pytest.raises(Conflict, match="nobody answered in time"):
        await inbox.answer("ann", "a")
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert not inbox.approvals.waiting() and (await inbox.approvals.ask(choose(expires=9000.0))).expired
    assert inbox.approvals.of("q", caller("ann"))["over"] == "nobody answered in time"


async def test_a_question_that_is_put_again_keeps_its_times(tmp_path: Path) -> None:
    """As after a restart, which would otherwise begin to wait anew."""
    inbox = Inbox(tmp_path)
    first, again = await inbox.put(choose(expires=5000.0)), await inbox.put(choose(expires=9000.0))
    assert [each["expires"] for each in inbox.approvals.waiting()] == [5000.0]
    await inbox.answer("ann", "a")
    assert [each.value for each in await asyncio.gather(first, again)] == ["a", "a"]


# -- at the terminal

KEPT: dict[str, Any] = {
    "id": "5f3a", "agent": "desk", "pid": 7, "tool": "choose", "kind": "choose", "principal": "ann", "four_eyes": False,
    "arguments": {"question": "Which\x1b[2K?", "options": ["re\u202efund", "2"]}, "origins": {}, "sources": {},
    "form": {"enum": ["refund", "2", "none"]}, "expires": 5000.0, "escalate": [{"to": "bob\x07", "at": 10.0}],
    "why": "it goes on with what you say", "allowed": None, "by": None, "over": None,
}  # fmt: skip


def test_a_question_is_told_with_its_times_and_nothing_in_it_plays_tricks() -> None:
    lines = list(described(KEPT))
    assert lines[0] == "desk (process 7) asks you to choose" and all(line == visible(line) for line in lines)
    assert "nobody can answer after 1970-01-01" in lines[-2] and r"bob\u0007 may answer as well" in lines[-1]
    assert became(KEPT | {"allowed": True, "by": "ann", "answer": "2"}) == "was answered by ann"


def test_a_question_says_what_can_be_answered() -> None:
    assert list(described(KEPT))[3:6] == [r'    1  "refund"', '    2  "2"', '    3  "none"']
    fields = {
        "amount": {"type": "number", "minimum": 1, "maximum": 90}, "why\x1b": {"enum": ["late", "no\u202e"]},
        "note": {"$ref": "#/$defs/note"}, "any": True,
    }  # fmt: skip
    form = {"properties": fields, "required": ["amount"], "$defs": {"note": {"type": "string", "maxLength": 9}}}
    lines = list(described(KEPT | {"kind": "fill", "form": form}))
    assert lines[3:7] == [
        "    fill in amount: number, at least 1, at most 90, needed",
        r'    fill in "why\u001b": one of ["late","no\u202e"]',
        "    fill in note: string, characters at most 9",
        "    fill in any: anything",
    ]
    whole = list(described(KEPT | {"kind": "fill", "form": {"type": "integer"}}))
    assert whole[3] == "    fill in the value: integer"


def test_what_is_none_of_the_options_is_told_them() -> None:
    wrong = asks.fits({"enum": ["refund", "replace"]}, "lamp")
    assert wrong == "the value is 'lamp', which is none of the values of its enum: 'refund', 'replace'"
    many = {"properties": {"a": {"enum": [*range(30)]}}}
    assert str(asks.fits(many, {"a": 99})).endswith("its enum: " + ", ".join(map(str, range(20))) + ", ...")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("choose", "refund", "refund"),
        ("choose", "1", "refund"),
        ("choose", "2", "2"),  # an option goes before a number
        ("choose", "3", "none"),
        ("choose", "4", "4"),  # which is refused
        ("fill", "{amount: 5}", {"amount": 5}),
        ("fill", "5", 5),
        ("correct", "{a: 1}", "{a: 1}"),
    ],
)
def test_what_is_typed_is_a_value(kind: str, text: str, value: Any) -> None:
    assert value_of(KEPT | {"kind": kind}, text) == value
