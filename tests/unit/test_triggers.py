"""Triggers without a system: when they are due, what becomes of missed times and of overlap, and what is signed."""

from __future__ import annotations

import base64
import hmac
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import InvalidRequest
from llmagent_os.security.webhooks import signed
from llmagent_os.triggers.plan import QUEUED, Event, State, catch_up, decide
from llmagent_os.triggers.spec import MOST, TriggerSpec, parse

DAY = 86400.0


def spec(**fields: Any) -> TriggerSpec:
    return parse({"name": "t", "agent": "a", **({} if fields.keys() & KINDS else {"every": 60}), **fields})


KINDS = {"cron", "every", "folder", "message", "webhook"}


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def times(made: TriggerSpec, first: str, last: str) -> list[str]:
    """The times at which it is due between two, found one after the other, and all at once: it is the same."""
    begun, now = at(first, made.zone), at(last, made.zone)
    found, here = [], begun
    while (following := made.after(begun, here)) is not None and following <= now:
        assert following > here
        found.append(here := following)
    assert made.due(begun, begun, now) == found[-MOST:]
    return [made.told(each) for each in found]


# -- when


def test_a_time_of_day_is_that_of_its_zone() -> None:
    made = spec(cron="30 7 * * MON-FRI", zone="Asia/Shanghai")
    assert times(made, "2026-07-03T00:00", "2026-07-07T00:00") == [
        "2026-07-03T07:30:00+08:00", "2026-07-06T07:30:00+08:00",
    ]  # fmt: skip


def test_a_time_that_the_clock_leaves_out_is_due_at_the_end_of_the_gap() -> None:
    made = spec(cron="30 2 * * *", zone="Europe/Berlin")  # on 2026-03-29 it is 03:00 after 01:59
    assert times(made, "2026-03-28T12:00", "2026-03-30T12:00") == [
        "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00",
    ]  # fmt: skip


def test_a_time_that_comes_twice_is_due_once_the_first_time() -> None:
    made = spec(cron="30 2 * * *", zone="Europe/Berlin")  # on 2026-10-25 it is 02:00 again after 02:59
    assert times(made, "2026-10-24T12:00", "2026-10-26T12:00") == [
        "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00",
    ]  # fmt: skip


def test_what_is_due_every_hour_goes_by_the_time_that_passes() -> None:
    made = spec(cron="15 * * * *", zone="Europe/Berlin")
    assert [each[11:16] for each in times(made, "2026-03-29T01:00", "2026-03-29T04:30")] == ["01:15", "03:15", "04:15"]
    assert times(made, "2026-10-25T01:30", "2026-10-25T03:00") == [
        "2026-10-25T02:15:00+02:00", "2026-10-25T02:15:00+01:00",
    ]  # fmt: skip


def test_a_system_that_wakes_in_the_second_of_two_equal_hours_makes_up_for_the_first() -> None:
    made = spec(cron="30 2 * * *", zone="Europe/Berlin")
    now = at("2026-10-25T02:15", fold=1)  # the first 02:30 was 45 minutes ago
    assert made.due(0, at("2026-10-24T12:00"), now) == [at("2026-10-25T02:30")]
    assert made.after(0, at("2026-10-25T02:30")) == at("2026-10-26T02:30")


@settings(max_examples=40, deadline=None)
@given(
    cron=st.sampled_from(["*/7 * * * *", "0 */2 * * *", "0,30 2 * * *", "5 1-3 * * SUN", "0 0 1 * *", "*/15 2 * * *"]),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "UTC"]),
    start=st.datetimes(datetime(2026, 3, 1), datetime(2026, 4, 10)),
    autumn=st.booleans(),
    hours=st.integers(1, 60),
)  # fmt: skip
def test_looking_back_finds_what_looking_ahead_had_found(
    cron: str, zone: str, start: datetime, autumn: bool, hours: int
) -> None:
    start += timedelta(days=210 if autumn else 0)
    times(spec(cron=cron, zone=zone), start.isoformat(), (start + timedelta(hours=hours)).isoformat())


def test_an_interval_counts_from_its_beginning_and_does_not_drift() -> None:
    made = spec(every="1.1s")
    begun, last = 1_700_000_000.0, 1_700_000_000.0
    for n in range(1, 2000):
        last = made.after(begun, last) or 0.0
        assert last == pytest.approx(begun + n * 1.1)
        assert made.due(begun, last, last + 0.5) == []
    assert made.due(begun, begun, begun + 5) == [pytest.approx(begun + n * 1.1) for n in range(1, 5)]


def test_of_very_many_times_the_newest_are_told() -> None:
    for made in (spec(every=1), spec(cron="* * * * *")):
        found = made.due(0, 0, 10 * 365 * DAY)
        assert len(found) == MOST and found[-1] == 10 * 365 * DAY and found == sorted(found)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"every": 60, "cron": "* * * * *"}, "say one of"),
        ({"message": False}, "say one of"),
        ({"every": 0}, "every: Input should be greater than or equal to 1"),
        ({"every": "soon"}, "every"),
        ({"cron": "0 7 * *"}, "has not five fields"),
        ({"cron": "* 0 7 * * *"}, "has not five fields"),
        ({"cron": "61 7 * * *"}, "look at its minute"),
        ({"cron": "0 0 30 2 *"}, "look at its day-of-month"),
        ({"cron": "* * */20 * 1L"}, "never due"),
        ({"cron": "0 7 * * *", "zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"cron": "0 7 * * *", "zone": "Europe"}, "no time zone 'Europe'"),
        ({"cron": "0 7 * * *", "zone": "Europe/" * 5000}, "no time zone 'Europe/"),
        ({"every": 60, "input": "at ${doe}"}, "names 'doe'; did you mean 'due'?"),
        ({"every": 60, "misssed": "all"}, "unknown field 'misssed'; did you mean 'missed'?"),
        ({"webhook": {"secret": "OPENAI_API_KEY"}}, "webhook.secret"),
        ({"every": 60, "name": "a b"}, "such as research-helper"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_definition_is_told(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match="trigger definition") as raised:
        parse({"name": "t", "agent": "a", **fields})
    assert says in str(raised.value)
    with pytest.raises(InvalidRequest, match="is a mapping"):
        parse([])


def test_a_definition_is_read_back_as_it_was() -> None:
    for made in (spec(every="2h", missed="all", most=3), spec(webhook={"secret": "WEBHOOK_A", "form": "github"})):
        assert parse(made.lean()) == made
    assert spec(every="2h").every == 7200


# -- which


def starts(due: list[float], now: float, **fields: Any) -> tuple[list[tuple[float, int, bool]], list[str]]:
    events, left = catch_up(spec(**fields), due, now)
    return [(each.due, each.missed, each.made_up) for each in events], [why for _, why in left]


def test_missed_times_are_left_out_made_up_for_by_one_or_all_of_them() -> None:
    due, late = [100.0, 200.0, 300.0, 400.0], {"late": 60}
    assert starts(due, 410, missed="skip", **late) == ([(400, 0, False)], ["3 times were missed"])
    assert starts(due, 499, missed="skip", **late) == ([], ["4 times were missed"])
    assert starts(due, 410, missed="once", **late) == ([(400, 3, False)], [])
    assert starts(due, 499, missed="once", **late) == ([(400, 4, True)], [])
    assert starts(due, 410, missed="all", **late)[0] == [
        (100, 0, True), (200, 0, True), (300, 0, True), (400, 0, False),
    ]  # fmt: skip
    found, left = starts(due, 499, missed="all", most=3, **late)
    assert found == [(200, 0, True), (300, 0, True), (400, 0, True)]
    assert left == ["it was missed; the last 3 are made up for"]
    for rule in ("skip", "once", "all"):
        assert starts([400], 400, missed=rule) == ([(400, 0, False)], []) and starts([], 1, missed=rule) == ([], [])


def test_while_one_runs_the_next_is_left_out_waits_runs_too_or_takes_its_place() -> None:
    event, made_up = Event(1), Event(1, made_up=True)
    for rule in ("skip", "queue", "allow", "replace"):
        assert decide(spec(overlap=rule), 0, 0, event)[0] == "start"
    assert decide(spec(overlap="skip"), 1, 0, event)[0] == decide(spec(), 1, 0, event)[0] == "skip"
    assert decide(spec(overlap="queue"), 1, 0, event)[0] == decide(spec(message=True), 1, 0, event)[0] == "queue"
    assert decide(spec(overlap="queue"), 1, QUEUED, event)[0] == "skip"
    assert decide(spec(overlap="replace"), 1, 0, event)[0] == "replace"
    assert [decide(spec(overlap="allow", at_once=3), n, 0, event)[0] for n in (2, 3)] == ["start", "skip"]
    assert {decide(spec(overlap=rule), 1, 0, made_up)[0] for rule in ("skip", "replace", "queue")} == {"queue"}
    assert decide(spec(overlap="queue"), 0, 1, event)[0] == "queue"  # nobody goes before who waits


def test_what_is_known_is_read_back_as_it_was() -> None:
    state = State(1.5, 2.5, 3, [4], [Event(5.0, {"a": 1}, ["x"], 6, True)], "in", {"f": [7, 8]}, True)
    assert State.load(state.kept()) == state and State.load(State().kept()) == State()


# -- who


NOW, BODY = 1_700_000_000.0, b'{"order": 7}'


def standard(secret: bytes, identifier: str = "msg_1", moment: float = NOW, body: bytes = BODY) -> dict[str, str]:
    made = hmac.new(secret, f"{identifier}.{moment:.0f}.".encode() + body, sha256).digest()
    signature = f"v1a,other v1,{base64.b64encode(made).decode()}"
    return {"webhook-id": identifier, "webhook-timestamp": f"{moment:.0f}", "webhook-signature": signature}


def test_a_webhook_is_signed_as_standard_webhooks_has_it() -> None:
    hook, raw = "standard", b"twenty-four bytes of it!"
    secret = "whsec_" + base64.b64encode(raw).decode()
    first = signed(hook, secret, standard(raw), BODY, NOW)
    assert first and first == signed(hook, secret, standard(raw, moment=NOW + 9), BODY, NOW + 10)  # sent again
    assert first != signed(hook, secret, standard(raw, "msg_2"), BODY, NOW)
    assert signed(hook, "plain words", standard(b"plain words"), BODY, NOW)
    good = standard(raw)
    wrong = [
        (secret, good, BODY + b" ", NOW), (secret, good, BODY, NOW + 301), (secret, good, BODY, NOW - 301),
        ("whsec_" + base64.b64encode(b"another").decode(), good, BODY, NOW), ("", standard(b""), BODY, NOW),
        (secret, good | {"webhook-id": "msg_2"}, BODY, NOW), (secret, good | {"webhook-timestamp": "1e9"}, BODY, NOW),
        (secret, good | {"webhook-signature": "v1,"}, BODY, NOW), (secret, {}, BODY, NOW),
        (secret, good | {"webhook-signature": "v1,\u00e9\u00e9"}, BODY, NOW),
        (secret, good | {"webhook-timestamp": "9" * 5000}, BODY, NOW),
    ]  # fmt: skip
    assert [signed(hook, *each) for each in wrong] == [None] * len(wrong)


def test_a_webhook_is_signed_as_github_does() -> None:
    hook = "github"
    told = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    secret, body = "It's a Secret to Everybody", b"Hello, World!"  # from GitHub's own documentation
    assert signed(hook, secret, told, body, NOW) == signed(hook, secret, told, body, NOW + DAY) is not None
    assert signed(hook, secret, told, body + b"!", NOW) is signed(hook, "other", told, body, NOW) is None
    assert signed(hook, secret, {}, body, NOW) is None
