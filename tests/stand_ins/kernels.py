"""Kernels on one journal file, one after another, and a wait for what comes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from llmagent_os.core.records import ModelSpec
from llmagent_os.kernel.kernel import Kernel
from llmagent_os.kernel.process import Program
from llmagent_os.llm.scripted import open_engine
from llmagent_os.stores.sqlite import SQLiteStore

Boot = Callable[..., Awaitable[Kernel]]
"""Boots a kernel, with a store or other options where they are given; once more is a restart."""


@asynccontextmanager
async def kernels(
    folder: Path, programs: Mapping[str, Program], models: Sequence[ModelSpec] = (),
    store: Callable[[Path], SQLiteStore] = SQLiteStore, **usual: Any,
) -> AsyncIterator[Boot]:  # fmt: skip
    """Gives what boots a kernel on `journal.db` in a folder, with the options that are usual; ends the last one."""
    running: list[Kernel] = []

    async def boot(store: Callable[[Path], SQLiteStore] = store, **options: Any) -> Kernel:
        for kernel in running[-1:]:
            await kernel.close()
        kernel = Kernel(store(folder / "journal.db"), **{"programs": programs, **usual, **options})
        for spec in models:
            kernel.engines.add(spec.name, partial(open_engine, spec))
        running.append(kernel)
        await kernel.start_all()
        return kernel

    yield boot
    for kernel in running[-1:]:
        await kernel.close()


async def until(found: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until something is so; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not found():
            await asyncio.sleep(0.002)
