"""What travels about the health of a server: its certificates, its store, the disks that it needs, the other servers."""

from __future__ import annotations

from datetime import datetime

from argosy.api.question_schemas import DiskView
from argosy.api.schemas import Answer


class MemberView(Answer, frozen=True):
    """One endpoint of an etcd, as this server finds it."""

    endpoint: str
    reachable: bool
    problem: str
    """Why it is not reachable."""
    version: str
    supported: bool
    """Whether Argosy may be run on that version."""
    leader: bool
    has_leader: bool
    """A member without one is cut off from the others."""
    learner: bool
    read_seconds: float
    """Of a linearizable read through it."""
    database_bytes: int
    in_use_bytes: int
    quota_bytes: int
    """0 when it does not tell: etcd before 3.6."""
    raft_lag: int
    """Committed entries that it has still to apply."""
    alarms: tuple[str, ...]
    """`NOSPACE`, `CORRUPT`."""


class ServerView(Answer, frozen=True):
    name: str
    endpoints: tuple[str, ...]
    version: str
    since: datetime


class StoreHealth(Answer, frozen=True):
    kind: str
    """`sqlite`, `etcd`; empty when this server does not say."""
    read_seconds: float
    """Of a read that sees every acknowledged write."""
    members: tuple[MemberView, ...]
    """Of an etcd."""


class Inspected(Answer, frozen=True):
    """What whoever runs the server knows of it."""

    store: str
    certificates: dict[str, datetime]
    """When they run out, by what they are for: `server`, `authority`."""
    members: tuple[MemberView, ...]
    disks: tuple[DiskView, ...]


class Health(Answer, frozen=True):
    at: datetime
    """This server's clock."""
    version: str
    certificates: dict[str, datetime]
    """When they run out, by what they are for: `server`, `authority`."""
    servers: tuple[ServerView, ...]
    """Those that are there, this one among them."""
    store: StoreHealth
    disks: tuple[DiskView, ...]
    """That this server needs."""
