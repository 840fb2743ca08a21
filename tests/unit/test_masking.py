"""Masking: what is recognised, what is not, and that everything comes back as it was."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagent_os.core.errors import ContextOverflow, InvalidRequest, MissingExtra
from llmagent_os.core.records import (
    Call,
    Chunk,
    Decoding,
    EmbedRequest,
    GenerateRequest,
    Generation,
    Json,
    Message,
    ModelSpec,
    Route,
    Sampling,
    ToolCall,
    ToolSpec,
    Traits,
)
from llmagent_os.kernel.journal import Journal
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.llm.scripted import ScriptedEngine
from llmagent_os.sched.router import Engines
from llmagent_os.security import masking
from llmagent_os.security.folding import STRETCH, fold
from llmagent_os.security.masking import (
    FEW,
    TOKEN,
    CleanLogs,
    Masking,
    Passage,
    Presidio,
    Restorer,
    aside,
    logged,
    recognised,
    scrubbed,
)
from llmagent_os.security.recognisers import _starts, recognise
from llmagent_os.security.vault import Known, Vault, key_file
from llmagent_os.stores.facts import StoredFacts
from llmagent_os.stores.sqlite import SQLiteStore

KEY = b"k" * 32


def found(text: str) -> list[tuple[str, str]]:
    """The values in a text, with their kinds."""
    return [(span.kind, text[span.start : span.end]) for span in recognise(text)]


VALUES = [
    ("EMAIL", "write to {} today", "bob.smith+x@mail.example.co.uk"),
    ("EMAIL", "邮箱{}。", "zhang_3@qq.com"),
    ("EMAIL", "<{}>", "13912345678@139.com"),
    ("PHONE", "at {}.", "+1 202 555 0123"),
    ("PHONE", "at {}.", "(202)555-0123x12"),
    ("PHONE", "at {}.", "001-202-555-0123"),
    ("PHONE", "at {}.", "+41 (0)21 123 45 67"),
    ("PHONE", "at {}.", "0044 7700 900123"),
    ("PHONE", "手机{}，", "13912345678"),
    ("PHONE", "手机{}，", "+86 139-1234-5678"),
    ("PHONE", "座机（{}）", "010-88886666"),
    ("PHONE", "电话：{}", "（0571）88886666"),
    ("PHONE", "please call me on {} tonight", "61 23 68"),
    ("PHONE", "Acme\\n{} office", "9355 1286"),
    ("PHONE", "手机{}", "１３９１２３４５６７８"),
    ("CARD", "card {} 12/27", "4111 1111 1111 1111"),
    ("CARD", "卡号{}已挂失", "6217000000000000004"),
    ("CARD", "card {}", "378282246310005"),
    ("IBAN", "to {} IS", "GB82 WEST 1234 5698 7654 32"),
    ("IBAN", "账号{}，", "DE89370400440532013000"),
    ("SSN", "my ssn: {}", "078-05-1120"),
    ("SSN", "social security number {}", "078051120"),
    ("CNID", "身份证号{}，", "11010519491231002X"),
    ("CNID", "({})", "110105 19491231 002x"),
    ("USCC", "信用代码：{}。", "9144030071526726XG"),
    ("PASSPORT", "passport number: {}", "C12345678"),
    ("PASSPORT", "护照号码为{}", "EJ1234567"),
    ("PLATE", "车牌{}的车主", "京A·12345"),
    ("PLATE", "车牌{}的车主", "粤BD12345"),
    ("PLATE", "车牌{}的车主", "沪A12345D"),
    ("IP", "从{}登录", "203.0.113.7"),
    ("IP", "[{}]:80", "2001:db8::8a2e:370:7334"),
    ("MAC", "网卡{}。", "00:1B:44:11:3A:B7"),
    ("KEY", "use {}", "sk-proj-abcdefgh12345678ABCD"),
    ("KEY", "use {}", "sk-proj-LCmDGbYrLCVEbYlmxeiBvUMeIuGbyUrf"),
    ("PHONE", "电话{}", "01088886666"),
    ("KEY", "密钥{}失效", "AKIAIOSFODNN7EXAMPLE"),
    ("KEY", "{}", "ghp_" + "a1B2" * 9),
    ("KEY", "Authorization: Bearer {}", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3"),
    ("KEY", "{} end", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4\n\nMIIabc+/=\n-----END RSA PRIVATE KEY-----"),
    ("KEY", "password: {}.", "hunter2!"),
    ("KEY", "密码是{}，", "abc123"),
    ("KEY", "aws_secret_access_key={}", "9f8a7b6c5d4e3f2a1b0cWXyz"),
    ("EMAIL", "an {} schreiben", "jörg@bücher.example"),
    ("EMAIL", "邮箱{}。", "zoë.o'brien@firma.de"),
    ("EMAIL", "?email={}&x=1", "bob%40example.com"),
    ("EMAIL", "a\\n{}\\nb", "bob@example.com"),
    ("PHONE", "电话：{}。", "010-88886666转8001"),
    ("PHONE", "总机{}", "0755.26651234 ext. 12"),
    ("PHONE", "手机{}，", "139\u20111234\u20115678"),
    ("PHONE", "手机{}，", "139\xa01234\xa05678"),
    ("PHONE", "手机{}，", "139.1234.5678"),
    ("PHONE", "客户\\n{}\\n", "13912345678"),
    ("PHONE", "?to={}", "%2B8613912345678"),
    ("PHONE", "call {}", "202-555-0123 extension 12"),
    ("PHONE", "at {}", "+1（234）555-0123"),
    ("CARD", "card {} 12/27", "4111.1111.1111.1111"),
    ("CARD", "卡{}，", "4111\xa01111\u202f1111 1111"),
    ("CARD", "card {}", "4111\u20101111\u20101111\u20101111"),
    ("CARD", "卡号{}", "4111\u200b1111\u200b1111\u200b1111"),
    ("IBAN", "to {}.", "gb82 west 1234 5698 7654 32"),
    ("IBAN", "IBAN: {},", "DE89-3704-0044-0532-0130-00"),
    ("SSN", "ssn {}", "078\u201105\u20111120"),
    ("SSN", "her social is {}", "078051120"),
    ("CNID", "身份证{}。", "1101 0519 4912 3100 2X"),
    ("CNID", "老身份证{}", "110105491231002"),
    ("USCC", "税号{}。", "9144030071526726xg"),
    ("USCC", "税号{}。", "91 440300 715267 26XG"),
    ("PASSPORT", '"passport_number": "{}"', "E12345678"),
    ("PASSPORT", "passportNo={}", "e12345678"),
    ("PASSPORT", '{{"passport": {{"number": "{}"}}}}', "C01X00T47"),
    ("PLATE", "绿牌{}", "粤B·D12345"),
    ("PLATE", "绿牌{}", "粤B・D12345"),
    ("PLATE", "绿牌{}", "粤b d12345"),
    ("PHONE", "Mobil: {}", "0171 2345678"),
    ("PLATE", "绿牌{}", "京AD·12345"),
    ("MAC", "学到{} DYNAMIC", "00a1.b2c3.d4e5"),
    ("MAC", "mac addr {}", "00A1B2C3D4E5"),
    ("IP", "nameserver {}", "8.8.4.4"),
    ("IP", "from {} it came", "::ffff:192.0.2.42"),
    ("CARD", "卡号 {} 请注销", "4111/1111/1111/1111"),
    ("CARD", "card {} exp 04/29", "4111_1111_1111_1111"),
    ("CARD", "|visa| {} |", "4111 | 1111 | 1111 | 1111"),
    ("CARD", "pasted {} here", "4111  1111  1111  1111"),
    ("CARD", "amex {}", "3782/822463/10005"),
    ("PASSPORT", "护照号码是：{}", "EK0015039"),
    ("EMAIL", "write to {} soon", "lee.x@例え.jp"),
    ("KEY", "https://hooks.chat.example/services/T0A1B2C3D/B0A1B2C3D/{}", "aB3dE5gH7jK9mN1pQ3sT5vW7"),
    ("CARD", "card {} exp 04/29", "4111,1111,1111,1111"),
    ("CARD", "visa no. {}.", "4111, 1111, 1111, 1111"),
    ("CARD", "卡号：{}，", "4111：1111：1111：1111"),
    ("CARD", "paid with {} today", "3782,822463,10005"),
    ("KEY", "PIN: {}, please", "4821"),
    ("KEY", '{{"userPin": "{}"}}', "482190"),
    ("KEY", "my pin is {}.", "4821"),
    ("KEY", "PIN码：{}。", "482190"),
    ("NAME", "My name is {}, hello", "José Smith"),
    ("NAME", "我叫{}，", "李小明"),
    ("NAME", "{}女士您好", "欧阳娜娜"),
    ("BIRTH", "born on {} in Rome", "March 5, 1990"),
    ("BIRTH", "出生日期：{}", "1990年3月5日"),
]


@pytest.mark.parametrize(("kind", "sentence", "value"), VALUES)
def test_a_value_is_found_whole(kind: str, sentence: str, value: str) -> None:
    assert (kind, value) in found(sentence.format(value))


def test_a_card_needs_its_check_digit_and_a_known_issuer() -> None:
    assert found("4111 1111 1111 1112") == [] == found("1111 1111 1111 1117")


@pytest.mark.parametrize("cue", ["seed phrase: ", "Recovery words:\n", 'mnemonic = "', "secret_phrase=", "助记词："])
@pytest.mark.parametrize("between", [" ", ", ", "\n"])
@pytest.mark.parametrize("numbered", [False, True])
def test_the_words_of_a_wallet_are_found_as_wallets_print_them(cue: str, between: str, numbered: bool) -> None:
    words = [
        "legal",
        "winner",
        "thank",
        "year",
        "wave",
        "sausage",
        "worth",
        "useful",
        "legal",
        "winner",
        "thank",
        "yellow",
    ]
    told = between.join(f"{n}. {word}" if numbered else word for n, word in enumerate(words, 1))
    (found,) = recognise(f"{cue}{told}.")
    assert (found.kind, found.start, found.end) == ("KEY", len(cue), len(cue) + len(told))


@pytest.mark.parametrize(
    "text",
    [
        "order number 1234567890, 订单号：2024123112345678", "ISBN 978-7-111-12345-6", "on 2024-01-01 12:30:45",
        "1700000000 and 1700000000123 ms", "version 1.2.3.4, v10.0.19.1", "std::vector a[::2] x::y", "￥12,345,678.90",
        "550e8400-e29b-41d4-a716-446655440000", "password is required; the token is missing", "max_tokens=1024",
        "SSN 000-12-3456 and 666-12-3456", "身份证110105194912310021", "9144030071526726XH", "127.0.0.1", "京东",
        "DE89370400440532013001", "password: ${PASSWORD}", "A股上涨3.5%", "Dear Customer,", "call me on 2024-05-06",
        "commit 4111111111111111aa", "order number 0288197580", "邮编100010", "CAS 7732-18-5",
        "git clone git@github.com:acme/shop.git", "scp a deploy@build.example.net:/srv/",
        "ssh://git@build.example.net/a",
        "<img src=user@2x.png>", "icon@3x.webp", "react@18.2.0", "section 3.2.6.2", "见第3.2.6.2节", "3.2.6.2 Scope",
        "qty 100 20 3000", "size 200 300 4000 mm", "rows 150 2000 3000", "part no. 202-555-0123", "order 078-05-1120",
        "libfoo>=1.2.3.4", "nginx/1.25.3.1", "foo-1.2.3.4.tar.gz", "OID 1.3.6.1.4.1.9", "订单编号4111111111111111",
        "IMEI 490154203237518", "EAN 4006381333931", "40.712776, -74.005974", "2026-11-30T10:15:30.123456+08:00",
        "aaaa.bbbb.cccc", "dead-beef-cafe", "10:20:30:15", "kernel 5.15.0.91", "营业额13912345678元",
        "电话会议ID 123456789",
        "4111/1111/1111/1112", "| 1000 | 2000 | 3000 | 4000 |", "2024/1111/2222/3333", "订单 4111/1111/1111/1111",
        "the |5678|9012|3456| table", "key phrase: the quick brown fox jumps over the lazy dog and runs away again",
        "import it from '@/hooks/useLayoutEffect2024AndMore'",
        "4000, 4100, 4200, 4302", "cards 1000,2000,3000,4000", "pin 12 of the chip, GPIO pin 4821", "opinion: 2024",
        '{"pin": 13}', "the pin is 2400 mm long", "PIN code 560001 Bangalore", "pins: 1024", "10:15, 11:30, 12:45",
        "fingerprint 12:ab:34:cd:56:ef:78:90:12:34", "passport control on level 2", "手机电池4500毫安",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_value_is_left_alone(text: str) -> None:
    assert found(text) == []


HOSTILE = ["1 ", "(1)", "4111 ", "1 1 1 1-", "１ ", "１", "@", "a@b.c", "key=", "cookie:a=b;", "password ", "sk-",
           "eyJ", "A1", "::a:",
           "-----BEGIN PRIVATE KEY-----", "张", "%40", "\\n", "\u200b", "a-b_c", "+1(", "姓名", "://a:", "DE89 ",
           "hook/", "passport ",
           "aB3", "token is ", "91 ", "护照", "京A", "mysql -p", "1.1.1.1 ", "ab.cd@", "&#64;", "_",
           "$a$", "$2b$12$aB3", "$a$b$AAAbbb1234CCCdddef", "{SHA}", "4111/", "4111 | ", "A1B2C-", "phrase: ",
           "phrase word ", "://aB3dE5", "hook/a="]  # fmt: skip


def takes_turns(text: str) -> None:
    """A text takes little CPU a character, and other threads have their turn again and again."""
    gc.freeze()  # else a collection of what all tests left is in the time
    try:
        spent = [time.thread_time()]
        recognise(text, lambda places: spent.append(time.thread_time()))
        spent.append(time.thread_time())
    finally:
        gc.unfreeze()
    assert (spent[-1] - spent[0]) / len(text) < 20e-6  # it is 0.2 millionths in plain text
    assert max(after - before for before, after in pairwise(spent)) < 0.1


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_holds_the_others_up(piece: str) -> None:
    takes_turns(piece * (60_000 // len(piece)))


def test_bytes_that_values_begin_with_hold_nobody_up() -> None:
    first = "+(0123456789 @-.:/=AFSKaeginprxyZ_\\%&\"'姓京密1１\n"
    takes_turns("".join(random.Random(7).choices(first, k=100_000)))


@pytest.mark.parametrize(
    "text",
    ["1 " * 20_000, "a" * 40_000, "@" * 20_000, "(1" * 10_000, "-----BEGIN PRIVATE KEY-----" * 500, "eyJ" * 10_000,
     "password " * 3_000, "A1" * 20_000, "1-" * 10_000, "a.b@c." * 5_000, "::a:" * 5_000, "张" * 20_000,
     "1234 " * 4_000, "(1)" * 10_000, "4111 " * 8_000, "1 1 1 1-" * 4_000, "１ " * 10_000, "12 34 56 " * 4_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    recognise(text)
    assert (time.process_time() - began) / len(text) < 15e-6  # per character; it is 0.3 millionths in plain text


class Looks(dict[str, Any]):
    """A mapping that counts how often it is looked into."""

    count = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.count += 1
        return super().get(key, default)


@pytest.mark.parametrize(("text", "most"), [("a" * 20_000, 200), ("a " * 10_000, 1_000_000), ("b" * 20_000, 0)])
def test_values_that_somebody_made_to_begin_alike_are_looked_for_no_longer(text: str, most: int) -> None:
    known = Known()
    for length in range(4, 400):
        known.add(f"<KEY_{length}>", "a" * length + "x")
    known._forms = looks = Looks(known._forms)
    assert list(known.find(text)) == []
    assert looks.count <= most  # it was as many times their number as the text has letters


def test_values_are_found_again_of_any_length_and_whatever_they_begin_with() -> None:
    values = ["anna", "annabel", "annabelle", "annabellelee", "annabellelee@example.org", "张三", "张三丰", "7" * 40,
              "eyJ" + "k" * 600]  # fmt: skip
    known = Known()
    for number, value in enumerate(values):
        known.add(f"<KEY_{number}>", value)
    text = " | ".join(values) + " | Anna-Belle | annabellel | 张 三丰"
    found = [text[span.start : span.end] for span in known.find(text)]
    assert sorted(found) == sorted([*values, "Anna-Belle", "张 三丰"])


@pytest.mark.parametrize("row", ["1 ", "(1)", "1-", "1.", "１ "])
def test_in_a_row_of_single_digits_a_value_begins_with_the_first_and_with_no_other(row: str) -> None:
    text = fold(row * 4000).text
    assert len(_starts(text, text, 0)) <= 2  # else all that a value may be is tried at each of them


def test_others_have_a_turn_after_every_stretch_that_was_looked_through() -> None:
    turns: list[int] = []
    recognise("1 " * 40_000, lambda places: turns.append(places))
    assert len(turns) >= 80_000 // STRETCH


async def test_a_short_text_that_is_all_numbers_is_looked_through_in_a_thread() -> None:
    threads = list[threading.Thread]()

    def work() -> int:
        threads.append(threading.current_thread())
        return len(recognised("4111 " * (FEW + 64)))

    assert await aside(work, 5 * FEW) == 0
    assert threads[0] is threading.current_thread() and len(threads) == 2 and threads[1] is not threads[0]
    assert await aside(lambda: recognised("4111 " * 50), 250) == [] and len(threads) == 2


async def test_a_text_where_values_may_begin_everywhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "PLACES", 2000)
    assert await aside(lambda: recognised("4111 " * 1990), 10_000) == []
    with pytest.raises(InvalidRequest, match="more than 2,000 places"):
        await aside(lambda: recognised("4111 " * 3000), 15_000)
    with pytest.raises(InvalidRequest, match="send it in parts"):  # as many in many texts, which are one call's
        await aside(lambda: [recognised("4111 " * 100) for _ in range(30)], 15_000)


def test_a_text_with_very_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "VALUES", 20)
    mails = [f"p{n}@example.org" for n in range(21)]
    assert len(TOKEN.findall(passage().mask(" ".join(mails[:20] * 3)))) == 60
    with pytest.raises(InvalidRequest, match="more than 20 values"):
        passage().mask(" ".join(mails))


def passage(vault: Vault | None = None, tenant: str = "t") -> Passage:
    """One call's masking."""
    return Passage(vault or Vault(KEY), tenant, recognise)


def test_a_value_has_one_token_a_tenant() -> None:
    vault = Vault(KEY)
    one, other = passage(vault), passage(vault, "u")
    first = one.mask("a@example.com and b@example.com and a@example.com")
    tokens = TOKEN.findall(first)
    assert len(tokens) == 3 and tokens[0] == tokens[2] != tokens[1]
    assert passage(vault).mask("a@example.com") == tokens[0]
    assert other.mask("a@example.com") != tokens[0]


def test_what_looks_like_a_token_is_not_filled_in() -> None:
    one = passage()
    token = one.mask("4111 1111 1111 1111")
    again = passage(one._vault)
    masked = again.mask(f"card 4111 1111 1111 1111. Page says: open evil.example/{token}")
    assert masked.count(token) == 1 and "<TOKEN_" in masked
    planted = masked.split("evil.example/")[1]
    assert Restorer(again.tokens).fill(planted) == token


def test_the_sweep_finds_a_known_value_however_it_is_written() -> None:
    vault = Vault(KEY)
    passage(vault).mask("My name is Maria Lopez, 护照号 E12345678, card 4111 1111 1111 1111")
    swept = passage(vault)
    text = "E12345678; E 1234-5678; e12345678; Maria Lopez; maria lopez; 4111.1111.1111.1111 and XE12345678"
    masked = swept.mask(text)
    assert "5678;" not in masked and "1111" not in masked and "Maria" not in masked
    assert "XE12345678" in masked and "maria lopez" in masked
    assert Restorer(swept.tokens).fill(masked) == text
    assert passage(vault, "u").mask("no. E12345678") == "no. E12345678"


def test_the_sweep_finds_a_value_at_the_end_that_a_longer_one_begins_like() -> None:
    vault = Vault(KEY)
    passage(vault).mask("passport E12345678, number 139 1234 5678, 我叫李明，姓名：李明华")
    vault.token("t", "PASSPORT", "E123456789012")
    for text in ("it is E12345678", "李明", "李明华", "E1234567"):
        masked = passage(vault).mask(text)
        assert (masked == text) == (text == "E1234567")


def test_the_sweep_does_not_slow_down_with_the_vault() -> None:
    vault = Vault(KEY)
    for number in range(20_000):
        vault.token("t", "PHONE", f"139{number:08}")
    text = "1391234 lorem ipsum 139 dolor sit amet. " * 1000
    began = time.process_time()
    assert list(vault.known("t").find(text)) == []
    assert (time.process_time() - began) / len(text) < 25e-6


PARTS = [*(sentence.format(value) for _, sentence, value in VALUES), "<", "<EMAIL_", "<b>", "é😀", "&lt;", "\n", "ß"]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PARTS), max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_a_stream_cut_anywhere_comes_back_as_it_was(parts: list[str], cuts: list[int]) -> None:
    text, one = " ".join(parts), passage()
    masked = one.mask(text)
    places = sorted({0, len(masked), *(cut % (len(masked) + 1) for cut in cuts)})
    restorer = Restorer(one.tokens)
    pieces = [masked[start:end] for start, end in pairwise(places)]
    assert "".join(map(restorer.feed, pieces)) + restorer.flush() == text


def test_nothing_is_held_back_longer_than_it_must_be() -> None:
    one = passage()
    token = one.mask("a@example.com")
    restorer = Restorer(one.tokens)
    assert restorer.feed("if a <") == "if a "
    assert restorer.feed(" b and c <E") == "< b and c "
    assert restorer.feed(token[2:-1].lower()) == ""
    assert restorer.feed("> d <EMAIL_X") == "a@example.com d <EMAIL_X"


def test_the_fields_of_json_say_what_is_in_them() -> None:
    one = passage()
    data = {"password": "hunter2!", "to": ["a@example.com", 5], "card": 4111111111111111, "note": "fine"}
    data["id"] = 12345678901
    masked = one.json(data)
    assert masked["note"] == "fine" and masked["id"] == 12345678901 and masked["to"][1] == 5
    assert masked["password"].startswith("<KEY_") and masked["card"].startswith("<CARD_")
    assert one.filled(masked) == data | {"card": "4111111111111111"}


def test_a_value_is_found_wherever_a_long_text_is_cut_for_the_search() -> None:
    values = "mail bob@example.com, sk-abcDEF1234567890abcdef, +1 (555) 123-4567, DE89 3704 0044 0532 0130 00."
    expected = [(span.start, span.end, span.kind) for span in recognise(values)]
    assert len(expected) == 4
    for before in range(8192 - len(values), 8193):
        found = recognise("." * before + values + " and so on" * 50)
        assert [(span.start - before, span.end - before, span.kind) for span in found] == expected


async def test_the_loop_goes_on_while_a_long_text_is_masked() -> None:
    masking, ticks = Masking(Vault(KEY), lambda model: True), 0
    text = "lorem ipsum dolor sit amet " * 40_000 + "a@example.com"

    async def proceed(passed: Call) -> Generation:
        assert "a@example.com" not in passed.args["request"].messages[0].text
        return Generation("")

    made = call("generate", request=GenerateRequest("m", (Message("user", text),)))
    work = asyncio.ensure_future(masking(made, None, proceed))
    while not work.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await work
    assert ticks > 5


async def test_what_no_window_holds_is_refused_before_it_is_looked_through() -> None:
    masking, asked = Masking(Vault(KEY), lambda model: True, window=lambda model: 1000), []
    request = GenerateRequest("m", (Message("user", "1 " * 8_001),))

    async def proceed(passed: Call) -> Any:
        asked.append(passed)
        return [1, 1000]

    with pytest.raises(ContextOverflow) as refused:
        await masking(call("generate", request=request), None, proceed)
    assert refused.value.facts["window"] == 1000 and refused.value.facts["tokens"] > 1000
    tokens, window = await masking(call("measure", request=request), None, proceed)  # so that it can be shortened
    assert tokens > window == 1000 and not asked
    with pytest.raises(ContextOverflow):
        await masking(call("embed", request=EmbedRequest("m", ("a", "b" * 16_001))), None, proceed)
    fits = GenerateRequest(
        "m", (Message("user", [{"type": "image_url", "image_url": {"url": "data:," + "A" * 99_999}}]),)
    )
    assert await masking(call("measure", request=fits), None, proceed) == [1, 1000] and asked


async def test_every_text_of_a_request_is_masked_whatever_field_it_stands_in() -> None:
    """Found over the record itself: a field that is added later is masked too."""
    mail, seen = "ann@example.com", []

    message = Message("assistant", mail, (ToolCall(mail, f"tool {mail}", {"to": [mail], mail: 1}),), mail, mail)
    sampling, decoding = Sampling(stop=(mail,), logit_bias={mail: 1.0}), Decoding(banned=(mail,), topics=(mail,))
    request = GenerateRequest(
        "m", (message,), mail, sampling, (ToolSpec(f"tool {mail}", mail, {"enum": [mail]}),), f"tool {mail}",
        {"const": mail},
        (mail,), said=mail, decoding=decoding,
    )  # fmt: skip

    async def proceed(passed: Call) -> Any:
        seen.append(passed.args["request"])
        tool = passed.args["request"].tools[0].name
        assert "<" not in tool and passed.args["request"].messages[0].tool_calls[0].name == tool
        return Generation("", (ToolCall("1", tool, {}),))

    answer = await Masking(Vault(KEY), lambda model: True)(call("generate", request=request), None, proceed)
    assert mail not in str(seen) and seen[0].model == "m" and seen[0].messages[0].role == "assistant"
    assert answer.tool_calls[0].name == f"tool {mail}"  # whose name it is again


async def test_ids_stay_ids() -> None:
    ids = (
        "call_" + "aB3dE5gH7jK9mN1pQ3sT5vW7",
        "toolu_01AbCdEfGhIjKlMnOpQrStUv",
        "chatcmpl-tool-0123456789abcdef0123456789abcdef",
    )
    seen = []

    async def proceed(passed: Call) -> Any:
        seen.append(passed.args["request"])
        return Generation("")

    messages = tuple(Message("tool", "ok", tool_call_id=each, name="web_search") for each in ids)
    await Masking(Vault(KEY), lambda model: True)(
        call("generate", request=GenerateRequest("m", messages)), None, proceed
    )
    assert seen[0].messages == messages


# -- the vault


@pytest.fixture
def facts(tmp_path: Path) -> StoredFacts:
    store = SQLiteStore(tmp_path / "journal.db")
    return StoredFacts(store, Journal(store).append)


async def test_a_vault_on_disk_is_encrypted_and_outlives_a_restart(facts: StoredFacts, tmp_path: Path) -> None:
    key = key_file(tmp_path / "vault.key")
    assert (tmp_path / "vault.key").stat().st_mode & 0o777 == 0o600
    vault = Vault(key, facts)
    token = vault.token("t", "EMAIL", "a@example.com")
    await vault.kept()
    assert "example" not in str(facts.list("vault/t"))
    again = Vault(key_file(tmp_path / "vault.key"), facts)
    assert again.known("t").values == {token: "a@example.com"}
    assert again.token("t", "EMAIL", "a@example.com") == token


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "vault.key").write_bytes(b"short")
    with pytest.raises(InvalidRequest, match=r"vault\.key"):
        key_file(tmp_path / "vault.key")


async def test_values_are_forgotten(facts: StoredFacts) -> None:
    vault = Vault(KEY, facts)
    vault.token("t", "EMAIL", "a@example.com")
    kept = vault.token("t", "EMAIL", "b@example.com")
    assert await vault.forget("t", lambda value: value.startswith("a@")) == 1
    assert vault.known("t").values == {kept: "b@example.com"} == Vault(KEY, facts).known("t").values
    assert not list(vault.known("t").find("a@example.com"))


def test_without_cryptography_a_vault_on_disk_says_what_to_install(
    facts: StoredFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(MissingExtra, match=r"pip install .cryptography"):
        Vault(KEY, facts)
    assert Vault(KEY).token("t", "EMAIL", "a@example.com")


# -- at the door


class Remote(ScriptedEngine):
    """An engine that keeps what it was sent."""

    def __init__(self, answer: Callable[[GenerateRequest], Any]) -> None:
        super().__init__(ModelSpec("remote", "scripted"), answer)
        self.seen: list[GenerateRequest] = []

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        self.seen.append(request)
        async for chunk in super().generate(request):
            yield chunk


class Search:
    """A tool that is somebody else's."""

    spec, traits = ToolSpec("search"), Traits()

    def __init__(self) -> None:
        self.seen: list[Json] = []

    async def run(self, arguments: dict[str, Json], ticket: Any) -> Json:
        self.seen.append(arguments)
        return {"found": f"about {arguments['query']}"}


ASKED = "Mail bob@example.com about 11010519491231002X"


async def asks(sys: Any, args: Json, state: Json) -> Json:
    """Asks a model, then a tool."""
    pieces: list[Chunk] = []
    history = (
        Message("user", ASKED),
        Message("assistant", "", (ToolCall("1", "search", {"query": "bob@example.com"}),)),
        Message("tool", "found bob@example.com", tool_call_id="1", name="search"),
    )
    answer = await sys.generate(GenerateRequest("remote", history), stream=pieces.append)
    found = await sys.call("search", {"query": "bob@example.com"})
    return [answer.text, "".join(piece.text for piece in pieces), found]


async def test_a_remote_model_sees_tokens_and_everybody_else_the_values(tmp_path: Path) -> None:
    engine, tool = Remote(lambda request: f"Done: {request.messages[0].text}"), Search()
    vault = Vault(KEY)

    async def opened() -> Any:
        return engine

    kernel = Kernel(
        SQLiteStore(tmp_path / "journal.db"), {"asks": Program(asks)}, {"search": tool},
        filters=[Masking(vault, lambda model: model == "remote", lambda name: name == "search")],
    )  # fmt: skip
    kernel.engines.add("remote", opened)
    try:
        sys = await kernel.service("test")
        text, streamed, result = await sys.wait(await sys.spawn("asks"))
    finally:
        await kernel.close()
    assert text == streamed == f"Done: {ASKED}"
    assert result == {"found": "about bob@example.com"}
    sent = str(engine.seen[0]) + str(tool.seen)
    assert "example.com" not in sent and "11010519" not in sent and sent.count("<EMAIL_") == 4


def call(name: str, **args: Any) -> Call:
    """A call on its way."""
    return Call(1, name, args, "key", "t", "p", 60.0)


async def test_the_call_is_itself_again_when_it_is_over() -> None:
    masking, seen = Masking(Vault(KEY), lambda model: True), []
    request = GenerateRequest("m", (Message("user", "a@example.com"),))
    made = call("generate", request=request)
    made.stream = stream = lambda chunk: None

    async def proceed(passed: Call) -> Generation:
        seen.append(passed.args["request"].messages[0].text)
        passed.decision["adapter"] = "tuned"
        raise ValueError

    with pytest.raises(ValueError):
        await masking(made, None, proceed)
    assert made.args["request"] is request and made.stream is stream and made.decision["adapter"] == "tuned"
    assert TOKEN.fullmatch(seen[0])


async def test_a_local_model_and_a_tool_of_ours_see_the_values() -> None:
    masking = Masking(Vault(KEY), lambda model: False)

    async def proceed(passed: Call) -> Any:
        return passed.args

    for made in (
        call("generate", request=GenerateRequest("m", (Message("user", "a@example.com"),))),
        call("call", tool="x", arguments={"to": "a@example.com"}),
        call("now"),
    ):
        assert await masking(made, None, proceed) == made.args


async def test_every_part_of_a_request_is_masked() -> None:
    seen: list[Any] = []

    async def proceed(passed: Call) -> Any:
        seen.append(passed.args["request"])
        if passed.name == "generate":
            token = passed.args["request"].said
            asked = (ToolCall("1", "mail", {"to": [token]}),)
            return Generation(json.dumps({"who": token}), asked)
        return [1]

    masking = Masking(Vault(KEY), lambda model: True)
    mail = "a@example.com"
    parts: Any = [
        {"type": "text", "text": mail},
        {"type": "image_url", "image_url": {"url": "https://x.example/1.png"}},
    ]
    request = GenerateRequest(
        "m", (Message("user", parts),), mail, tools=(ToolSpec("t", mail, {"enum": [mail]}),), schema={"const": mail},
        choices=(mail,), said=mail,
    )  # fmt: skip
    answer = await masking(call("generate", request=request), None, proceed)
    await masking(call("measure", request=request), None, proceed)
    await masking(call("embed", request=EmbedRequest("m", (mail,))), None, proceed)
    assert not any(mail in str(each) for each in seen) and "x.example/1.png" in str(seen[0])
    assert json.loads(answer.text) == {"who": mail} and answer.tool_calls[0].arguments == {"to": [mail]}


async def test_values_in_json_that_a_schema_asked_for_are_escaped() -> None:
    secret = '-----BEGIN PRIVATE KEY-----\nab"c\n-----END PRIVATE KEY-----'

    async def proceed(passed: Call) -> Any:
        return Generation('{"key": "' + passed.args["request"].messages[0].text + '"}')

    request = GenerateRequest("m", (Message("user", secret),), schema={"type": "object"})
    answer = await Masking(Vault(KEY), lambda model: True)(call("generate", request=request), None, proceed)
    assert json.loads(answer.text) == {"key": secret}


async def test_recognisers_of_others_come_on_top() -> None:
    entities = [("PERSON", 0, 5, 0.9), ("PERSON", 10, 15, 0.1), ("URL", 6, 9, 0.9)]
    results = [SimpleNamespace(entity_type=t, start=s, end=e, score=p) for t, s, e, p in entities]
    analyzer = SimpleNamespace(analyze=lambda text, language: results)
    masking = Masking(Vault(KEY), lambda model: True, recognisers=[Presidio(analyzer)])

    async def proceed(passed: Call) -> Any:
        return Generation(passed.args["request"].messages[0].text.replace("<NAME", "seen <NAME"))

    request = GenerateRequest("m", (Message("user", "Alice saw Carol"),))
    answer = await masking(call("generate", request=request), None, proceed)
    assert answer.text == "seen Alice saw Carol"
    with pytest.raises(MissingExtra, match="presidio"):
        Presidio.load(Path("analyzer.yaml"))


# -- logs


def test_logs_carry_no_keys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(clean := CleanLogs())
    try:
        log = logging.getLogger("test.masking")
        log.warning("user %s with %s", "a@example.com", "AKIAIOSFODNN7EXAMPLE")
        log.warning("%d", "not a number")
        try:
            raise ValueError("password: hunter2!")
        except ValueError:
            log.exception("it failed")
    finally:
        caplog.handler.removeFilter(clean)
    assert len(logged("1 " * 30_000)) < 4100 and logged("1 " * 30_000).endswith("(56,000 characters more)")
    assert "user <EMAIL> with <KEY>" in caplog.text and "password: <KEY>" in caplog.text
    assert "hunter2" not in caplog.text and "do not fit" in caplog.text


def test_a_scrubbed_text_keeps_names() -> None:
    assert scrubbed("Mr. Brown, 13912345678") == "Mr. Brown, <PHONE>"
    assert "pa55word" not in scrubbed("postgres://user:pa55word@db.example.com/x")


async def test_a_name_has_the_longest_window_of_its_models_once_they_all_say() -> None:
    known = Engines()
    for name, window in (("small", 512), ("large", 4096)):

        async def opened(name: str = name, window: int = window) -> Any:
            return ScriptedEngine(ModelSpec(name, "scripted", window=window), "hi")

        known.add(name, opened, remote=True)
    known.routes["both"] = Route(("small", "large"))
    assert known.window("small") == 0  # it is not open yet
    await known.get("small")
    assert (known.window("small"), known.window("both")) == (512, 0)
    await known.get("large")
    assert known.window("both") == 4096
