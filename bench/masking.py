"""What masking finds, what it takes for a value and is none, whether it can be undone, and what it costs.

English: sentences of presidio-evaluator's generator (its templates, Faker's values). It is no part of our
requirements, for it brings spaCy; without it that case is left out:
    pip install --no-deps presidio-evaluator && pip install pandas spacy presidio-analyzer presidio-anonymizer \
        requests tqdm python-dotenv
Chinese: sentences below, filled by Faker (zh_CN), by python-stdnum's check digits, and by examples that standards
bodies, banks and vendors publish. Nothing that is measured here makes the values that it is measured with.

A value is found where every character of it is covered by spans of its kind: what is left out would leak. A span is
right where it overlaps a value of its kind. Texts without values (order numbers, times, versions) are in the precision.
`development` and `held` are the two halves of `masking_set`, whose texts are harder: spellings, headers, code, logs.
`third` are texts written from memory of how services write their keys (`masking_blind`).
`hostile` are texts of 1 MB that are masked for a remote model while the loop is watched.

    python bench/masking.py [--json] [--sentences 10000] [--trips 10000] [--missed 0] [--seed 20261125]
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import random
import re
import statistics
import string
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common import Report, cpu, run, say
from faker import Faker
from masking_blind import samples as third
from masking_set import Sample as Text
from masking_set import samples as set_of
from masking_set import score as scored
from masking_set import tempting
from stdnum import luhn
from stdnum.cn import uscc

from llmagent_os.core.records import Call, GenerateRequest, Generation, Message
from llmagent_os.security.masking import Masking, Passage, Restorer
from llmagent_os.security.recognisers import Span, recognise
from llmagent_os.security.vault import Vault

try:
    from presidio_evaluator.data_generator import PresidioSentenceFaker
except ImportError:
    PresidioSentenceFaker = None

SEED = 20261125
ENGLISH = {"CREDIT_CARD": "CARD", "PHONE_NUMBER": "PHONE", "EMAIL_ADDRESS": "EMAIL", "IBAN_CODE": "IBAN",
           "US_SSN": "SSN", "IP_ADDRESS": "IP", "PERSON": "NAME", "DATE_TIME": "BIRTH"}  # fmt: skip
REPORTED = ("NAME", "BIRTH")  # only after a cue: no recall is promised


@dataclass(frozen=True, slots=True)
class Sample:
    """A text and the values that somebody else put into it."""

    text: str
    values: tuple[Span, ...]


# -- texts


def english(count: int, seed: int) -> list[Sample]:
    """The generator's sentences; its labels in our words."""
    with contextlib.redirect_stdout(sys.stderr):  # it prints
        faker = PresidioSentenceFaker(locale="en_US", lower_case_ratio=0.05, random_seed=seed)
        made = faker.generate_new_fake_sentences(num_samples=count)
    samples = []
    for sample in made:
        spans = (Span(s.start_position, s.end_position, ENGLISH.get(s.entity_type, "")) for s in sample.spans)
        samples.append(Sample(sample.full_text, tuple(span for span in spans if span.kind)))
    return samples


CHINESE = (
    "我的手机号是{PHONE}，请尽快联系我。", "请拨打{PHONE}咨询，或发邮件到{EMAIL}。",
    "电话：{LANDLINE}，传真：{LANDLINE}",
    "客户身份证号码{CNID}，银行卡号{CARD}，预留手机{PHONE}。", "身份证：{CNID}", "他的身份证号为{CNID}已核验",
    "请把款项汇到{CARD}，开户行：招商银行。", "卡号{CARD}已挂失", "国际汇款账号 {IBAN}，收款行在德国。",
    "统一社会信用代码：{USCC}，开票电话{LANDLINE}。", "公司税号{USCC}请核对", "护照号码：{PASSPORT}，有效期十年。",
    "护照号{PASSPORT}的旅客请到柜台", "车牌{PLATE}的车主请挪车", "违章车辆：{PLATE}，罚款200元。",
    "新能源车{GREEN}免限行",
    "服务器{IP}无法访问", "登录IP：{IP}，设备MAC地址{MAC}。", "网卡{MAC}已绑定", "邮箱是{EMAIL}吗？",
    "联系{EMAIL}获取资料",
    "密码是{PASSWORD}，请勿泄露", "API密钥：{KEY}", "环境变量里的{KEY}已经失效。", "令牌 {JWT} 过期了",
    "{{\"phone\": \"{PHONE}\", \"id_card\": \"{CNID}\", \"email\": \"{EMAIL}\"}}", "短信已发送至{PHONE},验证码六位。",
    "姓名：{NAME}，手机：{PHONE}，身份证：{CNID}", "我叫{NAME}，我的邮箱：{EMAIL}", "联系人：{NAME}\n电话：{PHONE}\n",
    "{NAME}先生的护照号是{PASSPORT}。", "微信同号{PHONE}", "＋86手机：+86 {PHONE}", "发票抬头税号{USCC}，地址北京市。",
    "转账到{CARD}（{NAME}）", "车牌号:{GREEN},车主手机:{PHONE}", "订单联系人手机{PHONE}收货", "{PHONE}是我的新号码",
)  # fmt: skip
PUBLISHED = {
    "CNID": ("11010519491231002X", "440524188001010014"),  # GB 11643-1999
    "USCC": ("914403001922038216", "9144030071526726XG", "91330100799655058B"),  # as registered
    "CARD": ("6200000000000005", "6205500000000000004", "4242424242424242", "378282246310005", "5555555555554444",
             "6011111111111117", "30569309025904", "3566002020360505"),  # a payment service's test numbers
    "IBAN": ("GB29NWBK60161331926819", "DE89370400440532013000", "FR1420041010050500013M02606", "NO9386011117947",
             "CH9300762011623852957", "SA0380000000608010167519", "MT84MALT011000012345MTLCAST001S",
             "GB29 NWBK 6016 1331 9268 19", "DE89 3704 0044 0532 0130 00"),  # the SWIFT registry
    "KEY": ("AKIAIOSFODNN7EXAMPLE",),
    "JWT": ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2Mj"
            "M5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",),  # jwt.io
}  # fmt: skip
SAME = {"LANDLINE": "PHONE", "GREEN": "PLATE", "PASSWORD": "KEY", "JWT": "KEY"}
PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


class Values:
    """Values of each kind, drawn at random under a seed."""

    def __init__(self, seed: int) -> None:
        Faker.seed(seed)
        self.random = random.Random(seed)
        self.zh, self.en = Faker("zh_CN"), Faker(["en_US", "de_DE", "fr_FR", "nl_NL", "it_IT"])

    def of(self, kind: str) -> str:
        """A value; one in ten is a published example where there are any."""
        if kind in PUBLISHED and (kind == "JWT" or self.random.random() < 0.1):
            return self.random.choice(PUBLISHED[kind])
        return str(getattr(self, kind.lower())())

    def digits(self, count: int) -> str:
        return "".join(self.random.choices(string.digits, k=count))

    def phone(self) -> str:
        number = self.zh.phone_number()
        return self.random.choice((number, number, f"{number[:3]} {number[3:7]} {number[7:]}",
                                   f"{number[:3]}-{number[3:7]}-{number[7:]}"))  # fmt: skip

    def landline(self) -> str:
        area, length = self.random.choice((("010", 8), ("021", 8), ("0755", 8), ("0571", 8), ("0731", 8), ("0931", 7)))
        number = self.random.choice("2345678") + self.digits(length - 1)
        return self.random.choice((f"{area}-{number}", f"({area}){number}", f"（{area}）{number}", f"{area} {number}"))

    def cnid(self) -> str:
        return str(self.zh.ssn())

    def card(self) -> str:
        if self.random.random() < 0.3:
            return str(self.en.credit_card_number())
        begin = self.random.choice(("6222", "6217", "6228", "6225", "6212", "6214"))
        body = begin + self.digits(self.random.choice((11, 14)))
        number = body + luhn.calc_check_digit(body)
        return number if self.random.random() < 0.6 else " ".join(re.findall(".{1,4}", number))

    def iban(self) -> str:
        return str(self.en.iban())

    def uscc(self) -> str:
        region = self.zh.ssn()[:6]
        body = self.random.choice(("91", "92", "93", "12", "51", "52")) + region
        body += "".join(self.random.choices(string.digits + "ABCDEFGHJKLMNPQRTUWXY", k=9))
        return body + uscc.calc_check_digit(body)

    def passport(self) -> str:
        return self.random.choice("EG") + self.digits(8) if self.random.random() < 0.7 else "EJ" + self.digits(7)

    def plate(self) -> str:
        if self.random.random() < 0.5:
            return str(self.zh.license_plate())
        tail = self.digits(2) + "".join(self.random.choices(PLATE_LETTERS + string.digits, k=3))
        return self.random.choice(PROVINCES) + self.random.choice(PLATE_LETTERS) + self.random.choice(("", "·")) + tail

    def green(self) -> str:
        """GA 36-2018: six places, D or F first (small vehicles) or last (large ones)."""
        head = self.random.choice(PROVINCES) + self.random.choice(PLATE_LETTERS)
        if self.random.random() < 0.5:
            return head + self.random.choice("DF") + self.random.choice(PLATE_LETTERS + "0123456789") + self.digits(4)
        return head + self.digits(5) + self.random.choice("DF")

    def ip(self) -> str:
        return str(self.en.ipv4_public() if self.random.random() < 0.8 else self.en.ipv6())

    def mac(self) -> str:
        return str(self.en.mac_address())

    def email(self) -> str:
        return str(self.random.choice((self.zh, self.en)).email())

    def password(self) -> str:
        return str(self.en.password(length=self.random.randint(8, 16)))

    def key(self) -> str:
        letters = "".join(self.random.choices(string.ascii_letters + string.digits, k=40))
        return self.random.choice((f"sk-{letters}", f"ghp_{letters[:36]}", f"sk-proj-{letters}", f"xoxb-{letters[:24]}",
                                   f"AKIA{letters[:16].upper()}", f"glpat-{letters[:20]}"))  # fmt: skip

    def name(self) -> str:
        return str(self.zh.name())


def chinese(count: int, seed: int) -> list[Sample]:
    """Chinese sentences."""
    values = Values(seed)
    return [filled(values.random.choice(CHINESE), values) for _ in range(count)]


def filled(template: str, values: Values) -> Sample:
    """A template with values in it."""
    text, spans = "", []
    for said, kind in re.findall(r"((?:[^{}]|\{\{|\}\})*)(?:\{([A-Z]+)\})?", template):
        text += said.replace("{{", "{").replace("}}", "}")
        if kind:
            value = values.of(kind)
            spans.append(Span(len(text), len(text) + len(value), SAME.get(kind, kind)))
            text += value
    return Sample(text, tuple(spans))


def controls(count: int, seed: int) -> list[Sample]:
    """Texts with numbers and words that look like values and are none."""
    values = Values(seed + 1)
    draw, digits = values.random, values.digits
    kinds = (
        lambda: f"订单号：{values.en.date_object():%Y%m%d}{digits(draw.choice((6, 8, 10)))}已发货",
        lambda: f"order number {digits(10)} was shipped", lambda: f"快递单号SF{digits(13)}，请查收。",
        lambda: f"at {draw.randint(10**9, 2 * 10**9)} and {draw.randint(10**12, 2 * 10**12)} ms",
        lambda: f"ISBN {values.en.isbn13()}", lambda: f"书号{values.en.isbn13(separator='')}。",
        lambda: f"version {draw.randint(0, 20)}.{draw.randint(0, 20)}.{draw.randint(0, 250)}.{draw.randint(0, 99)}",
        lambda: f"升级到v{draw.randint(0, 20)}.{draw.randint(0, 20)}.{draw.randint(0, 999)}版本",
        lambda: f"{values.en.date_time():%Y-%m-%d %H:%M:%S} INFO 已启动 {draw.randint(1, 10**6)} 个任务",
        lambda: f"{values.zh.date_time():%Y年%m月%d日}下午3:{draw.randint(10, 59)}开会，会议室{draw.randint(100, 999)}",
        lambda: f"合计￥{draw.randint(10**4, 10**9):,}.{digits(2)}元",
        lambda: f"total ${draw.random() * 10**7:,.2f}",
        lambda: f"id {uuid.UUID(int=draw.getrandbits(128))}", lambda: f"commit {draw.getrandbits(160):040x}",
        lambda: f"邮编{digits(6)}，第{draw.randint(1, 999)}-{draw.randint(1000, 2000)}页",
        lambda: f"坐标 {draw.uniform(-90, 90):.6f}, {draw.uniform(-180, 180):.6f}",
        lambda: f"CAS {draw.randint(50, 99999)}-{digits(2)}-{digits(1)}, batch LOT{digits(8)}",
        lambda: f"use std::vector<int> a[::2]; x::y({digits(3)}) # {digits(4)}",
        lambda: f"GB/T {digits(5)}-{digits(4)}",
        lambda: f"发票号码{digits(8)}，合同编号HT-{digits(4)}-{digits(4)}",
        lambda: f"股票代码{digits(6)}涨幅{digits(1)}.{digits(2)}%",
        lambda: f"flight CA{digits(4)}, seat {digits(2)}A, gate {digits(2)}",
        lambda: f"size {digits(4)}x{digits(4)} px, {digits(9)} bytes",
        lambda: "The password is required and the token is missing.",
        lambda: f"max_tokens={digits(4)} temperature=0.{digits(1)}",
        lambda: f"电话会议定于{draw.randint(1, 12)}月{draw.randint(1, 28)}日",
        lambda: f"port {digits(4)} error 0x{digits(8)}",
        lambda: f"{digits(3)}.{digits(3)} kg, {digits(2)}/{digits(2)}, {digits(1)}e-{digits(1)}",
        lambda: "京东和沪江都是网站，A股上涨。",
    )  # fmt: skip
    return [Sample(draw.choice(kinds)(), ()) for _ in range(count)]


# -- scoring


def score(samples: Sequence[Sample], missed: int) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
    """By kind: values, values found whole, spans, spans that are right."""
    wanted, whole, spans, right = Counter(), Counter(), Counter(), Counter()
    for sample in samples:
        found = recognise(sample.text)
        for value in sample.values:
            wanted[value.kind] += 1
            covered = any(s.start <= value.start and s.end >= value.end and s.kind == value.kind for s in found)
            whole[value.kind] += covered
            if not covered and missed > 0 and value.kind not in REPORTED:
                missed -= 1
                say(f"missed {value.kind} {sample.text[value.start : value.end]!r} in {sample.text[:200]!r}")
        for span in found:
            spans[span.kind] += 1
            hit = any(v.start < span.end and v.end > span.start and v.kind == span.kind for v in sample.values)
            right[span.kind] += hit
            if not hit and missed > 0 and span.kind not in REPORTED:
                missed -= 1
                say(f"wrong {span.kind} {sample.text[span.start : span.end]!r} in {sample.text[:200]!r}")
    return wanted, whole, spans, right


def recognised(report: Report, case: str, samples: Sequence[Sample], missed: int, negative: Sequence[Sample]) -> None:
    """Recall and precision, together and by kind."""
    wanted, whole, spans, right = score(samples, missed)
    _, _, wrong, _ = score(negative, missed)
    kinds = sorted(kind for kind in wanted if kind not in REPORTED)
    for kind in [*kinds, *(kind for kind in REPORTED if wanted[kind])]:
        report.add(case, f"recall {kind} ({wanted[kind]})", whole[kind] / wanted[kind], "")
    structured = [kind for kind in {*spans, *wrong} if kind not in REPORTED]
    total = sum(spans[kind] + wrong[kind] for kind in structured)
    report.add(
        case, "recall, structured", sum(whole[k] for k in kinds) / sum(wanted[k] for k in kinds), "", at_least=0.98
    )
    report.add(case, "precision, structured", sum(right[kind] for kind in structured) / total, "", at_least=0.99)
    if spans["NAME"]:
        report.add(case, "precision NAME", right["NAME"] / spans["NAME"], "")


def long_numbers(report: Report, count: int) -> None:
    """Digits drawn at random: some are, by chance, as good as a card's or a company's number."""
    values = Values(SEED + 2)
    hits = sum(bool(recognise(f"编号{values.digits(values.random.randint(16, 19))}。")) for _ in range(count))
    report.add("controls", "random numbers of 16-19 digits taken for one", hits / count, "")


def halves(report: Report, missed: int) -> None:
    """The two halves of the development set, and the third one; what was missed of `held` is not shown."""
    sets = {"development": (set_of(0), tempting(0, 150)), "held": (set_of(1), tempting(1, 150)), "third": third()}
    for case, (texts, clean) in sets.items():
        told = scored(_spans, texts, clean)
        for kind, (whole, of) in told.by_kind.items():
            report.add(case, f"recall {kind} ({of})", whole / of, "")
        for language in ("en", "zh"):
            report.add(case, f"recall, {language}", _recall([t for t in texts if t.language == language]), "")
        total = sum(of for _, of in told.by_kind.values())
        report.add(case, f"recall, {len(texts)} texts, {total} values", _recall(texts), "", at_least=0.96)
        report.add(case, "precision", told.right / told.spans, "", at_least=0.99)
        report.add(case, f"clean texts ({len(clean)}) with a false alarm", told.alarms / len(clean), "", at_most=0.02)
        for line in told.wrong[: missed if case != "held" else 0]:
            say(line)


def _spans(text: str) -> list[tuple[int, int, str]]:
    return [(span.start, span.end, span.kind) for span in recognise(text)]


def _recall(texts: Sequence[Text]) -> float:
    counts = scored(_spans, texts, ()).by_kind.values()
    return sum(whole for whole, _ in counts) / sum(of for _, of in counts)


HOSTILE = {
    "1 ": "1 ", "(1)": "(1)", "4111 ": "4111 ", "1 1 1 1-": "1 1 1 1-", "full-width digits": "１", "ab.cd@ ": "ab.cd@ ",
    "first characters of values, by chance": "",
}  # fmt: skip
_FIRST = "+(0123456789 @-.:/=AFSKaeginprxyZ_\\%&\"'姓京密1１\n"


def hostile(report: Report, size: int) -> None:
    """CPU a character, and the longest time for which the loop could do nothing else."""
    for name, piece in HOSTILE.items():
        text = piece * (size // len(piece)) if piece else "".join(random.Random(SEED).choices(_FIRST, k=size))
        used, held = asyncio.run(_held_up(text))
        report.add("hostile", f"{name}: CPU a character", used / len(text) * 1e6, "us", at_most=20)
        report.add("hostile", f"{name}: the loop was held for", held * 1e3, "ms", at_most=100)


async def _held_up(text: str) -> tuple[float, float]:
    masking = Masking(Vault(b"k" * 32), lambda model: True)
    call = Call(1, "generate", {"request": GenerateRequest("m", (Message("user", text),))}, "key", "t", "p", 600.0)

    async def answers(passed: Call) -> Generation:
        return Generation("")

    began, last, worst = cpu(), time.monotonic(), 0.0
    work = asyncio.ensure_future(masking(call, None, answers))
    while not work.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        worst, last = max(worst, now - last), now
    await work
    return cpu() - began, worst


# -- undoing


def pieces(data: bytes, cuts: Sequence[int]) -> Iterator[str]:
    """The text of bytes that come in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        yield decoder.decode(data[start:end], final=end == len(data))


def trips(report: Report, samples: Sequence[Sample], count: int) -> None:
    """Mask, cut the answer everywhere, fill in."""
    draw, vault, wrong, cuts = random.Random(SEED), Vault(b"k" * 32), 0, 0
    extras = ("<", "<EMAIL_", "<<b>", "😀", "\n", "<PHONE_AAAAAAAA>", "é", "&lt;", "<EMAIL_ABCDEFGH")
    for number in range(count):
        sample = draw.choice(samples)
        text = draw.choice(extras) + sample.text[:240] + draw.choice(extras)
        passage = Passage(vault, f"tenant {number % 3}", recognise)
        masked = passage.mask(text)
        data = masked.encode()
        for cut in range(len(data) + 1):
            cuts += 1
            wrong += _back(passage, data, (cut,)) != text
        wrong += _back(passage, data, sorted(draw.choices(range(len(data) + 1), k=draw.randint(2, 20)))) != text
        wrong += _back(passage, data, range(1, len(data))) != text
    report.add("round trips", f"wrong of {count} texts, {cuts} places to cut", wrong, "", at_most=0)


def _back(passage: Passage, data: bytes, cuts: Sequence[int]) -> str:
    restorer = Restorer(passage.tokens)
    return "".join(map(restorer.feed, pieces(data, cuts))) + restorer.flush()


# -- cost


def cost(report: Report, texts: dict[str, str], known: Sequence[int], rounds: int = 9) -> None:
    """CPU a kB of masking, the sweep for values of the vault included; medians over rounds in turns."""
    values, cases = Values(SEED + 3), []
    for count in known:
        vault = Vault(b"k" * 32)
        for number in range(count):
            vault.token("t", "EMAIL" if number % 2 else "PHONE", values.email() if number % 2 else values.phone())
        cases += [(f"{name}, {count:,} values in the vault", vault, text) for name, text in texts.items()]
    used = defaultdict(list)
    for _ in range(rounds):
        for name, vault, text in cases:
            began = cpu()
            Passage(vault, "t", recognise).mask(text)
            used[name].append((cpu() - began) / len(text.encode()) * 1e6)
    for name, each in used.items():
        report.add("cost", name, statistics.median(each), "ms/kB", at_most=1.0)


def measure(report: Report, options: argparse.Namespace) -> None:
    negative = controls(options.sentences // 2, options.seed)
    zh = chinese(options.sentences, options.seed)
    texts = {
        "Chinese": "\n".join(s.text for s in zh[:2000]),
        "logs and numbers": "\n".join(s.text for s in negative[:2000]),
    }
    samples = zh
    if PresidioSentenceFaker is not None:
        en = english(options.sentences, options.seed)
        recognised(report, "English", en, options.missed, negative)
        samples, texts = zh + en, {"English": "\n".join(s.text for s in en[:2000])} | texts
    else:
        say("masking: presidio-evaluator is not installed: no English case (see the head of this file)")
    recognised(report, "Chinese", zh, options.missed, negative)
    long_numbers(report, options.sentences)
    halves(report, options.missed)
    hostile(report, options.hostile)
    trips(report, samples, options.trips)
    cost(report, texts, (0, 10_000))


if __name__ == "__main__":
    run(
        "masking", __doc__, measure,
        sentences=(int, 10_000, "sentences of each language"), trips=(int, 10_000, "texts that go there and back"),
        missed=(int, 0, "show so many errors"), hostile=(int, 10**6, "characters of a hostile text"),
        seed=(int, SEED, "of what is drawn"),
    )  # fmt: skip
