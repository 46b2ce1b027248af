"""The embedded store: one SQLite file, one server, as durable as the disk under it.

Transactions are decided on the event loop, in the order in which they came; whatever has come while one commit was being
written goes into the next (group commit). Only what is on disk is published: no reader, watcher or caller ever learns
something that a power cut could take back. The event loop never waits for the disk; one thread does.

What surprises: after a commit with an unknown outcome the store answers nothing any more, reads included, until it is
opened again. Only the file knows what happened, and a reader must not act on a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from argosy.errors import ArgosyError, Indeterminate, StoreFull, StoreRefused, StoreUnavailable
from argosy.store.base import EventKind, LeaseNotFound
from argosy.store.disk_thread import DiskThread
from argosy.store.index import Index, Savepoint, Unpublished
from argosy.store.local import LocalStore
from argosy.store.lock import StoreLock
from argosy.store.sqlite_file import StoreFile, Work, open_store
from argosy.store.watches import lost

T = TypeVar("T")

MAX_GROUP = 1000
"""Most transactions in one commit: bounds how long the first of them waits for the last."""
DROPS_PER_COMMIT = 2000
"""Most versions that one commit removes after a compaction, so that compaction holds up nobody for long."""
SPARED_BYTES = 4096
"""What a deletion may put beside it while the disk is full: the record of the event, say."""
RETRY_SECONDS = 1.0
"""When to try again to end a lease that could not be ended."""


class _Request(NamedTuple):
    decide: Callable[[], Any]
    answer: asyncio.Future[Any]


class _Outcome(NamedTuple):
    """What a request's answer will be once the commit it belongs to is durable."""

    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class SqliteStore(LocalStore):
    """`store.base.Store` on a file. Made by `open`; belongs to the event loop it was opened on."""

    def __init__(
        self,
        file: StoreFile,
        index: Index,
        lock: StoreLock,
        thread: DiskThread,
        *,
        dropped: list[tuple[int, str]],
    ) -> None:
        super().__init__(index)
        self._file = file
        self._lock = lock
        self._thread = thread
        self._requests: list[_Request] = []
        self._writer: asyncio.Task[None] | None = None
        self._dropped = dropped
        """Versions that the index forgot and the file still has."""
        self._full = False
        """The last commit found the disk full."""
        self._closed = False
        for lease_id, ttl_seconds in index.leases.items():
            self._timers.start(lease_id, ttl_seconds)

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open the store at `path`, or make a new one (mode 0600, its directory 0700) when there is nothing.

        Each lease in it starts its full TTL anew.
        Raises StoreRefused when the file is damaged, not ours, from a newer argosy, not writable, or in use (the message
        names the holder's process id); StoreFull when there is no space for a new one. The file is unchanged then.
        """
        thread = DiskThread()
        try:
            lock, file, index, dropped = await thread.run(partial(_open, path))
        except BaseException:
            thread.stop()
            raise
        return cls(file, index, lock, thread, dropped=dropped)

    async def compact(self, revision: int) -> None:
        """As the contract. Forgetting is immediate; the file follows in pieces, after a crash from where it stood."""
        self._check_usable()
        self._dropped += self._index.compact(revision)
        await self._carry_out(lambda: None)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._stopped is None:
            self._stopped = StoreUnavailable("the store was closed")
        if self._writer is not None:
            await asyncio.wait([self._writer])
        self._timers.stop_all()
        self._watches.end(lost("the store was closed"))
        await self._thread.run(self._file.close)
        self._thread.stop()
        self._lock.release()

    async def _carry_out(self, decide: Callable[[], T]) -> T:
        self._check_usable()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(_Request(decide, answer))
        return await answer

    def _ask(self, request: _Request) -> None:
        self._requests.append(request)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="store writer")

    async def _write(self) -> None:
        """Write down groups of requests until there are none."""
        may_drop = True
        while self._requests or (self._dropped and may_drop):
            group, self._requests = self._requests[:MAX_GROUP], self._requests[MAX_GROUP:]
            try:
                outcomes = await self._commit(group)
            except Exception as problem:
                outcomes = self._refuse(group, problem)
                may_drop = False  # it goes with the next request's commit, not round and round here
            else:
                self._publish()
            for outcome in outcomes:
                _give(outcome)

    def _refuse(self, group: Sequence[_Request], problem: Exception) -> list[_Outcome]:
        """Take back what was decided for a group whose commit failed."""
        self._index.rollback()
        refusal = problem if isinstance(problem, ArgosyError) else _fault(problem)
        if isinstance(refusal, Indeterminate):
            self._stop(refusal)
        return [_Outcome(request.answer, error=refusal) for request in group]

    async def _commit(self, group: Sequence[_Request]) -> list[_Outcome]:
        """Decide a group and make it durable; when the disk is full, only those that make room."""
        if self._full:
            self._full = not await self._thread.run(self._file.restore_reserve)
        if not self._full:
            outcomes = self._decide(group)
            try:
                await self._write_down()
                return outcomes
            except StoreFull:
                self._index.rollback()
                self._full = True
        outcomes = self._decide(group, refusing=True)
        await self._write_down()
        return outcomes

    def _decide(self, group: Sequence[_Request], *, refusing: bool = False) -> list[_Outcome]:
        """Decide each request on what those before it decided. refusing: undo those that need room on a full disk."""
        outcomes = []
        for request in group:
            if request.answer.done():  # its caller was cancelled while it waited
                continue
            before = self._index.savepoint()
            try:
                result = request.decide()
                if refusing and _needs_room(self._index.unpublished(), before):
                    raise StoreFull(
                        "no space left on the store's disk; nothing was written",
                        hint="make room on the disk, or delete something: argosy destroy NAME",
                    )
            except Exception as problem:
                self._index.rollback(before)
                outcomes.append(_Outcome(request.answer, error=problem))
            else:
                outcomes.append(_Outcome(request.answer, result))
        return outcomes

    async def _write_down(self) -> None:
        decided = self._index.unpublished()
        dropped = self._dropped[:DROPS_PER_COMMIT]
        compacted = self._index.compacted_revision
        if any(decided) or dropped or compacted != self._file.compacted_revision:
            work = Work(decided, dropped, compacted)
            await self._thread.run(partial(self._file.commit, work, sparing=self._full))
            del self._dropped[: len(dropped)]

    def _stop(self, problem: Indeterminate) -> None:
        """Nobody knows what the file holds now, so nobody gets an answer until it is opened again."""
        self._stopped = StoreUnavailable(
            f"the store stopped: {problem.message}",
            hint="restart the server: it then reads what the disk really holds",
        )
        self._timers.stop_all()
        self._watches.end(lost("the store stopped"))
        for request in self._requests:
            _give(_Outcome(request.answer, error=self._stopped))
        self._requests = []

    def _expire(self, lease_id: int) -> None:
        if self._stopped is not None:
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._expired, lease_id))
        self._ask(_Request(lambda: self._index.revoke(lease_id), answer))

    def _expired(self, lease_id: int, answer: asyncio.Future[None]) -> None:
        error = answer.exception()
        if error is not None and not isinstance(error, LeaseNotFound) and self._stopped is None:
            self._timers.start(lease_id, RETRY_SECONDS)

    def _bytes_used(self) -> int:
        return self._file.bytes_used()


def _open(path: Path) -> tuple[StoreLock, StoreFile, Index, list[tuple[int, str]]]:
    path = path.absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise StoreRefused(
            f"cannot make the store's directory {path.parent}: {problem.strerror}",
            hint=f"ls -ld {path.parent.parent}",
        ) from problem
    lock = StoreLock(path)
    try:
        return lock, *open_store(path)
    except BaseException:
        lock.release()
        raise


def _fault(problem: Exception) -> Indeterminate:
    """A fault of ours during a commit: nobody knows how far it got, so it counts as a broken disk."""
    refusal = Indeterminate(f"the store failed during a commit: {problem!r}")
    refusal.__cause__ = problem
    return refusal


def _needs_room(decided: Unpublished, since: Savepoint) -> bool:
    """Whether the last request, decided after `since`, is more than a deletion with a little beside it."""
    if len(decided.granted) > since.granted:
        return True
    changes = [
        event
        for batch in decided.batches[-1:]
        if batch.revision > since.tip
        for event in batch.events
    ]
    deletes = any(event.kind is EventKind.DELETE for event in changes)
    put_bytes = sum(
        len(event.kv.key) + len(event.kv.value) for event in changes if event.kv.version
    )
    return bool(changes) and (not deletes or put_bytes > SPARED_BYTES)


def _give(outcome: _Outcome) -> None:
    if outcome.answer.done():  # its caller was cancelled meanwhile
        return
    if outcome.error is None:
        outcome.answer.set_result(outcome.result)
    else:
        outcome.answer.set_exception(outcome.error)
