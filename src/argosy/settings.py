"""Every setting, grouped by who needs it, each with its effect, unit and reason.

Frozen records without a loader: `daemon/settings_file.py` reads them from files, where a field is a key and a group a
table of that name; who builds a daemon passes each part its own group. The defaults are the design's; a test holds
them against `docs/reference/settings.md`.
"""

from __future__ import annotations

import enum
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
    learn_every: timedelta = timedelta(minutes=5)
    """How often an agent asks where servers are by now. It is told when it registers, too."""
    refused_after: timedelta = timedelta(seconds=30)
    """Pause before a machine that the servers do not know, or know no more, asks again."""


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


class StoreKind(enum.StrEnum):
    """Where a cluster's records are."""

    SQLITE = "sqlite"
    """In a file of the one server."""
    ETCD = "etcd"
    """In an etcd that several servers share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where a server has the cluster's records."""

    kind: StoreKind = StoreKind.SQLITE
    """`sqlite` for one server, `etcd` for several."""
    path: Path | None = None
    """File of the SQLite store. None: `store.db` in the server's directory."""
    etcd: EtcdSettings = field(default_factory=EtcdSettings)
    """Used when `kind` is `etcd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How `argosy server` runs: the file `/etc/argosy/server.toml`."""

    name: str = ""
    """What the cluster calls this server; no two have the same. Empty: the host's name."""
    listen: str = "0.0.0.0:7440"
    """`ADDRESS:PORT` for agents, people and joins, all over TLS."""
    addresses: tuple[str, ...] = ()
    """Addresses and names that others reach this server at; its certificate names them, and agents are told them. Empty:
    the host's own."""
    directory: Path = Path("/var/lib/argosy/server")
    """Private to the server: the cluster's CA, the server's certificate, the SQLite store."""
    socket: Path = Path("/run/argosy/argosy.sock")
    """Where people on this host reach the API; whoever can connect is an administrator."""
    socket_group: str = "argosy"
    """The group that may connect to the socket, besides root. Where it does not exist only the server's own user may."""
    metrics_listen: str = ""
    """`ADDRESS:PORT` for Prometheus, without TLS; empty for none."""
    certificate_life: timedelta = timedelta(days=90)
    """How long certificates of machines and servers are valid. Each is renewed between half and four fifths of that."""
    store: StoreSettings = field(default_factory=StoreSettings)
    """The group above."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    """The group above."""


class RuntimeKind(enum.StrEnum):
    """What runs a machine's units."""

    AUTO = "auto"
    """systemd where it runs the host, else plain processes."""
    SYSTEMD = "systemd"
    PROCESS = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """How `argosy agent` runs on a machine: the file `/etc/argosy/agent.toml`."""

    servers: tuple[str, ...] = ()
    """URLs of servers, `https://HOST:7440`. What a server says of where servers are is remembered and comes first."""
    directory: Path = Path("/var/lib/argosy/agent")
    """Private to the agent: its certificate, and what it needs to bring units back with no server in reach."""
    runtime: RuntimeKind = RuntimeKind.AUTO
    """What runs the units: `systemd`, `process`, or `auto`."""
    machine_id: str = ""
    """32 hex digits. Empty: /etc/machine-id, or one that is made and kept in `directory` where the host has none."""
    address: str = ""
    """Where other machines reach this one. Empty: the address that it reaches its server from."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What units ask for with `MachineMetadata=`; people can change it from afar, too."""
    memory_bytes: int = 0
    """Memory that units may reserve. 0: all that the host has."""
    cpu_millis: int = 0
    """Thousandths of a core that units may reserve. 0: all that the host has."""
    exec: bool = True
    """Whether administrators of the cluster may run commands on this machine through its servers."""
    metrics_listen: str = ""
    """`ADDRESS:PORT` for Prometheus, without TLS; empty for none."""
    agent: AgentSettings = field(default_factory=AgentSettings)
    """The group above."""
