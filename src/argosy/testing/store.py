"""One client's view of the simulated store, with what networks and stores do to clients.

A call may be refused with nothing written, or give no answer to a write that happened or did not (`Indeterminate`). A
watch may be late, or end with `WatchLost`. It is never reordered and never skips: no store does that to a client that
keeps to the contract. Behind all clients is one `MemoryStore`, and `Ledger` keeps who wrote which revision under which
compares, for `invariants.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from argosy.errors import Indeterminate, StoreUnavailable
from argosy.store import base
from argosy.store.memory import MemoryStore
from argosy.testing.loop import WORLD, Process, in_process, running

T = TypeVar("T")
LOOK_AGAIN = 0.25
"""Seconds between two looks of a client that is cut off at whether it still is."""


@dataclass(slots=True, kw_only=True)
class StoreFaults:
    """What happens to the clients of the store. All zero: a perfect network."""

    is_down: bool = False
    latency: tuple[float, float] = (0.0, 0.002)
    """Seconds, each way."""
    refused: float = 0.0
    """Share of calls that are refused, nothing written."""
    indeterminate: float = 0.0
    """Share of transactions that are not answered; half of these are carried out."""
    watch_lag: tuple[float, float] = (0.0, 0.002)
    watch_breaks: float = 0.0
    """Share of deliveries in place of which the watch breaks."""


class Write(NamedTuple):
    """Who wrote a revision, and on what conditions."""

    process: Process
    compares: tuple[base.Compare, ...]
    ops: tuple[base.Op, ...]


@dataclass(slots=True)
class Ledger:
    """Writes by revision. A revision that is missing was the store's own: a lease ran out or was given up."""

    writes: dict[int, Write] = field(default_factory=dict)
    resent: list[str] = field(default_factory=list)
    """Writes that were sent again after no answer, without a look at what had become of them."""
    _unanswered: dict[Process, list[Write]] = field(default_factory=dict)

    def start_over(self) -> None:
        """There is another store now, which counts its revisions anew."""
        self.writes.clear()
        self._unanswered.clear()

    def wrote(self, revision: int, write: Write) -> None:
        self.writes[revision] = write

    def gave_no_answer(self, write: Write) -> None:
        if not _keys(write.ops):
            return  # it reads: that may be repeated
        self._unanswered.setdefault(write.process, []).append(write)

    def looked(self, process: Process, start: str, end: str | None) -> None:
        """The process read these keys: whatever it writes to them now, it has seen what is there."""
        self._unanswered[process] = [
            write
            for write in self._unanswered.get(process, [])
            if not any(_covers(start, end, key) for key in _keys(write.ops))
        ]

    def check_resent(self, write: Write) -> None:
        if write in self._unanswered.get(write.process, []):
            names = ", ".join(_keys(write.ops))
            self.resent.append(f"{write.process.name} sent the unanswered write of {names} again")


class FaultyStore:
    """`store.base.Store` for one process. Once that process is dead, no call has any effect."""

    def __init__(
        self, inner: MemoryStore, process: Process, faults: StoreFaults, ledger: Ledger
    ) -> None:
        self.is_cut = False
        """The network between this client and the store is cut."""
        self._inner = inner
        self._process = process
        self._faults = faults
        self._ledger = ledger
        self._chance = running().stream(f"store of {process.name}")

    async def range(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> base.RangeResult:
        await self._reach()
        found = await self._inner.range(
            start, end, revision=revision, limit=limit, keys_only=keys_only
        )
        self._ledger.looked(self._process, start, end)
        await self._answer()
        return found

    async def txn(
        self,
        compares: Sequence[base.Compare],
        success: Sequence[base.Op],
        failure: Sequence[base.Op] = (),
    ) -> base.TxnResult:
        write = Write(self._process, tuple(compares), tuple(success))
        self._ledger.check_resent(write)
        await self._reach()
        is_answered = self._chance.random() >= self._faults.indeterminate
        if not is_answered and self._chance.random() < 0.5:
            self._ledger.gave_no_answer(write)
            raise Indeterminate("the simulated store got no such write; its client cannot know")
        before = (await self._inner.status()).revision
        with in_process(WORLD):
            result = await self._inner.txn(compares, success, failure)
        if result.revision > before:
            self._ledger.wrote(result.revision, write)
        try:
            await self._answer()
        except StoreUnavailable as problem:
            is_answered = False
            reason = problem.message
        else:
            reason = "the simulated store carried it out; its client cannot know"
        if not is_answered:
            self._ledger.gave_no_answer(write)
            raise Indeterminate(reason)
        return result

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[base.WatchBatch]]:
        return self._watch(start, end, start_revision)

    @asynccontextmanager
    async def _watch(
        self, start: str, end: str | None, start_revision: int
    ) -> AsyncIterator[AsyncIterator[base.WatchBatch]]:
        await self._reach()
        self._ledger.looked(self._process, start, end)
        async with self._inner.watch(start, end, start_revision=start_revision) as batches:
            yield self._deliver(batches)

    async def grant(self, ttl_seconds: int) -> base.Lease:
        return await self._change(lambda: self._inner.grant(ttl_seconds))

    async def keep_alive(self, lease_id: int) -> int:
        return await self._change(lambda: self._inner.keep_alive(lease_id))

    async def revoke(self, lease_id: int) -> None:
        await self._change(lambda: self._inner.revoke(lease_id))

    async def compact(self, revision: int) -> None:
        await self._change(lambda: self._inner.compact(revision))

    async def status(self) -> base.StoreStatus:
        await self._reach()
        return await self._inner.status()

    async def close(self) -> None:
        """The client goes; the store stays for the others."""

    async def _change(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._reach()
        with in_process(WORLD):
            result = await call()
        await self._answer()
        return result

    async def _deliver(
        self, batches: AsyncIterator[base.WatchBatch]
    ) -> AsyncIterator[base.WatchBatch]:
        async for batch in batches:
            await self._pause(self._faults.watch_lag)
            # A cut network is silent; some time the client may notice.
            while self._is_away():
                await asyncio.sleep(LOOK_AGAIN)
                if self._chance.random() < 0.05:
                    raise base.WatchLost("the simulated network is cut")
            if self._chance.random() < self._faults.watch_breaks:
                raise base.WatchLost("the simulated watch broke")
            yield batch

    async def _reach(self) -> None:
        """The way to the store."""
        await self._pause(self._faults.latency)
        if self._is_away():
            # Somebody has to notice: at once, or after the client's own timeout.
            await asyncio.sleep(self._chance.choice((0.0, 1.0)))
            raise StoreUnavailable("the simulated store cannot be reached")
        if self._process.is_dead:
            raise StoreUnavailable("this process was killed")
        if self._chance.random() < self._faults.refused:
            raise StoreUnavailable("the simulated store refused")

    async def _answer(self) -> None:
        """The way back."""
        await self._pause(self._faults.latency)
        if self._is_away():
            raise StoreUnavailable("the simulated network was cut before the answer")

    def _is_away(self) -> bool:
        return self._faults.is_down or self.is_cut

    async def _pause(self, between: tuple[float, float]) -> None:
        await asyncio.sleep(self._chance.uniform(*between))


def _keys(ops: Iterable[base.Op]) -> list[str]:
    return [op.key for op in ops if not isinstance(op, base.Get)]


def _covers(start: str, end: str | None, key: str) -> bool:
    return key == start if end is None else start <= key < end
