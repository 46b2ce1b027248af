"""A machine's gate: presence, reports, and assignments that never go backwards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from argosy.api.gate import MachineGate
from argosy.api.sessions import Sessions
from argosy.errors import Conflict, Invalid, LeaseLost, NotFound, Temporary
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.event import Event
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Delivery, Report
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.unit import DesiredState
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore

ME = MachineId("1" * 32)
OTHER = MachineId("2" * 32)
NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
DIGEST = Digest("a" * 64)


def gate_on(store: base.Store, *, machine: MachineId = ME, holder: str = "boot 1") -> MachineGate:
    return MachineGate(Sessions(store, name="s1", clock=lambda: NOW), machine, holder=holder)


def status(name: str, active: ActiveState = ActiveState.ACTIVE) -> UnitStatus:
    return UnitStatus(name=UnitName(name), digest=DIGEST, active=active)


async def observed(store: base.Store, machine: MachineId = ME) -> dict[str, UnitStatus]:
    prefix = keys.observed_of(machine)
    found = await store.range(prefix, base.prefix_end(prefix))
    return {keys.last_part(kv.key): codec.decode(kv.value, Observed).status for kv in found.kvs}


async def assign(store: base.Store, *names: str) -> int:
    units = tuple(
        AssignedUnit(name=UnitName(name), digest=DIGEST, desired=DesiredState.LAUNCHED)
        for name in names
    )
    record = Assignment(machine=ME, units=units)
    result = await store.txn([], [base.Put(keys.assignment(ME), codec.encode(record))])
    return result.revision


def names_of(delivery: Delivery) -> list[str]:
    return [unit.name for unit in delivery.assignment.units]


async def test_registering_records_the_machine_and_that_it_is_there(store: MemoryStore) -> None:
    await gate_on(store).register(Machine(id=ME, hostname="m1"))
    machine = codec.decode((await store.range(keys.machine(ME))).kvs[0].value, Machine)
    assert (machine.hostname, machine.registered_at) == ("m1", NOW)
    presence = (await store.range(keys.presence(ME))).kvs[0]
    assert presence.lease != 0
    events = (await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))).kvs
    assert [codec.decode(kv.value, Event).kind for kv in events] == ["machine.joined"]


async def test_a_machine_keeps_the_time_of_its_first_registration(store: MemoryStore) -> None:
    times = iter([NOW, NOW, NOW + timedelta(days=1)])
    sessions = Sessions(store, name="s1", clock=lambda: next(times, NOW))
    gate = MachineGate(sessions, ME, holder="boot 1")
    await gate.register(Machine(id=ME))
    await gate.register(Machine(id=ME, hostname="renamed"))
    machine = codec.decode((await store.range(keys.machine(ME))).kvs[0].value, Machine)
    assert (machine.hostname, machine.registered_at) == ("renamed", NOW)


async def test_a_gate_registers_its_own_machine_only(store: MemoryStore) -> None:
    with pytest.raises(Invalid):
        await gate_on(store, machine=OTHER).register(Machine(id=ME))
    assert not (await store.range(keys.MACHINES, base.prefix_end(keys.MACHINES))).kvs


async def test_a_second_live_machine_with_the_same_id_is_refused(store: MemoryStore) -> None:
    await gate_on(store).register(Machine(id=ME, hostname="first"))
    with pytest.raises(Conflict, match="another live machine"):
        await gate_on(store, holder="boot 2").register(Machine(id=ME, hostname="second"))
    machine = codec.decode((await store.range(keys.machine(ME))).kvs[0].value, Machine)
    assert machine.hostname == "first"


async def test_registering_again_never_lets_presence_go(store: MemoryStore) -> None:
    async with store.watch(keys.presence(ME)) as batches:
        for _ in range(2):
            gate = gate_on(store)
            await gate.register(Machine(id=ME))
            await gate.report(Report())
        await store.txn([], [base.Delete(keys.presence(ME))])
        seen = []
        async for batch in batches:
            seen += [event.kind for event in batch.events]
            if base.EventKind.DELETE in seen:
                break
    assert seen == [base.EventKind.PUT, base.EventKind.PUT, base.EventKind.DELETE]


async def test_an_empty_report_writes_nothing(store: MemoryStore) -> None:
    gate = gate_on(store)
    await gate.register(Machine(id=ME))
    before = (await store.status()).revision
    await gate.report(Report())
    assert (await store.status()).revision == before


async def test_a_report_of_before_the_last_registration_writes_nothing(store: MemoryStore) -> None:
    slow, quick = gate_on(store), gate_on(store)
    await slow.register(Machine(id=ME))
    await quick.register(Machine(id=ME))
    await quick.report(Report(changed=(status("a.service", ActiveState.FAILED),)))
    with pytest.raises(LeaseLost):
        await slow.report(Report(changed=(status("a.service", ActiveState.ACTIVE),)))
    assert (await observed(store))["a.service"].active is ActiveState.FAILED


async def test_a_report_that_names_another_registration_is_not_answered(store: MemoryStore) -> None:
    gate = gate_on(store)
    first = await gate.register(Machine(id=ME))
    second = await gate.register(Machine(id=ME))
    await gate.report(Report(session=second.session))
    with pytest.raises(LeaseLost):
        await gate.report(Report(session=first.session))


async def test_a_report_writes_what_changed_and_deletes_what_is_gone(store: MemoryStore) -> None:
    gate = gate_on(store)
    await gate.register(Machine(id=ME))
    await gate.report(Report(changed=(status("a.service"), status("b.service"))))
    failed = status("b.service", ActiveState.FAILED)
    await gate.report(Report(changed=(failed,), gone=(UnitName("a.service"),)))
    assert await observed(store) == {"b.service": failed}


async def test_a_full_report_writes_the_differences_only(store: MemoryStore) -> None:
    gate = gate_on(store)
    await gate.register(Machine(id=ME))
    await gate.report(Report(changed=(status("a.service"), status("b.service"))))
    kept = (await store.range(keys.observed(ME, UnitName("b.service")))).kvs[0].mod_revision
    await gate.report(Report(changed=(status("b.service"), status("c.service")), full=True))
    assert sorted(await observed(store)) == ["b.service", "c.service"]
    now = (await store.range(keys.observed(ME, UnitName("b.service")))).kvs[0].mod_revision
    assert now == kept


async def test_a_report_of_a_thousand_units_arrives_whole(store: MemoryStore) -> None:
    gate = gate_on(store)
    await gate.register(Machine(id=ME))
    units = tuple(status(f"u{number}.service") for number in range(1000))
    await gate.report(Report(changed=units, full=True))
    assert len(await observed(store)) == 1000


async def test_a_machine_cannot_speak_for_another(store: MemoryStore) -> None:
    gate = gate_on(store)
    await gate.register(Machine(id=ME))
    lie = Event(at=NOW, kind="unit.failed", unit="db.service", machine=OTHER, by="engine")
    await gate.report(Report(events=(lie,)))
    events = (await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))).kvs
    told = codec.decode(events[-1].value, Event)
    assert (told.kind, told.machine, told.by) == ("unit.failed", ME, "agent")


async def test_assignments_begin_with_the_present_one(store: MemoryStore) -> None:
    revision = await assign(store, "web.service")
    async with gate_on(store).assignments() as deliveries:
        first = await anext(deliveries)
    assert names_of(first) == ["web.service"]
    assert first.revision == revision


async def test_without_an_assignment_there_is_silence(store: MemoryStore) -> None:
    async with gate_on(store).assignments() as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        await assign(store, "web.service")
        assert names_of(await waiting) == ["web.service"]


async def test_a_slow_reader_gets_the_newest_assignment_only(store: MemoryStore) -> None:
    await assign(store, "a.service")
    async with gate_on(store).assignments() as deliveries:
        await anext(deliveries)
        await assign(store, "b.service")
        second = await anext(deliveries)
        for number in range(10):
            newest = await assign(store, f"u{number}.service")
        for _ in range(20):  # turns of the loop in which the gate reads ahead
            await asyncio.sleep(0)
        third = await anext(deliveries)
    assert names_of(second) == ["b.service"]
    assert (names_of(third), third.revision) == (["u9.service"], newest)


async def test_a_deleted_assignment_is_silence_too(store: MemoryStore) -> None:
    await assign(store, "a.service")
    async with gate_on(store).assignments() as deliveries:
        await anext(deliveries)
        await store.txn([], [base.Delete(keys.assignment(ME))])
        await assign(store, "b.service")
        assert names_of(await anext(deliveries)) == ["b.service"]


async def test_a_store_that_closes_ends_the_assignments_with_a_temporary_error(
    store: MemoryStore,
) -> None:
    async with gate_on(store).assignments() as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(Temporary):
            await waiting


async def test_texts_are_given_as_they_are_and_unknown_ones_not_found(store: MemoryStore) -> None:
    text = b"[Service]\nExecStart=/bin/true \xff\n"
    await store.txn([], [base.Put(keys.text(DIGEST), text)])
    await assign(store, "web.service")
    gate = gate_on(store)
    assert await gate.text(DIGEST) == text
    with pytest.raises(NotFound):
        await gate.text(Digest("b" * 64))


async def test_a_text_that_the_machine_does_not_run_is_none_of_its_business(
    store: MemoryStore,
) -> None:
    await store.txn([], [base.Put(keys.text(DIGEST), b"[Service]\nEnvironment=SECRET=1\n")])
    gate = gate_on(store)
    with pytest.raises(NotFound):
        await gate.text(DIGEST)
    await assign(store, "web.service")
    assert b"SECRET" in await gate.text(DIGEST)
    await store.txn([], [base.Put(keys.assignment(ME), codec.encode(Assignment(machine=ME)))])
    async with gate.assignments() as deliveries:
        await anext(deliveries)
        with pytest.raises(NotFound):
            await gate.text(DIGEST)
