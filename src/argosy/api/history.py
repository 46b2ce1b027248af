"""Reading the event records: few are kept (`EngineSettings.events_kept`), so they are read and sieved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from argosy.api import views
from argosy.api.schemas import EventView
from argosy.model.event import Event
from argosy.store import base, codec, keys


async def read(
    store: base.Store, wanted: Callable[[Event], bool], *, limit: int, after: str | None = None
) -> tuple[EventView, ...]:
    """Oldest first: the last `limit` that are wanted, or with `after`, an event's key, the first `limit` behind it."""
    start = keys.EVENTS if after is None else after + "\0"
    found = await store.range(start, base.prefix_end(keys.EVENTS))
    sieved = (
        (kv.key, event)
        for kv, event in ((kv, codec.decode(kv.value, Event)) for kv in found.kvs)
        if wanted(event)
    )
    kept = deque(sieved, maxlen=limit) if after is None else islice(sieved, limit)
    return tuple(views.event(key, event) for key, event in kept)
