"""What people ordered of machines, as it holds now: an order with an end is over when the wall clock says so.

People wrote that end, so it is the one decision that follows the wall clock. A clock that is wrong ends it too early or
too late, and does nothing else: what is over is written down as over (`Ended`), so that no clock that is set back, and no
next leader with another clock, drains the machine again.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from argosy.model.ids import MachineId
from argosy.model.machine import Machine
from argosy.model.orders import MachineOrders, Scheduling


class Ended(NamedTuple):
    """An order whose time is over."""

    opened: MachineOrders
    """What is to be written in its place."""
    revision: int
    """mod_revision of what it takes the place of."""


class Orders:
    """The orders of all machines."""

    def __init__(self) -> None:
        self._revisions: dict[MachineId, int] = {}
        self._records: dict[MachineId, MachineOrders] = {}
        self.scheduling: dict[MachineId, Scheduling] = {}
        """What each machine is there for, now; those that are open are not in it."""

    def take(
        self, machine_id: MachineId, record: MachineOrders | None, now: datetime, *, revision: int
    ) -> None:
        """Somebody wrote the machine's orders, or took them back, at that revision of the store."""
        self._revisions[machine_id] = revision
        if record is None:
            self._records.pop(machine_id, None)
        else:
            self._records[machine_id] = record
        self._judge(machine_id, now)

    def pass_time(self, now: datetime) -> list[MachineId]:
        """Look which orders began or ended by the clock alone; returns these machines."""
        before = dict(self.scheduling)
        for machine_id, record in self._records.items():
            if record.until is not None:
                self._judge(machine_id, now)
        return sorted(
            machine_id
            for machine_id in before.keys() | self.scheduling.keys()
            if before.get(machine_id) is not self.scheduling.get(machine_id)
        )

    def ended(self, now: datetime) -> list[Ended]:
        """Orders whose time is over and of which that is not written down, in order of machine."""
        return [
            Ended(
                msgspec.structs.replace(record, scheduling=Scheduling.OPEN, until=None, reason=""),
                self._revisions[machine_id],
            )
            for machine_id, record in sorted(self._records.items())
            if record.until is not None and record.until <= now
        ]

    def next_end(self) -> datetime | None:
        """When the next order that holds is over."""
        ends = (self._records[machine_id].until for machine_id in self.scheduling)
        return min((end for end in ends if end is not None), default=None)

    def applied_to(self, machine: Machine) -> Machine:
        """The machine with the metadata that people gave it."""
        record = self._records.get(machine.id)
        return machine if record is None else record.applied_to(machine)

    def _judge(self, machine_id: MachineId, now: datetime) -> None:
        record = self._records.get(machine_id)
        scheduling = Scheduling.OPEN if record is None else record.scheduling_at(now)
        if scheduling is Scheduling.OPEN:
            self.scheduling.pop(machine_id, None)
        else:
            self.scheduling[machine_id] = scheduling
