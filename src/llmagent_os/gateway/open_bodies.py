"""Bodies of APIs that get new fields with every release: what is not known is left out, unless it looks misspelt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ConfigDict

from ..core.errors import Unsupported
from .asgi import Exchange
from .errors import UnknownField
from .reading import Body, misspelt, read

ALIKE = 0.85  # from which likeness on (0 to 1) a name is taken for a known one that was misspelt


class Open(Body):
    """A part of a body that may have fields which nobody here knows."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def unknown(self) -> list[str]:
        """The fields that were sent and are not known."""
        return sorted(self.model_extra or ())


B = TypeVar("B", bound=Open)


async def take_open(cls: type[B], http: Exchange, refused: Mapping[str, str] | None = None) -> B:
    """Read and check the body of an exchange, which remembers the fields that were sent.

    Raises InvalidRequest that names the field to blame. `refused` are fields that are known and cannot be left out,
    each with what to do instead.
    """
    data = await http.body()
    body = await http.beside(lambda: read_open(cls, data, refused))
    http.wrote = body.model_fields_set
    return body


def read_open(cls: type[B], data: bytes, refused: Mapping[str, str] | None = None) -> B:
    """Check a body; raises as `take_open` does."""
    body = read(cls, data, refused or {})
    for name in body.unknown():
        if refused and name in refused:
            raise Unsupported(f"{name!r} is not supported: {refused[name]}", parameter=name)
        if near := misspelt(cls, name, ALIKE):
            raise UnknownField(f"unknown field {name!r}; did you mean {near!r}?", parameter=name)
    return body
