"""Keys and passwords by their form: a prefix and letters drawn at random, or a name that says what its value is.

No list of vendors can be whole. So a key is what is built like one (`PREFIX_` and twenty letters that nobody would
write), unless its prefix says that it is the name of something (`commit-`, `req_`, `call_`); the forms that issuers
made without a separator are listed. What has no form is known by what stands before it: a field, a header, a cookie.
All texts here are folded (see `folding`).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

Stretch = tuple[int, int]
"""From where to before where in a text."""

LONGEST = 512  # letters of a run that are looked at
_JUDGED = 128  # letters of a long value that are judged

# -- letters drawn at random

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORDS = re.compile(r"[A-Z]?[a-z]{4,}|[A-Z]{5,}")
_TURNS = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_NUMBERS = re.compile(r"\d+")
_PARTS = re.compile(r"[^A-Za-z0-9]+")


def drawn(text: str, least: int = 16) -> bool:
    """Whether letters were drawn at random, and not put together from words, dates and numbers."""
    core = _PARTS.sub("", text)
    if len(core) < least:
        return False
    part = max(_PARTS.split(text), key=len)
    core = part if len(part) >= max(least, 24) else core
    if core != core.lower() and core != core.upper():
        turns = len(_TURNS.findall(core))
        words = sum(map(len, _WORDS.findall(core)))
        numbers = bool(_NUMBERS.search(core)) or (turns > 0.3 * len(core) and len(core) >= 20)
        return numbers and turns > 0.2 * len(core) and words < 0.5 * len(core)
    groups = _NUMBERS.findall(part)
    enough = len(groups) >= max(3 if len(part) < 24 and part.islower() else 2, len(part) / 20)
    mixed = sum(map(len, groups)) < 0.9 * len(part)
    no_words = max(map(len, _NUMBERS.split(part))) <= max(14, 0.6 * len(part))
    return enough and mixed and no_words and len(part) >= least and len(set(part)) > 7


def _bits(text: str) -> float:
    """Shannon's entropy a letter."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


# -- keys that are one by their form alone

ISSUED = (
    r"eyJ[\w-]{8,4000}+\.[\w-]{8,8000}+(?:\.[\w-]{0,2000}+)?|eyJrIjoi[\w+/=-]{40,600}+",
    r"(?:sk|pk|rk)[-_](?=[\w-]{0,64}(?:\d|[a-z][A-Z]))[\w-]{16,400}+",
    r"(?:(?:A3T[A-Z0-9]|A[KS]IA|ABIA|ACCA)[0-9A-Z]{16}|(?:LTAI|AKID|AKLT)[0-9A-Za-z]{12,60})(?![0-9A-Za-z])",
    r"(?:gh[pousr]_|github_pat_|gl(?:pat|dt|rt|ptt|cbt|ft|soat|ffct|imt|agent|oas)-|hf_|npm_|xox[a-z]-|xapp-|ya29\."
    r"|pypi-|do[opr]_v1_|hv[sbr]\.|GOCSPX-)(?=[\w-]{0,64}(?:\d|[a-z][A-Z]))[\w-]{18,400}+|xox[a-z]-[\w-]{10,17}|AIza[\w-]{30,40}|GR1348941[\w-]{20}",
    r"SG\.[\w-]{16,32}\.[\w-]{16,64}|dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}"
    r"|dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}|sl\.[\w=-]{100,400}+|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"
    r"|v1\.0-[0-9a-f]{24}-[0-9a-f]{100,200}",
    r"(?:dapi|SK)[0-9a-f]{32}(?![0-9a-z])|AT(?:AT|CT)T3[\w=-]{50,400}|ATBB[\w-]{20,60}|AKCp[A-Za-z0-9]{50,80}"
    r"|EZ[AT]K[A-Za-z0-9]{40,60}|EAA[A-Z][\w-]{40,400}|oy2[a-z0-9]{43}|cio[A-Za-z0-9]{32}|NR[A-Z]{2}-[\w-]{16,60}"
    r"|A3-[A-Z0-9]{6}-[A-Z0-9]{5,11}(?:-[A-Z0-9]{5,6}){2,4}",
    r"(?:glc_|sntrys_|ops_eyJ)[\w+/=-]{30,1000}+|bce-v3/ALTAK-\w{16,40}/[0-9a-f]{40}",
    r"[MNO][A-Za-z0-9]{23,25}\.[\w-]{6}\.[\w-]{27,40}|v\d\.(?:local|public)\.[\w-]{40,4000}+"
    r"|nsec1[02-9ac-hj-np-z]{50,60}|[tuvxyz]prv[1-9A-HJ-NP-Za-km-z]{100,112}|[KL][1-9A-HJ-NP-Za-km-z]{51}(?![0-9A-Za-z])",
)
"""The forms of issuers that have no separator after the prefix, several parts, or letters of one case only."""
ISSUED_SEEN = (
    r"eyJ|[spr]k[-_]|A(?:3[T-]|[KS]IA|BIA|CCA|KID|KLT|Iza|T[ACB]|KCp)|LTAI|gh[pousr]_|github_p|gl[a-z]{2,5}-|glc_"
    r"|hf_|npm_"
    r"|xox|xapp-|ya29|pypi-|do[opr]_v1_|hv[sbr]\.|GOCSPX|GR134|SG\.|dp\.[a-z]|dt0[a-z]|sl\.[\w=-]{40}"
    r"|pat[A-Za-z0-9]{14}\.|v1\.0-|dapi|SK[0-9a-f]{32}"
    r"|EZ[AT]K|EAA[A-Z]|oy2[a-z0-9]{8}|cio[A-Za-z0-9]{20}|NR[A-Z]{2}-|sntrys|ops_|bce-|[MNO][A-Za-z0-9]{23,25}\."
    r"|v\d\.[lp]|nsec1|[tuvxyz]prv[1-9A-Z]|[KL][1-9A-HJ-NP-Za-km-z]{51}"
)
"""How they begin."""
_PREFIX = re.compile(
    r"((?:[a-z][a-z0-9]{0,11}|[A-Z]{2,12}\d{0,3}|[A-Z]\d|[A-Z][a-z]{1,11})"
    r"(?:[-_](?:[a-z]{1,10}\d{0,3}|[A-Z]{1,10}\d{0,3})){0,3})[-_](?=[\w-]{12})"
)
_REGIONAL = re.compile(r"[0-9a-f]{32}-[a-z]{2}\d{1,2}")  # a key and the place that it is for
_WALLET = re.compile(r"5[HJK][1-9A-HJ-NP-Za-km-z]{49}")  # as wallets import it; compressed ones are in ISSUED
_PRODUCT = re.compile(r"(?:[A-Z0-9]{5}-){3,5}[A-Z0-9]{5}")
_RUN = re.compile(rf"[A-Za-z0-9_-]{{16,{LONGEST}}}+")
_SECRET = frozenset(
    re.findall(
        r"\w+",
        "key apikey pat token tkn tok secret api sdk access auth pw pwd live private priv sess sid rk sk credential",
    )
)
_NAMES = frozenset(
    re.findall(
        r"\w+",
        "req request id ids uuid guid msg message chatcmpl cmpl call tool toolu srvtoolu resp response rs fc run "
        "thread asst file assistant batch org user usr proj project cus sub in inv invoice pi pm ch txn tx evt "
        "event acct account price prod product si cs src card ba il tr po job task trace span vpc subnet sg ami "
        "vol snap eni rtb igw acl nat eipalloc i t c sha md hash digest commit rev build index main chunk vendor "
        "bundle app page static asset assets css js img image video audio doc docs document note node layer blob "
        "cache etag order ref item entry row obj object release version v tag branch feature fix hotfix bugfix "
        "step checkpoint ckpt model weights data dataset part tmp temp log backup dump report export host srv "
        "server db table ns pod svc deploy deployment cluster conv conversation channel room group team workspace "
        "block comment post reply fingerprint checksum artifact lib linux win mac darwin amd arm x",
    )
)
"""Prefixes of names that are drawn at random as well and open nothing."""
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
_BASE64_END = re.compile(r"[A-Za-z0-9+/_-]{0,512}={0,2}")
_FILE = re.compile(
    r"\.(?:[cm]?[jt]sx?|css|map|png|jpe?g|gif|svg|webp|ico|html?|json|txt|pt|bin|gz|tar|zip|log|whl|woff2?)\b"
)
_NEAR = re.compile(
    r"(?i:secret|token|(?:api|access|auth|private|license|secret)[ _-]?key|credential|(?<![a-z])key(?![a-z])"
    r"|密钥|秘钥|密匙|令牌|凭证|私钥|密码)[^\n]{0,40}$"
)
_NO_SECRET = re.compile(
    r"(?i:commit|sha-?\d|hash|md5|checksum|digest|etag|fingerprint|public|primary|foreign|partition|sort|cache|uuid"
    r"|trace|request|(?<![a-z])id(?![a-z])"
    r"|https?:|page|cursor|编号|哈希|指纹)"
)


def formed(text: str, start: int) -> Stretch | None:
    """The key that a run of letters, digits, `_` and `-` is by its form, or by a word that stands near it."""
    match = _RUN.match(text, start)
    if match is None:
        return None
    run, end = match[0], match.end()
    before = text[max(0, start - 1) : start]
    if before == ":" and (bot := re.search(r"\d{8,10}:$", text[max(0, start - 11) : start])) and run.startswith("AA"):
        return start - len(bot[0]), end
    if before == "/" and text[max(0, start - 3) : start] == "1//" and drawn(run):
        return start - 3, end
    if _REGIONAL.fullmatch(run) or _WALLET.fullmatch(run) or (_PRODUCT.fullmatch(run) and drawn(run.replace("-", ""))):
        return start, end
    if (head := _PREFIX.match(run)) is not None and before not in ("/", ".", "@", "#") and not _FILE.match(text, end):
        words = {word.rstrip("0123456789").lower() for word in _PARTS.split(head[1])}
        rest = run[head.end() :]
        if words & _SECRET:
            return (start, end) if UUID.fullmatch(rest) or drawn(rest, 14) else None
        return (start, end) if not words & _NAMES and not UUID.search(run) and drawn(rest, _least(rest)) else None
    if len(run) == 32 and (pair := re.compile(r"\.[A-Za-z0-9]{16}(?![A-Za-z0-9.])").match(text, end)) and drawn(run):
        return (start, pair.end()) if drawn(pair[0]) or any(map(str.isupper, pair[0])) else None
    return _near(text, start, end)


_HASHED = re.compile(
    r"(?:\$[\w./=,:+-]{1,60}\$|\{(?=[A-Z0-9-]*(?:SHA|MD5|CRYPT|PBKDF|ARGON))[A-Z0-9-]{3,20}\})[\w./+$=,:-]{20,300}",
    re.A,
)
_HASHED_BY = re.compile(r"(?<![\w$:-])(?=[A-Za-z])[\w:-]{3,40}$", re.ASCII)
HASHED_SEEN = r"[${](?:[\w./=,:+-]{1,60}\$|[A-Z0-9-]{3,20}\})(?:[\w./=,:+-]{1,60}\$){0,4}[\w./+=,-]{16}"
"""What is seen of a hash of a password from its first `$` or `{` on."""


def hashed(text: str, place: int) -> Stretch | None:
    """A hash of a password with its salt, as systems keep it: `$2b$12$...`, `pbkdf2_sha256$600000$...`, `{SSHA}...`."""
    match = _HASHED.match(text, place)
    if match is None or not any(map(drawn, (match[0], *re.split(r"[$}:]", match[0])))):
        return None
    value = re.split(r":(?=\d*:)", match[0])[0].rstrip(",:")  # in a line of passwords more follows
    by = _HASHED_BY.search(text, max(0, place - 40), place) if value.count("$") > 1 else None
    return (by.start() if by and ":" not in by[0][-1:] else place), place + len(value)


def _near(text: str, start: int, end: int) -> Stretch | None:
    """A run without a form, with what it is part of in base64, where a word before it says that it is secret."""
    before = text[max(0, start - 200) : start]
    start -= len(before) - len(before.rstrip(_BASE64))
    whole = text[start : min(_BASE64_END.match(text, end).end(), start + LONGEST)]  # type: ignore[union-attr]
    if whole[0] in "/@#" or len(whole) < 20 or not drawn(whole) or UUID.search(whole) or "//" in whole:
        return None
    near = _NEAR.search(text, max(0, start - 64), start)
    other = near and (_NO_SECRET.search(text, max(0, near.start() - 12), start) or _FILE.match(text, end))
    return (start, start + len(whole)) if near and not other else None


def _least(rest: str) -> int:
    """How many letters of one case are needed: hashes and names have few, and digits among them."""
    return 16 if rest != rest.lower() and rest != rest.upper() else 20


# -- what a name says

FIELDS = (
    "pass", "pwd", "secret", "token", "key", "auth", "credential", "cookie", "sess", "sid", "sig", "basic ", "bearer ",
    "mysql", "mariadb", "redis-cli", " -u ", "--user ", "identified by ", "contrase", "kennwort", "парол", "パスワード",
    "비밀번호", "密码", "口令", "密钥", "秘钥", "密匙", "令牌", "凭证", "私钥", "授权码",
)  # fmt: skip
"""What stands in the names of fields that hold secrets."""
_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_.ñ\u0303-"
_NAME = re.compile(rf"[{_NAME_LETTERS}]{{1,80}}")
_LONGER = re.compile("授权码|парол[ья]|パスワード|비밀번호")  # the others without plain letters have two
_NAMED_SO = 64  # letters of the longest name
_NO_FIELD = re.compile(
    r"(?:max|min|num|total|prompt|completion|input|output|new|used|per|stop|pad|eos|bos|unk|sep|cls|mask|next|page"
    r"|continuation"
    r"|pagination|cached|reasoning|special)[_-]?(?:page[_-]?)?tokens?$|tokens$|tokeni[sz]|token[_-]?(?:type|count"
    r"|limit|url|uri"
    r"|endpoint|expir|usage|budget)|(?:public|primary|foreign|partition|sort|cache|row|object|map|idempotency|index"
    r"|hot|group"
    r"|dict|lookup|routing|composite|unique|cursor)[_-]?keys?$|keys$|key(?:board|word|note|s?pace|frame|hole|ring"
    r"|stone|map|code"
    r"|press|down|up|chain|[_-]?(?:id|name|type|len|length|size|path|file|fingerprint|version|usage)$)|monkey"
    r"|turkey|donkey|hockey"
    r"|author(?!iz)|authentic|authority|passen|passiv|passag|bypass|compass|surpass|passed|passing|passport|passes"
    r"|design"
    r"|signal|insight|assign|signed|secretar|signin(?!g)|sign[_-]?up|session[_-]?(?:start|time|count)|assess"
    r"|possess|side|inside|resid"
)
_PASSWORD = re.compile(
    r"pass(?:w(?:or)?d|phrase|code)?\d?$|passw(?:or)?[dt]|pwd\d?$|(?:^|de_?)passe$|contrase|kennwort"
    r"|парол|パスワード|비밀번호|密码|口令|授权码"
)
_STRONG = re.compile(
    r"secret|token|credential|(?:api|access|account|private|auth|app|admin|encryption|signing|master|service|shared"
    r"|webhook"
    r"|license|deploy|ssh|storage|client|shared.?access|bot|hmac|crypt)[_.-]?key$|key[_.-]?secret|bearer|密钥|秘钥|密匙"
    r"|令牌|凭证|私钥"
)
_WEAK = re.compile(
    r"(?:^|[_.-])(?:key|auth|sig|sign|signature|hmac|sid|sess|session)$|key$|auth$|signature$|sess(?:ion)?[_-]?id$"
    r"|sessid$|sid$"
)
_IS = r"(?:(?:is|was)(?![a-z])|(?:ist|lautet|est?|это)(?!\w)|は|[设改换]?[为成是]了?)"
_OF_WHAT = (
    r"(?:\s{1,2}(?:for|of|to|para|del?|du|pour|für|zum|vom|для|от|nueva|nouveau)"
    rf"(?:\s{{1,2}}[^\W\d_]{{1,16}}){{0,4}}?(?=\s?[:=]|\s{_IS}))?"
)
_SAYS = re.compile(
    rf"""{_OF_WHAT}["'`]?\]?\s{{0,3}}(?:["']?\s?value\s?=|:=|=>|->|[:=>]{{1,2}}|,(?=\s?["'])|{_IS}:?|(?=\())?"""
    r"""\s{0,3}(?P<scheme>(?i:bearer|basic|token|apikey|digest)\s{1,2})?["'`(\[]{0,2}"""
)
_SCHEME = re.compile(r"(?:[A-Z][A-Za-z0-9-]{2,15} (?=[\w+/.=-]{16}))?")  # any other: `SSWS 00...`
_PLACEHOLDER = re.compile(
    r"\$[{(]?[A-Za-z_]+[})]?$|\$\{|[<{\[]|%[({]|\*+$|\.{3}|(?i:x+$|your|os\.|process\.|getenv|env\.|none|null|true"
    r"|false|https?:"
    r"|self\.|config\.|settings\.|request\.|example$|changeme$|redacted)"
)
_GIVEN_PASSWORD = re.compile(r"(?P<v>[!#-&(-;=?-_a-~]{4,200})")
_IN_JSON = re.compile(r'"\s{0,3}:\s{0,3}"(?P<v>(?:[^"\s]|"(?!\s{0,3}(?:[,}\]]|\Z))){4,200})"')
"""A value whose own quotes were escaped, which folding took away: it ends where the next thing begins."""
_IN_FOURS = re.compile(r"(?:[A-Z2-7]{4}[ -]){3,15}[A-Z2-7]{1,4}={0,6}(?!\w)|(?:[a-z2-7]{4}[ -]){3,15}[a-z2-7]{4}(?!\w)")
_BASE32 = re.compile(r"[A-Z2-7]{16,128}={0,6}")
_ONE_TIME = re.compile(r"(?i:otp|2fa|mfa|authenticator)[^\n]{0,24}$")
_QUOTED = re.compile(r"([\"'])(?P<v>[^\"'\n]{8,200})\1")
_GIVEN = re.compile(r"[\w+/.~%:|$!*^-]{8,1000}+={0,3}", re.ASCII)
_GIVEN_QUOTED = re.compile(r"[^\s\"'`<>(),;\u0080-\uffff]{8,1000}+")
_CALLED = re.compile(r"[A-Za-z_.]{3,}\(")  # a function, and not what it returns
_CUT = re.compile(r"[&;,](?=[\w.-]{1,40}\s?[=:])|</?\w|[,;]\w+:$", re.ASCII)
_LINE = re.compile(r"[\"']?\s{0,2}[:=]\s{0,2}[\"']?([^\n\r\"']{4,4096})")
_PAIRS = 40  # of a header that are looked at
_NO_COOKIE = re.compile(
    r"(?i:path|domain|expires|max-age|samesite|version|_g[ai]|_gat|lang|locale|theme|tz|currency|utm_)"
)
_COOKIE = re.compile(r"(?i:sess|sid|auth|token|sso|csrf|xsrf|jwt|remember|login|secret)")
_COMMAND = re.compile(
    r"(?:mysql\w*|mariadb\w*)(?=\s)[^\n|]{0,80}?\s-p['\"]?(?P<a>[^\s'\"]{4,64})|(?:(?<=ssh)pass -p"
    r"|redis-cli -a) ?['\"]?(?P<c>[^\s'\"]{4,64})|(?: -u"
    r"|--user) [^\s:'\"]{1,64}:(?P<b>[^\s'\"]{3,128})|identified by ['\"](?P<d>[^\s'\"]{4,64})",
    re.I,
)
_ONE_WORD = re.compile(
    r"(?:api|access|private|secret|auth|encryption|license|signing|account|admin|service|master|deploy|app) $"
)


@lru_cache(4096)
def _means(name: str) -> str:
    """What a field of a name holds: `password`, `cookie`, a `secret`, what `may` be one, or nothing of the kind."""
    if len(name) > _NAMED_SO or _NO_FIELD.search(name):
        return ""
    if name.endswith("cookie"):
        return "cookie"
    if _PASSWORD.search(name):
        return "password"
    return "secret" if _STRONG.search(name) else "may" if _WEAK.search(name) else "scheme"


def said(text: str, lower: str, place: int) -> Iterator[Stretch]:
    """The values of a field, header or cookie in whose name, at `place`, one of FIELDS stands."""
    command = _COMMAND.match(text, place)
    given = command[command.lastgroup or 0] if command else ""
    if command and not _PLACEHOLDER.match(given) and not (given.isdigit() and len(given) < 6):  # `-u 1000:1000`
        yield command.span(command.lastgroup or 0)
    start = place
    if text[place].isascii():
        around = lower[max(0, place - 40) : place]
        start -= len(around) - len(around.rstrip(_NAME_LETTERS))
    named = _NAME.match(lower, start)
    longer = None if named else _LONGER.match(lower, place)
    name = named[0].rstrip(".-") if named else longer[0] if longer else lower[place : place + 2]
    end = start + len(name)
    means = _means(name)
    says = _SAYS.match(text, end) if means else None
    if says is None:
        return
    plain = says.end() == end or text[end : says.end()].isspace()  # the value just follows
    if means == "cookie":
        yield from _cookies(text, end)
    elif means == "password":
        phrase = _QUOTED.match(text, says.end() - 1) if name.endswith("phrase") else None
        match = _IN_JSON.match(text, end) or _GIVEN_PASSWORD.match(text, says.end())
        yield from (phrase.span("v"),) if phrase else _password(text, match, plain) if match else ()
    elif name == "basic" or (says["scheme"] or "").lower().startswith("basic"):
        yield from _basic(text, says.end())
    elif (
        means == "secret" or says["scheme"] or name.endswith("authorization")
        or (name == "key" and _ONE_WORD.search(lower, max(0, start - 12), start))
    ):  # fmt: skip
        scheme = _SCHEME.match(text, says.end())
        yield from _secret(text, scheme.end() if scheme else says.end(), name, strong=not plain)
    elif means == "may" and not plain:
        yield from _secret(text, says.end(), name, strong=name.endswith(("sig", "signature", "sign")))


def _cookies(text: str, place: int) -> Iterator[Stretch]:
    line = _LINE.match(text, place)
    begin = line.start(1) if line else 0
    for pair in line[1].split(";", _PAIRS)[:_PAIRS] if line else ():
        name, _, value = pair.partition("=")
        value = value.split(" ")[0].split(",")[0]
        if (
            len(value) >= 6
            and not _NO_COOKIE.match(name.strip())
            and (drawn(value, 12) or (_COOKIE.search(name) and len(value) >= 8))
        ):
            yield begin + len(name) + 1, begin + len(name) + 1 + len(value)
        begin += len(pair) + 1


def _password(text: str, match: re.Match[str], plain: bool) -> Iterator[Stretch]:
    """What is given as a password, and is no word of the sentence (`password: required`, `password forgotten?`)."""
    start, value = match.start("v"), match["v"]
    if match.re is _GIVEN_PASSWORD:
        if (cut := _CUT.search(value)) is not None:
            value = value[: cut.start()]
        value = value if text[start - 1] in "\"'`" else value.rstrip(".,;:")
        if value.endswith(")") and "(" not in value and "(" in text[max(0, start - 40) : start]:
            value = value[:-1]
    told = value.rstrip("?!") if plain else value
    mixed = bool(re.search("[A-Za-z]", value) and re.search(r"[0-9!@#$%^&*+?~|]", told))
    mixed = mixed or (len(_TURNS.findall(value)) > 3 and sum(map(len, _WORDS.findall(value))) < 0.5 * len(value))
    given = mixed or (value.isdigit() and len(value) > 5)
    end = start + len(value)
    if given and len(value) > 3 and not _CALLED.match(text, start, end + 1) and not _PLACEHOLDER.match(value):
        yield start - (text[start - 1] == "(" and text[end : end + 1] != ")"), end


def _basic(text: str, place: int) -> Iterator[Stretch]:
    """RFC 7617: a name, a colon and a password in base64."""
    match = re.compile(r"[A-Za-z0-9+/_-]{6,1000}={0,2}").match(text, place)
    try:
        plain = base64.b64decode(match[0] + "=" * (-len(match[0]) % 4)) if match else b""
    except binascii.Error:
        return
    if match and b":" in plain and plain.isascii():
        yield match.span()


def _secret(text: str, place: int, name: str, strong: bool) -> Iterator[Stretch]:
    """What is given as a token or key, and was drawn at random."""
    fours = _IN_FOURS.match(text, place)
    if fours is not None and sum(map(str.isdigit, fours[0])) > 1:
        yield fours.span()
        return
    match = (_GIVEN_QUOTED if text[place - 1] in "\"'`" else _GIVEN).match(text, place)
    if match is None or _PLACEHOLDER.match(match[0]) or text[match.end() : match.end() + 1] == "(":
        return
    value = match[0] if text[place - 1] in "\"'`" else match[0].rstrip(".:|")
    head = value[:_JUDGED]
    digits = any(map(str.isdigit, head))
    if UUID.fullmatch(value):
        right = "sess" not in name and _STRONG.search(name) is not None
    elif len(value) >= 16:
        plain = not re.search(r"[._:/]", head.rstrip("="))
        right = drawn(head) or (digits and plain and _bits(head) >= 3)
        right = right or bool(_BASE32.fullmatch(value) and _ONE_TIME.search(text, max(0, place - 40), place))
        right = right or bool(strong and re.search(r"[+/=]", head) and len(head) >= 24 and digits and _bits(head) >= 4)
    else:
        right = strong and digits and len(_TURNS.findall(value)) >= 4 and value.isalnum()
    if right:
        yield match.start(), match.start() + len(value)
