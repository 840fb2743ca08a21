"""Stands for a reader of what somebody else wrote, and says which process it works in."""

from __future__ import annotations

import os
from typing import Any

from llmagent_os.core.errors import InvalidRequest


def elsewhere(*told: Any) -> None:
    """Raise InvalidRequest with the process."""
    raise InvalidRequest(f"read by process {os.getpid()}")
