"""The forms in which a caller is told of an error, by what was asked: OpenAI's, Anthropic's, or this system's own."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import BudgetExceeded, ContextOverflow, NotFound, Unsupported
from ..core.records import Json
from .errors import openai_body, rest_body, status_of, told

ANTHROPIC = "/v1/messages"
OPENAI = frozenset({"chat", "completions", "embeddings", "responses", "conversations"})
"""The families of paths below /v1 that are OpenAI's and served."""

_HERE = "this server does not have"
ABSENT = {
    "files": "send text and pictures in the message itself; files that agents make are had with GET /v1/blobs/NAME",
    "batches": 'send the requests one by one with `service_tier: "flex"`: they are answered when there is room',
    "assistants": "define an agent with POST /v1/agents; `model` takes its name",
    "threads": "use /v1/conversations, `previous_response_id`, or an agent's session",
    "vector_stores": "nothing here searches in files; offer a search tool in `tools`",
    "images": "models here write text only",
    "audio": "models here write text only",
    "videos": "models here write text only",
    "realtime": "answers stream as server-sent events; send `stream: true`",
    "moderations": "there is no moderation service behind this server",
    "fine_tuning": "adapters are named with `adapter`; nothing is trained over this API",
    "uploads": "send text and pictures in the message itself",
    "containers": "give an agent the tools `python` or `shell`, which run in a sandbox",
    "evals": "there is no such service behind this server",
    "skills": "there is no such service behind this server",
    "organizations": "keys are kept with /v1/keys",
    "complete": "send POST /v1/messages",
}
"""The families that those two have and this server has not, with what to do instead."""

_BATCHES = "send the requests one by one to /v1/messages"
_DEEPER = {
    "messages/batches": _BATCHES,
    "responses/compact": "an agent shortens its context by itself; a client sends what it wants to be read",
}


@dataclass(frozen=True, slots=True)
class Form:
    """How an error becomes an answer: its status, and its body for who sent a request with some fields."""

    status: Callable[[BaseException], int]
    body: Callable[[BaseException, Container[str]], dict[str, Json]]


def anthropic_status(error: BaseException) -> int:
    """As Anthropic's API has it: 400 for a value that cannot be used, 402 for a used up budget, 529 to ask again."""
    if isinstance(error, BudgetExceeded):
        return 402
    status = status_of(error)
    return {409: 400, 503: 529}.get(status, status)


_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 405: "invalid_request_error", 413: "request_too_large", 429: "rate_limit_error",
    504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


def anthropic_body(error: BaseException, wrote: Container[str] = ()) -> dict[str, Json]:
    """`{"type": "error", "error": {type, message}}`, as Anthropic's SDKs read it."""
    known = told(error)
    text = known.message
    if isinstance(known, ContextOverflow) and known.facts.keys() >= {"tokens", "window"}:
        # by these words their clients know that a conversation is to be shortened
        text = f"prompt is too long: {known.facts['tokens']} tokens > {known.facts['window']} maximum; {text}"
    kind = _TYPES.get(anthropic_status(error), "api_error")
    details = {"details": known.facts["details"]} if "details" in known.facts else {}
    return {"type": "error", "error": {"type": kind, "message": text, **details}}


OURS = Form(status_of, lambda error, wrote: rest_body(error))
_OPENAI = Form(status_of, openai_body)
_ANTHROPIC = Form(anthropic_status, anthropic_body)


def form_of(scope: Mapping[str, Any]) -> Form:
    """The form that whoever sent a request reads. /v1/models is asked by both; Anthropic's SDKs name their version."""
    family = _family(scope["path"])
    if scope["path"] == ANTHROPIC or scope["path"].startswith(f"{ANTHROPIC}/"):
        return _ANTHROPIC
    if family in OPENAI:
        return _OPENAI
    if family in ABSENT or family == "models":
        theirs = any(name == b"anthropic-version" for name, _ in scope["headers"])
        return _ANTHROPIC if theirs else _OPENAI if family in ABSENT or scope.get("method") == "GET" else OURS
    return OURS


def absent(path: str) -> NotFound | None:
    """The answer to a path of theirs that is known and not served here; None for any other."""
    deeper = next((name for name in _DEEPER if path.startswith(f"/v1/{name}")), None)
    family = deeper or _family(path)
    instead = _DEEPER[deeper] if deeper else ABSENT.get(family)
    return NotFound(f"{_HERE} /v1/{family}; {instead}", kind="path") if instead else None


def _family(path: str) -> str:
    """The part of a path below /v1."""
    first, _, rest = path.removeprefix("/").partition("/")
    return rest.partition("/")[0] if first == "v1" else ""


def refused(what: str, where: str, instead: str, **facts: Json) -> Unsupported:
    """What is known of theirs and cannot be done here, told by the field that asks for it."""
    return Unsupported(f"{where}: {_HERE} {what}; {instead}", parameter=where, **facts)
