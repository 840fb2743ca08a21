"""Names for what prompts begin with: the same in every process, on every machine, and after every restart."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b

BLOCK = 32  # tokens; contexts are found by whole blocks, which share a name with all before them (vLLM's prefix cache)
_SIZE = 8  # bytes; who finds two prefixes under one name by chance has seen some four billion of them


def of_tokens(tokens: list[int], adapter: str | None) -> Iterator[bytes]:
    """A name for each whole block of token ids, of it and everything before it, as an adapter computes them."""
    name = _digest(b"" if adapter is None else b"+" + adapter.encode(errors="surrogatepass"))
    whole = len(tokens) // BLOCK * BLOCK
    data = struct.pack(f"<{whole}q", *tokens[:whole])  # least byte first, whatever the machine
    for start in range(0, len(data), 8 * BLOCK):
        name = _digest(name + data[start : start + 8 * BLOCK])
        yield name


def of_texts(parts: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """A name for each part, a (role, text), of it and everything before it."""
    name = b""
    for role, text in parts:
        name = _digest(name + f"{role}\0{text}".encode(errors="surrogatepass"))
        yield name


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SIZE).digest()
