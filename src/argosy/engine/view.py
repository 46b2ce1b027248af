"""The engine's picture of the cluster, kept up to date by folding store events into it.

The engine reads the store once, when it begins to lead, and then never again: every change arrives through one watch,
and `fold` says what it touched. Its own records (assignments, explanations) have no other writer, so they are taken
over when their transaction succeeds and not from the watch; the guard on each of these transactions sees to it that
nobody else wrote them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from types import MappingProxyType

from argosy.engine.planner import Scope
from argosy.model.assignment import Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.snapshot import Snapshot
from argosy.model.unit import Unit
from argosy.scheduler.board import Board
from argosy.store import base, codec, keys

FIRST_KEY = keys.ASSIGNMENTS
LAST_KEY = base.prefix_end(keys.UNITS)
"""One watch over everything, so that the picture is of one revision. What the engine does not need (texts, observed
states, events) is skipped by its key."""


class View:
    """The cluster at `revision`."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.revision = 0
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

        for kv in await read(keys.MACHINES):
            machine = codec.decode(kv.value, Machine)
            view._machines[machine.id] = machine
        for kv in await read(keys.PRESENCE):
            view._present.add(MachineId(keys.last_part(kv.key)))
        for kv in await read(keys.ASSIGNMENTS):
            assignment = codec.decode(kv.value, Assignment)
            view.assignments[assignment.machine] = assignment
            view.assignment_revisions[assignment.machine] = kv.mod_revision
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
            pending=MappingProxyType(self._pending),
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
                units.add(name)
            elif key.startswith(keys.MACHINES):
                machine_id = MachineId(keys.last_part(key))
                if is_put:
                    machine = codec.decode(event.kv.value, Machine)
                    self._machines[machine_id] = machine
                    board.add_machine(machine)
                    board.set_usable(machine_id, machine_id in self._present)
                    if machine_id not in self._present:
                        self._note_absent(machine_id)
                else:
                    self._machines.pop(machine_id, None)
                    board.set_usable(machine_id, False)
                machines.add(machine_id)
            elif key.startswith(keys.PRESENCE):
                machine_id = MachineId(keys.last_part(key))
                if is_put:
                    self._present.add(machine_id)
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
        assignments: Iterable[Assignment],
        pending: Iterable[Explanation],
        settled: Iterable[UnitName],
        revision: int,
    ) -> None:
        """Take over what a transaction of ours, at `revision`, has written."""
        for assignment in assignments:
            self.assignments[assignment.machine] = assignment
            self.assignment_revisions[assignment.machine] = revision
        for explanation in pending:
            self._pending[explanation.unit] = explanation
        for name in settled:
            self._pending.pop(name, None)

    def absent_for(self, now: float) -> dict[MachineId, timedelta]:
        """How long each machine has been without presence, by the loop's clock, which never jumps."""
        return {
            machine: timedelta(seconds=now - since) for machine, since in self._absent_at.items()
        }

    def hosting(self) -> frozenset[MachineId]:
        """Machines that have a unit which could run elsewhere."""
        return frozenset(
            machine
            for machine, assignment in self.assignments.items()
            if any(self._could_move(assigned.name) for assigned in assignment.units)
        )

    def usable(self) -> frozenset[MachineId]:
        """Machines that may be given something."""
        return frozenset(self._present & self._machines.keys())

    def _could_move(self, name: UnitName) -> bool:
        unit = self._units.get(name)
        return unit is not None and not unit.requirements.is_global

    def _note_absent(self, machine_id: MachineId) -> None:
        if machine_id not in self._absent_at:
            self._absent_at[machine_id] = asyncio.get_running_loop().time()
            self._absent_since[machine_id] = self._clock()
