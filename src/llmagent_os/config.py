"""Configuration: defaults, then `config.yaml` in the data folder, then the environment, then the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .agent.spec import Allowance
from .core import documents, worded
from .core.errors import InvalidRequest, nearest
from .core.folders import data_folder
from .core.records import Decoding, Retention
from .security.anomaly import AnomalySettings
from .security.review import Rules
from .tools.sandbox import SandboxSettings
from .tools.settings import Document, MCPServer


class Sharing(BaseModel):
    """How the calls to one model share its engine; see `sched.policies.SchedulerSettings` for the whole meaning.

    `quantum` is in tokens; `aging`, `adapter_turn` and `memory` in seconds; `quotas` are tokens a minute by tenant, and
    `weights` shares by tenant, 1 where none is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    policy: Literal["fifo", "priority", "fair", "las", "deadline"] = "las"
    quantum: int = Field(16, gt=0)
    aging: float = Field(30.0, gt=0)
    adapter_turn: float = Field(2.0, ge=0)
    memory: float = Field(60.0, gt=0)
    quotas: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class PageBudget(BaseModel):
    """What contexts that are not on an engine may take: `ram` and `disk` in megabytes (0: none are kept).

    `checkpoint`: the context of an unfinished answer is saved after so many tokens, for a crash (0: never).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    ram: int = Field(default_factory=lambda: _memory() // 8, ge=0, description="an eighth of the machine's memory")
    disk: int = Field(4096, ge=0)
    checkpoint: int = Field(512, ge=0)


Share = Annotated[float, Field(ge=0, le=1)]


class Routing(BaseModel):
    """A name that several models serve; see `core.records.Route` for units and meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    replicas: list[str] = Field(min_length=1)
    fallback: list[str] = Field(default_factory=list)
    strategies: dict[str, Decoding] = Field(default_factory=dict)
    quality: dict[str, dict[str, Share]] = Field(default_factory=dict)
    languages: dict[str, list[str]] = Field(default_factory=dict)
    max_price: float = Field(math.inf, ge=0)
    patience: float = Field(600.0, ge=0)
    retries: int = Field(3, ge=0)
    pause: float = Field(0.1, ge=0)


KEPT = Retention(calls=90.0, messages=30.0, processes=30.0, approvals=90.0, versions=90.0, blobs=1.0)
"""How long what a run leaves behind is kept; sessions and what people keep in them are not ended by themselves."""


def _retained(given: Any) -> Any:
    """What is not named goes by default."""
    return asdict(KEPT) | given if isinstance(given, dict) else given


def _days(kept: Retention) -> Retention:
    """Fewer than none would make everything past its time, also what is new."""
    for name, days in asdict(kept).items():
        if days is not None and not days >= 0:
            raise ValueError(f"{name} is a number of days, 0 or more; null keeps it for ever")
    return kept


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Oidc(BaseModel):
    """An identity provider whose tokens are accepted (OpenID Connect). Needs the extra `oidc`.

    `jwks` is the URL, or a file, of the keys that it publishes. Claims are named, or reached by dots
    (`realm_access.roles`); `roles` says what its names for roles mean here. `rate` is in requests a minute for each
    person, 0 for any number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    issuer: str
    audience: str
    jwks: str
    algorithms: list[Algorithm] = Field(["RS256", "ES256"], min_length=1)
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"
    roles: dict[str, Literal["admin", "user", "viewer"]] = Field(default_factory=dict)
    rate: float = Field(0, ge=0)


def _origin(given: str) -> str:
    """An origin as browsers send it; raises ValueError for what is none."""
    parts = urlsplit(given)
    if given != "*" and not (parts.scheme and parts.netloc and given.rstrip("/") == f"{parts.scheme}://{parts.netloc}"):
        raise ValueError(f"{given!r} is no origin, such as https://app.example.org or http://localhost:3000, or *")
    return given.rstrip("/").lower()


class Cors(BaseModel):
    """Whose pages may ask from a browser (CORS): `origins` as browsers name them, `*` for every page; where none is
    named, those of this machine (`http://localhost:3000`).

    Such a page sends a key as any client does. `credentials` lets it send cookies and other logins of the browser too,
    for a proxy in front of this server: our own cookie counts from our own pages only. It takes origins by name.
    `max_age`: seconds that a browser may remember the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    origins: list[Annotated[str, AfterValidator(_origin)]] | None = Field(None, min_length=1)
    credentials: bool = False
    max_age: int = Field(600, ge=0)

    @model_validator(mode="after")
    def _not_everybody(self) -> Cors:
        if self.credentials and (self.origins is None or "*" in self.origins):
            raise ValueError("credentials are for pages that are named; name the origins, without *")
        return self


Source = Annotated[str, Field(pattern=worded.SOURCE)]


class Masks(BaseModel):
    """What is kept from whom: `on` for models that are reached over a network, `own` those that are yours all the same.

    `tools` are patterns of the tools whose arguments are masked as well. It takes the extra `security`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    on: bool = True
    own: list[str] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)


class Tools(BaseModel):
    """What tools may reach, and where they come from beside plugins; see `tools.settings` for the sources.

    `hosts` are patterns of what `fetch` may get pages from (`*.example.org`, `localhost:8080`; none by default);
    `private` those that may be inside this network. `mcp` and `openapi` are sources by name; a tool of theirs is
    called `NAME_TOOL`. `registry` is where `tools find` looks for MCP servers. `sandbox` is where code runs; see
    `tools.sandbox.SandboxSettings`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    hosts: list[str] = Field(default_factory=list)
    private: list[str] = Field(default_factory=list)
    mcp: dict[Source, MCPServer] = Field(default_factory=dict)
    openapi: dict[Source, Document] = Field(default_factory=dict)
    registry: str = "https://registry.modelcontextprotocol.io"
    sandbox: SandboxSettings = SandboxSettings()


def _memory() -> int:
    """The machine's memory in megabytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


class Config(BaseModel):
    """How a system runs. Each field can be set in the environment as `LLMAGENT_OS_<FIELD>`.

    `names` are those (or patterns, `*.example.org`) that the server is asked under beside addresses and names of this
    network: what needs no key, such as `/health`, is refused under any other.

    `model` is what the name `default` stands for (None: the catalog's default). `durability` is `crash` (survives the
    end of the process) or `power` (every commit waits for the disk). `limits` caps `generate` calls at once by model.
    `scheduler` says how calls share an engine, by model (`*`: those not named); `pages` what their contexts may take.
    `routes` are names that several models serve, usable wherever a model's name is; `adapters` says by such names which
    LoRA adapter holds where neither agent nor request names one. `aliases` say, by patterns, which model or agent
    answers to a name over `/v1` that is nobody's here (the first that fits). `tools` says what tools may reach.
    `masking` keeps values from remote models; `review` judges answers (see `security.review.Rules`; they are then shown
    when they are complete); `anomalies` says what stops an agent and what is noted (see `security.anomaly`).
    `budgets` are what each tenant, and each person, may consume, whatever they use it for.
    `oidc` lets in who has a token of an identity provider; `cors` says whose web pages may ask (None: only our own).
    `retention` says after how many days data is deleted: what it does not name as by default, null for ever.
    `plugins` are Python files. `agents` is a folder of YAML definitions, created at start where they are not yet there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: Path = Field(default_factory=data_folder)
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    names: list[str] = Field(default_factory=list)
    model: str | None = None
    durability: Literal["crash", "power"] = "crash"
    limits: dict[str, int] = Field(default_factory=dict)
    scheduler: dict[str, Sharing] = Field(default_factory=dict)
    pages: PageBudget = Field(default_factory=PageBudget)
    routes: dict[str, Routing] = Field(default_factory=dict)
    adapters: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=lambda: {"claude-*": "default"})
    tools: Tools = Tools()
    masking: Masks = Masks()
    review: Rules | None = None
    anomalies: AnomalySettings = AnomalySettings()
    oidc: Oidc | None = None
    cors: Cors | None = None
    budgets: dict[Literal["tenant", "person"], Allowance] = Field(default_factory=dict)
    retention: Annotated[Retention, BeforeValidator(_retained), AfterValidator(_days)] = KEPT
    plugins: list[Path] = Field(default_factory=list)
    agents: Path | None = None


def load(overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the configuration; raises InvalidRequest naming the field to blame and where it came from."""
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    environment = _environment()
    folder = Path(given.get("data") or environment.get("data") or data_folder())
    values = _file(folder / "config.yaml") | environment | given | {"data": folder}
    try:
        return Config(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] in ("extra_forbidden", "unexpected_keyword_argument")
        wrong = worded.wrong(first).partition(" or instance of ")[0]  # a class of ours, which nobody can write
        hint = _meant(first["loc"]) if unknown else wrong
        raise InvalidRequest(f"configuration: {field}: {hint}", parameter=field) from error


def _meant(where: Sequence[Any]) -> str:
    """The hint for a field that is none, by those that stand beside it."""
    kind: Any = Config
    for step in where[:-1]:
        kind = get_args(kind)[-1] if get_origin(kind) in (dict, list) else _hints(kind).get(step)
        if get_origin(kind) in (Union, UnionType):
            kind = next(each for each in get_args(kind) if each is not NoneType)
    return nearest(str(where[-1]), _hints(kind))


def _hints(kind: Any) -> dict[str, Any]:
    """The fields of a class of settings, with their types."""
    hints = get_type_hints(kind) if isinstance(kind, type) else {}
    return {name: each for name, each in hints.items() if name != "model_config" and not name.startswith("_")}


def _file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}", parameter=str(path)) from error
    values = documents.one(text, str(path)) or {}
    if not isinstance(values, dict):
        raise InvalidRequest(f"{path} is not a mapping of fields to values", parameter=str(path))
    return values


def _environment() -> dict[str, Any]:
    """The fields that are set in the environment; lists and mappings are written as YAML."""
    prefix = "LLMAGENT_OS_"
    given = {field: os.environ.get(prefix + field.upper()) for field in Config.model_fields}
    return {field: documents.one(value, prefix + field.upper()) for field, value in given.items() if value is not None}
