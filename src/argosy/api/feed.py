"""Keeps the picture up to date with one watch on the store, and fans its changes out to everybody who watches.

A client's speed is its own affair: each has a bounded queue, and one that falls behind is cut off with a reason instead
of slowing the others or filling the memory. When the feed loses its place in the store (a compaction, a store that was
away), it reads everything again and cuts all clients off, because it cannot say what they missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from argosy.api import views
from argosy.api.picture import END_KEY, FIRST_KEY, Changed, Picture
from argosy.api.selection import Selection
from argosy.errors import Conflict, StoreUnavailable, Temporary
from argosy.model.assignment import Assignment
from argosy.model.event import Event
from argosy.model.ids import MachineId, UnitName
from argosy.model.lost import Brake
from argosy.store import base, codec, keys

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
CATCH_UP_SECONDS = 5.0
TICK_SECONDS = 0.1
"""How long the feed may hear nothing while it seems behind, before that is tried by a write that it must hear of."""
QUEUE_LIMIT = 10_000
"""Messages that wait for one client, at most; of some hundred bytes each, and shared between clients."""
TOO_SLOW = "you read too slowly to keep up; list again, then watch from there"
LOST_PLACE = "the server lost its place in the store; list again, then watch from there"
STOPPING = "the server stops"


class Subscription:
    """One client's queue."""

    def __init__(self, selection: Selection, limit: int) -> None:
        self.ended: str | None = None
        """Why nothing more will come; None while more may."""
        self._selection = selection
        self._limit = limit
        self._waiting: deque[views.Message] = deque()
        self._wake = asyncio.Event()

    def offer(self, messages: Sequence[views.Message]) -> None:
        if self.ended is not None:
            return
        wanted = [m for m in messages if not m.unit or self._selection.includes(m.unit)]
        if len(self._waiting) + len(wanted) > self._limit:
            self._waiting.clear()
            self.end(TOO_SLOW)
        elif wanted:
            self._waiting.extend(wanted)
            self._wake.set()

    def end(self, reason: str) -> None:
        if self.ended is None:
            self.ended = reason
            self._wake.set()

    async def take(self, timeout_seconds: float) -> list[views.Message]:
        """Everything that waits; empty after the timeout, and when the subscription has ended."""
        if not self._waiting and self.ended is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._wake.wait()
            except TimeoutError:
                return []
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class Feed:
    """The picture, and who follows it. `run` it; until it has read the store once, readers wait."""

    queue_limit = QUEUE_LIMIT

    def __init__(self, store: base.Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._subscriptions: set[Subscription] = set()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._closed = False
        self.picture = Picture(clock)
        self.on_access_changed: Callable[[Picture, Collection[MachineId] | None], None] = (
            lambda picture, machines: None
        )
        """Told when somebody may be known who was not, or the other way round: of which machines, None for everybody."""

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            try:
                await self._follow()
                problem: Exception = StoreUnavailable("the store ended the watch")
            except (Temporary, base.Compacted, base.FutureRevision) as caught:
                problem = caught
            log.warning("reading the store again: %s", problem)
            self._end_all(LOST_PLACE)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        picture = await Picture.load(self._store, self._clock)
        async with self._store.watch(
            FIRST_KEY, END_KEY, start_revision=picture.revision + 1, with_previous=False
        ) as batches:
            self.picture = picture
            self.on_access_changed(picture, None)
            self._wake_waiters()
            async for batch in batches:
                changed = picture.fold(batch)
                if changed.is_access_changed:
                    self.on_access_changed(picture, None)
                elif changed.holders:
                    self.on_access_changed(picture, changed.holders)
                if batch.events and self._subscriptions:
                    told = views.messages(picture, changed)
                    for subscription in tuple(self._subscriptions):
                        subscription.offer(told)
                self._wake_waiters()

    def close(self) -> None:
        """End every subscription, and each that comes later."""
        self._closed = True
        self._end_all(STOPPING)

    async def catch_up(self) -> Picture:
        """The picture, with every write in it that was acknowledged before the call.

        Raises StoreUnavailable when the store does not answer or the feed cannot follow it.
        """
        newest = (await self._store.range(keys.CLUSTER, keys_only=True)).revision
        if self.picture.revision < newest:
            reached = asyncio.get_running_loop().create_future()
            self._waiters.append((newest, reached))
            try:
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    await self._reach(reached)
            except TimeoutError:
                raise StoreUnavailable(
                    "this server cannot follow its store now", hint="try again; argosy doctor"
                ) from None
        return self.picture

    async def _reach(self, reached: asyncio.Future[None]) -> None:
        while True:
            before = self.picture.revision
            await asyncio.wait([reached], timeout=TICK_SECONDS)
            if reached.done():
                return
            if self.picture.revision == before:
                # Nothing comes. etcd counts for all who use it: what is newest may be none of our keys, and never be told.
                await self._store.txn([], [base.Put(keys.TICK, b"")])

    @asynccontextmanager
    async def subscribe(
        self, selection: Selection, *, since: int | None = None, limit: int | None = None
    ) -> AsyncIterator[tuple[int, list[views.Message], Subscription]]:
        """Follow changes: yields the revision after which nothing is missed, what changed after `since` up to there as
        it is now, and the queue of what comes later.

        Raises Conflict when `since` is older than the history that the store keeps, or newer than the store.
        """
        picture = await self.catch_up()
        changed = Changed(picture.revision)
        if since is not None and since < picture.revision:
            changed = await self._changed_since(since)
        elif since is not None and since > picture.revision:
            raise Conflict(
                f"revision {since} is not there yet, the store is at {picture.revision}",
                hint="list again, then watch from the list's revision",
            )
        # No await from here to the registration: nothing can slip between the replay and the queue.
        picture = self.picture
        changed.revision = picture.revision
        subscription = Subscription(selection, self.queue_limit if limit is None else limit)
        if self._closed:
            subscription.end(STOPPING)
        replay = [
            message
            for message in views.messages(picture, changed)
            if not message.unit or selection.includes(message.unit)
        ]
        self._subscriptions.add(subscription)
        try:
            yield picture.revision, replay, subscription
        finally:
            self._subscriptions.discard(subscription)

    async def _changed_since(self, since: int) -> Changed:
        """All that was touched after that revision, up to the picture."""
        changed = Changed(since)
        try:
            async with self._store.watch(FIRST_KEY, END_KEY, start_revision=since + 1) as batches:
                async for batch in batches:
                    for event in batch.events:
                        self._note(event, changed)
                    if batch.revision >= self.picture.revision:
                        break
        except base.Compacted as problem:
            raise Conflict(
                f"what happened since revision {since} is forgotten, "
                f"history goes back to {problem.compacted_revision}",
                hint="list again, then watch from the list's revision",
            ) from problem
        return changed

    def _note(self, event: base.WatchEvent, changed: Changed) -> None:
        key = event.kv.key
        name = keys.last_part(key)
        if key.startswith((keys.UNITS, keys.PENDING)):
            changed.units.add(UnitName(name))
        elif key.startswith(keys.OBSERVED):
            # The unit too: what is observed may have changed how far it is.
            changed.units.add(UnitName(name))
            changed.states.add((UnitName(name), MachineId(key.split("/")[1])))
        elif key.startswith(keys.ASSIGNMENTS):
            changed.machines.add(MachineId(name))
            for kv in (event.previous, event.kv):
                if kv is not None and kv.value:
                    record = codec.decode(kv.value, Assignment)
                    changed.units.update(unit.name for unit in record.units)
                    changed.states.update((unit.name, record.machine) for unit in record.units)
        elif key.startswith((keys.MACHINES, keys.PRESENCE, keys.ORDERS, keys.LOST)):
            changed.machines.add(MachineId(name))
        elif key == keys.BRAKE:
            for kv in (event.previous, event.kv):
                if kv is not None and kv.value:
                    changed.machines.update(codec.decode(kv.value, Brake).machines)
        elif key.startswith(keys.EVENTS) and event.kind is base.EventKind.PUT:
            changed.events.append((key, codec.decode(event.kv.value, Event)))

    def _end_all(self, reason: str) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.end(reason)

    def _wake_waiters(self) -> None:
        reached = self.picture.revision
        due = [future for revision, future in self._waiters if revision <= reached]
        self._waiters = [one for one in self._waiters if one[0] > reached and not one[1].done()]
        for future in due:
            if not future.done():
                future.set_result(None)
