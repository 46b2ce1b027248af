"""`Replaces`: a unit lands, and the units that it replaces move to other machines.

A unit that has to make way is moved like any other: its own constraints hold, the units that follow it (`MachineOf`) come
along, and it replaces nobody where it lands, so that one landing never becomes a chain of them. If any of them has no
other place, nothing happens at all: a running unit is not taken down to make room for a new one.
"""

from __future__ import annotations

from argosy.model.ids import MachineId, UnitName
from argosy.model.unit import Unit
from argosy.scheduler import scores
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Displaced
from argosy.scheduler.filters import eligible, replaces


def replaced_on(board: Board, unit: Unit, machine_id: MachineId) -> list[Unit]:
    """The units on the machine that make way for the unit, sorted by name."""
    units = board.units_on(machine_id)
    return [units[name] for name in sorted(units) if replaces(unit, units[name])]


def machines_with_replaced(board: Board, unit: Unit) -> int:
    """The machines that have a unit which would make way."""
    bits = 0
    for pattern in unit.requirements.replaces:
        for machine_id in board.ids(board.with_named(pattern) & ~bits):
            if replaced_on(board, unit, machine_id):
                bits |= board.bit(machine_id)
    return bits


def land(board: Board, unit: Unit, machine_id: MachineId) -> tuple[Displaced, ...] | None:
    """Put the unit on the machine and move away what it replaces there.

    Returns what moved, or None when the unit cannot land, or something has no other place: then the board is as before.
    """
    trial = _Trial(board)
    teams = [_team(board, one, machine_id) for one in replaced_on(board, unit, machine_id)]
    for team in teams:
        for member in team:
            trial.take(member.name, machine_id)
    if eligible(board, unit, board.bit(machine_id)):
        trial.put(unit, machine_id)
        moved = _move(board, trial, teams, unit=unit, before=machine_id)
        if moved is not None:
            return moved
    trial.undo()
    return None


def move_away(
    board: Board, unit: Unit, machine_id: MachineId, *, why: str, to: MachineId | None = None
) -> tuple[Displaced, ...] | None:
    """Move a unit, with its followers, from its machine to the best other one, or to that one; None when it cannot be."""
    trial = _Trial(board)
    team = _team(board, unit, machine_id)
    for member in team:
        trial.take(member.name, machine_id)
    moved = _settle(board, trial, team, before=machine_id, why=why, to=to)
    if moved is None:
        trial.undo()
    return moved


def _move(
    board: Board, trial: _Trial, teams: list[list[Unit]], *, unit: Unit, before: MachineId
) -> tuple[Displaced, ...] | None:
    moved: list[Displaced] = []
    done: set[UnitName] = set()
    for team in teams:
        fresh = [member for member in team if member.name not in done]
        done.update(member.name for member in fresh)
        settled = _settle(board, trial, fresh, before=before, why=f"makes way for {unit.name}")
        if settled is None:
            return None
        moved += settled
    if any(before not in board.machines_of(target) for target in unit.requirements.machine_of):
        return None  # what the unit itself follows would have moved away
    return tuple(moved)


def _settle(
    board: Board,
    trial: _Trial,
    team: list[Unit],
    *,
    before: MachineId,
    why: str,
    to: MachineId | None = None,
) -> tuple[Displaced, ...] | None:
    moved: list[Displaced] = []
    waiting = {member.name: member for member in team}
    while waiting:
        member = next(
            (
                one
                for one in waiting.values()
                if waiting.keys().isdisjoint(one.requirements.machine_of)
            ),
            None,
        )
        if member is None:
            return None  # they follow each other
        del waiting[member.name]
        words = why if member is team[0] else f"follows {team[0].name}, which {why}"
        if member.requirements.is_global:
            moved.append(Displaced(member.name, before, None, words))
            continue
        fit = eligible(board, member) & ~board.bit(before)
        if to is not None and member is team[0]:
            fit &= board.bit(to)
        if member.requirements.replaces:
            fit &= ~machines_with_replaced(board, member)
        if not fit:
            return None
        best, _ = scores.preferred(board, member, fit)
        after = board.first(best)
        trial.put(member, after)
        moved.append(Displaced(member.name, before, after, words))
    return tuple(moved)


def _team(board: Board, unit: Unit, machine_id: MachineId) -> list[Unit]:
    """The unit and those on its machine that follow it, directly or not; the unit first."""
    units = board.units_on(machine_id)
    team = [unit]
    names = {unit.name}
    for member in team:
        for name in board.followers(member.name):
            if name in units and name not in names:
                names.add(name)
                team.append(units[name])
    return team


class _Trial:
    """Changes to a board that can be taken back."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._done: list[tuple[Unit, MachineId, bool]] = []

    def put(self, unit: Unit, machine_id: MachineId) -> None:
        self._board.put(unit, machine_id)
        self._done.append((unit, machine_id, True))

    def take(self, name: UnitName, machine_id: MachineId) -> None:
        if name in self._board.units_on(machine_id):
            self._done.append((self._board.take(name, machine_id), machine_id, False))

    def undo(self) -> None:
        for unit, machine_id, was_put in reversed(self._done):
            if was_put:
                self._board.take(unit.name, machine_id)
            else:
                self._board.put(unit, machine_id)
