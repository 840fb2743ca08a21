"""Logging in to MCP servers (OAuth 2.1): once, with a person's browser; from then on with the tokens that are kept.

The tokens lie in the data folder, sealed with the key of the vault.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)

from ..core import codec
from ..core.errors import InvalidRequest, LLMAgentOSError
from ..core.records import Json
from ..core.secrets import noted
from ..core.whole import write_whole

PATIENCE = 300.0  # seconds for a person to log in
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nYou may close this page.\n"


class Seal(Protocol):
    """What encrypts: see `security.vault.Seal`."""

    def shut(self, value: str, where: str) -> str:
        """Encrypt a value for a place."""
        ...

    def open(self, sealed: str, where: str) -> str:
        """Decrypt it."""
        ...


class Login:
    """What is kept of a login to a server: its tokens, who we are to it, and where it gives new ones."""

    def __init__(self, file: Path, seal: Callable[[], Seal]) -> None:
        """`seal` is called where there is something to be sealed or opened; raises what that raises."""
        self._file, self._seal = file, seal
        self.kept: dict[str, Json] = {}

    async def auth(self, url: str) -> Any:
        """What shows the tokens, and asks for new ones where they are old; None where nobody has logged in."""
        if not self._file.exists():
            return None
        return _Provider(url, _about(self.load().get("redirect") or "http://127.0.0.1/callback"), self)

    def load(self) -> dict[str, Json]:
        """What is kept; raises InvalidRequest where it cannot be read."""
        try:
            self.kept = codec.loads(self._seal().open(self._file.read_text(), self._file.name))
        except Exception as error:  # of `cryptography`, or whatever a damaged value raises
            raise InvalidRequest(f"{self._file} cannot be read with the vault's key; log in again") from error
        return self.kept

    def keep(self, **told: Json) -> None:
        """Keep some more."""
        self.kept |= told
        sealed = self._seal().shut(codec.dumps(self.kept).decode(), self._file.name)
        write_whole(self._file, sealed.encode(), private=True)

    # -- as the SDK asks for it

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens."""
        return self._noted(OAuthToken.model_validate(self.kept["tokens"])) if self.kept.get("tokens") else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep new ones."""
        ends = time.time() + tokens.expires_in if tokens.expires_in else None
        self._noted(tokens)
        self.keep(tokens=tokens.model_dump(mode="json"), ends=ends)

    def _noted(self, tokens: OAuthToken) -> OAuthToken:
        """The tokens, which from now on stand in no log."""
        for each in (tokens.access_token, tokens.refresh_token):
            noted(each or "")
        return tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Who we are to the server."""
        return OAuthClientInformationFull.model_validate(self.kept["client"]) if self.kept.get("client") else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep who we are to it."""
        self.keep(client=client_info.model_dump(mode="json"))


class _Provider(OAuthClientProvider):
    """The SDK's, which also knows after a restart when the tokens end, and where there are new ones."""

    def __init__(self, url: str, about: OAuthClientMetadata, login: Login, **handlers: Any) -> None:
        super().__init__(url, about, login, **handlers)
        self._login = login

    async def _initialize(self) -> None:
        await super()._initialize()
        kept, context = self._login.kept, self.context
        context.token_expiry_time = kept.get("ends")
        if kept.get("server"):
            context.oauth_metadata = OAuthMetadata.model_validate(kept["server"])
        if kept.get("resource"):
            context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(kept["resource"])
            context.auth_server_url = str(context.protected_resource_metadata.authorization_servers[0])

    def keep(self) -> None:
        """Keep what was found out about the server."""
        server, resource = self.context.oauth_metadata, self.context.protected_resource_metadata
        self._login.keep(
            server=server.model_dump(mode="json") if server is not None else None,
            resource=resource.model_dump(mode="json") if resource is not None else None,
        )


class Redirect:
    """Where a browser comes back to: a port of the loopback, for one answer."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self, port: int) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._hear, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/callback"

    async def answer(self) -> AuthorizationCodeResult:
        """What the browser brings; raises InvalidRequest where the login was refused, TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            return await self._answer

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode(errors="replace").split()
        given = {name: values[0] for name, values in parse_qs(urlsplit(line[1]).query).items()} if len(line) > 1 else {}
        writer.write(_PAGE)
        await writer.drain()
        writer.close()
        if self._answer.done():
            return
        if "code" in given:
            self._answer.set_result(
                AuthorizationCodeResult(**{name: given.get(name) for name in ("code", "state", "iss")})
            )
        elif "error" in given:
            why = given.get("error_description") or given["error"]
            self._answer.set_exception(InvalidRequest(f"the login was refused: {why}"))


def _about(redirect: str) -> OAuthClientMetadata:
    return OAuthClientMetadata.model_validate({"client_name": "LLMAgentOS", "redirect_uris": [redirect]})


async def log_in(
    url: str,
    login: Login,
    show: Callable[[str], Awaitable[None]],
    client: str = "",
    port: int = 0,
) -> bool:
    """Log in to a server: `show` a person the page for it, and keep the tokens once the browser comes back.

    `client` is our id where the server gives none out by itself; it is registered there with
    `http://127.0.0.1:PORT/callback`. Returns False where the server asked for no login; raises InvalidRequest.
    """
    redirect = Redirect()
    await redirect.open(port)
    try:
        login.kept = {"redirect": redirect.url}
        if client:
            told = {"client_id": client, "redirect_uris": [redirect.url], "token_endpoint_auth_method": "none"}
            login.kept["client"] = told
        provider = _Provider(url, _about(redirect.url), login, redirect_handler=show, callback_handler=redirect.answer)
        async with (
            httpx2.AsyncClient(auth=provider, timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), read_timeout_seconds=PATIENCE),
        ):
            pass  # it has asked for the login by now
    except Exception as error:  # whatever a server, and the SDK, make of it
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, LLMAgentOSError):
            raise first from None
        raise InvalidRequest(f"the login failed: {first or type(first).__name__}") from error
    else:
        if login.kept.get("tokens"):
            provider.keep()
        return bool(login.kept.get("tokens"))
    finally:
        redirect.close()
