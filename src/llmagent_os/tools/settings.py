"""Where tools come from beside Python: what the configuration says about MCP servers and OpenAPI documents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MCPServer:
    """A server of the Model Context Protocol: a `command` to start (stdio), or the `url` of one that runs (HTTP).

    A command is given none of our environment but PATH, HOME and the like, and the variables named in `env`, where
    `NAME=VALUE` is one with its value. `key_env` names the variable that holds a bearer token for `url`; without one,
    tokens of `tools login` are used where there are any. `timeout` is in seconds, for each call. `keyed`: its tools
    act once under one idempotency key, which every call has in its `_meta`.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, read where configuration enters
    command: tuple[str, ...] = ()
    url: str = ""
    env: tuple[str, ...] = ()
    key_env: str = ""
    timeout: float = 60.0
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """An OpenAPI document to import. `source` is a file or a URL; `server` the base URL where the document has none.

    `key_env` names the environment variable that holds the key (for basic authentication: `user:password`); `timeout`
    is in seconds, for each call. `keyed`: its server acts once under one `Idempotency-Key`, a header of every call.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    source: str
    server: str = ""
    key_env: str = ""
    timeout: float = 60.0
    keyed: bool = False
