"""The reference store: the whole contract, in this process's memory, gone with it.

For tests, simulations and `argosy sim`. It takes its time from the event loop and nothing else: two runs of the same
calls on a virtual-time loop give the same revisions, lease ids and events. No call waits for anything, so a task that
calls it is not interrupted between a call and its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from argosy.errors import StoreUnavailable
from argosy.store.index import Index
from argosy.store.local import LocalStore
from argosy.store.watches import lost

T = TypeVar("T")


class MemoryStore(LocalStore):
    """`store.base.Store` in memory; a new one is empty."""

    def __init__(self) -> None:
        super().__init__(Index())

    async def compact(self, revision: int) -> None:
        self._check_usable()
        self._index.compact(revision)

    async def close(self) -> None:
        self._stopped = StoreUnavailable("the store was closed")
        self._timers.stop_all()
        self._watches.end(lost("the store was closed"))

    async def _carry_out(self, decide: Callable[[], T]) -> T:
        self._check_usable()
        result = decide()
        self._publish()
        return result

    def _expire(self, lease_id: int) -> None:
        self._index.revoke(lease_id)
        self._publish()

    def _bytes_used(self) -> int:
        return self._index.bytes_used
