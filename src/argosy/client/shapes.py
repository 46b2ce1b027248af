"""What answers look like, with the names of `docs/reference/api.md`, and what is sent."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

Desired = Literal["inactive", "loaded", "launched"]


class Refusal(TypedDict):
    rule: str
    detail: str
    machines: list[str]
    count: int


class Explanation(TypedDict):
    unit: str
    refusals: list[Refusal]
    summary: str
    remedy: str
    since: str | None


UnitView = TypedDict(
    "UnitView",
    {
        "name": str,
        "digest": str,
        "desired": Desired,
        "current": Desired,
        "generation": int,
        "app": str | None,
        "submitted_at": str | None,
        "description": str,
        "global": bool,
        "machines": list[str],
        "pending": Explanation | None,
    },
)


class UnitDetail(UnitView):
    variables: dict[str, str]
    text: str
    """Bytes that are not UTF-8 are shown as backslash escapes; `unit_text` gives the exact ones."""
    text_base64: NotRequired[str]


class StateView(TypedDict):
    """One unit on one machine, as its runtime saw it last."""

    machine: str
    name: str
    digest: str | None
    load: str
    active: str
    sub: str
    result: str
    exit_code: int | None
    exit_signal: str | None
    failed_command: str
    main_pid: int | None
    since: str | None
    restarts: int
    has_run: bool
    altered: str
    cut_off: bool
    released: int
    text: str
    last_lines: list[str]


class Capacity(TypedDict):
    memory_bytes: int
    cpu_millis: int


class MachineView(TypedDict):
    id: str
    hostname: str
    address: str
    metadata: dict[str, str]
    capacity: Capacity
    version: str
    registered_at: str | None
    state: Literal["ready", "suspect", "lost", "held", "cordoned", "draining", "drained"]
    why: str
    since: str | None
    scheduling: Literal["open", "cordoned", "drained"]
    until: str | None
    units: int


class EventView(TypedDict):
    key: str
    at: str
    kind: str
    unit: str
    machine: str
    message: str
    by: str


class PlacementView(TypedDict):
    machine: str
    reason: str
    placed_at: str | None


class Why(TypedDict):
    unit: UnitView
    placements: list[PlacementView]
    explanation: Explanation | None
    statuses: list[StateView]
    events: list[EventView]


class Change(TypedDict):
    name: str
    change: Literal["created", "changed", "unchanged", "destroyed", "desired"]
    diff: str | None


class Submitted(TypedDict):
    revision: int
    changes: list[Change]
    warnings: list[str]


class Touched(TypedDict):
    """The units that a change or a destruction was about, in order of name."""

    revision: int
    units: list[str]


class Diagnostic(TypedDict):
    file: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str
    hint: str


class Version(TypedDict):
    version: str
    cluster: str
    epoch: int
    revision: int
    api: int


class EngineStatus(TypedDict):
    name: str
    is_leading: bool
    sentence: str


class StoreStatus(TypedDict):
    revision: int
    compacted_revision: int
    keys: int
    bytes_used: int


class Status(TypedDict):
    leader: str | None
    engine: EngineStatus | None
    store: StoreStatus
    machines: int
    units: int


class LogLine(TypedDict):
    at: str
    unit: str
    machine: str
    stream: str
    text: str
    cursor: str


class Move(TypedDict):
    unit: str
    before: str
    after: str | None
    reason: str


class Staying(TypedDict):
    unit: str
    reason: str


class DrainPlan(TypedDict):
    revision: int
    moves: list[Move]
    staying: list[Staying]


class JournalLine(TypedDict):
    at: str
    unit: str
    priority: str
    text: str
    cursor: str


class Disk(TypedDict):
    path: str
    total_bytes: int
    free_bytes: int
    free_inodes_share: float


class Facts(TypedDict):
    machine: str
    at: str
    clock_ahead_seconds: float
    version: str
    runtime: str
    kernel: str
    booted_at: str | None
    load: list[float]
    memory_total_bytes: int
    memory_available_bytes: int
    disks: list[Disk]
    certificate_expires: str | None
    exec: bool


class Member(TypedDict):
    """One endpoint of an etcd."""

    endpoint: str
    reachable: bool
    problem: str
    version: str
    supported: bool
    leader: bool
    has_leader: bool
    learner: bool
    read_seconds: float
    database_bytes: int
    in_use_bytes: int
    quota_bytes: int
    raft_lag: int
    alarms: list[str]


class Server(TypedDict):
    name: str
    endpoints: list[str]
    version: str
    since: str


class StoreHealth(TypedDict):
    kind: str
    read_seconds: float
    members: list[Member]


class Health(TypedDict):
    at: str
    version: str
    certificates: dict[str, str]
    servers: list[Server]
    store: StoreHealth
    disks: list[Disk]


class TokenView(TypedDict):
    id: str
    kind: Literal["machine", "server", "person"]
    role: Literal["viewer", "deployer", "admin"] | None
    name: str
    created_at: str
    expires_at: str | None
    uses_left: int | None
    by: str


class CreatedToken(TypedDict):
    text: str
    token: TokenView


class Joined(TypedDict):
    certificate: str
    ca: str
    cluster: str
    servers: list[str]


class ServerJoined(TypedDict):
    ca: str
    ca_key: str
    cluster: str
    store: dict[str, Any]


class WatchItem(NamedTuple):
    """One thing that changed.

    kind: `ready` (first; nothing after its revision is missed), `unit`, `state`, `machine`, `event`.
    data: a UnitView, StateView, MachineView or EventView; or the name of what is gone, with `"deleted": true`.
    """

    kind: str
    revision: int
    data: dict[str, Any]


# --- what is sent ---------------------------------------------------------------------------------------------------


class Submission(NamedTuple):
    """A unit to submit.

    desired: None keeps what people want of it; a new unit is inactive then.
    variables: environment that goes with the text; other variables are another version of the unit.
    """

    name: str
    text: bytes
    desired: Desired | None = None
    variables: Mapping[str, str] = MappingProxyType({})


def unit_text(unit: UnitDetail) -> bytes:
    """The unit's exact text."""
    if "text_base64" in unit:
        return base64.b64decode(unit["text_base64"])
    return unit["text"].encode()
