"""Output review: what an answer, a reply or a tool's argument says, judged before anybody or anything acts on it.

The parts that are certain come first: secrets, other people's values, phrases, and what would be executed at the sink
that the text goes to. Classifiers and a judge (an agent) come after them, and can only make a verdict stricter. None of
this is the boundary: what an agent may do at all is the policy's to say (`policy`).
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from ..core.errors import PermissionDenied
from ..core.links import found, plainly
from ..core.ports import Approver, Proceed
from ..core.records import NOTHING, Call, Chunk, GenerateRequest, Generation, Json, Question
from .asking import ABOUT, Asking
from .folding import matches
from .masking import TOKEN, aside, changed, given, recognised
from .recognisers import apart
from .vault import Vault, squeezed

Action = Literal["allow", "edit", "ask", "refuse"]
_STRICTNESS: tuple[Action, ...] = ("allow", "edit", "ask", "refuse")

Sink = Literal["text", "markdown", "html", "sql", "template", "shell", "code"]
"""What will use the text: `sql` a whole statement, `shell` and `template` a value that is put into one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a text should not say. With `end` it is at a place, and an edit puts `instead` there."""

    rule: str
    why: str
    start: int = 0
    end: int = 0
    instead: str = ""
    action: Action | None = None  # None: as the rules say


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a text: `text` is what may be said (as it was, or edited)."""

    action: Action
    text: str
    findings: tuple[Finding, ...] = ()


Classifier = Callable[[str], Iterable[Finding]]
Judge = Callable[[str, Sink], Awaitable[Finding | None]]
"""An agent, or anything that takes its time. It is not asked about what is refused already."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is looked for. `topics` are words by topic, looked for like `phrases`: whole, in any case.

    `secrets` are kinds of values (see `recognisers.KINDS`) that no answer may carry. `hosts` are those that pictures
    may be loaded from: a picture's address can carry data away without a click. `sink` is what shows answers; `sinks`
    says, by patterns of tools, which of their arguments go to which sink. `actions` is what becomes of a finding by
    rule: `secret`, `vault`, `token`, `phrase`, `topic`, `markdown`, `html`, `sql`, `template`, `shell`, `code`.
    """

    phrases: tuple[str, ...] = ()
    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ("KEY",)
    hosts: tuple[str, ...] = ()
    sink: Sink = "markdown"
    sinks: Mapping[str, Mapping[str, Sink]] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)


_RULES = Rules()
_ACTIONS: dict[str, Action] = {
    "secret": "edit", "vault": "edit", "token": "edit", "phrase": "refuse", "topic": "refuse", "markdown": "edit",
    "html": "edit", "sql": "ask", "template": "refuse", "shell": "refuse", "code": "ask",
}  # fmt: skip


# -- what a sink would execute

_SEEN = 8192  # characters that one of what follows may be long
_SCHEME = r"(?:javascript|vbscript|data|file)\s*:"
_ELSEWHERE = re.compile(r"(?:https?|ftps?|wss?):|(?:[a-z][a-z0-9+.-]*:)?//", re.I)
_WHITE = re.compile(r"\s+")
_TAG = re.compile(r"<[a-z/!?]", re.I)
_HIDDEN = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\u200b-\u200f\u2060\ufeff]|(?<=[a-z])[\t\r\n](?=[a-z:])", re.I)
_RUNS = re.compile(rf"=[\s\"']*{_SCHEME}", re.I)
_LOADS = re.compile(r"[\s/\"'](?:src|srcset|poster|background)\s*=[\s\"']*([^\s\"'>]{1,4000})", re.I)
_SHOWN = 500  # characters between the brackets of a link
_LINKS = 20_000  # of a text that are looked at: no reader wants more
_JOINT = re.compile(r"\][(\[]")
_TARGET = re.compile(r"\(\s*+<?([^)\s>]{1,4000}+)[^)]{0,500}+\)|\[[^\]]{0,200}+\]")
_RUN = re.compile(rf"\(\s*+<?\s*+{_SCHEME}[^)]{{0,4000}}+\)", re.I)
_QUOTED = re.compile(r"'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\"|`[^`]*`|\$(\w{0,64})\$.{0,2048}?\$\1\$", re.DOTALL)
_MOST_SQL = 1 << 16  # characters of a statement that are judged
_ACTS: dict[str, tuple[tuple[str, str], ...]] = {
    "html": (
        (r"<\s*+/?\s*+(?:script|iframe|object|embed|applet|base|form|meta|link|style|svg|math|frame|frameset"
         r"|template)\b",
         "an active element"),
        (r"[\s/\"']on[a-z]{3,24}\s*=", "a handler"),
        (r"style\s*=[^>]{0,1000}?(?:url\s*\(|expression\s*\(|@import)", "a style that loads something"),
    ),
    "sql": (
        (r";\s*\S", "more than one statement"), (r"--|/\*|#(?!>)", "a comment, which can hide the rest of a statement"),
        (r"\bunion\b(?:\s+all)?\s+select\b", "a second query by UNION"), (r"['\"`]", "a quote that is not closed"),
        (r"\bor\b\s+(?:not\s+)?(?:true\b|(?:\d+|\?)\s*(?:=|like|<|>)\s*(?:\d+|\?))", "a condition that always holds"),
        (r"\b(?:sleep|pg_sleep|benchmark|load_file|xp_cmdshell|load_extension)\s*\(|\binto\s+(?:out|dump)file\b"
         r"|\bwaitfor\s+delay\b|\battach\s+database\b", "a function that reaches beyond the data"),
    ),
    "template": ((r"\{\{|\{%|\$\{|#\{|<%|\{#|\[\[\$", "an expression that a template would evaluate"),),
    "shell": ((r"[;&|`<>\n\x00]|\$[({\w]|^-|(?<=\s)~|\.\./", "something that a shell acts on"),),
    "code": (
        (r"(?<![\w.])(?:eval|exec|compile|__import__|execfile|Function)\s*\(|__(?:globals|builtins|subclasses|class)__"
         r"|\b(?:os\.(?:system|popen|exec\w*|spawn\w*|remove|unlink)|subprocess\.\w+|shutil\.rmtree|pickle\.loads?"
         r"|marshal\.loads|ctypes\.\w+|child_process|yaml\.unsafe_load|socket\.socket|importlib\.import_module)\b"
         r"|\bimport\s+(?:subprocess|ctypes|socket|pty)\b", "code that reaches beyond itself"),
    ),
}  # fmt: skip
_PATTERNS = {sink: [(re.compile(pattern, re.I), why) for pattern, why in acts] for sink, acts in _ACTS.items()}


def _allowed(address: str, hosts: Sequence[str]) -> bool:
    """Whether a picture may be loaded from there; what has no host is our own."""
    read = _WHITE.sub("", plainly(address)).replace("\\", "/")  # as browsers do
    if not _ELSEWHERE.match(read):
        return True
    first = next(iter(found(read)), None)
    host = first.host.partition(":")[0] if first is not None else ""
    return bool(host) and any(f".{host}".endswith("." + each.removeprefix("www.")) for each in hosts)


def _at_sink(text: str, sink: Sink, hosts: Sequence[str]) -> Iterator[Finding]:
    """What the sink would act on."""
    if sink in ("markdown", "html"):
        yield from _markdown(text, hosts)
    if sink == "html":
        yield from _html(text, hosts)
        return
    if sink == "sql" and len(text) > _MOST_SQL:
        yield Finding(sink, f"a statement longer than {_MOST_SQL:,} characters")
        return
    plain = _QUOTED.sub("?", text.strip().rstrip(";")) if sink == "sql" else text
    for pattern, why in _PATTERNS.get(sink, ()):
        if match := _first(pattern, plain):
            yield Finding(sink, f"{why} ({match[0]!r})")


def _first(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(matches(pattern, text, _SEEN), None)


def _markdown(text: str, hosts: Sequence[str]) -> Iterator[Finding]:
    """Looked for from where a link's text ends: brackets that only open are many, and cost nothing."""
    pictured = linked = 0
    for number, joint in enumerate(matches(_JOINT, text, 1)):
        if number == _LINKS:
            yield Finding("markdown", f"more than {_LINKS:,} links")
            return
        place = joint.start()
        begin = max(place - _SHOWN, 0)
        begin = max(begin, text.rfind("]", begin, place) + 1)
        if (at := text.find("![", max(begin - 2, pictured), place)) >= 0 and (to := _TARGET.match(text, place + 1)):
            pictured = to.end()
            if to[1] is None or re.match(_SCHEME, to[1], re.I) or not _allowed(to[1], hosts):
                yield Finding("markdown", "a picture loaded from elsewhere", at, to.end(), text[at + 2 : place])
        if (at := text.find("[", max(begin - 1, linked), place)) >= 0 and (to := _RUN.match(text, place + 1)):
            linked = to.end()
            yield Finding("markdown", "a link that runs code", at, to.end(), text[at + 1 : place])


def _html(text: str, hosts: Sequence[str]) -> Iterator[Finding]:
    if not _TAG.search(text):
        return
    read = _without(_HIDDEN, html.unescape(text))  # addresses as a browser reads them
    why = [why for pattern, why in _PATTERNS["html"] if _first(pattern, text)]
    why += ["an address that runs code"] if _first(_RUNS, read) else []
    loads = matches(_LOADS, read, _SEEN)
    why += ["something loaded from elsewhere" for match in loads if not _allowed(match[1], hosts)]
    if why:
        yield Finding("html", ", ".join(dict.fromkeys(why)), 0, len(text), html.escape(text))


def _without(pattern: re.Pattern[str], text: str) -> str:
    """A text without what a pattern says."""
    parts, end = [], 0
    for match in matches(pattern, text):
        parts.append(text[end : match.start()])
        end = match.end()
    return "".join(parts) + text[end:]


# -- the review


class Review:
    """Judges texts, and is a filter: answers of models, arguments of tools by their sinks, what agents send.

    An answer under review is shown when it has been judged: until then its watcher gets signs of life only. An edit
    changes what goes on from here; the journal keeps the arguments that were given. Verdicts are kept as labels of the
    call (`review:ACTION:RULE`).
    """

    def __init__(
        self, rules: Rules = _RULES, vault: Vault | None = None, approver: Approver | None = None,
        classifiers: Sequence[Classifier] = (), judges: Sequence[Judge] = (),
    ) -> None:  # fmt: skip
        """With a `vault`, values of the tenant are found that do not stand in the prompt: they came from elsewhere."""
        self._rules, self._vault, self._sink = rules, vault, rules.sink
        self._asking = None if approver is None else Asking(approver)
        self._classifiers, self._judges = classifiers, judges
        self._topics = {word.casefold(): topic for topic, words in rules.topics.items() for word in words}
        words = sorted(map(re.escape, {*rules.phrases, *self._topics}), key=len, reverse=True)
        either = "|".join(words).replace(r"\ ", r"\s+") or "(?!)"
        self._phrases = re.compile(rf"(?<![0-9A-Za-z])(?:{either})(?![0-9A-Za-z])", re.IGNORECASE)

    def _sinks(self, tool: str) -> dict[str, Sink]:
        """Which arguments of a tool go to which sink."""
        found = [sinks for pattern, sinks in self._rules.sinks.items() if fnmatchcase(tool, pattern)]
        return {name: sink for sinks in found for name, sink in sinks.items()}

    async def judge(self, text: str, sink: Sink, tenant: str = "default", known: str | None = None) -> Judgement:
        """What becomes of a text that goes to a sink. `known` is what its reader knows; None: whatever it is."""
        findings = await aside(
            lambda: [*self._certain(text, sink, tenant, known), *self._classified(text)], len(text) + len(known or "")
        )
        for judge in self._judges:
            if self._action(findings) != "refuse" and (found := await judge(text, sink)) is not None:
                findings.append(found)
        action = self._action(findings)
        edits = [each for each in findings if self._of(each) == "edit"]
        return Judgement(action, text if action == "refuse" else _edited(text, edits), tuple(findings))

    def _classified(self, text: str) -> Iterator[Finding]:
        return (found for classify in self._classifiers for found in classify(text))

    def _certain(self, text: str, sink: Sink, tenant: str, known: str | None) -> Iterator[Finding]:
        """What needs no opinion."""
        for span in apart([*recognised(text), *given(text)]):
            if span.kind in self._rules.secrets:
                yield Finding("secret", f"a {span.kind}", span.start, span.end, f"<{span.kind}>")
        for match in matches(TOKEN, text):
            kind = match[0].split("_")[0] + ">"
            yield Finding("token", "a token without its value", match.start(), match.end(), kind)
        swept = self._vault.known(tenant).find(text) if self._vault is not None and known is not None else ()
        told = squeezed(known) if known and self._vault is not None else ""
        for span in swept:
            if squeezed(text[span.start : span.end]) not in told:
                yield Finding("vault", f"somebody's {span.kind}", span.start, span.end, f"<{span.kind}>")
        for match in matches(self._phrases, text):
            topic = self._topics.get(" ".join(match[0].casefold().split()))
            yield Finding("topic" if topic else "phrase", topic or match[0], match.start(), match.end(), "…")
        yield from _at_sink(text, sink, self._rules.hosts)

    def _of(self, finding: Finding) -> Action:
        action = finding.action or self._rules.actions.get(finding.rule) or _ACTIONS.get(finding.rule, "ask")
        return "refuse" if action == "edit" and finding.end <= finding.start else action  # nowhere to edit

    def _action(self, findings: Iterable[Finding]) -> Action:
        return max(map(self._of, findings), key=_STRICTNESS.index, default="allow")

    async def __call__(self, call: Call, process: Any, proceed: Proceed) -> Any:
        """See `core.ports.Filter`. Raises PermissionDenied for what is refused."""
        if call.name == "generate":
            return await self._answer(call, process, proceed)
        if call.name == "call" and (sinks := self._sinks(call.args["tool"])):
            arguments = dict(call.args["arguments"])
            for name in sinks.keys() & arguments.keys():
                arguments[name] = await self._data(arguments[name], sinks[name], call, process)
            return await changed(call, proceed, arguments=arguments)
        if call.name == "send" and process.service is None:
            return await changed(call, proceed, body=await self._data(call.args["body"], self._sink, call, process))
        return await proceed(call)

    async def _answer(self, call: Call, process: Any, proceed: Proceed) -> Generation:
        stream, shown = call.stream, list[Chunk]()

        def hold(chunk: Chunk) -> None:
            shown.append(chunk)
            stream(NOTHING)  # type: ignore[misc]

        call.stream = hold if stream is not None else None
        try:
            answer: Generation = await proceed(call)
        finally:
            call.stream = stream
        request: GenerateRequest = call.args["request"]
        known = "\n".join([request.prompt or "", *(message.text for message in request.messages)])
        text = await self._text(answer.text, self._sink, call, process, known)
        alternatives = answer.alternatives
        others = [replace(o, text=await self._text(o.text, self._sink, call, process, known)) for o in alternatives]
        reviewed = replace(answer, text=text, alternatives=tuple(others))
        if stream is not None and shown:  # as it came, or where it was changed, in one piece
            last = replace(shown[-1], text=text, tool_calls=answer.tool_calls, alternatives=reviewed.alternatives)
            for chunk in shown if reviewed == answer else [last]:
                stream(chunk)
        return reviewed

    async def _data(self, value: Json, sink: Sink, call: Call, process: Any) -> Json:
        """JSON data with every text in it reviewed."""
        if isinstance(value, str):
            return await self._text(value, sink, call, process, None)
        if isinstance(value, Mapping):
            return {key: await self._data(item, sink, call, process) for key, item in value.items()}
        return [await self._data(item, sink, call, process) for item in value] if isinstance(value, list) else value

    async def _text(self, text: str, sink: Sink, call: Call, process: Any, known: str | None) -> str:
        if not text:
            return text
        judged = await self.judge(text, sink, call.tenant, known)
        call.labels += tuple(dict.fromkeys(f"review:{judged.action}:{each.rule}" for each in judged.findings))
        why = "; ".join(f"{each.rule}: {each.why}" for each in judged.findings[:5])
        if judged.action == "refuse" or (judged.action == "ask" and not await self._asked(text, why, call, process)):
            raise PermissionDenied(f"the review refuses this {call.name}: {why}", call=call.name)
        return judged.text

    async def _asked(self, text: str, why: str, call: Call, process: Any) -> bool:
        agent, tool = str(process.name or process.pid), call.args.get("tool", call.name)
        said: dict[str, Json] = {"text": text}
        digest = hashlib.blake2b(text.encode(), digest_size=ABOUT // 2).hexdigest()
        question = Question(
            f"{digest}.{call.key}", call.pid, call.tenant, call.principal, agent, tool, said, {}, why, process.turn
        )
        return self._asking is not None and (await self._asking.ask(question, call, process)).allowed


def _edited(text: str, findings: Sequence[Finding]) -> str:
    """A text with what is to be put instead; of edits that overlap the one that begins first, or is longest."""
    parts, end = [], 0
    for each in sorted(findings, key=lambda found: (found.start, -found.end)):
        if each.start >= end:
            parts += [text[end : each.start], each.instead]
            end = each.end
    return "".join(parts) + text[end:]
