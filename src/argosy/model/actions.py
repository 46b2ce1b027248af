"""Everything that can be decided, as data with a reason. Somebody else carries it out.

The engine's actions change assignments; the agent's change what a machine runs. Both carry `reason`, in words for
people, because every decision can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from argosy.model.explanation import Explanation
from argosy.model.ids import Digest, MachineId, UnitName

# --- the engine's -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Give the unit to the machine."""

    unit: UnitName
    machine: MachineId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplace:
    """Take the unit from the machine."""

    unit: UnitName
    machine: MachineId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Have the machine end a unit that must not run twice, and say so before it may run elsewhere."""

    unit: UnitName
    machine: MachineId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The machine keeps the unit; its text, desired state or generation changed."""

    unit: UnitName
    machine: MachineId
    reason: str
    renews_fence: bool = False
    """It also gets a new fence: the old one is of the time before the cluster was restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """No machine can have the unit now: record why."""

    unit: UnitName
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The unit needs no explanation any more: forget the one recorded."""

    unit: UnitName


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """What people asked to be moved has moved, or will not."""

    unit: UnitName
    refusal: str = ""
    """Why not; empty when it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Give an empty assignment to a machine that has none: it may still run units from before it was removed, copied, or
    the cluster restored.
    """

    machine: MachineId


EngineAction = Place | Unplace | Release | Update | Wait | Settle | Forget | Clear

# --- the agent's ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    unit: UnitName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Take the unit's file away; it is stopped."""

    unit: UnitName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Put the text with this digest in place of whatever the runtime has under the name; do not start it."""

    unit: UnitName
    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    unit: UnitName
    version: Digest
    generation: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    unit: UnitName
    version: Digest
    generation: int
    reason: str


AgentAction = Stop | Remove | Install | Start | Restart
