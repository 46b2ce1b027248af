"""Why a unit is not placed: an answer, stored with the unit, not an error."""

from __future__ import annotations

from datetime import datetime

import msgspec

from argosy.model.ids import MachineId, UnitName


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why certain machines cannot have the unit. Machines refused by the same rule in the same words share one."""

    rule: str
    """The rule that refused first, as its unit-file key: `MachineMetadata`, `Memory`, `Conflicts`, `Port` ..."""
    detail: str
    """In words: `needs region=eu, has region=us`."""
    machines: tuple[MachineId, ...]
    """Sorted; at most `SHOWN` of them, `count` says how many there are."""
    count: int


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why no machine can have a unit now, and the smallest change that would let one."""

    unit: UnitName
    refusals: tuple[Refusal, ...] = ()
    """Most machines first. Empty when the cluster has no machine."""
    summary: str = ""
    """One sentence: `no machine of 3 can run db.service: 2 lack disk=ssd, 1 has no port 5432 free`."""
    remedy: str = ""
    """The smallest change that would make it fit: `add metadata disk=ssd to machine 1c9f...`, `free 512M on ...`."""
    since: datetime | None = None


SHOWN = 20
"""How many machines a refusal lists by id; a cluster of thousands must not make a record of thousands."""
