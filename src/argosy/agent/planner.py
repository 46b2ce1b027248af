"""Pure: what an agent does next, from what it should run, what runs, and what it remembers having started.

The order of the answer is the order in which one unit's steps must happen: stop with the old text, remove or install,
start. Steps of different units do not wait for each other; `agent.py` sees to that.

Absence is never a command: a unit is stopped because an assignment *without* it arrived, and without any assignment
`plan` is not called at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from argosy.model.actions import AgentAction, Install, Remove, Restart, Start, Stop
from argosy.model.assignment import AssignedUnit
from argosy.model.ids import Digest, UnitName
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.model.unit import DesiredState


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The last start that the agent asked its runtime for."""

    version: Digest
    generation: int


def plan(
    assigned: Mapping[UnitName, AssignedUnit],
    statuses: Mapping[UnitName, UnitStatus],
    started: Mapping[UnitName, Started],
    *,
    names: Iterable[UnitName],
) -> list[AgentAction]:
    """What to do now with the units of these names, in the order of their names. Empty when they are as they should be.

    assigned: the machine's whole assignment, by name. names: those to look at.

    A unit that ran and ended is left alone, whether it failed or not: whether it runs again is its own `Restart=`'s
    business, or a person's who asks for a start and so raises the generation.
    """
    steps: list[AgentAction] = []
    for name in sorted(names):
        unit, status = assigned.get(name), statuses.get(name)
        if unit is not None and unit.desired is not DesiredState.INACTIVE:
            steps += _bring_about(unit, status, started.get(name))
        elif status is not None:
            steps += _take_away(status)
    return steps


def _take_away(status: UnitStatus) -> list[AgentAction]:
    reason = "no longer assigned to this machine"
    steps: list[AgentAction] = []
    if has_processes(status):
        steps.append(Stop(unit=status.name, reason=reason))
    steps.append(Remove(unit=status.name, reason=reason))
    return steps


def _bring_about(
    unit: AssignedUnit, status: UnitStatus | None, last: Started | None
) -> list[AgentAction]:
    is_running = status is not None and has_processes(status)
    is_installed = status is not None and status.digest == unit.version
    steps: list[AgentAction] = []
    if unit.desired is DesiredState.LOADED:
        if is_running:
            steps.append(Stop(unit=unit.name, reason="its desired state is loaded"))
        if not is_installed:
            steps.append(Install(unit=unit.name, digest=unit.digest, reason="assigned"))
        return steps
    if not is_installed:
        # The old text's ExecStop and ExecStopPost belong to what runs: stop first, then replace.
        reason = "assigned to this machine" if status is None else "its text or variables changed"
        if is_running:
            steps.append(Stop(unit=unit.name, reason=reason))
        steps.append(Install(unit=unit.name, digest=unit.digest, reason=reason))
        steps.append(
            Start(unit=unit.name, version=unit.version, generation=unit.generation, reason=reason)
        )
        return steps
    assert status is not None
    if status.load is not LoadState.LOADED:
        return steps
    if last is not None and last.generation < unit.generation:
        step = Restart if is_running else Start
        reason = f"somebody asked for a restart (generation {unit.generation})"
        steps.append(
            step(unit=unit.name, version=unit.version, generation=unit.generation, reason=reason)
        )
    elif not is_running and not _has_had_its_start(unit, status, last):
        reason = "launched, and not started since this machine came up"
        steps.append(
            Start(unit=unit.name, version=unit.version, generation=unit.generation, reason=reason)
        )
    return steps


def _has_had_its_start(unit: AssignedUnit, status: UnitStatus, last: Started | None) -> bool:
    return status.has_run and last is not None and last.version == unit.version


def has_processes(status: UnitStatus) -> bool:
    """Whether any process of it may be there."""
    return status.active not in (ActiveState.INACTIVE, ActiveState.FAILED)
