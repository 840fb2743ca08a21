"""Coroutines that often end at once: begun where they are, and awaited only where there is something to wait for."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


def begin(work: Coroutine[Any, Any, Any]) -> tuple[Any, Coroutine[Any, Any, Any] | None]:
    """Take the first step of a coroutine: its result, and None; or, where it waits, what is left of it to await.

    Raises what it raises. What it does first belongs to the task that runs now, and what is left may be another one's:
    nothing may be begun so that holds on to its task.
    """
    try:
        waits = work.send(None)
    except StopIteration as ended:
        return ended.value, None
    return None, _rest(work, waits)


@types.coroutine
def _rest(begun: Any, waits: Any) -> Generator[Any, Any, Any]:
    """What is left of a coroutine that was begun and waits."""
    while True:
        try:
            came = yield waits
        except BaseException as error:  # whatever is thrown in is its own to handle
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, came)
        try:
            waits = step()
        except StopIteration as ended:
            return ended.value
