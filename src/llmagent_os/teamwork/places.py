"""Whose a board or a topic is, what its names and values may be, and whose words come out of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..core import codec
from ..core.errors import InvalidRequest
from ..core.records import Call, Json
from ..kernel.process import Process

OF = ("run", "person", "tenant")
"""Whose it is: of all processes below the one at the top of a tree (the nodes of a flow's run, or all of a session), of
all that work for a person, or everybody's in the tenant."""
NAME = 200  # characters
VALUE = 16 << 10  # bytes of a value as JSON; what is larger is kept as a file, and named


def place(process: Process, call: Call, of: str) -> str:
    """Where the boards and topics are that a call means; raises InvalidRequest for a run where there is none."""
    if of == "tenant":
        return everybody(call.tenant)
    if of == "person":
        return person(call.tenant, call.principal)
    *_, top = process.lineage()
    if top.service is not None:
        raise InvalidRequest("whoever asks from outside belongs to no run; say `of: person` or `of: tenant`")
    return run(call.tenant, top.pid, call.principal)


def everybody(tenant: str) -> str:
    """The place of a tenant."""
    return f"{tenant}/all"


def person(tenant: str, principal: str) -> str:
    """The place of a person."""
    return f"{tenant}/person/{quote(principal, '')}"


def run(tenant: str, pid: int, principal: str) -> str:
    """The place of a run; where its process works for several people, each has one."""
    return f"{tenant}/run/{pid}/{quote(principal, '')}"


def owner(where: str, principal: str) -> str:
    """Whose a record at a place is, as erasure looks for it; nobody's where it is everybody's."""
    return principal if where.count("/") > 1 else ""


def name(value: str, what: str) -> str:
    """A name; raises InvalidRequest for none, one that is too long, or has what cannot be seen."""
    if not value or len(value) > NAME or any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in value):
        raise InvalidRequest(f"`{what}` is a name of 1 to {NAME} characters in one line", parameter=what)
    return value


def data(value: Json, what: str = "value") -> bytes:
    """A value as JSON; raises InvalidRequest for one that is too large."""
    packed = codec.dumps(value)
    if len(packed) > VALUE:
        text = f"`{what}` has {len(packed):,} bytes, and {VALUE:,} are the most; write a file, and put its name here"
        raise InvalidRequest(text, parameter=what)
    return packed


def whose(origins: Sequence[str], by: str, reader: str) -> list[str]:
    """Whose words, that may not direct a reader, are in something: also another person's, who vouches for nobody."""
    return [*origins, *([f"person {by}"] if by != reader else [])]


def given(call: Call) -> Mapping[str, Any]:
    """The arguments of a call, whether it was made as a syscall or by the tool of the same name, without empty ones."""
    found: Mapping[str, Any] = call.args.get("arguments", call.args)
    return {name: value for name, value in found.items() if value is not None or name == "value"}
