"""The filter of system calls, run by a small machine of our own: for both architectures, also the one we are not on."""

from __future__ import annotations

import struct

import pytest

from llmagent_os.tools.sandbox import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = (0x00050000 | code for code in (1, 38, 97))
X86, ARM = ("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)


def verdict(program: bytes, arch: int, number: int, *args: int) -> int:
    """What the kernel would do with a system call."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *[*args, *[0] * 6][:6])
    steps = list(struct.iter_unpack("=HBBI", program))
    value, at = 0, 0
    while True:
        code, then, otherwise, operand = steps[at]
        at += 1
        match code:
            case 0x20:
                value = struct.unpack_from("=I", data, operand)[0]
            case 0x06:
                return int(operand)
            case _:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
                at += then if holds else otherwise


@pytest.mark.parametrize(("machine", "arch", "column"), [(*X86, 0), (*ARM, 1)])
def test_the_list_holds_on_both_machines(machine: str, arch: int, column: int) -> None:
    program = seccomp.program(machine=machine)
    for numbers in seccomp._DENIED.values():
        if numbers[column] is not None:
            assert verdict(program, arch, numbers[column]) == EPERM
    clone, socket, pair, ioctl = (
        call[column] for call in (seccomp._CLONE, seccomp._SOCKET, seccomp._SOCKETPAIR, seccomp._IOCTL)
    )
    assert verdict(program, arch, 435) == ENOSYS  # clone3
    assert verdict(program, arch, clone, 17) == ALLOW  # fork
    assert verdict(program, arch, clone, 0x10000011) == verdict(program, arch, clone, 0x00020011) == EPERM
    for call in (socket, pair):
        assert [verdict(program, arch, call, family) for family in (1, 2, 10)] == [ALLOW] * 3
        assert {verdict(program, arch, call, family) for family in (0, 16, 17, 38, 40)} == {EAFNOSUPPORT}
    assert verdict(program, arch, ioctl, 0, 0x5412) == verdict(program, arch, ioctl, 0, 0x541C) == EPERM
    assert verdict(program, arch, ioctl, 0, 0x5401) == ALLOW
    for number in (444, 445, 446):  # Landlock
        assert verdict(program, arch, number) == ALLOW


def test_other_doors_are_shut() -> None:
    program = seccomp.program(machine="x86_64")
    assert verdict(program, X86[1], 0) == verdict(program, X86[1], 59) == ALLOW  # read, execve
    assert verdict(program, 0x40000003, 0) == KILL  # 32-bit
    assert verdict(program, X86[1], 0x40000000 | 101) == ENOSYS  # x32
    closed = seccomp.program(sockets=False, machine="x86_64")
    assert verdict(closed, X86[1], 41, 1) == EPERM and verdict(closed, X86[1], 53, 1) == ALLOW
    assert seccomp.program(machine="riscv64") == b""


@pytest.mark.parametrize(("machine", "arch", "column"), [(*X86, 0), (*ARM, 1)])
def test_without_namespaces_nothing_is_done_to_others(machine: str, arch: int, column: int) -> None:
    """Landlock keeps neither other processes nor the modes of files from whoever has the same user."""
    caged = seccomp.program(sockets=False, machine=machine)
    plain = seccomp.program(machine=machine)
    for numbers in seccomp._OF_OTHERS.values():
        assert verdict(caged, arch, numbers[column], 0) == ALLOW == verdict(plain, arch, numbers[column], 4711)
        assert verdict(caged, arch, numbers[column], 4711) == verdict(caged, arch, numbers[column], 1) == EPERM
    for numbers, one in seccomp._OF_MANY.values():
        assert verdict(caged, arch, numbers[column], one, 0) == ALLOW
        refused = [(one, 4711), (one + 1, 0), (one + 2, 0), (one + 2, 1000)]  # a group's, a user's
        assert {verdict(caged, arch, numbers[column], *args) for args in refused} == {EPERM}
    for numbers in seccomp._OWNERS.values():
        if numbers[column] is not None:
            assert verdict(caged, arch, numbers[column]) == EPERM
    for numbers in seccomp._MODES.values():
        if numbers[column] is not None:
            assert verdict(caged, arch, numbers[column]) == 0x00050000  # "done"
            assert verdict(plain, arch, numbers[column]) == ALLOW
    pair = seccomp._SOCKETPAIR[column]
    kinds = [kind | flags for kind in (1, 5) for flags in (0, 0x800, 0x80000)]
    assert {verdict(caged, arch, pair, 1, kind) for kind in kinds} == {ALLOW}
    assert {verdict(caged, arch, pair, 1, kind) for kind in (2, 3, 0x80002, 0x803)} == {EPERM}
    assert verdict(plain, arch, pair, 1, 2) == ALLOW


@pytest.mark.parametrize(("machine", "arch", "column"), [(*X86, 0), (*ARM, 1)])
def test_threads_have_the_same_open_files(machine: str, arch: int, column: int) -> None:
    """Those of one thread alone would be in no list that is looked at."""
    program, clone = seccomp.program(machine=machine), seccomp._CLONE[column]
    assert verdict(program, arch, clone, 0x003D0F00) == ALLOW  # as a library starts a thread
    assert verdict(program, arch, clone, 0x003D0F00 & ~0x400) == EPERM
    assert verdict(program, arch, clone, 0x00004111) == ALLOW  # vfork
    assert verdict(program, arch, 436, 3, 2**32 - 1, 0) == verdict(program, arch, 436, 3, 2**32 - 1, 4) == ALLOW
    assert verdict(program, arch, 436, 3, 2**32 - 1, 2) == EPERM
