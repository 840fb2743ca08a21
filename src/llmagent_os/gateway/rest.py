"""The REST application put together: routes, errors in one shape, and an OpenAPI document of everything served."""

from __future__ import annotations

import asyncio
import difflib
import functools
from collections.abc import Iterable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from ..core import codec
from ..core.errors import LONGEST, InvalidRequest, LLMAgentOSError, NotFound, PermissionDenied
from .asgi import LONG
from .auth import ANYBODY, KNOWN, ROUTES, methods
from .bodies import ChatBody, CompletionBody, EmbeddingsBody
from .errors import explained, headers, models_in
from .forms import absent, form_of
from .messages_bodies import CountBody, MessagesBody
from .responses_bodies import ResponsesBody
from .rest_accounts import Accounts
from .rest_agents import Agents
from .rest_anomalies import Anomalous
from .rest_approvals import Approving
from .rest_desktop import Showing
from .rest_events import Events
from .rest_facts import Facts
from .rest_feedback import Feedback
from .rest_files import Files
from .rest_flows import Flows
from .rest_identity import Identity
from .rest_knowledge import Knowing
from .rest_login import Entrance
from .rest_pages import Pages
from .rest_processes import Processes
from .rest_pulls import Pulling
from .rest_responses import Conversing
from .rest_system import Overview
from .rest_teamwork import Teamwork
from .rest_tenants import Tenants
from .rest_tools import Tools
from .rest_triggers import HOOKS, Triggers
from .routes import checked

DESCRIPTION = """An operating system for LLM agents. Every path but `/health`, the pages and webhooks needs
`Authorization: Bearer KEY` or `x-api-key: KEY`: the owner's, in the file `key` of the data folder, one minted with
`POST /v1/keys`, or a token, or the cookie of a login. Errors are
`{"error": {type, message, facts, param, code}}`, on the OpenAI-compatible paths
`{"error": {message, type, param, code}}`, on Anthropic's `{"type": "error", "error": {type, message}}`."""

HOT: dict[str, tuple[type[BaseModel], str, str]] = {
    "/v1/chat/completions": (ChatBody, "openai", "OpenAI's chat API; `model` names a model or an agent"),
    "/v1/completions": (CompletionBody, "openai", "OpenAI's API for raw prompts"),
    "/v1/responses": (ResponsesBody, "openai", "OpenAI's responses API; `model` as in chats"),
    "/v1/responses/input_tokens": (ResponsesBody, "openai", "The tokens of a response's input, as the model counts"),
    "/v1/embeddings": (EmbeddingsBody, "openai", "OpenAI's embeddings API"),
    "/v1/messages": (MessagesBody, "anthropic", "Anthropic's Messages API; `model` as in chats"),
    "/v1/messages/count_tokens": (CountBody, "anthropic", "The tokens of a message, as the model itself counts them"),
}
"""What is served beside the framework: path -> body, the API that it is of, and summary."""


@functools.cache
def rest_app() -> FastAPI:
    """The application behind every path that is not a hot one; of which system is asked, a request says itself.

    It is made once a process: that takes a tenth of a second, and knows of no system.
    """
    app = FastAPI(
        title="LLMAgentOS",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # it has a route of its own
        dependencies=[Depends(_allowed), Depends(_plain)],
    )
    parts = (
        Agents, Files, Flows, Processes, Entrance, Pages, Conversing, Overview, Pulling, Events, Identity, Tenants,
        Approving, Anomalous, Feedback, Accounts, Tools, Triggers, Knowing, Facts,
        Teamwork, Showing,
    )  # fmt: skip
    for part in parts:
        app.include_router(part().router())
    app.add_exception_handler(LLMAgentOSError, _failed)
    app.add_exception_handler(TimeoutError, _failed)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, functools.partial(_no_route, app))
    app.openapi = functools.cache(functools.partial(_document, app))  # type: ignore[method-assign]
    app.get("/openapi.json", include_in_schema=False)(_Described(app).document)
    return app


class _Described:
    """The OpenAPI document for whoever asks: made once, in a thread, as that takes a second."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: asyncio.Future[bytes] | None = None

    async def document(self) -> Response:
        """The document."""
        if self._made is None:
            self._made = asyncio.ensure_future(asyncio.to_thread(lambda: codec.dumps(self._app.openapi())))
        return Response(await asyncio.shield(self._made), media_type="application/json")


async def _allowed(request: Request) -> None:
    """Refuse a caller who lacks the scope of a route."""
    route = f"{request.method} {request.scope['route'].path}"
    scope = ROUTES.get(route)
    if scope is None:
        raise PermissionDenied(f"no scope is declared for {route}")
    if scope not in (ANYBODY, KNOWN):
        request.scope["desk"].caller.need(scope)


async def _plain(request: Request) -> None:
    """Refuse a body that no journal could keep: the framework's parser takes more than JSON can hold.

    Where a route takes no body, nobody reads what is sent as one, least of all of who has shown no key.
    """
    takes = bool(request.scope["route"].dependant.body_params) and not getattr(request, "checked", False)
    if takes and "json" in request.headers.get("content-type", "") and (data := await request.body()):
        if len(data) <= LONG:
            checked(data)
        else:
            await asyncio.to_thread(checked, data)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: the framework's routes, and the hot paths beside it."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, definitions = models_json_schema(
        [(body, "validation") for body, *_ in HOT.values()], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    for operation in (each for verbs in document["paths"].values() for each in verbs.values()):
        if operation["responses"].pop("422", None):  # the framework's, which is never sent
            operation["responses"]["400"] = {"description": 'What was sent cannot be used: `{"error": {...}}`'}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    document["paths"].update({path: {"post": _operation(*about)} for path, about in HOT.items()})
    document["paths"]["/health"]["get"]["security"] = document["paths"][HOOKS + "{pid}"]["post"]["security"] = []
    return document


def _operation(body: type[BaseModel], api: str, summary: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    content = {"application/json": {"schema": schema}}
    answer = {"description": "The answer as that API gives it, or with `stream` in server-sent events"}
    return {"tags": [api], "summary": summary, "requestBody": {"required": True, "content": content},
            "responses": {"200": answer}}  # fmt: skip


async def _failed(request: Request, error: Exception) -> Response:
    return _answer(request, error)


def _answer(request: Request, error: Exception, status: int = 0) -> Response:
    form = form_of(request.scope)
    response = Response(codec.dumps(form.body(error, ())), status or form.status(error), media_type="application/json")
    response.raw_headers.extend(headers(error))
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if error.body is not None and "json" not in request.headers.get("content-type", ""):
        return await _failed(request, InvalidRequest("send JSON, with the header `Content-Type: application/json`"))
    sent = error.body if error.body is not None else ...
    found = [each for each in error.errors() if each["loc"][:1] == ("body",)]
    if sent is ... or not found:  # the query is at fault
        return await _failed(request, explained(error.errors(), _models(request)))
    return await _failed(request, explained(found, _models(request), sent=sent))


def _models(request: Request) -> Iterable[type[BaseModel]]:
    """What the body or query of a request's route is read as."""
    dependant = request.scope["route"].dependant
    for param in (*dependant.body_params, *dependant.query_params):
        yield from models_in(param.field_info.annotation)


async def _no_route(app: FastAPI, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    if error.status_code == 400 and isinstance(error.__cause__, LLMAgentOSError):
        return _answer(request, error.__cause__)
    if error.status_code == 400:
        return _answer(request, InvalidRequest(f"the body of {where} cannot be read as JSON: {error.detail}"))
    if (theirs := absent(request.url.path)) is not None:
        return _answer(request, theirs)
    if error.status_code == 405 or request.url.path in HOT:
        answer = _answer(request, InvalidRequest(f"{where} is not offered; see /openapi.json for what is"), 405)
        answer.headers["allow"] = ", ".join(methods(request.url.path))
        return answer
    return _answer(request, NotFound(f"there is no {where}; {_path_hint(request.url.path)}", kind="path"))


def _path_hint(path: str) -> str:
    """The path that was meant, where that is beyond doubt: a guess at a service that is not here leads astray."""
    known = {route.split()[1] for route in ROUTES}  # the document takes a second to make
    near = [f"/v1{path}"] if f"/v1{path}" in known else difflib.get_close_matches(path[:LONGEST], known, 1, 0.8)
    return f"did you mean {near[0]!r}?" if near else "see /openapi.json for what is"
