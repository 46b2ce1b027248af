"""etcd against the reference store: whatever Hypothesis makes up, every answer, every past and every watch is the same.

Only the revisions differ, by where the shared etcd stood when an example began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.errors import ArgosyError, Invalid
from argosy.store.base import (
    Compare,
    Delete,
    Get,
    KeyValue,
    Op,
    Put,
    RangeResult,
    Store,
    Target,
    TxnResult,
    WatchBatch,
)
from argosy.store.etcd.store import EtcdStore
from argosy.store.memory import MemoryStore
from contract.etcd_kit import EtcdCluster, etcd

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST, LAST = "A", "z"
KEYS = ["a", "a/1", "a/2", "b", "b/é", "c"]

keys = st.sampled_from(KEYS)
ends = st.none() | keys
values = st.sampled_from([b"", b"1", b"2", b"\0\xff"])
operators = st.sampled_from(["=", "!=", "<", ">"])
compares = st.one_of(
    st.builds(Compare, keys, st.just(Target.VERSION), operators, st.integers(0, 4)),
    st.builds(Compare, keys, st.just(Target.CREATE), st.sampled_from(["=", "!=", ">"]), st.just(0)),
    st.builds(Compare, keys, st.just(Target.VALUE), operators, values),
)
operations = st.lists(
    st.one_of(
        st.builds(Put, keys, values, st.just(0)),
        st.builds(Delete, keys, ends),
        st.builds(Get, keys, ends),
    ),
    max_size=4,
)
transactions = st.tuples(st.lists(compares, max_size=2), operations, operations)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd(tmp_path_factory.mktemp("etcd")) as started:
        yield started


def at(revision: int, shift: int) -> int:
    """0 stays 0: it stands for "never"."""
    return revision - shift if revision else 0


def shifted_kv(kv: KeyValue, shift: int) -> KeyValue:
    return kv._replace(
        create_revision=at(kv.create_revision, shift), mod_revision=at(kv.mod_revision, shift)
    )


def shifted_range(found: RangeResult, shift: int) -> RangeResult:
    kvs = tuple(shifted_kv(kv, shift) for kv in found.kvs)
    return found._replace(revision=at(found.revision, shift), kvs=kvs)


def shifted_txn(result: TxnResult, shift: int) -> TxnResult:
    responses = tuple(
        shifted_range(response, shift) if isinstance(response, RangeResult) else response
        for response in result.responses
    )
    return result._replace(revision=at(result.revision, shift), responses=responses)


def shifted_batch(batch: WatchBatch, shift: int) -> WatchBatch:
    events = tuple(
        event._replace(
            kv=shifted_kv(event.kv, shift),
            previous=shifted_kv(event.previous, shift) if event.previous else None,
        )
        for event in batch.events
    )
    return WatchBatch(at(batch.revision, shift), events)


async def attempt(
    store: Store, txn: tuple[list[Compare], list[Op], list[Op]], shift: int
) -> TxnResult | type[ArgosyError]:
    try:
        return shifted_txn(await store.txn(*txn), shift)
    except Invalid as refusal:
        return type(refusal)


async def told(
    store: Store, start: str, end: str | None, first: int, last: int
) -> list[WatchBatch]:
    """What a watch from `first` tells, up to the revision `last`, which it covers."""
    batches: list[WatchBatch] = []
    async with store.watch(start, end, start_revision=first) as watch:
        async with asyncio.timeout(10):
            async for batch in watch:
                if batch.revision == last:
                    return batches
                batches.append(batch)
    raise AssertionError


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(transactions, min_size=1, max_size=12), st.data())
async def test_etcd_answers_as_the_reference_does(
    cluster: EtcdCluster,
    history: list[tuple[list[Compare], list[Op], list[Op]]],
    data: st.DataObject,
) -> None:
    store, reference = await EtcdStore.connect(cluster.settings()), MemoryStore()
    try:
        await store.txn([], [Delete("\x01", "\U0010ffff")])
        emptied = await store.txn([], [Put("zero", b"")])
        await reference.txn([], [Put("zero", b"")])
        shift = emptied.revision - (await reference.status()).revision
        for txn in history:
            assert await attempt(store, txn, shift) == await attempt(reference, txn, 0)
        newest = (await reference.txn([], [Put("y", b"")])).revision
        assert (await store.txn([], [Put("y", b"")])).revision == newest + shift
        for revision in range(2, newest + 1):
            found = await store.range(FIRST, LAST, revision=revision + shift)
            assert shifted_range(found, shift) == await reference.range(
                FIRST, LAST, revision=revision
            )
        first = data.draw(st.integers(3, newest), label="first revision watched")
        batches = await told(store, FIRST, LAST, first + shift, newest + shift)
        assert [shifted_batch(batch, shift) for batch in batches] == await told(
            reference, FIRST, LAST, first, newest
        )
    finally:
        await store.close()
        await reference.close()
