"""What travels over the API: requests, which refuse unknown fields, and answers, which leave no field out.

The one description of the API's shapes: requests are decoded into these, answers encoded from these, and the OpenAPI
document is generated from these (`openapi.py`). They repeat fields of `model/` on purpose: a record may change its
layout while the API keeps its promise.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from argosy.model.observed import ActiveState, LoadState
from argosy.model.orders import Scheduling
from argosy.model.unit import DesiredState

MAX_PAGE = 10_000

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Glob = Annotated[
    str,
    Meta(min_length=1, max_length=255, description="A unit's name, or a glob: `*`, `?`, `[...]`."),
]
MachineRef = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
AppRef = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f/]+$(?!\n)",
        description="Name of a directory.",
    ),
]
VariableName = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$(?!\\n)", max_length=255)]
VariableValue = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00\r\n]*$(?!\n)",
        max_length=32768,
        description="One line: it becomes a line of a systemd drop-in.",
    ),
]
Revision = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Anything a client sends: a body, or the parameters of a query."""


class Answer(msgspec.Struct, frozen=True):
    """Anything a server sends."""


# --- requests -------------------------------------------------------------------------------------------------------


class UnitsQuery(Request, frozen=True):
    name: tuple[Glob, ...] = ()
    app: AppRef | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 1000
    after: (
        Annotated[
            str,
            Meta(
                pattern="^[0-9]{1,18}:.+$",
                max_length=300,
                description="`after` of the page before.",
            ),
        ]
        | None
    ) = None


class SubmittedUnit(Request, frozen=True):
    """A unit's name and text; exactly one of `text` and `text_base64`."""

    name: Name
    text: str | None = None
    text_base64: str | None = None
    """For text that is not UTF-8."""
    desired: DesiredState | None = None
    """None keeps what people want of it; a new unit is inactive then."""
    variables: Annotated[dict[VariableName, VariableValue], Meta(max_length=1000)] = {}
    """Environment that goes with the text: other variables are another version of the unit."""


class SubmitRequest(Request, frozen=True):
    units: Annotated[tuple[SubmittedUnit, ...], Meta(max_length=MAX_PAGE)]
    app: AppRef | None = None
    prune: bool = False
    """Destroy the app's units that are not named."""
    replace: bool = False
    """Let a unit that exists have another text."""
    dry_run: bool = False
    expect_revision: Revision | None = None
    """Refuse when a unit was written since."""


class ChangeRequest(Request, frozen=True):
    names: Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=MAX_PAGE)]
    desired: DesiredState | None = None
    restart: bool = False
    start: bool = False


class DestroyRequest(Request, frozen=True):
    names: Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=MAX_PAGE)]


class VerifiedUnit(Request, frozen=True):
    name: Annotated[str, Meta(max_length=4096)]
    text: str | None = None
    text_base64: str | None = None


class VerifyRequest(Request, frozen=True):
    units: Annotated[tuple[VerifiedUnit, ...], Meta(max_length=MAX_PAGE)]


class StopRequest(Request, frozen=True):
    """Nothing; it is there so that no other site's page can send it (a JSON body needs the server's consent)."""


class StatesQuery(Request, frozen=True):
    name: tuple[Glob, ...] = ()
    machine: MachineRef | None = None


class EventsQuery(Request, frozen=True):
    unit: Glob | None = None
    machine: MachineRef | None = None
    kind: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    after: Annotated[str, Meta(pattern="^events/[0-9A-Za-z-]{1,200}$")] | None = None


class WatchQuery(Request, frozen=True):
    name: tuple[Glob, ...] = ()
    since: Revision | None = None


class LogsQuery(Request, frozen=True):
    name: tuple[Glob, ...] = ()
    lines: Annotated[int, Meta(ge=0, le=100_000)] = 100
    follow: bool = False
    after: Annotated[str, Meta(pattern="^[0-9a-f]{32}/.+$", max_length=1024)] | None = None
    machine: MachineRef | None = None


# --- answers --------------------------------------------------------------------------------------------------------


class RefusalView(Answer, frozen=True):
    rule: str
    detail: str
    machines: tuple[str, ...]
    count: int


class ExplanationView(Answer, frozen=True):
    """Why a unit has no machine."""

    unit: str
    refusals: tuple[RefusalView, ...]
    summary: str
    remedy: str
    since: datetime | None


class UnitView(Answer, frozen=True):
    name: str
    digest: str
    desired: DesiredState
    current: DesiredState
    """How far the machines are: inactive when it is on none, launched when all that have it have started it."""
    generation: int
    app: str | None
    submitted_at: datetime | None
    description: str
    is_global: bool = msgspec.field(name="global")
    machines: tuple[str, ...]
    """Where it is placed, sorted."""
    pending: ExplanationView | None


class UnitDetail(UnitView, frozen=True):
    variables: dict[str, str]
    text: str
    text_base64: str | UnsetType = UNSET
    """The exact bytes, present when they are not UTF-8; `text` shows those as backslash escapes then."""


class UnitsPage(Answer, frozen=True):
    revision: int
    units: tuple[UnitView, ...]
    after: str | None
    """Give it back to get the next page; null on the last."""


class Change(Answer, frozen=True):
    name: str
    change: Literal["created", "changed", "unchanged", "destroyed", "desired"]
    diff: str | None
    """Unified diff of the texts and variables, for `changed`."""


class Submitted(Answer, frozen=True):
    revision: int
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


class Touched(Answer, frozen=True):
    revision: int
    units: tuple[str, ...]


class StateView(Answer, frozen=True):
    """One unit on one machine."""

    machine: str
    name: str
    digest: str | None
    load: LoadState
    active: ActiveState
    sub: str
    result: str
    exit_code: int | None
    exit_signal: str | None
    failed_command: str
    main_pid: int | None
    since: datetime | None
    restarts: int
    has_run: bool
    altered: str
    cut_off: bool
    released: int
    text: str
    last_lines: tuple[str, ...]


class States(Answer, frozen=True):
    revision: int
    states: tuple[StateView, ...]


class CapacityView(Answer, frozen=True):
    memory_bytes: int
    cpu_millis: int


MachineState = Literal["ready", "suspect", "lost", "held", "cordoned", "draining", "drained"]


class MachineView(Answer, frozen=True):
    id: str
    hostname: str
    address: str
    metadata: dict[str, str]
    """As its agent says, changed as people want it."""
    capacity: CapacityView
    version: str
    registered_at: datetime | None
    state: MachineState
    why: str
    """What `state` is about, in words; empty for `ready`."""
    since: datetime | None
    """Of `state`; null when that was before this server began."""
    scheduling: Scheduling
    """What people want it for; `state` says it unless the machine is not there."""
    until: datetime | None
    """When `scheduling` is over and the machine is open again; null: until somebody says so."""
    units: int
    """How many units are placed on it, or still leave it."""


class Machines(Answer, frozen=True):
    revision: int
    machines: tuple[MachineView, ...]


class EventView(Answer, frozen=True):
    key: str
    at: datetime
    kind: str
    unit: str
    machine: str
    message: str
    by: str


class Events(Answer, frozen=True):
    events: tuple[EventView, ...]
    """Oldest first."""


class PlacementView(Answer, frozen=True):
    machine: str
    reason: str
    placed_at: datetime | None


class Why(Answer, frozen=True):
    unit: UnitView
    placements: tuple[PlacementView, ...]
    explanation: ExplanationView | None
    statuses: tuple[StateView, ...]
    events: tuple[EventView, ...]
    """The last 20 about the unit, oldest first."""


class DiagnosticView(Answer, frozen=True):
    file: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str
    hint: str


class Diagnostics(Answer, frozen=True):
    diagnostics: tuple[DiagnosticView, ...]


class Version(Answer, frozen=True):
    version: str
    cluster: str
    epoch: int
    revision: int
    api: int


class EngineView(Answer, frozen=True):
    name: str
    is_leading: bool
    sentence: str


class StoreView(Answer, frozen=True):
    revision: int
    compacted_revision: int
    keys: int
    bytes_used: int


class Status(Answer, frozen=True):
    leader: str | None
    engine: EngineView | None
    """This server's own engine; null when it has none."""
    store: StoreView
    machines: int
    units: int


class Stopping(Answer, frozen=True):
    message: str


class Gone(Answer, frozen=True):
    """In a watch: the unit, or the unit's state on the machine, or the machine is no more."""

    name: str | UnsetType = UNSET
    machine: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    deleted: Literal[True] = True


class Ready(Answer, frozen=True):
    """In a watch: nothing after this revision is missed."""

    revision: int


class End(Answer, frozen=True):
    """In a watch, the last event: why the server ends it."""

    reason: str


class LogLineView(Answer, frozen=True):
    at: datetime
    unit: str
    machine: str
    stream: str
    text: str
    cursor: str
    """Give it back as `after` to go on behind this line."""


class ErrorDetail(Answer, frozen=True):
    code: int
    kind: str
    """Name of a class of `errors.py`."""
    message: str
    problems: tuple[str, ...]
    hint: str


class Error(Answer, frozen=True):
    error: ErrorDetail
