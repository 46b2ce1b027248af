"""The HTTP API as Python calls: what the CLI speaks to a server with.

Synchronous, on `http.client` and the standard library alone, because every CLI verb pays for this package's import.
Answers are plain dicts with the names of `docs/reference/api.md` (`shapes.py` says which); instants are ISO 8601
strings. Errors come back as the classes of `errors.py` that the server raised.

What surprises: each call has a connection of its own, so a client may be shared between threads and outlives a restart of
the server; and a write whose answer got lost is `Indeterminate`, never sent again.
"""

from argosy.client.client import Client
from argosy.client.execution import Execution, Output
from argosy.client.shapes import (
    Capacity,
    Change,
    CreatedToken,
    Desired,
    Diagnostic,
    Disk,
    DrainPlan,
    EngineStatus,
    EventView,
    Explanation,
    Facts,
    Health,
    Joined,
    JournalLine,
    LogLine,
    MachineView,
    Member,
    Move,
    PlacementView,
    Refusal,
    Server,
    ServerJoined,
    StateView,
    Status,
    Staying,
    StoreHealth,
    StoreStatus,
    Submission,
    Submitted,
    TokenView,
    Touched,
    UnitDetail,
    UnitView,
    Version,
    WatchItem,
    Why,
    unit_text,
)
from argosy.client.streams import Stream
from argosy.endpoint import Endpoint, state_dir

__all__ = [
    "Capacity",
    "Change",
    "Client",
    "CreatedToken",
    "Desired",
    "Diagnostic",
    "Disk",
    "DrainPlan",
    "Endpoint",
    "EngineStatus",
    "EventView",
    "Execution",
    "Explanation",
    "Facts",
    "Health",
    "Joined",
    "JournalLine",
    "LogLine",
    "MachineView",
    "Member",
    "Move",
    "Output",
    "PlacementView",
    "Refusal",
    "Server",
    "ServerJoined",
    "StateView",
    "Status",
    "Staying",
    "StoreHealth",
    "StoreStatus",
    "Stream",
    "Submission",
    "Submitted",
    "TokenView",
    "Touched",
    "UnitDetail",
    "UnitView",
    "Version",
    "WatchItem",
    "Why",
    "state_dir",
    "unit_text",
]
