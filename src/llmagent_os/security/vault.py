"""The vault: what values stand for which tokens, a tenant apart from the other, encrypted where it is kept.

A token is made from its value under a key that never leaves the data folder: the same value has the same token as long
as the key lives, and nobody can guess the token of a value, or write one into a page for it to be filled in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from ..core import extras
from ..core.errors import InvalidRequest, VaultUnreadable
from ..core.ports import Facts
from .folding import PLAIN, STRETCH
from .recognisers import Span

SPACE = "vault/"
_BETWEEN = frozenset(map(ord, " \t\r\n-.()/·"))
_SEPARATORS: dict[int, int | None] = {
    **{code: None if letter in _BETWEEN else letter for code, letter in PLAIN.items()}, **dict.fromkeys(_BETWEEN)
}  # fmt: skip
_NONCE = 12
_ALIKE, _LENGTHS = 256, 16  # letters that are compared of values that begin alike, and the lengths that they may have
PUT_BACK = "put vault.key back from the backup that they come from, and start again"
_KEY = 32
TOGETHER = 100  # tokens that are kept in one commit: others have their turn between two


def key_file(path: Path) -> bytes:
    """The vault's key, made at the first start, readable by its owner only. Raises InvalidRequest for a damaged one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != _KEY:
            text = f"{path} holds no key of {_KEY} bytes; restore it from a backup"
            raise InvalidRequest(text, parameter=str(path)) from None
        return key
    with os.fdopen(handle, "wb") as file:
        file.write(key := secrets.token_bytes(_KEY))
        file.flush()
        os.fsync(handle)
    return key


class Seal:
    """AES-256-GCM (NIST SP 800-38D) under a key of its own; the tenant and token are authenticated with the value."""

    def __init__(self, key: bytes) -> None:
        """Raises MissingExtra without `cryptography`."""
        aead = extras.imported("cryptography.hazmat.primitives.ciphers.aead", "security", "a vault")
        self._cipher = aead.AESGCM(hashlib.blake2b(key, digest_size=_KEY, person=b"vault seal").digest())

    def shut(self, value: str, where: str) -> str:
        """Encrypt a value for a place."""
        nonce = secrets.token_bytes(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, value.encode(), where.encode())).decode()

    def open(self, sealed: str, where: str) -> str:
        """Decrypt what was shut for the same place; raises InvalidTag (of `cryptography`) for anything else."""
        data = base64.b64decode(sealed)
        text: bytes = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], where.encode())
        return text.decode()


class Known:
    """The values of one tenant: by token, and in a form in which they are found again however they are spaced."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.tokens: dict[tuple[str, str], str] = {}  # by kind and value
        self._forms: dict[str, tuple[str, str]] = {}  # a value without separators, in one case: (kind, value)
        self._begins: dict[int, dict[str, set[int]]] = {}  # see `add`

    def add(self, token: str, value: str) -> None:
        """Know a value from now on. Latin ones under four letters are not looked for: they are everywhere.

        Its length stands with its first letters: 4 (or 2 Chinese ones), 8, 16 and so on, as many as it has. So those
        that begin alike are tried only where as much of them is there, and of very many only some: whoever is read
        could have made them up. The others are recognised by what they are, as the first time.
        """
        kind = token[1:].partition("_")[0]
        self.values[token], self.tokens[kind, value] = value, token
        form = squeezed(value)
        least = 4 if form[:2].isascii() else 2
        if len(form) < least:
            return
        self._forms.setdefault(form, (kind, value))
        begins, size, lengths = self._begins.setdefault(least, {}), least, set[int]()
        while size <= min(len(form), _ALIKE):
            lengths = begins.setdefault(form[:size], set())
            size *= 2
        if len(lengths) < _LENGTHS:
            lengths.add(len(form))

    def find(self, text: str) -> Iterator[Span]:
        """Every place where a known value stands, with or without spaces, dashes, dots and brackets in it.

        One look-up a letter, and a few more where a word begins as values do: the time does not grow with their number.
        """
        form, places = squeezed(text) if self._begins else "", list[int]()
        for least, begins in tuple(self._begins.items()):  # others may be masking, too
            if least < 4 and form.isascii():
                continue
            for place in [p for p in range(len(form) - least + 1) if form[p : p + least] in begins]:
                # of the letters of `form` in the text
                places = places or [n for n, letter in enumerate(text) if _SEPARATORS.get(ord(letter), 0) is not None]
                if not _inside(text, places[place]):
                    yield from self._longest(text, form, places, place, _lengths(form, place, begins, least))

    def _longest(
        self, text: str, form: str, places: Sequence[int], place: int, lengths: Sequence[int]
    ) -> Iterator[Span]:  # fmt: skip
        """The longest value that begins at a place of a form, if one does."""
        for length in lengths:
            piece = form[place : place + length]  # at the end of the text it is shorter
            known = self._forms.get(piece)
            if known is None:
                continue
            start, end = places[place], places[place + len(piece) - 1] + 1
            if not _inside(text, end) and (known[0] != "NAME" or text[start:end] == known[1]):
                yield Span(start, end, known[0])
                return


def _lengths(form: str, place: int, begins: Mapping[str, Collection[int]], size: int) -> list[int]:
    """How long the values may be that begin at a place of a form, the longest first."""
    found: list[int] = []
    while place + size <= len(form) and (lengths := begins.get(form[place : place + size])) is not None:
        found += lengths
        size *= 2
    return sorted(found, reverse=True)


def squeezed(text: str) -> str:
    """A text without separators, in lower case, a letter for a letter; made a stretch at a time."""
    if len(text) > STRETCH:
        return "".join(squeezed(text[begin : begin + STRETCH]) for begin in range(0, len(text), STRETCH))
    plain = text.translate(_SEPARATORS)
    lower = plain.lower()
    return lower if len(lower) == len(plain) else plain  # a letter may have two in lower case


def _inside(text: str, place: int) -> bool:
    """Whether a place lies within a word or number."""
    around = text[max(0, place - 1) : place + 1]
    return len(around) == 2 and around.isascii() and around.isalnum()


class Vault:
    """Values by token, for each tenant. With `facts` they outlive a restart, and then a `seal` encrypts them."""

    def __init__(self, key: bytes, facts: Facts | None = None) -> None:
        """Without `facts` values are kept in memory only. Raises MissingExtra where they cannot be encrypted."""
        self._key, self._facts = key, facts
        self._seal = Seal(key) if facts is not None else None
        self._tenants: dict[str, Known] = {}
        self._new: list[tuple[str, str, str]] = []  # tenant, token and sealed value of what is not on its way yet
        self._writing: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()
        self.trouble: str | None = None  # why the values cannot be read

    def known(self, tenant: str) -> Known:
        """The values of a tenant, read when first asked for; raises VaultUnreadable."""
        if self.trouble is not None:  # also for a tenant that has no values yet: the key is not the one they are under
            raise VaultUnreadable(self.trouble)
        found = self._tenants.get(tenant)
        if found is None:
            found = Known()
            for token, value in self._opened(tenant):
                found.add(token, value)
            self._tenants[tenant] = found
        return found

    def _opened(self, tenant: str, most: int = -1) -> Iterator[tuple[str, str]]:
        """The kept values by token; raises VaultUnreadable, now and from now on, where one cannot be read."""
        if self._facts is None or self._seal is None:
            return
        for token, (_, sealed) in self._facts.list(SPACE + tenant, limit=most).items():
            try:
                yield token, self._seal.open(sealed, f"{tenant} {token}")
            except Exception as error:  # `cryptography` has its own, and a damaged one may raise anything
                self.trouble = f"masked values of tenant {tenant!r} cannot be read; {PUT_BACK}"
                raise VaultUnreadable(self.trouble) from error

    def check(self, tenant: str) -> None:
        """Find out whether the key is that of the kept values; `trouble` says if not."""
        with suppress(VaultUnreadable):
            list(self._opened(tenant, 1))

    def token(self, tenant: str, kind: str, value: str) -> str:
        """The token for a value: `<EMAIL_7KQ2MX5D>`. Before it is told to anybody, `kept` is to be awaited."""
        known = self.known(tenant)
        if (made := known.tokens.get((kind, value))) is not None:
            return made
        with self._lock:  # long texts are masked in threads
            return known.tokens.get((kind, value)) or self._made(known, tenant, kind, value)

    def _made(self, known: Known, tenant: str, kind: str, value: str) -> str:
        for number in count():  # 40 bits: two values rarely meet, and then one has another number
            said = "\0".join((tenant, kind, value, str(number))).encode()
            digest = hmac.new(self._key, said, hashlib.sha256).digest()[:5]
            token = f"<{kind}_{base64.b32encode(digest).decode()}>"
            if token not in known.values:
                break
        if self._facts is not None and self._seal is not None:
            self._new.append((tenant, token, self._seal.shut(value, f"{tenant} {token}")))
        known.add(token, value)
        return token

    async def kept(self) -> None:
        """Wait until every token made so far is durable, TOGETHER of them at a time.

        Raises JournalFull; then it is tried again.
        """
        while self._new or self._writing:
            with self._lock:
                new, self._new = self._new[:TOGETHER], self._new[TOGETHER:]
            self._writing |= {asyncio.ensure_future(self._keep(*each)) for each in new}
            done, _ = await asyncio.wait(self._writing)
            self._writing -= done
            for each in done:
                each.result()

    async def _keep(self, tenant: str, token: str, sealed: str) -> None:
        assert self._facts is not None  # else nothing is new
        try:
            await self._facts.put(SPACE + tenant, token, sealed)
        except BaseException:
            with self._lock:
                self._new.append((tenant, token, sealed))
            raise

    async def forget(self, tenant: str, wanted: Callable[[str], bool] = lambda value: True) -> int:
        """Erase the values of a tenant that are wanted (all); returns how many."""
        values = list(self.known(tenant).values.items())
        gone = await asyncio.to_thread(lambda: {token for token, value in values if wanted(value)})  # they may be many
        if self._facts is not None:
            await self.kept()
            await asyncio.gather(*(self._facts.drop(SPACE + tenant, token) for token in gone))
        left = [each for each in self.known(tenant).values.items() if each[0] not in gone]  # some may be new
        known = self._tenants[tenant] = Known()
        for token, value in left:
            known.add(token, value)
        return len(gone)
