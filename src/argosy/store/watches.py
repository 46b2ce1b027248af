"""Watchers of a local store: who wants which changes, and what each still has to read.

A change is handed to the watchers it concerns and to nobody else: they are found by key and by prefix, not by asking all.
A watcher that reads slowly costs a bounded queue: when that is full it goes on from the index's log of batches, and if
compaction was faster than it, it ends with Compacted. Nothing is lost or told twice on the way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice

from argosy.errors import ArgosyError
from argosy.store.base import Compacted, WatchBatch, WatchLost, prefix_end
from argosy.store.index import Index, only
from argosy.store.validation import check_range

QUEUE_BATCHES = 1000
"""How many batches wait for a watcher before it has to read the log; they share the log's memory."""
REPLAY_REVISIONS = 5000
"""How much of the log is looked through before other tasks get a turn."""


class Watches:
    """All watchers of one index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._of_key: dict[str, dict[_Watcher, None]] = {}
        self._of_prefix: dict[str, dict[_Watcher, None]] = {}
        self._prefix_lengths: Counter[int] = Counter()
        """Lengths of the prefixes in use: a changed key is looked up once for each."""
        self._of_range: dict[_Watcher, None] = {}
        """Ranges that are no prefix: rare, so each change is compared to each."""

    @asynccontextmanager
    async def watch(
        self, start: str, end: str | None, start_revision: int
    ) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """As `Store.watch`."""
        check_range(start, end)
        first = start_revision or self._index.revision + 1
        if first < self._index.compacted_revision:
            raise Compacted(first, self._index.compacted_revision)
        watcher = _Watcher(self._index, start, end, first)
        self._add(watcher)
        try:
            yield watcher
        finally:
            self._discard(watcher)

    def deliver(self, batches: Iterable[WatchBatch]) -> None:
        """Hand out what was just published. Never waits."""
        for batch in batches:
            for watcher in self._concerned(batch):
                watcher.offer(batch)

    def end(self, reason: ArgosyError) -> None:
        """All iterators raise `reason` once they have given what was published before."""
        for watchers in (*self._of_key.values(), *self._of_prefix.values(), self._of_range):
            for watcher in watchers:
                watcher.end(reason)

    def _concerned(self, batch: WatchBatch) -> dict[_Watcher, None]:
        """Each watcher once, in the order of registration within a key: dict instead of set, for determinism."""
        concerned: dict[_Watcher, None] = {}
        for event in batch.events:
            key = event.kv.key
            concerned.update(self._of_key.get(key, {}))
            for length in self._prefix_lengths:
                concerned.update(self._of_prefix.get(key[:length], {}))
            for watcher in self._of_range:
                if watcher.covers(key):
                    concerned[watcher] = None
        return concerned

    def _add(self, watcher: _Watcher) -> None:
        if watcher.end_key is None:
            self._of_key.setdefault(watcher.start, {})[watcher] = None
        elif watcher.is_prefix:
            self._of_prefix.setdefault(watcher.start, {})[watcher] = None
            self._prefix_lengths[len(watcher.start)] += 1
        else:
            self._of_range[watcher] = None

    def _discard(self, watcher: _Watcher) -> None:
        if watcher.end_key is None:
            self._discard_from(self._of_key, watcher)
        elif watcher.is_prefix:
            self._discard_from(self._of_prefix, watcher)
            self._prefix_lengths[len(watcher.start)] -= 1
            self._prefix_lengths += Counter()  # forgets the lengths that nobody uses any more
        else:
            del self._of_range[watcher]

    def _discard_from(self, table: dict[str, dict[_Watcher, None]], watcher: _Watcher) -> None:
        del table[watcher.start][watcher]
        if not table[watcher.start]:
            del table[watcher.start]


class _Watcher:
    """One watch, as the iterator that its owner reads."""

    def __init__(self, index: Index, start: str, end_key: str | None, first: int) -> None:
        self.start = start
        self.end_key = end_key
        self.is_prefix = end_key is not None and _is_prefix(start, end_key)
        self._index = index
        self._queue: deque[WatchBatch] = deque()
        self._replay_from: int | None = first if first <= index.revision else None
        """The next revision to read from the log; None while the queue gets everything."""
        self._first = first
        self._ended: ArgosyError | None = None
        self._wakeup: asyncio.Future[None] | None = None

    def covers(self, key: str) -> bool:
        return self.start <= key and (
            key == self.start if self.end_key is None else key < self.end_key
        )

    def offer(self, batch: WatchBatch) -> None:
        """Take what concerns this watcher of a batch that was just published."""
        if self._replay_from is not None or batch.revision < self._first:
            return
        if len(self._queue) >= QUEUE_BATCHES:
            self._replay_from = batch.revision
        elif (mine := only(batch, self.start, self.end_key)) is not None:
            self._queue.append(mine)
        self._wake()

    def end(self, reason: ArgosyError) -> None:
        self._ended = reason
        self._wake()

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._queue:
            if self._replay_from is not None:
                self._replay_from = self._replay(self._replay_from)
                if not self._queue:
                    await asyncio.sleep(0)
            elif self._ended is not None:
                raise self._ended
            else:
                self._wakeup = asyncio.get_running_loop().create_future()
                await self._wakeup
        return self._queue.popleft()

    def _replay(self, first: int) -> int | None:
        """Fill the queue from the log, as far as it goes in one turn; returns where to go on."""
        newest = self._index.revision
        last = min(first + REPLAY_REVISIONS - 1, newest)
        batches: Iterator[WatchBatch] = self._index.batches(
            self.start, self.end_key, first=first, last=last
        )
        self._queue.extend(islice(batches, QUEUE_BATCHES))
        if len(self._queue) == QUEUE_BATCHES:
            last = self._queue[-1].revision
        return last + 1 if last < newest else None

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


def _is_prefix(start: str, end: str) -> bool:
    return bool(start.rstrip("\U0010ffff")) and prefix_end(start) == end


def lost(why: str) -> WatchLost:
    return WatchLost(f"the watch ended: {why}", hint="watch again from the last revision + 1")
