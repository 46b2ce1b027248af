"""Event records of one writer: keys that sort by time and never meet another's."""

from __future__ import annotations

from argosy.model.event import Event
from argosy.store import base, codec, keys


class Journal:
    """writer: unique among all that write events at one time; `[0-9A-Za-z-]`, because it becomes part of keys."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._written = 0

    def put(self, event: Event) -> base.Put:
        """The operation that records the event, for the transaction of what it tells of."""
        self._written += 1
        key = keys.event(event.at, writer=self._writer, number=self._written)
        return base.Put(key, codec.encode(event))
