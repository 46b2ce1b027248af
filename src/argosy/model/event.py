"""Something that people may ask about later: decided, placed, failed. A record in the store, not only a log line."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened.

    kind: stable words with a dot: `unit.submitted`, `unit.changed`, `unit.desired`, `unit.destroyed`, `unit.placed`,
    `unit.unplaced`, `unit.pending`, `unit.active`, `unit.failed`, `unit.not-started`, `machine.joined`, `machine.lost`,
    `engine.leading` ...
    """

    at: datetime
    kind: str
    unit: str = ""
    machine: str = ""
    message: str = ""
    """In words for people, with the reason."""
    by: str = ""
    """Who: `engine`, `agent`, or the person or client that asked."""
