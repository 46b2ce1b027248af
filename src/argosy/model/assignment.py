"""Everything one machine should run, as one record at one store revision. Written by the engine alone.

The assignments are the placements: a unit is placed on a machine when that machine's assignment names it. There is
one record per machine so that a change wakes one agent, and so that a hundred thousand placements are five thousand
writes.
"""

from __future__ import annotations

import functools
import hashlib
from datetime import datetime

import msgspec

from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.unit import DesiredState

EPOCH_BITS = 32
"""A fence is the cluster's epoch, and in that many bits below it the store's revision: it grows, over a restore too, and
fits into 64 bits although epochs are seconds since 1970 after the first restore."""


class AssignedUnit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One unit on one machine, with why it is there."""

    name: UnitName
    digest: Digest
    desired: DesiredState
    generation: int = 0
    variables: dict[str, str] = {}
    reason: str = ""
    """Why this machine, in words for people."""
    placed_at: datetime | None = None
    fence: int = 0
    """Grows with each placement of the unit (see EPOCH_BITS), and is given to it as ARGOSY_FENCE; 0 for one that may run
    twice for a while."""
    stop_within_seconds: float | None = None
    """Of a unit with `WhenCutOff=stop`: so long after the machine was last heard of, it has ended for certain."""

    @property
    def is_leaving(self) -> bool:
        """Whether the machine is to end it and to say so (`UnitStatus.released`) before it may run anywhere else. Only
        units with `WhenCutOff=stop` leave in this way; of others the assignment is simply without them."""
        return self.fence > 0 and self.desired is DesiredState.INACTIVE

    @property
    def version(self) -> Digest:
        """What tells apart two ways of running the unit: the text's digest, with variables or a fence a digest of all."""
        if not self.variables and not self.fence:
            return self.digest
        return _version(self.digest, tuple(sorted(self.variables.items())), self.fence)


@functools.lru_cache(maxsize=10_000)
def _version(digest: Digest, variables: tuple[tuple[str, str], ...], fence: int) -> Digest:
    # Remembered: an agent asks for the versions of all its units each time that it looks at them.
    # Without a fence it is what it was before there were fences: nothing is restarted by an upgrade.
    parts = (digest, variables, fence) if fence else (digest, variables)
    return Digest(hashlib.sha256(msgspec.json.encode(parts)).hexdigest())


class Assignment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a machine should run. An empty one is a command to run nothing; a missing one is no command at all."""

    machine: MachineId
    units: tuple[AssignedUnit, ...] = ()
    """Sorted by name."""
