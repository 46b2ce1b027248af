"""Moving a unit that runs from one machine to another: as a plan to show, and as something that people asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from argosy.model.ids import MachineId, UnitName


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A unit would leave a machine for another."""

    unit: UnitName
    before: MachineId
    after: MachineId | None
    """None when it has no other place because it is global: it leaves this machine."""
    reason: str
    """In words for people."""


class MoveOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody asks for one unit to go to one machine, once.

    Written by people (through the API); the leading engine takes it away in the transaction that carries it out or
    refuses it.
    """

    unit: UnitName
    to: MachineId
    reason: str = ""
    by: str = ""
    at: datetime | None = None
