"""A scheduler too simple to be wrong, and random small clusters, for comparing with the real one.

It knows machines as plain records and, for each, a dictionary of units; it answers every question by looking at
everything. It shares no code with `argosy.scheduler`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.unit import Condition, Operator, Unit

Cluster = dict[MachineId, dict[UnitName, Unit]]


def may_have(machine: Machine, unit: Unit, cluster: Cluster, *, is_settled: bool = False) -> bool:
    """Whether the machine could have the unit, which is left out of what is on it.

    is_settled: the unit is there already, where capacity that became unknown and a unit that replaces it are no reasons.
    """
    needs = unit.requirements
    others = [other for other in cluster[machine.id].values() if other.name != unit.name]
    names = {other.name for other in others}
    if needs.machine_id is not None and needs.machine_id != machine.id:
        return False
    if not all(holds(condition, machine) for condition in needs.metadata):
        return False
    if not set(needs.machine_of) <= names:
        return False
    for other in others:
        if any(fnmatchcase(other.name, glob) for glob in needs.conflicts):
            return False
        if any(fnmatchcase(unit.name, glob) for glob in other.requirements.conflicts):
            return False
        if set(needs.ports) & set(other.requirements.ports):
            return False
        if not is_settled and makes_way(unit, other):
            return False
    siblings = [other for other in others if other.service == unit.service]
    for sibling in [unit, *siblings]:
        limit = sibling.requirements.max_per_machine
        if limit is not None and len(siblings) + 1 > limit:
            return False
    memory = needs.memory_bytes + sum(other.requirements.memory_bytes for other in others)
    cpu = needs.cpu_millis + sum(other.requirements.cpu_millis for other in others)
    capacity = machine.capacity
    if (
        needs.memory_bytes
        and memory > capacity.memory_bytes
        and not (is_settled and capacity.memory_bytes == 0)
    ):
        return False
    return not (
        needs.cpu_millis
        and cpu > capacity.cpu_millis
        and not (is_settled and capacity.cpu_millis == 0)
    )


def makes_way(unit: Unit, other: Unit) -> bool:
    """Whether the unit makes way for the other."""
    return any(fnmatchcase(unit.name, glob) for glob in other.requirements.replaces) and not any(
        fnmatchcase(other.name, glob) for glob in unit.requirements.replaces
    )


def holds(condition: Condition, machine: Machine) -> bool:
    value = machine.metadata.get(condition.key)
    if condition.operator is Operator.NOT_EQUAL:
        return value not in condition.values
    if value is None:
        return False
    if condition.operator is Operator.LESS:
        return int(value) < int(condition.values[0])
    if condition.operator is Operator.GREATER:
        return int(value) > int(condition.values[0])
    return value in condition.values


def place_one_by_one(
    machines: Mapping[MachineId, Machine],
    usable: Iterable[MachineId],
    cluster: Cluster,
    units: Iterable[Unit],
) -> dict[UnitName, list[MachineId]]:
    """Place units, none of which is on a machine, has `Replaces` or is followed by another of them."""
    placed: dict[UnitName, list[MachineId]] = {}
    for unit in sorted(units, key=_turn):
        fit = [m for m in sorted(usable) if may_have(machines[m], unit, cluster)]
        if fit and not unit.requirements.is_global:
            fit = [min(fit, key=lambda m: _rank(machines, cluster, unit, m))]
        for machine_id in fit:
            cluster[machine_id][unit.name] = unit
        placed[unit.name] = fit
    return placed


def _turn(unit: Unit) -> tuple[int, int, int, str]:
    needs = unit.requirements
    tier = 0 if needs.is_global else 1 if needs.machine_id is not None else 2
    if needs.machine_of:
        tier = 3
    return tier, -needs.memory_bytes, -needs.cpu_millis, unit.name


def _rank(
    machines: Mapping[MachineId, Machine], cluster: Cluster, unit: Unit, candidate: MachineId
) -> tuple[list[int], int, MachineId]:
    zones = []
    for key in unit.requirements.spread:
        zone = machines[candidate].metadata.get(key)
        zones.append(
            sum(
                other.service == unit.service
                for machine_id, there in cluster.items()
                if machines[machine_id].metadata.get(key) == zone
                for other in there.values()
            )
        )
    return zones, len(cluster[candidate]), candidate
