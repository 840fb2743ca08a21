"""Write the pages of docs/reference that follow from the code; with --check, fail where they do not any more."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typer.main import get_group

from llmagent_os.agent.spec import AgentSpec, BudgetSpec, KnowledgeSpec, RestartSpec
from llmagent_os.config import Config, Cors, Oidc, PageBudget, Sharing
from llmagent_os.core import errors as core_errors
from llmagent_os.core.records import Decoding, Grant, Needs, Policy, Rule
from llmagent_os.gateway import errors as gateway_errors
from llmagent_os.gateway.auth import ROUTES
from llmagent_os.gateway.cli import COMMANDS
from llmagent_os.gateway.rest import rest_app
from llmagent_os.kernel.syscalls import Builtins
from llmagent_os.plugins import Hooks
from llmagent_os.security.administration import ACTS
from llmagent_os.triggers.spec import TriggerSpec, Webhook

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- made by scripts/docs_reference.py; do not edit -->\n\n"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell(value) for value in line) + " |\n" for line in lines)


def cell(value: object) -> str:
    """Text on one line, with what Markdown would take for the end of a cell escaped."""
    return " ".join(str(value).split()).replace("|", "\\|")


def code(value: object) -> str:
    """Text as code; nothing for nothing."""
    return f"`{value}`" if value not in (None, "") else ""


def doc(thing: Any) -> str:
    """A docstring without its indentation."""
    return inspect.getdoc(thing) or ""


def cli() -> str:
    """Every command with its arguments and options."""
    groups = [get_group(importlib.import_module(f"llmagent_os.gateway.console.{COMMANDS[name][0]}").app)
              for name in COMMANDS]  # fmt: skip
    found = [part for name, group in zip(COMMANDS, groups, strict=True) for part in command(name, group.commands[name])]
    text = "# The command line\n\nErrors are one line on standard error and exit code 1; wrong usage is exit code 2.\n"
    return text + "".join(found)


def command(name: str, one: Any) -> Iterator[str]:
    """A command's section, then those of the commands below it."""
    below = getattr(one, "commands", {})
    usage = " ".join(["llmagent-os", name, *map(option, arguments(one)), *["COMMAND"] * bool(below)])
    rows = [(code(option(p)), getattr(p, "help", "") or "", default(p)) for p in one.params if p.name != "help"]
    yield f"\n## {name}\n\n`{usage}`\n\n{paragraphs(one.help)}\n"
    if rows:
        yield "\n" + table(("option", "what it does", "without it"), rows)
    for deeper, child in below.items():
        yield from command(f"{name} {deeper}", child)


def arguments(one: Any) -> list[Any]:
    """The positional parameters of a command."""
    return [p for p in one.params if p.param_type_name == "argument"]


def option(parameter: Any) -> str:
    """How a parameter is written."""
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return name if parameter.required else f"[{name}]"
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar or 'VALUE'}"


def default(parameter: Any) -> str:
    """What holds where a parameter is left out."""
    if parameter.required:
        return "required"
    value = "on" if parameter.default is True else parameter.default
    return "" if value in (None, "", False) or callable(value) else code(value)


def paragraphs(text: str | None) -> str:
    """A help text with each paragraph on one line."""
    parts = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)


def syscalls() -> str:
    """The table behind the door."""
    rows = [
        (code(name), doc(entry.handler), duration(entry.deadline))
        for name, entry in Builtins.table(Builtins.__new__(Builtins)).items()
    ]
    acts = [(code(name), act.about, code(act.scope)) for name, act in ACTS.items()]
    return (
        "# Syscalls\n\nWhat a program can ask of the kernel, by the methods of its handle `sys` (see "
        "[Python](python.md)). A call is answered by its deadline, whatever its handler does; a caller may only "
        "shorten it; while a person is asked it stands still.\n\n"
        + table(("call", "what it does", "deadline"), rows)
        + "\n## Administration\n\nOnly services make these, for people: REST, the command line, `AgentManager`. Each "
        "takes a scope, and its row says who did it, with which key, and which records it wrote.\n\n"
        + table(("call", "what it does", "scope"), acts)
    )


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, name in ((86400, "days"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def hooks() -> str:
    """What a plugin may bring."""
    found = [(name, hook) for name, hook in vars(Hooks).items() if inspect.isfunction(hook)]
    rows = [(code(f"{name}()"), code(hook.__annotations__["return"]), doc(hook)) for name, hook in found]
    return f"# Hooks\n\n{doc(Hooks)} How to write one: [a plugin](../howto/plugins.md).\n\n" + table(
        ("hook", "returns", "what it brings"), rows
    )


def configuration() -> str:
    """The fields of `config.yaml`."""
    rows = [
        (code(name), code(shown(info.annotation)), value(info), code(f"LLMAGENT_OS_{name.upper()}"))
        for name, info in Config.model_fields.items()
    ]
    return (
        "# Configuration\n\nDefaults, then `config.yaml` in the data folder, then the environment, then the command "
        f"line.\n\n{doc(Config)}\n\n" + table(("field", "type", "default", "in the environment"), rows)
        + section("`scheduler`, by model", Sharing) + section("`pages`", PageBudget)
        + section("`oidc`", Oidc) + section("`cors`", Cors)
    )  # fmt: skip


def section(title: str, cls: type[BaseModel]) -> str:
    """The fields of a mapping below a heading."""
    return f"\n## {title}\n\n{doc(cls)}\n\n" + fields(cls)


def fields(cls: type[BaseModel]) -> str:
    """The fields of a mapping."""
    rows = [(code(f.alias or name), code(shown(f.annotation)), value(f)) for name, f in cls.model_fields.items()]
    return table(("field", "type", "default"), rows)


def record(title: str, cls: Any) -> str:
    """The fields of a mapping that becomes a record."""
    hints = get_type_hints(cls)
    rows = [(code(f.name), code(shown(hints[f.name])), left_out(f)) for f in dataclasses.fields(cls)]
    return f"\n## {title}\n\n{doc(cls)}\n\n" + table(("field", "type", "default"), rows)


def left_out(field: Any) -> str:
    """What holds where a record's field is left out."""
    if field.default is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "empty"
    return plain(field.default)


def plain(default: Any) -> str:
    """A default as it would be written in a file."""
    if dataclasses.is_dataclass(default):
        set_ = [(f.name, getattr(default, f.name), f.default) for f in dataclasses.fields(default)]
        default = {name: value for name, value, usual in set_ if usual is not dataclasses.MISSING and value != usual}
    if default in ((), {}):
        return "empty"
    if isinstance(default, dict):
        return code("{" + ", ".join(f"{name}: {value}" for name, value in default.items()) + "}")
    if default is None or isinstance(default, bool):
        return json.dumps(default)
    return code(repr(default) if default == "" else default)


def agent() -> str:
    """The fields of an agent's definition."""
    parts = ["# An agent's definition\n"]
    sections = {"": AgentSpec, "`budget`": BudgetSpec, "`supervision`": RestartSpec, "`knowledge`": KnowledgeSpec}
    for title, cls in sections.items():
        about = doc(cls).removeprefix("An agent's definition.\n\n")
        parts.append((f"\n## {title}\n" if title else "") + f"\n{about}\n\n" + fields(cls))
    records = {"grant": Grant, "grant.policy": Policy, "grant.policy.tools.NAME": Rule, "decoding": Decoding,
               "needs": Needs}  # fmt: skip
    return "".join(parts) + "".join(record(f"`{title}`", cls) for title, cls in records.items())


def trigger() -> str:
    """The fields of a trigger's definition."""
    about = doc(TriggerSpec).removeprefix("A trigger's definition: ")
    text = f"# A trigger's definition\n\nIt is {about}\n\n{fields(TriggerSpec)}"
    return text + section("`webhook`", Webhook)


def shown(annotation: Any) -> str:
    """A type as a reader would write it."""
    if annotation is type(None):
        return "null"
    if get_origin(annotation) is Annotated:
        return shown(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (tuple, Sequence):
        return f"list[{shown(get_args(annotation)[0])}]"
    if get_origin(annotation) is Mapping:
        return f"dict[{', '.join(map(shown, get_args(annotation)))}]"
    if get_args(annotation) and get_origin(annotation) in (list, dict):
        return f"{get_origin(annotation).__name__}[{', '.join(map(shown, get_args(annotation)))}]"
    if get_args(annotation):
        return " | ".join(map(shown, get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def value(info: Any) -> str:
    """A field's default."""
    if info.is_required():
        return "required"
    if info.default_factory in (dict, list) or isinstance(info.default, BaseModel):
        return "empty"
    if info.default_factory is not None and info.description:
        return str(info.description)
    if info.default_factory is not None:
        return doc(info.default_factory).partition(": ")[2].rstrip(".") or doc(info.default_factory)
    return plain(info.default)


def errors() -> str:
    """What can go wrong, and how HTTP clients are told."""
    found = [
        cls
        for module in (core_errors, gateway_errors)
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, core_errors.LLMAgentOSError) and cls.__module__ == module.__name__
    ]
    rows = [
        (code(cls.__name__), code(cls.__bases__[0].__name__), gateway_errors.status_of(cls("")), doc(cls))
        for cls in found
    ]  # fmt: skip
    return (
        "# Errors\n\nA class per thing that a caller would handle differently; every message says what to do next. "
        'REST answers `{"error": {"type", "message", "facts", "param", "code"}}`, the OpenAI-compatible paths '
        '`{"error": {"message", "type", "param", "code"}}`; `param` is a path in what was sent.\n\n'
        + table(("error", "is a", "status", "meaning"), rows)
    )


def rest() -> str:
    """The routes of the OpenAPI document."""
    paths = rest_app().openapi()["paths"]
    scopes = {route.replace(":path", ""): scope for route, scope in ROUTES.items()}
    rows = [
        (route.get("tags", ["other"])[0], code(f"{verb.upper()} {path}"),
         route.get("description") or route["summary"], scopes[f"{verb.upper()} {path}"])
        for path, verbs in paths.items()
        for verb, route in verbs.items()
    ]  # fmt: skip
    return (
        "# REST\n\nA running system shows what runs at `/`, its API at `/docs`, to be read and tried out in a browser "
        "that has logged in, and describes it at `/openapi.json`. Every path but `/health` and these pages needs "
        "`Authorization: Bearer KEY`: the owner's key in the data folder's file `key`, or [one that "
        "holds the scope](../howto/identity.md). What goes wrong: [errors](errors.md).\n\n"
        + table(("part", "route", "what it does", "scope"), sorted(rows, key=lambda row: row[0]))
    )


def pages() -> dict[Path, str]:
    """Every generated page by its file."""
    made = {"cli": cli, "syscalls": syscalls, "hooks": hooks, "configuration": configuration, "agent": agent,
            "trigger": trigger,
            "errors": errors, "rest": rest}  # fmt: skip
    return {FOLDER / f"{name}.md": MADE + make() for name, make in made.items()}


def main() -> None:
    """Write what has changed, or with --check say so and exit 1."""
    stale = {path: text for path, text in pages().items() if not path.is_file() or path.read_text() != text}
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not what the code says; run: python scripts/docs_reference.py")
        sys.exit(bool(stale))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in stale.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
