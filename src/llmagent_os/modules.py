"""The modules that the reference documents name, each for a program that runs no system."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TextIO, TypeVar

from .core import codec
from .core.errors import InvalidRequest, nearest
from .core.records import DEFAULT, Document, Json, Place, Sought
from .core.visible import visible
from .knowledge import extraction, folders, memory, readers
from .knowledge.base import Knowledge
from .knowledge.facts import FactBase
from .knowledge.rules import Statement, svg
from .knowledge.rules.told import moment
from .stores.sqlite import SQLiteStore

T = TypeVar("T")

Told = list[dict[str, Json]]
LOADED = "loaded"
"""What begins the sources of values that were loaded."""


class KnowledgeBase:
    """What is known, in a file or, without one, in memory: documents and values go in, passages are found.

    Its calls return when they are done, in a program with an event loop as well.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """`path` is a file of this knowledge base's own; a journal's is its system's."""
        self._store = SQLiteStore(Path(path) if path is not None else None)
        self._knowledge = Knowledge(self._store, self._append)
        self._facts, self._place = FactBase(self._knowledge, self._store), Place(DEFAULT)
        self._thread = ThreadPoolExecutor(1, "knowledge-base")

    async def _append(self, statements: Sequence[tuple[str, tuple[Any, ...]]], then: Callable[[], None]) -> None:
        self._store.write(statements)
        then()

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(asyncio.run, work).result()

    def load_knowledge(self, json: str | Path | Json) -> int:
        """Take in values: JSON as a text, a file of it, or data; returns how many passages that made.

        A list has a document a value; of a mapping each value is one, or, where it is a list, each in that. Of a name
        that was loaded before, what is given now is known instead.
        """
        text = json.read_text(encoding="utf-8") if isinstance(json, Path) else json
        if isinstance(text, str):
            if text.lstrip()[:1] not in ("{", "["):
                text = Path(text).read_text(encoding="utf-8")
            try:
                text = codec.loads(text)
            except ValueError as error:
                raise InvalidRequest(f"this is not JSON: {error}", parameter="json") from None
        named = text if isinstance(text, Mapping) else {"": text}
        documents = [
            readers.record(each, "/".join(filter(None, (LOADED, str(name)))))
            for name, value in named.items()
            for each in (value if isinstance(value, list) else [value])
        ]
        return self._done(self._knowledge.add(self._place, documents))

    def retrieve_knowledge(self, text: str, limit: int = 5) -> Told:
        """The passages nearest to a text, the best first: `text`, `title`, `source`, `begin`, `end`, `score`, ..."""
        return self.search(text, limit)

    def add(self, source: str, text: str, title: str = "", tags: Sequence[str] = ()) -> int:
        """Take in a text, in place of what is from the same source; returns how many passages it made."""
        made = Document(memory.document(source), text, title, None, tuple(tags))
        return self._done(self._knowledge.add(self._place, [made]))

    def remove(self, source: str) -> int:
        """Forget what is from a source; returns how many documents that were."""
        return self._done(self._knowledge.remove(self._place, source))

    def list(self) -> Told:
        """The documents that are known."""
        known = self._knowledge
        return [each.told() for each in known.documents(known.places(DEFAULT), limit=-1)]

    def sync(self, folder: str | Path, tags: Sequence[str] | None = None) -> dict[str, Json]:
        """Have what is known of a folder be what is in it; `skipped` names what cannot be read, and why.

        Without `tags` those from before stay.
        """
        return self._done(folders.sync(self._knowledge, self._place, Path(folder), tags)).told()

    def search(self, text: str, limit: int = 10, tags: Sequence[str] = ()) -> Told:
        """Passages as `retrieve_knowledge` has them, of documents that have all of some tags."""
        sought = Sought(text, limit, tags=tuple(tags))
        found = self._done(self._knowledge.search(self._knowledge.places(DEFAULT), sought))
        return [each.told() for each in found]

    def load_rules(self, rules: str | Path, name: str = "rules") -> dict[str, Json]:
        """Keep rules, a text or a file of them, in place of those of that name; raises InvalidRequest with the line."""
        text = rules.read_text(encoding="utf-8") if isinstance(rules, Path) else rules
        return self._done(self._facts.put_rules(self._place, rules.name if isinstance(rules, Path) else name, text))

    def add_facts(self, facts: Sequence[Sequence[Any] | Mapping[str, Any]], source: str = "") -> Sequence[int]:
        """Add facts: (subject, predicate, object), or mappings that may have `since`, `until` and `confidence` as well;
        returns their numbers.
        """
        said = [_statement(each, source) for each in facts]
        return self._done(self._facts.add(self._place, said))

    def extract(self) -> dict[str, int]:
        """Read facts in all documents by the patterns that the rules declare; returns how many."""
        return self._done(extraction.by_patterns(self._knowledge, self._facts, self._place))

    def infer(self, question: str, limit: int = 10) -> Told:
        """Answers to a question like `room(X, "Room 2")`: each has `fact`, `values`, `confidence`, `text` (the proof as
        a tree), `proof` (its steps).
        """
        found = self._done(self._facts.infer(self._knowledge.places(DEFAULT), question, limit))
        return [each.told() for each in found.answers]

    def explain(self, fact: str, image: bool = False) -> str:
        """Why a fact holds, as a tree of text or an SVG image; or why not."""
        found = self._done(self._facts.infer(self._knowledge.places(DEFAULT), fact, 1))
        if not found.answers:
            return "\n".join(map(str, found.missing))
        return svg(found.answers[0].proof) if image else found.answers[0].proof.text()

    def close(self) -> None:
        """Release the file."""
        self._thread.shutdown()
        self._facts.close()
        self._knowledge.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


MODES = {
    "task_oriented": "Do what the user asks for, briefly. Use what is known; say so when that is not enough.",
    "conversational": "Talk with the user in a friendly way, and ask back where something is unclear.",
    "informative": "Explain what the user asks about, from what is known, with the reasons.",
}
"""Ways to behave, and what the model is told of each."""
INTERFACES = ("text",)


class BehaviorModule:
    """How an agent behaves: what its model is told beside the question."""

    def __init__(self, mode: str = "task_oriented") -> None:
        self.set_mode(mode)

    def set_mode(self, mode: str) -> None:
        """Behave as one of `MODES`; raises InvalidRequest with the nearest one."""
        if mode not in MODES:
            raise InvalidRequest(f"there is no mode {mode!r}; {nearest(mode, MODES)}", parameter="mode")
        self.mode = mode

    def messages(self, text: str, knowledge: Sequence[Mapping[str, Any] | str] = ()) -> list[dict[str, str]]:
        """What the model is asked: rows to tune it on should have the same, as their `input`."""
        known = [each if isinstance(each, str) else str(each["text"]) for each in knowledge]
        told = "".join(f"\n- {each}" for each in known)
        system = MODES[self.mode] + (f"\nKnown:{told}" if told else "")
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]

    def generate_response(
        self, text: str, knowledge: Sequence[Mapping[str, Any] | str], llm: Any, **options: Any
    ) -> str:  # fmt: skip
        """Ask a model, with what is known (`retrieve_knowledge`); `options` are those of `LLM.generate`.

        Where nothing else is said it takes the likeliest word each time, and at most 256.
        """
        asked = {"temperature": 0.0, "max_tokens": 256, **options}
        answer: str = llm.generate(self.messages(text, knowledge), **asked).text
        return answer.strip()


class InteractionModule:
    """How an agent is talked to."""

    def __init__(self, interface: str = "text", out: TextIO | None = None) -> None:
        """`out` is where answers are shown; standard output without it."""
        self.set_interface(interface)
        self._out = out

    def set_interface(self, interface: str) -> None:
        """Show answers as text; raises InvalidRequest for anything else, which is not there."""
        if interface not in INTERFACES:
            raise InvalidRequest(f"there is no interface {interface!r}; there is: text", parameter="interface")
        self.interface = interface

    def display_response(self, text: str) -> None:
        """Show an answer, without what a terminal would take for commands."""
        print("\n".join(map(visible, text.splitlines())), file=self._out or sys.stdout, flush=True)


def _statement(fact: Sequence[Any] | Mapping[str, Any], source: str) -> Statement:
    told = fact if isinstance(fact, Mapping) else dict(zip(("subject", "predicate", "object"), fact, strict=True))
    since, until = moment(told.get("since")), moment(told.get("until"))
    return Statement(told["subject"], told["predicate"], told["object"], since, until, 0.0, source,
                     told.get("confidence", 1.0))  # fmt: skip
