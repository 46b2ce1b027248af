"""A whole cluster from one store into another: what is taken along, and how it arrives whole or not at all.

For moving between SQLite and etcd (`copy`) and, with a file in between, for backups (`backup.py`). What surprises: the new
store counts revisions anew, so an assignment in it may look older than one that a machine holds; a higher epoch says that
it is not. And whatever lives under a lease stays behind: its holder writes it again where it finds itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from argosy.errors import Conflict, Indeterminate, NotFound, StoreRefused
from argosy.model.cluster import Cluster
from argosy.store import keys
from argosy.store.base import (
    MAX_TXN_BYTES,
    MAX_TXN_OPS,
    Delete,
    KeyValue,
    Op,
    Put,
    Store,
    absent,
)
from argosy.store.codec import decode, encode

FIRST, LAST = "\x01", "\U0010ffff"
"""All keys that records have."""
HELD_UNDER_A_LEASE = (keys.PRESENCE, keys.LEADER, keys.SERVERS)
UNFINISHED = "unfinished-transfer"
"""Is in the target while records arrive: a server that opens it then finds records without a cluster, and this."""
PAGE = 1000
TXN_BYTES = MAX_TXN_BYTES // 4
"""Smaller transactions than possible: others want to write too, and progress is shown after each."""

Progress = Callable[[int, int], None]
"""Called with the number of records written, and of all."""


class Record(NamedTuple):
    key: str
    value: bytes


class Contents(NamedTuple):
    """A cluster's records as they were at one revision of a store."""

    cluster: Cluster
    revision: int
    records: tuple[Record, ...]
    """In order of their keys; without the cluster's own record, and without what is under a lease."""


def unheeded(done: int, total: int) -> None:
    """The progress that nobody looks at."""


async def copy(
    source: Store, target: Store, *, raise_epoch: bool, progress: Progress = unheeded
) -> Contents:
    """Everything of `source` at its newest revision into `target`, which has to be empty. Returns what was copied.

    What is written to `source` meanwhile is not copied: whoever moves a cluster sees to it that nobody writes, or compares
    `source`'s revision afterwards with the one returned.
    Raises NotFound (no cluster in the source), Conflict (the target is not empty), Compacted (the source was compacted
    beyond the revision being copied: do it again), and what stores raise. After an error the target is incomplete and
    no server takes it for a cluster, unless all that was lost is the answer to the last write.
    """
    contents = await read(source)
    if raise_epoch:
        contents = contents._replace(cluster=raised(contents.cluster, now=datetime.now(UTC)))
    await write(target, contents, progress=progress)
    return contents


def raised(cluster: Cluster, *, now: datetime) -> Cluster:
    """The same cluster in its next epoch.

    At least the seconds since 1970: two restores of one backup would otherwise give the same epoch to two different
    histories, and a machine that saw the first would not believe the second.
    """
    return msgspec.structs.replace(cluster, epoch=max(cluster.epoch + 1, int(now.timestamp())))


async def read(store: Store) -> Contents:
    """Raises NotFound when there is no cluster in the store, StoreRefused when it is an unfinished copy."""
    found = await store.range(keys.CLUSTER)
    if not found.kvs:
        raise NotFound("there is no cluster in this store", hint="is it the right one?")
    cluster = decode(found.kvs[0].value, Cluster)
    records = [
        Record(kv.key, kv.value) async for kv in _all(store, found.revision) if _is_taken_along(kv)
    ]
    if any(record.key == UNFINISHED for record in records):
        raise StoreRefused("this store is a copy that was not finished")
    return Contents(cluster, found.revision, tuple(records))


async def write(store: Store, contents: Contents, *, progress: Progress = unheeded) -> None:
    """Put everything into an empty store; the cluster's own record comes last. Errors as `copy`."""
    if (await store.range(FIRST, LAST, limit=1)).total:
        raise Conflict(
            "the store to copy into is not empty",
            hint="choose a new file or prefix, or delete what is there if it is left from a copy that failed",
        )
    total = len(contents.records)
    done = 0
    await _create(store, [Record(UNFINISHED, b"")])
    for records in _portions(contents.records):
        await _create(store, records)
        done += len(records)
        progress(done, total)
    cluster = Record(keys.CLUSTER, encode(contents.cluster))
    await _create(store, [cluster], and_delete=UNFINISHED)  # the step after which it is a cluster


async def _all(store: Store, revision: int) -> AsyncIterator[KeyValue]:
    start = FIRST
    while True:
        page = await store.range(start, LAST, revision=revision, limit=PAGE)
        for kv in page.kvs:
            yield kv
        if not page.more:
            return
        start = page.kvs[-1].key + "\0"


def _is_taken_along(kv: KeyValue) -> bool:
    return (
        not kv.lease
        and kv.key not in (keys.CLUSTER, keys.TICK)
        and not kv.key.startswith(HELD_UNDER_A_LEASE)
    )


def _portions(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records for one transaction each."""
    portion: list[Record] = []
    size = 0
    for record in records:
        weight = len(record.key.encode()) * 2 + len(record.value)  # each key is compared, too
        if portion and (len(portion) == MAX_TXN_OPS or size + weight > TXN_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(record)
        size += weight
    if portion:
        yield portion


async def _create(store: Store, records: list[Record], *, and_delete: str | None = None) -> None:
    """Write records that must not be there yet. May be sent again: what was done already cannot be done twice."""
    compares = [absent(record.key) for record in records]
    ops: list[Op] = [Put(record.key, record.value) for record in records]
    if and_delete is not None:
        ops.append(Delete(and_delete))
    is_repeated = False
    while True:
        try:
            created = (await store.txn(compares, ops)).succeeded
        except Indeterminate:
            is_repeated = True
            continue
        if not created and not (is_repeated and await _are_there(store, records)):
            raise Conflict("somebody else has written into the store that is copied into")
        return


async def _are_there(store: Store, records: list[Record]) -> bool:
    for record in records:
        found = (await store.range(record.key)).kvs
        if [kv.value for kv in found] != [record.value]:
            return False
    return True
