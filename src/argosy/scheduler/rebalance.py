"""Evening out how many units the machines have, with few moves and a reason for each.

A move restarts a healthy unit, so nothing here happens by itself but after a machine has come back
(`engine/pace.py`), and people see the plan first. Units that stand in a relation to others or to one machine are left
alone, and so are those with `WhenCutOff=stop`, which would be down in between.
"""

from __future__ import annotations

from argosy.model.moves import Move
from argosy.model.snapshot import Snapshot
from argosy.model.unit import Unit, WhenCutOff
from argosy.scheduler import scores
from argosy.scheduler.board import Board
from argosy.scheduler.filters import eligible


def rebalance(snapshot: Snapshot, *, budget: int) -> list[Move]:
    """At most `budget` moves, each from one of the fullest machines to the emptiest that may have the unit."""
    return level(Board.of(snapshot, snapshot.usable), budget=budget)


def level(board: Board, *, budget: int) -> list[Move]:
    """The same on a board, which is as after these moves when it returns. Empty when no move would help."""
    moves: list[Move] = []
    while len(moves) < budget:
        move = _best(board)
        if move is None:
            break
        moves.append(move)
    return moves


def _best(board: Board) -> Move | None:
    """Make the best move, or none."""
    machines = board.ids(board.usable)
    loads = {machine_id: len(board.units_on(machine_id)) for machine_id in machines}
    least = min(loads.values(), default=0)
    for machine_id in sorted(machines, key=lambda one: (-loads[one], one)):
        load = loads[machine_id]
        if load < least + 2:
            break
        for name, unit in sorted(board.units_on(machine_id).items()):
            if not _may_move(board, unit):
                continue
            board.take(name, machine_id)
            fit = eligible(board, unit) & ~board.bit(machine_id)
            if fit:
                best, there = scores.preferred(board, unit, fit)
                if there + 2 <= load:
                    after = board.first(best)
                    board.put(unit, after)
                    reason = f"evens out: {load} units on {machine_id}, {there} on {after}"
                    return Move(unit=name, before=machine_id, after=after, reason=reason)
            board.put(unit, machine_id)
    return None


def _may_move(board: Board, unit: Unit) -> bool:
    needs = unit.requirements
    is_bound = needs.is_global or needs.machine_id is not None or needs.machine_of or needs.replaces
    return not is_bound and needs.when_cut_off is WhenCutOff.KEEP and not board.followers(unit.name)
