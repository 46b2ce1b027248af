"""Boards for the tests of the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.unit import Unit
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Placed, Refused
from argosy.scheduler.scheduler import place


def board(
    *machines: Machine, on: Mapping[str, Sequence[Unit]] | None = None, absent: Sequence[str] = ()
) -> Board:
    """A board of machines, all usable but those absent, with units on them."""
    made = Board()
    for one in machines:
        made.add_machine(one)
        made.set_usable(one.id, one.id not in absent)
    for name, units in (on or {}).items():
        for unit in units:
            made.put(unit, MachineId(name))
    return made


def placed(on: Board, *units: Unit) -> dict[str, str]:
    """Place the units; where each of them is now, by name, for those that are on one machine."""
    place(on, units)
    places = {unit.name: on.machines_of(unit.name) for unit in units}
    return {str(name): str(where[0]) for name, where in places.items() if len(where) == 1}


def refusal(on: Board, unit: Unit) -> Refused:
    """The refusal of a unit that has to be refused."""
    (decision,) = place(on, [unit])
    assert isinstance(decision, Refused)
    return decision


def placement(on: Board, unit: Unit) -> Placed:
    """The placement of a unit that has to be placed on one machine."""
    (decision,) = place(on, [unit])
    assert isinstance(decision, Placed)
    return decision


def where(on: Board, name: str) -> list[str]:
    return [str(machine_id) for machine_id in on.machines_of(UnitName(name))]
