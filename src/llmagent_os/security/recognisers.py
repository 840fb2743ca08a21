"""What identifies people or opens doors, found in English and Chinese text by its form, and proved by its checksum.

One pass: a cheap expression finds the places where a value may begin, and only there the rules of that place are
tried, the strictest first. Every rule looks at a bounded stretch of text, so time grows with the length and nothing
else. Neighbours are looked at with look-arounds and never with `\\b`: to it, a Chinese character is part of a word.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

KINDS = ("EMAIL", "PHONE", "CARD", "IBAN", "SSN", "CNID", "USCC", "PASSPORT", "PLATE", "IP", "MAC", "KEY", "NAME",
         "BIRTH")  # fmt: skip
"""What is recognised. NAME only after a cue (`my name is`, `联系人`): finding names anywhere takes a model."""


@dataclass(frozen=True, slots=True)
class Span:
    """A value in a text, from `start` to before `end`."""

    start: int
    end: int
    kind: str


Recogniser = Callable[[str], Iterable[Span]]
"""Finds values in a text."""

Check = Callable[[str, re.Match[str]], int]
"""How many characters of a value, as it was matched, are one: 0 where none are."""


# -- checks


_NO_DIGITS = bytes(set(range(128)) - set(b"0123456789"))
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes(sum(divmod(2 * digit, 10)) for digit in range(10)))


def _digits(value: str) -> str:
    return value.encode().translate(None, _NO_DIGITS).decode()


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    data = digits.encode()
    return (sum(data[-2::-2].translate(_TWICE)) + sum(data[-1::-2].translate(_ONCE))) % 10 == 0


# Issuers' prefixes and lengths: ISO/IEC 7812 as the card schemes publish it.
_ISSUERS = re.compile(
    r"(?:4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-59]|[689]\d)\d{11,16}"  # American Express; Diners
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|(?:2131|1800)\d{11}"  # Discover; JCB
    r"|(?:62|81)\d{14,17}|(?:9558|60|69)\d{15,17}|220[0-4]\d{12,15}|35\d{14}"  # UnionPay and older Chinese; Mir
    r"|(?:5018|5020|5038|5[6-8]\d\d|6304|6390|67\d\d|0604)\d{8,15})"  # Maestro
)


def _card(value: str, match: re.Match[str]) -> int:
    """The longest run of groups that is a card's number: what follows one may be its expiry date."""
    digits, end = _digits(value), len(value)
    count = len(digits)
    while count >= 12:
        if _ISSUERS.fullmatch(digits, 0, count) and luhn(digits[:count]):
            return end
        last, end = end, max(value.rfind(" ", 0, end), value.rfind("-", 0, end))
        count -= last - end - 1
    return 0


_IBAN_LENGTHS: dict[str, str] = dict(
    re.findall(
        "([A-Z]{2})([0-9]{2})",
        "NO15 BE16 DK18 FK18 FI18 FO18 GL18 NL18 SD18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 MN20 XK20 CH21 HR21 LI21"
        "LV21 BG22 BH22 CR22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 SO23 TL23 AD24 CZ24 ES24 MD24"
        "PK24 RO24 SA24 SE24 SK24 TN24 VG24 LY25 PT25 ST25 IS26 TR26 BI27 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28"
        "BY28 CY28 DO28 GT28 HN28 HU28 LB28 NI28 PL28 SV28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 YE30 MT31 SC31 LC32"
        "RU33",
    )
)
"""The SWIFT registry of IBAN formats."""


def _iban(value: str, match: re.Match[str]) -> int:
    """ISO 13616: the country's length, and mod 97 of the rotated number is 1."""
    wanted, end, compact = int(_IBAN_LENGTHS.get(value[:2], 0)), 0, ""
    while end < len(value) and len(compact) < wanted:
        compact += value[end].strip(" -")
        end += 1
    whole = len(compact) == wanted > 0 and not value[end : end + 1].isalnum()
    return end if whole and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else 0


_REGION = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
"""The provinces of GB/T 2260."""


def _cnid(value: str, match: re.Match[str]) -> int:
    """GB 11643: region, date of birth, order, and a check character by ISO 7064 MOD 11-2."""
    number = _digits(value[:-1]) + value[-1].upper()
    total = sum(int(digit) * (pow(2, 17 - place, 11)) for place, digit in enumerate(number[:17]))
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return 0
    right = _REGION.match(number) and born <= date.today() and "10X98765432"[total % 11] == number[17]
    return len(value) if right else 0


_USCC = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def _uscc(value: str, match: re.Match[str]) -> int:
    """GB 32100: authority and kind, region, organisation, and a check character by powers of 3 mod 31."""
    total = sum(_USCC.index(letter) * pow(3, place, 31) for place, letter in enumerate(value[:17]))
    right = (_REGION.match(value, 2) or value[2:4] == "10") and _USCC[-total % 31] == value[17]
    return len(value) if right else 0


def _ssn(value: str, match: re.Match[str]) -> int:
    """What the Social Security Administration assigns: no 000, 666 or 9xx, no 00, no 0000."""
    digits = _digits(value)
    right = digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"
    return len(value) if right and (len(value) > 9 or _cued(match, _SSN_CUE)) else 0


def _ip(value: str, match: re.Match[str]) -> int:
    """An address, and not a version, a scope (`a::b`), a slice (`[::2]`), a time of day or this machine."""
    groups = [group for group in value.split(":") if group]
    telling = "." in value or len(groups) > 2 or (len(groups) == 2 and re.match(r"(?=\D*\d)\w{3}", value))
    around = match.string[max(0, match.start() - 10) : match.start()] + match.string[match.end() : match.end() + 3]
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return 0
    known = found.is_loopback or found.is_unspecified or "version" in around.lower() or "版本" in around
    return len(value) if telling and not known else 0


# -- phone numbers

_PHONE_CUE = re.compile(
    r"(?:(?:(?<![A-Za-z])|(?<=\\[nrt]))(?i:(?:call(?:ed|ing|s)?(?! an? )|phones?|tel(?:ephone)?|mobile|cell|fax|desk"
    r"|landline|sms|whatsapp|wechat|reach|dial|ring|hotline"
    r"|(?:messages?|texts?|answer(?:ing)?|contact(?: \w+)?) (?:at|on|to|from))(?![a-z]))"
    r"|电话|手机|联系方式|致电|拨打|来电|传真|座机|热线|号码是|微信)[^\d@]{0,32}$"
)
_NO_PHONE = re.compile(
    r"(?i:order|invoice|ticket|track|version|isbn|issn|amount|price|code|room|page|port|build|serial|error|"
    r"订单|单号|编号|版本|金额|验证码|元|[$¥€£])"
)
_PHONE_AFTER = re.compile(r"[ \t\-(,:]{0,3}(?i:office|fax|mobile|cell|home|work|desk|direct)(?![A-Za-z])")
_SSN_CUE = re.compile(r"(?i:(?<![a-z])ssn(?![a-z])|social security)[^\d]{0,24}$")


def _cued(match: re.Match[str], cue: re.Pattern[str]) -> bool:
    """Whether the words before a value say what it is."""
    found = cue.search(match.string, max(0, match.start() - 56), match.start())
    return found is not None and not _NO_PHONE.search(found[0])


def _told(match: re.Match[str], end: int) -> bool:
    return _cued(match, _PHONE_CUE) or _PHONE_AFTER.match(match.string, match.start() + end) is not None


def _international(value: str, match: re.Match[str]) -> int:
    """E.164: at most 15 digits after `+` or `00`; American and Chinese numbers end where they must."""
    places = [place for place, letter in enumerate(value) if letter.isdigit()]
    places = places[2:] if value.startswith("00") else places
    digits = "".join(value[place] for place in places)
    most = 11 if digits[0] == "1" else 13 if digits.startswith("861") else 15
    if len(digits) < 8 + 2 * value.startswith("00") or (len(digits) > most and value[places[most] - 1].isdigit()):
        return 0
    return places[:most][-1] + 1


def _american(value: str, match: re.Match[str]) -> int:
    """The North American plan: neither area nor exchange begins with 0 or 1, unless a cue says that it is a number."""
    digits = _digits(re.split("[xe#]", value.lower(), maxsplit=1)[0])[-10:]
    return len(value) if (digits[0] > "1" and digits[3] > "1") or _told(match, len(value)) else 0


def _landline(value: str, match: re.Match[str]) -> int:
    """A Chinese area code and number; in one run of digits only where a cue says so."""
    return len(value) if not value.isdigit() or _told(match, len(value)) else 0


_NO_NUMBER = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}(?!\d)|\d{1,2}([-/.])\d{1,2}\2(?:19|20)\d\d(?!\d)|\d+\.\d+$")


_BETWEEN = " ().-/,:\t"


def _among_numbers(match: re.Match[str]) -> bool:
    """Whether numbers stand on both sides, so that no cue is next to this one: in a table nearly all of them."""
    text, start, end = match.string, match.start(), match.end()
    before = text[max(0, start - 4) : start].rstrip(_BETWEEN)[-1:]
    return before.isdigit() and not any(map(str.isalpha, text[end : end + 4]))


def _local(value: str, match: re.Match[str]) -> int:
    """Anything else that is written like a number: only where a cue says so, and it is no date."""
    if _among_numbers(match):
        return 0
    end = digits = 0
    for part in re.finditer(r"[^ ]+", value):
        here = sum(map(str.isdigit, part[0]))
        if digits + here > 12 or (part.start() > end + 2):
            break
        digits, end = digits + here, part.end()
    value = value[:end].rstrip(" ().-/")
    apart = re.compile(_END).match(match.string, match.start() + len(value)) and not _NO_NUMBER.match(value)
    right = digits >= 6 and value.count("(") == value.count(")") and apart
    return len(value) if right and _told(match, len(value)) else 0


# -- keys, and what only a cue tells


def _password(value: str, match: re.Match[str]) -> int:
    """What is given as a password, and is no word of the sentence (`password: required`)."""
    value = value.rstrip(".,;:")
    mixed = re.search("[A-Za-z]", value) and re.search(r"[0-9!@#$%^&*+?~|]", value)
    given = mixed or (value.isdigit() and len(value) > 5)
    return len(value) if given and len(value) > 3 and not _PLACEHOLDER.match(value) else 0


_PLACEHOLDER = re.compile(
    r"\$[{(]?[A-Z_]+[})]?$|\$\{|[<{\[]|%[({]|\*+$|(?i:x+$|your|os\.|process\.|getenv|env\.|none|null|https?:)"
)


def _token(value: str, match: re.Match[str]) -> int:
    """What is given as a token or key, and is drawn at random: 3 bits a character, with digits."""
    value = value.rstrip(".")
    if len(value) < 16 or not any(map(str.isdigit, value)) or _PLACEHOLDER.match(value):
        return 0
    counts = Counter(value).values()
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
    return len(value) if bits >= 3 else 0


_NO_GIVEN = frozenset("的是在有和与及我你他她了就也都请住今现电手从出于，。、；：,.;:! 先女男性身年已")


def _chinese_name(value: str, match: re.Match[str]) -> int:
    """A surname and one or two characters: the third belongs to it where no word of the sentence begins with it."""
    surname = 2 if value[:2] in _COMPOUND else 1
    given = value[surname : surname + 2]
    length = next((n for n, letter in enumerate(given) if letter in _NO_GIVEN), len(given))
    return surname + length if length else 0


_COMPOUND = frozenset(re.findall("..", "欧阳上官司马东方南宫夏侯诸葛尉迟皇甫公孙慕容长孙宇文司徒司空令狐"))
_SURNAMES = (  # the commonest: nine of ten people in China
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢"
    "姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常"
    "汤欧阳康易乔赖文洪施柳樊葛牛庞殷兰岳齐聂颜梅庄章鲁倪左"
)
_BORN = "born|date of birth|birth ?da(?:te|y)|dob"
_CALLED = (
    "[Mm]y name is|[Nn]ame is|[Nn]ame|Mrs?|Miss|Ms|mr|ms|Dr|Prof|Dear|Sincerely|[Rr]egards|Patient|[Aa]ccount holder"
    "|[Cc]ardholder|[Cc]ontact person"
)
_NAMED = "姓名|我叫|名叫|联系人|收件人|收货人|寄件人|代表人|患者|户名|持卡人|申请人|投保人|被保险人|负责人|签名"
_TITLES = "先生|女士|小姐|老师|医生|律师|经理|教授"
_PLATES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SAYS = r"""["']?\s{0,3}(?:[:=#]|is|was|是|为)?\s{0,3}["']?"""
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DAY = (
    rf"(?:\d{{4}}[-/.年]\d{{1,2}}[-/.月]\d{{1,2}}日?|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}|\d{{8}}(?!\d)"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH},? \d{{4}})"
)
_NAME = (
    r"(?!(?:Sirs?|Madam|All|Team|Customers?|Colleagues|Friends?|Support|Date|Not|The|Your|My|Our|Phone|Email)(?!\w))"
    r"(?P<v>[A-Z][\w'’-]{1,24}(?: [A-Z]\.?(?= ))?(?: (?!And |Or )[A-Z][\w'’-]{1,24}){0,2})"
)
_END = r"(?![0-9A-Za-z]|[-.]\d|@)"
_HOST = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})(?![A-Za-z0-9])"
)
_WORD = r"(?<![0-9A-Za-z])"

_APART = r"(?:(?<![0-9A-Za-z+])(?<!\d[-./])(?<![0-9A-Fa-f]-)|(?<=\\[nrt]))"  # `\n` as JSON writes it is no word
_HEXES = r"(?:[0-9A-Fa-f]{1,4}:){3}|(?:[0-9A-Fa-f]{1,4}:){1,7}:|(?:[0-9A-Fa-f]{2}-){5}|::[0-9A-Fa-f]{1,4}:"
_HEX = (
    ("MAC", r"(?:[0-9A-Fa-f]{2}(?P<mac>[:-]))(?:[0-9A-Fa-f]{2}(?P=mac)){4}[0-9A-Fa-f]{2}(?![0-9A-Za-z:-])"),
    ("IP", r"(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{3,39}+(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])", _ip),
)
_COMPANY = ("USCC", rf"[1-9ANY][1-9]\d{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{_END}", _uscc)
_PLACES: dict[str, tuple[Any, ...]] = {
    "at": ("@", "@"),
    "digit": (
        "[+(0-9]",
        rf"{_APART}(?=[+(]{{0,2}}(?:\d[ ().\-/]{{0,2}}){{5}}\d|\d{{1,3}}(?:\.\d{{1,3}}){{3}}|{_HEXES})"
        r"(?!(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?(?!\d))",
        ("CNID", rf"[1-8]\d{{5}}[ -]?(?:18|19|20)\d{{6}}[ -]?\d{{3}}[\dXx]{_END}", _cnid),
        _COMPANY,
        ("CARD", rf"(?=\d{{4}})\d(?:[ -]?\d){{11,22}}{_END}", _card),
        ("SSN", rf"(?<!\d )\d{{3}}(?P<ssn>[ -]?)\d\d(?P=ssn)\d{{4}}{_END}", _ssn),
        ("IP", rf"\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_END}", _ip),
        ("PHONE", rf"(?:\+86[ -]?|0086[ -]?|86[ -]?|\(\+?86\) ?)?1[3-9]\d[ -]?\d{{4}}[ -]?\d{{4}}{_END}"),
        ("PHONE", r"(?:(?:\+86[ -]?|86-)(?:10|2\d|[3-9]\d\d)|0(?:10|2\d|[3-9]\d\d)|\(0(?:10|2\d|[3-9]\d\d)\))"
         r"[ -]?[2-8]\d{2,3}[ -]?\d{4}(?:-\d{1,6})?" + _END, _landline),
        ("PHONE", r"(?:\+?1[ .-]?|001[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]?\d{4}(?: ?(?:x|#|ext\.? ?)\d{1,6})?"
         + _END, _american),
        ("PHONE", r"(?:\+|00)[1-9]\d{0,3}(?:[ .-]?\(0?\d{0,4}\))?(?:[ .\-/]?\d){5,14}" + _END, _international),
        *_HEX,
        ("PHONE", r"[+(]?\d[\d ().\-/]{4,26}", _local),
    ),
    "hex": ("[A-Fa-f:]", rf"(?<![\w.])(?<![0-9A-Fa-f:]:)(?:{_HEXES})", *_HEX),
    "company": ("[ANY]", rf"{_WORD}[ANY][1-9]\d{{6}}", _COMPANY),
    "iban": ("[A-Z]", rf"{_WORD}[A-Z]{{2}}\d\d[ 0-9A-Z-]", ("IBAN", r"[A-Z]{2}\d\d(?:[ -]?[0-9A-Z]){11,30}", _iban)),
    "key": (
        "[eASLsrpghnxyd]",
        rf"{_WORD}(?:eyJ|A[KS]IA|A(?:BIA|CCA|Iza|KID)|[spr]k[-_]|gh[pousr]_|github_p|glpat-|hf_|npm_|xox|xapp-|ya29|SG\."
        r"|LTAI|pypi-|dop_v1_)",
        ("KEY", r"eyJ[\w-]{8,4000}+\.[\w-]{8,8000}+(?:\.[\w-]{0,2000}+)?"),
        ("KEY", r"(?:sk|pk|rk)[-_](?=[\w-]{0,64}(?:\d|[a-z][A-Z]))[\w-]{16,400}+"),
        ("KEY", r"(?:(?:A[KS]IA|ABIA|ACCA)[0-9A-Z]{16}|(?:LTAI|AKID)[0-9A-Za-z]{12,40})(?![0-9A-Za-z])"),
        ("KEY", r"(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|xox[a-z]-|xapp-|ya29\.|pypi-|dop_v1_)[\w-]{18,400}"
         r"|xox[a-z]-[\w-]{10,17}|AIza[\w-]{35}|SG\.[\w-]{16,32}\.[\w-]{16,64}"),
    ),
    "pem": ("-", "-----BEGIN ", (
        "KEY", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,16384}+"
        r"(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?")),
    "url": (":", "://", ("KEY", r"://[^\s:/@]{1,64}:(?P<v>[^\s@/]{3,128})@")),
    "plate": (f"[{_PLATES}]", ".[A-Z]", (
        "PLATE", r"(?=.{2,8}?\d).[A-Z][·•\-. ]?(?:[A-HJK][0-9A-HJ-NP-Z]\d{4}|\d{5}[A-HJK]"
        r"|[0-9A-HJ-NP-Z]{4}[0-9A-HJ-NP-Z挂学警港澳领])(?![0-9A-Za-z])")),
    "password": ("[Pp密口]", r"(?:(?i:pass(?:word|wd|phrase|code)|pwd)|密码|口令)", (
        "KEY", rf"""(?:\w{{3,10}}+|密码|口令){_SAYS}(?P<v>[!#-&(-;=?-_a-~]{{4,200}})""", _password)),
    "token": ("[SsTtAaPpBb密令]", r"(?:(?i:secret|token|(?:api|access|private)[_-]?key|bearer)|密钥|令牌)", (
        "KEY", r"(?:[\w-]{5,32}+|密钥|令牌)(?=[\"':=\s是为])" + _SAYS + r"(?P<v>[\w+/=.~-]{16,400})", _token)),
    "passport": ("[Pp护]", r"(?:(?i:passport)|护照)", (
        "PASSPORT", rf"(?i:passport(?: ?(?:no|number|num|id))?\.?|护照(?:号码|编号|号)?){_SAYS}"
        r"(?P<v>[A-Z]{0,2}\d{6,9})(?![0-9A-Za-z])")),
    "born": ("[BbDd出生]", rf"(?:{_WORD}(?i:{_BORN})|出生|生日|生于)", (
        "BIRTH", rf"(?:(?i:{_BORN})|出生(?:日期|年月日?)?|生日|生于)(?: on)?{_SAYS}(?P<v>{_DAY})(?!\d)")),
    "name": ("[MmNnDPSRrAaCc]", rf"{_WORD}(?:{_CALLED})[.,:\s]", ("NAME", rf"(?:{_CALLED})[.,:]?\s{{1,3}}{_NAME}")),
    "named": ("[姓我名联收寄代患户持申投被负签]", f"(?:{_NAMED})", (
        "NAME", rf"(?:{_NAMED})[:是为]? ?(?P<v>[{_SURNAMES}][一-鿿]{{1,3}})", _chinese_name)),
    "titled": (f"[{_SURNAMES}]", f".[一-鿿]{{0,3}}(?:{_TITLES})", ("NAME", f"(?P<v>.[一-鿿]{{0,3}}?)(?:{_TITLES})")),
}  # fmt: skip
"""Where a value may begin: its first character (which rules most places out), what is seen from there, and its rules:
a kind, a pattern whose group `v` (or all of it) is the value, and a check."""


def _rule(kind: str, pattern: str, check: Check = lambda value, match: len(value)) -> tuple[str, Any, str | int, Check]:
    compiled = re.compile(pattern, re.NOFLAG if kind == "NAME" else re.ASCII)
    return kind, compiled.match, "v" if "v" in compiled.groupindex else 0, check


_RULES = {name: tuple(_rule(*each) for each in rules) for name, (_, _, *rules) in _PLACES.items()}
_CUED_ONLY = _RULES["digit"][-1:]
_SHAPED = re.compile("|".join(f"(?:{pattern})" for _, pattern, *_ in _PLACES["digit"][2:-1]), re.ASCII).match
"""Whether a number has the form of anything but of one that only a cue tells: one look in place of a dozen."""


def _starts(names: Iterable[str]) -> re.Pattern[str]:
    places = ((name, *_PLACES[name][:2]) for name in names)
    return re.compile("|".join(f"{first}(?P<{name}>(?<=(?={seen}).))" for name, first, seen in places), re.ASCII)


_STARTS, _KEYS = _starts(_PLACES), _starts(("key", "pem"))
_STRETCH, _SEEN = 8192, 512  # characters, and how far may be looked ahead from the last of them
_LOCAL_PART = re.compile(r"[A-Za-z0-9_](?:[\w.%+'-]{0,62}[\w+-])?$", re.ASCII)
_DOMAIN = re.compile("@" + _HOST)
WIDE = {0x3000: 0x20} | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""Full-width characters of Chinese keyboards, and what they stand for."""


def _mail(text: str, place: int) -> Span | None:
    domain = _DOMAIN.match(text, place)
    local = _LOCAL_PART.search(text, max(0, place - 64), place) if domain else None
    return Span(local.start(), domain.end(), "EMAIL") if domain and local else None


def _found(text: str, place: int, where: str) -> Span | None:
    rules = _CUED_ONLY if where == "digit" and not _SHAPED(text, place) else _RULES[where]
    for kind, rule, group, check in rules:
        match = rule(text, place)
        if match is not None and (length := check(match[group], match)):
            return Span(match.start(group), match.start(group) + length, kind)
    return None


def _places(text: str) -> Iterator[re.Match[str]]:
    """Where values may begin, looked for a stretch at a time: within one search no other thread has its turn."""
    for begin in range(0, len(text), _STRETCH):
        for start in _STARTS.finditer(text, begin, begin + _STRETCH + _SEEN):
            if start.start() < begin + _STRETCH:
                yield start


def _candidates(text: str) -> Iterator[Span]:
    end = 0
    for start in _places(text):
        place, where = start.start(), str(start.lastgroup)
        span = _mail(text, place) if where == "at" else _found(text, place, where) if place >= end else None
        if span is not None:
            end = max(end, span.end)
            yield span


def recognise(text: str) -> list[Span]:
    """The values in a text, in order and apart from each other. Full-width letters and digits count as plain ones."""
    return apart(_candidates(text if text.isascii() else text.translate(WIDE)))


def keys(text: str) -> bool:
    """Whether a text holds a secret key that is one by its form alone, as cloud services and forges make them."""
    return any(_found(text, start.start(), str(start.lastgroup)) for start in _KEYS.finditer(text))


def apart(spans: Iterable[Span]) -> list[Span]:
    """Spans in order; those that overlap are made one, of the kind of the longest, so that no part is left out."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        if found and span.start < found[-1].end:
            last = found[-1]
            longest = max(last, span, key=lambda each: each.end - each.start)
            found[-1] = Span(last.start, max(last.end, span.end), longest.kind)
        else:
            found.append(span)
    return found
