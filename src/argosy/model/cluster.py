"""The cluster's own record: made once, when a store is first opened by a server."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Cluster(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Identity of the cluster that a store belongs to.

    An agent obeys assignments of its own cluster only, and within it never one of a lower epoch.
    """

    id: str
    """32 hex digits, random, never changes."""
    epoch: int = 1
    """Raised by a restore from backup, and when the records move to another store, so that nobody takes old assignments for
    new ones."""
    restored: int = 0
    """The epoch that the last restore began; 0: there was none. What was decided in the epochs before it may be forgotten,
    and still go on somewhere."""
    created_at: datetime
    layout: int = 1
    """Version of the layout of the records; a program refuses a store with a layout newer than it knows."""
