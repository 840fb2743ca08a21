"""The parts: those that come with the system, as a plugin like any other, and what other plugins bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from ..agent.loop import Agent, program
from ..agent.outcomes import Judges
from ..agent.spec import AgentSpec
from ..agent.steering import Steering
from ..agent.template import TemplateAgent
from ..config import Config
from ..core.errors import Unsupported
from ..core.ports import DecodingStrategy, Syscall, Tool
from ..core.records import Traits
from ..finetune.job import PROGRAMS as TUNING
from ..finetune.job import Jobs
from ..flow.functions import FUNCTIONS, Function
from ..flow.steps import LOOP, PROGRAMS, Steps
from ..kernel.process import Program
from ..knowledge.calls import REMEMBERS
from ..knowledge.calls import TOOLS as MEMORY
from ..knowledge.calls import Calls as Recall
from ..llm.decoding import STRATEGIES
from ..llm.engines import DRIVERS, open_engine
from ..planner.steps import Watch
from ..plugins import OpenEngine, Plugins, hookimpl
from ..security.people import People
from ..teamwork import calls as teamwork
from ..tools.builtin import builtin_tools
from ..tools.code import code_tools
from ..tools.sandbox import Sandbox
from ..triggers.calls import Calls
from ..triggers.loop import PROGRAMS as TRIGGERS
from . import planning
from .flows import with_functions

ASKED = {
    "calculator": [*"0123456789０１２３４５６７８９", "percent", "square root", "百分之", "分之", "平方", "开方"],
    "clock": [
        "time is it", "what time", "the time", " date", "today", "tomorrow", "yesterday", "weekday", "day is it",
        "month is it", "year is it", "days until", "days till", "weeks until", "weeks till",
        "几点", "时间", "日期", "今天", "明天", "昨天", "星期几", "周几", "几号", "几月", "哪天", "哪年",
    ],
}  # fmt: skip
"""The tools of `assistant`, and what asks for them. With them in every prompt a small model reckons with numbers that
it made up, where it knew the answer."""


class Services(NamedTuple):
    """What brings syscalls beside the kernel's own: of flows, planners and triggers, asking people, and so on."""

    steps: Steps
    watch: Watch
    calls: Calls
    people: People
    teamwork: teamwork.Calls
    recall: Recall
    judges: Judges
    steering: Steering
    jobs: Jobs

    def table(self) -> dict[str, Syscall]:
        """The rows of the syscall table."""
        return {name: entry for each in self for name, entry in each.table().items()}

    @classmethod
    def alone(cls, config: Config) -> Services:
        """Those of no system: they say what their calls declare, which a replay goes by, and do nothing."""
        calls = Calls(_nobody, _nobody, config.data / "workspaces")
        return cls(Steps(_nobody, _nobody), Watch(_nobody, _nobody, _nobody), calls, People(_nobody),
                   teamwork.Calls(_nobody), Recall(_nobody, _nobody), Judges(_nobody, _nobody),
                   Steering(_nobody), Jobs(_nobody, config.data / "tuning"))  # fmt: skip


class Builtin:
    """The parts that come with the system, registered as any plugin's would be."""

    def __init__(
        self, config: Config, tools: Mapping[str, Tool], loops: Mapping[str, type[Agent]], sandbox: Sandbox,
        functions: Mapping[str, Function], services: Services,
    ) -> None:  # fmt: skip
        self._config, self._tools, self._loops, self._sandbox = config, tools, loops, sandbox
        self._functions, self._services = functions, services

    @hookimpl
    def engines(self) -> Mapping[str, OpenEngine]:
        """Every driver in `llm.engines`."""
        return dict.fromkeys(DRIVERS, open_engine)

    @hookimpl
    def programs(self) -> Mapping[str, Program]:
        """The interaction loop of agents, what the tools of flows run in, and triggers."""
        return {"agent": program(self._tools, self._loops, self._services.steering), **PROGRAMS, **TRIGGERS, **TUNING}

    @hookimpl
    def syscalls(self) -> Mapping[str, Syscall]:
        """Those of all services."""
        return self._services.table()

    @hookimpl
    def functions(self) -> Mapping[str, Function]:
        """Pure functions for flows."""
        return FUNCTIONS

    @hookimpl
    def tools(self) -> Mapping[str, Tool]:
        """Files, pages of the web, SQL, a calculator, a clock; Python and shell in the sandbox; boards and topics; to

        remember.
        """
        root, tools = self._config.data / "workspaces", self._config.tools
        found = {**builtin_tools(root, tools.hosts, tools.private), **code_tools(self._sandbox, root)}
        return {**found, **teamwork.tools(), **{each.name: teamwork.Tool(each, REMEMBERS) for each in MEMORY}}

    @hookimpl
    def loops(self) -> Mapping[str, type[Agent]]:
        """The chat loop, the one of bare causal models, those of flows and of planners."""
        ours = {LOOP: with_functions(self._functions), planning.LOOP: planning.planning(self._functions)}
        return {"default": Agent, "template": TemplateAgent, **ours}

    @hookimpl
    def strategies(self) -> Mapping[str, DecodingStrategy]:
        """Beam search, best of several, and a vote."""
        return STRATEGIES

    @hookimpl
    def agents(self) -> Sequence[AgentSpec]:
        """`assistant`, to talk to after a first start; its tools read nothing of anybody's and change nothing."""
        prompt = "You are the assistant of this computer, which runs LLMAgentOS, an operating system for agents. "
        prompt += "Your name is LLMAgentOS. Answer briefly and say so when you do not know."
        sampling = {"temperature": 0.3, "max_tokens": 1024}
        about, tools = "Answers questions; computes, and knows the date and the time", list(ASKED)
        return [
            AgentSpec(name="assistant", description=about, prompt=prompt, tools=tools, when=ASKED, sampling=sampling)
        ]


def load_plugins(
    config: Config,
    plugins: Sequence[object] = (),
    sandbox: Sandbox | None = None,
    services: Services | None = None,
) -> tuple[Plugins, dict[str, Tool], dict[str, type[Agent]]]:
    """Register the built-in parts, then installed plugins, then files and objects; collect tools and loops."""
    tools: dict[str, Tool] = {}
    loops: dict[str, type[Agent]] = {}
    functions: dict[str, Function] = {}
    made = sandbox or Sandbox(config.tools.sandbox)
    builtin = Builtin(config, tools, loops, made, functions, services or Services.alone(config))
    registry = Plugins(builtin, config.plugins)
    for plugin in plugins:
        registry.register(plugin)
    tools.update(registry.mapping("tools"))
    functions.update(registry.mapping("functions"))
    loops.update(registry.mapping("loops"))
    return registry, tools, loops


def traits(tools: Mapping[str, Tool], name: str) -> Traits:
    """What a tool declares; of one that there is not, the most careful."""
    tool = tools.get(name)
    return tool.traits if tool is not None else Traits()


def writes(tools: Mapping[str, Tool], name: str) -> bool:
    """Whether a tool may change anything."""
    return traits(tools, name).effect != "read"


def _nobody(*about: object) -> NoReturn:
    raise Unsupported("no system runs here, so nothing is started")
