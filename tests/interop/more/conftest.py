"""Frameworks that do not go into one environment with the others, as they need the second SDK of MCP."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("dspy") is None:  # not in this environment: `make test-interop` has its own
    collect_ignore_glob = ["test_*.py"]
