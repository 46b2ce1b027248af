"""The cluster as the API shows it, folded from store events: every list and every `watch` is read from here.

Kept decoded and indexed by unit, so that a list of a thousand units decodes nothing. `feed.py` keeps it up to date;
`views.py` turns it into answers. Texts and events stay in the store: they are asked for one by one.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.explanation import Explanation
from argosy.model.identity import Identity
from argosy.model.ids import MachineId, UnitName
from argosy.model.lost import Brake, LostMachine
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.presence import Presence
from argosy.model.server import ServerRecord
from argosy.model.snapshot import Snapshot
from argosy.model.token import Token
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys

OPEN = Scheduling.OPEN
FIRST_KEY = keys.ASSIGNMENTS
END_KEY = base.prefix_end(keys.UNITS)
"""All keys lie between: every revision is one of this range, so a watch of it tells how far the picture is."""

_LOADED = (
    keys.CLUSTER,
    keys.LEADER,
    keys.UNITS,
    keys.MACHINES,
    keys.PRESENCE,
    keys.ASSIGNMENTS,
    keys.PENDING,
    keys.OBSERVED,
    keys.IDENTITIES,
    keys.TOKENS,
    keys.ORDERS,
    keys.LOST,
    keys.BRAKE,
    keys.SERVERS,
)


@dataclass(slots=True)
class Changed:
    """What a revision touched, by name; whoever shows it looks up how it is now."""

    revision: int
    units: set[UnitName] = field(default_factory=set)
    states: set[tuple[UnitName, MachineId]] = field(default_factory=set)
    machines: set[MachineId] = field(default_factory=set)
    events: list[tuple[str, Event]] = field(default_factory=list)
    is_access_changed: bool = False
    """Whether somebody may be known who was not, or the other way round."""
    holders: set[MachineId] = field(default_factory=set)
    """Machines that came, went, or are there under another holder."""


class Picture:
    """The cluster at `revision`."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.revision = 0
        self.cluster: Cluster | None = None
        self.leader: str | None = None
        self.units: dict[UnitName, Unit] = {}
        self.unit_revisions: dict[UnitName, int] = {}
        """mod_revision of each unit's record."""
        self.beyond: dict[UnitName, codec.Beyond] = {}
        """What a newer program wrote into units' records that this one does not know; nearly always nothing."""
        self.machines: dict[MachineId, Machine] = {}
        self.holders: dict[MachineId, str] = {}
        """Of the machines that are there: what tells each, in this boot, from another with its id."""
        self.presence_since: dict[MachineId, datetime] = {}
        """When this server saw a machine come or go."""
        self.assignments: dict[MachineId, dict[UnitName, AssignedUnit]] = {}
        """With the units that leave (`AssignedUnit.is_leaving`)."""
        self.placements: dict[UnitName, dict[MachineId, AssignedUnit]] = {}
        """Without those: a machine that a unit leaves is none that it is on."""
        self.pending: dict[UnitName, Explanation] = {}
        self.statuses: dict[UnitName, dict[MachineId, UnitStatus]] = {}
        self.orders: dict[MachineId, MachineOrders] = {}
        self.lost: dict[MachineId, LostMachine] = {}
        self.brake: Brake | None = None
        self.servers: dict[str, ServerRecord] = {}
        """Those that run, by name."""
        self.identities: dict[MachineId, Identity] = {}
        self.tokens: dict[str, Token] = {}
        """By id. Neither these nor the identities are shown to anybody as they are."""
        self._sorted_units: list[UnitName] | None = None

    @classmethod
    async def load(cls, store: base.Store, clock: Callable[[], datetime]) -> Picture:
        """Read everything at one revision. Raises Compacted when that takes longer than history is kept."""
        picture = cls(clock)
        at = 0
        for prefix in _LOADED:
            found = await store.range(prefix, base.prefix_end(prefix), revision=at)
            at = found.revision
            puts = tuple(base.WatchEvent(base.EventKind.PUT, kv, None) for kv in found.kvs)
            picture.fold(base.WatchBatch(at, puts))
        picture.revision = at
        picture.presence_since.clear()
        return picture

    def fold(self, batch: base.WatchBatch) -> Changed:
        """Take one revision's changes in."""
        changed = Changed(batch.revision)
        for event in batch.events:
            key, value = event.kv.key, event.kv.value
            name = keys.last_part(key)
            is_there = event.kind is base.EventKind.PUT
            if key.startswith(keys.OBSERVED):
                machine = MachineId(key.split("/")[1])
                status = codec.decode(value, Observed).status if is_there else None
                self._fold_status(UnitName(name), machine, status, changed)
            elif key.startswith(keys.ASSIGNMENTS):
                assignment = codec.decode(value, Assignment) if is_there else None
                self._fold_assignment(MachineId(name), assignment, changed)
            elif key.startswith(keys.UNITS):
                unit = codec.decode(value, Unit) if is_there else None
                self._fold_unit(UnitName(name), unit, event.kv.mod_revision, changed)
                beyond = codec.beyond(value, unit) if unit is not None else None
                _keep(self.beyond, UnitName(name), beyond)
            elif key.startswith(keys.PENDING):
                explanation = codec.decode(value, Explanation) if is_there else None
                _keep(self.pending, UnitName(name), explanation)
                changed.units.add(UnitName(name))
            elif key.startswith(keys.MACHINES):
                _keep(
                    self.machines,
                    MachineId(name),
                    codec.decode(value, Machine) if is_there else None,
                )
                changed.machines.add(MachineId(name))
            elif key.startswith(keys.PRESENCE):
                self._fold_presence(MachineId(name), value if is_there else None, changed)
            elif key.startswith(keys.IDENTITIES):
                identity = codec.decode(value, Identity) if is_there else None
                _keep(self.identities, MachineId(name), identity)
                changed.is_access_changed = True
            elif key.startswith(keys.TOKENS):
                _keep(self.tokens, name, codec.decode(value, Token) if is_there else None)
                changed.is_access_changed = True
            elif key.startswith(keys.ORDERS):
                orders = codec.decode(value, MachineOrders) if is_there else None
                _keep(self.orders, MachineId(name), orders)
                changed.machines.add(MachineId(name))
            elif key.startswith(keys.LOST):
                lost = codec.decode(value, LostMachine) if is_there else None
                _keep(self.lost, MachineId(name), lost)
                changed.machines.add(MachineId(name))
            elif key.startswith(keys.SERVERS):
                server = codec.decode(value, ServerRecord) if is_there else None
                _keep(self.servers, name, server)
            elif key == keys.BRAKE:
                held = set(self.brake.machines if self.brake else ())
                self.brake = codec.decode(value, Brake) if is_there else None
                changed.machines |= held ^ set(self.brake.machines if self.brake else ())
            elif key.startswith(keys.EVENTS) and is_there:
                changed.events.append((key, codec.decode(value, Event)))
            elif key == keys.CLUSTER:
                self.cluster = codec.decode(value, Cluster) if is_there else None
            elif key == keys.LEADER:
                self.leader = value.decode() if is_there else None
        self.revision = batch.revision
        return changed

    def sorted_units(self) -> list[UnitName]:
        if self._sorted_units is None:
            self._sorted_units = sorted(self.units)
        return self._sorted_units

    def is_leaving(self, name: UnitName, machine: MachineId) -> bool:
        """Whether the machine is only ending the unit, whose status there is none to show then."""
        assigned = self.assignments.get(machine, {}).get(name)
        return assigned is not None and assigned.is_leaving

    @property
    def present(self) -> KeysView[MachineId]:
        """The machines that are there."""
        return self.holders.keys()

    def is_another(self, machine: MachineId, holder: str) -> bool:
        """Whether who says to be the machine, under that holder, is not the one that is there; without one nobody is."""
        there = self.holders.get(machine)
        return bool(holder) and there is not None and there != holder

    def now(self) -> datetime:
        """For what is over at a time."""
        return self._clock()

    def machine(self, machine_id: MachineId) -> Machine:
        """The machine with the metadata that people gave it. Raises KeyError."""
        record = self.machines[machine_id]
        orders = self.orders.get(machine_id)
        return orders.applied_to(record) if orders else record

    def snapshot(self) -> Snapshot:
        """What a plan may look at; valid until the picture changes."""
        now = self._clock()
        scheduling = {id_: orders.scheduling_at(now) for id_, orders in self.orders.items()}
        return Snapshot(
            revision=self.revision,
            epoch=self.cluster.epoch if self.cluster else 1,
            units=self.units,
            machines={machine_id: self.machine(machine_id) for machine_id in self.machines},
            present=frozenset(self.present),
            absent_since={},
            assignments={
                machine_id: Assignment(machine=machine_id, units=tuple(units.values()))
                for machine_id, units in self.assignments.items()
            },
            pending=self.pending,
            scheduling={
                machine_id: one for machine_id, one in scheduling.items() if one is not OPEN
            },
            leaving=self._leaving(),
        )

    def _leaving(self) -> dict[UnitName, dict[MachineId, AssignedUnit]]:
        found: dict[UnitName, dict[MachineId, AssignedUnit]] = {}
        for machine_id, units in self.assignments.items():
            for unit in units.values():
                if unit.is_leaving:
                    found.setdefault(unit.name, {})[machine_id] = unit
        return found

    def current(self, name: UnitName) -> DesiredState:
        """How far the machines are with the unit: where it is on several, how far the last of them is."""
        placed = self.placements.get(name)
        if not placed:
            return DesiredState.INACTIVE
        return min(
            (self._current_on(machine, unit) for machine, unit in placed.items()), key=_ORDER.index
        )

    def _current_on(self, machine: MachineId, assigned: AssignedUnit) -> DesiredState:
        status = self.statuses.get(assigned.name, {}).get(machine)
        if status is None or status.digest is None:
            return DesiredState.INACTIVE
        was_started = status.active is not ActiveState.INACTIVE or status.has_run
        if assigned.desired is DesiredState.LAUNCHED and was_started:
            return DesiredState.LAUNCHED
        return DesiredState.LOADED

    def _fold_unit(
        self, name: UnitName, unit: Unit | None, revision: int, changed: Changed
    ) -> None:
        if (name in self.units) is not (unit is not None):
            self._sorted_units = None
        _keep(self.units, name, unit)
        _keep(self.unit_revisions, name, None if unit is None else revision)
        changed.units.add(name)

    def _fold_status(
        self, name: UnitName, machine: MachineId, status: UnitStatus | None, changed: Changed
    ) -> None:
        before = self.current(name)
        _keep(self.statuses.setdefault(name, {}), machine, status)
        if not self.statuses[name]:
            del self.statuses[name]
        changed.states.add((name, machine))
        if self.current(name) is not before:
            changed.units.add(name)

    def _fold_assignment(
        self, machine: MachineId, assignment: Assignment | None, changed: Changed
    ) -> None:
        before = self.assignments.get(machine, {})
        after = {unit.name: unit for unit in assignment.units} if assignment else {}
        for name in before.keys() | after.keys():
            unit = after.get(name)
            if unit == before.get(name):
                continue
            is_placed = unit is not None and not unit.is_leaving
            _keep(self.placements.setdefault(name, {}), machine, unit if is_placed else None)
            changed.states.add((name, machine))
            if not self.placements[name]:
                del self.placements[name]
            changed.units.add(name)
        if len(before) != len(after):
            changed.machines.add(machine)
        _keep(self.assignments, machine, after if assignment else None)

    def _fold_presence(self, machine: MachineId, value: bytes | None, changed: Changed) -> None:
        holder = None if value is None else Presence.decode(value).holder
        before = self.holders.get(machine)
        if holder == before:
            return
        _keep(self.holders, machine, holder)
        changed.holders.add(machine)
        if before is not None and holder is not None:
            return
        self.presence_since[machine] = self._clock()
        changed.machines.add(machine)


K = TypeVar("K")
V = TypeVar("V")
_ORDER = (DesiredState.INACTIVE, DesiredState.LOADED, DesiredState.LAUNCHED)


def _keep(records: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        records.pop(key, None)
    else:
        records[key] = value
