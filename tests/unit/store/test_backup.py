"""A backup is one file that comes back exactly, or is refused before anything is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import Conflict, NotFound, StoreRefused
from argosy.model.cluster import Cluster
from argosy.store import keys
from argosy.store.backup import read_backup, restore_backup, write_backup
from argosy.store.base import Put, Store
from argosy.store.codec import decode, encode
from argosy.store.memory import MemoryStore

CLUSTER = Cluster(id="ab" * 16, epoch=3, created_at=datetime(2026, 11, 25, tzinfo=UTC))
RECORDS = {"events/1": b"{}", "units/é\n.service": b"\0\xff", "units/web.service": b"text"}


async def filled() -> MemoryStore:
    store = MemoryStore()
    puts = [Put(key, value) for key, value in RECORDS.items()]
    await store.txn([], [Put(keys.CLUSTER, encode(CLUSTER)), *puts])
    lease = await store.grant(60)
    await store.txn([], [Put(keys.LEADER, b"s1", lease.id)])
    return store


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    path = tmp_path / "argosy.backup"
    await write_backup(await filled(), path)
    return path


async def contents(store: Store) -> dict[str, bytes]:
    return {kv.key: kv.value for kv in (await store.range("\x01", "\U0010ffff")).kvs}


async def test_what_was_saved_comes_back_in_a_later_epoch(backup: Path) -> None:
    store = MemoryStore()
    cluster = await restore_backup(backup, store)
    found = await contents(store)
    assert decode(found.pop(keys.CLUSTER), Cluster) == cluster
    assert found == RECORDS
    assert (cluster.id, cluster.created_at) == (CLUSTER.id, CLUSTER.created_at)
    assert cluster.epoch > CLUSTER.epoch
    assert cluster.restored == cluster.epoch


async def test_the_file_says_what_it_is_and_is_for_its_owner_alone(backup: Path) -> None:
    header, *lines = backup.read_text().splitlines()
    told = json.loads(header)
    assert (told["format"], told["version"], told["revision"]) == ("argosy backup", 1, 3)
    assert [json.loads(line)["key"] for line in lines[:-1]] == sorted(RECORDS)
    assert json.loads(lines[-1])["records"] == len(RECORDS)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in backup.parent.iterdir()] == [backup.name]


async def test_every_truncation_is_refused_and_writes_nothing(backup: Path) -> None:
    whole = backup.read_bytes()
    store = MemoryStore()
    for length in range(len(whole)):
        backup.write_bytes(whole[:length])
        with pytest.raises(StoreRefused, match="not a sound backup"):
            await restore_backup(backup, store)
    assert await contents(store) == {}


async def test_every_changed_byte_is_refused(backup: Path) -> None:
    whole = bytearray(backup.read_bytes())
    for position in range(len(whole)):
        altered = whole.copy()
        altered[position] ^= 1
        backup.write_bytes(altered)
        with pytest.raises(StoreRefused):
            read_backup(backup)


@pytest.mark.parametrize("position", [0, 1, 2, -1])
async def test_lines_that_are_missing_doubled_or_swapped_are_refused(
    backup: Path, position: int
) -> None:
    lines = backup.read_bytes().splitlines(keepends=True)
    missing = lines[:position] + lines[position:][1:]
    doubled = [*lines[:position], lines[position], *lines[position:]]
    swapped = [lines[position], *lines[:position], *lines[position:][1:]]
    for wrong in (missing, doubled, swapped):
        if wrong != lines:
            backup.write_bytes(b"".join(wrong))
            with pytest.raises(StoreRefused):
                read_backup(backup)


async def test_the_damaged_record_is_named(backup: Path) -> None:
    lines = backup.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"dGV4dA=="', '"dGV4dQ=="')
    backup.write_text("".join(lines))
    with pytest.raises(StoreRefused, match=r"line 3 \(units/web.service\) was altered"):
        read_backup(backup)


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_other_file_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with pytest.raises(StoreRefused):
        read_backup(path)


async def test_a_backup_is_not_restored_over_records(backup: Path) -> None:
    store = await filled()
    before = await contents(store)
    with pytest.raises(Conflict):
        await restore_backup(backup, store)
    assert await contents(store) == before


async def test_links_are_followed_neither_to_read_nor_to_write(
    backup: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(backup)
    with pytest.raises(OSError):
        read_backup(link)
    before = backup.read_bytes()
    store = await filled()
    await store.txn([], [Put("units/more", b"")])
    await write_backup(store, link)
    assert not link.is_symlink() and backup.read_bytes() == before


async def test_a_backup_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    backup: Path,
) -> None:
    before = backup.read_bytes()
    with pytest.raises(NotFound):
        await write_backup(MemoryStore(), backup)
    with pytest.raises(OSError):
        await write_backup(await filled(), backup.parent / "no-such-directory" / "file")
    assert backup.read_bytes() == before
    assert [path.name for path in backup.parent.iterdir()] == [backup.name]
