"""A third set of masking: texts written from memory of how services, systems and people write such values.

`masking_blind.txt` has them: above the line values in the forms of some 200 issuers and formats, below it texts without
one. They were measured before anybody looked at what they miss (0.81 of 228 values and 0.78 of 101), and are a set for
development since. Values are drawn under a seed; check digits are computed here.
"""

from __future__ import annotations

import base64
import random
import re
import string
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from masking_set import Sample, Value

SEED = 77_123
_ALNUM = string.ascii_letters + string.digits
_SETS = {
    "h": "0123456789abcdef", "H": "0123456789ABCDEF", "a": _ALNUM, "l": string.ascii_lowercase + string.digits,
    "U": string.ascii_uppercase + string.digits, "b": _ALNUM + "+/", "w": _ALNUM + "-_", "s": _ALNUM + "./",
    "d": string.digits, "L": string.ascii_lowercase, "A": string.ascii_letters, "C": string.ascii_uppercase,
    "q": "qpzry9x8gf2tvdw0s3jn54khce6mua7l", "Q": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "2": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "5": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
}  # fmt: skip
"""Letters of a form: `{a36}` is 36 of them; `q` and `Q` are bech32's, `2` base32's, `5` base58's, `s` crypt's."""
_WORDS = re.findall(
    r"\w+",
    "abandon ability able about above absent absorb abstract absurd abuse access accident account accuse achieve acid "
    "acoustic acquire across act action actor actress actual adapt add addict address adjust admit zebra zoo zone",
)
_PAIR = re.compile(r"\[\[([A-Z]+):(.*?)\]\]")
_DRAWN = re.compile(r"\{(\w)(\d+)\}")
_ENDS = re.compile(r"\\\\n|\\n")


class Draw:
    """Values of each form, drawn under a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.forms: dict[str, Callable[[], str]] = {
            "cnid": self.cnid, "cnidx": lambda: self.cnid().lower(), "cnidsp": lambda: self.parts(self.cnid(), 6, 8, 4),
            "cniddash": lambda: self.parts(self.cnid(), 6, 8, 4, sep="-"), "uscc": self.uscc,
            "usccsp": lambda: _groups(self.uscc(), 4, " "), "uscclow": lambda: self.uscc().lower(),
            "v4": lambda: self.card("4"), "v4sl": lambda: self.card("4", "/"), "v4us": lambda: self.card("5300", "_"),
            "v4dot": lambda: self.card("4", "."), "v4dash": lambda: self.card("51", "–"),
            "v4nb": lambda: self.card("4", "\u00a0"), "v4two": lambda: self.card("4", "  "),
            "v4full": lambda: self.card("6228").translate({48 + digit: 0xFF10 + digit for digit in range(10)}),
            "jcb": lambda: self.card("3530", " - "), "visapipe": lambda: self.card("4", "|"),
            "amex": lambda: self.parts(self.card("37", length=15), 4, 6, 5),
            "amexd": lambda: self.parts(self.card("34", length=15), 4, 6, 5, sep="-"),
            "up19": lambda: self.card("6222", " ", 19), "up19p": lambda: self.card("6217", length=19),
            "ibande": lambda: _groups(_iban("DE", self.of("{d18}")), 4, " "),
            "ibangblow": lambda: _iban("GB", "BARC" + self.of("{d14}")).lower(),
            "ibanfrd": lambda: _groups(_iban("FR", self.of("{d10}{U11}{d2}")), 4, "-"),
            "ibanpl": lambda: _iban("PL", self.of("{d24}")),
            "ibanes": lambda: _groups(_iban("ES", self.of("{d20}")), 4, " "),
            "jwt": self.jwt, "b64basic": lambda: _base64(b"deploy:" + self.of("{a14}").encode()),
            "pem": lambda: self.pem("EC PRIVATE KEY", 118), "pemesc": lambda: self.pem("PRIVATE KEY", 150, "\\n"),
            "openssh": lambda: self.pem("OPENSSH PRIVATE KEY", 200),
            "pgp": lambda: self.pem("PGP PRIVATE KEY BLOCK", 200),
            "mnem": lambda: " ".join(self.random.choices(_WORDS, k=12)),
            "wif": lambda: self.random.choice("KL") + self.of("{551}"), "xprv": lambda: "xprv9" + self.of("{5106}"),
        }  # fmt: skip

    def of(self, form: str) -> str:
        """A value of a form."""
        if form in self.forms:
            return self.forms[form]()
        form = form.replace("{uuid}", str(uuid.UUID(int=self.random.getrandbits(128), version=4)))
        return _DRAWN.sub(lambda match: "".join(self.random.choices(_SETS[match[1]], k=int(match[2]))), form)

    def card(self, begin: str, sep: str = "", length: int = 16) -> str:
        body = begin + self.of(f"{{d{length - len(begin) - 1}}}")
        doubled = (sum(divmod(int(d) * (2 - place % 2), 10)) for place, d in enumerate(reversed(body)))
        return _groups(body + str(-sum(doubled) % 10), 4, sep)

    def cnid(self) -> str:
        born = date(1955, 1, 1) + timedelta(days=self.random.randrange(18_000))
        region = self.random.choice(("110105", "310104", "440304", "510107", "330106"))
        body = f"{region}{born:%Y%m%d}" + self.of("{d3}")
        return body + "10X98765432"[sum(int(d) * pow(2, 17 - place, 11) for place, d in enumerate(body)) % 11]

    def uscc(self) -> str:
        letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
        region = self.random.choice(("110108", "310115", "440300", "510100"))
        body = f"91{region}MA" + "".join(self.random.choices(letters, k=7))
        return body + letters[-sum(letters.index(c) * pow(3, place, 31) for place, c in enumerate(body)) % 31]

    def jwt(self) -> str:
        parts = (b'{"alg":"ES256","kid":"7"}', b'{"sub":"%d","exp":1750000000}' % self.random.getrandbits(40))
        return ".".join(_base64(part, "-_").rstrip("=") for part in (*parts, self.random.randbytes(64)))

    def pem(self, what: str, length: int, end: str = "\n") -> str:
        body = _groups(_base64(self.random.randbytes(length)), 64, end)
        return f"-----BEGIN {what}-----{end}{body}{end}-----END {what}-----"

    def parts(self, value: str, *lengths: int, sep: str = " ") -> str:
        """A value in groups of so many characters."""
        begins = [sum(lengths[:number]) for number in range(len(lengths))]
        return sep.join(value[begin : begin + length] for begin, length in zip(begins, lengths, strict=True))


def _groups(value: str, length: int, sep: str) -> str:
    return sep.join(value[begin : begin + length] for begin in range(0, len(value), length))


def _iban(country: str, body: str) -> str:
    number = "".join(str(int(letter, 36)) for letter in f"{body}{country}00")
    return f"{country}{98 - int(number) % 97:02}{body}"


def _base64(data: bytes, last: str = "+/") -> str:
    return base64.b64encode(data, last.encode()).decode()


def _written(line: str) -> str:
    return _ENDS.sub(lambda match: "\n" if match[0] == "\\n" else "\\n", line)


def samples(seed: int = SEED) -> tuple[list[Sample], list[Sample]]:
    """The texts with values, and those without."""
    draw = Draw(seed)
    lines = (Path(__file__).with_suffix(".txt")).read_text(encoding="utf-8").splitlines()
    cut = lines.index("---")
    texts = []
    for line in map(_written, (line for line in lines[:cut] if "[[" in line and line[:2] != "# ")):
        text, values, done = "", [], 0
        for match in _PAIR.finditer(line):
            text += draw.of(line[done : match.start()])
            value = draw.of(match[2])
            values.append(Value(len(text), len(text) + len(value), match[1]))
            text, done = text + value, match.end()
        texts.append(Sample(text + draw.of(line[done:]), tuple(values), "en" if line.isascii() else "zh"))
    return texts, [Sample(draw.of(_written(line)), ()) for line in lines[cut + 1 :]]
