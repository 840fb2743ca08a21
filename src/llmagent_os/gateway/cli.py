"""The command line, `llmagent-os COMMAND`: the commands by name, and the way in.

What it is made of is imported in `main`: Ctrl-C meanwhile ends the program as it ends any other.
"""

from __future__ import annotations

import importlib
import signal

COMMANDS = {
    "up": ("up", "Start the system; with --chat, talk to its assistant."),
    "desktop": ("desktop", "Open the desktop in a browser, logged in."),
    "chat": ("chat", "Talk to an agent."),
    "run": ("run", "Give an agent one message and print its answer."),
    "save": ("run", "Save a file or picture that an answer named."),
    "ps": ("processes", "List the processes."),
    "top": ("top", "Watch the system at work."),
    "logs": ("logs", "Show the calls that a process made."),
    "events": ("events", "Follow every call of the system as it ends."),
    "pause": ("processes", "Hold a process or an agent at its next step."),
    "resume": ("processes", "Let a paused process or agent go on."),
    "kill": ("processes", "End a process, or every process of an agent."),
    "nice": ("processes", "Change how a process or an agent stands in line."),
    "replay": ("replay", "Run a past process again from its journal, without a model."),
    "explain": ("explain", "Draw what a transformers model looked at for an answer."),
    "route": ("route", "Say which model would be asked, and why."),
    "models": ("models", "List, add, fetch and remove models."),
    "tune": ("tune", "Find the best way to do what rows show, and have an agent do it."),
    "feedback": ("feedback", "Say what you think of an answer, and collect rows to learn from."),
    "agents": ("agents", "Create, change, deploy and remove agents."),
    "flow": ("flows", "Check, run, watch and draw flows."),
    "triggers": ("triggers", "Start agents and flows at times, for messages, files and webhooks."),
    "boards": ("teamwork", "See the values that agents share, and what they were."),
    "topics": ("teamwork", "See the messages that agents share, and try dead letters again."),
    "knowledge": ("knowledge", "Add, search and remove what agents know."),
    "memory": ("memory", "See, change and forget what agents remember."),
    "files": ("files", "List, get and put the files that an agent works on."),
    "keys": ("keys", "Mint, list and revoke keys."),
    "tenants": ("tenants", "See and say what a tenant may use."),
    "privacy": ("privacy", "Export and erase a person's data, and how long data is kept."),
    "backup": ("backup", "Copy everything that a system knows, while it runs."),
    "restore": ("backup", "Put a backup into a data folder."),
    "audit": ("audit", "Verify the journal, and show what tools were called."),
    "approvals": ("approvals", "See and answer what agents ask before they do it."),
    "anomalies": ("anomalies", "See what agents did that they never do, and end a quarantine."),
    "accounts": ("accounts", "See what was drawn on the accounts of budgets, and give some back."),
    "tools": ("tools", "List, try and add tools."),
    "plugins": ("plugins", "List the plugins, and load their files again."),
    "sandbox": ("sandbox", "See what code runs in, and bring libraries for it."),
    "doctor": ("doctor", "Say what is missing and the command that mends it."),
    "bench": ("bench", "Measure this system."),
}
"""Command -> (its module in `console`, its line in the help)."""


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error and exit code 1 (2: wrong usage)."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell may have it ignored
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    line = importlib.import_module(".command_line", __package__)
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    line.run()
