"""What the two stores of this process have in common: everything but when a decision becomes true.

Reads, watches and lease times come from the index. A subclass says how a change is carried out: `memory.py` publishes it
at once, `sqlite.py` after it is on disk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from argosy.errors import StoreUnavailable
from argosy.store.base import (
    Compare,
    Lease,
    LeaseNotFound,
    Op,
    RangeResult,
    StoreStatus,
    TxnResult,
    WatchBatch,
)
from argosy.store.index import Index
from argosy.store.leases import LeaseTimers
from argosy.store.watches import Watches

T = TypeVar("T")


class LocalStore(ABC):
    """`store.base.Store` over an index; promises and errors are documented there."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._watches = Watches(index)
        self._timers = LeaseTimers(self._expire)
        self._stopped: StoreUnavailable | None = None
        """Why the store answers nothing any more."""

    async def range(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        self._check_usable()
        return self._index.range(start, end, revision=revision, limit=limit, keys_only=keys_only)

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        return await self._carry_out(lambda: self._index.txn(compares, success, failure))

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        self._check_usable()
        return self._watches.watch(start, end, start_revision)

    async def grant(self, ttl_seconds: int) -> Lease:
        return await self._carry_out(lambda: self._index.grant(ttl_seconds))

    async def keep_alive(self, lease_id: int) -> int:
        self._check_usable()
        # A lease whose time is up has ended for its holder, even while its end is being written down.
        if not (self._index.has_lease(lease_id) and self._timers.is_running(lease_id)):
            raise LeaseNotFound(f"lease {lease_id} has ended or never was")
        ttl_seconds = self._index.leases[lease_id]
        self._timers.renew(lease_id, ttl_seconds)
        return ttl_seconds

    async def revoke(self, lease_id: int) -> None:
        await self._carry_out(lambda: self._index.revoke(lease_id))

    @abstractmethod
    async def compact(self, revision: int) -> None: ...

    async def status(self) -> StoreStatus:
        self._check_usable()
        index = self._index
        return StoreStatus(index.revision, index.compacted_revision, index.keys, self._bytes_used())

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _carry_out(self, decide: Callable[[], T]) -> T:
        """Let `decide` change the index, make that true, publish it, and return what `decide` returned."""

    @abstractmethod
    def _expire(self, lease_id: int) -> None:
        """A lease was not renewed in time: see to it that it ends. Does not wait."""

    @abstractmethod
    def _bytes_used(self) -> int: ...

    def _publish(self) -> None:
        """Show what was decided to readers and watchers, and keep time for the leases in it."""
        shown = self._index.publish()
        self._watches.deliver(shown.batches)
        for lease in shown.granted:
            self._timers.start(lease.id, lease.ttl_seconds)
        for lease_id in shown.ended:
            self._timers.stop(lease_id)

    def _check_usable(self) -> None:
        if self._stopped is not None:
            raise StoreUnavailable(self._stopped.message, hint=self._stopped.hint)
