"""The table of contents: one start-up call a line. The only file that sees both the kernel and its drivers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .agent.loop import Agent, program
from .agent.manager import AgentManager
from .agent.manager import acts as agent_acts
from .agent.spec import AgentSpec, parse
from .agent.spec import load as load_agents
from .agent.template import TemplateAgent
from .config import Config, PageBudget, Routing, Sharing
from .core import extras
from .core.accounts import book, statements
from .core.errors import InvalidRequest, MissingExtra, NotFound, nearest, not_found
from .core.places import allowed
from .core.ports import Approver, DecodingStrategy, Engine, Facts, Filter, Personal, Tool
from .core.records import DEFAULT, Call, Hidden, ModelSpec, Retention, Route, Traits
from .core.sys import Sys
from .kernel.budget import budgets
from .kernel.feed import FeedReader
from .kernel.kernel import Kernel
from .kernel.process import Program
from .llm import catalog
from .llm.decoding import STRATEGIES, decoded
from .llm.engines import DRIVERS, open_engine
from .monitoring.metrics import Metrics
from .plugins import OpenEngine, Plugins, hookimpl
from .sched.scheduler import SchedulerSettings
from .security.administration import Administration, Deed, processes
from .security.anomaly import Anomalies
from .security.anomaly_statistics import Statistics
from .security.approvals import Approvals, Nobody
from .security.identity import Caller, Keys
from .security.intents import Intents
from .security.masking import Masking
from .security.policy import Gate
from .security.privacy import Privacy, VaultShare
from .security.quotes import Quotes, Spotlight
from .security.review import Review
from .security.vault import SPACE as VAULT
from .security.vault import Vault, key_file
from .stores.facts import StoredFacts
from .stores.folder import Claim
from .stores.homes import Homes
from .stores.pages import PageFiles
from .stores.sqlite import SQLiteStore
from .tools.builtin import builtin_tools
from .tools.code import code_tools
from .tools.sandbox import Sandbox
from .tools.sources import add_sources

if TYPE_CHECKING:
    from .security.audit import Audit

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for MCP servers that start for the first time


@dataclass(slots=True)
class System:
    """A running system: its parts by name."""

    config: Config
    kernel: Kernel
    agents: AgentManager
    sys: Sys
    facts: Facts
    plugins: Plugins
    metrics: Metrics
    approvals: Approvals
    anomalies: Anomalies
    keys: Keys
    privacy: Privacy
    tenants: dict[str, AgentManager]
    shared: frozenset[str]
    tools: dict[str, Tool]
    audit: Audit | None
    closing: AsyncExitStack

    async def tenant(self, name: str) -> AgentManager:
        """The agents of a tenant; definitions that came with the system, plugins and the agents folder are shared."""
        if name not in self.tenants:
            sys = await self.kernel.service("gateway", tenant=name)
            self.tenants.setdefault(name, self.agents.of(name, sys, self.shared))
        return self.tenants[name]

    def add_engine(self, name: str, engine: Engine) -> None:
        """Serve a model from an engine that exists already, such as one over a model in memory; it stays open."""

        async def opened() -> Engine:
            return engine

        self.kernel.engines.add(name, opened, borrowed=True)

    def models(self) -> list[str]:
        """The models that can be opened now, by name."""
        absent = {listed.spec.name for listed in catalog.list_models() if not listed.present}
        return [*self.kernel.engines.routes, *(name for name in self.kernel.engines.names() if name not in absent)]

    async def add_model(self, spec: ModelSpec, sys: Sys | None = None) -> ModelSpec:
        """Register a model for this and later starts, as whom `sys` acts for; raises as `catalog.add` does."""
        told = {name: value for name, value in asdict(spec).items() if name not in ("source", "options")}
        told["source"] = spec.source.rpartition("@")[2].partition("?")[0]  # without passwords
        act = (sys or self.sys).act("models.add", **told, options=sorted(spec.options), spec=Hidden(spec))
        added: ModelSpec = (await act).value
        return added

    async def remove_model(self, name: str, sys: Sys | None = None) -> None:
        """Close a model and forget it, deleting what was fetched for it; raises NotFound."""
        await (sys or self.sys).act("models.remove", name=name)

    async def close(self) -> None:
        """Stop; what was accepted goes on at the next start."""
        await self.closing.aclose()


class Builtin:
    """The parts that come with the system, registered as any plugin's would be."""

    def __init__(
        self, config: Config, tools: Mapping[str, Tool], loops: Mapping[str, type[Agent]], approver: Approver,
        sandbox: Sandbox, watch: Filter | None,
    ) -> None:  # fmt: skip
        self._config, self._tools, self._loops = config, tools, loops
        self._approver, self._sandbox, self._watch = approver, sandbox, watch

    @hookimpl
    def engines(self) -> Mapping[str, OpenEngine]:
        """Every driver in `llm.engines`."""
        return dict.fromkeys(DRIVERS, open_engine)

    @hookimpl
    def filters(self) -> Sequence[Filter]:
        """The watch for anomalies, which also sees what is refused; what a process may do; quotes; budgets."""
        watch = [self._watch] if self._watch is not None else []
        gate = Gate(self._tools, self._approver)
        shown: list[Filter] = [Spotlight(gate.trusts), Quotes(gate.labels)]
        return [*watch, gate, *shown, budgets]

    @hookimpl
    def programs(self) -> Mapping[str, Program]:
        """The interaction loop of agents."""
        return {"agent": program(self._tools, self._loops)}

    @hookimpl
    def tools(self) -> Mapping[str, Tool]:
        """Files, pages of the web, SQL, a calculator, a clock; Python and shell in the sandbox."""
        root, tools = self._config.data / "workspaces", self._config.tools
        return {**builtin_tools(root, tools.hosts, tools.private), **code_tools(self._sandbox, root)}

    @hookimpl
    def loops(self) -> Mapping[str, type[Agent]]:
        """The chat loop, and the one of bare causal models."""
        return {"default": Agent, "template": TemplateAgent}

    @hookimpl
    def strategies(self) -> Mapping[str, DecodingStrategy]:
        """Beam search, best of several, and a vote."""
        return STRATEGIES

    @hookimpl
    def agents(self) -> Sequence[AgentSpec]:
        """`assistant`, to talk to after a first start."""
        prompt = "You are a helpful assistant. Answer briefly and say so when you do not know."
        sampling = {"temperature": 0.3, "max_tokens": 1024}
        return [AgentSpec(name="assistant", description="Answers questions", prompt=prompt, sampling=sampling)]


async def boot(config: Config, plugins: Sequence[object] = ()) -> System:
    """Start a system on its data folder and resume what was running.

    Raises DataFolderBusy, JournalDamaged, or InvalidRequest for a bad configuration, plugin or agent definition.
    """
    async with AsyncExitStack() as opened:
        claim = Claim(config.data)
        opened.callback(claim.release)
        store = SQLiteStore(config.data / "journal.db", config.durability)
        opened.callback(store.close)
        audit = open_audit(config)  # before anything is written
        if audit is not None:
            opened.callback(audit.store.close)
            opened.push_async_callback(asyncio.to_thread, audit.close)
        facts = StoredFacts(store, lambda writes: kernel.journal.append(writes))
        administration, keys = Administration(), Keys(facts)
        approvals = Approvals(facts, lambda pid: kernel.table.find(pid), keys.descends)
        sandbox = Sandbox(config.tools.sandbox)
        anomalies = Anomalies(
            config.anomalies, lambda name: traits(tools, name), lambda pid, why: kernel.runner.pause(pid, why),
            facts,
            keep=lambda tenant, agent, reason: quarantine(kernel, tenant, agent, reason),
        )  # fmt: skip
        registry, tools, loops = load_plugins(config, plugins, approvals, sandbox, anomalies)
        vault = open_vault(config, facts)

        def remote(model: str) -> bool:
            """Whether any model behind a name is somebody else's."""
            return bool(kernel.engines.remote(model).difference(config.masking.own))

        intents = Intents(tools, approvals, lambda call, process: kernel.intend(call, process))
        innermost = [intents, *guards(config, vault, approvals, remote, registry)]
        kernel = make_kernel(store, registry, tools, config, innermost, administration)
        opened.push_async_callback(kernel.close)
        if vault is not None:
            kernel.checks["vault"] = lambda: vault.trouble
        metrics = Metrics(kernel.feed, kernel.journal.unpack, anomalies.seen)
        statistics = Statistics(anomalies, lambda name: traits(tools, name), kernel.table.find, kernel.journal.unpack)
        kernel.worker("metrics", metrics.reader.run())
        kernel.worker("anomalies", FeedReader(kernel.feed, statistics.take).run())
        kernel.worker("sandbox", sandbox.serve())
        if audit is not None:
            kernel.worker("audit", audit.run(kernel.feed))
        sys = await kernel.service("system")
        agents = AgentManager(kernel, facts, sys, tools, loops)

        async def acting(call: Call) -> AgentManager:
            """The agents that an act is about, for who does it."""
            own = agents if call.tenant == DEFAULT else await system.tenant(call.tenant)
            return own.acting(await kernel.service("gateway", call.principal, call.tenant))

        administration.takes(agent_acts(acting))
        await connect(kernel, config, tools)
        add_models(kernel, config, registry)
        shared = await add_agents(agents, registry, config)
        homes = Homes(config.data / "workspaces")
        await homes.adopt(facts)
        holders: list[Personal] = [keys, homes, *([VaultShare(vault)] if vault is not None else [])]
        amend = audit.amend if audit is not None else None
        privacy = Privacy(kernel, store, facts, config.data, config.retention, holders, amend)
        if config.retention != Retention():
            kernel.worker("retention", privacy.run())
        administration.takes({
            **processes(kernel), **models(kernel, config, registry), "approvals.answer": approvals.answer,
            "anomalies.quarantine": anomalies.hold, "anomalies.release": anomalies.release, "keys.mint": keys.mint,
            "keys.revoke": keys.revoke, "privacy.consent": privacy.consent, "privacy.erase": privacy.act,
            "privacy.tidy": privacy.clean, "accounts.credit": partial(credit, kernel),
        })  # fmt: skip
        system = System(
            config, kernel, agents, sys, facts, registry, metrics, approvals, anomalies, keys, privacy,
            {DEFAULT: agents}, shared, tools, audit, opened,
        )  # fmt: skip
        await kernel.start_all()
        system.closing = opened.pop_all()
        return system


async def credit(kernel: Kernel, call: Call, by: Caller) -> None:
    """What gives back what was drawn on an account."""
    args = (call.args[name] for name in ("account", "resource", "period", "amount"))
    entries = kernel.ledger.credit(call.tenant, *args)
    call.writes += statements(entries)
    call.after.append(partial(book, entries))


async def quarantine(kernel: Kernel, tenant: str, agent: str, reason: str) -> None:
    """Put an agent into quarantine, which is the system's own act."""
    await (await kernel.service("system", tenant=tenant)).act("anomalies.quarantine", agent=agent, reason=reason)


def models(kernel: Kernel, config: Config, registry: Plugins) -> dict[str, Deed]:
    """What does the acts about models."""

    async def add(call: Call, by: Caller) -> Hidden:
        added = catalog.add(call.args["spec"].value, registry.mapping("engines"))
        add_model(kernel, config, registry, added)
        return Hidden(added)

    async def remove(call: Call, by: Caller) -> None:
        catalog.remove(call.args["name"])
        await kernel.engines.remove(call.args["name"])

    return {"models.add": add, "models.remove": remove}


def open_audit(config: Config) -> Audit | None:
    """The audit log over a system's journal; None where what signs it is not installed."""
    try:
        audit = extras.imported("llmagent_os.security.audit", "security", "the audit log")
    except MissingExtra as error:
        log.warning("there is no audit log: %s", error.message)
        return None
    opened: Audit = audit.Audit(SQLiteStore(config.data / "journal.db"), config.data / "audit")
    return opened


def load_plugins(
    config: Config,
    plugins: Sequence[object] = (),
    approver: Approver | None = None,
    sandbox: Sandbox | None = None,
    watch: Filter | None = None,
) -> tuple[Plugins, dict[str, Tool], dict[str, type[Agent]]]:
    """Register the built-in parts, then installed plugins, then files and objects; collect tools and loops."""
    tools: dict[str, Tool] = {}
    loops: dict[str, type[Agent]] = {}
    sandbox = sandbox or Sandbox(config.tools.sandbox)
    builtin = Builtin(config, tools, loops, approver or Nobody(), sandbox, watch)
    registry = Plugins(builtin, config.plugins)
    for plugin in plugins:
        registry.register(plugin)
    tools.update(registry.mapping("tools"))
    loops.update(registry.mapping("loops"))
    return registry, tools, loops


def traits(tools: Mapping[str, Tool], name: str) -> Traits:
    """What a tool declares; of one that there is not, the most careful."""
    tool = tools.get(name)
    return tool.traits if tool is not None else Traits()


async def connect(kernel: Kernel, config: Config, tools: dict[str, Tool]) -> None:
    """Bring in the tools of documents and servers; a server that is not there yet is waited for a little."""
    connections = await add_sources(tools, config.tools.mcp, config.tools.openapi, config.data)
    for connection in connections:
        kernel.worker(f"mcp {connection.name}", connection.serve())
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(connection.known.wait() for connection in connections))


def make_kernel(
    store: SQLiteStore, registry: Plugins, tools: Mapping[str, Tool], config: Config | None = None,
    innermost: Sequence[Filter] = (), administration: Administration | None = None,
) -> Kernel:  # fmt: skip
    """Make a kernel with everything that plugins bring; one without a configuration keeps no pages."""
    pages = config.pages if config is not None else PageBudget(ram=0, disk=0)
    keeps = config is not None and pages.ram + pages.disk > 0
    return Kernel(
        store,
        registry.mapping("programs"),
        tools,
        [*registry.sequence("filters"), *innermost],
        {**registry.mapping("syscalls"), **(administration or Administration()).table()},
        partial(decoded, strategies=registry.mapping("strategies")),
        partial(sharing, config or Config()),
        PageFiles(config.data / "pages", pages.ram << 20, pages.disk << 20) if config is not None and keeps else None,
        pages.checkpoint,
        budgets=[each.budget(name, name == "person") for name, each in (config or Config()).budgets.items()],
    )


OWN = frozenset({"llamacpp", "transformers", "scripted"})
"""Drivers of engines that run in this process: what they are told stays here."""


def open_vault(config: Config, facts: Facts) -> Vault | None:
    """Where masked values are kept; None where nothing is to be masked, or what encrypts them is not installed."""
    if not config.masking.on:
        return None
    try:
        vault = Vault(key_file(config.data / "vault.key"), facts)
        vault.check(DEFAULT)
        return vault
    except MissingExtra as error:
        if facts.list(VAULT + DEFAULT, limit=1):
            raise  # what is known to be masked would leave
        log.warning("values are not masked before they go to remote models: %s", error.message)
        return None


def guards(
    config: Config, vault: Vault | None, approver: Approver, remote: Callable[[str], bool],
    registry: Plugins | None = None,
) -> list[Filter]:  # fmt: skip
    """The innermost filters: review, then masking, for what goes past them leaves. `remote` tells of a model's name."""
    classifiers, judges, recognisers = (
        registry.sequence(hook) if registry is not None else () for hook in ("classifiers", "judges", "recognisers")
    )
    found: list[Filter] = []
    if config.review is not None:
        found.append(Review(config.review, vault, approver, classifiers, judges))
    if vault is not None:
        exposed = config.masking.tools
        found.append(Masking(vault, remote, lambda tool: allowed(tool, exposed), recognisers))
    return found


def sharing(config: Config, model: str) -> SchedulerSettings:
    """How the calls to a model share its engine."""
    found = config.scheduler.get(model) or config.scheduler.get("*") or Sharing()
    return SchedulerSettings(**found.model_dump())


def add_models(kernel: Kernel, config: Config, registry: Plugins) -> None:
    """Make every model of the catalog known to the kernel, and let `default` name the chosen one."""
    for listed in catalog.list_models():
        add_model(kernel, config, registry, listed.spec)
        for alias in listed.aliases:
            kernel.engines.alias(alias, listed.spec.name)
    for name, routing in config.routes.items():
        add_route(kernel, name, routing)
    kernel.engines.adapters.update(config.adapters)
    if config.model is not None:
        kernel.engines.resolve(config.model)
        kernel.engines.alias("default", config.model)


def add_route(kernel: Kernel, name: str, routing: Routing) -> None:
    """Make a route known; where one model must do for it, that is the first. Raises InvalidRequest for its names."""
    try:
        names = {model: kernel.engines.resolve(model) for model in (*routing.replicas, *routing.fallback)}
    except NotFound as error:
        raise InvalidRequest(f"configuration: routes.{name}: {error.message}", parameter=f"routes.{name}") from error
    if name in kernel.engines.names():
        raise InvalidRequest(f"configuration: routes.{name}: a model has that name", parameter=f"routes.{name}")
    for field in (routing.quality, routing.languages):
        if unknown := field.keys() - names.keys():
            text = f"{min(unknown)!r} is none of its models; {nearest(min(unknown), names)}"
            raise InvalidRequest(f"configuration: routes.{name}: {text}", parameter=f"routes.{name}")
    route = Route(
        tuple(names[model] for model in routing.replicas),
        tuple(names[model] for model in routing.fallback),
        routing.strategies,
        {names[model]: tasks for model, tasks in routing.quality.items()},
        {names[model]: spoken for model, spoken in routing.languages.items()},
        routing.max_price, routing.patience, routing.retries, routing.pause,
    )  # fmt: skip
    kernel.engines.add_route(name, route)


def add_model(kernel: Kernel, config: Config, registry: Plugins, listed: ModelSpec) -> None:
    """Make a model known. One that is not on this machine yet may come later: opening it says how."""

    name = listed.name

    async def opened() -> Engine:
        spec = await catalog.resolve(name)
        drivers = registry.mapping("engines")
        if spec.engine not in drivers:
            raise not_found("engine", spec.engine, drivers)
        engine: Engine = await drivers[spec.engine](limited(spec, config))
        return engine

    kernel.engines.add(name, opened, remote=listed.engine not in OWN)


def limited(spec: ModelSpec, config: Config) -> ModelSpec:
    """The spec with the configuration's limit for it."""
    return replace(spec, limit=config.limits.get(spec.name, spec.limit))


async def add_agents(agents: AgentManager, registry: Plugins, config: Config) -> frozenset[str]:
    """Create the agents that plugins and the agents folder bring, where there is none of their name; returns those."""
    definitions: list[Any] = registry.sequence("agents")
    folder = config.agents or config.data / "agents"
    for file in sorted(folder.glob("*.yaml")):
        definitions += load_agents(file)
    specs = [each if isinstance(each, AgentSpec) else parse(each) for each in definitions]
    for spec in specs:
        if not agents.knows(spec.name):
            await agents.create(spec)
    return frozenset(spec.name for spec in specs)
