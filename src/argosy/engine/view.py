"""The engine's picture of the cluster, kept up to date by folding store events into it.

The engine reads the store once, when it begins to lead, and then never again: every change arrives through one watch,
and `fold` says what it touched. Its own records (assignments, explanations, lost machines, the brake) have no other
writer, so they are taken over when their transaction succeeds and not from the watch; the guard on each of these
transactions sees to it that nobody else wrote them. What machines observe is looked at only for the few units that are
waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from argosy.engine import presence
from argosy.engine.orders import Ended, Orders
from argosy.engine.planner import Scope
from argosy.model.assignment import EPOCH_BITS, AssignedUnit, Assignment
from argosy.model.cluster import Cluster
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.lost import Brake, LostMachine
from argosy.model.machine import Machine
from argosy.model.moves import MoveOrder
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.silence import MARGIN
from argosy.model.snapshot import Snapshot
from argosy.model.unit import Unit, WhenCutOff
from argosy.scheduler.board import Board
from argosy.settings import PresenceSettings
from argosy.store import base, codec, keys

FIRST_KEY = keys.ASSIGNMENTS
LAST_KEY = base.prefix_end(keys.UNITS)
"""One watch over everything, so that the picture is of one revision. What the engine does not need (texts, events, nearly
all observed states) is skipped by its key."""


class View:
    """The cluster at `revision`."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.revision = 0
        self._cluster = Cluster(id="", created_at=clock())
        self._clock = clock
        self._units: dict[UnitName, Unit] = {}
        self._machines: dict[MachineId, Machine] = {}
        self._present: set[MachineId] = set()
        self._absent_at: dict[MachineId, float] = {}
        self._absent_since: dict[MachineId, datetime] = {}
        self.assignments: dict[MachineId, Assignment] = {}
        self.assignment_revisions: dict[MachineId, int] = {}
        """mod_revision of each assignment, 0 or missing where there is none: what a commit compares."""
        self._pending: dict[UnitName, Explanation] = {}
        self._said: dict[MachineId, Machine] = {}
        """The machines as their agents describe them; `_machines` has them as people want them."""
        self._orders = Orders()
        self._moves: dict[UnitName, MoveOrder] = {}
        self._leaving: dict[UnitName, dict[MachineId, AssignedUnit]] = {}
        self._released: dict[UnitName, dict[MachineId, int]] = {}
        self._settled: dict[UnitName, ActiveState] = {}
        """Of the units that are waited for: those that have arrived, and how."""
        self.lost: dict[MachineId, LostMachine] = {}
        self.back: set[MachineId] = set()
        """Lost machines that were there again, if only for a moment: what was believed of them is over."""
        self.brake: Brake | None = None
        self._awaited: frozenset[UnitName] = frozenset()
        self._limits: dict[MachineId, set[timedelta]] = {}
        """What `hosting` found of each machine, until something changes that it depends on: while machines vanish by the
        hundred it is asked for with each of them."""
        self.trusted_since = asyncio.get_running_loop().time()
        """Loop time from which on the view has been unbroken."""

    @classmethod
    async def load(cls, store: base.Store, clock: Callable[[], datetime]) -> View:
        """Read everything at one revision."""
        view = cls(clock)
        first = await store.range(keys.UNITS, base.prefix_end(keys.UNITS))
        view.revision = first.revision
        view._units = {
            unit.name: unit for unit in (codec.decode(kv.value, Unit) for kv in first.kvs)
        }

        async def read(prefix: str) -> Iterable[base.KeyValue]:
            found = await store.range(prefix, base.prefix_end(prefix), revision=first.revision)
            return found.kvs

        for kv in await read(keys.CLUSTER):
            view._cluster = codec.decode(kv.value, Cluster)
        for kv in await read(keys.ORDERS):
            orders = codec.decode(kv.value, MachineOrders)
            view._orders.take(orders.machine, orders, clock(), revision=kv.mod_revision)
        for kv in await read(keys.MACHINES):
            machine = codec.decode(kv.value, Machine)
            view._said[machine.id] = machine
            view._machines[machine.id] = view._orders.applied_to(machine)
        for kv in await read(keys.MOVES):
            move = codec.decode(kv.value, MoveOrder)
            view._moves[move.unit] = move
        for kv in await read(keys.LOST):
            lost = codec.decode(kv.value, LostMachine)
            view.lost[lost.machine] = lost
        for kv in await read(keys.BRAKE):
            view.brake = codec.decode(kv.value, Brake)
        for kv in await read(keys.PRESENCE):
            view._present.add(MachineId(keys.last_part(kv.key)))
        for kv in await read(keys.ASSIGNMENTS):
            view._take_assignment(codec.decode(kv.value, Assignment), kv.mod_revision)
        for name, machines in view._leaving.items():
            for machine_id in machines:
                for kv in await read(keys.observed(machine_id, name)):
                    if keys.last_part(kv.key) != name:
                        continue
                    view._note_status(machine_id, name, codec.decode(kv.value, Observed).status)
        for kv in await read(keys.PENDING):
            explanation = codec.decode(kv.value, Explanation)
            view._pending[explanation.unit] = explanation
        for machine_id in view._machines.keys() | view.assignments.keys():
            if machine_id not in view._present:
                view._note_absent(machine_id)
        return view

    def snapshot(self) -> Snapshot:
        """What a decision may look at; valid until the next `fold` or `adopt`."""
        return Snapshot(
            revision=self.revision,
            units=MappingProxyType(self._units),
            machines=MappingProxyType(self._machines),
            present=frozenset(self._present),
            absent_since=MappingProxyType(self._absent_since),
            assignments=MappingProxyType(self.assignments),
            epoch=self._cluster.epoch,
            restored=self._cluster.restored,
            pending=MappingProxyType(self._pending),
            scheduling=MappingProxyType(self._orders.scheduling),
            moves=MappingProxyType(self._moves),
            leaving=MappingProxyType(self._leaving),
            released=MappingProxyType(self._released),
        )

    def fold(self, batch: base.WatchBatch, board: Board) -> Scope:
        """Take one revision's changes into the view and the board; returns what they touch."""
        units: set[UnitName] = set()
        machines: set[MachineId] = set()
        for event in batch.events:
            key = event.kv.key
            is_put = event.kind is base.EventKind.PUT
            if key.startswith(keys.UNITS):
                name = UnitName(keys.last_part(key))
                if is_put:
                    self._units[name] = codec.decode(event.kv.value, Unit)
                else:
                    self._units.pop(name, None)
                self._limits.clear()
                units.add(name)
            elif key.startswith(keys.MACHINES):
                machine_id = MachineId(keys.last_part(key))
                if is_put:
                    self._said[machine_id] = codec.decode(event.kv.value, Machine)
                    self._describe(machine_id, board)
                    if machine_id not in self._present:
                        self._note_absent(machine_id)
                else:
                    self._said.pop(machine_id, None)
                    self._machines.pop(machine_id, None)
                    self._limits.pop(machine_id, None)
                    board.set_usable(machine_id, False)
                machines.add(machine_id)
            elif key.startswith(keys.ORDERS):
                machine_id = MachineId(keys.last_part(key))
                orders = codec.decode(event.kv.value, MachineOrders) if is_put else None
                revision = event.kv.mod_revision
                self._orders.take(machine_id, orders, self._clock(), revision=revision)
                board.set_scheduling(machine_id, self.scheduling_of(machine_id))
                self._describe(machine_id, board)
                machines.add(machine_id)
            elif key.startswith(keys.MOVES):
                name = UnitName(keys.last_part(key))
                if is_put:
                    self._moves[name] = codec.decode(event.kv.value, MoveOrder)
                else:
                    self._moves.pop(name, None)
                units.add(name)
            elif key.startswith(keys.OBSERVED):
                name = UnitName(keys.last_part(key))
                if name in self._leaving or name in self._awaited:
                    machine_id = MachineId(key.split("/")[1])
                    status = codec.decode(event.kv.value, Observed).status if is_put else None
                    self._note_status(machine_id, name, status)
                    units.add(name)
            elif key == keys.CLUSTER and is_put:
                self._cluster = codec.decode(event.kv.value, Cluster)
            elif key.startswith(keys.PRESENCE):
                machine_id = MachineId(keys.last_part(key))
                if is_put:
                    self._present.add(machine_id)
                    if machine_id in self.lost:
                        self.back.add(machine_id)
                    self._absent_at.pop(machine_id, None)
                    self._absent_since.pop(machine_id, None)
                else:
                    self._present.discard(machine_id)
                    self._note_absent(machine_id)
                if machine_id in self._machines:
                    board.set_usable(machine_id, is_put)
                machines.add(machine_id)
        self.revision = batch.revision
        return Scope(units=frozenset(units), machines=frozenset(machines))

    def adopt(
        self,
        *,
        assignments: Iterable[Assignment] = (),
        pending: Iterable[Explanation] = (),
        settled: Iterable[UnitName] = (),
        moved: Iterable[UnitName] = (),
        revision: int,
    ) -> None:
        """Take over what a transaction of ours, at `revision`, has written."""
        for assignment in assignments:
            self._take_assignment(assignment, revision)
        for explanation in pending:
            self._pending[explanation.unit] = explanation
        for name in settled:
            self._pending.pop(name, None)
        for name in moved:
            self._moves.pop(name, None)

    def absent_for(self, now: float) -> dict[MachineId, timedelta]:
        """How long each machine has been without presence, by the loop's clock, which never jumps. One that was removed
        counts as long as anything is assigned to it.
        """
        return {
            machine: timedelta(seconds=now - since)
            for machine, since in self._absent_at.items()
            if machine in self._machines or self._has_units(machine)
        }

    def removed(self) -> frozenset[MachineId]:
        """Machines that people took away, and whose units may not all have ended."""
        return frozenset(self._absent_at.keys() - self._machines.keys())

    def _has_units(self, machine_id: MachineId) -> bool:
        assignment = self.assignments.get(machine_id)
        return assignment is not None and bool(assignment.units)

    def hosting(self, settings: PresenceSettings) -> dict[MachineId, set[timedelta]]:
        """Machines that have units which could run elsewhere, and after which silences these may."""
        for machine in self.assignments.keys() - self._limits.keys():
            is_removed = machine not in self._machines
            self._limits[machine] = {
                limit
                for one in self.assignments[machine].units
                if (limit := self._silence_needed(one, settings, is_removed)) is not None
            }
        return {machine: limits for machine, limits in self._limits.items() if limits}

    def _silence_needed(
        self, assigned: AssignedUnit, settings: PresenceSettings, is_removed: bool
    ) -> timedelta | None:
        if assigned.fence:
            within = assigned.stop_within_seconds or 0.0
            return presence.silence_to_end(within, settings, is_removed=is_removed)
        unit = self._units.get(assigned.name)
        if unit is None or unit.requirements.is_global:
            return None
        return presence.silence_needed(unit.requirements, settings)

    @property
    def has_leaving(self) -> bool:
        """Whether any unit is waited for to end where it was."""
        return bool(self._leaving)

    def unfenced_for(self, settings: PresenceSettings) -> timedelta | None:
        """After a restore: how long units that must not run twice may still run as they did before it. None when that
        is over, because fences were given since, or there was no restore."""
        restored = self._cluster.restored
        if not restored or any(
            one.fence >> EPOCH_BITS >= restored
            for assignment in self.assignments.values()
            for one in assignment.units
        ):
            return None
        times = [
            timedelta(seconds=one.stop_within_seconds or 0.0)
            for assignment in self.assignments.values()
            for one in assignment.units
        ]
        times += (
            presence.stop_within(unit.requirements, settings) or timedelta()
            for unit in self._units.values()
            if unit.requirements.when_cut_off is WhenCutOff.STOP
        )
        return max(times, default=timedelta()) + MARGIN

    def wait_for(self, names: Collection[UnitName]) -> None:
        """From now on look at the observed states of these units, and of no others: `settled` tells of them."""
        known = self._awaited & set(names)
        self._settled = {n: state for n, state in self._settled.items() if n in known}
        self._awaited = frozenset(names)

    def settled(self, names: Iterable[UnitName]) -> list[UnitName]:
        """Those of the units that are settled on their machine, or are to be on none."""
        return [
            name
            for name in names
            if name in self._settled or (name not in self._units and name not in self._leaving)
        ]

    def failed(self, names: Iterable[UnitName]) -> list[UnitName]:
        """Those of the settled units that have failed."""
        return [name for name in names if self._settled.get(name) is ActiveState.FAILED]

    @property
    def scheduling(self) -> Mapping[MachineId, Scheduling]:
        """Machines that people closed."""
        return self._orders.scheduling

    def is_there(self, machine_id: MachineId) -> bool:
        return machine_id in self._present and machine_id in self._machines

    def scheduling_of(self, machine_id: MachineId) -> Scheduling:
        return self._orders.scheduling.get(machine_id, Scheduling.OPEN)

    def pass_time(self, board: Board) -> list[MachineId]:
        """Look which orders ended by the clock; returns the machines."""
        machines = self._orders.pass_time(self._clock())
        for machine_id in machines:
            board.set_scheduling(machine_id, self.scheduling_of(machine_id))
        return machines

    def ended_orders(self) -> list[Ended]:
        """Orders whose time is over, to be written down as over."""
        return self._orders.ended(self._clock())

    def opened(self, ended: Iterable[Ended], revision: int) -> None:
        """That was written, at that revision."""
        for one in ended:
            machine_id = one.opened.machine
            self._orders.take(machine_id, one.opened, self._clock(), revision=revision)

    def next_end(self) -> timedelta | None:
        """How long until the next order ends by the clock."""
        end = self._orders.next_end()
        return None if end is None else max(end - self._clock(), timedelta())

    def usable(self) -> frozenset[MachineId]:
        """Machines that are there."""
        return frozenset(self._present & self._machines.keys())

    def _describe(self, machine_id: MachineId, board: Board) -> None:
        """The machine or the orders for it changed."""
        said = self._said.get(machine_id)
        if said is None:
            return
        machine = self._machines[machine_id] = self._orders.applied_to(said)
        self._limits.pop(machine_id, None)
        board.add_machine(machine)
        board.set_usable(machine_id, machine_id in self._present)

    def _take_assignment(self, assignment: Assignment, revision: int) -> None:
        machine_id = assignment.machine
        before = self.assignments.get(machine_id)
        for one in before.units if before is not None else ():
            if one.is_leaving:
                self._forget_leaving(machine_id, one.name)
        for one in assignment.units:
            if one.is_leaving:
                self._leaving.setdefault(one.name, {})[machine_id] = one
        self.assignments[machine_id] = assignment
        self._limits.pop(machine_id, None)
        self.assignment_revisions[machine_id] = revision

    def _forget_leaving(self, machine_id: MachineId, name: UnitName) -> None:
        machines = self._leaving.get(name, {})
        machines.pop(machine_id, None)
        if not machines:
            self._leaving.pop(name, None)
            self._released.pop(name, None)

    def _note_status(
        self, machine_id: MachineId, name: UnitName, status: UnitStatus | None
    ) -> None:
        if status is not None and status.released:
            self._released.setdefault(name, {})[machine_id] = status.released
        self._settled.pop(name, None)
        if status is None or status.digest is None or not status.active.is_settled:
            return
        if status.digest == self._version_on(machine_id, name):
            self._settled[name] = status.active

    def _version_on(self, machine_id: MachineId, name: UnitName) -> str | None:
        assignment = self.assignments.get(machine_id)
        for one in assignment.units if assignment is not None else ():
            if one.name == name and not one.is_leaving:
                return one.version
        return None

    def _note_absent(self, machine_id: MachineId) -> None:
        if machine_id not in self._absent_at:
            self._absent_at[machine_id] = asyncio.get_running_loop().time()
            self._absent_since[machine_id] = self._clock()
