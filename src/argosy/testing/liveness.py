"""What must hold once the faults are over: everything is as people want it, and stays so.

`unsettled` compares what is wanted with what the store says and with what the machines really run, and names each
difference in words. It is the L1 to L3 of `docs/design/simulation.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from argosy.model.assignment import EPOCH_BITS, AssignedUnit
from argosy.model.ids import MachineId, UnitName
from argosy.model.observed import ActiveState, UnitStatus
from argosy.model.orders import Scheduling
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.testing.fitting import fits
from argosy.testing.invariants import Checker
from argosy.testing.loop import running
from argosy.testing.machine import SimMachine

ENDS_SOON = timedelta(minutes=10)
"""An order that ends within this time would change what is wanted while somebody looks whether it is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A machine, and whether servers can see it."""

    machine: SimMachine
    is_seen: bool


def unsettled(checker: Checker, sights: Sequence[Sight]) -> list[str]:
    """Every difference between what is wanted and what is; empty when all is well."""
    seen = {sight.machine.record.id: sight.machine for sight in sights if sight.is_seen}
    problems = [*_presence(checker, seen), *_orders(checker)]
    for unit in checker.units.values():
        problems += _placement(checker, unit, seen)
    for machine_id, assignment in checker.assignments.items():
        unknown = [
            unit.name
            for unit in assignment.units
            if unit.name not in checker.units and not unit.is_leaving
        ]
        problems += [f"{name} is assigned to {machine_id} and was destroyed" for name in unknown]
        if machine_id in seen:
            leaving = [unit.name for unit in assignment.units if unit.is_leaving]
            problems += [f"{name} is still to leave {machine_id}" for name in leaving]
    for machine in seen.values():
        problems += _machine(checker, machine)
    return problems


def _presence(checker: Checker, seen: Mapping[MachineId, SimMachine]) -> Iterator[str]:
    for machine_id in seen.keys() - checker.machines.present:
        yield f"{machine_id} is there and not registered"
    for machine_id in sorted(checker.machines.present - seen.keys()):
        yield f"{machine_id} is gone and still counts as present"


def _orders(checker: Checker) -> Iterator[str]:
    now = running().wall_clock()
    for machine_id, orders in checker.machines.orders.items():
        if orders.until is not None and now < orders.until < now + ENDS_SOON:
            yield f"the order for {machine_id} ends soon"
    for machine_id in sorted(checker.machines.lost.keys() - checker.machines.known.keys()):
        yield f"{machine_id} was removed and still counts as lost"
    for name in sorted(checker.moves_asked):
        yield f"nobody has answered the order to move {name}"


def _placement(checker: Checker, unit: Unit, seen: Mapping[MachineId, SimMachine]) -> Iterator[str]:
    assigned = {
        machine: one
        for machine, assignment in checker.assignments.items()
        for one in assignment.units
        if one.name == unit.name and not one.is_leaving
    }
    is_wanted = unit.desired is not DesiredState.INACTIVE
    if not is_wanted and assigned:
        yield f"{unit.name} is inactive and assigned to {sorted(assigned)}"
    if not is_wanted or (not assigned and not unit.requirements.is_global):
        if is_wanted:
            yield from _waiting(checker, unit, seen)
        elif unit.name in checker.pending:
            yield f"{unit.name} is inactive and has an explanation of why it waits"
        return
    for machine, one in assigned.items():
        if not _is_current(one, unit):
            yield f"{unit.name} on {machine} is assigned as it was before its last change"
        if one.fence and one.fence >> EPOCH_BITS < checker.restored:
            yield f"{unit.name} on {machine} has its fence from before the restore"
        if machine not in seen and not unit.requirements.is_global and _homes(checker, unit, seen):
            yield f"{unit.name} is assigned to {machine}, which is gone, and could run elsewhere"
        if checker.machines.scheduling(machine) is Scheduling.DRAINED and machine in seen:
            yield from _drained(checker, unit, machine, seen)
    if unit.requirements.is_global:
        for machine in _homes(checker, unit, seen):
            yield f"{unit.name} is global and not on {machine}"
    elif unit.name in checker.pending and any(machine in seen for machine in assigned):
        yield f"{unit.name} is placed and has an explanation of why it waits"


def _drained(
    checker: Checker, unit: Unit, machine: MachineId, seen: Mapping[MachineId, SimMachine]
) -> Iterator[str]:
    others = _others(checker, machine)
    if unit.requirements.is_global:
        if all(needs.is_global for needs in others.values()):
            yield f"{unit.name} is the last on {machine}, which is drained"
        return
    # One that others follow goes only where all of them can; that is not worked out here.
    is_followed = any(unit.name in needs.machine_of for needs in others.values())
    if not is_followed and _homes(checker, unit, seen):
        yield f"{unit.name} is on {machine}, which is drained, and could run elsewhere"


def _waiting(checker: Checker, unit: Unit, seen: Mapping[MachineId, SimMachine]) -> Iterator[str]:
    if unit.name not in checker.pending:
        yield f"{unit.name} has no machine and no explanation"
    homes = _homes(checker, unit, seen)
    if homes:
        yield f"{unit.name} waits although {homes[0]} could have it"


def _homes(checker: Checker, unit: Unit, seen: Mapping[MachineId, SimMachine]) -> list[MachineId]:
    """Seen machines that do not have the unit and could, without anybody making way."""
    homes: list[MachineId] = []
    for machine_id in sorted(seen):
        others = _others(checker, machine_id)
        record = checker.machines.known.get(machine_id)
        is_there = unit.name in others
        is_closed = checker.machines.scheduling(machine_id) is not Scheduling.OPEN
        if record is None or is_there or is_closed:
            continue
        if not fits(unit.name, unit.requirements, record, others):
            homes.append(machine_id)
    return homes


def _others(checker: Checker, machine: MachineId) -> dict[UnitName, Requirements]:
    assignment = checker.assignments.get(machine)
    units = assignment.units if assignment else ()
    return {one.name: checker.requirements(one) for one in units if not one.is_leaving}


def _is_current(one: AssignedUnit, unit: Unit) -> bool:
    return (one.digest, one.desired, one.generation) == (unit.digest, unit.desired, unit.generation)


def _machine(checker: Checker, machine: SimMachine) -> Iterator[str]:
    name, machine_id = machine.record.hostname, machine.record.id
    assignment = checker.assignments.get(machine_id)
    assigned = {one.name: one for one in assignment.units} if assignment else {}
    statuses = machine.statuses()
    for unit in sorted(statuses.keys() - assigned.keys()):
        yield f"{name} still has {unit}, which is not assigned to it"
    for unit, one in assigned.items():
        behaviour = machine.rules.of(unit)
        if behaviour.install_error:
            continue
        status = statuses.get(unit)
        if status is None or status.digest != one.version:
            yield f"{name} has not the {unit} that is assigned to it"
        elif one.desired is DesiredState.LOADED and _is_running(status):
            yield f"{unit} on {name} is {status.active.value} and should be loaded"
        elif one.desired is DesiredState.LAUNCHED and not _is_started(machine, status):
            yield f"{unit} on {name} is {status.active.value} and should be active"
    observed = checker.observed.get(machine_id, {})
    for unit in sorted(observed.keys() | statuses.keys()):
        if observed.get(unit) != statuses.get(unit):
            yield f"what is recorded of {unit} on {name} is not what {name} has"


def _is_running(status: UnitStatus) -> bool:
    return status.active not in (ActiveState.INACTIVE, ActiveState.FAILED)


def _is_started(machine: SimMachine, status: UnitStatus) -> bool:
    behaviour = machine.rules.of(status.name)
    if behaviour.hangs:
        return status.active is ActiveState.ACTIVATING
    if behaviour.fails_to_start or behaviour.crashes_after is not None:
        return status.has_run and status.active in (ActiveState.FAILED, ActiveState.ACTIVE)
    return status.active is ActiveState.ACTIVE
