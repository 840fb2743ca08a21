"""Where terms stand, as a database keeps it: for a term and a block of passages a row of entries, one a passage."""

from __future__ import annotations

import struct

BLOCK = 1024  # passages of a block, by their numbers
ENTRY = struct.Struct("<HBBH")
"""Of a passage: its number within the block, how often the term stands in its text and in its title, its words."""
OFTEN, LONG = 0xFF, 0xFFFF  # as often, and so many words, are told apart


def without(data: bytes, gone: bytes) -> bytes:
    """A row of entries without those of the passages that the entries in `gone` are of."""
    if data == gone:
        return b""
    size = ENTRY.size
    numbers = {gone[at : at + 2] for at in range(0, len(gone), size)}
    return b"".join([data[at : at + size] for at in range(0, len(data), size) if data[at : at + 2] not in numbers])
