"""Pure: what has to change in the assignments, given a snapshot.

`plan` looks at what a change touches, or at everything, and brings the board from where the units are to where they
should be; the difference, as actions with reasons, is the plan. Planned again after its plan was carried out, nothing is
left to do.

The rules that people would ask about:

- Absence is never a command. A unit leaves a machine that is merely absent only because somebody wants it gone or its own
  constraints stopped holding. Whether a machine is lost is judged elsewhere (`presence.py`) and given to `plan`.
- A unit on a lost machine moves if any machine can have it. If none can, it stays assigned where it is, with an
  explanation: when the machine comes back the unit goes on there, undisturbed. Global units have no other place and stay.
- A unit whose constraints stopped holding leaves its machine even if it has to wait then. Where two are in each other's
  way, the one whose text changed leaves, or else the one that came last.
- A unit that should make way for one that `Replaces` it leaves only if it has another place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from argosy.model.actions import EngineAction, Place, Settle, Unplace, Update, Wait
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState, Unit
from argosy.scheduler import displacing
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Displaced, Placed
from argosy.scheduler.filters import Replaces, violation
from argosy.scheduler.scheduler import place


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to look at: units and machines whose records changed, or everything. Falsy when there is nothing.

    What a change leads to (followers, units that wait for room) is found by the planner.
    """

    units: frozenset[UnitName] = frozenset()
    machines: frozenset[MachineId] = frozenset()
    is_everything: bool = False

    @classmethod
    def everything(cls) -> Scope:
        return cls(is_everything=True)

    @classmethod
    def nothing(cls) -> Scope:
        return cls()

    def __or__(self, other: Scope) -> Scope:
        return Scope(
            units=self.units | other.units,
            machines=self.machines | other.machines,
            is_everything=self.is_everything or other.is_everything,
        )

    def __bool__(self) -> bool:
        return self.is_everything or bool(self.units) or bool(self.machines)


def plan(
    snapshot: Snapshot, board: Board, scope: Scope, *, lost: frozenset[MachineId]
) -> list[EngineAction]:
    """Decide what has to change.

    board: has the snapshot's assignments, and which machines are usable. Afterwards it is as the plan leaves the cluster;
        if the plan is not carried out, make a new board.
    lost: machines whose units are to run elsewhere.

    The actions come in this order: Unplace, Update, Place, Wait, Settle; each sorted by unit, then machine. Carried out by
    `apply_plan`. Equal snapshots give equal plans.
    """
    return _Planning(snapshot, board, lost).plan(scope)


class _Planning:
    def __init__(self, snapshot: Snapshot, board: Board, lost: frozenset[MachineId]) -> None:
        self._snapshot = snapshot
        self._board = board
        self._lost = lost
        self._unwanted: list[UnitName] = []
        self._doubled: list[Unit] = []
        self._removed_machines: set[MachineId] = set()
        self._changed: list[tuple[UnitName, MachineId]] = []
        self._wanted: set[UnitName] = set()
        """Units that lack a machine."""
        self._before: dict[UnitName, list[MachineId]] = {}
        """Where each unit that was moved had been."""
        self._reasons: dict[tuple[UnitName, MachineId], str] = {}
        """Why a unit left a machine or came to it."""
        self._assigned: dict[MachineId, dict[UnitName, AssignedUnit]] = {}

    def plan(self, scope: Scope) -> list[EngineAction]:
        names = self._names(scope)
        for name in names:
            self._take_over(name)
        self._remove_unwanted()
        self._remove_violating(names)
        self._make_way()
        evicted = self._evict()
        refused = self._place()
        self._put_back(evicted, refused)
        return [*self._moves(), *self._explanations(names, refused)]

    # --- what to look at ----------------------------------------------------------------------------------------

    def _names(self, scope: Scope) -> list[UnitName]:
        board, snapshot = self._board, self._snapshot
        if scope.is_everything:
            return sorted({*snapshot.units, *snapshot.pending, *board.names()})
        names = {*scope.units, *snapshot.pending, *board.globals()}
        for machine_id in scope.machines | self._lost:
            names.update(board.units_on(machine_id))
        return sorted(names)

    def _take_over(self, name: UnitName) -> None:
        """Give the board the unit's present record, which decides from here on, and note what it needs."""
        unit = self._snapshot.units.get(name)
        places = self._board.machines_of(name)
        if unit is None or unit.desired is DesiredState.INACTIVE:
            if places:
                self._unwanted.append(name)
            return
        if not places or unit.requirements.is_global:
            self._wanted.add(name)
        elif len(places) > 1:
            self._doubled.append(unit)
        for machine_id in places:
            self._board.put(unit, machine_id)
            if machine_id not in self._snapshot.machines:
                self._removed_machines.add(machine_id)
            elif self._differs(unit, machine_id):
                self._changed.append((name, machine_id))

    # --- what has to leave --------------------------------------------------------------------------------------

    def _remove_unwanted(self) -> None:
        for name in self._unwanted:
            reason = "it is to be inactive"
            if name not in self._snapshot.units:
                reason = "it was destroyed"
            for machine_id in self._board.machines_of(name):
                self._remove(name, machine_id, reason)
        for machine_id in sorted(self._removed_machines):
            for name in sorted(self._board.units_on(machine_id)):
                self._remove(name, machine_id, "the machine was removed from the cluster")
        for unit in self._doubled:
            self._keep_one(unit)

    def _keep_one(self, unit: Unit) -> None:
        """Of a unit that is on several machines (it was global until now), keep the best one."""
        board = self._board
        places = board.machines_of(unit.name)
        places.sort(
            key=lambda machine_id: (
                machine_id in self._lost,
                violation(board, unit, machine_id) is not None,
                not board.is_usable(machine_id),
                machine_id,
            )
        )
        for machine_id in places[1:]:
            self._remove(unit.name, machine_id, f"it runs on one machine, {places[0]}")

    def _remove_violating(self, names: Iterable[UnitName]) -> None:
        """Remove units whose constraints stopped holding, then those who followed them, until nobody has to leave."""
        board = self._board
        suspects = {
            (unit.name, machine_id)
            for unit, machine_id in self._placed(names)
            if violation(board, unit, machine_id) is not None
        }
        suspects.update(
            (follower, machine_id)
            for name in self._before
            for follower in board.followers(name)
            for machine_id in board.machines_of(follower)
        )
        waiting = sorted(suspects, key=self._who_leaves_first)
        for name, machine_id in waiting:
            unit = board.units_on(machine_id).get(name)
            if unit is None:
                continue
            refusal = violation(board, unit, machine_id)
            if refusal is None or refusal.rule == Replaces.key:
                continue
            self._remove(name, machine_id, f"{refusal.rule}: {refusal.detail}")
            waiting += (
                (follower, place)
                for follower in board.followers(name)
                for place in board.machines_of(follower)
            )

    def _who_leaves_first(
        self, suspect: tuple[UnitName, MachineId]
    ) -> tuple[bool, float, str, str]:
        name, machine_id = suspect
        assigned = self._assigned_on(machine_id).get(name)
        unit = self._snapshot.units[name]
        is_unchanged = assigned is not None and (assigned.digest, assigned.variables) == (
            unit.digest,
            unit.variables,
        )
        placed_at = assigned.placed_at if assigned is not None else None
        return is_unchanged, -placed_at.timestamp() if placed_at else 0.0, name, machine_id

    def _make_way(self) -> None:
        """Move what shares a machine with a unit that replaces it, as far as there is room."""
        board = self._board
        for unit, machine_id in board.replacing():
            for other in displacing.replaced_on(board, unit, machine_id):
                if machine_id in self._lost or not board.bit(machine_id):
                    continue
                moved = displacing.move_away(
                    board, other, machine_id, why=f"makes way for {unit.name}"
                )
                self._note_displaced(moved or ())

    def _evict(self) -> list[tuple[Unit, MachineId]]:
        """Take units off lost machines, to see whether they have another place."""
        evicted: list[tuple[Unit, MachineId]] = []
        for machine_id in sorted(self._lost):
            units = self._board.units_on(machine_id)
            for name in sorted(units):
                unit = units[name]
                if not unit.requirements.is_global:
                    self._remove(name, machine_id, f"machine {machine_id} is lost")
                    evicted.append((unit, machine_id))
        return evicted

    # --- what has to come ---------------------------------------------------------------------------------------

    def _place(self) -> dict[UnitName, Explanation]:
        units = self._snapshot.units
        wanted = (self._wanted | self._before.keys()) - set(self._unwanted)
        for name in wanted:
            self._before.setdefault(name, self._board.machines_of(name))
        refused: dict[UnitName, Explanation] = {}
        for decision in place(self._board, [units[name] for name in sorted(wanted)]):
            if isinstance(decision, Placed):
                self._note_displaced(decision.displaced)
                self._reasons[decision.unit, decision.machine] = decision.reason
            else:
                refused[decision.unit] = decision.explanation
        return refused

    def _put_back(
        self, evicted: Sequence[tuple[Unit, MachineId]], refused: Mapping[UnitName, Explanation]
    ) -> None:
        """Leave on lost machines what no other machine can have, unless what it follows has moved."""
        board = self._board
        stuck = [(unit, machine_id) for unit, machine_id in evicted if unit.name in refused]
        for unit, machine_id in stuck:
            board.put(unit, machine_id)
        for unit, machine_id in stuck:
            if unit.name in board.units_on(machine_id) and violation(board, unit, machine_id):
                self._remove_with_followers(unit, machine_id)

    def _remove_with_followers(self, unit: Unit, machine_id: MachineId) -> None:
        waiting = [unit.name]
        for name in waiting:
            if name in self._board.units_on(machine_id):
                self._board.take(name, machine_id)
                waiting += self._board.followers(name)

    # --- bookkeeping --------------------------------------------------------------------------------------------

    def _remove(self, name: UnitName, machine_id: MachineId, reason: str) -> None:
        self._before.setdefault(name, self._board.machines_of(name))
        self._board.take(name, machine_id)
        self._reasons[name, machine_id] = reason

    def _note_displaced(self, moved: Iterable[Displaced]) -> None:
        for one in moved:
            if one.unit not in self._before:
                others = self._board.machines_of(one.unit)
                before = {*others, one.before} - {one.after}
                self._before[one.unit] = sorted(machine for machine in before if machine)
            self._reasons[one.unit, one.before] = one.reason
            if one.after is not None:
                self._reasons[one.unit, one.after] = one.reason

    def _placed(self, names: Iterable[UnitName]) -> Iterator[tuple[Unit, MachineId]]:
        for name in names:
            unit = self._snapshot.units.get(name)
            if unit is not None:
                for machine_id in self._board.machines_of(name):
                    yield unit, machine_id

    def _assigned_on(self, machine_id: MachineId) -> dict[UnitName, AssignedUnit]:
        found = self._assigned.get(machine_id)
        if found is None:
            assignment = self._snapshot.assignments.get(machine_id)
            units = assignment.units if assignment is not None else ()
            found = self._assigned[machine_id] = {unit.name: unit for unit in units}
        return found

    # --- the plan -----------------------------------------------------------------------------------------------

    def _moves(self) -> list[EngineAction]:
        units = self._snapshot.units
        unplaced: list[EngineAction] = []
        placed: list[EngineAction] = []
        stayed: set[tuple[UnitName, MachineId]] = set(self._changed)
        for name in sorted(self._before):
            before, after = self._before[name], self._board.machines_of(name)
            for machine_id in before:
                if machine_id not in after:
                    reason = self._reasons[name, machine_id]
                    unplaced.append(Unplace(unit=name, machine=machine_id, reason=reason))
                    stayed.discard((name, machine_id))
            for machine_id in after:
                if machine_id not in before:
                    reason = self._reasons[name, machine_id]
                    placed.append(Place(unit=name, machine=machine_id, reason=reason))
        updated = [
            Update(
                unit=name, machine=machine_id, reason=self._what_changed(units[name], machine_id)
            )
            for name, machine_id in sorted(stayed)
        ]
        return [*unplaced, *updated, *placed]

    def _differs(self, unit: Unit, machine_id: MachineId) -> bool:
        assigned = self._assigned_on(machine_id).get(unit.name)
        return (
            assigned is None
            or assigned.digest != unit.digest
            or assigned.variables != unit.variables
            or assigned.desired is not unit.desired
            or assigned.generation != unit.generation
        )

    def _what_changed(self, unit: Unit, machine_id: MachineId) -> str:
        """How the unit differs from what the machine was told."""
        assigned = self._assigned_on(machine_id).get(unit.name)
        if assigned is None:
            return "its assignment was missing"
        changes: list[str] = []
        if assigned.digest != unit.digest:
            changes.append("its text changed")
        if assigned.variables != unit.variables:
            changes.append("its variables changed")
        if assigned.desired is not unit.desired:
            changes.append(f"it is to be {unit.desired.value}")
        if assigned.generation != unit.generation:
            changes.append("a new start was asked for")
        return ", ".join(changes)

    def _explanations(
        self, names: Iterable[UnitName], refused: Mapping[UnitName, Explanation]
    ) -> Iterator[EngineAction]:
        pending = self._snapshot.pending
        for name in sorted(refused):
            known = pending.get(name)
            since = known.since if known is not None else None
            explanation = msgspec.structs.replace(refused[name], since=since)
            if explanation != known:
                yield Wait(unit=name, explanation=explanation)
        for name in names:
            if name in pending and name not in refused:
                yield Settle(unit=name)


def apply_plan(snapshot: Snapshot, actions: Iterable[EngineAction], at: datetime) -> Snapshot:
    """The snapshot as it is after the actions were carried out at that time.

    Assignments of machines that no action names are the very same records. A unit that is placed has the reason and the
    time of its placement in its assignment, and keeps both through updates. An explanation keeps the time since when the
    unit has been waiting.
    """
    changes: dict[MachineId, dict[UnitName, EngineAction]] = {}
    pending = dict(snapshot.pending)
    for action in actions:
        match action:
            case Place() | Update() | Unplace():
                changes.setdefault(action.machine, {})[action.unit] = action
            case Wait(explanation=explanation):
                since = explanation.since or at
                pending[action.unit] = msgspec.structs.replace(explanation, since=since)
            case Settle():
                pending.pop(action.unit, None)
    assignments = dict(snapshot.assignments)
    for machine_id, by_unit in changes.items():
        old = assignments.get(machine_id)
        units = {unit.name: unit for unit in old.units} if old is not None else {}
        for name, action in by_unit.items():
            if isinstance(action, Unplace):
                units.pop(name, None)
            else:
                units[name] = _assigned(snapshot.units[name], action, units.get(name), at)
        ordered = tuple(units[name] for name in sorted(units))
        assignments[machine_id] = Assignment(machine=machine_id, units=ordered)
    return Snapshot(
        revision=snapshot.revision,
        units=snapshot.units,
        machines=snapshot.machines,
        present=snapshot.present,
        absent_since=snapshot.absent_since,
        assignments=assignments,
        pending=pending,
    )


def _assigned(
    unit: Unit, action: EngineAction, old: AssignedUnit | None, at: datetime
) -> AssignedUnit:
    is_placed = isinstance(action, Place)
    return AssignedUnit(
        name=unit.name,
        digest=unit.digest,
        desired=unit.desired,
        generation=unit.generation,
        variables=unit.variables,
        reason=action.reason if isinstance(action, Place) else old.reason if old else "",
        placed_at=at if is_placed or old is None else old.placed_at,
    )
