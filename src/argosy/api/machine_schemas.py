"""What travels about orders for machines: what they are for, their metadata, and plans that people are shown first."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from argosy.api.schemas import Answer, MachineRef, MachineView, Name, Request
from argosy.model.orders import Scheduling

Line = Annotated[
    str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)", description="One line.")
]
MetadataKey = Annotated[
    str, Meta(pattern=r"^[^\x00-\x20\x7f=,]{1,255}$(?!\n)", description="Without `=`, `,`, spaces.")
]
MetadataValue = Annotated[
    str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f,]*$(?!\n)", description="Without `,`.")
]


class OrdersRequest(Request, frozen=True):
    """What is not given stays as it is."""

    scheduling: Scheduling | None = None
    for_seconds: Annotated[int, Meta(ge=1, le=366 * 86400)] | None = None
    """With `scheduling`: open again after so long; null: until somebody says so."""
    reason: Line = ""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=100)] = field(
        default_factory=dict
    )
    """Set these, whatever the machine's agent says."""
    without: Annotated[tuple[MetadataKey, ...], Meta(max_length=100)] = ()
    """Take these away, whatever the agent says."""
    forget: Annotated[tuple[MetadataKey, ...], Meta(max_length=100)] = ()
    """Of these, have again what the agent says."""


class Ordered(Answer, frozen=True):
    revision: int
    machine: MachineView


class Removed(Answer, frozen=True):
    revision: int


class MoveView(Answer, frozen=True):
    unit: str
    before: str
    """The machine that it leaves."""
    after: str | None
    """Null: it is global, and only leaves."""
    reason: str


class StayingView(Answer, frozen=True):
    unit: str
    reason: str


class DrainPlan(Answer, frozen=True):
    """What draining a machine would come to, were it all done at once."""

    revision: int
    moves: tuple[MoveView, ...]
    staying: tuple[StayingView, ...]
    """Units that have no other place."""


class RebalanceQuery(Request, frozen=True):
    budget: Annotated[int, Meta(ge=1, le=1000)] = 10
    """How many units may move at most."""


class RebalancePlan(Answer, frozen=True):
    revision: int
    moves: tuple[MoveView, ...]


class AskedMove(Request, frozen=True):
    unit: Name
    to: MachineRef
    reason: Line = ""


class MovesRequest(Request, frozen=True):
    moves: Annotated[tuple[AskedMove, ...], Meta(min_length=1, max_length=1000)]


class Asked(Answer, frozen=True):
    """The engine carries the moves out, or says in an event why not."""

    revision: int
