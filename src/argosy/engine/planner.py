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
- A unit that must not run twice (`WhenCutOff=stop`) leaves a machine in two steps: first the machine is told to end it
  (`Release`), and only when it has said so, or has been silent for long enough, has the unit another place. Meanwhile it
  is on no machine of the board.
- After a restore, a machine that the backup knows nothing of gets an empty assignment: what it holds is of another history,
  and for a machine a missing assignment is no command.
- A drained machine is emptied a few units at a time, each when it has another place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from argosy.engine import presence
from argosy.model.actions import (
    Clear,
    EngineAction,
    Forget,
    Place,
    Release,
    Settle,
    Unplace,
    Update,
    Wait,
)
from argosy.model.assignment import EPOCH_BITS, AssignedUnit, Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.moves import MoveOrder
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState, Unit, WhenCutOff
from argosy.scheduler import displacing, draining, rebalance
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Displaced, Placed
from argosy.scheduler.filters import Replaces, eligible, violation
from argosy.scheduler.scheduler import place
from argosy.settings import PresenceSettings


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the passing of time comes to, for a planner that has no clock. By default nothing has passed."""

    silent: Mapping[MachineId, timedelta] = field(default_factory=dict)
    """Machines whose silence is believed, and for how long: units that may move after so long run elsewhere."""
    may_leave: Mapping[MachineId, int] = field(default_factory=dict)
    """Drained machines, and how many units may set out from each now."""
    may_level: int = 0
    """How many units may move now to even out the machines."""
    may_fence: bool = True
    """Whether units that must not run twice may be placed: not while others may still run that a restore has undone."""
    presence: PresenceSettings = field(default_factory=PresenceSettings)


def plan(
    snapshot: Snapshot, board: Board, scope: Scope, timing: Timing | None = None
) -> list[EngineAction]:
    """Decide what has to change.

    board: has the snapshot's assignments, and which machines are usable. Afterwards it is as the plan leaves the cluster;
        if the plan is not carried out, make a new board.

    The actions come in this order: Unplace and Release, Update, Place, Wait, Settle, Forget, Clear; each sorted by unit,
    then machine. Carried out by
    `apply_plan`. Equal snapshots give equal plans.
    """
    return _Planning(snapshot, board, timing or Timing()).plan(scope)


class _Planning:
    def __init__(self, snapshot: Snapshot, board: Board, timing: Timing) -> None:
        self._snapshot = snapshot
        self._board = board
        self._timing = timing
        self._silent = timing.silent
        self._unwanted: list[UnitName] = []
        self._doubled: list[Unit] = []
        self._removed_machines: set[MachineId] = set()
        self._changed: list[tuple[UnitName, MachineId]] = []
        self._wanted: set[UnitName] = set()
        """Units that lack a machine."""
        self._held: dict[UnitName, MachineId] = {}
        """Units that must not run twice and may still run there: they get no other place yet."""
        self._ended: list[tuple[UnitName, MachineId, str]] = []
        """Units that left, with how it is known that they ended."""
        self._renewed: set[tuple[UnitName, MachineId]] = set()
        """Units that get a new fence where they are."""
        self._certain: set[tuple[UnitName, MachineId]] = set()
        """Removals of units that have ended already, since their machine was silent for so long."""
        self._done: list[Forget] = []
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
        self._carry_out_orders()
        self._drain()
        self._level()
        refused = self._place()
        self._put_back(evicted, refused)
        told = [*self._moves(), *self._explanations(names, refused), *self._done]
        return told + self._clear(scope, told)

    def _clear(self, scope: Scope, told: Sequence[EngineAction]) -> list[EngineAction]:
        """A machine that has no unit is told so: it may run some from before it was removed, copied or restored, and
        that it hears nothing of those is no command to end them.
        """
        snapshot = self._snapshot
        among = snapshot.usable if scope.is_everything else snapshot.usable & scope.machines
        among -= {action.machine for action in told if isinstance(action, Place)}
        return [Clear(machine=m) for m in sorted(among - snapshot.assignments.keys())]

    # --- what to look at ----------------------------------------------------------------------------------------

    def _names(self, scope: Scope) -> list[UnitName]:
        board, snapshot = self._board, self._snapshot
        if scope.is_everything:
            return sorted({*snapshot.units, *snapshot.pending, *snapshot.leaving, *board.names()})
        names = {*scope.units, *snapshot.pending, *snapshot.leaving, *board.globals()}
        names.update(snapshot.moves)
        for machine_id in scope.machines | self._silent.keys():
            names.update(board.units_on(machine_id))
        return sorted(names)

    def _take_over(self, name: UnitName) -> None:
        """Give the board the unit's present record, which decides from here on, and note what it needs."""
        unit = self._snapshot.units.get(name)
        places = self._board.machines_of(name)
        self._note_leaving(name)
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
            elif self._has_old_fence(name, machine_id):
                if self._timing.may_fence:
                    self._renewed.add((name, machine_id))
                    self._changed.append((name, machine_id))
            elif self._differs(unit, machine_id):
                self._changed.append((name, machine_id))

    def _note_leaving(self, name: UnitName) -> None:
        for machine_id, assigned in sorted(self._snapshot.leaving.get(name, {}).items()):
            if self._snapshot.released.get(name, {}).get(machine_id, 0) >= assigned.fence:
                self._ended.append((name, machine_id, f"machine {machine_id} has ended it"))
            elif self._has_ended_in_silence(assigned, machine_id):
                reason = f"machine {machine_id} was silent for so long that it has ended"
                self._ended.append((name, machine_id, reason))
            else:
                self._held[name] = machine_id

    def _has_ended_in_silence(self, assigned: AssignedUnit, machine_id: MachineId) -> bool:
        silence = self._silent.get(machine_id)
        needed = presence.silence_to_end(
            assigned.stop_within_seconds or 0.0,
            self._timing.presence,
            is_removed=machine_id not in self._snapshot.machines,
        )
        return silence is not None and silence >= needed

    def _may_move_from(self, unit: Unit, machine_id: MachineId) -> bool:
        """Whether the machine has been silent for long enough that the unit may run elsewhere."""
        assigned = self._assigned_on(machine_id).get(unit.name)
        if assigned is not None and assigned.fence:
            return self._has_ended_in_silence(assigned, machine_id)
        needed = presence.silence_needed(unit.requirements, self._timing.presence)
        return machine_id in self._silent and self._silent[machine_id] >= needed

    def _has_old_fence(self, name: UnitName, machine_id: MachineId) -> bool:
        assigned = self._assigned_on(machine_id).get(name)
        return assigned is not None and 0 < assigned.fence >> EPOCH_BITS < self._snapshot.restored

    # --- what has to leave --------------------------------------------------------------------------------------

    def _remove_unwanted(self) -> None:
        for name in self._unwanted:
            reason = "it is to be inactive"
            if name not in self._snapshot.units:
                reason = "it was destroyed"
            for machine_id in self._board.machines_of(name):
                self._remove(name, machine_id, reason)
        for machine_id in sorted(self._removed_machines):
            for name, unit in sorted(self._board.units_on(machine_id).items()):
                assigned = self._assigned_on(machine_id).get(name)
                if assigned is not None and assigned.fence:
                    # Nobody can ask that machine any more, and it may still run the unit: it is as one that is silent.
                    if self._may_move_from(unit, machine_id):
                        self._certain.add((name, machine_id))
                    else:
                        continue
                self._remove(name, machine_id, "the machine was removed from the cluster")
        for unit in self._doubled:
            self._keep_one(unit)

    def _keep_one(self, unit: Unit) -> None:
        """Of a unit that is on several machines (it was global until now), keep the best one."""
        board = self._board
        places = board.machines_of(unit.name)
        places.sort(
            key=lambda machine_id: (
                machine_id in self._silent,
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
                if machine_id in self._silent or not board.bit(machine_id):
                    continue
                moved = displacing.move_away(
                    board, other, machine_id, why=f"makes way for {unit.name}"
                )
                self._note_displaced(moved or ())

    def _evict(self) -> list[tuple[Unit, MachineId]]:
        """Take units off silent machines, to see whether they have another place."""
        evicted: list[tuple[Unit, MachineId]] = []
        for machine_id in sorted(self._silent):
            units = self._board.units_on(machine_id)
            for name in sorted(units):
                unit = units[name]
                if not unit.requirements.is_global and self._may_move_from(unit, machine_id):
                    self._certain.add((name, machine_id))
                    self._remove(name, machine_id, f"machine {machine_id} is lost")
                    evicted.append((unit, machine_id))
        return evicted

    # --- what people asked to be moved --------------------------------------------------------------------------

    def _carry_out_orders(self) -> None:
        for name in sorted(self._snapshot.moves):
            order = self._snapshot.moves[name]
            if name not in self._held:
                refusal = self._move(name, order)
                if refusal is not None:
                    self._done.append(Forget(unit=name, refusal=refusal))

    def _move(self, name: UnitName, order: MoveOrder) -> str | None:
        """Returns why not, empty when it is done, None when it goes on once the unit has ended where it is."""
        board, to = self._board, order.to
        unit = self._snapshot.units.get(name)
        if unit is None or unit.desired is DesiredState.INACTIVE:
            return "nobody wants it to run"
        if unit.requirements.is_global:
            return "it is global and runs on every machine"
        places = board.machines_of(name)
        if places == [to]:
            return ""
        why = order.reason or f"{order.by or 'somebody'} asked for it"
        if not places:
            if self._is_too_early(unit):
                return None
            if not eligible(board, unit, board.usable & board.bit(to)):
                return f"machine {to} cannot have it"
            self._before.setdefault(name, [])
            board.put(unit, to)
            self._reasons[name, to] = why
            return ""
        moved = displacing.move_away(board, unit, places[0], why=why, to=to)
        if moved is None:
            return f"machine {to} cannot have it and the units that follow it"
        self._note_displaced(moved)
        return None if name in self._held else ""

    # --- what leaves bit by bit ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        for machine_id, count in sorted(self._timing.may_leave.items()):
            self._note_displaced(draining.drain(self._board, machine_id, at_most=count))

    def _level(self) -> None:
        for move in rebalance.level(self._board, budget=self._timing.may_level):
            self._note_displaced([Displaced(move.unit, move.before, move.after, move.reason)])

    # --- what has to come ---------------------------------------------------------------------------------------

    def _place(self) -> dict[UnitName, Explanation]:
        units = self._snapshot.units
        wanted = (self._wanted | self._before.keys()) - set(self._unwanted)
        for name in wanted:
            self._before.setdefault(name, self._board.machines_of(name))
        refused: dict[UnitName, Explanation] = {}
        while wanted:
            held = {name for name in wanted if self._may_not_yet(units[name])}
            refused |= {name: self._hold(name) for name in held}
            for decision in place(self._board, [units[name] for name in sorted(wanted - held)]):
                if isinstance(decision, Placed):
                    self._note_displaced(decision.displaced)
                    self._reasons[decision.unit, decision.machine] = decision.reason
                else:
                    refused[decision.unit] = decision.explanation
            # Units that made way and may still run where they were have no place yet, nor have their followers.
            wanted = {
                name
                for name in self._before.keys() - set(self._unwanted) - refused.keys()
                if not self._board.has(name)
            }
        return refused

    def _may_not_yet(self, unit: Unit) -> bool:
        is_held = unit.name in self._held or self._is_too_early(unit)
        return is_held and not self._board.has(unit.name)

    def _is_too_early(self, unit: Unit) -> bool:
        needs = unit.requirements
        is_single = needs.when_cut_off is WhenCutOff.STOP and not needs.is_global
        return is_single and not self._timing.may_fence

    def _hold(self, name: UnitName) -> Explanation:
        machine_id = self._held.get(name)
        summary = f"{name} must not run twice: it waits until machine {machine_id} has ended it"
        if machine_id is None:
            summary = f"{name} must not run twice: after a restore it waits until one from before has ended"
        return Explanation(unit=name, refusals=(), summary=summary)

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
                self._take_with_followers(unit.name, machine_id)

    def _take_with_followers(self, name: UnitName, machine_id: MachineId) -> None:
        waiting = [name]
        for one in waiting:
            if one in self._board.units_on(machine_id):
                self._before.setdefault(one, self._board.machines_of(one))
                self._board.take(one, machine_id)
                waiting += self._board.followers(one)

    # --- bookkeeping --------------------------------------------------------------------------------------------

    def _remove(self, name: UnitName, machine_id: MachineId, reason: str) -> None:
        self._before.setdefault(name, self._board.machines_of(name))
        self._board.take(name, machine_id)
        self._reasons[name, machine_id] = reason
        if self._must_end_first(name, machine_id):
            self._held[name] = machine_id

    def _must_end_first(self, name: UnitName, machine_id: MachineId) -> bool:
        assigned = self._assigned_on(machine_id).get(name)
        has_fence = assigned is not None and assigned.fence > 0
        return has_fence and (name, machine_id) not in self._certain

    def _note_displaced(self, moved: Collection[Displaced]) -> None:
        for one in moved:
            if one.unit not in self._before:
                others = self._board.machines_of(one.unit)
                before = {*others, one.before} - {one.after}
                self._before[one.unit] = sorted(machine for machine in before if machine)
            self._reasons[one.unit, one.before] = one.reason
            if one.after is not None:
                self._reasons[one.unit, one.after] = one.reason
        for one in moved:
            if self._must_end_first(one.unit, one.before):
                self._held[one.unit] = one.before
                if one.after is not None:
                    self._take_with_followers(one.unit, one.after)

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
        unplaced: list[Unplace | Release] = []
        placed: list[Place] = []
        stayed: set[tuple[UnitName, MachineId]] = set(self._changed)
        for name in sorted(self._before):
            before, after = self._before[name], self._board.machines_of(name)
            for machine_id in before:
                if machine_id not in after:
                    reason = self._reasons[name, machine_id]
                    leave = Release if self._must_end_first(name, machine_id) else Unplace
                    unplaced.append(leave(unit=name, machine=machine_id, reason=reason))
                    stayed.discard((name, machine_id))
            for machine_id in after:
                if machine_id not in before:
                    reason = self._reasons[name, machine_id]
                    placed.append(Place(unit=name, machine=machine_id, reason=reason))
        returned = {(action.unit, action.machine) for action in placed}
        unplaced += (
            Unplace(unit=name, machine=machine_id, reason=reason)
            for name, machine_id, reason in self._ended
            if (name, machine_id) not in returned
        )
        unplaced.sort(key=lambda action: (action.unit, action.machine))
        updated = [
            Update(
                unit=name,
                machine=machine_id,
                reason=self._what_changed(units[name], machine_id),
                renews_fence=(name, machine_id) in self._renewed,
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
            or assigned.stop_within_seconds != _stop_within(unit, assigned, self._timing.presence)
        )

    def _what_changed(self, unit: Unit, machine_id: MachineId) -> str:
        """How the unit differs from what the machine was told."""
        assigned = self._assigned_on(machine_id).get(unit.name)
        if assigned is None:
            return "its assignment was missing"
        changes: list[str] = []
        if (unit.name, machine_id) in self._renewed:
            changes.append("the cluster was restored from a backup")
        if assigned.digest != unit.digest:
            changes.append("its text changed")
        if assigned.variables != unit.variables:
            changes.append("its variables changed")
        if assigned.desired is not unit.desired:
            changes.append(f"it is to be {unit.desired.value}")
        if assigned.generation != unit.generation:
            changes.append("a new start was asked for")
        if not changes:
            changes.append("it has another time for stopping when it is cut off")
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


def apply_plan(
    snapshot: Snapshot,
    actions: Iterable[EngineAction],
    at: datetime,
    settings: PresenceSettings | None = None,
) -> Snapshot:
    """The snapshot as it is after the actions were carried out at that time.

    Assignments of machines that no action names are the very same records. A unit that is placed has the reason and the
    time of its placement in its assignment, and keeps both through updates. An explanation keeps the time since when the
    unit has been waiting.
    """
    changes: dict[MachineId, dict[UnitName, EngineAction]] = {}
    times = settings or PresenceSettings()
    pending = dict(snapshot.pending)
    moves = dict(snapshot.moves)
    for action in actions:
        match action:
            case Place() | Update() | Unplace() | Release():
                changes.setdefault(action.machine, {})[action.unit] = action
            case Wait(explanation=explanation):
                since = explanation.since or at
                pending[action.unit] = msgspec.structs.replace(explanation, since=since)
            case Settle():
                pending.pop(action.unit, None)
            case Forget():
                moves.pop(action.unit, None)
            case Clear():
                changes.setdefault(action.machine, {})
    assignments = dict(snapshot.assignments)
    for machine_id, by_unit in changes.items():
        old = assignments.get(machine_id)
        units = {unit.name: unit for unit in old.units} if old is not None else {}
        for name, action in by_unit.items():
            if isinstance(action, Unplace):
                units.pop(name, None)
            elif isinstance(action, Release):
                units[name] = msgspec.structs.replace(units[name], desired=DesiredState.INACTIVE)
            elif isinstance(action, Place | Update):
                units[name] = _assigned(snapshot, action, units.get(name), at, times)
        ordered = tuple(units[name] for name in sorted(units))
        assignments[machine_id] = Assignment(machine=machine_id, units=ordered)
    return Snapshot(
        revision=snapshot.revision,
        epoch=snapshot.epoch,
        restored=snapshot.restored,
        units=snapshot.units,
        machines=snapshot.machines,
        present=snapshot.present,
        absent_since=snapshot.absent_since,
        assignments=assignments,
        pending=pending,
        scheduling=snapshot.scheduling,
        moves=moves,
        leaving=_leaving(snapshot.leaving, assignments, changes),
        released=snapshot.released,
    )


def _leaving(
    before: Mapping[UnitName, Mapping[MachineId, AssignedUnit]],
    assignments: Mapping[MachineId, Assignment],
    changes: Mapping[MachineId, Mapping[UnitName, EngineAction]],
) -> Mapping[UnitName, Mapping[MachineId, AssignedUnit]]:
    touched = {name for by_unit in changes.values() for name in by_unit}
    after = {name: dict(machines) for name, machines in before.items()}
    for machine_id in changes:
        for name in touched & after.keys():
            after[name].pop(machine_id, None)
        for assigned in assignments[machine_id].units:
            if assigned.is_leaving and assigned.name in touched:
                after.setdefault(assigned.name, {})[machine_id] = assigned
    return {name: machines for name, machines in after.items() if machines}


def _assigned(
    snapshot: Snapshot,
    action: Place | Update,
    old: AssignedUnit | None,
    at: datetime,
    settings: PresenceSettings,
) -> AssignedUnit:
    unit = snapshot.units[action.unit]
    is_placed = isinstance(action, Place)
    fence = 0
    if unit.requirements.when_cut_off is WhenCutOff.STOP and not unit.requirements.is_global:
        is_kept = isinstance(action, Update) and not action.renews_fence
        kept = old.fence if is_kept and old is not None else 0
        fence = kept or snapshot.epoch << EPOCH_BITS | snapshot.revision
    return AssignedUnit(
        name=unit.name,
        digest=unit.digest,
        desired=unit.desired,
        generation=unit.generation,
        variables=unit.variables,
        reason=action.reason if isinstance(action, Place) else old.reason if old else "",
        placed_at=at if is_placed or old is None else old.placed_at,
        fence=fence,
        stop_within_seconds=_stop_within(unit, None if is_placed else old, settings),
    )


def _stop_within(unit: Unit, old: AssignedUnit | None, settings: PresenceSettings) -> float | None:
    """Where the unit stays, this never becomes less: its machine may not have heard of it when it is cut off."""
    time = presence.stop_within(unit.requirements, settings)
    if time is None:
        return None
    before = old.stop_within_seconds if old is not None else None
    return max(time.total_seconds(), before or 0.0)
