"""The shapes that drivers, filters, syscalls and programs must have. One to five methods each; nothing here acts."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .records import (
    Answer,
    Call,
    Chunk,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    GenerateRequest,
    Json,
    Page,
    Part,
    Question,
    Status,
    Ticket,
    ToolSpec,
    Traits,
)


class Engine(Protocol):
    """A model behind one interface: a driver, one file an engine in `llm/`."""

    info: EngineInfo

    def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Stream the answer. Closing the iterator cancels the work and frees the slot.

        Raises Unsupported for what `info` does not promise, ContextOverflow for a prompt over the window,
        EngineFailed or EngineUnavailable for the engine's own trouble.
        """
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Return one vector a text; raises Unsupported where the model has no embeddings."""
        ...

    async def count_tokens(self, request: GenerateRequest) -> int:
        """The length of the rendered prompt in the model's tokens (an estimate where the server cannot tell)."""
        ...

    def health(self) -> str | None:
        """None while the engine can serve, else what is wrong. Cheap: called several times a second."""
        ...

    async def close(self) -> None:
        """End running work and free what is held. Calling it twice is harmless."""
        ...


class Work(Protocol):
    """One generation on a slotted engine: begun once, run in slices, on whatever slot its context lies."""

    prompt: list[int]
    """The prompt's token ids."""
    said: list[int]
    """The ids of the answer so far; the context is `prompt` and then these."""
    computed: int
    """How many tokens of the context lie on its slot."""
    read: int
    """How many tokens were read (not found on the slot, not made), over all slices."""

    @property
    def movable(self) -> bool:
        """Whether it can stop here and go on later (false where a sampler has state that tokens do not give back)."""
        ...

    async def resume(self, said: list[int]) -> None:
        """Take in the ids of an answer that was cut off, before the first `run`: their text comes with the next."""
        ...

    def run(self, slot: int) -> AsyncGenerator[Chunk]:
        """Go on with the answer on a slot. Closing the iterator stops at a token, and has freed the slot on return.

        The chunks of all slices together are those of one `Engine.generate`, with empty ones while the prompt is read.
        """
        ...


@runtime_checkable
class Slotted(Engine, Protocol):
    """An Engine whose contexts lie on slots that the kernel hands out, and can be kept as files (pages)."""

    slots: int
    fingerprint: str
    """Names the model's file and settings: pages of another fingerprint cannot be restored."""

    async def begin(self, request: GenerateRequest) -> Work:
        """Read a request into token ids. Raises as `generate` does."""
        ...

    async def save(self, slot: int, path: Path) -> int:
        """Write an idle slot's context to a file; returns how many tokens it holds. Raises EngineFailed."""
        ...

    async def restore(self, slot: int, path: Path, adapter: str | None = None) -> int:
        """Fill an idle slot from a file; returns how many tokens it holds. Raises EngineFailed for one it refuses."""
        ...


@runtime_checkable
class Stepper(Engine, Protocol):
    """An Engine that can be driven token by token, as beam search does."""

    async def encode(self, request: GenerateRequest) -> list[int]:
        """The token ids of the rendered prompt, `said` included. Raises as `generate` does."""
        ...

    async def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids of an answer; tokens that end it have none."""
        ...

    def ends(self) -> frozenset[int]:
        """The ids of the tokens that end an answer."""
        ...

    def lease(self, width: int) -> AbstractAsyncContextManager[Sequence[int]]:
        """Hold `width` slots for the block; they are handed to `step`. May wait."""
        ...

    async def step(
        self, contexts: Sequence[Sequence[int]], slots: Sequence[int], top: int, adapter: str | None = None
    ) -> list[list[tuple[int, float]]]:
        """For each context (token ids, one a slot) the `top` likeliest next tokens: (id, natural log-probability)."""
        ...


DecodingStrategy = Callable[[GenerateRequest, Engine], AsyncIterator[Chunk]]
"""A decoding strategy: answers a request by asking a model, once or often. `Engine` may also be a Stepper."""


class Tool(Protocol):
    """Something an agent may do to the world."""

    spec: ToolSpec
    traits: Traits

    async def run(self, arguments: dict[str, Json], ticket: Ticket) -> Json:
        """Do it and return JSON data. `ticket` says for whom, and under which idempotency key."""
        ...


class Store(Protocol):
    """Durable rows for the journal. Statements are named; `stores/` holds their SQL."""

    concurrent: bool
    """Whether `write` may run in another thread beside `read`."""
    prompt: bool
    """Whether a small `write` takes less than handing it to a thread would, unless somebody else writes."""

    def write(self, batch: Sequence[tuple[str, tuple[Any, ...]]], patience: float = 5.0) -> None:
        """Commit all of `batch` or nothing.

        Raises JournalBusy where somebody else still writes after `patience` seconds, JournalUnavailable where nothing
        can be written now (JournalFull on a full disk), JournalDamaged on a damaged page, InvalidRequest for a value
        that no column takes, Conflict for a message whose id another has.
        """
        ...

    def read(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a named query. Raises JournalDamaged on a damaged page."""
        ...

    def checkpoint(self) -> None:
        """Fold what was written into its final place; called now and then, in a thread beside running writes."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class Archive(Store, Protocol):
    """A store whose content can be thrown away for good. Each of these may take long; call them in a thread."""

    def scan(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """`read` beside those who read meanwhile, for a query that looks at all there is."""
        ...

    def collect(self, older: float) -> int:
        """Delete the blobs that nothing refers to and nobody wrote for `older` seconds; returns how many."""
        ...

    def purge(self) -> None:
        """Overwrite what was deleted, wherever its files may still hold it."""
        ...

    def blobs(self) -> Iterator[bytes]:
        """The content of every blob."""
        ...


class Personal(Protocol):
    """Something beside the journal and the records that holds what belongs to people."""

    def export(self, tenant: str, principal: str) -> Iterable[Json]:
        """What it holds of a person, as JSON."""
        ...

    async def erase(self, tenant: str, principal: str, data: Iterable[bytes]) -> int:
        """Forget it, and all of `data` (JSON texts in which they occur); returns how much was forgotten."""
        ...


class PageStore(Protocol):
    """Files of contexts that are not on an engine now, within a budget of memory and one of disk."""

    def found(self, fingerprint: str) -> list[Page]:
        """The pages of a model that an earlier run left whole."""
        ...

    def path(self, page: Page) -> Path:
        """Where its file is, or is to be written before `keep`."""
        ...

    def keep(self, page: Page) -> None:
        """Take in a page whose file has been written."""
        ...

    async def check(self, page: Page) -> bool:
        """Whether the file is there and whole; one on disk is read for its checksum."""
        ...

    async def fit(self, worth: Callable[[Page], Any]) -> list[Page]:
        """Keep to the budgets, the least worth first: from memory to disk, from disk to nowhere; returns the latter."""
        ...

    def reading(self, page: Page) -> AbstractContextManager[Path]:
        """Its file for a block, in which it is neither moved nor deleted."""
        ...

    def drop(self, page: Page) -> None:
        """Delete a page, once nobody reads it; harmless where it is gone."""
        ...

    def forget(self, pids: Collection[int]) -> None:
        """Delete the pages of processes, of whatever model."""
        ...

    async def close(self) -> None:
        """Give the memory back."""
        ...


class Facts(Protocol):
    """Small durable facts by space, key and version. What is written is read at once, and durable once awaited."""

    def put(self, space: str, key: str, value: Json, version: int = 1) -> Awaitable[None]:
        """Write a version of a value with the next commit; awaiting it may raise JournalFull."""
        ...

    def drop(self, space: str, key: str) -> Awaitable[None]:
        """Delete every version of a value, likewise."""
        ...

    def written(self, space: str, key: str, value: Json, version: int = 1) -> tuple[str, tuple[Any, ...]]:
        """The statement of `put`, for who commits it together with a call's row."""
        ...

    def dropped(self, space: str, key: str) -> tuple[str, tuple[Any, ...]]:
        """The statement of `drop`."""
        ...

    def get(self, space: str, key: str) -> tuple[int, Json] | None:
        """The newest version's number and value, or None."""
        ...

    def list(self, space: str, after: str = "", limit: int = -1) -> dict[str, tuple[int, Json]]:
        """The newest version of every value of a space, by key, in order; of `limit` of those after a key (-1: all)."""
        ...

    def keys(self, space: str) -> Sequence[str]:
        """The keys of a space, without their values."""
        ...

    def near(self, space: str, key: str) -> Sequence[str]:
        """Some keys about one that may not be there, in order; it takes no longer where there are many."""
        ...


class Invoker(Protocol):
    """A process, as far as its own handle needs to know it."""

    pid: int
    definition: str | None


class Owner(Protocol):
    """A process, as far as the scheduling of its calls needs to know it."""

    pid: int
    doing: Status
    service: str | None

    @property
    def status(self) -> Status:
        """What it does, or that it is paused or at its end."""
        ...


class Trap(Protocol):
    """Where syscalls go: the kernel's door, or a recording of it."""

    async def syscall(
        self,
        process: Any,
        name: str,
        args: dict[str, Any],
        deadline: float | None = None,
        stream: Callable[[Chunk], None] | None = None,
        principal: str | None = None,
        parts: Sequence[Part] | None = None,
    ) -> Any:
        """Make a call for a process; returns its result or raises the LLMAgentOSError it ended with."""
        ...

    def publish(self, task: str, chunk: Chunk) -> None:
        """Show a piece of an answer to whoever watches the task."""
        ...


Proceed = Callable[[Call], Awaitable[Any]]


class Filter(Protocol):
    """What must happen around every call: look, change, refuse by raising, or let it proceed.

    One that has an attribute `calls` (names of syscalls) stands around those alone.
    """

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """Return what `await proceed(call)` returned, or something else, or raise."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A filter that has to know what a process has seen, also of calls that are answered from the journal."""

    def follow(
        self, process: Any, syscall: Syscall, args: Mapping[str, Any], result: Any, origins: Sequence[str],
        parts: Sequence[Part] | None,
    ) -> None:  # fmt: skip
        """A call has succeeded, now or in the run that is resumed.

        `origins` are those that its row has, `parts` whose words the program says that the arguments are made of.
        """
        ...


class Approver(Protocol):
    """Somebody who may allow what a policy does not."""

    async def ask(self, question: Question) -> Answer:
        """What a person says to it; asked again after a crash with the same id. May take as long as a person does."""
        ...


Handler = Callable[[Call, Any], Awaitable[Any]]
"""A syscall's implementation: `(call, process) -> result`."""

Covers = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
"""Which part of a grant covers a call, by its arguments: pairs of a field of `Grant` and a name that must be held."""

Brings = Callable[[Mapping[str, Any], Any], Iterable[str]]
"""Whose words a result holds, by arguments and result: origins that may not direct a process; none: its own.

A call that failed is asked about as well, with its error as the result.
"""

Words = Callable[[Mapping[str, Any], Any, Sequence[str]], Iterable[Part]]
"""The words that a call brought into sight, by arguments, result and the origins in its row."""


def uncovered(args: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """For a syscall that touches nothing of others: every process may make it."""
    return ()


def own(args: Mapping[str, Any], result: Any) -> Iterable[str]:
    """For a result that holds nobody else's words."""
    return ()


def plain(value: Any) -> Any:
    """For a result that is JSON data."""
    return value


@dataclass(frozen=True, slots=True)
class Syscall:
    """A row of the syscall table. `deadline` in seconds; `decode` turns the journal's JSON into what callers expect.
    Without it they get JSON data, whatever record or tuple its handler returned.

    `covers` and `brings` are its declaration for the gate; one that leaves a part of it out is refused when the door
    is built. `covers=uncovered` and `brings=own` say so on purpose. `takes` has the types of arguments that become
    columns or numbers, by name: anything else is refused at the door, so is a text with NUL or a number over 63 bits.
    `words` is for a result whose words may direct its process, or some of them; without it none do.
    `shows` names those that only say how its result is shown: they are no part of its row and key. One that does not
    spend costs neither tokens nor money: it may be made where a budget of those is used up. `prompt`: its handler ends
    when it is cancelled, and holds no `asyncio.timeout` while it first waits; it is begun without a task.
    """

    handler: Handler
    deadline: float
    covers: Covers | None = None
    brings: Brings | None = None
    decode: Callable[[Any], Any] = plain
    takes: Mapping[str, tuple[type, ...]] = field(default_factory=dict)
    words: Words | None = None
    shows: Container[str] = ()
    spends: bool = True
    prompt: bool = False
