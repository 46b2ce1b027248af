"""Changing what is wanted, destroying, and the texts that nobody needs any more."""

from __future__ import annotations

import pytest

from argosy.api import texts
from argosy.api.desired import change
from argosy.api.destroy import destroy
from argosy.api.schemas import ChangeRequest, DestroyRequest, SubmitRequest, SubmittedUnit
from argosy.api.services import Api
from argosy.api.submit import submit
from argosy.api.writing import PartlyWritten
from argosy.errors import Invalid, NotFound
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.event import Event
from argosy.model.ids import MachineId, UnitName
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from unit.api.conftest import RacedStore

WEB = "[Service]\nExecStart=/bin/sleep 1\n"
MACHINE = MachineId("1" * 32)
LAUNCHED, LOADED, INACTIVE = DesiredState.LAUNCHED, DesiredState.LOADED, DesiredState.INACTIVE


async def have(api: Api, *names: str, desired: DesiredState = INACTIVE, text: str = WEB) -> None:
    units = tuple(SubmittedUnit(name=name, text=text, desired=desired) for name in names)
    await submit(api, SubmitRequest(units=units))


async def records(store: MemoryStore) -> dict[str, Unit]:
    found = await store.range(keys.UNITS, base.prefix_end(keys.UNITS))
    return {keys.last_part(kv.key): codec.decode(kv.value, Unit) for kv in found.kvs}


async def text_digests(store: MemoryStore) -> set[str]:
    found = await store.range(keys.TEXTS, base.prefix_end(keys.TEXTS))
    return {keys.last_part(kv.key) for kv in found.kvs}


async def place(store: MemoryStore, name: str, active: ActiveState | None) -> None:
    unit = (await records(store))[name]
    assigned = AssignedUnit(name=unit.name, digest=unit.digest, desired=unit.desired)
    record = Assignment(machine=MACHINE, units=(assigned,))
    ops: list[base.Op] = [base.Put(keys.assignment(MACHINE), codec.encode(record))]
    if active is not None:
        status = UnitStatus(name=unit.name, digest=unit.digest, active=active)
        observed = Observed(machine=MACHINE, status=status)
        ops.append(base.Put(keys.observed(MACHINE, unit.name), codec.encode(observed)))
    await store.txn([], ops)


async def test_globs_match_the_clusters_units(api: Api, store: MemoryStore) -> None:
    await have(api, "web@1.service", "web@2.service", "db.service")
    done = await change(api, ChangeRequest(names=("web@*",), desired=LAUNCHED))
    assert done.units == ("web@1.service", "web@2.service")
    assert {name: unit.desired for name, unit in (await records(store)).items()} == {
        "web@1.service": LAUNCHED,
        "web@2.service": LAUNCHED,
        "db.service": INACTIVE,
    }


async def test_a_name_that_matches_nothing_changes_nothing(api: Api, store: MemoryStore) -> None:
    await have(api, "web.service")
    before = (await store.status()).revision
    with pytest.raises(NotFound):
        await change(api, ChangeRequest(names=("web.service", "nope*"), desired=LAUNCHED))
    with pytest.raises(NotFound):
        await destroy(api, DestroyRequest(names=("web.service", "nope.service")))
    assert (await store.status()).revision == before


async def test_what_is_so_already_is_not_written_again(api: Api, store: MemoryStore) -> None:
    await have(api, "web.service", desired=LOADED)
    before = (await store.status()).revision
    done = await change(api, ChangeRequest(names=("web.service",), desired=LOADED))
    assert (done.units, done.revision) == (("web.service",), before)


async def test_a_restart_raises_the_generation_of_launched_units_only(
    api: Api, store: MemoryStore
) -> None:
    await have(api, "on.service", desired=LAUNCHED)
    await have(api, "off.service", desired=LOADED)
    done = await change(api, ChangeRequest(names=("*",), restart=True))
    assert done.units == ("on.service",)
    found = await records(store)
    assert (found["on.service"].generation, found["off.service"].generation) == (1, 0)


@pytest.mark.parametrize(
    ("active", "raised"),
    [
        pytest.param(None, 0, id="nothing is reported yet"),
        pytest.param(ActiveState.ACTIVE, 0, id="it runs"),
        pytest.param(ActiveState.ACTIVATING, 0, id="it is starting"),
        pytest.param(ActiveState.FAILED, 1, id="it failed"),
        pytest.param(ActiveState.INACTIVE, 1, id="it ended"),
    ],
)
async def test_a_start_starts_anew_what_does_not_run(
    api: Api, store: MemoryStore, active: ActiveState | None, raised: int
) -> None:
    await have(api, "web.service", desired=LAUNCHED)
    await place(store, "web.service", active)
    await change(api, ChangeRequest(names=("web.service",), start=True))
    record = (await records(store))["web.service"]
    assert (record.desired, record.generation) == (LAUNCHED, raised)


async def test_templates_are_not_started(api: Api, store: MemoryStore) -> None:
    await have(api, "web@.service", "web@1.service")
    with pytest.raises(Invalid) as caught:
        await change(api, ChangeRequest(names=("web@*",), desired=LAUNCHED))
    assert caught.value.problems == (
        "web@.service is a template: start an instance of it, such as web@1.service",
    )
    assert (await records(store))["web@1.service"].desired is INACTIVE


@pytest.mark.parametrize(
    "asked",
    [
        ChangeRequest(names=("web.service",)),
        ChangeRequest(names=("web.service",), start=True, restart=True),
        ChangeRequest(names=("web.service",), start=True, desired=INACTIVE),
    ],
)
async def test_a_change_says_exactly_one_thing(api: Api, asked: ChangeRequest) -> None:
    await have(api, "web.service")
    with pytest.raises(Invalid, match="exactly one"):
        await change(api, asked)


async def test_five_hundred_units_change_together(api: Api, store: MemoryStore) -> None:
    await have(api, *(f"u{number}.service" for number in range(500)))
    done = await change(api, ChangeRequest(names=("u*",), desired=LAUNCHED))
    assert len(done.units) == 500
    assert {unit.desired for unit in (await records(store)).values()} == {LAUNCHED}


async def test_each_change_is_an_event_with_its_reason(api: Api, store: MemoryStore) -> None:
    await have(api, "web.service")
    await change(api, ChangeRequest(names=("web.service",), desired=LAUNCHED))
    await destroy(api, DestroyRequest(names=("web.service",)))
    found = await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    told = [codec.decode(kv.value, Event) for kv in found.kvs]
    assert [(event.kind, event.message) for event in told] == [
        ("unit.submitted", "wanted inactive"),
        ("unit.desired", "launched, was inactive"),
        ("unit.destroyed", ""),
    ]


async def test_a_text_goes_with_the_last_unit_that_has_it(api: Api, store: MemoryStore) -> None:
    await have(api, "a.service", "b.service")
    await destroy(api, DestroyRequest(names=("a.service",)))
    assert len(await text_digests(store)) == 1
    await destroy(api, DestroyRequest(names=("b.service",)))
    assert await text_digests(store) == set()


async def test_a_text_that_a_machine_still_runs_stays_until_it_does_not(
    api: Api, store: MemoryStore
) -> None:
    await have(api, "a.service", desired=LAUNCHED)
    await place(store, "a.service", ActiveState.ACTIVE)
    await destroy(api, DestroyRequest(names=("a.service",)))
    assert len(await text_digests(store)) == 1
    empty = Assignment(machine=MACHINE)
    await store.txn([], [base.Put(keys.assignment(MACHINE), codec.encode(empty))])
    assert await texts.collect_garbage(store, api.feed) == 1
    assert await text_digests(store) == set()


async def test_a_text_submitted_while_it_is_being_collected_stays(
    api: Api, store: RacedStore
) -> None:
    await have(api, "a.service")
    await store.txn([], [base.Delete(keys.unit(UnitName("a.service")))])
    store.before_next_txn = lambda: have(api, "b.service")
    assert await texts.collect_garbage(store, api.feed) == 0
    assert len(await text_digests(store)) == 1


async def test_a_restart_that_loses_a_race_restarts_what_the_winner_left_once(
    api: Api, store: RacedStore
) -> None:
    await have(api, "a.service", desired=LAUNCHED)
    asked = ChangeRequest(names=("a.service",), restart=True)
    store.before_next_txn = lambda: change(api, asked)
    await change(api, asked)
    assert (await records(store))["a.service"].generation == 2


async def test_a_large_restart_that_meets_another_write_says_how_far_it_came(
    api: Api, store: RacedStore
) -> None:
    names = [f"u{number:03}.service" for number in range(200)]
    await have(api, *names, desired=LAUNCHED)
    last = (await store.range(keys.unit(UnitName(names[-1])))).kvs[0]

    async def meanwhile() -> None:
        await store.txn([], [base.Put(last.key, last.value)])

    store.before_next_txn = meanwhile
    with pytest.raises(PartlyWritten, match="of 200 were written before") as caught:
        await change(api, ChangeRequest(names=("*",), restart=True))
    generations = [unit.generation for unit in (await records(store)).values()]
    assert generations == sorted(generations, reverse=True)
    assert f"{sum(generations)} of 200" in caught.value.message
