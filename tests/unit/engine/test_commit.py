"""Plans become transactions of which any prefix leaves every unit on at most one machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from argosy.engine.commit import EVENTS_PER_PLAN, Committer
from argosy.engine.view import View
from argosy.errors import LeaseLost, StaleRevision
from argosy.model.actions import Place, Unplace
from argosy.model.assignment import Assignment
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINES = [MachineId(f"{number:032x}") for number in range(300)]
NAMES = [UnitName(f"u{number:03}.service") for number in range(300)]


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    for name in NAMES:
        unit = Unit(name=name, digest=Digest("d" * 64), desired=DesiredState.LAUNCHED)
        await store.txn([], [base.Put(keys.unit(name), codec.encode(unit))])
    await store.txn([], [base.Put(keys.LEADER, b"e1")])
    yield store
    await store.close()


async def committer(store: base.Store) -> Committer:
    held = (await store.range(keys.LEADER)).kvs[0]
    guard = base.Compare(keys.LEADER, base.Target.CREATE, "=", held.create_revision)
    return Committer(store, guard, "e1")


def place_each(shift: int) -> list[Place]:
    return [
        Place(unit=name, machine=MACHINES[(index + shift) % len(MACHINES)], reason="because")
        for index, name in enumerate(NAMES)
    ]


def unplace_each(shift: int) -> list[Unplace]:
    return [
        Unplace(unit=one.unit, machine=one.machine, reason="because") for one in place_each(shift)
    ]


async def test_moving_hundreds_of_units_at_once_never_has_one_on_two_machines(
    store: MemoryStore,
) -> None:
    writer = await committer(store)
    view = await View.load(store, lambda: NOW)
    await writer.commit(view, place_each(0), NOW)
    start = (await store.status()).revision
    await writer.commit(view, [*unplace_each(0), *place_each(1)], NOW)
    end = (await store.status()).revision
    assert end - start > 2, "the plan should need several transactions"
    for revision in range(start, end + 1):
        found = await store.range(
            keys.ASSIGNMENTS, base.prefix_end(keys.ASSIGNMENTS), revision=revision
        )
        units = Counter(
            unit.name for kv in found.kvs for unit in codec.decode(kv.value, Assignment).units
        )
        assert not units or max(units.values()) == 1
    fresh = await View.load(store, lambda: NOW)
    assert fresh.assignments == view.assignments
    assert fresh.assignment_revisions == view.assignment_revisions
    for one in place_each(1):
        assert [unit.name for unit in fresh.assignments[one.machine].units] == [one.unit]


async def test_a_former_leader_writes_nothing(store: MemoryStore) -> None:
    writer = await committer(store)
    view = await View.load(store, lambda: NOW)
    await store.txn([], [base.Delete(keys.LEADER)])
    await store.txn([], [base.Put(keys.LEADER, b"e2")])
    before = (await store.status()).revision
    with pytest.raises(LeaseLost):
        await writer.commit(view, place_each(0)[:1], NOW)
    assert (await store.status()).revision == before


async def test_a_plan_made_on_an_older_assignment_is_refused_whole(store: MemoryStore) -> None:
    writer = await committer(store)
    old = await View.load(store, lambda: NOW)
    await writer.commit(await View.load(store, lambda: NOW), place_each(0)[:1], NOW)
    before = (await store.status()).revision
    with pytest.raises(StaleRevision):
        await writer.commit(old, place_each(0)[:2], NOW)
    assert (await store.status()).revision == before


async def test_a_plan_that_fits_is_one_transaction_with_its_events(store: MemoryStore) -> None:
    writer = await committer(store)
    view = await View.load(store, lambda: NOW)
    before = (await store.status()).revision
    await writer.commit(view, place_each(0)[:20], NOW)
    assert (await store.status()).revision == before + 1
    events = await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    assert events.total == 20


async def test_a_huge_plan_is_told_as_one_event(store: MemoryStore) -> None:
    writer = await committer(store)
    view = await View.load(store, lambda: NOW)
    plan = [
        Place(unit=name, machine=machine, reason="everywhere")
        for machine in MACHINES[:5]
        for name in NAMES
    ]
    assert len(plan) > EVENTS_PER_PLAN
    await writer.commit(view, plan, NOW)
    await asyncio.sleep(0)
    events = await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    assert events.total == 1
