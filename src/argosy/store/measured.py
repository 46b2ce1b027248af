"""A store with a stopwatch: tells how long each operation took and how it ended, and changes nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

from argosy.store.base import (
    Compare,
    Lease,
    Op,
    RangeResult,
    Store,
    StoreStatus,
    TxnResult,
    WatchBatch,
)


class Observer(Protocol):
    """Told of each operation when it has ended, unless whoever wanted it gave up before.

    problem: name of the error's class; empty when there was none.
    """

    def __call__(self, operation: str, seconds: float, problem: str) -> None: ...


class MeasuredStore:
    """Implements `Store`."""

    def __init__(self, store: Store, observe: Observer) -> None:
        self._store = store
        self._observe = observe

    async def range(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        with self._measured("range"):
            return await self._store.range(
                start, end, revision=revision, limit=limit, keys_only=keys_only
            )

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        with self._measured("txn"):
            return await self._store.txn(compares, success, failure)

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        return self._store.watch(
            start, end, start_revision=start_revision, with_previous=with_previous
        )

    async def grant(self, ttl_seconds: int) -> Lease:
        with self._measured("grant"):
            return await self._store.grant(ttl_seconds)

    async def keep_alive(self, lease_id: int) -> int:
        with self._measured("keep_alive"):
            return await self._store.keep_alive(lease_id)

    async def revoke(self, lease_id: int) -> None:
        with self._measured("revoke"):
            await self._store.revoke(lease_id)

    async def compact(self, revision: int) -> None:
        with self._measured("compact"):
            await self._store.compact(revision)

    async def status(self) -> StoreStatus:
        with self._measured("status"):
            return await self._store.status()

    async def close(self) -> None:
        await self._store.close()

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self._observe(operation, time.monotonic() - began, type(error).__name__)
            raise
        self._observe(operation, time.monotonic() - began, "")
