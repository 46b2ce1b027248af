"""A machine: a Linux host, or under `argosy up` this process, that runs units."""

from __future__ import annotations

from datetime import datetime

import msgspec

from argosy.model.ids import MachineId


class Capacity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a machine has to give to units that reserve it. 0 means unknown: reservations are refused there."""

    memory_bytes: int = 0
    cpu_millis: int = 0
    """Thousandths of one core."""


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a machine's agent says about it. Written by that agent (through a server), by nobody else."""

    id: MachineId
    hostname: str = ""
    address: str = ""
    """The address other machines reach it at; empty when it has none but loopback."""
    metadata: dict[str, str] = {}
    capacity: Capacity = Capacity()
    version: str = ""
    """Argosy's version on that machine."""
    registered_at: datetime | None = None
