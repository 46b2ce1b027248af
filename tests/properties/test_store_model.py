"""Both stores against a model so simple that it can be read: a list of whole maps, one for each revision.

Hypothesis makes up histories of transactions, leases, compactions and reopenings; every answer, every past revision and
every watch must be the same in all three.
"""

from __future__ import annotations

import asyncio
import operator
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from argosy.errors import ArgosyError, Invalid
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
    Store,
    Target,
    TxnResult,
    WatchBatch,
    WatchEvent,
)
from argosy.store.memory import MemoryStore
from argosy.store.sqlite import SqliteStore

T = TypeVar("T")

KEYS = ["a", "a/1", "a/2", "b", "b/é", "c"]
FIRST, LAST = "A", "z"


def covers(key: str, start: str, end: str | None) -> bool:
    return key == start if end is None else start <= key < end


class Model:
    """The contract, as plainly as it can be said."""

    def __init__(self) -> None:
        self.states: list[dict[str, KeyValue]] = [{}, {}]
        """The whole map at each revision; a new store is at 1."""
        self.events: list[list[WatchEvent]] = [[], []]
        self.compacted = 0
        self.leases: set[int] = set()
        self.granted = 0

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def range(self, start: str, end: str | None, revision: int) -> RangeResult:
        if revision > self.revision:
            raise FutureRevision("")
        if revision and revision < self.compacted:
            raise Compacted(revision, self.compacted)
        at = revision or self.revision
        return RangeResult(at, *self._found(self.states[at], start, end))

    def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]
    ) -> TxnResult:
        succeeded = all(self._holds(compare) for compare in compares)
        ops = success if succeeded else failure
        for op in ops:
            if isinstance(op, Put) and op.lease and op.lease not in self.leases:
                raise LeaseNotFound("")
        state, events = dict(self.states[-1]), list[WatchEvent]()
        responses: list[RangeResult | int] = []
        for op in ops:
            match op:
                case Put(key, value, lease):
                    self._put(state, events, key, value, lease)
                    responses.append(1)
                case Delete(start, end):
                    kvs, _, count = self._found(state, start, end)
                    for kv in kvs:
                        self._delete(state, events, kv.key)
                    responses.append(count)
                case Get(start, end):
                    at = self.revision + bool(events)
                    responses.append(RangeResult(at, *self._found(state, start, end)))
        self._conclude(state, events)
        return TxnResult(succeeded, self.revision, tuple(responses))

    def grant(self, ttl_seconds: int) -> Lease:
        self.granted += 1
        self.leases.add(self.granted)
        return Lease(self.granted, ttl_seconds)

    def revoke(self, lease_id: int) -> None:
        if lease_id not in self.leases:
            raise LeaseNotFound("")
        self.leases.discard(lease_id)
        state, events = dict(self.states[-1]), list[WatchEvent]()
        for key in sorted(state):
            if state[key].lease == lease_id:
                self._delete(state, events, key)
        self._conclude(state, events)

    def compact(self, revision: int) -> None:
        if revision <= self.compacted:
            raise Compacted(revision, self.compacted)
        if revision > self.revision:
            raise FutureRevision("")
        self.compacted = revision

    def batches(self, start: str, end: str | None, first: int) -> list[WatchBatch]:
        """What a watch from `first` tells."""
        if first < self.compacted:
            raise Compacted(first, self.compacted)
        batches = []
        for revision in range(first, self.revision + 1):
            events = tuple(
                event._replace(previous=None) if revision == self.compacted else event
                for event in self.events[revision]
                if covers(event.kv.key, start, end)
            )
            if events:
                batches.append(WatchBatch(revision, events))
        return batches

    def _holds(self, compare: Compare) -> bool:
        kv = self.states[-1].get(compare.key)
        compared = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt}
        if kv is None and compare.target is Target.VALUE:
            return False
        found = getattr(kv, compare.target) if kv else 0
        return bool(compared[compare.operator](found, compare.operand))

    def _found(
        self, state: dict[str, KeyValue], start: str, end: str | None
    ) -> tuple[tuple[KeyValue, ...], bool, int]:
        keys = [key for key in state if covers(key, start, end)]
        kvs = tuple(state[key] for key in sorted(keys, key=str.encode))
        return kvs, False, len(kvs)

    def _put(
        self,
        state: dict[str, KeyValue],
        events: list[WatchEvent],
        key: str,
        value: bytes,
        lease: int,
    ) -> None:
        old, at = state.get(key), self.revision + 1
        state[key] = KeyValue(
            key,
            value,
            create_revision=old.create_revision if old else at,
            mod_revision=at,
            version=old.version + 1 if old else 1,
            lease=lease,
        )
        events.append(WatchEvent(EventKind.PUT, state[key], old))

    def _delete(self, state: dict[str, KeyValue], events: list[WatchEvent], key: str) -> None:
        gone = KeyValue(key, b"", 0, self.revision + 1, 0)
        events.append(WatchEvent(EventKind.DELETE, gone, state.pop(key)))

    def _conclude(self, state: dict[str, KeyValue], events: list[WatchEvent]) -> None:
        if events:
            self.states.append(state)
            self.events.append(events)


keys = st.sampled_from(KEYS)
ends = st.none() | keys
values = st.sampled_from([b"", b"1", b"2", b"\0\xff"])
compares = st.one_of(
    st.builds(
        Compare,
        keys,
        st.sampled_from([target for target in Target if target is not Target.VALUE]),
        st.sampled_from(["=", "!=", "<", ">"]),
        st.integers(0, 6),
    ),
    st.builds(Compare, keys, st.just(Target.VALUE), st.sampled_from(["=", "!=", "<", ">"]), values),
)
operations = st.lists(
    st.one_of(
        st.builds(Put, keys, values, st.sampled_from([0, 0, 0, 1, 2, 3])),
        st.builds(Delete, keys, ends),
        st.builds(Get, keys, ends),
    ),
    max_size=4,
)


class Stores(RuleBasedStateMachine):
    """Does the same to the model, the memory store and the SQLite store."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="argosy-model-"))
        self.model = Model()
        self.memory = MemoryStore()
        self.sqlite = self.run(SqliteStore.open(self.directory / "state.db"))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def same(
        self, expected: Callable[[], T], call: Callable[[Store], Coroutine[Any, Any, T]]
    ) -> None:
        """All three give the same answer, or refuse for the same reason."""
        answers = [
            outcome(expected),
            outcome(lambda: self.run(call(self.memory))),
            outcome(lambda: self.run(call(self.sqlite))),
        ]
        if (
            answers[1] is Invalid
        ):  # what the model does not check: a key put twice in one transaction
            answers[0] = Invalid
        assert answers[0] == answers[1] == answers[2]

    @rule(compares=st.lists(compares, max_size=2), success=operations, failure=operations)
    def txn(self, compares: list[Compare], success: list[Op], failure: list[Op]) -> None:
        if valid(success) and valid(failure):
            self.same(
                lambda: self.model.txn(compares, success, failure),
                lambda store: store.txn(compares, success, failure),
            )
        else:
            for store in (self.memory, self.sqlite):
                with pytest.raises(Invalid):
                    self.run(store.txn(compares, success, failure))

    @rule(puts=st.lists(st.tuples(keys, values), min_size=2, max_size=6))
    def txns_at_the_same_time(self, puts: list[tuple[str, bytes]]) -> None:
        """In one group commit for SQLite, where each is decided on what those before it decided."""

        async def all_of_them(store: Store) -> list[TxnResult]:
            calls = [
                store.txn([Compare(key, Target.VERSION, "<", 3)], [Put(key, value)], [Delete(key)])
                for key, value in puts
            ]
            return await asyncio.gather(*calls)

        self.same(
            lambda: [
                self.model.txn(
                    [Compare(key, Target.VERSION, "<", 3)], [Put(key, value)], [Delete(key)]
                )
                for key, value in puts
            ],
            all_of_them,
        )

    @rule()
    def grant(self) -> None:
        self.same(lambda: self.model.grant(600), lambda store: store.grant(600))

    @rule(lease_id=st.integers(1, 3))
    def revoke(self, lease_id: int) -> None:
        self.same(lambda: self.model.revoke(lease_id), lambda store: store.revoke(lease_id))

    @rule(back=st.integers(-1, 6))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        self.same(lambda: self.model.compact(revision), lambda store: store.compact(revision))

    @rule(start=keys, end=ends, back=st.integers(-1, 8))
    def range(self, start: str, end: str | None, back: int) -> None:
        revision = max(0, self.model.revision - back)
        self.same(
            lambda: self.model.range(start, end, revision),
            lambda store: store.range(start, end, revision=revision),
        )

    @rule(start=keys, end=ends, back=st.integers(0, 8))
    def watch_the_past(self, start: str, end: str | None, back: int) -> None:
        first = max(2, self.model.revision - back)

        async def follow(store: Store) -> list[WatchBatch]:
            expected = self.model.batches(start, end, first)
            async with store.watch(start, end, start_revision=first) as watch:
                async with asyncio.timeout(1):
                    return [await anext(watch) for _ in expected]

        self.same(lambda: self.model.batches(start, end, first), follow)

    @precondition(lambda self: self.model.revision > 3)
    @rule()
    def reopen(self) -> None:
        self.run(self.sqlite.close())
        self.sqlite = self.run(SqliteStore.open(self.directory / "state.db"))

    @invariant()
    def everything_is_the_same(self) -> None:
        self.same(lambda: self.model.range(FIRST, LAST, 0), lambda store: store.range(FIRST, LAST))
        status, other = self.run(self.memory.status()), self.run(self.sqlite.status())
        expected = (self.model.revision, self.model.compacted, len(self.model.states[-1]))
        assert status[:3] == other[:3] == expected

    def teardown(self) -> None:
        self.run(self.memory.close())
        self.run(self.sqlite.close())
        self.loop.close()
        shutil.rmtree(self.directory)


def outcome(call: Callable[[], T]) -> T | type[ArgosyError]:
    try:
        return call()
    except ArgosyError as refusal:
        return type(refusal)


def valid(ops: Sequence[Op]) -> bool:
    """Whether every key is put once at most, and none put and deleted."""
    puts = [op.key for op in ops if isinstance(op, Put)]
    deleted = [
        key for op in ops if isinstance(op, Delete) for key in puts if covers(key, op.key, op.end)
    ]
    return len(puts) == len(set(puts)) and not deleted


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
