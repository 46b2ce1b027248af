"""`store.base.Store` on etcd; promises and errors are documented there.

Reads are linearizable and asked of one member after the other until a deadline; writes are sent once. What etcd does not do
as the contract wants it is made up for here: a watch's first revision, the oldest revision that is kept, and compaction
that would swallow a deletion.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Self

from argosy.errors import Invalid, StoreRefused, StoreUnavailable
from argosy.settings import EtcdSettings
from argosy.store.base import (
    Compacted,
    Compare,
    EventKind,
    FutureRevision,
    Get,
    Lease,
    LeaseNotFound,
    Op,
    RangeResult,
    StoreStatus,
    TxnResult,
    WatchBatch,
    WatchLost,
)
from argosy.store.etcd import rpc_pb2 as pb
from argosy.store.etcd.health import EtcdMember, inspect, version_of
from argosy.store.etcd.leases import Renewals
from argosy.store.etcd.members import Members
from argosy.store.etcd.messages import Messages
from argosy.store.etcd.refusals import WasCompacted
from argosy.store.etcd.rpc import COMPACT, GRANT, RANGE, REVOKE, STATUS, TXN
from argosy.store.etcd.watches import Watches
from argosy.store.validation import check_range, check_ttl, check_txn

MAX_PREFIX_BYTES = 64
"""384 keys of a full transaction with their prefix still fit into etcd's --max-request-bytes."""
NEEDED_VERSION = (3, 4)
"""Watches with fragments and with ids of our choice."""
FIRST, LAST = "\x01", "\U0010ffff"
"""All keys that records have."""
LOOK_BACK = 64
"""How many revisions are looked through first for one at which it is safe to compact."""


class EtcdStore:
    """The store of a cluster, under a prefix of an etcd."""

    def __init__(self, settings: EtcdSettings) -> None:
        """Raises Invalid for settings that cannot be right. `connect` is the way to one that is known to answer."""
        if not settings.prefix or len(settings.prefix.encode()) > MAX_PREFIX_BYTES:
            raise Invalid(f"the prefix in etcd has 1 to {MAX_PREFIX_BYTES} bytes")
        self._members = Members(settings)
        self._messages = Messages(settings.prefix)
        self._watches = Watches(self._members, self._messages)
        self._renewals = Renewals(self._members)
        self._compacted_revision = 0
        """Up to where etcd was compacted when we last looked: never too high."""
        self._accepted = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_closed = False

    @classmethod
    async def connect(cls, settings: EtcdSettings) -> Self:
        """A store whose etcd has answered.

        Raises Invalid (settings), StoreUnavailable (no member answers), StoreRefused (no trust, too old, not etcd),
        Unauthenticated, NotAllowed.
        """
        store = cls(settings)
        try:
            await store._greet()
        except BaseException:
            await store.close()
            raise
        return store

    async def range(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        with self._accept():
            check_range(start, end)
            request = self._messages.range_request(
                start, end, revision=revision, limit=limit, keys_only=keys_only
            )
            answer = await self._range(request)
            return self._messages.range_result(answer, revision=revision)

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        with self._accept():
            check_txn(compares, success, failure)
            request = self._messages.txn_request(compares, success, failure)
            reads_only = all(isinstance(op, Get) for op in (*success, *failure))
            answer = await self._members.ask(TXN, request, may_repeat=reads_only)
            return self._messages.txn_result(answer)

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        self._check_usable()
        return self._watch(start, end, start_revision, with_previous=with_previous)

    async def grant(self, ttl_seconds: int) -> Lease:
        """Etcd lengthens a TTL that is shorter than one and a half election timeouts (2 s by default).

        A grant without an answer is repeated: the lease that nobody knows of runs out by itself.
        """
        with self._accept():
            check_ttl(ttl_seconds)
            request = pb.LeaseGrantRequest(TTL=ttl_seconds)
            answer = await self._members.ask(GRANT, request, may_repeat=True)
            return Lease(answer.ID, answer.TTL)

    async def keep_alive(self, lease_id: int) -> int:
        with self._accept():
            ttl_seconds = await self._renewals.renew(lease_id)
            if ttl_seconds <= 0:
                raise LeaseNotFound(f"lease {lease_id} has ended or never was")
            return ttl_seconds

    async def revoke(self, lease_id: int) -> None:
        with self._accept():
            await self._members.ask(REVOKE, pb.LeaseRevokeRequest(ID=lease_id), may_repeat=False)

    async def compact(self, revision: int) -> None:
        """Never beyond `revision`, and maybe a little less: to the last revision before it at which nothing was deleted.

        etcd before 3.5.16 drops the deletions *at* the revision to which it is compacted, so that a watch from there
        would never hear of them (etcd-io/etcd #18089; 3.4.23 does it in our tests).
        """
        with self._accept():
            if revision <= await self._find_compacted_revision():
                raise Compacted(revision, self._compacted_revision)
            if revision > (await self._count()).header.revision:
                raise FutureRevision(f"revision {revision} is newer than the store")
            safe = await self._without_deletion(revision)
            if safe > self._compacted_revision:
                try:
                    request = pb.CompactionRequest(revision=safe)
                    await self._members.ask(COMPACT, request, may_repeat=False)
                except WasCompacted as problem:
                    raise await self._compacted(revision) from problem
                self._compacted_revision = max(self._compacted_revision, safe)

    async def status(self) -> StoreStatus:
        """`bytes_used`: what is in use of the database of the member that answers, other prefixes included."""
        with self._accept():
            counted = await self._count()
            answer = await self._members.ask(STATUS, pb.StatusRequest(), may_repeat=True)
            return StoreStatus(
                counted.header.revision,
                await self._find_compacted_revision(),
                counted.count,
                answer.dbSizeInUse,
            )

    async def members(self) -> tuple[EtcdMember, ...]:
        """Each endpoint's health. Raises nothing for a member that is not well: that is what it tells."""
        with self._accept():
            return await inspect(self._members, self._messages.key("cluster"))

    async def close(self) -> None:
        """Waits for what was accepted, at most as long as a request may take."""
        self._is_closed = True
        try:
            async with asyncio.timeout(self._members.request_timeout):
                await self._is_idle.wait()
        except TimeoutError:
            pass
        await self._watches.close(
            WatchLost("the store was closed", hint="watch again from the last revision + 1")
        )
        await self._renewals.close()
        await self._members.close()

    async def _greet(self) -> None:
        await self._count()
        status = await self._members.ask(STATUS, pb.StatusRequest(), may_repeat=True)
        if version_of(status.version) < NEEDED_VERSION:
            raise StoreRefused(
                f"etcd {status.version} is too old", hint="3.4.22 or newer is needed"
            )

    @asynccontextmanager
    async def _watch(
        self, start: str, end: str | None, start_revision: int, *, with_previous: bool
    ) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        with self._accept():
            check_range(start, end)
            first = await self._first_revision(start_revision)
        with self._watches.watcher(start, end, first, with_previous=with_previous) as watcher:
            yield watcher

    async def _first_revision(self, start_revision: int) -> int:
        """Where a watch begins. Asked of the store, not left to the member that will serve the watch: that one may be
        behind, and would tell again what was there before. Nothing is missed from here on, whenever etcd registers it.
        """
        # One key is enough to learn of the revision; counting them all would take etcd a millisecond for each thousand.
        request = self._messages.range_request(
            FIRST, None, revision=start_revision, count_only=True
        )
        try:
            answer = await self._range(request)
        except FutureRevision:
            return start_revision
        return start_revision or answer.header.revision + 1

    async def _count(self, *, revision: int = 0) -> pb.RangeResponse:
        request = self._messages.range_request(FIRST, LAST, revision=revision, count_only=True)
        return await self._range(request)

    async def _range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        try:
            return await self._members.ask(RANGE, request, may_repeat=True)
        except WasCompacted as problem:
            raise await self._compacted(request.revision) from problem

    async def _compacted(self, asked: int) -> Compacted:
        return Compacted(asked, await self._find_compacted_revision())

    async def _find_compacted_revision(self) -> int:
        """Etcd tells it only to a watch that asks for too much. One read says whether what we knew still holds."""
        known = self._compacted_revision
        request = self._messages.range_request(FIRST, None, revision=max(known, 1), count_only=True)
        try:
            await self._members.ask(RANGE, request, may_repeat=True)
        except WasCompacted:
            with self._watches.watcher(FIRST, LAST, 1) as watcher:
                try:
                    async with asyncio.timeout(self._members.request_timeout):
                        await anext(watcher)
                except Compacted as told:
                    self._compacted_revision = max(known, told.compacted_revision)
                except TimeoutError as problem:
                    raise StoreUnavailable(
                        "etcd does not say up to where it is compacted"
                    ) from problem
        return self._compacted_revision

    async def _without_deletion(self, revision: int) -> int:
        """The last revision up to this one at which something of ours was written and nothing deleted; 0: none."""
        # A stream of its own: etcd will send all that happened since, and nobody who follows the store must wait behind it.
        aside = Watches(self._members, self._messages)
        try:
            return await self._search_back(aside, revision)
        finally:
            await aside.close(WatchLost("nobody reads it any more"))

    async def _search_back(self, watches: Watches, revision: int) -> int:
        back = LOOK_BACK
        while True:
            first = max(revision - back, self._compacted_revision + 1)
            found = 0
            with watches.watcher(FIRST, LAST, first, with_previous=False) as watcher:
                try:
                    async with asyncio.timeout(self._members.attempt_timeout):
                        async for batch in watcher:
                            if batch.revision > revision:
                                break
                            if all(event.kind is EventKind.PUT for event in batch.events):
                                found = batch.revision
                            if batch.revision == revision:
                                break
                except TimeoutError:
                    pass  # the last revisions are of other prefixes: nothing of ours is left to come
            if found or first == self._compacted_revision + 1:
                return found
            back *= 8

    @contextmanager
    def _accept(self) -> Iterator[None]:
        """`close` waits for what is inside."""
        self._check_usable()
        self._accepted += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._accepted -= 1
            if not self._accepted:
                self._is_idle.set()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the store was closed")
