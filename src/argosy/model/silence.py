"""How the times of a machine's silence follow from each other: arithmetic for agents, servers, engine and unit files.

Derived in `docs/design/presence.md`.
"""

from __future__ import annotations

from datetime import timedelta

from argosy.settings import PresenceSettings

VOUCHING = 2 / 3
"""Part of its lease's life, counted from when the last renewal was asked for, in which a server vouches for machines."""
WAITING = 2 / 3
"""Part of the time that a unit with `WhenCutOff=stop` has, for being heard of again; the rest is for stopping."""
MARGIN = timedelta(seconds=1)
"""Between the end of a unit on a machine that is cut off and its start elsewhere."""
SHORTEST_STOP = timedelta(seconds=3)
"""What a unit that is stopped by being cut off gets for stopping, at least."""


def vouched_for(settings: PresenceSettings) -> timedelta:
    """How much later than the store's own clock for its presence a machine may have been answered by a server."""
    return settings.suspect_after * VOUCHING


def move_after_for(stopping: timedelta, settings: PresenceSettings) -> timedelta:
    """The silence before a unit with `WhenCutOff=stop` may move, so that it has so long for stopping."""
    return vouched_for(settings) + stopping / (1 - WAITING) + MARGIN


def shortest_move_after(settings: PresenceSettings) -> timedelta:
    """The least for any such unit: it must live through three missed heartbeats, and have time for stopping."""
    stopping = max(SHORTEST_STOP, settings.heartbeat_every)
    return move_after_for(stopping, settings)


def stopping_time(move_after: timedelta, settings: PresenceSettings) -> timedelta:
    """The reverse of `move_after_for`."""
    return (move_after - vouched_for(settings) - MARGIN) * (1 - WAITING)
