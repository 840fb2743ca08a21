"""Words that somebody trusted wrote, and whether a value stands in them as it is: whole, by its kind, not forbidden.

A mail, a URL, a path, a number and a name are each compared in their own way: what may differ is the case of mails,
hosts and names, the number of blanks in a name, zeros behind a point (three may be those of a thousand), `https://` and
a last `/`. Whatever else a normal form would change (full-width and ligature letters, the Kelvin sign, a line's end for
a space) is another value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal

from .denials import Denials
from .links import addresses
from .records import Json, Meaning
from .values import written

Kind = Literal["name", "number", "mail", "url", "path", "exact"]

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_ODD = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # no text has them
_BLANKS = re.compile(r"[ \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_MAIL = re.compile(r"[^\s@/:<>,;]+@[^\s@/:<>,;]+\.[^\s@/:<>,;]+")
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}:[/\\]{2}|www\.|[\w-]+(?:\.[\w-]+)+[/?#]", re.I)
_WEB = re.compile(r"(https?)://", re.I)
_TAIL = re.compile(r"[/?#\\]")
_GOES_ON = re.compile(
    r"\s*(?:[|&=+%^]|<(?!/)|>|-\w|(?<=\s)[*/]\S|(?i:where|having|limit|offset|(?:order|group)\s+by|using|union|intersect"
    r"|except|returning|values|like|between|(?:left|right|inner|outer|cross|natural|full)?\s*join)\b"
    r"|(?:AND|OR|NOT|FROM|IN|AS|ON|IS|TO|INTO|SET|FOR|WITH)\b)"
)
_BEGUN = re.compile(r"(?:(?i:\bexplain(?:\s+query\s+plan)?|\becho)\s|[|&=+])\s*$")
"""What code goes on with, and what it has begun with: `DELETE FROM a` is not `DELETE FROM a WHERE b = 1`."""
_PARTED = re.compile(r"[ \t]*(?:[;\n]|$)")  # what parts commands
_SPAN = 20_000  # characters before code, in which the backtick that it stands in is looked for
_LONG = 4_000  # characters of a value beyond which its likenesses are not looked for
_TRIES = 5_000  # places at which a value is looked at: one that stands in so many longer ones is not found

# what joins words to a longer address, before a value and after it
_BEFORE: dict[Kind, str] = {
    "name": ".-+@/\\&'’‐‑‒\xad・·‧", "number": ".-+@/\\'’‐‑‒–#", "mail": ".-+/=!#$%&*^~'’@`{?",
    "url": ".-+@/\\=&%~#?;$!*", "path": ".-+@/\\=%&#$:}{?]",
}  # fmt: skip
_AFTER = _BEFORE | {"mail": ".-+@/:%", "url": ".-+@/\\=&%~#?;:$!*(", "path": ".-+@/\\=%&#$:}{(?['\"”’"}
_FAR = 50  # of them in a row
_SEEN = 24  # characters around a value that say whether it is a part of something
_POINT = re.compile(r"(?:^|[^\w.])\.$")  # before the 50 of .50
_GROUP = 3  # digits of a thousand
_PADDED = re.compile(r"(?<![\w.])(?!\d{1,3}\.\d{3}(?!\d))(\d+)(?:\.0+|(\.\d*[1-9])0+)(?!\w|\.\w)")
_PARTING = ';|()[]{}<>"，、；：。！？（）「」'  # signs that part two numbers; between digits, others make one of them
_GENITIVE: dict[Kind, re.Pattern[str]] = {"name": re.compile(r"['’]s?(?!\w)"), "path": re.compile(r"['’]s(?!\w)")}
_SCHEMES = 8  # characters of `https://`

_CODE = re.compile(r"(?=[^\W_]*\d)[^\W_]+")
_JOINED_CODE = re.compile(  # `12-34-56`; a decimal is none, nor is a day with its year
    r"(?![^.]*\.[^.]*$|\d{4}[-/.]\d\d?(?:[-/.]\d\d?)?$|\d\d?[-/.]\d\d?[-/.]\d{4}$)"
    r"[^\W_]*\d[^\W_]*(?:[-./][^\W_]*\d[^\W_]*)+"
)
_CODE_BEFORE = re.compile(r"(?:^|(?<=[\s(+\[\"']))([^\s(+\[\"']{1,24})[ \xa0]$")
_CODE_AFTER = re.compile(r"[ \xa0]([^\s,;)]{1,24})")
_COUNTRY = re.compile(r"[a-z]{2}", re.I)
_IBAN = re.compile(r"\d\d \d{4}\b")
_IBAN_BEGINS = re.compile(r"(?<!\w)[a-z]{2}\d\d(?:[ ][a-z0-9]{4})*", re.I)
_IBAN_BEFORE = re.compile(r"(?<!\w)[a-z]{2}\d\d[ ](?:[a-z0-9]{4}[ ])*$", re.I)
_IBAN_GOES_ON = re.compile(r"(?:[a-z]{4} )?[a-z0-9]*\d", re.I)
_IBAN_AFTER = re.compile(r"[ ][a-z0-9]{0,3}\d", re.I)
_LONGEST_IBAN = 48  # characters, in groups
_AREA = re.compile(r"\(\+?\d{1,6}\)[ \xa0-]?$")
_THOUSANDS = re.compile(r"(?<!\w)\d{1,3}[ \xa0\u2009\u202f]$")
_MORE = re.compile(
    r"[ \xa0\u2009\u202f]?(?:[kmb]|mn|mio|bn|hundred|thousand|million|billion|trillion|lakh|crore|dozen)s?\b"
    r"|[ \xa0\u202f]?(?:mrd|tsd|mil|mill(?:e|ones|ón|ionen?|iards?|iarden?)|tausend|hundert|cents?|ct|тыс\w{0,6}"
    r"|млн|млрд|миллион\w{0,3}|миллиард\w{0,3})\b|[ ]?¢"
    r"|[ \xa0]?(?:[%‰]|(?:per[ ]?cent|pct|prozent|процент\w{0,3})\b)|[ ]?[¼½¾⅓⅔]|[ ]\d/\d"
    r"|[ \xa0]?[十百千万萬亿億兆만억천백]|[ \xa0\u2009\u202f]\d{3}(?!\w)",
    re.I,
)

# a path in quotes is all that they hold, unless that reads as what somebody does
_QUOTES = {"'": "'", '"': '"', "`": "`", "‘": "’", "“": "”", "«": "»", "「": "」", "『": "』", "《": "》"}
_QUOTE_BEFORE = re.compile(r"(?:^|(?<=[\s(\[{:=,\u3000-\u9fff]))([\"'`‘“«「『《])([^\n\"'`‘’“”«»「」『』《》]{0,80})$")
_QUOTE_AFTER = re.compile(r"([^\n\"`“”«»「」『』《》]{0,80}?)(?<!\s)([\"'`’”»」』》])(?!\w)")
_DOES = re.compile(
    r"(?:please|then|and|now|he|she|they|i|we|you|it|this|see|cat|ls|cd|cp|mv|rm|sh|bash|python3?|node|make|git|vi|nano"
    r"|less|more|head|tail|grep|sort|wc|touch|mkdir|open|read|write|edit|delete|remove|send|save|copy|move|rename|show"
    r"|print|run|use|add|put|look|find|get|load|list|summari[sz]e)\s|\S+\.\w+(?:,|[ ]and|[ ]or)\s",
    re.I,
)
_LONGEST_NAME = 5  # words; what is longer is a sentence
_NEAR = 90  # characters

# a path that is put together, and of which one choice is none: `{a,b}.txt`, `(a|b).txt`, `x/{a,b}`, `!(a)`
_CHOICE = re.compile(r"(?:(?<=[\w./\\-])\{|(?<=[!@+*?])\()[^\s(){}]*$")
_CHOICE_BEFORE = re.compile(r"(?:(?<!\w)\(|[\[{<])[^\n\[\](){}<>]*$")
_CHOICE_AFTER = re.compile(r"[^\n\[\](){}<>]*[\])}>](?:[\w/\\]|[.*?-]+\w)")

# scripts without blanks between words: a value ends there at words that are no part of names
_UNSPACED = re.compile(
    "[\u2e80-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_TO = "给給对對跟和与與向及为為把将將由让讓叫同"
_WORD_BEFORE = re.compile(
    rf"(?<![{_TO}])[{_TO}]$|[请請的到至往或在从從是找问問]$|(?:告诉|通知|联系|邮件|回复|邀请|发送|转账|付款|收款人|用户|客户)$"
    r"|[をはにへとがの]$"
)
_WORD_AFTER = re.compile(
    r"[的和与與跟及或把被将將给給转轉付打寄还還说說讲講写寫买買退送看读讀删刪吗嗎吧呢啊了各是也都请請让讓问問收汇匯]"
    r"|[发發](?:邮|郵|送|信|消|訊|一|个|個|了|给|給|这|這|份|短|微|去|过)|先生|女士|小姐|老师|经理"
    r"|さん|様|さま|ちゃん|くん|殿|宛|氏|を|から|まで|[にへはがともやの](?![\u3040-\u309f])"
)
_SUM_AFTER = re.compile(
    r"\d{2}|\d+(?:\.\d+)?[ ]?(?:[元块塊圆円美欧英港日万千百个個份次张本%]|usd|cny|rmb|eur|gbp|jpy)", re.I
)
_NAME_OF_FILE_BEFORE = re.compile(
    r"[给給对對把将將和与與到至在从從于於为為叫是的件除开開写寫读讀看改建传傳发發送载載查存录錄名请請问問]$"
)
_NAME_OF_FILE_AFTER = re.compile(r"[里裡中内內改到复複移存上文保]")

# Korean words end in particles
_PARTICLES = re.compile(
    "(?:씨|님)?(에게서?|한테서?|께서?|에서?|으로|까지|부터|이?랑|하고|[을를와과가는])(?![\uac00-\ud7af])|(?:씨|님)(?![\uac00-\ud7af])"
)
_PARTICLES_OF_WHOLE_NAMES = re.compile("([은이도만의로])(?![\uac00-\ud7af])")
_WHOLE_NAME = re.compile("[\uac00-\ud7af]{3}$")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")


@cache
def _cases() -> dict[int, str]:
    """Capitals and their small letters, where each is the other's and no likeness of something else."""
    found = {}
    for code in (*range(0x41, 0x5B), *range(0xC0, 0x2000), *range(0x2C00, 0x2E00), *range(0xA640, 0xA800)):
        capital = chr(code)
        small = capital.lower()
        if small != capital and len(small) == 1 and small.upper() == capital and _clean(capital):
            found[code] = small
    return found


def folded(text: str) -> str:
    """A text in small letters, of the same length."""
    return text.lower() if text.isascii() else text.translate(_cases())


def _clean(value: str) -> bool:
    """Whether no normal form of Unicode changes a value."""
    return value.isascii() or (len(value) <= _LONG and unicodedata.is_normalized("NFKC", value))


def kind_of(value: str, meaning: Meaning | None = None, number: bool = False) -> Kind:
    """As what a value is compared: by what it means, or by its form."""
    if (number or meaning == "amount") and _NUMBER.fullmatch(value):
        return "number"
    if meaning == "code" or not _clean(value) or _CONTROLS.search(value):
        return "exact"
    if _MAIL.fullmatch(value):
        return "mail"
    if meaning == "path":
        return "path"
    if _URL.match(value) or meaning == "url":
        return "url"
    return "path" if ("/" in value or "\\" in value) and " " not in value else "name"


class _Form:
    """A text in one form, and the same in small letters, place by place."""

    __slots__ = ("_denials", "_small", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._small: str | None = None
        self._denials: Denials | None = None

    @property
    def small(self) -> str:
        if self._small is None:
            self._small = folded(self.text)
        return self._small

    def denied(self, at: int) -> bool:
        """Whether what stands at a place is forbidden there."""
        if self._denials is None:
            self._denials = Denials(self.text)
        return self._denials.at(at)


class Words:
    """A text in which values are looked for, in the forms that it takes, each made once."""

    __slots__ = ("_even", "_form", "_hosts")

    def __init__(self, text: Json) -> None:
        self._form = _Form(written(text))
        self._even: _Form | None = None
        self._hosts: frozenset[str] | None = None

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that are written here plainly, and not forbidden."""
        if self._hosts is None:
            found = (link for link in addresses(self._form.text) if not self._form.denied(link.start))
            self._hosts = frozenset(link.host for link in found if link.host)
        return self._hosts

    def stands(self, value: str, meaning: Meaning | None = None, number: bool = False) -> bool | None:
        """Whether a value stands here as it is; None: it does, and only where it is forbidden."""
        sink = meaning not in (None, "text", "code")
        if (_CONTROLS if sink else _ODD).search(value):
            return False
        kind = kind_of(value, meaning, number)
        if kind != "exact":
            value = value.strip(" ")
        if not any(map(str.isalnum, value)):
            return bool(value) and value in self._form.text.split()  # `/` and `.` stand in every text
        found: bool | None = False
        form = self._spaced() if kind in ("name", "number") else self._form
        for at in self._addresses(value) if kind == "url" else _places(value, form, kind):
            if meaning == "code" and _of_command(form.text, at, at + len(value)):
                continue
            if not form.denied(at):
                return True
            found = None
        return found

    def _spaced(self) -> _Form:
        """The text with one kind of blank, and numbers without needless zeros."""
        if self._even is None:
            even = _even(self._form.text)
            self._even = self._form if even == self._form.text else _Form(even)
        return self._even

    def _addresses(self, value: str) -> Iterator[int]:
        """Where a URL stands: the case of its host may differ, and no more. `http` is not what was `https`."""
        web = _WEB.match(value)
        rest = (value[web.end() :] if web else value).rstrip("/")
        tail = _TAIL.search(rest)
        host = tail.start() if tail else len(rest)
        if "@" in rest[:host] or (not web and "://" in rest):
            host = 0
        text, plain = self._form.small, web is not None and web[1].lower() == "http"
        for at in _found(folded(rest), text) if any(map(str.isalnum, rest)) else ():
            end = at + len(rest)
            if self._form.text[at + host : end] != rest[host:] or _part_after(text, end, "url"):
                continue
            before = text[max(at - _SCHEMES, 0) : at]
            scheme = next((each for each in ("https://", "http://") if before.endswith(each)), "")
            begins = at - len(scheme)
            if scheme:
                before = text[begins - 1 : begins] if begins else ""
                outside = not _word(before) or _UNSPACED.match(before) is not None
            else:
                outside = not before.endswith("://") and not _part_before(text, at, "url")
            if outside and not (plain and scheme == "https://"):
                yield at


def _places(value: str, form: _Form, kind: Kind) -> Iterator[int]:
    """Where a value stands whole."""
    if kind in ("path", "exact"):
        text, sought = form.text, (value.rstrip("/\\") or value) if kind == "path" else value
    else:
        text, sought = form.small, folded(value if kind == "mail" else _even(value))
    for at in _found(sought, text):
        if not _part(text, at, at + len(sought), "name" if kind == "exact" else kind):
            yield at


def _even(text: str) -> str:
    """A text with one kind of blank, and numbers without needless zeros."""
    even = _BLANKS.sub(" ", text)
    return _PADDED.sub(r"\1\2", even) if "." in even else even


def _found(value: str, text: str) -> Iterator[int]:
    """Where a value is found; given up where that, of one that overlaps itself, would take too long."""
    at, left = text.find(value), min(_TRIES, 8 * len(text) // max(1, len(value)) + 100)
    while at >= 0 and left > 0:
        yield at
        left -= 1
        at = text.find(value, at + 1)


# -- whether something goes on next to it


def _part(text: str, at: int, end: int, kind: Kind) -> bool:
    """Whether what stands there is part of a longer word, address, path, code or number."""
    if kind == "number" and _of_sum(text, at, end):
        return True
    if kind == "path" and (_of_quoted(text, at, end) or _of_choice(text, at, end)):
        return True
    return _part_before(text, at, kind) or _part_after(text, end, kind) or _of_code(text, at, end, kind)


def _of_quoted(text: str, at: int, end: int) -> bool:
    """Whether quotes hold more than a path, and all of it may be one: `'a b.txt'`; or a part of it: `"a"b.txt`."""
    if text[at - 1 : at] in ("'", '"', "`") and _word(text[at - 2 : at - 1]):
        return True
    opened = _QUOTE_BEFORE.search(text[max(at - _NEAR, 0) : at])
    closed = opened and _QUOTE_AFTER.match(text, end, end + _NEAR)
    if not opened or not closed or _QUOTES[opened[1]] != closed[2]:
        return False
    whole = opened[2] + text[at:end] + closed[1]
    more = opened[2] or closed[1].strip(" .,:;!?/\\")
    return bool(more) and whole[0] != " " and len(whole.split()) <= _LONGEST_NAME and not _DOES.match(whole)


def _of_choice(text: str, at: int, end: int) -> bool:
    """Whether a path is one choice of several, or a letter of some, and goes on outside of their brackets."""
    before = text[max(at - _NEAR, 0) : at]
    if _CHOICE.search(before):
        return True
    return _CHOICE_BEFORE.search(before) is not None and _CHOICE_AFTER.match(text, end, end + _NEAR) is not None


def _of_sum(text: str, at: int, end: int) -> bool:
    """Whether what stands around a number makes another of it: its sign, a share of a hundred, more digits."""
    if text.endswith(("-", "−", "%", "‰", "百分之"), 0, at) or _MORE.match(text, end):
        return True
    return _joined(text, at - 1) or _joined(text, end)


def _joined(text: str, place: int) -> bool:
    """Whether a sign makes one number of the digits around it: `50·5`, `50'000`, `50×10`."""
    sign = text[place : place + 1]
    if not (text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()):
        return False
    return not (sign.isspace() or sign.isalnum() or sign in _PARTING or unicodedata.category(sign) == "Sc")


def _part_before(text: str, at: int, kind: Kind) -> bool:
    before, first = text[max(at - _SEEN, 0) : at], text[at]
    if not before:
        return False
    if _UNSPACED.match(before[-1]):
        if kind == "path":
            return _letter(before[-1]) and not _NAME_OF_FILE_BEFORE.search(before)
        return bool(_UNSPACED.match(first)) and _letter(before[-1]) and not _WORD_BEFORE.search(before)
    if _HANGUL.match(before[-1]):
        return not first.isascii()
    if kind == "path" and before.endswith(("~", "~/", "../", "..\\", "\\ ")):
        return True
    if (kind == "name" and before.endswith("~/")) or (kind == "mail" and before.endswith("//")):
        return True
    if (first in "'’" and _word(before[-1])) or (kind == "number" and _POINT.search(before)):
        return True
    place = at - 1
    while place >= 0 and at - place <= _FAR and _joins(text, place, _BEFORE[kind]):
        place -= 1
    return place >= 0 and (at - place > _FAR or _word(text[place]) or (kind == "path" and text[place] in "~*"))


def _part_after(text: str, end: int, kind: Kind) -> bool:
    last, after = text[end - 1], text[end : end + 1]
    if not after:
        return False
    if _UNSPACED.match(after):
        if not _letter(after) or _WORD_AFTER.match(text, end):
            return False
        if _UNSPACED.match(last):
            return True
        return kind in ("path", "url") and not _NAME_OF_FILE_AFTER.match(after)
    if _HANGUL.match(after):
        return bool(_HANGUL.match(last)) and not _particle(text, end)
    if _UNSPACED.match(last) and _SUM_AFTER.match(text, end):
        return False  # 给张三50元
    if kind == "path" and text.startswith("\\ ", end):
        return True  # of `a\ b`
    if kind in _GENITIVE and _GENITIVE[kind].match(text, end):
        return False  # Ann's
    return _goes_on(text, end, kind)


def _goes_on(text: str, end: int, kind: Kind) -> bool:
    """Whether a word follows, past what joins words."""
    place = end
    while place < len(text) and place - end < _FAR and _joins(text, place, _AFTER[kind]):
        place += 1
    if place == len(text):
        return False
    if kind == "mail" and text[place - 1] == ":" and place > end:
        return text[place].isdigit()
    return place - end >= _FAR or _word(text[place]) or (kind == "path" and text[place] in "~*")


def _joins(text: str, place: int, joints: str) -> bool:
    """Whether words may go on behind the character at a place: `.` of a host, a comma or colon between digits."""
    each = text[place]
    if each in ",:" and each not in joints:
        return text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()
    return each in joints or (not each.isascii() and unicodedata.category(each) == "Cf")


def _of_code(text: str, at: int, end: int, kind: Kind) -> bool:
    """Whether a number or a code goes on in groups: `DE89 3704 0044`, `+49 (30) 1234`, `1 000 000`."""
    before = text[max(at - _SEEN, 0) : at]
    if kind == "number":
        return text[at].isdigit() and end - at >= _GROUP and _THOUSANDS.search(before) is not None
    if kind not in ("name", "path"):
        return False
    if _of_iban(text, at, end):
        return True
    return _code_before(text[at : min(end, at + _SEEN)], before) or (
        kind == "name" and _code_after(text[max(at, end - _SEEN) : end], text[end : end + _SEEN])
    )


def _of_command(text: str, at: int, end: int) -> bool:
    """Whether code goes on before or after it; between backticks, unless it is all of them, or of its lines."""
    before = text[max(0, at - _SPAN) : at]
    if _GOES_ON.match(text, end) or _BEGUN.search(before[-_SEEN:]):
        return True
    if before.count("`") % 2 == 0:
        return False
    begun = before[before.rfind("`") + 1 :]
    closes = text.find("`", end)
    after = _PARTED.match(text, end, closes if closes >= 0 else len(text))
    whole = not begun.strip(" ") or begun.endswith("\n") or begun.rstrip(" ").endswith(";")
    return after is None or not whole


def _of_iban(text: str, at: int, end: int) -> bool:
    """Whether an IBAN in groups goes on, with letters in one: `GB29 NWBK 6016`."""
    if _IBAN_GOES_ON.match(text, at, end) and _IBAN_BEFORE.search(text, max(at - _LONGEST_IBAN, 0), at):
        return True
    whole = end - at <= _LONGEST_IBAN and _IBAN_BEGINS.fullmatch(text, at, end)
    return bool(whole) and _IBAN_AFTER.match(text, end) is not None


def _code_before(value: str, before: str) -> bool:
    """Whether the code that a value begins with begins before it."""
    if not _CODE.match(value):
        return False
    if value[0].isdigit() and _AREA.search(before):
        return True
    found = _CODE_BEFORE.search(before)
    if found is None:
        return False
    if _COUNTRY.fullmatch(found[1]):
        return _IBAN.match(value) is not None
    if _JOINED_CODE.fullmatch(found[1]):
        return True
    return _CODE.fullmatch(found[1]) is not None and not (value[0].isalpha() and found[1].isdigit())


def _code_after(value: str, after: str) -> bool:
    """Whether the code that a value ends with ends after it."""
    last, found = value.rpartition(" ")[2], _CODE_AFTER.match(after)
    joined = _JOINED_CODE.fullmatch(last) is not None
    if found is None or not (joined or _CODE.fullmatch(last)):
        return False
    group = found[1].rstrip(".:!?")
    if joined and len(group) < _GROUP:
        return False
    if _JOINED_CODE.fullmatch(group):
        return True
    return _CODE.fullmatch(group) is not None and (last[0].isdigit() or group[0].isdigit())


def _particle(text: str, end: int) -> bool:
    """Whether what follows a Korean word belongs to the sentence: only a name of three syllables is surely whole."""
    if found := _PARTICLES.match(text, end):
        polite = text[end] in "씨님"
        return polite or found[1] is None or _fits(text[end - 1], found[1])
    found = _PARTICLES_OF_WHOLE_NAMES.match(text, end)
    return found is not None and bool(_WHOLE_NAME.search(text, max(end - 3, 0), end)) and _fits(text[end - 1], found[1])


def _fits(syllable: str, particle: str) -> bool:
    """Whether a particle goes with how the syllable before it ends."""
    closed = (ord(syllable) - 0xAC00) % 28 != 0
    return particle[0] not in ("을과은" if not closed else "를와가는") or len(particle) > 1


def _letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _word(character: str) -> bool:
    """Whether words go on here."""
    if not character or character.isascii():
        return character.isalnum() or character == "_"
    return _letter(character)
