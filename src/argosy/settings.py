"""Every setting, grouped by who needs it, each with its effect, unit and reason.

Frozen records without a loader: who builds a daemon (`daemon/`, the tests) passes each part its own group. The
defaults are the design's; a test holds them against `docs/reference/settings.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceSettings:
    """When a machine that is not heard of is believed to be gone."""

    heartbeat_every: timedelta = timedelta(seconds=3)
    """How often an agent says that it is there, at least. Any report counts as one."""
    suspect_after: timedelta = timedelta(seconds=9)
    """Time to live of a machine's presence lease: three missed heartbeats. A suspect machine gets nothing new."""
    lost_after: timedelta = timedelta(seconds=20)
    """Silence after which a machine's units run elsewhere."""
    patience: timedelta = timedelta(seconds=20)
    """How long an engine that has just begun to lead, or has just got its store back, believes in no loss: a slow
    store is not a dead machine."""
    brake_share: float = 1 / 3
    """When more than this share of the machines that host units vanish together, nothing is moved."""
    brake_minimum: int = 2
    """... if they are at least so many: one machine of two may be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How the engine leads and turns."""

    presence: PresenceSettings = field(default_factory=PresenceSettings)
    leader_ttl: timedelta = timedelta(seconds=10)
    """Time to live of the leader's lease, whole seconds; renewed three times within it."""
    full_turn_every: timedelta = timedelta(seconds=60)
    """How often everything is looked at anew. Such a turn must find nothing to do; what it finds is logged as a bug."""
    retry_after: timedelta = timedelta(seconds=1)
    """Pause after the store gave no answer."""
    drain_at_once: int = 10
    """How many units of a machine that is drained may be on their way at a time."""
    rebalance_after: timedelta = timedelta(minutes=5)
    """How long nothing else must have happened before units move to a machine that has come back, one at a time."""
    events_kept: int = 10_000
    """How many event records stay in the store."""
    history_kept: int = 10_000
    """How many revisions a store keeps for watches that resume; older ones are compacted on the slow tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How an agent acts and reports."""

    heartbeat_every: timedelta = timedelta(seconds=3)
    """Longest pause between two reports."""
    coalesce_for: timedelta = timedelta(milliseconds=20)
    """How long changes gather before they are reported together."""
    full_turn_every: timedelta = timedelta(seconds=60)
    """How often the machine is compared with its whole assignment, whatever events came."""
    retry_after: timedelta = timedelta(seconds=2)
    """Pause before something that failed for lack of a server, or that the runtime refused, is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """Where the etcd is that has the cluster's records, and how to be let in."""

    endpoints: tuple[str, ...] = ()
    """Client URLs of the members, `https://HOST:2379` each. The first that answers is used: put the nearest first."""
    prefix: str = "/argosy/"
    """Every key starts with it, so that several clusters, or other programs, may share one etcd."""
    ca_file: Path | None = None
    """Certificates (PEM) that sign those of the members. None: those that the operating system trusts."""
    cert_file: Path | None = None
    """Certificate chain (PEM) that is shown to etcd; with `--client-cert-auth` its common name is the user."""
    key_file: Path | None = None
    """Private key (PEM) of `cert_file`."""
    username: str | None = None
    """User for etcd's password authentication."""
    password_file: Path | None = None
    """File whose first line is the user's password. Read at each login, so a new password needs no restart."""
    request_timeout: timedelta = timedelta(seconds=5)
    """How long a call waits for an answer from any member. A write that was sent and has none by then is indeterminate."""
    attempt_timeout: timedelta = timedelta(milliseconds=1500)
    """How long a read waits for one member before it asks the next; longer than an election of etcd's leader takes."""
