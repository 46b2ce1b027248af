"""What placing comes to: a machine with a reason, or a refusal with an explanation."""

from __future__ import annotations

import msgspec

from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName


class Displaced(msgspec.Struct, frozen=True):
    """A unit that made way for one that `Replaces` it, or that followed such a unit."""

    unit: UnitName
    before: MachineId
    after: MachineId | None
    """None when it is a global unit: that has no other place, it leaves this machine."""
    reason: str


class Placed(msgspec.Struct, frozen=True):
    """The unit was put on the machine. A global unit has one of these for each machine that it came to."""

    unit: UnitName
    machine: MachineId
    reason: str
    """In words for people."""
    displaced: tuple[Displaced, ...] = ()


class Refused(msgspec.Struct, frozen=True):
    """No machine can have the unit."""

    unit: UnitName
    explanation: Explanation


Decision = Placed | Refused
