"""An engine that dies: it breaks off after some pieces of an answer, as a killed server does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from llmagent_os.core.errors import EngineUnavailable
from llmagent_os.core.records import Chunk, GenerateRequest, ModelSpec
from llmagent_os.llm.script import Script, follow
from llmagent_os.llm.scripted import ScriptedEngine


class FlakyEngine(ScriptedEngine):
    """A scripted engine whose n-th answer breaks off after `deaths[n]` pieces; later ones do not."""

    def __init__(
        self, name: str, deaths: Iterable[int] = (), script: Script = follow, without: frozenset[str] = frozenset(),
        **fields: object,
    ) -> None:  # fmt: skip
        super().__init__(ModelSpec(name, "scripted", **fields), script)  # type: ignore[arg-type]
        self.info = replace(self.info, abilities=self.info.abilities - without)
        self.deaths = list(deaths)
        self.asked: list[GenerateRequest] = []

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Answer, or die."""
        self.asked.append(request)
        left = self.deaths.pop(0) if self.deaths else None
        async for chunk in super().generate(request):
            if left == 0:
                raise EngineUnavailable(f"{self.info.model} died", engine=self.info.model)
            left = left - 1 if left is not None else None
            yield chunk
