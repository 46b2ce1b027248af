"""What passes between a machine's agent and the servers."""

from __future__ import annotations

import msgspec

from argosy.model.assignment import Assignment
from argosy.model.event import Event
from argosy.model.ids import UnitName
from argosy.model.observed import UnitStatus


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment, with what an agent needs to know that it is newer than another."""

    cluster: str
    epoch: int
    revision: int
    """Store revision of the assignment's last change."""
    assignment: Assignment


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed on the machine since the last report. An empty one is a heartbeat and costs the store no write."""

    changed: tuple[UnitStatus, ...] = ()
    gone: tuple[UnitName, ...] = ()
    """Units that the machine has no more."""
    events: tuple[Event, ...] = ()
    full: bool = False
    """`changed` is everything: whatever else the servers have of this machine is out of date."""
