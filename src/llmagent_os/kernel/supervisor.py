"""Restart it, but not for ever: what a supervisor does about a child that ended (after Erlang/OTP's supervisor).

Children are started left to right and stopped right to left. A pure decision: the kernel carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import BudgetExceeded, LLMAgentOSError, ResultLost
from ..core.records import Restart, RestartStrategy, Supervision


@dataclass(frozen=True, slots=True)
class Child:
    """A child as its supervisor sees it, in order of start."""

    pid: int
    restart: Restart


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do: `stop` these (right to left), then `restart` those (left to right); or `give_up` altogether."""

    stop: tuple[int, ...] = ()
    restart: tuple[int, ...] = ()
    give_up: bool = False


def decide(
    supervision: Supervision,
    children: Sequence[Child],
    ended: Child,
    failed: bool,
    restarts: Sequence[float],
    now: float,
) -> Remedy:
    """Say what follows from the end of one child.

    `children` are those alive, in order of start, without `ended`; `restarts` are the times of earlier restarts in
    seconds, on the clock of `now`.
    """
    if is_let_go(ended, failed):
        return Remedy()
    recent = sum(1 for at in restarts if now - at < supervision.period)
    if recent >= supervision.intensity:
        return Remedy(stop=tuple(child.pid for child in reversed(children)), give_up=True)
    affected = _affected(supervision.strategy, children, ended)
    again = sorted([ended, *(child for child in affected if child.restart != "temporary")], key=lambda child: child.pid)
    return Remedy(tuple(child.pid for child in reversed(affected)), tuple(child.pid for child in again))


def is_let_go(ended: Child, failed: bool) -> bool:
    """Whether nothing follows from the end of a child, whatever its siblings are."""
    return ended.restart == "temporary" or (ended.restart == "transient" and not failed)


def _affected(strategy: RestartStrategy, children: Sequence[Child], ended: Child) -> Sequence[Child]:
    if strategy == "one_for_all":
        return children
    if strategy == "rest_for_one":
        return [child for child in children if child.pid > ended.pid]
    return ()


def is_hopeless(error: LLMAgentOSError | None, wakes: bool) -> bool:
    """Whether no restart helps: a budget is used up, or the same work would act again in vain."""
    return isinstance(error, BudgetExceeded) or (isinstance(error, ResultLost) and not wakes)
