"""Links in a text, however they are spelt: where a click, a call or a mail would lead that a reader of it makes.

`plainly` takes back what programs and people read as plain (entities, percent, escapes, full-width and invisible
characters, `evil[.]example`), and `addresses` finds what leads somewhere in what is left. Both take a time that grows
with the length of a text.
"""

from __future__ import annotations

import binascii
import html
import re
import unicodedata
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

from .domains import ENDINGS, FILES, FILES_AND_ENDINGS


@dataclass(frozen=True, slots=True)
class Link:
    """Something that leads somewhere: by a `host`, by a mail `address`, or, with neither, as a whole."""

    text: str
    start: int
    host: str = ""
    address: str = ""


def found(text: str) -> list[Link]:
    """The links in a text, each once, however they are spelt."""
    plain = plainly(text)
    read = [*addresses(plain), *addresses(plainly("\n".join(_decoded(plain))))]
    if (bare := _FORMAT.sub("", plain)) != plain:
        read += addresses(bare)
    if plain != text:  # what is taken back as plain may hide where a browser sees a host end
        read += addresses(_INVISIBLE.sub("", text))
    each_once: dict[tuple[str, str, str], Link] = {}
    for each in read:
        each_once.setdefault((each.text, each.host, each.address), each)
    return list(each_once.values())


_FORMAT = re.compile(  # within a word, as it is shown: `evil.<b>example</b>`, `ev**il.exa**mple`
    r"(?:(?<=[\w.-])(?:[*`]{1,3}|~~)(?=[\w.-])|<!--(?:[^-]|-(?!->)){0,200}-->"
    r"|</?(?:a|b|i|u|s|em|strong|span|font|small|sub|sup|mark|code|wbr|bdi|bdo|ins|del)(?:\s[^<>]{0,500})?/?>)",
    re.I,
)


# -- plain text

_ROUNDS = 3  # `&amp;#46;` and `%252E` take two
_ENTITY = re.compile(r"&(?:#(?:0{0,9}\d{1,7}|[xX]0{0,9}[0-9a-fA-F]{1,6})|[A-Za-z][A-Za-z0-9]{1,31});?")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ESCAPE = re.compile(r"\\(?:(?:u00|x|u\{0{0,4})([2-7][0-9a-fA-F])\}?|([./:@?#_-]))")
_QUOTED = re.compile(r"(?<=\w)=(2E|40|3A|2F)(?=[\w/=])")  # as mails are sent
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
_BRACKET = re.compile(
    r"[ ]?[\[({<]{1,2}[ ]?(?:(\.|dot|punkt|point|punto|点|點)|@|at|ät|arroba)[ ]?[\])}>]{1,2}[ ]?", re.I
)
_SAID = re.compile(
    r"(?<=\w)[ ]?['\"*|_«“‘【]{1,2}[ ]?(?:(dot|punkt|point|punto|点|點)|at|ät|arroba)[ ]?['\"*|_»”’】]{1,2}[ ]?(?=\w)",
    re.I,
)
_HALF = re.compile(r"(?<=\w)(?:\[\.|\.\])(?=[^\W\d])")  # evil[.example
_BRACKETED = re.compile(r"[\[({<](:|//?|://)[\])}>]")
_SPELT = re.compile(
    r"(?<=\w) (?:dot|punkt|punto) (?=(?:com|org|net|info|biz|io|dev|app|xyz|example|test|[a-z]{2}(?=[/?:]))\b)", re.I
)
_SPELT_OUT = re.compile(r" (?:dot|punkt|punto) ", re.I)
_POINT = re.compile(
    r"(?<=[a-z0-9])(?:[ ]?[点點][ ]?| point )(?=(?:com|cn|net|org|info|top|vip|xyz|io|cc|app|shop|site)(?![a-z0-9]))",
    re.I,
)
_APART = re.compile(r"(?<=\w) @ (?=[\w-]{1,63}\.[\w-])")
_SPELT_AT = re.compile(r"(?<=\w) at (?=[\w-]{1,63} (?:dot|punkt|punto) )", re.I)
_SCHEMES = re.compile(r"\b(?:h(?:tt|xx|\*\*|__)p(s?)|f[tx*]p)(?:[ ]{0,2}:[ ]{0,2}(?=[/\\]{2})|:(?=\w))", re.I)
_IDEOGRAPHIC = re.compile(r"(?<=[A-Za-z0-9-])[。｡·•‧∙⋅・･](?=[A-Za-z0-9-])")
_LIKE = str.maketrans({
    "⁄": "/", "∕": "/", "⧸": "/", "╱": "/", "〳": "/", "∖": "\\", "⧵": "\\", "∶": ":", "꞉": ":",
    "‐": "-", "‑": "-", "‒": "-", "−": "-", "﹣": "-",
})  # fmt: skip


class _Compatible(dict[int, str]):
    """The plain form of each character, by itself: so no run of marks takes longer than others."""

    def __missing__(self, code: int) -> str:
        if len(self) > _KEPT:
            self.clear()
        each = chr(code)
        plain = each if each in "。｡" else unicodedata.normalize("NFKC", each)
        self[code] = plain = plain if len(plain) <= _LONGEST else each
        return plain


_KEPT = 20_000
_LONGEST = 4  # letters in one: `℡`; whole sentences are left as they are
_COMPATIBLE = _Compatible()


def plainly(text: str) -> str:
    """A text as programs and people read it that look for links."""
    for _ in range(_ROUNDS):
        before = text
        if "&" in text:
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        if "%" in text:
            text = _PERCENT.sub(lambda match: unquote(match[0], errors="replace"), text)
        if "\\" in text:
            text = _ESCAPE.sub(lambda match: match[2] or chr(int(match[1], 16)), text)
        if "=" in text:
            text = _QUOTED.sub(lambda match: chr(int(match[1], 16)), text)
        if not text.isascii():
            text = _INVISIBLE.sub("", text).translate(_COMPATIBLE).translate(_LIKE)
            text = _IDEOGRAPHIC.sub(".", text)
        elif not text.isprintable():
            text = _INVISIBLE.sub("", text)
        if text == before:
            break
    return _joined(text)


def _joined(text: str) -> str:
    """A text in which what was taken apart on purpose is together again."""
    if any(each in text for each in "[({<]"):
        text = _HALF.sub(".", text)
        text = _BRACKETED.sub(r"\1", _BRACKET.sub(lambda match: "." if match[1] else "@", text))
    if ":" in text:
        text = _SCHEMES.sub(_scheme, text)
    text = _POINT.sub(".", _SAID.sub(lambda match: "." if match[1] else "@", text))
    if _SPELT_OUT.search(text):
        text = _SPELT.sub(".", _SPELT_AT.sub("@", text))
    return _APART.sub("@", text) if " @ " in text else text


def _scheme(match: re.Match[str]) -> str:
    """A scheme as it is meant: `hxxp` is `http`."""
    return f"http{match[1] or ''}:" if match[0][0] in "hH" else "ftp:"


# -- what leads somewhere

# letters, digits, marks and signs that names of hosts are made of, and what no part of a URL is
_L = r"\w\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0dff\u0e00-\u0eff\u2600-\u27bf\U0001f000-\U0001faff-"
_STOP = r"\s<>\"`"
_REST = rf"(?:(?!https?:)[^{_STOP}()\],;|'*!，、；。])*"
_LOCAL = r"\w.!\#$%&'*+/=?^{|}~-"
_SIGNS = (
    r"tel|sms|smsto|mms|mailto|callto|facetime|facetime-audio|skype|whatsapp|viber|tg|sips?|xmpp|matrix|magnet|bitcoin"
    r"|ethereum|litecoin|monero|lightning|upi|itms|itms-apps|itms-services|webcal|blob|view-source|javascript|vbscript"
    r"|livescript|ms-[a-z]{2,20}|search-ms|zoommtg|msteams|ldaps?|ssh|smb|nfs|rtsp|rtmp|ipfs|ipns|dweb|steam|weixin"
    r"|alipays?|microsoft-edge|vscode(?:-insiders)?|(?:android|ios)-app|web\+[a-z]{1,40}|x-apple[\w.+-]{0,60}"
)
_VENDOR = (  # a vendor's scheme, or an app's, which is its host turned about; no host's port, no library's version
    r"(?:vnd|prs|com|org|net|io|cn|de)\.[\w.+-]{1,100}:(?=[\w/?])(?!\d{1,5}(?!\w)|[\w.-]{1,100}:\d{1,5}\.)"
)
_PART = r"(?:0x[0-9a-f]{1,8}|\d{1,10})"
_FIND = re.compile(
    rf"""
    (?P<web>(?:(?<![A-Za-z0-9+.-])[a-z][a-z0-9+.-]{{1,30}}:[/\\]{{2}}|(?<![a-z])https?:)[/\\]*
      (?P<authority>(?:[^{_STOP}/?\#@\[\]()|^]*@)?
        (?:\[[0-9a-f:.%]{{2,60}}\][^{_STOP}/?\#\[\]|^]*|[^{_STOP}/?\#\[\]|^]+))
      {_REST})
  | (?P<mail>(?<![{_LOCAL}])[{_LOCAL}]{{1,256}}+@(?:[{_L}]++(?:\.[{_L}]++)+|\[(?:ipv6:)?[0-9a-f:.]{{2,60}}\]))
  | (?P<shell>(?<![{_LOCAL}])[{_LOCAL}]{{1,64}}+@(?!sha\d)(?:[a-z][\w-]{{0,62}}+|\d{{8,10}}):(?=[/~]{{0,2}}\w)
      (?!\S{{0,200}}[$\#%>](?:\s|\Z)){_REST})
  | (?P<sign>(?<![\w.-])(?:(?:{_SIGNS}):(?=[^\s,;)])|{_VENDOR}|intent:(?=\S{{0,200}}\#intent)
      |data:(?:[a-z]+/[\w.+-]+)?[;,]|file:(?=[/\\])|geo:(?=-?\d))
      [^{_STOP})]*)
  | (?P<six>(?:\[(?=[0-9a-f.%]*:[0-9a-f.%]*:)[0-9a-f:.%]{{2,60}}\](?::\d{{1,5}}|(?=[/?\#]))
      |(?<![\w:.])(?:[0-9a-f]{{0,4}}:){{2,7}}[0-9a-f.]{{1,15}}(?=/(?!\d{{1,3}}\b)\S)){_REST})
  | (?P<four>(?<![\w.])(?:(?:0x[0-9a-f]{{1,2}}|\d{{1,4}})\.){{3}}(?:0x[0-9a-f]{{1,2}}|\d{{1,4}})
      (?::\d{{1,5}}(?!\d)|:(?=[/~]?[a-z])|(?=/(?!\d{{1,2}}(?![\w./?\#-]))|[?\#]\w)){_REST})
  | (?P<other>(?<![\w.])(?:0x[0-9a-f]{{8}}|0[0-7]{{10,11}}|(?=[\d.]{{0,30}}0x){_PART}(?:\.{_PART}){{1,3}})
      (?::\d{{1,5}}(?!\d)|(?=/[a-z?])){_REST})
  | (?P<near>(?<![\w./\\:@-])[a-z][\w-]{{0,62}}:\d{{2,5}}/(?=[a-z?]){_REST})
  | (?P<share>(?<![\w:\\/])(?:\\\\(?=[\w.-]+\\[\w$])|[/\\]{{2}}(?=[{_L}]+(?:\.[{_L}]+)+)){_REST})
  | (?P<bare>(?:(?<![/\\{_L}])|(?<=//))(?<![{_L}]\.)[{_L}]++(?:\.[{_L}]++)++(?P<port>:\d{{1,5}}(?!\d))?
      (?P<more>/{_REST}|[?\#](?=\w){_REST})?)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BY_NUMBER = re.compile(r"(?:\d{1,4}\.){3}\d{1,4}|0x[0-9a-f]{1,8}(?:\.\w+)*", re.I)
_HOST = re.compile(rf"[{_L}]+(?:\.[{_L}]+)*\.?")
_SIX = re.compile(r"\[[0-9a-f:.%]+\]", re.I)
_PORT = re.compile(r":(\d{1,5})")
_USUAL = (":80", ":443")
_TRAIL = ".,;:!?'’”»*_~)}>|。，、；：！？）】》」』…"  # after an address, no part of it
_CLOSES = "'’”»\"()*,;!。，、；：！？（）【】《》「」『』…"
_GOES_ON = re.compile(rf"[{_L}]\.[{_L}]")
_EAST = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_EASTERN = re.compile(rf"[{_EAST}]")
_HEAD = re.compile(rf"^[{_EAST}]+(?=[a-z0-9])", re.I)  # of 请看corp.example
_FOOT = re.compile(rf"(?<=[a-z])[{_EAST}]+$", re.I)  # of corp.example看看
_CALLS = re.compile(r"tel|sms|smsto|mms|callto|facetime(?:-audio)?|whatsapp|viber", re.I)
_FIELDS = re.compile(r"[?&=,;]")  # of a mail that is to be written
_PATH = re.compile(r"[/\\?#]")
_DESTINATION = re.compile(
    r"\]\([ \t\r\n]*<?([^()\[\]<>]{1,2000})|(?:^|\n)[ ]{0,3}\[[^\[\]\n]{1,200}\]:[ \t]*\n?[ \t]*<?([^\s<>]{1,2000})"
    r"|\b(?:href|src|srcset|action|formaction|poster|background|data|content|ping|cite|manifest)[ \t]*="
    r"(?:[ \t]*[\"'](?:[\d.]{1,9};[ \t]*url=)?([^\"'<>]{1,2000})|[ \t]*([/\\]{2}[^\s\"'<>]{1,2000}))"
    r"|(?:\burl\([ \t]*[\"']?|@import[ \t]+[\"'])([/\\]{2}[^\s\"'<>)]{1,2000})",
    re.I,
)
_TARGET = re.compile(r"\]\(|\]:|=[ \t]*[\"'/\\]|url\(|@import", re.I)
_WORDS = re.compile(r"\S+")
_HINT = re.compile(r"[@\\]|[:/]\S|[^\s.]\.[^\s.]")  # that something in a word leads somewhere: most have none
_LEADS = re.compile(r"(?:[a-z][a-z0-9+.-]{1,30}:|[/\\]{2})\S", re.I)
_WHITE = re.compile(r"\s+")


def addresses(text: str) -> Iterator[Link]:
    """What leads somewhere in a text as it stands."""
    for word in _WORDS.finditer(text):
        if _HINT.search(text, word.start(), word.end()):
            for match in _FIND.finditer(text, word.start(), word.end()):
                yield from _READ[match.lastgroup or ""](match)
    for match in _DESTINATION.finditer(text) if _TARGET.search(text) else ():
        where = _WHITE.sub("", match[match.lastindex or 0])  # as browsers read it
        if _LEADS.match(where):
            found = [each for inner in _FIND.finditer(where) for each in _READ[inner.lastgroup or ""](inner)]
            slashed = where[0] in "/\\"
            host = _host(_PATH.split(where.lstrip("/\\"), maxsplit=1)[0]) if slashed else ""
            for each in found or [Link(where.rstrip(_TRAIL), 0, host)]:
                yield Link(each.text, match.start(), each.host, each.address)


def _web(match: re.Match[str]) -> Iterator[Link]:
    yield Link(match[0].rstrip(_TRAIL), match.start(), _host(match["authority"]))


def _numbered(match: re.Match[str]) -> Iterator[Link]:
    """An address of IP, or a name in a network, with a port or a path."""
    yield Link(match[0].rstrip(_TRAIL), match.start(), _host(_PATH.split(match[0], maxsplit=1)[0]))


def _share(match: re.Match[str]) -> Iterator[Link]:
    """What begins with two slashes."""
    yield Link(match[0].rstrip(_TRAIL), match.start(), _host(_PATH.split(match[0][2:], maxsplit=1)[0]))


def _mail(match: re.Match[str]) -> Iterator[Link]:
    """A mail address, without what stands before it in a text that has no blanks, or marks it."""
    local, _, domain = match[0].partition("@")
    local = _EASTERN.split(local)[-1].lstrip("'*~`=/?!|{}#&$%^.")
    domain = _FOOT.sub("", domain.rstrip("-._")).lower()
    ending = domain.rpartition(".")[2]
    if _BY_NUMBER.fullmatch(domain):  # whom a shell or a copy goes to: `root@1.2.3.4`
        yield Link(match[0].rstrip(_TRAIL), match.start(), domain)
    elif local and domain and (domain[0] == "[" or (ending not in FILES and _ending(ending))):
        yield Link(f"{local}@{domain}", match.start() + match[0].find(local), address=f"{local}@{domain}")


def _shell(match: re.Match[str]) -> Iterator[Link]:
    """Whom a copy goes to, at a host without dots: `git@host:repository`."""
    yield Link(match[0].rstrip(_TRAIL), match.start(), match[0].partition("@")[2].partition(":")[0].lower())


def _sign(match: re.Match[str]) -> Iterator[Link]:
    """A link without a host: whom it calls or writes to, or what it pays or runs."""
    shown = match[0].rstrip(_TRAIL)
    scheme, _, rest = shown.partition(":")
    fields = _FIELDS.sub(" , ", rest) if scheme.lower() == "mailto" else ""
    mails = [each for inner in _FIND.finditer(fields) if inner.lastgroup == "mail" for each in _mail(inner)]
    for each in mails or [Link(shown, 0, address=rest if _CALLS.fullmatch(scheme) else "")]:
        yield Link(shown, match.start(), address=each.address)


def _bare(match: re.Match[str]) -> Iterator[Link]:
    """A host that stands there by itself, where its ending is one, and it is no file's name."""
    host, port, more = _HOST.match(match[0]), match["port"] or "", match["more"] or ""
    assert host is not None
    name = _HEAD.sub("", host[0].strip("-_.").lower())
    ending = name.rpartition(".")[2]
    if ending not in ENDINGS:
        name = _FOOT.sub("", name)
        ending = name.rpartition(".")[2]
    if "." not in name or ending in FILES or not _ending(ending):
        return
    if ending in FILES_AND_ENDINGS and not name.startswith("www."):
        known = more[:1] in ("/", "?") or name.count(".") > 1
    else:
        known = ending in ENDINGS or name.startswith("www.") or ending.startswith("xn--") or _mixed(name)
    if known or (len(more) > 1 and _likely(name)):
        shown = _HEAD.sub("", match[0]).rstrip(_TRAIL)
        yield Link(shown, match.start(), (name if port in _USUAL else name + port).removeprefix("www."))


_ALIKE = str.maketrans("авсеԁіјкмоρрѕтυνхуαεικοτϲⅼһԛԝցոս", "abcedijkmoppstuvxyaeikotclhqwgnu")


def _mixed(name: str) -> bool:
    """Whether the ending of a name has letters of another script that look like those of one that there is."""
    ending = name.rpartition(".")[2]
    return not ending.isascii() and ending.translate(_ALIKE) in ENDINGS and any(map(str.isascii, name.replace(".", "")))


def _ending(label: str) -> bool:
    """Whether the name of a host may end so."""
    return len(label) > 1 and (label.startswith("xn--") or not any(map(str.isdecimal, label)))


def _likely(name: str) -> bool:
    """Whether a name may be a host's though nobody knows its ending; `a.m` and `U.S` are none."""
    return all(len(each) > 1 for each in name.split(".")) and name.rpartition(".")[2] not in FILES_AND_ENDINGS


def _host(authority: str) -> str:
    """The host in the part of a URL that names one, with its port where that is not a usual one.

    What programs read in different ways is all of it, which is the name of nobody.
    """
    authority = authority.rpartition("@")[2].rstrip(_TRAIL) or authority
    found = _SIX.match(authority) or _HOST.match(authority)
    if found is None:
        return authority.lower()
    port = _PORT.match(authority, found.end())
    rest = authority[(port or found).end() :]
    if rest and (rest[0] not in _CLOSES or _GOES_ON.search(rest)):
        return authority.lower()
    name = found[0].lower().rstrip("._")
    if name.rpartition(".")[2] not in ENDINGS:
        name = _FOOT.sub("", name)
    return (name if port is None or port[0] in _USUAL else name + port[0]).removeprefix("www.")


_READ: dict[str, Callable[[re.Match[str]], Iterator[Link]]] = {
    "web": _web, "mail": _mail, "sign": _sign, "shell": _shell, "six": _numbered, "four": _numbered, "near": _numbered,
    "other": _numbered,
    "share": _share, "bare": _bare,
}  # fmt: skip


# -- what is hidden in letters

_ENCODED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,4000}")
_TEXT = re.compile(rb"[\t\n\r -~]{12}")


def _decoded(text: str) -> Iterator[str]:
    """What is a text in base64."""
    for match in _ENCODED.finditer(text):
        letters = match[0].replace("-", "+").replace("_", "/")
        with suppress(binascii.Error):
            if _TEXT.match(b64decode(letters[:16])):  # few words are, by chance
                yield b64decode(letters[: len(letters) // 4 * 4]).decode("utf-8", "ignore")
