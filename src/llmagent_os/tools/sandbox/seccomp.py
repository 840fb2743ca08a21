"""Which system calls sandboxed code may not make, as the program that the kernel's filter runs (classic BPF).

A list of what is refused, not of what is allowed: what is on it can change or see what lies outside of the sandbox,
load code into the kernel, or hide memory from the limits. It was read against the default profile of Docker.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping

ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column below, AUDIT_ARCH_*

_DENIED = {  # (x86_64, aarch64); None: not there
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "vhangup": (153, 58), "personality": (135, 92),
    "nfsservctl": (180, 42), "sethostname": (170, 161), "setdomainname": (171, 162),
    # memory that no process's size shows
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    # what is found by number and lies in no folder
    "shmat": (30, 196), "shmctl": (31, 195), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192), "mq_open": (240, 180),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (435, 435), (41, 198), (53, 199), (16, 29)
_CLOSE_RANGE = (436, 436)

# what reaches outside of Landlock alone: there is no namespace around it
_OF_OTHERS = {  # the process is the first argument; 0: one's own
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "prlimit64": (302, 261), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
_OF_MANY = {"setpriority": ((141, 140), 0), "ioprio_set": ((251, 30), 1)}  # and which first argument means one process
_OWNERS = {  # of files; and the memory of other processes
    "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466), "file_setattr": (469, 469),
}  # fmt: skip
_MODES = {  # whoever copies a file sets them on the way: they do nothing, and say that all is well
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip

_NAMESPACES = 0x7E020000  # CLONE_NEW*
_THREAD, _FILES = 0x10000, 0x400  # CLONE_THREAD, CLONE_FILES: the threads of a process have the same open files
_UNSHARE = 2  # CLOSE_RANGE_UNSHARE
_DATAGRAMS = 2  # the bit that SOCK_DGRAM and SOCK_RAW have, and SOCK_STREAM and SOCK_SEQPACKET have not

_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: the others (vsock, netlink, packet, alg) know no namespace or need
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal that one was started from

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32  # offsets in struct seccomp_data; of arguments the lower half


def program(sockets: bool = True, machine: str = platform.machine()) -> bytes:
    """The filter for a machine, empty for one that is not known.

    Without `sockets` there are only connected pairs, and neither other processes nor the modes, owners and times of any
    files can be changed: what namespaces would keep in, and Landlock does not.
    """
    if machine not in ARCHES:
        return b""
    column, arch = ARCHES[machine]
    refuse = _step(_RETURN, _ERRNO | _EPERM)
    parts = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    parts += [
        _step(_ABOVE, 0x40000000, 0, 1),
        _step(_RETURN, _ERRNO | _ENOSYS),
    ]  # x32, the other door to the same calls
    parts += _all(_DENIED, column, refuse)
    # libraries fall back to `clone`, whose flags can be looked at
    parts += [_step(_EQUAL, _CLONE3[column], 0, 1), _step(_RETURN, _ERRNO | _ENOSYS)]
    threads = [_step(_ANY_BIT, _THREAD, 0, 2), _step(_ANY_BIT, _FILES, 1, 0), refuse]
    parts += _case(_CLONE[column], [_step(_LOAD, _ARG0), _step(_ANY_BIT, _NAMESPACES, 0, 1), refuse, *threads])
    parts += _case(_CLOSE_RANGE[column], [_step(_LOAD, _ARG2), _step(_ANY_BIT, _UNSHARE, 0, 1), refuse])
    parts += _case(
        _IOCTL[column], [_step(_LOAD, _ARG1), *(p for t in _TERMINAL for p in (_step(_EQUAL, t, 0, 1), refuse))]
    )
    if not sockets:
        parts += _alone(column, refuse)
    for call in (_SOCKET, _SOCKETPAIR):
        known = [_step(_EQUAL, family, len(_FAMILIES) - n, 0) for n, family in enumerate(_FAMILIES)]
        pairs = [_step(_LOAD, _ARG1), _step(_ANY_BIT, _DATAGRAMS, 0, 1), refuse] * (not sockets)  # go to any path
        parts += _case(call[column], [*pairs, _step(_LOAD, _ARG0), *known, _step(_RETURN, _ERRNO | _EAFNOSUPPORT)])
    return b"".join([*parts, _step(_RETURN, _ALLOW)])


def _alone(column: int, refuse: bytes) -> list[bytes]:
    """Steps that leave a process itself, and files whose content it may change."""
    parts = _all({"socket": _SOCKET, **_OWNERS}, column, refuse) + _all(_MODES, column, _step(_RETURN, _ERRNO))
    for numbers in _OF_OTHERS.values():
        parts += _case(numbers[column], [_step(_LOAD, _ARG0), _step(_EQUAL, 0, 1, 0), refuse])
    for numbers, one in _OF_MANY.values():
        own = [_step(_LOAD, _ARG0), _step(_EQUAL, one, 1, 0), refuse, _step(_LOAD, _ARG1), _step(_EQUAL, 0, 1, 0)]
        parts += _case(numbers[column], [*own, refuse])
    return parts


def _all(calls: Mapping[str, tuple[int | None, int | None]], column: int, end: bytes) -> list[bytes]:
    """Steps that end what is among some system calls."""
    found = [numbers[column] for numbers in calls.values()]
    return [step for number in found if number is not None for step in (_step(_EQUAL, number, 0, 1), end)]


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One `struct sock_filter`; the jumps are how many steps are left out."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _case(number: int, body: list[bytes]) -> list[bytes]:
    """Steps for one system call that look at its arguments, and allow it where none of them returned."""
    return [_step(_EQUAL, number, 0, len(body) + 1), *body, _step(_RETURN, _ALLOW)]
