"""The table of contents: one start-up call a line. The only place that sees both the kernel and its drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..agent.circles import Circles
from ..agent.manager import AgentManager
from ..agent.manager import acts as agent_acts
from ..agent.outcomes import Judges
from ..agent.spec import AgentSpec
from ..agent.stand_ins import StandIns
from ..agent.steering import Steering
from ..config import Config, PageBudget
from ..core.ports import Engine, Facts, Filter, Personal, Tool
from ..core.records import DEFAULT, Budget, Call, Hidden, Json, ModelSpec, Retention
from ..core.sys import Sys
from ..finetune.job import Jobs
from ..flow.steps import Steps
from ..kernel.budget import budgets
from ..kernel.feed import FeedReader
from ..kernel.kernel import Kernel
from ..knowledge.base import Knowledge
from ..knowledge.calls import Calls as Recall
from ..knowledge.facts import FactBase
from ..llm import catalog
from ..llm.decoding import decoded
from ..monitoring.metrics import Metrics
from ..planner.steps import Watch
from ..plugins import Plugins
from ..security.administration import Administration, processes
from ..security.anomaly import Anomalies
from ..security.anomaly_statistics import Statistics
from ..security.approvals import Approvals
from ..security.identity import Keys
from ..security.intents import Intents
from ..security.people import People
from ..security.policy import Gate
from ..security.privacy import Privacy, VaultShare
from ..security.quotes import Quotes, Spotlight
from ..security.tenants import Tenants
from ..stores.facts import StoredFacts
from ..stores.folder import Claim, prepare
from ..stores.homes import Homes
from ..stores.pages import PageFiles
from ..stores.sqlite import SQLiteStore
from ..teamwork.calls import Calls as Teamwork
from ..teamwork.calls import Served
from ..tools.by_hand import Files
from ..tools.named import NamedFiles
from ..tools.sandbox import Sandbox
from ..tools.sources import Sources
from ..tools.toolkit import Telling
from ..triggers.calls import Calls
from . import planning
from .acts import account_acts, file_acts, quarantine, topic_acts
from .agents import add_agents, create_late
from .feedback import feedback_acts
from .graph import fact_acts
from .knowledge import knowledge_acts
from .models import add_models, model_acts, sharing
from .parts import Services, load_plugins, traits, writes
from .pulls import Pulls
from .security import masking, open_audit, open_vault, reviewing
from .sources import connect, plugin_acts
from .triggers import trigger_acts

if TYPE_CHECKING:
    from ..security.audit import Audit

PATIENCE = 10.0  # seconds for sources of tools that are there for the first time, where somebody waits for them


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
    holdings: Tenants
    knowledge: Knowledge
    told: FactBase
    tenants: dict[str, AgentManager]
    shared: frozenset[str]
    tools: dict[str, Tool]
    sources: Sources
    files: Files
    late: list[AgentSpec]
    audit: Audit | None
    teamwork: Teamwork
    pulls: Pulls
    jobs: Jobs
    closing: AsyncExitStack

    def missing(self) -> list[dict[str, Json]]:
        """What is not there though it was asked for: plugins, sources of tools, agents that wait for them; and why."""
        waits = {
            f"agent {spec.name}": f"waits for its tools: {', '.join(lacking)}"
            for spec in self.late
            if (lacking := [name for name in spec.tools if name not in self.tools])
        }
        wrong = {f"plugin {name}": why for name, why in self.plugins.troubles.items()} | waits
        found = [{"source": name, "trouble": why, "left_out": {}} for name, why in wrong.items()]
        return [*found, *self.sources.missing()]

    async def reload(self, sys: Sys | None = None) -> dict[str, Json]:
        """Load the plugin files again (see `Plugins.reload`); returns their names, and what is wrong with which."""
        done: dict[str, Json] = await (sys or self.sys).act("plugins.reload")
        return done

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


async def boot(config: Config, plugins: Sequence[object] = ()) -> System:
    """Start a system on its data folder and resume what was running.

    Raises DataFolderBusy, JournalDamaged, or InvalidRequest for a bad configuration, plugin or agent definition.
    """
    async with AsyncExitStack() as opened:
        claim = Claim(config.data)
        opened.callback(claim.release)
        store = SQLiteStore(config.data / "journal.db", config.durability)
        opened.callback(store.close)
        audit = open_audit(config, store)  # before anything is written
        if audit is not None:
            opened.callback(audit.store.close)
            opened.push_async_callback(asyncio.to_thread, audit.close)
        facts = StoredFacts(store, lambda writes: kernel.journal.append(writes))
        knowledge = Knowledge(store, lambda writes, then: kernel.journal.append(writes, then))
        opened.callback(knowledge.close)
        told = FactBase(knowledge, store)
        opened.callback(told.close)
        administration, keys = Administration(), Keys(facts)
        holdings = Tenants(facts, lambda: kernel.engines)
        approvals = Approvals(
            facts, lambda pid: kernel.table.find(pid), keys.descends,
            takes=lambda tool, put, asked: gate.forms.check_changed(tool, put, asked),
        )  # fmt: skip
        sandbox = Sandbox(config.tools.sandbox)
        anomalies = Anomalies(
            config.anomalies, lambda name: traits(tools, name), lambda pid, why: kernel.runner.pause(pid, why),
            facts,
            keep=lambda tenant, agent, reason: quarantine(kernel, tenant, agent, reason),
        )  # fmt: skip

        async def hire(call: Call, name: str, body: Json) -> tuple[dict[str, Any], Sequence[Budget]]:
            return await (await acting(call)).hire(name, body)

        steps = Steps(lambda: kernel, hire)
        calls = Calls(lambda: kernel, hire, config.data / "workspaces", writes=lambda name: writes(tools, name),
                      lives=keys.lives)  # fmt: skip
        teamwork = Teamwork(lambda: kernel)
        watch = Watch(
            lambda: kernel, planning.about(lambda call: acting(call)),
            planning.faults(lambda call: acting(call), lambda: tools, lambda: registry.mapping("functions")),
        )  # fmt: skip
        judges, steering = Judges(lambda: registry.mapping("functions"), lambda: tools), Steering(lambda: kernel)
        recall = Recall(lambda: knowledge, lambda: told)
        services = Services(
            steps, watch, calls, People(lambda: (gate.asking, gate.labels)), teamwork, recall, judges, steering,
            Jobs(lambda: kernel, config.data / "tuning"),
        )  # fmt: skip
        registry, tools, loops = load_plugins(config, plugins, sandbox, services)
        vault = open_vault(config, facts)

        def remote(model: str) -> bool:
            """Whether any model behind a name is somebody else's."""
            return bool(kernel.engines.remote(model).difference(config.masking.own))

        gate = Gate(
            tools, approvals, lambda pid: kernel.table.find(pid), lambda: kernel.journal,
            NamedFiles(config.data / "workspaces").digests, holdings.permit,
        )  # fmt: skip
        filters = filters_of(
            registry, gate, anomalies,
            Intents(tools, approvals, lambda call, process: kernel.intend(call, process), gate.turnstile),
            reviewing(config, registry, vault, approvals),
            masking(config, registry, vault, remote, lambda model: kernel.engines.window(model)),
            Circles(lambda: kernel.table), Telling(tools), Served({**teamwork.table(), **recall.tools()}), steering,
        )  # fmt: skip
        kernel = make_kernel(store, registry, tools, config, filters, administration)
        opened.push_async_callback(kernel.close)
        if vault is not None:
            kernel.checks["vault"] = lambda: vault.trouble
        metrics = Metrics(kernel.feed, kernel.journal.unpack, anomalies.seen)
        statistics = Statistics(anomalies, lambda name: traits(tools, name), kernel.table.find, kernel.journal.unpack)
        kernel.worker("metrics", metrics.reader.run())
        kernel.worker("anomalies", FeedReader(kernel.feed, statistics.take).run())
        kernel.worker("sandbox", sandbox.serve())
        kernel.worker("tunings", services.jobs.tidied())
        if audit is not None:
            kernel.worker("audit", audit.run(kernel.feed))
            kernel.checks["audit"] = audit.trouble
        sys = await kernel.service("system")
        agents = AgentManager(kernel, facts, sys, tools, loops, holdings=holdings.of)

        async def agents_of(tenant: str) -> AgentManager:
            return agents if tenant == DEFAULT else await system.tenant(tenant)

        async def acting(call: Call) -> AgentManager:
            """The agents that an act is about, for who does it."""
            own = await agents_of(call.tenant)
            return own.acting(await kernel.service("gateway", call.principal, call.tenant))

        administration.takes(agent_acts(acting))
        stand_ins = StandIns(agents_of)
        approvals.told.append(stand_ins.asked)
        approvals.news.add(stand_ins.look)
        opened.push_async_callback(stand_ins.close)
        sources = await connect(kernel, config, tools)
        add_models(kernel, config, registry)
        shared, late = await add_agents(agents, registry, config, sources)
        if late:
            kernel.worker("late agents", create_late(agents, late, sources))
        homes, files = Homes(config.data / "workspaces"), Files(config.data / "workspaces")
        await homes.adopt(facts)
        shares = [VaultShare(vault)] if vault is not None else []
        holders: list[Personal] = [keys, homes, teamwork.topics, told, knowledge, *shares]
        amend = audit.amend if audit is not None else None
        privacy = Privacy(kernel, store, facts, config.data, config.retention, holders, amend)
        if config.retention != Retention():
            kernel.worker("retention", privacy.run())
        pulls = Pulls()
        administration.takes({
            **processes(kernel, holdings.of), **account_acts(kernel), **model_acts(kernel, config, registry, pulls),
            **plugin_acts(registry, tools, loops), **file_acts(files, acting), **trigger_acts(kernel, acting),
            **knowledge_acts(knowledge, config.data), **topic_acts(kernel, teamwork.topics),
            **feedback_acts(kernel, facts, acting), **fact_acts(knowledge, told, kernel),
            "approvals.answer": approvals.answer,
            "anomalies.quarantine": anomalies.hold, "anomalies.release": anomalies.release, "keys.mint": keys.mint,
            "tenants.grant": holdings.grant, "tenants.reset": holdings.reset,
            "keys.revoke": keys.revoke, "privacy.consent": privacy.consent, "privacy.erase": privacy.act,
            "privacy.tidy": privacy.clean,
        })  # fmt: skip
        system = System(
            config, kernel, agents, sys, facts, registry, metrics, approvals, anomalies, keys, privacy,
            holdings, knowledge, told, {DEFAULT: agents}, shared, tools, sources, files, late, audit, teamwork, pulls,
            services.jobs, opened,
        )  # fmt: skip
        opened.push_async_callback(pulls.close)
        steering.recall()
        await kernel.start_all()
        system.closing = opened.pop_all()
        return system


def filters_of(
    registry: Plugins, gate: Gate, watch: Filter | None = None, intents: Filter | None = None,
    review: Filter | None = None, masking: Filter | None = None, circles: Filter | None = None,
    telling: Filter | None = None, served: Filter | None = None, steering: Filter | None = None,
) -> list[Filter]:  # fmt: skip
    """What every call passes, the outermost first; what is None is left out."""
    filters: list[Filter | None] = [
        watch,  # sees what is refused as well
        steering,  # what a user breaks off, also where somebody is asked about it
        gate,  # what a process may do
        telling,  # what models are told of tools now
        Spotlight(gate.trusts),
        Quotes(gate.labels),
        budgets,
        *registry.sequence("filters"),
        intents,  # notes what must not be done twice
        review,
        masking,  # what goes past it leaves
        circles,  # nobody asks who waits for them
        served,  # tools that are syscalls
    ]
    return [each for each in filters if each is not None]


def prepare_folder(config: Config) -> None:
    """Make the data folder where there is none; raises InvalidRequest, with what to do, where it cannot be used."""
    prepare(config.data)


def make_kernel(
    store: SQLiteStore, registry: Plugins, tools: Mapping[str, Tool], config: Config | None = None,
    filters: Sequence[Filter] = (), administration: Administration | None = None,
) -> Kernel:  # fmt: skip
    """Make a kernel with what plugins bring, behind these filters; one without a configuration keeps no pages."""
    pages = config.pages if config is not None else PageBudget(ram=0, disk=0)
    keeps = config is not None and pages.ram + pages.disk > 0
    return Kernel(
        store,
        registry.mapping("programs"),
        tools,
        filters,
        {**registry.mapping("syscalls"), **(administration or Administration()).table()},
        partial(decoded, strategies=registry.mapping("strategies")),
        partial(sharing, config or Config()),
        PageFiles(config.data / "pages", pages.ram << 20, pages.disk << 20) if config is not None and keeps else None,
        pages.checkpoint,
        budgets=[each.budget(name, name == "person") for name, each in (config or Config()).budgets.items()],
    )
