"""A unit as the cluster knows it: its name, the digest of its immutable text, what people want of it, and what its
placement sections ask for (already parsed, validated and with specifiers expanded, so that deciding needs no text).
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta

import msgspec

from argosy.model.ids import AppName, Digest, UnitName


class DesiredState(enum.StrEnum):
    """What people asked for, in fleet's words."""

    INACTIVE = "inactive"
    """Known to the cluster, on no machine."""
    LOADED = "loaded"
    """On a machine, known to its runtime, not started."""
    LAUNCHED = "launched"
    """On a machine and started."""


class Operator(enum.StrEnum):
    """How a metadata condition compares. `<` and `>` compare numbers when both sides are numbers, else text."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    GREATER = ">"
    IN = "in"


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition on a machine's metadata.

    EQUAL and IN hold when the machine's value is among `values`; NOT_EQUAL when it is none of them (a machine without
    the key satisfies it); LESS and GREATER have exactly one value and need the key.
    """

    key: str
    operator: Operator
    values: tuple[str, ...]


class WhenCutOff(enum.StrEnum):
    """What a machine does with the unit while no server can be reached."""

    KEEP = "keep"
    STOP = "stop"


class Requirements(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All that `[X-Fleet]` and `[X-Placement]` say about where a unit may run. Equal requirements are interchangeable."""

    machine_id: str | None = None
    """Full id, or its first eight characters as fleet accepts."""
    machine_of: tuple[UnitName, ...] = ()
    """All of these must be placed on the machine. Exact names."""
    metadata: tuple[Condition, ...] = ()
    """All must hold. fleet's `MachineMetadata` lines arrive grouped: one IN condition per key."""
    conflicts: tuple[str, ...] = ()
    """Globs (fleet's: `*`, `?`, `[...]`, no `/`); symmetrical between units, a unit does not conflict with itself."""
    replaces: tuple[str, ...] = ()
    """Globs of units that move away when this one lands."""
    is_global: bool = False
    memory_bytes: int = 0
    cpu_millis: int = 0
    ports: tuple[int, ...] = ()
    """TCP ports on the machine's own address that only one unit of a machine can have. 0 is never in it."""
    spread: tuple[str, ...] = ()
    """Metadata keys over whose values the units of one service are spread evenly: preferred, never required."""
    max_per_machine: int | None = None
    """At most so many units of one service on a machine."""
    when_cut_off: WhenCutOff = WhenCutOff.KEEP
    move_after: timedelta | None = None
    """How long the machine must be gone before the unit moves; None is the cluster's default."""


class Unit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A unit's record. Written by people (through the API), never by the engine or an agent."""

    name: UnitName
    digest: Digest
    desired: DesiredState = DesiredState.INACTIVE
    generation: int = 0
    """Raised each time somebody asks for a restart, or for a start of a unit that is not running; an agent that last
    acted on a lower number starts the unit anew. This is how "restart" stays declarative."""
    requirements: Requirements = Requirements()
    description: str = ""
    """`[Unit] Description=` with specifiers expanded, for lists that people read."""
    variables: dict[str, str] = {}
    """Environment variables submitted along with the text: the app's directory, its environment's values. Part of what
    a unit runs as: changing them replaces the unit like a changed text."""
    app: AppName | None = None
    """The app whose `up` or `deploy` submitted it, so that a file taken out of the directory takes its unit along."""
    submitted_at: datetime | None = None

    @property
    def service(self) -> str:
        """Name of the service it belongs to: `web@` for every `web@X.service`; a plain unit is alone in its own."""
        prefix, at, _ = self.name.partition("@")
        return prefix + at if at else self.name
