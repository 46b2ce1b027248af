"""Whether a unit may be on a machine, told anew from the documentation and not from the scheduler.

`invariants.py` and `liveness.py` hold the scheduler's decisions against this. It is short because it may be slow.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping

from argosy.model.ids import UnitName
from argosy.model.machine import Machine
from argosy.model.unit import Condition, Operator, Requirements


def fits(
    name: UnitName,
    needs: Requirements,
    machine: Machine,
    others: Mapping[UnitName, Requirements],
) -> str:
    """Why the unit must not be on the machine beside these others, in words; empty when it may.

    The rules as users are told them, the slow way: it is called for single placements only.
    """
    rules: tuple[tuple[bool, str], ...] = (
        (needs.machine_id is not None and not machine.id.startswith(needs.machine_id), "MachineID"),
        (not all(_holds(condition, machine.metadata) for condition in needs.metadata), "metadata"),
        (not set(needs.machine_of) <= others.keys(), "MachineOf"),
        (
            _is_short(needs, others, lambda r: r.memory_bytes, machine.capacity.memory_bytes),
            "memory",
        ),
        (_is_short(needs, others, lambda r: r.cpu_millis, machine.capacity.cpu_millis), "CPU"),
        (any(set(needs.ports) & set(other.ports) for other in others.values()), "ports"),
        (any(_conflict(name, needs, other, r) for other, r in others.items()), "Conflicts"),
        (_is_crowded(name, needs, others), "MaxPerMachine"),
    )
    return ", ".join(rule for is_broken, rule in rules if is_broken)


def _holds(condition: Condition, metadata: Mapping[str, str]) -> bool:
    value = metadata.get(condition.key)
    match condition.operator:
        case Operator.EQUAL | Operator.IN:
            return value in condition.values
        case Operator.NOT_EQUAL:
            return value not in condition.values
        case _:
            return value is not None and _is_less(condition, value)


def _is_less(condition: Condition, value: str) -> bool:
    other = condition.values[0]
    pair: tuple[float, float] | tuple[str, str]
    try:
        pair = float(value), float(other)
    except ValueError:
        pair = value, other
    left, right = pair
    if condition.operator is Operator.LESS:
        return left < right  # type: ignore[operator]
    return left > right  # type: ignore[operator]


def _is_short(
    needs: Requirements,
    others: Mapping[UnitName, Requirements],
    amount: Callable[[Requirements], int],
    capacity: int,
) -> bool:
    return amount(needs) > 0 and amount(needs) + sum(map(amount, others.values())) > capacity


def _conflict(name: UnitName, needs: Requirements, other: UnitName, others: Requirements) -> bool:
    return any(fnmatch.fnmatchcase(other, glob) for glob in needs.conflicts) or any(
        fnmatch.fnmatchcase(name, glob) for glob in others.conflicts
    )


def _is_crowded(
    name: UnitName, needs: Requirements, others: Mapping[UnitName, Requirements]
) -> bool:
    if needs.max_per_machine is None:
        return False
    same = sum(_service(other) == _service(name) for other in others)
    return same + 1 > needs.max_per_machine


def _service(name: UnitName) -> str:
    prefix, at, _ = name.partition("@")
    return prefix + at if at else name
