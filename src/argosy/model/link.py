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
    restored: int = 0
    """`Cluster.restored`: a unit that must not run twice is not started with a fence of an epoch before this one."""


class Registered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server's answer to a machine that said who it is."""

    cluster: str
    epoch: int
    heartbeat_seconds: float
    """How often the machine should say that it is there."""
    suspect_seconds: float
    """Silence after which it gets nothing new, and after which it stops what must not run twice."""
    lost_seconds: float
    """Silence after which its units run elsewhere."""
    servers: tuple[str, ...] = ()
    """Where servers are; empty where the agent needs no address."""
    session: str = ""
    """Names this registration; every report says to which one it belongs."""


class ServerList(msgspec.Struct, frozen=True, kw_only=True):
    """Where servers are that run, in order of their names: agents ask for it now and then."""

    servers: tuple[str, ...]
    """URLs."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed on the machine since the last report. An empty one is a heartbeat and costs the store no write."""

    changed: tuple[UnitStatus, ...] = ()
    gone: tuple[UnitName, ...] = ()
    """Units that the machine has no more."""
    events: tuple[Event, ...] = ()
    full: bool = False
    """`changed` is everything: whatever else the servers have of this machine is out of date."""
    session: str = ""
    """`Registered.session` of the machine's last registration, set by the link. A server that the machine has left for
    another and come back to still knows the one before, and must not vouch for it."""
