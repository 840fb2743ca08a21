"""An encoder's file: named tensors, as safetensors lays them out, and behind them the words of its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import codec

_SIZES = {"F16": 2, "F32": 4, "I64": 8}


class Packed(NamedTuple):
    """A tensor: its kind of number (`F16`, `F32`, `I64`), its shape, and its bytes, the smallest first."""

    kind: str
    shape: Sequence[int]
    data: bytes


def read_pack(path: Path) -> tuple[dict[str, Packed], list[str]]:
    """The tensors by name, and the vocabulary; raises OSError, and ValueError for what is no such file."""
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    if not 8 < begin <= len(whole):
        raise ValueError("it does not begin as a file of tensors")
    told = codec.loads(whole[8:begin])
    tensors, last = {}, begin
    for name, each in told.items():
        if name == "__metadata__":
            continue
        one, other = (begin + place for place in each["data_offsets"])
        size = _SIZES[each["dtype"]]
        for length in each["shape"]:
            size *= length
        if other - one != size or other > len(whole):
            raise ValueError(f"the tensor {name} is not whole")
        tensors[name], last = Packed(each["dtype"], each["shape"], whole[one:other]), max(last, other)
    return tensors, whole[last:].decode().split("\n")[:-1]


def write_pack(path: Path, tensors: Mapping[str, Packed], vocabulary: Sequence[str]) -> None:
    """Write a file that `read_pack` reads."""
    told, place = {}, 0
    for name, each in tensors.items():
        told[name] = {"dtype": each.kind, "shape": list(each.shape), "data_offsets": [place, place + len(each.data)]}
        place += len(each.data)
    head = codec.canonical(told)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for each in tensors.values():
            file.write(each.data)
        file.write("".join(f"{word}\n" for word in vocabulary).encode())
