"""Ranges, transactions and compaction, as `store/base.py` promises them."""

from __future__ import annotations

import asyncio

import pytest

from argosy.errors import Invalid, StoreUnavailable
from argosy.store.base import (
    MAX_KEY_BYTES,
    MAX_TXN_OPS,
    MAX_VALUE_BYTES,
    Compacted,
    Compare,
    Delete,
    FutureRevision,
    Get,
    KeyValue,
    LeaseNotFound,
    Op,
    Put,
    RangeResult,
    Store,
    Target,
    absent,
    prefix_end,
    unchanged,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def put(store: Store, key: str, value: bytes = b"") -> int:
    """The revision at which it was written."""
    return (await store.txn([], [Put(key, value)])).revision


async def keys(store: Store, start: str, end: str, *, revision: int = 0) -> list[str]:
    return [kv.key for kv in (await store.range(start, end, revision=revision)).kvs]


async def one(store: Store, key: str, *, revision: int = 0) -> KeyValue | None:
    found = await store.range(key, revision=revision)
    return found.kvs[0] if found.kvs else None


# Ranges


async def test_an_absent_key_is_an_empty_answer(store: Store) -> None:
    found = await store.range("nobody")
    assert found.kvs == () and found.total == 0 and not found.more


async def test_a_key_knows_when_it_was_made_and_changed_and_how_often(store: Store) -> None:
    first = await put(store, "a", b"1")
    await put(store, "b")
    second = await put(store, "a", b"2")
    assert await one(store, "a") == KeyValue("a", b"2", first, second, 2)


async def test_a_key_made_anew_starts_over(store: Store) -> None:
    await put(store, "a")
    await store.txn([], [Delete("a")])
    again = await put(store, "a", b"x")
    assert await one(store, "a") == KeyValue("a", b"x", again, again, 1)


async def test_a_range_is_sorted_by_the_bytes_of_its_keys_and_excludes_its_end(
    store: Store,
) -> None:
    for key in ("b", "a", "é", "a/1", "z", "𝄞", "\uffff", "Z"):
        await put(store, key)
    assert await keys(store, "Z", "\U0010ffff") == ["Z", "a", "a/1", "b", "z", "é", "\uffff", "𝄞"]
    assert await keys(store, "a", "b") == ["a", "a/1"]
    assert await keys(store, "b", "a") == []


async def test_a_prefix_covers_its_keys_and_no_others(store: Store) -> None:
    for key in ("units", "units/", "units/a", "units/zz/b", "units0", "unit"):
        await put(store, key)
    assert await keys(store, "units/", prefix_end("units/")) == ["units/", "units/a", "units/zz/b"]


@pytest.mark.parametrize("prefix", ["\ud7ff", "a\U0010ffff", "ÿ"])
async def test_a_prefix_may_end_in_any_character(store: Store, prefix: str) -> None:
    for key in (prefix, prefix + "x", prefix + "\U0010ffff", prefix[:-1] + "\ue000", "b"):
        await put(store, key)
    found = await keys(store, prefix, prefix_end(prefix))
    assert [prefix, prefix + "x", prefix + "\U0010ffff"] == [key for key in found if prefix in key]
    assert all(key.startswith(prefix) for key in found)


async def test_limit_leaves_the_rest_out_and_says_how_many_there_are(store: Store) -> None:
    for key in "abcde":
        await put(store, key, b"v")
    found = await store.range("a", "e", limit=2, keys_only=True)
    assert [(kv.key, kv.value) for kv in found.kvs] == [("a", b""), ("b", b"")]
    assert found.more and found.total == 4
    assert not (await store.range("a", "e", limit=4)).more


async def test_the_past_stays_readable_at_its_revision(store: Store) -> None:
    first = await put(store, "a", b"1")
    await put(store, "a", b"2")
    gone = (await store.txn([], [Delete("a"), Put("b", b"")])).revision
    assert (await one(store, "a", revision=first)) == KeyValue("a", b"1", first, first, 1)
    assert (await store.range("a", revision=first)).revision == first
    assert await keys(store, "a", "c", revision=gone - 1) == ["a"]
    assert await keys(store, "a", "c", revision=gone) == ["b"]
    assert await keys(store, "a", "c") == ["b"]


async def test_a_revision_from_the_future_is_refused(store: Store) -> None:
    revision = await put(store, "a")
    with pytest.raises(FutureRevision):
        await store.range("a", revision=revision + 1)


# Transactions


async def test_one_transaction_is_one_revision(store: Store) -> None:
    before = await put(store, "old")
    result = await store.txn([], [Put("a", b"1"), Put("b", b"2"), Delete("old")])
    assert result.succeeded and result.revision == before + 1 and result.responses == (1, 1, 1)
    found = await store.range("a", "z")
    assert {kv.mod_revision for kv in found.kvs} == {before + 1}


async def test_a_transaction_that_changes_nothing_takes_no_revision(store: Store) -> None:
    before = await put(store, "a")
    result = await store.txn([], [Get("a"), Delete("nobody"), Delete("x", "z")])
    assert result.revision == before and result.responses[1:] == (0, 0)
    assert (await store.status()).revision == before


async def test_a_failed_compare_is_an_answer_and_the_other_branch(store: Store) -> None:
    await put(store, "a", b"mine")
    result = await store.txn([absent("a")], [Put("a", b"yours")], [Get("a"), Put("lost", b"")])
    assert not result.succeeded
    answer = result.responses[0]
    assert isinstance(answer, RangeResult) and answer.kvs[0].value == b"mine"
    assert await one(store, "lost") is not None


async def test_unchanged_holds_until_somebody_writes(store: Store) -> None:
    await put(store, "a", b"1")
    seen = await one(store, "a")
    assert seen is not None
    assert (await store.txn([unchanged(seen)], [Put("a", b"2")])).succeeded
    assert not (await store.txn([unchanged(seen)], [Put("a", b"3")])).succeeded
    await store.txn([], [Delete("a")])
    assert not (await store.txn([unchanged(seen)], [])).succeeded


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare("a", Target.VALUE, "=", b"m"), True),
        (Compare("a", Target.VALUE, "!=", b"m"), False),
        (Compare("a", Target.VALUE, "<", b"n"), True),
        (Compare("a", Target.VALUE, ">", b"m"), False),
        (Compare("a", Target.VERSION, "=", 2), True),
        (Compare("a", Target.VERSION, ">", 1), True),
        (Compare("a", Target.VERSION, "<", 2), False),
        (Compare("a", Target.CREATE, ">", 0), True),
        (Compare("a", Target.MOD, "!=", 0), True),
        (Compare("a", Target.LEASE, "=", 0), True),
        (Compare("nobody", Target.VERSION, "=", 0), True),
        (Compare("nobody", Target.MOD, "<", 1), True),
        (Compare("nobody", Target.LEASE, "=", 0), True),
        (Compare("nobody", Target.VALUE, "=", b""), False),
        (Compare("nobody", Target.VALUE, "!=", b"m"), False),
    ],
    ids=lambda value: (
        f"{value.key}-{value.target}{value.operator}{value.operand!r}"
        if isinstance(value, Compare)
        else str(value)
    ),
)
async def test_each_compare(store: Store, compare: Compare, *, holds: bool) -> None:
    await put(store, "a", b"l")
    await put(store, "a", b"m")
    assert (await store.txn([compare], [])).succeeded is holds


async def test_all_compares_must_hold(store: Store) -> None:
    await put(store, "a")
    assert not (await store.txn([absent("b"), absent("a")], [])).succeeded


async def test_a_get_sees_the_operations_before_it_and_not_those_after(store: Store) -> None:
    await put(store, "a", b"old")
    ops: list[Op] = [Get("a"), Put("a", b"new"), Get("a", "c"), Put("b", b"")]
    result = await store.txn([], ops)
    first, _, second, _ = result.responses
    assert isinstance(first, RangeResult) and isinstance(second, RangeResult)
    assert first.kvs[0].value == b"old"
    assert [(kv.key, kv.value, kv.version) for kv in second.kvs] == [("a", b"new", 2)]


async def test_a_range_is_deleted_whole_and_counted(store: Store) -> None:
    for key in ("a/1", "a/2", "a/3", "b"):
        await put(store, key)
    result = await store.txn([], [Delete("a/", "a0"), Get("a", "c")])
    answer = result.responses[1]
    assert result.responses[0] == 3
    assert isinstance(answer, RangeResult) and [kv.key for kv in answer.kvs] == ["b"]


async def test_only_one_of_many_may_create_a_key(store: Store) -> None:
    tries = [store.txn([absent("leader")], [Put("leader", b"%d" % i)]) for i in range(50)]
    results = await asyncio.gather(*tries)
    winners = [i for i, result in enumerate(results) if result.succeeded]
    assert len(winners) == 1
    assert (await store.range("leader")).kvs[0].value == b"%d" % winners[0]


async def test_increments_from_many_tasks_all_count(store: Store) -> None:
    await put(store, "counter", b"0")

    async def increment() -> None:
        while True:
            kv = (await store.range("counter")).kvs[0]
            value = b"%d" % (int(kv.value) + 1)
            if (await store.txn([unchanged(kv)], [Put("counter", value)])).succeeded:
                return

    await asyncio.gather(*(increment() for _ in range(25)))
    final = await one(store, "counter")
    assert final is not None and final.value == b"25" and final.version == 26


async def test_a_write_is_seen_by_every_read_after_its_answer(store: Store) -> None:
    async def write_and_read(key: str) -> bool:
        await put(store, key)
        return await one(store, key) is not None

    assert all(await asyncio.gather(*(write_and_read(f"k{i}") for i in range(100))))


WRONG: dict[str, list[Op]] = {
    "empty key": [Put("", b"")],
    "empty key of a range": [Delete("", "b")],
    "key too long": [Put("k" * (MAX_KEY_BYTES + 1), b"")],
    "key too long in bytes": [Get("é" * (MAX_KEY_BYTES // 2 + 1))],
    "key that is no UTF-8": [Put("\ud800", b"")],
    "value too long": [Put("a", b"x" * (MAX_VALUE_BYTES + 1))],
    "values too long together": [Put("a", b"x" * 800_000), Put("b", b"x" * 800_000)],
    "too many operations": [Put(f"k{i}", b"") for i in range(MAX_TXN_OPS + 1)],
    "put twice": [Put("a", b"1"), Put("a", b"2")],
    "put and deleted": [Put("a", b"1"), Delete("a")],
    "put and deleted with a range": [Delete("a", "z"), Put("b", b"1")],
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_transaction_is_refused_in_either_branch_and_writes_nothing(
    store: Store, wrong: str
) -> None:
    before = (await store.status()).revision
    with pytest.raises(Invalid):
        await store.txn([], [Put("written", b""), *WRONG[wrong]][-MAX_TXN_OPS - 1 :])
    with pytest.raises(Invalid):
        await store.txn([], [Put("written", b"")], WRONG[wrong])
    assert (await store.status()).revision == before and await one(store, "written") is None


async def test_the_largest_key_value_and_transaction_are_accepted(store: Store) -> None:
    await put(store, "k" * MAX_KEY_BYTES, b"x" * MAX_VALUE_BYTES)
    await store.txn([], [Put(f"k{i:03}", b"v") for i in range(MAX_TXN_OPS)])
    assert (await store.status()).keys == MAX_TXN_OPS + 1
    found = await one(store, "k" * MAX_KEY_BYTES)
    assert found is not None and len(found.value) == MAX_VALUE_BYTES


async def test_odd_keys_and_values_come_back_as_they_were(store: Store) -> None:
    for key in ("a\0b", "a", "line\nbreak", "-dash", "../up", "é", "e\u0301"):
        await put(store, key, key.encode() + b"\0\xff")
    for key in ("a\0b", "a", "line\nbreak", "-dash", "../up", "é", "e\u0301"):
        found = await one(store, key)
        assert found is not None and found.value == key.encode() + b"\0\xff"


async def test_a_put_that_names_no_lease_is_refused_whole(store: Store) -> None:
    with pytest.raises(LeaseNotFound):
        await store.txn([], [Put("a", b""), Put("b", b"", lease=123456)])
    assert await one(store, "a") is None
    await store.txn([], [Put("c", b"")], [Put("d", b"", lease=123456)])


# Compaction


async def test_compaction_forgets_the_past_and_keeps_the_present(store: Store) -> None:
    await put(store, "a", b"1")
    await put(store, "gone")
    await store.txn([], [Delete("gone")])
    kept = await put(store, "a", b"2")
    newer = await put(store, "a", b"3")
    await store.compact(kept)
    with pytest.raises(Compacted) as refusal:
        await store.range("a", revision=kept - 1)
    assert refusal.value.compacted_revision == kept
    at_kept, at_newer = await one(store, "a", revision=kept), await one(store, "a")
    assert at_kept is not None and (at_kept.value, at_kept.version) == (b"2", 2)
    assert at_newer is not None and (at_newer.value, at_newer.mod_revision) == (b"3", newer)
    assert await keys(store, "a", "z", revision=kept) == ["a"]
    status = await store.status()
    assert (status.revision, status.compacted_revision, status.keys) == (newer, kept, 1)


async def test_compacting_again_or_ahead_is_refused(store: Store) -> None:
    await put(store, "a")
    revision = await put(store, "a")
    await store.compact(revision)
    with pytest.raises(Compacted):
        await store.compact(revision)
    with pytest.raises(Compacted):
        await store.compact(revision - 1)
    with pytest.raises(FutureRevision):
        await store.compact(revision + 1)


async def test_a_key_lives_on_unchanged_through_many_compactions(store: Store) -> None:
    first = await put(store, "old", b"x")
    for i in range(20):
        revision = await put(store, "busy", b"%d" % i)
        await store.compact(revision)
    assert await one(store, "old") == KeyValue("old", b"x", first, first, 1)
    busy = await one(store, "busy")
    assert busy is not None and busy.version == 20


# The end


async def test_a_closed_store_refuses_and_closing_twice_is_fine(store: Store) -> None:
    await put(store, "a")
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.range("a")
    with pytest.raises(StoreUnavailable):
        await put(store, "a")
    await store.close()


async def test_closing_finishes_what_was_accepted(store: Store) -> None:
    writes = [asyncio.create_task(put(store, f"k{i}")) for i in range(30)]
    await asyncio.sleep(0)
    await store.close()
    revisions = await asyncio.gather(*writes)
    assert sorted(revisions) == list(range(min(revisions), min(revisions) + 30))


async def test_a_caller_that_gives_up_harms_nobody(store: Store) -> None:
    writes = [asyncio.create_task(put(store, f"k{i}")) for i in range(30)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    acknowledged = [f"k{i}" for i, answer in enumerate(answers) if isinstance(answer, int)]
    assert len(acknowledged) >= 15
    assert set(acknowledged) <= set(await keys(store, "k", "l"))
    assert await put(store, "after") == (await store.status()).revision
