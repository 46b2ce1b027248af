"""Emptying a machine: what can run elsewhere moves there, and what cannot stays and says why.

Global units go last: what they do for the others (logs, networks) is needed until those are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from argosy.model.ids import MachineId, UnitName
from argosy.model.moves import Move
from argosy.model.orders import Scheduling
from argosy.model.snapshot import Snapshot
from argosy.scheduler import displacing
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Displaced
from argosy.scheduler.explain import explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """A unit that has no other place."""

    unit: UnitName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """What becomes of the units of a machine that is drained."""

    moves: tuple[Move, ...]
    staying: tuple[Staying, ...]


def what_would_move(snapshot: Snapshot, machine_id: MachineId) -> Draining:
    """What draining the machine would come to, were it all done at once. Moves in the order in which they are made."""
    board = Board.of(snapshot, snapshot.usable)
    board.set_scheduling(machine_id, Scheduling.DRAINED)
    moved = drain(board, machine_id)
    staying: list[Staying] = []
    for name, unit in sorted(board.units_on(machine_id).items()):
        if unit.requirements.is_global:
            reason = "it is global and stays until the others are gone"
        else:
            board.take(name, machine_id)
            reason = explain(board, unit).summary
            board.put(unit, machine_id)
        staying.append(Staying(unit=name, reason=reason))
    return Draining(
        moves=tuple(
            Move(unit=one.unit, before=one.before, after=one.after, reason=one.reason)
            for one in moved
        ),
        staying=tuple(staying),
    )


def drain(board: Board, machine_id: MachineId, *, at_most: int | None = None) -> list[Displaced]:
    """Move units off the machine on the board, each with those that follow it and only if all of them have a place.

    at_most: begin no further move once so many units have moved.
    """
    why = f"machine {machine_id} is drained"
    moved: list[Displaced] = []
    for name in sorted(board.units_on(machine_id)):
        unit = board.units_on(machine_id).get(name)
        if unit is None or unit.requirements.is_global:
            continue
        if at_most is not None and len(moved) >= at_most:
            return moved
        moved += displacing.move_away(board, unit, machine_id, why=why) or ()
    if all(unit.requirements.is_global for unit in board.units_on(machine_id).values()):
        for name in sorted(board.units_on(machine_id)):
            board.take(name, machine_id)
            moved.append(Displaced(name, machine_id, None, why))
    return moved
