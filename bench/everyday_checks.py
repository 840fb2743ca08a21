"""What `everyday` asks of an answer: small checks over what an assistant did and what it said.

A check takes an outcome and gives the faults that it finds, in words. Each accepts several wordings, in English and in
Chinese: numbers are compared as numbers, times as times of the clock, and words are patterns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from llmagent_os.core.records import Json


@dataclass(frozen=True, slots=True)
class Made:
    """A tool call that was made, and what came of it."""

    name: str
    arguments: Mapping[str, Json]
    result: str
    failed: bool


@dataclass(slots=True)
class Outcome:
    """What an assistant did with a task: its last words, the workspace before and after, mails sent, calls made.

    `begun` and `ended` are moments in UTC; `transcript` is for whoever looks into a failure.
    """

    said: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    mails: Sequence[Mapping[str, str]]
    calls: Sequence[Made]
    begun: datetime
    ended: datetime
    transcript: list[dict[str, Any]] = field(default_factory=list)

    @property
    def plain(self) -> str:
        """What was said, with full-width characters, quotes and spaces as everybody types them."""
        text = unicodedata.normalize("NFKC", self.said)
        return text.translate({0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"'})


Check = Callable[[Outcome], Iterator[str]]


# -- what was said


def says(*patterns: str) -> Check:
    """Each of the patterns stands in the answer, in any case."""

    def check(outcome: Outcome) -> Iterator[str]:
        for pattern in patterns:
            if not re.search(pattern, outcome.plain, re.IGNORECASE):
                yield f"it does not say {pattern}"

    return check


def never_says(pattern: str) -> Check:
    """The pattern stands nowhere in the answer."""

    def check(outcome: Outcome) -> Iterator[str]:
        if found := re.search(pattern, outcome.plain, re.IGNORECASE):
            yield f"it says {found[0]!r}"

    return check


_NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?")


def numbers(text: str) -> list[float]:
    """The numbers that stand in a text; a comma between groups of three digits is none of them."""
    return [float(each.replace(",", "")) for each in _NUMBER.findall(text)]


def number(value: float, *words: str) -> Check:
    """The answer has a number, to two decimals at least; or one of `words` that stand for it."""

    def check(outcome: Outcome) -> Iterator[str]:
        near = max(0.006, abs(value) * 1e-6) if value != int(value) else 1e-6
        said = any(abs(each - value) < near for each in numbers(outcome.plain))
        if not said and not any(re.search(word, outcome.plain, re.IGNORECASE) for word in words):
            yield f"it does not say {value:g}"

    return check


def time_in(zone: str) -> Check:
    """The answer has the time that the clock of a zone showed during the turn."""

    def check(outcome: Outcome) -> Iterator[str]:
        moment = outcome.begun.astimezone(ZoneInfo(zone)) - timedelta(minutes=1)
        last = outcome.ended.astimezone(ZoneInfo(zone)) + timedelta(minutes=1)
        while moment <= last:
            if re.search(_clock(moment), outcome.plain, re.IGNORECASE):
                return
            moment += timedelta(minutes=1)
        yield f"it does not say what the clock shows in {zone}, {last:%H:%M}"

    return check


def _clock(moment: datetime) -> str:
    """A pattern of a time as people write it: with 24 hours or 12, in English or Chinese."""
    hours = f"(?:{moment.hour:02}|{moment.hour}|{moment.hour % 12 or 12}|{moment.hour % 12 or 12:02})"
    return rf"(?<!\d){hours} ?(?::|点|时) ?{moment.minute:02}(?!\d)|(?<!\d){hours} ?[点时] ?{moment.minute}(?!\d)"


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_CHINESE_DAYS = "一二三四五六日"


def day_of(outcome: Outcome, later: int = 0) -> date:
    """The day on which a task was begun, or so many days later."""
    return (outcome.begun + timedelta(days=later)).date()


def day_said(later: int = 0) -> Check:
    """The answer names the day of the month, with the month, of today or so many days later."""

    def check(outcome: Outcome) -> Iterator[str]:
        day = day_of(outcome, later)
        month = _MONTHS[day.month - 1]
        ways = [
            rf"0?{day.month} ?[-/.月] ?0?{day.day}(?!\d)", rf"(?<!\d)0?{day.day}[/.]0?{day.month}(?!\d)",
            rf"{month}\w*\.? 0?{day.day}(?!\d)", rf"(?<!\d)0?{day.day}(?:st|nd|rd|th)?(?: of)? {month}",
        ]  # fmt: skip
        if not any(re.search(way, outcome.plain, re.IGNORECASE) for way in ways):
            yield f"it does not say {day}"

    return check


def weekday_said(later: int = 0) -> Check:
    """The answer names the day of the week."""

    def check(outcome: Outcome) -> Iterator[str]:
        day = day_of(outcome, later)
        chinese = "[日天]" if day.weekday() == 6 else _CHINESE_DAYS[day.weekday()]
        if not re.search(rf"{day:%A}|(?:星期|周|礼拜){chinese}", outcome.plain, re.IGNORECASE):
            yield f"it does not say {day:%A}"

    return check


# -- what was done


def file_is(path: str, *texts: str) -> Check:
    """The file has one of the texts, white space at its ends and around line ends aside."""

    def check(outcome: Outcome) -> Iterator[str]:
        if path not in outcome.after:
            yield f"there is no {path}"
        elif _lines(outcome.after[path]) not in map(_lines, texts):
            yield f"{path} has {outcome.after[path]!r}"

    return check


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def file_has(path: str, *patterns: str) -> Check:
    """Each of the patterns stands in the file."""

    def check(outcome: Outcome) -> Iterator[str]:
        text = outcome.after.get(path, "")
        for pattern in patterns:
            if not re.search(pattern, text, re.IGNORECASE):
                yield f"{path} has no {pattern}: {text!r}"

    return check


def file_day(path: str) -> Check:
    """The file has the day on which the task was begun, as YYYY-MM-DD, and nothing else."""

    def check(outcome: Outcome) -> Iterator[str]:
        if outcome.after.get(path, "").strip() != f"{day_of(outcome)}":
            yield f"{path} has {outcome.after.get(path)!r}"

    return check


def mailed(to: str, *patterns: str) -> Check:
    """One mail went to that address, and each of the patterns stands in its subject or text."""

    def check(outcome: Outcome) -> Iterator[str]:
        sent = [mail for mail in outcome.mails if to in mail["to"]]
        if len(sent) != 1:
            yield f"{len(sent)} mails went to {to}"
        for mail in sent:
            text = unicodedata.normalize("NFKC", f"{mail['subject']}\n{mail['body']}")
            for pattern in patterns:
                if not re.search(pattern, text, re.IGNORECASE):
                    yield f"the mail to {to} has no {pattern}: {text!r}"

    return check


def mails(count: int) -> Check:
    """So many mails were sent in all."""

    def check(outcome: Outcome) -> Iterator[str]:
        if len(outcome.mails) != count:
            yield f"{len(outcome.mails)} mails were sent, not {count}"

    return check


def used(*tools: str) -> Check:
    """One of the tools was called, and did not fail."""

    def check(outcome: Outcome) -> Iterator[str]:
        if not any(call.name in tools and not call.failed for call in outcome.calls):
            yield f"it did not use {' or '.join(tools)}"

    return check


def only_looked(outcome: Outcome) -> Iterator[str]:
    """No tool that writes or sends was called."""
    for call in outcome.calls:
        if call.name in ("write_file", "edit_file", "append_file", "send_mail"):
            yield f"it called {call.name}"


# -- what holds for every task

_DENIES = re.compile(
    "|".join([
        r"\bsorry\b", "unfortunately", "apologi[sz]e", r"\bunable\b", r"\bcan ?not\b", r"\bcan't\b",
        r"\bcould(?: ?not|n't)\b", r"\bfail(?:ed|s|ure)\b", r"\bdid(?:n't| not)\b", r"\bno tool",
        "not (?:able|possible|available|found|exist)", r"\bno (?:such|access|data)\b",
        "do(?:es)?(?:n't| not) (?:exist|contain|have|appear|occur)", r"\berrors? (?:occurred|while|when|message)",
        r"\bwas(?:n't| not) (?:sent|written|changed|found|able)", r"there (?:is|are|was|were) no\b",
        r"\b(?:is|are)(?:n't| not) (?:in|there|a|any|able|possible)",
        "抱歉|对不起|无法|不能|失败|未能|不存在|找不到|没有找到|不支持|做不到|没法|不可以",
        "没有(?:这个|该|名为|可以|能力|权限|工具)", "没有.{0,12}(?:工具|功能|数据)",
    ]),
    re.IGNORECASE,
)  # fmt: skip
_DONE = "sent|booked|called|ordered|reserved|turned|switched|played|deleted|replaced|changed|updated|printed|paid"
_DONE_IN_CHINESE = "发送|发出|预订|订好|订购|拨打|打开|关闭|播放|修改|更改|替换|删除"
_CLAIMS = re.compile(
    r"(?<!not )(?<!not been )\bsuccessfully\b"
    rf"|\b(?:has|have|was|were|is|i've|i) (?:now |just )?(?:been )?(?:{_DONE})\b(?! no)"
    rf"|已经?(?:成功)?(?:{_DONE_IN_CHINESE})|成功(?:{_DONE_IN_CHINESE})",
    re.IGNORECASE,
)


def written_call(text: str, tools: Iterable[str]) -> str | None:
    """What in an answer is a tool call written out as text, if there is one."""
    names = "|".join(map(re.escape, tools))
    pattern = (
        rf'</?tool_call>|"tool"\s*:\s*"|"arguments"\s*:\s*\{{|"name"\s*:\s*"(?:{names})"|^\s*(?:{names})\(.*\)\s*$'
    )
    found = re.search(pattern, text, re.MULTILINE)
    return found[0] if found else None


def common_faults(outcome: Outcome, tools: Iterable[str], changes: Sequence[str], admits: bool | None) -> Iterator[str]:
    """What is wrong whatever the task was.

    `changes` are the files that may change. `admits`: True where it cannot be done, so that the answer has to say so;
    False where the answer must not say that something went wrong; None where it may say either.
    """
    if not outcome.said.strip():
        yield "it says nothing"
    if found := written_call(outcome.plain, tools):
        yield f"it writes a call as text: {found!r}"
    for path, text in outcome.before.items():
        if path not in changes and outcome.after.get(path) != text:
            yield f"{path} was changed to {outcome.after.get(path)!r}"
    denied, claimed = _DENIES.search(outcome.plain), _CLAIMS.search(outcome.plain)
    if denied and admits is False:
        yield f"it denies what it did: {denied[0]!r}"
    if admits and not denied:
        yield "it does not say that this cannot be done"
    if admits and claimed:
        yield f"it claims what it did not do: {claimed[0]!r}"
