"""What identifies people or opens doors, found in English and Chinese text by its form, and proved by its checksum.

The text is folded first (see `folding`). Then a cheap look finds the places where a value may begin, by a word that
stands there or by what a value looks like at first sight, and only there the rules of that place are tried, the
strictest first. Every rule looks at a bounded stretch of text, and the whole is looked through a stretch at a time, so
time grows with the length and nothing else, and other threads have their turn. Neighbours are looked at with
look-arounds and never with `\\b`: to it, a Chinese character is part of a word.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from operator import mul
from typing import Any

from .folding import STRETCH, Folded, fold, matches
from .keyforms import FIELDS, HASHED_SEEN, ISSUED, ISSUED_SEEN, UUID, drawn, formed, hashed, said

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


_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes(sum(divmod(2 * digit, 10)) for digit in range(10)))
_GAP = "[ .·-]?"  # what people put between groups
_GAPS = dict.fromkeys(map(ord, " .·-"))


def _digits(value: str) -> str:
    return value.encode("ascii", "ignore").translate(None, _NO_DIGITS).decode()


def _even(value: str) -> bool:
    """Whether the groups of a value are apart in one way, and not two values in a row."""
    return sum(gap in value for gap in " .-·") < 2


_OTHER = re.compile(
    r"(?:(?<![A-Za-z])(?i:order|invoice|ticket|track(?:ing)?|isbn(?:-1[03])?|issn|ean|upc|gtin|imei|sku|part|serial"
    r"|model"
    r"|batch|lot|case|po|barcode|qty|quantity|rows?|cols?|dim(?:ension)?s?|sizes?|total|amount|price)"
    r"(?:[\s_]?(?i:no|num|number|id|code))?|订单|单号|流水号?|运单|快递单?|条码|书号|发票|票号|数量|尺寸|规格|金额|会议号?|群|工号|单)"
    r"(?:号码?|编号)?[.#]?\s?[:=#是为]?\s?[#\"']?$"
)


_OTHER_ENDS = frozenset("单号水递码票量寸格额议群")


def _denied(match: re.Match[str]) -> bool:
    """Whether the word right before a number says that it is another one."""
    text, start = match.string, match.start()
    last = text[max(0, start - 4) : start].rstrip(" :=#.\"'是为")[-1:]
    told = last.isascii() if last else False
    return (told or last in _OTHER_ENDS) and _OTHER.search(text, max(0, start - 24), start) is not None


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
    gaps = [gap for gap in " .-·" if gap in value]
    while count >= 12:
        if _ISSUERS.fullmatch(digits, 0, count) and luhn(digits[:count]):
            return end if _even(value[:end]) and not _denied(match) else 0
        last, end = end, max((value.rfind(gap, 0, end) for gap in gaps), default=-1)
        count -= last - end - 1
    return 0


def _barred_card(value: str, match: re.Match[str]) -> int:
    """A card's number whose groups stand further apart: `4111 / 1111 / 1111 / 1111`; in a table a whole one.

    Numbers of four digits in a row are common: with commas it is a card's only where a word says so.
    """
    digits, begin = _digits(value), max(0, match.start() - 32)
    listed = ("," in value or ": " in value) and len(digits) != 15
    if ("|" in value and len(digits) < 15) or (listed and not _CARD_CUE.search(match.string, begin, match.start())):
        return 0
    return len(value) if _ISSUERS.fullmatch(digits) and luhn(digits) and not _denied(match) else 0


_CARD_CUE = re.compile(r"(?i:card|visa|master|amex|credit|debit|(?<![a-z])(?:cc|pan)(?![a-z])|卡)[^\n\d]{0,24}$")


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
    wanted, end, compact = int(_IBAN_LENGTHS.get(value[:2].upper(), 0)), 0, ""
    while end < len(value) and len(compact) < wanted:
        compact += value[end].strip(" .-")
        end += 1
    whole = len(compact) == wanted > 0 and not value[end : end + 1].isalnum()
    return end if whole and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else 0


_REGION = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
"""The provinces of GB/T 2260."""


_CNID_WEIGHTS = tuple(pow(2, 17 - place, 11) for place in range(17))
_CNID = re.compile(rf"(?:{_REGION.pattern})\d{{4}}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}[\dX]")


def _cnid(value: str, match: re.Match[str]) -> int:
    """GB 11643: region, date of birth, order, and a check character by ISO 7064 MOD 11-2."""
    number = value.translate(_GAPS).upper()
    if not _CNID.fullmatch(number) or not _even(value):
        return 0
    total = sum(map(mul, map(int, number[:17]), _CNID_WEIGHTS))
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return 0
    return len(value) if born <= date.today() and "10X98765432"[total % 11] == number[17] else 0


_CNID_CUE = re.compile(r"(?i:身份证|证件|id[ _-]?(?:card|number|no))[^\d\n]{0,8}$")


def _old_cnid(value: str, match: re.Match[str]) -> int:
    """The number of fifteen digits that was given until 1999; it has no check digit, so a cue must tell."""
    cued = _CNID_CUE.search(match.string, max(0, match.start() - 24), match.start())
    return len(value) if cued and _REGION.match(value) else 0


_USCC = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))


def _uscc(value: str, match: re.Match[str]) -> int:
    """GB 32100: authority and kind, region, organisation, and a check character by powers of 3 mod 31."""
    code = value.translate(_GAPS).upper()
    if not _even(value) or not (_REGION.match(code, 2) or code[2:4] == "10"):
        return 0
    total = sum(map(mul, map(_USCC.index, code[:17]), _USCC_WEIGHTS))
    return len(value) if _USCC[-total % 31] == code[17] and not (code.isdigit() and _denied(match)) else 0


def _ssn(value: str, match: re.Match[str]) -> int:
    """What the Social Security Administration assigns: no 000, 666 or 9xx, no 00, no 0000."""
    digits = _digits(value)
    right = digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"
    if not right:
        return 0
    return len(value) if ("-" in value and not _denied(match)) or _cued(match, _SSN_CUE) else 0


_VERSION = re.compile(
    r"(?:(?<![A-Za-z])(?i:versions?|ver\.?|v|releases?|sections?|sec\.|chapter|clause|firmware|build|rev(?:ision)?"
    r"|oid|rfc|figure"
    r"|table|step|kernel|python|java|node|redis|mysql|nginx|android|ios|linux|windows|chrome|update[ds]?(?: to)?"
    r"|upgraded? to|patch|para(?:graph)?)|§|第|版本|升级到|固件|章节|[<>=~]=|[<>~^]"
    r"|[A-Za-z0-9][/_-])"
    r"[ :=号是为v]{0,3}$"
)
_VERSION_AFTER = re.compile(
    r"\s?(?:节|章|条|版|小节|(?i:-?(?:alpha|beta|rc|release|snapshot)|\.(?:tar|zip|whl|jar|deb|rpm)))"
)
_HOSTED = re.compile(
    r"(?i:ip|addr|host|server|dns|ping|from|client|gateway|route|subnet|via|proxy|网关|服务器|地址|登录|网段|主机)|[/@\[(]$"
)


def _ip(value: str, match: re.Match[str]) -> int:
    """An address, and not a version, a section, a scope (`a::b`), a slice (`[::2]`), a time of day or this machine."""
    groups = [group for group in value.split(":") if group]
    telling = "." in value or len(groups) > 2 or (len(groups) == 2 and re.match(r"(?=\D*\d)\w{3}", value))
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return 0
    if not telling or found.is_loopback or found.is_unspecified:
        return 0
    text, start, end = match.string, match.start(), match.end()
    if ":" in value:
        return len(value)
    if _VERSION.search(text, max(0, start - 24), start) or _VERSION_AFTER.match(text, end):
        return 0
    parts = list(map(int, value.split(".")))
    small = max(parts) < 32 and parts[0] != 10 and len(set(parts)) > 1
    return 0 if small and not _HOSTED.search(text[max(0, start - 24) : start]) else len(value)


_MAC_CUE = re.compile(r"(?i:mac|hwaddr|ether|物理地址|网卡)[^\n0-9]{0,16}$")


def _grouped_mac(value: str, match: re.Match[str]) -> int:
    """As switches write it, in threes of four: with letters and digits, or where a cue says so."""
    cued = _MAC_CUE.search(match.string, max(0, match.start() - 32), match.start())
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) if cued or (mixed and "." in value) else 0


# -- phone numbers

_PHONE_CUE = re.compile(
    r"(?:(?<![A-Za-z])(?i:(?:call(?:ed|ing|s)?(?! an? )(?! for)|(?:tele|cell|user|home|work|contact|mobile|customer"
    r"|office|my)?_?phones?"
    r"|tel|telefon|mobile?|cell|fax|desk|landline|sms|whatsapp|wechat|reach|dial|ring|hotline|handy|extension|(?:number"
    r"|no\.?) is"
    r"|(?:messages?|texts?|answer(?:ing)?|contact(?: \w+)?) (?:at|on|to|from))(?![a-z]))"
    r"|电话|手机|联系方式|致电|拨打|来电|回电|传真|座机|总机|热线|号码是|微信|短信)[^\d@]{0,32}$"
)
_NO_PHONE = re.compile(
    r"(?i:order|invoice|ticket|track|version|isbn|issn|amount|price|code|room|page|port|build|serial|error|model"
    r"|memory|"
    r"订单|单号|编号|版本|金额|验证码|会议|内存|电池|元|[$¥€£])"
)
_PHONE_AFTER = re.compile(r"[ \t\-(,:]{0,3}(?i:office|fax|mobile|cell|home|work|desk|direct)(?![A-Za-z])")
_COUNTED = re.compile(r"\s?(?:[万亿]?元|美元|号文|USD|EUR|CNY)")
_SSN_CUE = re.compile(r"(?i:(?<![a-z])ssn(?![a-z])|social(?:[ _-]security)?(?![a-z]))[^\d]{0,24}$")
_UNIT = re.compile(r"\s?(?i:mAh|[kmg]i?b|px|mm|cm|km|ms|kg|rows|bytes|毫安|毫秒|元|件|行|页)")


def _cued(match: re.Match[str], cue: re.Pattern[str]) -> bool:
    """Whether the words before a value say what it is."""
    text, start = match.string, match.start()
    begin = max(0, start - 56)
    before = text[begin:start]
    begin += max(map(before.rfind, "0123456789@")) + 1  # what is said of another number is not said of this one
    found = cue.search(text, begin, start) if start - begin > 1 else None
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
    end = places[:most][-1] + 1
    return 0 if value.isdigit() and not _told(match, end) else end


def _alone(match: re.Match[str], end: int) -> bool:
    """Whether neither side has another number, as in a table."""
    text, start = match.string, match.start()
    return not text[max(0, start - 2) : start].strip().isdigit() and not re.match(
        r" \d", text[start + end : start + end + 2]
    )


def _mobile(value: str, match: re.Match[str]) -> int:
    """A Chinese mobile number, and no order's; spaced ones not among other numbers."""
    plain = not _denied(match) and not _COUNTED.match(match.string, match.end())
    plain = value[0] in "+(" or (plain and (" " not in value or _alone(match, len(value))))
    return len(value) if plain or _told(match, len(value)) else 0


def _american(value: str, match: re.Match[str]) -> int:
    """The North American plan: neither area nor exchange begins with 0 or 1, unless a cue says that it is a number."""
    number = re.split("[xe#转,]", value.lower(), maxsplit=1)[0].rstrip()
    digits = _digits(number)[-10:]
    plain = digits[0] > "1" and digits[3] > "1" and re.search(r"[+().-]", number) and not _denied(match)
    return len(value) if plain or _told(match, len(value)) else 0


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
    right = right and not _UNIT.match(match.string, match.start() + len(value))
    return len(value) if right and _told(match, len(value)) else 0


# -- what only a cue tells


def _passport(value: str, match: re.Match[str]) -> int:
    """Six to nine digits and up to three letters."""
    return len(value) if len(_digits(value)) >= 5 else 0


def _pin(value: str, match: re.Match[str]) -> int:
    """Four to eight digits, and no number of things."""
    return 0 if _UNIT.match(match.string, match.end()) else len(value)


def _digest(value: str, match: re.Match[str]) -> int:
    """RFC 7616: what proves that somebody knows a password, beside the nonce that it was made for."""
    return len(value) if "nonce=" in match.string[max(0, match.start() - 600) : match.end() + 600] else 0


def _webhook(value: str, match: re.Match[str]) -> int:
    """What is secret in a webhook's address, which is all that it takes to call it."""
    return len(value) if any(drawn(part) or UUID.fullmatch(part) for part in re.split("[/@=]", value)) else 0


def _userinfo(value: str, match: re.Match[str]) -> int:
    """The password in a URL, and not a place for one."""
    return 0 if value[0] in "$<{[*" else len(value)


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
_BORN = "born|(?<=date of )birth|birth ?da(?:te|y)|dob"
_CALLED = (
    "[Mm]y name is|[Nn]ame is|[Nn]ame|Mrs?|Miss|Ms|mr|ms|Dr|Prof|Dear|Sincerely|[Rr]egards|Patient|[Aa]ccount holder"
    "|[Cc]ardholder|[Cc]ontact person"
)
_NAMED = "姓名|我叫|名叫|联系人|收件人|收货人|寄件人|代表人|患者|户名|持卡人|申请人|投保人|被保险人|负责人|签名"
_TITLES = "先生|女士|小姐|老师|医生|律师|经理|教授"


# -- addresses

_L = r"0-9A-Za-z\u00c0-\u024f\u0370-\u04ff\u0300-\u036f"  # letters of mail addresses: Latin, Greek, Cyrillic
_HAN = r"\u3041-\u30ff\u4e00-\u9fff\uac00-\ud7a3"
_LABEL = rf"[{_L}](?:[{_L}-]{{0,61}}[{_L}])?"
_LOCAL_PART = re.compile(rf"[{_L}_](?:[{_L}.%+'_&-]{{0,62}}[{_L}_+-])?$")
_HAN_PART = re.compile(rf"(?<![{_L}{_HAN}_.-])[{_HAN}]{{1,12}}$")
_DOMAIN = re.compile(
    rf"@(?!\d{{1,2}}x\.|\d+\.\d+\.)(?:(?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}"
    rf"|[A-Za-z\u00c0-\u04ff]{{2,24}})(?![{_L}])"
    rf"|(?:[{_L}{_HAN}-]{{1,63}}\.){{1,4}}(?:中国|中國|公司|网络|网址|在线|中文网|香港|台湾|台灣|한국|みんな"
    rf"|[a-z]{{2,24}}(?![{_L}])))"
)
_FILES = frozenset(
    re.findall(
        r"\w+",
        "png jpg jpeg gif svg webp ico bmp css js mjs ts jsx tsx json yaml yml toml xml html htm txt csv log lock "
        "whl jar exe dll bin tgz setter getter deleter route",
    )
)
_COPIED = re.compile(r":[\w.~-]{0,64}/")
_FORGE = ("git", "hg", "svn")


def _mail(text: str, lower: str, place: int) -> Iterator[Span]:
    """RFC 5322 with RFC 6531: no picture (`a@2x.png`), and no login that a path follows (`git@host:a/b`)."""
    domain = _DOMAIN.match(text, place)
    if domain is None or domain[0].rpartition(".")[2].lower() in _FILES:
        return
    floor = max(0, place - 64)
    local = _LOCAL_PART.search(text, floor, place) or _HAN_PART.search(text, floor, place)
    if (
        local is None
        or _COPIED.match(text, domain.end())
        or (local[0] in _FORGE and text[domain.end() : domain.end() + 1] == ":")
    ):
        return
    if re.search(r"://[^\s/]{0,140}$", text[max(0, local.start() - 150) : local.start()]):
        return  # who logs in at a host
    yield Span(local.start(), domain.end(), "EMAIL")


# -- where values begin

_PLATES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SAYS = r"""["'`]?\s{0,3}(?:[:=#(]|is|was|是|为){0,2}\s{0,3}["'`]?"""
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
_WORD = r"(?<![0-9A-Za-z])"
_NO_PLAIN = r"(?!(?!my|na|m[rs]|re|ca|ac|co|xo)[a-z]{2,15}[ ,\n])"  # most words begin nothing: a quick look
_EXTENSION = r"(?:[ ,]{0,2}(?:x|#|ext(?:ension)?\.?|转(?:分机)?|分机)[ :.]{0,2}\d{1,6})?"

_APART = r"(?<![0-9A-Za-z+])(?<!\d[-./])(?<![0-9A-Fa-f]-)"
_ONES = r"(?!(?<=\d[ ().-])\(?\d[ ).-])(?<!\d\)\()"  # in a row of single digits a value begins with the first
_HEXES = (
    r"(?:[0-9A-Fa-f]{1,4}:){3}|(?:[0-9A-Fa-f]{1,4}:){1,7}:|(?:[0-9A-Fa-f]{2}-){5}|::[0-9A-Fa-f]{1,4}:"
    r"|[0-9A-Fa-f]{4}[.-][0-9A-Fa-f]{4}[.-][0-9A-Fa-f]{4}|[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
)
_NO_REST = r"(?:(?<![0-9A-Fa-f]:)|(?<=(?i:mac):))"  # of a fingerprint
_HEX = (
    ("MAC", _NO_REST + r"(?:[0-9A-Fa-f]{2}(?P<mac>[:-]))(?:[0-9A-Fa-f]{2}(?P=mac)){4}[0-9A-Fa-f]{2}(?![0-9A-Za-z:-])"),
    ("MAC", r"[0-9A-Fa-f]{4}(?P<mac>[.-])[0-9A-Fa-f]{4}(?P=mac)[0-9A-Fa-f]{4}(?![0-9A-Za-z]|[.:-][0-9A-Fa-f])",
     _grouped_mac),
    ("IP", _NO_REST + r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4})(?![\w:])", _ip),
    ("MAC", r"[0-9A-Fa-f]{12}(?![0-9A-Za-z])", lambda value, match: len(value) * bool(
        _MAC_CUE.search(match.string, max(0, match.start() - 32), match.start()))),
)  # fmt: skip
_COMPANY = (
    "USCC",
    rf"[1-9ANYany]{_GAP}[1-9](?:{_GAP}\d){{6}}(?:{_GAP}[0-9A-HJ-NPQRTUWXYa-hj-npqrtuwxy]){{10}}{_END}",
    _uscc,
)
_BAR = "(?: ?[/_|,:-] ?| {2,3})"
_CODE = (
    r"(?!(?:19|20)\d\d-\d\d-)(?=[^\s,;]{0,24}\d)"
    r"(?:\d{4} \d{4}|[0-9A-Za-z]{2,16}(?:-[0-9A-Za-z]{2,12}){1,8}|[0-9A-Za-z]{8,32})"
)
_OF_SEED = "|".join(f"(?<={word}[ _-])" for word in ("seed", "secret", "backup", "wallet", "recovery", "mnemonic"))
_NTH = r"(?:\d{1,2}[.):]? ?)?"  # wallets number the words
_AREA = r"(?:10|2\d|[3-9]\d\d)"
_RULES_OF: dict[str, tuple[Any, ...]] = {
    "digit": (
        ("PHONE", rf"(?:\(?\+86\)?[ .-]?|0086[ .-]?|86[ -]?)?\(?1[3-9]\d\)?{_GAP}\d{{4}}{_GAP}\d{{4}}{_END}", _mobile),
        ("CNID", rf"[1-8](?:{_GAP}\d){{16}}{_GAP}[\dXx]{_END}", _cnid),
        ("CARD", rf"(?=\d{{4}})\d(?:{_GAP}\d){{11,22}}{_END}", _card),
        ("CARD", rf"\d{{4}}{_BAR}\d{{4,6}}{_BAR}\d{{4,5}}(?:{_BAR}\d{{1,7}})?{_END}", _barred_card),
        _COMPANY,
        ("CNID", rf"[1-8]\d{{7}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}{_END}", _old_cnid),
        ("SSN", rf"(?<!\d )\d{{3}}(?P<ssn>[ .-]?)\d\d(?P=ssn)\d{{4}}{_END}", _ssn),
        ("IP", rf"\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_END}", _ip),
        ("PHONE", rf"(?:(?:\(?\+86\)?[ .-]?|0086[ .-]?|86-)\(?0?{_AREA}\)?|0{_AREA}|\(0{_AREA}\))"
         rf"[ .-]?[2-8]\d{{2,3}}[ .-]?\d{{4}}(?:-\d{{1,6}}|{_EXTENSION}){_END}", _landline),
        ("PHONE", rf"(?:\+?1[ .-]?|001[ .-])?(?:\(\d{{3}}\)[ -]?|\d{{3}}[ .-])\d{{3}}[ .-]?\d{{4}}{_EXTENSION}{_END}",
         _american),
        ("PHONE", rf"(?:\+|00)[1-9]\d{{0,3}}(?:[ .-]?\(0?\d{{0,4}}\))?(?:[ .\-/]?\d){{5,14}}{_END}", _international),
        *_HEX,
        ("PHONE", r"[+(]?\d[\d ().\-/]{4,26}", _local),
    ),
    "hex": _HEX,
    "company": (_COMPANY,),
    "iban": (("IBAN", r"[A-Za-z]{2}\d\d(?:[ .-]?[0-9A-Za-z]){11,30}", _iban),),
    "issued": tuple(("KEY", form) for form in ISSUED),
    "pem": (("KEY", r"(?i:-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)(?:[^-]|-(?!----)){0,16384}+"
             r"(?i:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?"),),
    "url": (("KEY", r"://[^\s:/@]{0,64}:(?P<v>[^\s/]{3,128})@", _userinfo),
            ("KEY", r"://(?P<v>[\w-]{20,200}+)@", lambda value, match: len(value) * drawn(value))),
    "hook": (("KEY", r"(?<!@/)hook[\w.-]{0,60}/(?:[\w.-]{1,19}[/=?]){0,5}(?P<v>[\w./@-]{20,300}+)", _webhook),),
    "phrase": ((
        "KEY", rf"(?i:(?:{_OF_SEED})(?:phrase|words)|mnemonic|助记词){_SAYS}"
        rf"(?P<v>(?:{_NTH}[a-z]{{3,8}},?\s{{1,3}}){{11,23}}{_NTH}[a-z]{{3,8}})(?![a-z])"),),
    "codes": ((
        "KEY", rf"(?i:(?:recovery|backup)[ _-]?(?:codes?|keys?)|(?:恢复|备用)(?:验证|代)?码){_SAYS}[\[\"'\s*-]{{0,8}}"
        rf"(?P<v>{_CODE}(?:[\s,;\"'*-]{{1,8}}(?:\d{{1,2}}[.)] )?{_CODE}){{0,20}})(?![0-9A-Za-z])"),),
    "pin": ((
        "KEY", r"(?:(?i:(?<![a-z])pin)|(?<=[a-z])Pin)(?![a-zA-Z])"
        r"(?:(?i:[ _-]?(?:number|no\.?|nr\.?))?[码号]?[\"']?\s{0,2}(?:[:=(]|(?:is|was|ist|est?)\s|[是为])"
        r"|(?<=PIN)(?= \d{4}\D)| (?i:code)[: ](?=.?\d{4}(?!\d)))"
        rf"\s{{0,2}}[\"']?(?P<v>\d{{4,8}}){_END}", _pin),),
    "digest": (("KEY", r"(?i:response=)[\"']?(?P<v>[0-9a-f]{32,128})(?![0-9A-Za-z])", _digest),),
    "plate": ((
        "PLATE", r"(?=.{2,9}?\d).(?i:[A-Z])[·\-. ]{0,2}(?i:[A-HJK]·?[0-9A-HJ-NP-Z]\d{4}|\d{5}[A-HJK]"
        r"|[0-9A-HJ-NP-Z]{4}[0-9A-HJ-NP-Z挂学警港澳领])(?![0-9A-Za-z])"),),
    "passport": ((
        "PASSPORT", r"(?i:passport|护照)[\s_\"'.:{(-]{0,6}(?i:no|nr|num(?:ber)?|id|#|号码?|编号)?\.?" + _SAYS +
        r"(?P<v>[A-Za-z]{0,3}[ -]?\d(?:[ -]?\d){4,8}[A-Za-z]?|[A-Za-z0-9]{8,9})(?![0-9A-Za-z])", _passport),),
    "born": ((
        "BIRTH", rf"(?:(?i:{_BORN})|出生(?:日期|年月日?)?|生日|生于)(?: on)?{_SAYS}(?P<v>{_DAY})(?!\d)"),),
    "name": (("NAME", rf"(?:{_CALLED})[.,:]?\s{{1,3}}{_NAME}"),),
    "named": (("NAME", rf"(?:{_NAMED})[:是为]? ?(?P<v>[{_SURNAMES}][一-鿿]{{1,3}})", _chinese_name),),
    "titled": (("NAME", f"(?P<v>.[一-鿿]{{0,3}}?)(?:{_TITLES})"),),
}  # fmt: skip
"""What is tried where a value may begin: a kind, a pattern whose group `v` (or all of it) is the value, and a check."""


def _rule(kind: str, pattern: str, check: Check = lambda value, match: len(value)) -> tuple[str, Any, str | int, Check]:
    compiled = re.compile(pattern, re.NOFLAG if kind == "NAME" else re.ASCII)
    return kind, compiled.match, "v" if "v" in compiled.groupindex else 0, check


_RULES = {name: tuple(_rule(*each) for each in rules) for name, rules in _RULES_OF.items()}
_CUED_ONLY = _RULES["digit"][-1:]
_BACK_TO_BACK = (r"\d{3}([ .-]?)\d\d\1\d{4}(?!\d)", "(?:[0-9A-Fa-f]{2}[:-]){5}", "[0-9A-Fa-f]{4}[.-][0-9A-Fa-f]{4}[.-]")
_FORMS = (*(form for _, form, *_ in _RULES_OF["digit"][:-1] if "(?P<" not in form), *_BACK_TO_BACK)
_SHAPED = re.compile("|".join(f"(?:{form})" for form in _FORMS), re.ASCII).match
"""Whether a number has the form of anything but of one that only a cue tells: one look in place of a dozen."""

Find = Callable[[str, str, int], Iterable[Span]]
"""Finds the values that begin at a place of a folded text, which is given in lower case too."""


def _tried(name: str) -> Find:
    rules = _RULES[name]

    def find(text: str, lower: str, place: int) -> Iterator[Span]:
        for kind, rule, group, check in rules if name != "digit" or _SHAPED(text, place) else _CUED_ONLY:
            match = rule(text, place)
            if match is not None and (length := check(match[group], match)):
                yield Span(match.start(group), match.start(group) + length, kind)
                return

    return find


def _formed(text: str, lower: str, place: int) -> Iterator[Span]:
    found = formed(text, place)
    if found is not None:
        yield Span(*found, "KEY")


def _hashed(text: str, lower: str, place: int) -> Iterator[Span]:
    found = hashed(text, place)
    if found is not None:
        yield Span(*found, "KEY")


def _said(text: str, lower: str, place: int) -> Iterator[Span]:
    return (Span(*found, "KEY") for found in said(text, lower, place))


def _seen(first: str, seen: str) -> re.Pattern[str]:
    """What is seen of a value from its first character on, which rules most places out."""
    return re.compile(f"{first}(?<=(?={seen}).)", re.ASCII)


_ISSUED = _seen("[A-Za-z]", rf"{_WORD}(?:{ISSUED_SEEN})")
_issued, _hex = _tried("issued"), _tried("hex")
_OF_WORDS = (_tried("iban"), _tried("company"), _tried("hex"), _issued, _formed, _tried("name"))


def _worded(text: str, lower: str, place: int) -> Iterator[Span]:
    """What begins with a letter: the first that is found."""
    before = text[place - 1 : place]
    for find in _OF_WORDS:
        if find is not _formed or not (before == "-" or before == "_"):
            for span in find(text, lower, place):
                yield span
                return


def _scope(text: str, lower: str, place: int) -> Iterable[Span]:
    """An address that begins with `::`, and no scope (`a::b`)."""
    return () if re.match(r"[\w.:]", text[max(0, place - 1) : place]) else _hex(text, lower, place)


_PGPASS = re.compile(
    r"[\w.*/@-]{1,120}:(?:\d{2,5}|\*):(?!\d+:)[^:\s]{1,64}:[^:\s]{1,64}:(?P<v>(?:[^\s:\\\"'`]|\\.){3,128})(?![^\s\"'`])"
)


def _pgpass(text: str, lower: str, place: int) -> Iterator[Span]:
    """The last of the five fields of a line of PostgreSQL's passwords."""
    before = text[max(0, place - 120) : place]
    match = _PGPASS.match(text, place - len(before) + max(map(before.rfind, "\n \t\"'`")) + 1)
    if match:
        yield Span(*match.span("v"), "KEY")


def _terraform(text: str, lower: str, place: int) -> Iterator[Span]:
    match = re.compile(r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{50,80}").match(text, max(0, place - 14))
    if match:
        yield Span(match.start(), match.end(), "KEY")


_AS_WRITTEN: tuple[tuple[re.Pattern[str], Find], ...] = (
    (_seen("[+(0-9]", rf"{_APART}{_ONES}(?=[+(]{{0,2}}(?:\d[ ().·\-/_|]{{0,3}}){{5}}\d|\d{{1,3}}(?:\.\d{{1,3}}){{3}}"
                      rf"|\d{{4}}[,:] ?\d{{4,6}}[,:] ?\d{{4}}"
                      rf"|{_HEXES})"
           r"(?!(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?(?!\d))"), _tried("digit")),
    (_seen("[A-Za-z]", rf"{_WORD}{_NO_PLAIN}"
           r"(?:[A-Za-z]{2}\d\d[ .-]?[0-9A-Za-z]{2}|[ANYany][ -]?[1-9](?:[ -]?\d){6}"
           rf"|(?<![\w.]){_NO_REST}(?<![0-9A-Fa-f]-)(?=[A-Fa-f])(?:{_HEXES})|{ISSUED_SEEN}"
           rf"|(?<![\w-])[\w-]{{16}}|(?=[MmNnDPSRAaCc])(?:{_CALLED})[.,:\s])"), _worded),
    (_seen("[0-9]", r"(?<![\w-])[\w-]{16}"), _formed), (_seen("[${]", HASHED_SEEN), _hashed),
)  # fmt: skip
_AS_WRITTEN_IN_CHINESE: tuple[tuple[re.Pattern[str], Find], ...] = (
    (_seen(f"[{_PLATES}]", ".[A-Za-z]"), _tried("plate")),
    (_seen("[姓我名联收寄代患户持申投被负签]", f"(?:{_NAMED})"), _tried("named")),
    (_seen(f"[{_SURNAMES}]", f".[一-鿿]{{0,3}}(?:{_TITLES})"), _tried("titled")),
)
_BY_WORD: tuple[tuple[str, Find], ...] = (
    ("@", _mail), ("-----begin ", _tried("pem")), ("://", _tried("url")), ("::", _scope), (".atlasv1.", _terraform),
    ("hook", _tried("hook")), *((word, _tried("phrase")) for word in ("phrase", "words", "mnemonic", "助记词")),
    *((word, _tried("passport")) for word in ("passport", "护照")),
    *((word, _tried("born")) for word in ("born", "birth", "dob", "出生", "生日", "生于")),
    *((word, _tried("codes")) for word in ("recovery", "backup", "恢复", "备用")),
    ("pin", _tried("pin")), ("response=", _tried("digest")), *((word, _pgpass) for word in (":5432:", ":*:")),
    *((word, _said) for word in FIELDS),
)  # fmt: skip
_ALWAYS = frozenset({_mail, _said, _worded})
"""What looks also within a value that was found."""
_AHEAD = 512  # characters that may be looked at from the last place of a stretch
AT_ONCE = 64  # places that are tried before others may have their turn


def _lowered(text: str) -> str:
    """A text in lower case, a letter for a letter."""
    if text.isascii():
        return text.lower()
    pieces = (text[begin : begin + STRETCH] for begin in range(0, len(text), STRETCH))
    return "".join(low if len(low := piece.lower()) == len(piece) else piece for piece in pieces)


_FINDS = tuple(find for _, find in (*_AS_WRITTEN, *_AS_WRITTEN_IN_CHINESE, *_BY_WORD))
_FIRST_WORD = len(_FINDS) - len(_BY_WORD)
_ORDER = 256  # more than there are of them


def _starts(text: str, lower: str, begin: int) -> list[int]:
    """Where values may begin within a stretch, in order: each place times _ORDER, and the number of what finds them."""
    end, found = begin + STRETCH, list[int]()
    for number, (pattern, _) in enumerate(_AS_WRITTEN if text.isascii() else _AS_WRITTEN + _AS_WRITTEN_IN_CHINESE):
        for match in pattern.finditer(text, begin, end + _AHEAD):
            if match.start() >= end:
                break
            found.append(match.start() * _ORDER + number)
    for number, (word, _) in enumerate(_BY_WORD, _FIRST_WORD):
        place = lower.find(word, begin, end + len(word))
        while 0 <= place < end:
            found.append(place * _ORDER + number)
            place = lower.find(word, place + 1, end + len(word))
    found.sort()
    return found


def _candidates(text: str, between: Callable[[int], object]) -> Iterator[Span]:
    lower, done = _lowered(text), 0
    for begin in range(0, len(text), STRETCH):
        starts = _starts(text, lower, begin)
        for first in range(0, len(starts) or 1, AT_ONCE):
            tried = starts[first : first + AT_ONCE]
            between(len(tried))
            for start in tried:
                place, number = divmod(start, _ORDER)
                find = _FINDS[number]
                if place >= done or find in _ALWAYS:
                    for span in find(text, lower, place):
                        done = max(done, span.end)
                        yield span


def recognise(text: str, between: Callable[[int], object] = int) -> list[Span]:
    """The values in a text, in order and apart from each other.

    `between` is called again and again meanwhile, with the number of places that are tried next, AT_ONCE at most. They
    are what takes time, up to 30 millionths of a second each; a character without takes less than one.
    """
    folded = fold(text)
    return apart(_back(folded, span) for span in _candidates(folded.text, between))


def _back(folded: Folded, span: Span) -> Span:
    return Span(folded.back(span.start), folded.back(span.end), span.kind) if folded.cuts else span


def keys(text: str) -> bool:
    """Whether a text holds a secret key that is one by its form alone, as cloud services and forges make them."""
    pem = _tried("pem")
    places = (start.start() for start in matches(_ISSUED, text))
    return any(any(_issued(text, "", place)) for place in places) or any(
        any(pem(text, "", match.start())) for match in re.finditer("-----BEGIN ", text)
    )


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
