"""What people ask of a machine. Written by people (through the API), never by the machine's agent; the engine only writes
down that an order is over whose time is over.
"""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from argosy.model.ids import MachineId
from argosy.model.machine import Machine


class Scheduling(enum.StrEnum):
    """What a machine is there for."""

    OPEN = "open"
    CORDONED = "cordoned"
    """Nothing new is placed on it; what it has stays."""
    DRAINED = "drained"
    """Nothing new, and what can run elsewhere moves away."""


class MachineOrders(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Orders for one machine. A machine without a record has none."""

    machine: MachineId
    scheduling: Scheduling = Scheduling.OPEN
    until: datetime | None = None
    """When `scheduling` is over and the machine is open again; None: until somebody says so."""
    reason: str = ""
    by: str = ""
    at: datetime | None = None
    metadata: dict[str, str] = {}
    """Wins over what the machine's agent says."""
    without: tuple[str, ...] = ()
    """Metadata keys taken away, whatever the agent says."""

    def scheduling_at(self, now: datetime) -> Scheduling:
        is_over = self.until is not None and self.until <= now
        return Scheduling.OPEN if is_over else self.scheduling

    def applied_to(self, machine: Machine) -> Machine:
        """The machine with its effective metadata."""
        if not self.metadata and not self.without:
            return machine
        kept = {key: value for key, value in machine.metadata.items() if key not in self.without}
        return msgspec.structs.replace(machine, metadata={**kept, **self.metadata})
