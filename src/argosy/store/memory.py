"""The reference store: the whole contract, in this process's memory, gone with it.

For tests, simulations and `argosy sim`. It takes its time from the event loop and nothing else: two runs of the same
calls on a virtual-time loop give the same revisions, lease ids and events. No call waits for anything, so a task that
calls it is not interrupted between a call and its answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

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
from argosy.store.watches import Watches, lost


class MemoryStore:
    """`store.base.Store` in memory."""

    def __init__(self) -> None:
        self._index = Index()
        self._watches = Watches(self._index)
        self._timers = LeaseTimers(self._expire)
        self._closed = False

    async def range(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        self._check_open()
        return self._index.range(start, end, revision=revision, limit=limit, keys_only=keys_only)

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        self._check_open()
        result = self._index.txn(compares, success, failure)
        self._publish()
        return result

    def watch(
        self, start: str, end: str | None = None, *, start_revision: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        self._check_open()
        return self._watches.watch(start, end, start_revision)

    async def grant(self, ttl_seconds: int) -> Lease:
        self._check_open()
        lease = self._index.grant(ttl_seconds)
        self._publish()
        self._timers.start(lease.id, lease.ttl_seconds)
        return lease

    async def keep_alive(self, lease_id: int) -> int:
        self._check_open()
        if not self._index.has_lease(lease_id):
            raise LeaseNotFound(f"lease {lease_id} has ended or never was")
        ttl_seconds = self._index.leases[lease_id]
        self._timers.renew(lease_id, ttl_seconds)
        return ttl_seconds

    async def revoke(self, lease_id: int) -> None:
        self._check_open()
        self._index.revoke(lease_id)
        self._timers.stop(lease_id)
        self._publish()

    async def compact(self, revision: int) -> None:
        self._check_open()
        self._index.compact(revision)

    async def status(self) -> StoreStatus:
        self._check_open()
        index = self._index
        return StoreStatus(index.revision, index.compacted_revision, index.keys, index.bytes_used)

    async def close(self) -> None:
        self._closed = True
        self._timers.stop_all()
        self._watches.end(lost("the store was closed"))

    def _publish(self) -> None:
        self._watches.deliver(self._index.publish().batches)

    def _expire(self, lease_id: int) -> None:
        self._index.revoke(lease_id)
        self._publish()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store was closed")
