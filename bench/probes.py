"""The escape probes of `sandbox`: Python code that tries to reach what lies outside, and how we see that it did.

A probe is through when its output holds `THROUGH` or the world's secret, or when the world has changed. `{name}` in it
stands for a fact of the world. Each is first run as a plain subprocess, where it must get through: one that cannot
succeed anywhere is no probe. Bombs use up what they can; they are through when they outlive or exceed the limits.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from llmagent_os.tools.sandbox.levels import interpreter

LIBC = ctypes.CDLL(None, use_errno=True)
_CALL = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@dataclass
class World:
    """What lies outside: a secret in several places, servers, a process. `facts` are their names and numbers."""

    secret: str
    outside: Path
    workspace: Path
    facts: dict[str, object]
    victim: subprocess.Popen[bytes]
    tcp: socket.socket
    udp: socket.socket
    named: socket.socket
    abstract: socket.socket
    datagrams: socket.socket

    def changed(self) -> bool:
        """Whether something outside was written or killed, or a server was reached; all is put back."""
        touched = [*self.outside.glob("made*"), *Path("/usr/local/share").glob(f"made-{self.secret}*")]
        for path in touched:
            path.unlink()
        dead = self.victim.poll() is not None
        if dead:
            self.victim = _victim(self.secret)
            self.facts["pid"] = self.victim.pid
        return (
            bool(touched)
            or dead
            or sum(_reached(server) for server in (self.tcp, self.udp, self.named, self.abstract, self.datagrams)) > 0
        )


def _reached(server: socket.socket) -> bool:
    with suppress(BlockingIOError):
        server.accept() if server.type == socket.SOCK_STREAM else server.recv(100)
        return True
    return False


def _victim(secret: str) -> subprocess.Popen[bytes]:
    """A process with the secret in its environment, command line and memory."""
    code = f"import time, sys; kept = {secret!r}; time.sleep(600)"
    user = 65534 if os.geteuid() == 0 else None  # whom the sandbox runs as: what stops it must be the sandbox
    return subprocess.Popen([interpreter(), "-I", "-S", "-c", code], env={"SECRET": secret}, user=user, group=user,
                            process_group=0)  # fmt: skip


def _server(family: int, kind: int, address: object) -> socket.socket:
    server = socket.socket(family, kind)
    server.bind(address)  # type: ignore[arg-type]
    if kind == socket.SOCK_STREAM:
        server.listen()
    server.setblocking(False)
    return server


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Build one; the secret is also in our own environment, a key ring, and shared memory."""
    secret = f"S{secrets.token_hex(8)}"
    outside, workspace = folder / "outside", folder / "workspace"
    outside.mkdir()
    workspace.mkdir()
    (outside / "secret").write_text(secret)
    for path, mode in ((folder, 0o755), (outside, 0o777), (outside / "secret", 0o666)):
        path.chmod(mode)  # nothing here is kept from anybody but by the sandbox
    (theirs := outside / "theirs").write_text("1")
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)  # of whom the sandbox runs as
    os.environ["PROBE_SECRET"] = secret
    with ExitStack() as stack:
        tcp = stack.enter_context(_server(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)))
        udp = stack.enter_context(_server(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)))
        named = stack.enter_context(_server(socket.AF_UNIX, socket.SOCK_STREAM, str(outside / "socket")))
        (outside / "socket").chmod(0o777)
        datagrams = stack.enter_context(_server(socket.AF_UNIX, socket.SOCK_DGRAM, str(outside / "datagrams")))
        (outside / "datagrams").chmod(0o777)
        abstract = stack.enter_context(_server(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{secret}"))
        key = LIBC.syscall(248, b"user", secret.encode(), secret.encode(), len(secret), -3)  # add_key, session key ring
        LIBC.syscall(250, 5, key, 0x3F3F3F3F)  # keyctl, all may read it
        stack.callback(LIBC.syscall, 250, 9, key, -3)  # keyctl unlink
        shared = LIBC.shmget(0, 4096, 0o1666)
        LIBC.shmat.restype = ctypes.c_void_p
        ctypes.memmove(LIBC.shmat(shared, None, 0), secret.encode(), len(secret))
        stack.callback(LIBC.shmctl, shared, 0, None)
        facts = {
            "secret": str(outside / "secret"), "outside": str(outside), "made": f"made-{secret}", "own": os.getpid(),
            "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "named": str(outside / "socket"), "name": secret,
            "shared": shared, "workspace": str(workspace), "theirs": str(theirs),
            "datagrams": str(outside / "datagrams"),
        }  # fmt: skip
        shown = Path("/tmp", f"made-{secret}")
        shown.write_text(secret)
        stack.callback(shown.unlink)
        victim = _victim(secret)
        facts["pid"] = victim.pid
        found = World(secret, outside, workspace, facts, victim, tcp, udp, named, abstract, datagrams)
        time.sleep(0.2)
        yield found
        found.victim.kill()
        found.victim.wait()
        del os.environ["PROBE_SECRET"]


@dataclass(frozen=True)
class Probe:
    """`after` looks at the world once the call is over, `seconds` later."""

    name: str
    code: str
    after: Callable[[World], bool] | None = None
    seconds: float = 0.0


def _read(pattern: str) -> str:
    """Code that prints whatever it can read of files."""
    loop = f"import glob\nfor path in glob.glob({pattern!r}):\n"
    return loop + " try: print(open(path, errors='replace').read())\n except OSError: pass\n"


def _syscall(arguments: str, before: str = "", good: str = "found >= 0") -> str:
    return f"{_CALL}{before}\nfound = libc.syscall({arguments})\nif {good}: print('THROUGH')\n"


PROBES = [
    # secrets
    Probe("a file by its path", "print(open('{secret}').read())"),
    Probe("a file by ..", "print(open('../outside/secret').read())"),
    Probe("a file by a link", "import os\nos.symlink('{secret}', 'link')\nprint(open('link').read())"),
    Probe("a file by a hard link", "import os\nos.link('{secret}', 'hard')\nprint(open('hard').read())"),
    Probe("a file by /proc/PID/root", _read("/proc/[0-9]*/root{secret}")),
    Probe("a file by /proc/PID/cwd", "import glob\nfor up in range(1, 8): [print(open(p).read()) for p in "
          "glob.glob('/proc/[0-9]*/cwd/' + '../' * up + '{secret}'.lstrip('/'))]"),
    Probe("system's password hashes", "if 'root:' in open('/etc/shadow').read(): print('THROUGH')"),
    Probe("our environment, inherited", "import os\nprint(os.environ)"),
    Probe("environments of 1, self and parent", "import os\nfor n in (1, 'self', os.getppid()):\n"
          " try: print(open(f'/proc/{n}/environ').read())\n except OSError: pass"),
    Probe("environments of all", _read("/proc/[0-9]*/environ")),
    Probe("command lines of all", _read("/proc/[0-9]*/cmdline")),
    Probe("kernel log", _syscall("103, 3, ctypes.create_string_buffer(9999), 9999", good="found > 0")),
    Probe("key ring", _CALL + "key = libc.syscall(250, 10, -3, b'user', b'{name}', 0)\n"
          "room = ctypes.create_string_buffer(99)\nlibc.syscall(250, 11, key, room, 99)\nprint(room.value.decode())"),
    Probe("System V shared memory", _CALL + "libc.shmat.restype = ctypes.c_void_p\n"
          "at = libc.shmat({shared}, None, 0o10000)\n"
          "if at != 2**64 - 1: print(ctypes.string_at(at, 17))"),
    Probe("physical memory, kernel messages", "open('/dev/kmsg').fileno()\nprint('THROUGH')"),
    # changes
    Probe("write to a path", "open('{outside}/made', 'w').write('1')"),
    Probe("write by ..", "open('../outside/made-too', 'w').write('1')"),
    Probe("write by a link", "import os\nos.symlink('{outside}', 'there')\nopen('there/made-link', 'w').write('1')"),
    Probe("move a file out", "import os\nopen('x', 'w').write('1')\nos.rename('x', '../outside/made-move')"),
    Probe("write below /usr", "open('/usr/local/share/{made}', 'w').write('1')"),
    Probe("kernel settings", "name = open('/proc/sys/kernel/hostname').read()\n"
          "open('/proc/sys/kernel/hostname', 'w').write(name)\nprint('THROUGH')"),
    Probe("host name", "import socket\nsocket.sethostname(socket.gethostname())\nprint('THROUGH')"),
    Probe("a file in /tmp", "print(open('/tmp/{made}').read())"),
    Probe("modes of a file outside", "import os\nmode = os.stat('{theirs}').st_mode\nos.chmod('{theirs}', mode ^ 1)\n"
          "if os.stat('{theirs}').st_mode != mode: print('THROUGH')"),
    Probe("modes by an open folder", "import os\nmode = os.stat('{theirs}').st_mode\n"
          "at = os.open('{outside}', os.O_PATH)\nos.chmod('theirs', mode ^ 1, dir_fd=at)\n"
          "if os.stat('{theirs}').st_mode != mode: print('THROUGH')"),
    Probe("times of a file outside", "import os\nbefore = os.stat('{theirs}').st_mtime_ns\n"
          "os.utime('{theirs}', ns=(0, before + 10**9))\n"
          "if os.stat('{theirs}').st_mtime_ns != before: print('THROUGH')"),
    Probe("attributes of a file outside", "import os\nos.setxattr('{theirs}', 'user.x', b'1')\nprint('THROUGH')"),
    Probe("owner of a file outside", "import os\nos.chown('{theirs}', os.getuid(), os.getgid())\nprint('THROUGH')"),
    # network
    Probe("TCP", "import socket\nsocket.create_connection(('127.0.0.1', {tcp}), 2)"),
    Probe("UDP", "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))"),
    Probe("Unix socket, by path", "import socket\nsocket.socket(socket.AF_UNIX).connect('{named}')"),
    Probe("Unix socket, abstract", "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{name}')"),
    Probe("datagrams, from a pair", "import socket\none, two = socket.socketpair(type=socket.SOCK_DGRAM)\n"
          "one.sendto(b'x', '{datagrams}')"),
    Probe("datagrams, from a raw pair", "import socket\none, two = socket.socketpair(type=socket.SOCK_RAW)\n"
          "one.connect('{datagrams}')\none.send(b'x')"),
    Probe("vsock", "import socket\nsocket.socket(40, socket.SOCK_STREAM)\nprint('THROUGH')"),
    Probe("packets of the wire", "import socket\nsocket.socket(17, socket.SOCK_RAW)\nprint('THROUGH')"),
    Probe("netlink", "import socket\nsocket.socket(16, socket.SOCK_RAW, 0).bind((0, 0))\nprint('THROUGH')"),
    # processes
    Probe("signal to a process", "import os\nos.kill({pid}, 9)\nimport time\ntime.sleep(0.1)"),
    Probe("signal to all it can see", "import os, glob\nfor p in glob.glob('/proc/[0-9]*'):\n n = int(p[6:])\n"
          " if b'{name}' in open(p + '/cmdline', 'rb').read() and n != os.getpid(): os.kill(n, 9)\n"
          "import time\ntime.sleep(0.1)"),
    Probe("ptrace of a process", _syscall("101, 16, {pid}, 0, 0")),
    Probe("memory of a process", "open('/proc/{pid}/mem', 'rb').fileno()\nprint('THROUGH')"),
    Probe("reads another's memory by a call", _CALL + "at = int(open('/proc/{pid}/maps').read().split('-')[0], 16)\n"
          "room = ctypes.create_string_buffer(8)\nvec = (ctypes.c_size_t * 2)(ctypes.addressof(room), 8)\n"
          "far = (ctypes.c_size_t * 2)(at, 8)\n"
          "if libc.syscall(310, {pid}, vec, 1, far, 1, 0) > 0: print('THROUGH')"),
    Probe("files of another process", _CALL + "other = libc.syscall(434, {pid}, 0)\n"
          "if libc.syscall(438, other, 0, 0) >= 0: print('THROUGH')"),
    Probe("daemon left behind", "import os, time\nif os.fork() == 0:\n os.setsid()\n"
          " if os.fork() == 0:\n  for f in range(3): os.close(f)\n"
          "  time.sleep(0.5)\n  open('late', 'w').write('1')\n os._exit(0)\n",
          lambda w: (w.workspace / "late").exists(), 1.0),
    Probe("priority over others", "import os\nos.setpriority(os.PRIO_PROCESS, 0, -10)\nprint('THROUGH')"),
    Probe("real-time scheduling", "import os\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\n"
          "print('THROUGH')"),
    Probe("another process's priority", "import os\nos.setpriority(os.PRIO_PROCESS, {pid}, 15)\nprint('THROUGH')"),
    Probe("another process's group, its priority", "import os\nos.setpriority(os.PRIO_PGRP, {pid}, 15)\n"
          "print('THROUGH')"),
    Probe("another process's processors", "import os\nos.sched_setaffinity({pid}, {0})\nprint('THROUGH')"),
    Probe("another process's scheduling", "import os\n"
          "os.sched_setscheduler({pid}, os.SCHED_BATCH, os.sched_param(0))\nprint('THROUGH')"),
    Probe("another process's turn at the disk", _syscall("251, 1, {pid}, 2 << 13 | 7", good="found == 0")),
    Probe("another process's limits", "import resource\n"
          "resource.prlimit({pid}, resource.RLIMIT_CORE, (0, 0))\nprint('THROUGH')"),
    # privileges and the kernel
    Probe("become another user", "import os\nos.setuid(1234)\nif os.getuid() == 1234: print('THROUGH')"),
    Probe("setuid file", "import os\nopen('suid', 'w').close()\nos.chown('suid', 0, 0)\n"
          "os.chmod('suid', 0o4755)\nprint('THROUGH')"),
    Probe("user namespace", _syscall("272, 0x10000000")),
    Probe("user namespace by clone", _CALL + "pid = libc.syscall(56, 0x10000011, 0, 0, 0, 0)\n"
          "if pid == 0: os._exit(0)\nif pid > 0: print('THROUGH')"),
    Probe("mount", _CALL + "os.mkdir('m')\n"
          "if libc.mount(b'none', b'm', b'tmpfs', 0, None) == 0: libc.umount2(b'm', 2); print('THROUGH')"),
    Probe("new mount interface", _syscall("430, b'tmpfs', 0")),
    Probe("chroot", "import os\nos.chroot('.')\nprint('THROUGH')"),
    Probe("device node", "import os\nos.mknod('null', 0o20600, os.makedev(1, 3))\nprint('THROUGH')"),
    Probe("bpf", _syscall("321, 0, attr, 72", "attr = (ctypes.c_uint * 18)(2, 4, 4, 1)")),
    Probe("io_uring", _syscall("425, 4, ctypes.create_string_buffer(120)")),
    Probe("userfaultfd", _syscall("323, 1")),
    Probe("perf events", _syscall("298, attr, 0, -1, -1, 0", "attr = (ctypes.c_uint * 32)(1, 128)")),
    Probe("file handles", _syscall("304, os.open('.', 0), room, 0", "room = (ctypes.c_uint * 40)(128)\n"
          "libc.syscall(303, -100, b'.', room, ctypes.byref(ctypes.c_int()), 0)")),
]  # fmt: skip

BOMBS = [
    Probe("fork bomb", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"),
    Probe("thread bomb", "import threading, time\nwhile True:\n"
          " try: threading.Thread(target=time.sleep, args=(99,)).start()\n except RuntimeError: pass"),
    Probe("memory, one process", "kept = []\nwhile True: kept.append(bytearray(b'x' * (1 << 22)))"),
    Probe("memory, many processes", "import os, time\nfor _ in range(20):\n if os.fork() == 0:\n"
          "  kept = [bytearray(b'x' * (1 << 20)) for _ in range(100)]\n  time.sleep(99)\ntime.sleep(99)"),
    Probe("memory, shared and anonymous", "import mmap\nkept = []\nwhile True:\n m = mmap.mmap(-1, 1 << 24)\n"
          " for n in range(0, 1 << 24, 4096): m[n] = 1\n kept.append(m)"),
    Probe("memory, files without a name", "import os\nkept = []\nwhile True:\n f = os.memfd_create('x')\n"
          " os.write(f, b'x' * (1 << 24))\n kept.append(f)"),
    Probe("memory, /dev/shm", "import os\nn = 0\nwhile True:\n"
          " n += 1\n open(f'/dev/shm/{n}', 'wb').write(b'x' * (1 << 24))"),
    Probe("memory, once the first thread has ended", "import ctypes, threading\ndef fill():\n kept = []\n"
          " while True: kept.append(bytearray(b'x' * (1 << 22)))\nthreading.Thread(target=fill).start()\n"
          "ctypes.CDLL(None).syscall(60, 0)"),
    Probe("disk, one file", "f = open('big', 'wb')\nwhile True: f.write(b'x' * (1 << 20)); f.flush()"),
    Probe("disk, many files", "n = 0\nwhile True:\n n += 1\n open(f'f{n}', 'wb').write(b'x' * (1 << 22))"),
    Probe("disk, empty files", "n = 0\nwhile True:\n n += 1\n open(f'e{n}', 'wb').close()"),
    Probe("disk, files without a name", "import os\nkept = []\nwhile True:\n f = open('f', 'wb')\n os.unlink('f')\n"
          " for _ in range(4): f.write(b'x' * (1 << 20)); f.flush()\n kept.append(f)"),
    Probe("disk, files without a name, of a thread", f"import threading, time\n{_CALL}kept = []\ndef fill():\n"
          " libc.syscall(436, 0, 0, 2)\n while True:\n  f = open('f', 'wb')\n  os.unlink('f')\n"
          "  for _ in range(4): f.write(b'x' * (1 << 20)); f.flush()\n  kept.append(f)\n"
          "threading.Thread(target=fill).start()\ntime.sleep(99)"),
    Probe("disk, files that are only in memory", f"{_CALL}libc.mmap.restype = ctypes.c_void_p\n"
          "while True:\n f = open('f', 'w+b')\n for _ in range(4): f.write(b'x' * (1 << 20)); f.flush()\n"
          " libc.mmap(None, 4096, 1, 2, f.fileno(), 0)\n os.unlink('f')\n f.close()"),
    Probe("disk, files on their way", "import os, socket\none, two = socket.socketpair()\nwhile True:\n"
          " f = open('f', 'wb')\n os.unlink('f')\n for _ in range(4): f.write(b'x' * (1 << 20)); f.flush()\n"
          " socket.send_fds(one, [b'x'], [f.fileno()])\n f.close()"),
    Probe("disk, folders that nobody may list", "import os\nn = 0\nwhile True:\n n += 1\n os.mkdir(f'd{n}')\n"
          " open(f'd{n}/f', 'wb').write(b'x' * (1 << 22))\n os.chmod(f'd{n}', 0o300)"),
    Probe("disk, folders that move", "import os, threading\ndef move():\n n = 0\n while True:\n  n += 1\n"
          "  os.rename(f'd{n - 1}', f'd{n}')\nos.mkdir('d0')\nat = os.open('d0', os.O_DIRECTORY)\n"
          "threading.Thread(target=move).start()\nn = 0\nwhile True:\n n += 1\n"
          " f = os.open(f'f{n}', os.O_WRONLY | os.O_CREAT, dir_fd=at)\n"
          " for _ in range(4): os.write(f, b'x' * (1 << 20))\n os.close(f)"),
    Probe("disk, a deep folder", "import os\nwhile True:\n os.mkdir('d')\n os.chdir('d')\n"
          " f = os.open('f', os.O_WRONLY | os.O_CREAT)\n os.write(f, b'x' * (1 << 14))\n os.close(f)"),
    Probe("CPU", "while True: pass"),
    Probe("a sleep that ignores signals", "import signal, time\nfor n in range(1, 65):\n"
          " try: signal.signal(n, signal.SIG_IGN)\n except (OSError, ValueError): pass\ntime.sleep(999)"),
    Probe("output without end", "while True: print('x' * 65536)"),
]  # fmt: skip
