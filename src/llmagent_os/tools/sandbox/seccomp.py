"""Which system calls sandboxed code may not make, as the program that the kernel's filter runs (classic BPF).

A list of what is refused, not of what is allowed: what is on it can change or see what lies outside of the sandbox,
load code into the kernel, or hide memory from the limits. It was read against the default profile of Docker.
"""

from __future__ import annotations

import platform
import struct

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

_NAMESPACES = 0x7E020000  # CLONE_NEW*
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: the others (vsock, netlink, packet, alg) know no namespace or need
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal that one was started from

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data; of arguments the lower half


def program(sockets: bool = True, machine: str = platform.machine()) -> bytes:
    """The filter for a machine, empty for one that is not known; without `sockets` there are only socket pairs."""
    if machine not in ARCHES:
        return b""
    column, arch = ARCHES[machine]
    denied = [numbers[column] for numbers in _DENIED.values()] + ([] if sockets else [_SOCKET[column]])
    refuse = _step(_RETURN, _ERRNO | _EPERM)
    parts = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    parts += [
        _step(_ABOVE, 0x40000000, 0, 1),
        _step(_RETURN, _ERRNO | _ENOSYS),
    ]  # x32, the other door to the same calls
    for number in denied:
        if number is not None:
            parts += [_step(_EQUAL, number, 0, 1), refuse]
    # libraries fall back to `clone`, whose flags can be looked at
    parts += [_step(_EQUAL, _CLONE3[column], 0, 1), _step(_RETURN, _ERRNO | _ENOSYS)]
    parts += _case(_CLONE[column], [_step(_LOAD, _ARG0), _step(_ANY_BIT, _NAMESPACES, 0, 1), refuse])
    parts += _case(
        _IOCTL[column], [_step(_LOAD, _ARG1), *(p for t in _TERMINAL for p in (_step(_EQUAL, t, 0, 1), refuse))]
    )
    for call in (_SOCKET, _SOCKETPAIR):
        known = [_step(_EQUAL, family, len(_FAMILIES) - n, 0) for n, family in enumerate(_FAMILIES)]
        parts += _case(call[column], [_step(_LOAD, _ARG0), *known, _step(_RETURN, _ERRNO | _EAFNOSUPPORT)])
    return b"".join([*parts, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One `struct sock_filter`; the jumps are how many steps are left out."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _case(number: int, body: list[bytes]) -> list[bytes]:
    """Steps for one system call that look at its arguments, and allow it where none of them returned."""
    return [_step(_EQUAL, number, 0, len(body) + 1), *body, _step(_RETURN, _ALLOW)]
