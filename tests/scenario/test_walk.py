"""The walk in the docs: a reader who follows one message meets these functions, and the message does, too."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.stand_ins.gateway import gate, user

PAGE = Path(__file__).parents[2] / "docs" / "discussions" / "door-and-journal.md"
MOST = 60  # functions that a reader can be asked to read


async def test_one_message_passes_every_function_of_the_walk(tmp_path: Path, models_folder: Path) -> None:
    walk = re.findall(r"^\| \d+ \| `([\w/.]+)` \| `([^`]+)` \|", PAGE.read_text(), re.M)
    assert 40 <= len(walk) <= MOST and len(set(walk)) == len(walk)
    met = set()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        _, ours, file = code.co_filename.rpartition("/llmagent_os/")
        if event == "call" and ours:
            met.add((file, code.co_qualname))

    async with gate(tmp_path / "data") as api:
        await api.post("/v1/agents", {"name": "helper", "model": "scripted", "tools": ["calculator"]})
        asked = {"model": "helper", "messages": user('call calculator with {"expression": "1 + 1"}'), "stream": True}
        sys.setprofile(look)
        try:
            *_, last = await api.events("/v1/chat/completions", asked)
        finally:
            sys.setprofile(None)
    assert last == ("", "[DONE]")
    assert [each for each in walk if each not in met] == []
