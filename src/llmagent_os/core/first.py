"""Arguments in the form that the first schema had, for turns that were open when a folder was brought to a newer one.

Such a turn goes on under the keys that it began with: so what it did is found, and what was in flight runs again under
the key that the outside world has seen. Records had these fields then, all of them written, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from . import codec
from .records import Budget, Supervision

FIELDS = {
    "GenerateRequest": (
        "model", "messages", "prompt", "sampling", "tools", "tool_choice", "schema", "choices", "adapter", "stream",
        "said", "decoding", "service", "needs",
    ),
    "EmbedRequest": ("model", "texts"),
    "Message": ("role", "content", "tool_calls", "tool_call_id", "name"),
    "ToolCall": ("id", "name", "arguments"),
    "Sampling": (
        "max_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "presence_penalty",
        "frequency_penalty", "seed", "stop", "logit_bias", "top_logprobs",
    ),
    "ToolSpec": ("name", "description", "parameters"),
    "Decoding": (
        "strategy", "width", "n", "length_penalty", "early_stopping", "scorer", "banned", "topics", "explain",
    ),
    "Needs": ("task", "language", "max_price"),
    "Budget": ("tokens", "money", "steps", "seconds", "depth"),
    "Supervision": ("restart", "strategy", "intensity", "period"),
    "Grant": ("tools", "paths", "hosts", "models", "agents", "policy"),
    "Policy": ("untrusted", "approvals", "tools"),
    "Rule": ("meanings", "allow", "refuse", "most", "untrusted", "trusted"),
}  # fmt: skip


DIGEST = 9  # bytes of the digest in a key


def made(key: str) -> bool:
    """Whether a call's key has the form of the first schema."""
    parts = key.split(".")
    return len(parts) == 4 and len(parts[2]) == 2 * DIGEST


def digest(name: str, args: Mapping[str, Any]) -> str:
    """What a call's key says of its name and arguments."""
    return codec.digest(name, form(name, args), DIGEST)


def form(name: str, args: Mapping[str, Any]) -> bytes:
    """A syscall's arguments as bytes that a key of the first schema was made from."""
    if name == "spawn":
        args = dict(args)
        for field, cls in (("budget", Budget), ("supervision", Supervision)):
            if args.get(field) is not None:
                args[field] = codec.record(cls, args[field])
        if args.get("grant") is not None:
            args["grant"] = codec.grant(args["grant"])
    return orjson.dumps(args, default=_whole, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)


def _whole(value: Any) -> Any:
    if not hasattr(value, "__dataclass_fields__"):
        return codec.plain(value)
    names = FIELDS.get(type(value).__name__) or tuple(field.name for field in fields(value))
    return {name: getattr(value, name) for name in names}
