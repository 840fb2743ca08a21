"""Who asks, and what they may do: scopes, roles, keys of which only the hash is kept, and how often each may ask."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from ..core import codec
from ..core.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, not_found
from ..core.ports import Facts
from ..core.records import DEFAULT, SHARED, Call, Hidden, Json

log = logging.getLogger(__name__)

SCOPES = frozenset(
    {
        "chat", "agents:read", "agents:write", "processes:read", "processes:write", "models:read", "models:write",
        "approvals", "approvals:write", "keys", "keys:write", "people", "privacy", "privacy:write", "system", "tenants",
    }
)  # fmt: skip
"""What may be held. `approvals`, `keys` and `privacy` reach what is one's own, with `:write` what is the tenant's;
`people` shows what belongs to other people of the tenant, such as their processes, tasks and files; `models:write` and
`system` are about the machine, `tenants` reaches into every tenant."""

READING = frozenset({"agents:read", "models:read"})
ROLES: Mapping[str, frozenset[str]] = {
    "owner": SCOPES,
    "admin": SCOPES - {"models:write", "system", "tenants"},
    "user": READING | {"chat", "approvals", "keys", "privacy"},
    "viewer": READING | {"processes:read"},
}

SPACE = "key"
BITS = 256
PREFIX = "key-"  # of the ids of keys that were minted
MOST = 1000  # living keys that one key may have minted
DEEPEST = 8  # keys minted by keys minted by keys
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PRINCIPAL = re.compile(r"[^\s\0-\x1f\x7f\ud800-\udfff]{1,128}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request comes from. `key` names what it came with; `expires` is in seconds since the epoch.

    `limits` are requests a minute by key: its own and those that it was minted from, whose rate it shares.
    """

    tenant: str
    principal: str
    scopes: frozenset[str]
    key: str
    expires: float = math.inf
    limits: tuple[tuple[str, float], ...] = ()

    def need(self, scope: str) -> None:
        """Raise PermissionDenied for a scope that is not held."""
        if scope not in self.scopes:
            raise PermissionDenied(f"this needs the scope {scope!r}, which your key does not have", scope=scope)

    def sees(self, principal: str) -> bool:
        """Whether what belongs to a principal of the tenant is there for the caller: their own and what is shared."""
        return principal in (self.principal, SHARED) or "people" in self.scopes

    @property
    def sight(self) -> str | None:
        """The one principal whose things they see beside the shared ones; None: those of the whole tenant."""
        return None if "people" in self.scopes else self.principal

    def person(self, tenant: str | None = None, principal: str | None = None) -> tuple[str, str]:
        """The tenant and principal that are meant, the caller's own where none is named.

        Raises PermissionDenied, whether or not they exist.
        """
        tenant, principal = tenant or self.tenant, principal or self.principal
        if tenant != self.tenant:
            self.need("tenants")
        if (tenant, principal) != (self.tenant, self.principal):
            self.need("privacy:write")
        return tenant, principal


def token_of(tenant: str, principal: str) -> str:
    """The `key` of a person who comes with a token."""
    return f"oidc:{tenant}/{principal}"


OWNER = Caller(DEFAULT, "owner", SCOPES, "owner")
"""Whoever holds the key that the first start made."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept: `digest` is its SHA-256, enough for a secret of 256 random bits.

    `expires` (None: never) and `created` are in seconds since the epoch, `rate` in requests a minute (0: any number);
    `parent` is the key that it was minted with.
    """

    id: str
    name: str
    tenant: str
    principal: str
    roles: Sequence[str]
    scopes: Sequence[str]
    expires: float | None
    rate: float
    parent: str
    created: float
    digest: str

    @property
    def ends(self) -> float:
        """When it expires; infinity for never."""
        return math.inf if self.expires is None else self.expires


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key to be minted; what is left out is as its minter's. It holds the scopes of `roles`, and `scopes`."""

    name: str
    roles: Sequence[str] = ()
    scopes: Sequence[str] = ()
    tenant: str | None = None
    principal: str | None = None
    expires: float | None = None
    rate: float = 0.0

    def all_scopes(self) -> frozenset[str]:
        """The scopes; raises NotFound for a role or scope that does not exist."""
        for kind, names, known in (("role", self.roles, ROLES), ("scope", self.scopes, SCOPES)):
            for name in names:
                if name not in known:
                    raise not_found(kind, name, known)
        return frozenset(self.scopes).union(*(ROLES[role] for role in self.roles))


class Keys:
    """All keys of a system, by their hash. A key mints only what holds no more and lives no longer than itself."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._keys = dict(_readable(facts))
        self._found = {key.digest: key for key in self._keys.values()}

    def find(self, secret: str) -> Caller | None:
        """Whom a key lets in: None where there is no such key, or it has expired."""
        digest = _digest(secret)
        key = self._found.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest) or key.ends <= time.time():
            return None
        return self._caller(key)

    def again(self, caller: Caller) -> Caller | None:
        """A caller who was let in before: None where their key has been revoked, or what they came with has expired."""
        if caller.expires <= time.time():
            return None
        if not caller.key.startswith(PREFIX):  # the owner's, or a token
            return caller
        return self._caller(self._keys[caller.key]) if caller.key in self._keys else None

    def lives(self, identifier: str) -> bool:
        """Whether what somebody came with still lets them in: a key, or a token, of which only its end is known."""
        key = self._keys.get(identifier)
        return not identifier.startswith(PREFIX) or (key is not None and key.ends > time.time())

    def _caller(self, key: Key) -> Caller:
        limits = tuple((each.id, each.rate) for each in self._lineage(key.id) if each.rate)
        scopes = frozenset(key.scopes).union(*(ROLES[role] for role in key.roles))  # of which a release may add some
        return Caller(key.tenant, key.principal, scopes, key.id, key.ends, limits)

    def _lineage(self, identifier: str) -> Iterator[Key]:
        """A key, the one that minted it, and so on up."""
        while (key := self._keys.get(identifier)) is not None:
            yield key
            identifier = key.parent

    def descends(self, identifier: str, tenant: str, principal: str) -> bool:
        """Whether a key, or what it was minted with (a key or a token), is a person's."""
        token = token_of(tenant, principal)
        return any(
            (key.tenant, key.principal) == (tenant, principal) or key.parent == token
            for key in self._lineage(identifier)
        )

    async def mint(self, call: Call, by: Caller) -> Json:
        """The act `keys.mint` (fields of `Wanted`): makes a key; the result has its secret, `key`, which is not kept.

        Raises PermissionDenied for more than `by` holds, NotFound for unknown roles and scopes, Conflict for too many.
        """
        wanted = Wanted(**{name: value for name, value in call.args.items() if name != "by"})
        scopes, tenant, principal = wanted.all_scopes(), wanted.tenant or by.tenant, wanted.principal or by.principal
        self._check(by, scopes, tenant, principal)
        expires = by.expires if wanted.expires is None else wanted.expires
        if expires > by.expires:
            raise PermissionDenied("a key cannot outlive the one that it is minted with; let it expire sooner")
        self._make_room(call, by)
        secret = "sk-" + secrets.token_urlsafe(BITS // 8)
        key = Key(
            PREFIX + secrets.token_hex(6), wanted.name, tenant, principal, tuple(wanted.roles), sorted(scopes),
            None if math.isinf(expires) else expires, wanted.rate, by.key, time.time(), _digest(secret),
        )  # fmt: skip
        call.writes.append(self._facts.written(SPACE, key.id, asdict(key)))
        call.after.append(lambda: self._add(key))
        return shown(key) | {"key": Hidden(secret)}

    def _add(self, key: Key) -> None:
        self._keys[key.id] = self._found[key.digest] = key

    def _check(self, by: Caller, scopes: frozenset[str], tenant: str, principal: str) -> None:
        if not scopes:
            raise InvalidRequest("name the roles or scopes that the key is to have", parameter="roles")
        check_names(tenant, principal)
        if tenant != by.tenant:
            by.need("tenants")
        if (tenant, principal) != (by.tenant, by.principal):
            by.need("keys:write")
        if excess := sorted(scopes - by.scopes):
            raise PermissionDenied(f"a key can only pass on what it holds, and yours lacks {', '.join(excess)}")

    def _make_room(self, call: Call, by: Caller) -> None:
        over = [key for key in self._keys.values() if key.ends <= time.time()]
        self._drop(call, over)
        if sum(key.parent == by.key and key not in over for key in self._keys.values()) >= MOST:
            raise Conflict(f"this key has minted {MOST} keys; revoke some, or let them expire sooner")
        if sum(1 for _ in self._lineage(by.key)) >= DEEPEST:
            raise Conflict(f"this key is the {DEEPEST}th in a row minted by one another; use one nearer to the first")

    def listed(self, by: Caller) -> list[Key]:
        """The keys that a caller may see: of all tenants, of its own, or those minted from its key."""
        return sorted((key for key in self._keys.values() if self._visible(by, key)), key=lambda key: key.created)

    def _visible(self, by: Caller, key: Key) -> bool:
        if "keys:write" in by.scopes and (key.tenant == by.tenant or "tenants" in by.scopes):
            return True
        return key.tenant == by.tenant and any(each.parent == by.key for each in self._lineage(key.id))

    async def revoke(self, call: Call, by: Caller) -> Json:
        """The act `keys.revoke` (`id`): ends a key and all that were minted from it; returns their ids.

        Raises NotFound, also for others' keys.
        """
        identifier = call.args["id"]
        key = self._keys.get(identifier)
        if key is None or not self._visible(by, key):
            raise NotFound(f"no key {identifier!r}; `keys list` shows yours", kind="key", name=identifier)
        return self._drop(call, self._below(key))

    def _below(self, key: Key) -> list[Key]:
        return [each for each in self._keys.values() if key in self._lineage(each.id)]

    def _drop(self, call: Call, gone: Iterable[Key]) -> list[str]:
        """Forget keys with a call that is committed."""
        names = [key.id for key in gone]
        call.writes += [self._facts.dropped(SPACE, name) for name in names]
        call.after.append(lambda: self._forget(names))
        return names

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            if (key := self._keys.pop(name, None)) is not None:
                self._found.pop(key.digest, None)

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """Nothing that is not in the records; see `core.ports.Personal`."""
        return ()

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """End every key of a person; returns how many ended."""
        theirs = [key for key in self._keys.values() if (key.tenant, key.principal) == (tenant, principal)]
        gone = {each.id for key in theirs for each in self._below(key)}
        for name in gone:
            self._facts.drop(SPACE, name)
        self._forget(gone)
        return len(gone)


def shown(key: Key) -> dict[str, Json]:
    """A key as whoever may see it is shown it."""
    return {name: value for name, value in asdict(key).items() if name != "digest"}


def _readable(facts: Facts) -> Iterator[tuple[str, Key]]:
    """The keys by name; one that this release cannot read opens nothing."""
    for name, (_, value) in facts.list(SPACE).items():
        try:
            yield name, codec.record(Key, value)
        except (TypeError, AttributeError) as error:
            log.error("key %s cannot be read: %s", name, error)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def check_names(tenant: str, principal: str) -> None:
    """Raise InvalidRequest for what is no tenant's name (it is part of paths and of names) or no principal's."""
    if not _NAME.fullmatch(tenant):
        raise InvalidRequest("a tenant is up to 64 letters, digits and _.-, no sign first", parameter="tenant")
    whole = isinstance(principal, str) and _PRINCIPAL.fullmatch(principal)  # a token's `sub` may be anything
    if not whole or principal == SHARED:
        text = "a principal is up to 128 whole characters, none of them a space or a control character, "
        text += f"and not {SHARED!r}, which stands for everybody"
        raise InvalidRequest(text, parameter="principal")


class Limiter:
    """A token bucket a key (a minute's worth of requests), for the `most` keys that were used last."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when

    def take(self, limits: Sequence[tuple[str, float]], now: float) -> float:
        """Take one request out of every bucket, or nothing; returns the seconds until there is one (0: taken)."""
        left = {key: self._left(key, rate, now) for key, rate in limits}
        wait = max(((1 - left[key]) * 60 / rate for key, rate in limits if left[key] < 1), default=0.0)
        for key, have in left.items():
            self._buckets[key] = (have if wait else have - 1, now)
            self._buckets.move_to_end(key)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def _left(self, key: str, rate: float, now: float) -> float:
        full = max(rate, 1.0)
        had, then = self._buckets.get(key, (full, now))
        return min(full, had + (now - then) * rate / 60)
