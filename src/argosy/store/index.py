"""Every key with its history, in memory: what both local stores answer from, and where transactions are decided.

No I/O, no clock, no asyncio. `memory.py` publishes each change at once; `sqlite.py` first writes down what
`unpublished` shows and publishes after the commit. `watches.py` reads the log of batches.

What surprises: there are two newest revisions. `tip` is what the next transaction is decided on; `revision` is what readers
may see. Between the two lie changes that are decided but not durable yet, which `publish` shows and `rollback` undoes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter, eq, gt, lt, ne
from typing import Any, NamedTuple

from argosy.errors import Invalid, StoreRefused
from argosy.store.base import (
    Compacted,
    Compare,
    Delete,
    EventKind,
    FutureRevision,
    Get,
    KeyValue,
    Lease,
    LeaseNotFound,
    Op,
    Put,
    RangeResult,
    Target,
    TxnResult,
    WatchBatch,
    WatchEvent,
)
from argosy.store.sorted_keys import SortedKeys
from argosy.store.validation import check_range, check_ttl, check_txn

FIRST_REVISION = 1
"""The revision of a store that nobody has written to, as in etcd: so that 0 can mean "newest"."""

MAX_CHANGES = 1 << 20
"""Keys that one transaction can change: bounds a range deletion, and sqlite.py numbers changes within it."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "!=": ne, "<": lt, ">": gt}
_mod_revision = attrgetter("mod_revision")


class Unpublished(NamedTuple):
    """What was decided since the last publish, in order: what a durable store has to write down."""

    batches: tuple[WatchBatch, ...]
    granted: tuple[Lease, ...]
    ended: tuple[int, ...]


class Savepoint(NamedTuple):
    """A moment in the unpublished work that `rollback` can return to."""

    tip: int
    granted: int
    ended: int


class Index:
    """A store's whole content. Methods raise before they change anything, so a failed call leaves no trace."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        """What readers see."""
        self.tip = FIRST_REVISION
        """What the next transaction is decided on."""
        self.compacted_revision = 0
        self.last_lease = 0
        """Highest lease id given out so far; ids are never used twice."""
        self.leases: dict[int, int] = {}
        """TTL in seconds by id, of every lease that was granted and has not ended."""
        self.keys = 0
        """How many keys live at the tip."""
        self.bytes_used = 0
        """Size of their names' characters and values at the tip."""
        self._history: dict[str, list[KeyValue]] = {}
        """Each key's versions, oldest first. A deletion is a version with `version` 0."""
        self._sorted = SortedKeys()
        self._log: list[WatchBatch] = []
        """What happened at each revision, without gaps, up to the tip."""
        self._log_start = FIRST_REVISION + 1
        """The revision of the first entry."""
        self._attached: dict[int, set[str]] = {}
        """Keys by the lease they hang on."""
        self._granted: list[Lease] = []
        self._ended: list[int] = []

    @classmethod
    def restored(
        cls,
        changes: Iterable[KeyValue],
        *,
        compacted_revision: int,
        leases: dict[int, int],
        last_lease: int,
    ) -> tuple[Index, list[tuple[int, str]]]:
        """The index that a durable store wrote down, and the versions it need not keep any more (as `compact` names them).

        changes: every version kept, deletions with `version` 0, in the order in which they happened.
        Raises StoreRefused when a revision that should be there is missing, or a key hangs on a lease that is not.
        """
        self = cls()
        self.compacted_revision = compacted_revision
        self.leases, self.last_lease = leases, last_lease
        self._log_start = max(self._log_start, compacted_revision)
        for revision, versions in groupby(changes, key=_mod_revision):
            events = tuple(map(self._restore, versions))
            if revision < compacted_revision:
                continue
            if revision != self._log_start + len(self._log):
                raise StoreRefused(
                    f"revision {self._log_start + len(self._log)} is missing before revision {revision}"
                )
            batch = WatchBatch(revision, events)
            self._log.append(_without_previous(batch) if revision == compacted_revision else batch)
        self._sorted = SortedKeys(self._history)
        self.revision = self.tip = max(FIRST_REVISION, self._log_start + len(self._log) - 1)
        if self.revision < compacted_revision:
            raise StoreRefused(f"everything from revision {compacted_revision} on is missing")
        if unknown := {lease for lease, keys in self._attached.items() if keys} - set(leases):
            raise StoreRefused(f"keys hang on leases that are missing: {sorted(unknown)[:5]}")
        leftovers = [
            dropped
            for key in tuple(self._history)
            for dropped in self._forget(key, compacted_revision)
        ]
        return self, leftovers

    def _restore(self, kv: KeyValue) -> WatchEvent:
        versions = self._history.setdefault(kv.key, [])
        previous = versions[-1] if versions and versions[-1].version else None
        versions.append(kv)
        self._account(gone=previous, come=kv)
        return WatchEvent(EventKind.PUT if kv.version else EventKind.DELETE, kv, previous)

    # Reading

    def range(
        self, start: str, end: str | None, *, revision: int, limit: int, keys_only: bool
    ) -> RangeResult:
        """As `Store.range`: sees what is published."""
        check_range(start, end)
        if revision > self.revision:
            raise FutureRevision(
                f"revision {revision} was asked for, but the store is at {self.revision}"
            )
        if revision and revision < self.compacted_revision:
            raise Compacted(revision, self.compacted_revision)
        return self._range(
            start, end, at=revision or self.revision, limit=limit, keys_only=keys_only
        )

    def _range(
        self, start: str, end: str | None, *, at: int, limit: int = 0, keys_only: bool = False
    ) -> RangeResult:
        keys = [start] if end is None else self._sorted.between(start, end)
        kvs = [kv for key in keys if (kv := self._version(key, at)) is not None]
        total = len(kvs)
        if limit:
            del kvs[limit:]
        if keys_only:
            kvs = [kv._replace(value=b"") for kv in kvs]
        return RangeResult(at, tuple(kvs), more=len(kvs) < total, total=total)

    def _version(self, key: str, at: int) -> KeyValue | None:
        """The key as it was at a revision, or None when it did not exist."""
        versions = self._history.get(key)
        if not versions:
            return None
        kv = versions[-1]
        if kv.mod_revision > at:
            older = bisect_right(versions, at, key=_mod_revision)
            if not older:
                return None
            kv = versions[older - 1]
        return kv if kv.version else None

    def batches(
        self, start: str, end: str | None, *, first: int, last: int
    ) -> Iterator[WatchBatch]:
        """What happened to a range at the published revisions from `first` to `last`, both included.

        Raises Compacted when `first` is not kept any more.
        """
        if first < self.compacted_revision:
            raise Compacted(first, self.compacted_revision)
        last = min(last, self.revision)
        revisions: Iterable[int] = range(max(first, self._log_start), last + 1)
        if end is None:
            # One key's own history says at which revisions to look, however long the log is.
            versions = self._history.get(start, [])
            revisions = (
                kv.mod_revision
                for kv in versions[bisect_right(versions, first - 1, key=_mod_revision) :]
                if self._log_start <= kv.mod_revision <= last
            )
        for revision in revisions:
            batch = only(self._log[revision - self._log_start], start, end)
            if batch is not None:
                yield batch

    # Deciding

    def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]
    ) -> TxnResult:
        """As `Store.txn`, decided on the tip; the changes are unpublished."""
        check_txn(compares, success, failure)
        succeeded = all(map(self._holds, compares))
        ops = success if succeeded else failure
        for op in ops:
            if isinstance(op, Put) and op.lease and not self.has_lease(op.lease):
                raise LeaseNotFound(f"lease {op.lease} has ended; {op.key} was not written")
        events: list[WatchEvent] = []
        responses: list[RangeResult | int] = []
        for op in ops:
            match op:
                case Put():
                    events.append(self._put(op))
                    responses.append(1)
                case Get(key, end):
                    at = self.tip + 1 if events else self.tip
                    responses.append(self._range(key, end, at=at))
                case Delete(key, end):
                    deleted = self._delete(self._range(key, end, at=self.tip + 1).kvs)
                    events += deleted
                    responses.append(len(deleted))
        self._conclude(events)
        return TxnResult(succeeded, self.tip, tuple(responses))

    def grant(self, ttl_seconds: int) -> Lease:
        """As `Store.grant`; the lease can be used once it is published."""
        check_ttl(ttl_seconds)
        self.last_lease += 1
        lease = Lease(self.last_lease, ttl_seconds)
        self._granted.append(lease)
        return lease

    def revoke(self, lease_id: int) -> None:
        """As `Store.revoke`; from here on the lease counts as ended."""
        if not self.has_lease(lease_id):
            raise LeaseNotFound(f"lease {lease_id} has ended or never was")
        keys = sorted(self._attached.get(lease_id, ()))
        self._conclude(self._delete([self._history[key][-1] for key in keys]))
        self._ended.append(lease_id)

    def has_lease(self, lease_id: int) -> bool:
        return lease_id in self.leases and lease_id not in self._ended

    def _holds(self, compare: Compare) -> bool:
        kv = self._version(compare.key, self.tip)
        found: int | bytes
        match compare.target:
            case Target.VALUE:
                if kv is None:
                    return False
                found = kv.value
            case Target.VERSION:
                found = kv.version if kv else 0
            case Target.CREATE:
                found = kv.create_revision if kv else 0
            case Target.MOD:
                found = kv.mod_revision if kv else 0
            case Target.LEASE:
                found = kv.lease if kv else 0
        return _OPERATORS[compare.operator](found, compare.operand)

    def _put(self, put: Put) -> WatchEvent:
        revision = self.tip + 1
        previous = self._version(put.key, self.tip)
        created, version = (
            (previous.create_revision, previous.version + 1) if previous else (revision, 1)
        )
        kv = KeyValue(put.key, put.value, created, revision, version, put.lease)
        event = WatchEvent(EventKind.PUT, kv, previous)
        self._do(event)
        return event

    def _delete(self, kvs: Sequence[KeyValue]) -> list[WatchEvent]:
        events = [
            WatchEvent(EventKind.DELETE, KeyValue(kv.key, b"", 0, self.tip + 1, 0), kv)
            for kv in kvs
        ]
        for event in events:
            self._do(event)
        return events

    def _conclude(self, events: list[WatchEvent]) -> None:
        """Make the changes a revision; a transaction without changes takes none."""
        if len(events) > MAX_CHANGES:
            for event in reversed(events):
                self._undo(event)
            raise Invalid(f"one transaction cannot change more than {MAX_CHANGES} keys")
        if events:
            self.tip += 1
            self._log.append(WatchBatch(self.tip, tuple(events)))

    def _do(self, event: WatchEvent) -> None:
        key = event.kv.key
        versions = self._history.get(key)
        if versions is None:
            self._history[key] = [event.kv]
            self._sorted.add(key)
        else:
            versions.append(event.kv)
        self._account(gone=event.previous, come=event.kv)

    def _undo(self, event: WatchEvent) -> None:
        key = event.kv.key
        versions = self._history[key]
        versions.pop()
        if not versions:
            del self._history[key]
            self._sorted.remove(key)
        self._account(gone=event.kv, come=event.previous)

    def _account(self, *, gone: KeyValue | None, come: KeyValue | None) -> None:
        """Keep the counts and the keys of leases true while one version of a key takes another's place."""
        if gone is not None and gone.version:
            self.keys -= 1
            self.bytes_used -= len(gone.key) + len(gone.value)
            if gone.lease:
                self._attached[gone.lease].discard(gone.key)
        if come is not None and come.version:
            self.keys += 1
            self.bytes_used += len(come.key) + len(come.value)
            if come.lease:
                self._attached.setdefault(come.lease, set()).add(come.key)

    # Publishing

    def unpublished(self) -> Unpublished:
        batches = self._log[self.revision + 1 - self._log_start :]
        return Unpublished(tuple(batches), tuple(self._granted), tuple(self._ended))

    def publish(self) -> Unpublished:
        """Show readers what was decided; returns it. It cannot be taken back after that."""
        shown = self.unpublished()
        self.revision = self.tip
        self.leases.update(self._granted)
        for lease_id in self._ended:
            del self.leases[lease_id]
            self._attached.pop(lease_id, None)
        self._granted.clear()
        self._ended.clear()
        return shown

    def savepoint(self) -> Savepoint:
        return Savepoint(self.tip, len(self._granted), len(self._ended))

    def rollback(self, to: Savepoint | None = None) -> None:
        """Undo what was decided since the savepoint, or everything unpublished. Lease ids stay used."""
        to = to or Savepoint(self.revision, 0, 0)
        while self.tip > to.tip:
            for event in reversed(self._log.pop().events):
                self._undo(event)
            self.tip -= 1
        del self._granted[to.granted :]
        del self._ended[to.ended :]

    # Forgetting

    def compact(self, revision: int) -> list[tuple[int, str]]:
        """As `Store.compact`. Returns (revision, key) of every version that was forgotten.

        Each key keeps the version it had at `revision`, and the log keeps that revision's own changes, without what
        was there before them.
        """
        if revision <= self.compacted_revision:
            raise Compacted(revision, self.compacted_revision)
        if revision > self.revision:
            raise FutureRevision(
                f"cannot compact revision {revision}: the store is at {self.revision}"
            )
        past = self._log[: max(0, revision + 1 - self._log_start)]
        self.compacted_revision = revision
        if past:
            self._log[: len(past)] = [_without_previous(past[-1])]
            self._log_start = revision
        touched = {event.kv.key for batch in past for event in batch.events}
        return [dropped for key in sorted(touched) for dropped in self._forget(key, revision)]

    def _forget(self, key: str, revision: int) -> list[tuple[int, str]]:
        versions = self._history.get(key, [])
        keep_from = max(0, bisect_right(versions, revision, key=_mod_revision) - 1)
        if (
            versions
            and not versions[keep_from].version
            and versions[keep_from].mod_revision < revision
        ):
            keep_from += 1
        dropped = [(kv.mod_revision, key) for kv in versions[:keep_from]]
        del versions[:keep_from]
        if dropped and not versions:
            del self._history[key]
            self._sorted.remove(key)
        return dropped


def only(batch: WatchBatch, start: str, end: str | None) -> WatchBatch | None:
    """The part of a batch that concerns a range, or None. The batch itself when all of it does."""
    if end is None:
        events = tuple(event for event in batch.events if event.kv.key == start)
    else:
        events = tuple(event for event in batch.events if start <= event.kv.key < end)
    if len(events) == len(batch.events):
        return batch
    return WatchBatch(batch.revision, events) if events else None


def _without_previous(batch: WatchBatch) -> WatchBatch:
    return batch._replace(events=tuple(event._replace(previous=None) for event in batch.events))
