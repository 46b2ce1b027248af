"""The smallest change that would make a unit fit, tried out on the board before it is told.

For each rule that can be satisfied by changing something on one machine there is a `Change`: the words, and what it comes
to on the board. `remedy` looks for the machine where the fewest rules stand in the way, makes their changes on the board,
asks the rules again, and takes the changes back. A remedy that does not hold is never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.orders import Scheduling
from argosy.model.unit import Condition, Operator, Unit
from argosy.scheduler import filters
from argosy.scheduler.amounts import in_bytes, in_cores
from argosy.scheduler.board import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that people could do about one rule on one machine."""

    words: str
    metadata: Mapping[str, str | None] = field(default_factory=dict)
    """Keys to set, or with None to take away."""
    leaving: tuple[UnitName, ...] = ()
    """Units that would be on the machine no more."""
    arriving: tuple[UnitName, ...] = ()
    """Units that would be on it."""
    returns: bool = False
    """The machine would be there."""
    opens: bool = False
    """People would no longer keep units from it."""


def remedy(board: Board, unit: Unit) -> str:
    """What would let a unit that fits nowhere be placed, in words; empty when no change to one machine would."""
    for machine_ids in _nearest(board, unit):
        for machine_id in machine_ids:
            changes = _changes(board, unit, machine_id)
            if changes and _would_fit(board, unit, machine_id, changes):
                return " and ".join(change.words for change in changes)
    return ""


def _nearest(board: Board, unit: Unit) -> list[list[MachineId]]:
    """The machines that could be made to fit, those refused by the fewest rules first; a few of each kind."""
    at_least = [board.known]
    by_rule: list[int] = []
    for rule in filters.RULES:
        failing = rule.refused(board, unit, board.known)
        by_rule.append(failing)
        at_least.append(0)
        for count in range(len(at_least) - 1, 0, -1):
            at_least[count] |= at_least[count - 1] & failing
    hopeless = by_rule[0]  # MachineID: a machine does not change its id
    found: list[list[MachineId]] = []
    for count in range(1, len(at_least)):
        beyond = at_least[count + 1] if count + 1 < len(at_least) else 0
        exactly = at_least[count] & ~beyond & ~hopeless
        tried = 0
        # One machine for each combination of rules is enough to try: the cheapest rules first.
        for key in _CHEAPEST:
            group = exactly & by_rule[_KEYS.index(key)] & ~tried
            tried |= group
            if group:
                found.append(_likeliest(board, key, group))
    return found


def _likeliest(board: Board, key: str, group: int) -> list[MachineId]:
    """Of machines that the same rule refuses, those that miss least; a few."""
    if key not in ("Memory", "CPU"):
        return board.ids(group, _TRIED)
    room = board.memory if key == "Memory" else board.cpu
    most = room.most_left(board.ids(group))
    if most > 0:
        group = room.machines(most, group, board.at)
    return board.ids(group, _TRIED)


def _changes(board: Board, unit: Unit, machine_id: MachineId) -> list[Change]:
    """A change for each rule that refuses the machine; empty when one of them has none."""
    bit = board.bit(machine_id)
    changes: list[Change] = []
    for rule in filters.RULES:
        if rule.refused(board, unit, bit):
            change = _BY_RULE[rule.key](board, unit, machine_id)
            if change is None:
                return []
            changes.append(change)
    return changes


def _would_fit(board: Board, unit: Unit, machine_id: MachineId, changes: list[Change]) -> bool:
    machine = board.machine(machine_id)
    assert machine is not None
    was_usable = board.is_usable(machine_id)
    scheduling = board.scheduling(machine_id)
    metadata = dict(machine.metadata)
    taken: list[Unit] = []
    put: list[UnitName] = []
    for change in changes:
        for key, value in change.metadata.items():
            if value is None:
                metadata.pop(key, None)
            else:
                metadata[key] = value
        taken += [
            board.take(name, machine_id)
            for name in change.leaving
            if name in board.units_on(machine_id)
        ]
        for name in change.arriving:
            board.put(Unit(name=name, digest=Digest("")), machine_id)
            put.append(name)
        if change.returns:
            board.set_usable(machine_id, True)
        if change.opens:
            board.set_scheduling(machine_id, Scheduling.OPEN)
    if metadata != machine.metadata:
        board.add_machine(msgspec.structs.replace(machine, metadata=metadata))
    fits = filters.eligible(board, unit, board.usable & board.bit(machine_id)) != 0
    board.add_machine(machine)
    board.set_usable(machine_id, was_usable)
    board.set_scheduling(machine_id, scheduling)
    for name in put:
        board.take(name, machine_id)
    for other in taken:
        board.put(other, machine_id)
    return fits


# --- one change for each rule --------------------------------------------------------------------------------------


def _nothing(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    return None


def _change_metadata(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    machine = board.machine(machine_id) or Machine(id=machine_id)
    wanted: dict[str, str | None] = {}
    for condition in unit.requirements.metadata:
        if not filters.meets(machine, condition):
            if condition.operator is Operator.NOT_EQUAL:
                wanted[condition.key] = None
            else:
                value = _value_that_meets(condition)
                if value is None:
                    return None
                wanted[condition.key] = value
    added = ", ".join(f"{key}={value}" for key, value in wanted.items() if value is not None)
    removed = ", ".join(key for key, value in wanted.items() if value is None)
    words = [f"add metadata {added} to"] if added else []
    if removed:
        words.append(f"remove metadata {removed} from")
    return Change(
        words=f"{' and '.join(words)} machine {_called(board, machine_id)}", metadata=wanted
    )


def _value_that_meets(condition: Condition) -> str | None:
    value = condition.values[0]
    if condition.operator in (Operator.EQUAL, Operator.IN):
        return value
    try:
        bound = int(value)
    except ValueError:
        return None  # there is no smallest step between words
    return str(bound - 1 if condition.operator is Operator.LESS else bound + 1)


def _return(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    return Change(words=f"bring back machine {_called(board, machine_id)}", returns=True)


def _open(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    verb = "undrain" if board.scheduling(machine_id) is Scheduling.DRAINED else "uncordon"
    return Change(words=f"{verb} machine {_called(board, machine_id)}", opens=True)


def _bring_targets(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    missing = tuple(
        target
        for target in unit.requirements.machine_of
        if machine_id not in board.machines_of(target)
    )
    if any(board.has(target) for target in missing):
        return None  # they are placed, apart: nothing on this one machine brings them together
    return Change(words=f"have {', '.join(missing)} placed first", arriving=missing)


def _end_conflicts(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    names = filters.Conflicts.against(board, unit, machine_id)
    return _stop(board, names, machine_id)


def _end_replacing(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    names = [
        other.name
        for other, place in board.replacing()
        if place == machine_id and filters.replaces(other, unit)
    ]
    return _stop(board, names, machine_id)


def _free_port(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    ports = [p for p in unit.requirements.ports if filters.Port.holders(board, p, machine_id)]
    names = sorted({n for port in ports for n in filters.Port.holders(board, port, machine_id)})
    numbers = ", ".join(map(str, ports))
    words = f"free port {numbers} on machine {_called(board, machine_id)} ({', '.join(names)})"
    return Change(words=words, leaving=tuple(names))


def _allow_more(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    units = board.units_on(machine_id).values()
    siblings = sorted(other.name for other in units if other.service == unit.service)
    limits = [unit.requirements.max_per_machine, filters.strictest_on(board, unit, machine_id)]
    limit = min(limit for limit in limits if limit is not None)
    leaving = tuple(siblings[: len(siblings) - limit + 1])
    words = f"add a machine, or raise MaxPerMachine of {unit.service} to {len(siblings) + 1}"
    return Change(words=words, leaving=leaving)


def _free_memory(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    missing = unit.requirements.memory_bytes - board.memory.left(machine_id)
    leaving = _releasing(board, machine_id, missing, lambda one: one.requirements.memory_bytes)
    if not board.memory.known & board.bit(machine_id) or leaving is None:
        return None
    words = f"free {in_bytes(missing)} on machine {_called(board, machine_id)}"
    return Change(words=words, leaving=leaving)


def _free_cpu(board: Board, unit: Unit, machine_id: MachineId) -> Change | None:
    missing = unit.requirements.cpu_millis - board.cpu.left(machine_id)
    leaving = _releasing(board, machine_id, missing, lambda one: one.requirements.cpu_millis)
    if not board.cpu.known & board.bit(machine_id) or leaving is None:
        return None
    words = f"free {in_cores(missing)} on machine {_called(board, machine_id)}"
    return Change(words=words, leaving=leaving)


def _releasing(
    board: Board, machine_id: MachineId, missing: int, reserved: Callable[[Unit], int]
) -> tuple[UnitName, ...] | None:
    """Units whose reservations come to what is missing, the largest first; None when all together do not."""
    units = sorted(board.units_on(machine_id).values(), key=lambda one: (-reserved(one), one.name))
    leaving: list[UnitName] = []
    for one in units:
        if missing <= 0:
            break
        missing -= reserved(one)
        leaving.append(one.name)
    return tuple(leaving) if missing <= 0 else None


def _stop(board: Board, names: list[UnitName], machine_id: MachineId) -> Change:
    words = f"stop {', '.join(names)} on machine {_called(board, machine_id)}"
    return Change(words=words, leaving=tuple(names))


def _called(board: Board, machine_id: MachineId) -> str:
    machine = board.machine(machine_id)
    name = f" ({machine.hostname})" if machine is not None and machine.hostname else ""
    return f"{machine_id}{name}"


_TRIED = 8
"""How many machines to try of each kind before going on to the next."""
_BY_RULE: dict[str, Callable[[Board, Unit, MachineId], Change | None]] = {
    "MachineID": _nothing,
    "MachineMetadata": _change_metadata,
    "Presence": _return,
    "Scheduling": _open,
    "MachineOf": _bring_targets,
    "Conflicts": _end_conflicts,
    "Replaces": _end_replacing,
    "Port": _free_port,
    "MaxPerMachine": _allow_more,
    "Memory": _free_memory,
    "CPU": _free_cpu,
}
_KEYS = [rule.key for rule in filters.RULES]
_CHEAPEST = (
    "Scheduling",
    "Presence",
    "MachineMetadata",
    "Memory",
    "CPU",
    "Port",
    "MaxPerMachine",
    "Conflicts",
    "Replaces",
    "MachineOf",
)
