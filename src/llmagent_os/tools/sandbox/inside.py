"""What runs in a sandbox before anybody's code does: it waits for one job, fences itself in, and becomes the job.

Handed to the interpreter there as text, so it stands alone. Its start is part of every call, and `os`, `ctypes` and
`signal` would take longer than all the rest: what is needed of them is taken from the modules below them.
It writes one byte to say that it is up, then reads the job from standard input: a Python literal written by our side.
"""

import _ast
import _ctypes
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as sockets
    from types import TracebackType
    from typing import Any

PRCTL_DEATH, PRCTL_SECCOMP, PRCTL_NO_NEW, PRCTL_SUBREAPER = 1, 22, 38, 36
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same on every machine
ACCESSES = (13, 13, 14, 15, 15, 16)  # how many rights over files there are, by Landlock's version
READ, FILE = 0b1101, 1 << 15 | 1 << 14 | 0b111  # execute, read, list; what a rule for a file may hold
NAME = "main.py"  # of the code, in what it is shown of its errors
KIND, FOLDER = 0o170000, 0o040000  # of a file's mode
SHOWN = ".shown"  # the folder of pictures that are shown and not kept, below the workspace
SLIPS = 20  # of a code's writer that are mended


class Long(_ctypes._SimpleCData):
    """`ctypes.c_long`."""

    _type_ = "l"


class Function(_ctypes.CFuncPtr):
    """A function of the C library."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = Long


def call(name: str, *args: "int | bytes") -> int:
    """Call a function of the C library; raises OSError."""
    function = Function(_ctypes.dlsym(_ctypes.dlopen(None, 2), name))  # type: ignore[arg-type]
    result: int = function(*(Long(arg) if isinstance(arg, int) else arg for arg in args))
    if result < 0:
        raise OSError(_ctypes.get_errno(), f"{name}{args}: {posix.strerror(_ctypes.get_errno())}")
    return result


def landlock(rules: list[tuple[str, bool]], close: bool) -> None:
    """Leave only `rules`, (path, may it be written), of the files; with `close` also no TCP and no signals outside."""
    version = call("syscall", LANDLOCK_CREATE, 0, 0, 1)
    every = (1 << ACCESSES[min(version, 5)]) - 1
    fence = (every, 0b11 if close and version >= 4 else 0, 0b11 if close and version >= 6 else 0)
    ruleset = call("syscall", LANDLOCK_CREATE, b"".join(part.to_bytes(8, "little") for part in fence), 24, 0)
    for path, writes in rules:
        try:
            place = posix.open(path, posix.O_PATH)
        except FileNotFoundError:
            continue
        folder = posix.stat(path).st_mode & KIND == FOLDER
        rights = (every if writes else READ) & (every if folder else FILE)
        call("syscall", LANDLOCK_ADD, ruleset, 1, rights.to_bytes(8, "little") + place.to_bytes(4, "little"), 0)
        posix.close(place)
    call("syscall", LANDLOCK_RESTRICT, ruleset, 0)
    posix.close(ruleset)


def seccomp(program: bytes) -> None:
    """Let the kernel refuse what `program` says."""
    import ctypes  # noqa: PLC0415 - where there is no bubblewrap to do it

    steps = ctypes.create_string_buffer(program)
    header = (len(program) // 8).to_bytes(8, "little") + ctypes.addressof(steps).to_bytes(8, "little")
    call("prctl", PRCTL_SECCOMP, 2, header, 0, 0)


def keep() -> None:
    """Stay behind as the parent of whatever the job starts: only the child returns. What is left over is killed."""
    import os  # noqa: PLC0415 - where there is no PID namespace
    import signal  # noqa: PLC0415

    call("prctl", PRCTL_SUBREAPER, 1, 0, 0, 0)
    call("prctl", PRCTL_DEATH, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: end(143))
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end(code if code >= 0 else 128 - code)


def end(code: int) -> None:
    """Kill every descendant, then exit: orphans come to us as children."""
    try:
        while True:
            with open(f"/proc/self/task/{posix.getpid()}/children") as children:
                for child in children.read().split():
                    posix.kill(int(child), 9)
            posix.wait()
    except ChildProcessError:
        posix._exit(code)


def forward(port: int, path: str) -> None:
    """Serve a port of the loopback by a process that carries every connection to the socket at `path`."""
    import socket  # noqa: PLC0415 - where there is a network
    import threading  # noqa: PLC0415

    def carry(source: "sockets.socket", target: "sockets.socket") -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one end hung up: the other need not wait
            for end in (source, target):
                try:  # noqa: SIM105 - `contextlib` takes too long to import
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    listener = socket.create_server(("127.0.0.1", port))
    if posix.fork():
        listener.close()
        return
    posix.dup2(posix.open("/dev/null", posix.O_RDWR), 1)  # who reads the job's output must not wait for this process
    posix.dup2(1, 2)
    while True:
        near = listener.accept()[0]
        far = socket.socket(socket.AF_UNIX)
        far.connect(path)
        for ends in ((near, far), (far, near)):
            threading.Thread(target=carry, args=ends, daemon=True).start()


def main() -> "dict[str, Any]":
    """Wait for the job and become it; one of Python code comes back, to be run by this very interpreter."""
    posix.write(1, b"\x06")
    job: dict[str, Any] = eval(sys.stdin.buffer.read())
    if job["keep"]:
        keep()
    posix.chdir(job["folder"])
    if job["proxy"]:
        forward(*job["proxy"])
    for name, value in job["limits"]:
        call("setrlimit", name, value.to_bytes(8, "little") * 2)
    call("prctl", PRCTL_NO_NEW, 1, 0, 0, 0)
    if job["files"] is not None:
        landlock(job["files"], job["close"])
    if job["seccomp"]:
        seccomp(job["seccomp"])
    if job["argv"]:
        import os  # noqa: PLC0415 - it knows where programs are

        os.execvp(job["argv"][0], job["argv"])
    return job


def shown(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """Print an error with the lines of the code alone."""
    while trace and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), None)


class Output(type(sys.stdout)):  # type: ignore[misc]
    """Standard output that knows whether a line is begun."""

    begun = False

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`."""
        Output.begun = not text.endswith("\n") if text else Output.begun
        return super().write(text)


def tree(code: str) -> "Any":
    """The syntax tree of the code; raises SyntaxError for the code as it is.

    Models write code as JSON, and slip: a line break inside a text is one in the file, a brace of the JSON is left over
    at the end. What compiles once those are mended is what was meant.
    """
    try:
        return compile(code, NAME, "exec", _ast.PyCF_ONLY_AST)
    except SyntaxError as error:
        said, found = error, error
    for _ in range(SLIPS):
        lines, at = code.split("\n"), (found.lineno or 0) - 1
        if found.msg.startswith("unterminated") and "triple" not in found.msg and 0 <= at < len(lines) - 1:
            lines[at : at + 2] = [f"{lines[at]}\\n{lines[at + 1]}"]
            code = "\n".join(lines)
        elif found.msg == "unmatched '}'" and code.rstrip().endswith("}"):
            code = code.rstrip()[:-1]
        else:
            break
        try:
            return compile(code, NAME, "exec", _ast.PyCF_ONLY_AST)
        except SyntaxError as error:
            found = error
    raise said


def last(value: object) -> None:
    """Print the value of a last expression, as a notebook does, on a line of its own."""
    if value is not None:
        print("\n" * Output.begun + repr(value))


def pictures() -> None:
    """Keep what was drawn and saved nowhere: as in a notebook, it is shown."""
    plots: Any = sys.modules.get("matplotlib.pyplot")
    numbers = plots.get_fignums() if plots is not None and "savefig" not in JOB["code"] else ()
    folder = f"{JOB['folder']}/{SHOWN}"
    if numbers:
        try:  # noqa: SIM105 - `contextlib` takes too long to import
            posix.mkdir(folder)
        except FileExistsError:
            pass
    for number in numbers:
        plots.figure(number).savefig(f"{folder}/figure-{number}.png")


JOB = main()
CODE = JOB["code"]
sys.argv = [NAME]
VERSION = f".{sys.version_info[1]}"
sys.path += JOB["modules"]  # before what the system has of the same name
sys.warnoptions += ["ignore:FigureCanvasAgg is non-interactive"] * bool(JOB["modules"])  # it is shown, see `pictures`
sys.path += [f"{at}/dist-packages" for at in ("/usr/lib/python3", f"/usr/local/lib/python3{VERSION}")]
sys.path.append(posix.getcwd())  # last: a file that was left there stands for no module of the system
sys.excepthook, sys.displayhook = shown, last
sys.stdout = Output(sys.stdout.buffer, encoding=sys.stdout.encoding, errors=sys.stdout.errors)
SPACE = {"__name__": "__main__", "__builtins__": __builtins__}
TREE = tree(CODE)
LAST = [TREE.body.pop()] if TREE.body and isinstance(TREE.body[-1], _ast.Expr) else []
exec(compile(TREE, NAME, "exec"), SPACE)
exec(compile(_ast.Interactive(LAST), NAME, "single"), SPACE)
pictures()
