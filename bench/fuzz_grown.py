"""What `fuzz` does with long inputs: documents of up to 200 KB, spoilt, repeated and nested by chance.

Coverage finds odd inputs, and small ones; what costs more the longer it is shows only in long ones. Here each parser
reads bytes as they are, and the CPU time of each byte is measured.
"""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fuzz_readers import READERS

from llmagent_os.core import codec
from llmagent_os.core.errors import LLMAgentOSError

LARGEST, LEAST = 200_000, 1024  # bytes of an input, and of one whose bytes are counted
SLOW, HANG = 20e-6, 10.0  # seconds of a processor a byte; and for a short input

_ODD = [each.encode() for each in (
    "\x00", "\ufeff", "\u202e", "\u200b", "é", "e\u0301" * 9, "𝟜", "😀", "ﬃ", "İ", "K", "１", "。", "＠", "\u2028",
    "张三", "김", "ا", "ß", "\ufffd",
)] + [b"\xff", b"\xc3", b"\xed\xa0\x80"]  # fmt: skip
_TOKENS = (
    b"a", b"1", b"1 ", b" ", b"\n", b"-", b"'", b'"', b"\\", b"<a ", b"<!--", b"&", b"%", b"@", b".", b":", b"/", b"{",
    b"[", b"(", b"[{", b'{"a":', b"!!int ", b"&a ", b"*a ", b"- ", b"? ", b"a: ", b"${a}", b"{a}", b"```", b"**",
    b"4111 ", b"sk-", b"http://", b"a@", b"data: ", b"\r\n", b"X: ", b"()", b"a|", b"\\u0061", b"=", b"!", b"_", b",",
    b";", b"#", b"*", b"?", b"1:",
)  # fmt: skip
_PAIRS = ((b"[", b"]"), (b"{", b"}"), (b"(", b")"), (b'{"a":', b"}"), (b"<b>", b"</b>"), (b"- ", b""), (b'"', b'"'),
          (b"a: {", b"}"), (b"![", b"](x)"), (b"-", b""))  # fmt: skip


class Chance:
    """Makes documents of others, always the same ones of the same seed."""

    def __init__(self, seeds: Sequence[bytes], seed: int, largest: int) -> None:
        self._seeds, self._largest, self._random = seeds, largest, random.Random(seed)
        self._ways: Sequence[Callable[[bytes], bytes]] = (
            self._flipped, self._repeated, self._repeated, self._filled, self._filled, self._spliced, self._nested,
            self._odd, self._cut, self._numbered,
        )  # fmt: skip

    def document(self) -> bytes:
        """The next one."""
        data = self._random.choice(self._seeds)
        for _ in range(self._random.randint(1, 4)):
            data = self._random.choice(self._ways)(data)[: self._largest] or b" "
        return data

    def _size(self) -> int:
        """A size, small ones as likely as large ones."""
        return int(math.exp(self._random.uniform(2, math.log(self._largest))))

    def _place(self, data: bytes) -> int:
        return self._random.randint(0, len(data))

    def _piece(self, data: bytes, most: int = 60) -> tuple[int, int]:
        begin = self._place(data)
        return begin, min(len(data), begin + self._random.randint(1, most))

    def _flipped(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._random.randint(1, 8)):
            if changed:
                changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        return bytes(changed)

    def _repeated(self, data: bytes) -> bytes:
        """A piece of it again and again, where it stands or alone."""
        begin, end = self._piece(data, self._random.choice((3, 60, 1000)))
        piece = data[begin:end] or b"a"
        many = piece * (self._size() // len(piece) + 1)
        return many if self._random.random() < 0.3 else data[:begin] + many + data[end:]

    def _filled(self, data: bytes) -> bytes:
        """One or two tokens again and again, in the middle of it."""
        token = b"".join(self._random.choices(_TOKENS, k=self._random.randint(1, 2)))
        at = self._place(data)
        return data[:at] + token * (self._size() // len(token) + 1) + data[at:]

    def _spliced(self, data: bytes) -> bytes:
        other = self._random.choice(self._seeds)
        begin, end = self._piece(other, 1000)
        at = self._place(data)
        return data[:at] + other[begin:end] + data[at:]

    def _nested(self, data: bytes) -> bytes:
        before, after = self._random.choice(_PAIRS)
        depth = self._size() // len(before + after) + 1
        begin, end = self._piece(data)
        return data[:begin] + before * depth + data[begin:end] + after * depth + data[end:]

    def _odd(self, data: bytes) -> bytes:
        at = self._place(data)
        return (
            data[:at] + self._random.choice(_ODD) * self._random.choice((1, 1, 30, self._size() // 4 + 1)) + data[at:]
        )

    def _cut(self, data: bytes) -> bytes:
        begin, end = self._piece(data)
        return data[:begin] + data[end:]

    def _numbered(self, data: bytes) -> bytes:
        """A piece of it with another number each time, so that nothing is there twice."""
        begin, end = self._piece(data)
        piece = data[begin:end] or b"a"
        count = min(20_000, self._size() // (len(piece) + 5) + 1)
        return data[:begin] + b"".join(piece + b"%d" % n for n in range(count)) + data[end:]


# -- what it comes to


@dataclass(slots=True)
class Outcome:
    """What came of the long inputs of one parser: `slowest` is seconds of a processor a byte, of `LEAST` and more."""

    inputs: int = 0
    slowest: float = 0.0
    slow: list[bytes] = field(default_factory=list)
    crashed: bytes | None = None
    trouble: BaseException | None = None


def long_inputs(name: str, seed: int, enough: Callable[[int], bool], largest: int) -> Outcome:
    """Have a parser read one input after another until there are enough, or one is a crash."""
    reader, outcome = READERS[name], Outcome()
    chance = Chance(reader.seeds, seed, largest)
    while not enough(outcome.inputs):
        data = chance.document()
        try:
            cost = max(_cost(read, data) for read in reader.reads)
        except (Exception, Endless) as error:
            outcome.crashed, outcome.trouble = data, error
            break
        outcome.inputs += 1
        outcome.slowest = max(outcome.slowest, cost)
        if cost > SLOW:
            outcome.slow.append(data)
    return outcome


def _cost(read: Callable[[bytes], object], data: bytes) -> float:
    """Seconds of a processor a byte; where that is too much the less of two times, for it may be the machine."""
    cost = _once(read, data)
    return cost if cost <= SLOW else min(cost, _once(read, data))


def _once(read: Callable[[bytes], object], data: bytes) -> float:
    """Seconds a byte; 0 of what is short. What takes far too long is given up."""
    longest = HANG if len(data) < LEAST else 4 * SLOW * len(data) + 0.5
    signal.setitimer(signal.ITIMER_PROF, longest)
    began = time.thread_time()
    try:
        read(data)
    except LLMAgentOSError as error:
        codec.dumps(error.to_data())  # it is kept and sent
    except Endless:
        if len(data) < LEAST:
            raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return (time.thread_time() - began) / len(data) if len(data) >= LEAST else 0.0


class Endless(BaseException):
    """It takes far too long; nothing in between catches this."""


def _give_up(number: int, frame: object) -> None:
    raise Endless


signal.signal(signal.SIGPROF, _give_up)
