"""Submitting: all or nothing, whatever goes wrong and whoever else writes."""

from __future__ import annotations

import base64

import pytest

from argosy.api import texts as texts_module
from argosy.api.schemas import SubmitRequest, SubmittedUnit
from argosy.api.services import Api
from argosy.api.submit import submit
from argosy.errors import AlreadyExists, Conflict, Invalid, StaleRevision
from argosy.model.event import Event
from argosy.model.ids import UnitName
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from argosy.units.check import digest_of
from unit.api.conftest import RacedStore

WEB = "[Unit]\nDescription=Front end of %p\n[Service]\nExecStart=/bin/sleep 1\n"
OTHER = WEB.replace("sleep 1", "sleep 2")


def unit(
    name: str, text: str = WEB, desired: DesiredState | None = None, **variables: str
) -> SubmittedUnit:
    return SubmittedUnit(name=name, text=text, desired=desired, variables=variables)


def request(*units: SubmittedUnit, **more: object) -> SubmitRequest:
    return SubmitRequest(units=units, **more)  # type: ignore[arg-type]


async def records(store: MemoryStore) -> dict[str, Unit]:
    found = await store.range(keys.UNITS, base.prefix_end(keys.UNITS))
    return {keys.last_part(kv.key): codec.decode(kv.value, Unit) for kv in found.kvs}


async def texts(store: MemoryStore) -> dict[str, bytes]:
    found = await store.range(keys.TEXTS, base.prefix_end(keys.TEXTS))
    return {keys.last_part(kv.key): kv.value for kv in found.kvs}


async def events(store: MemoryStore) -> list[tuple[str, str]]:
    found = await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    decoded = [codec.decode(kv.value, Event) for kv in found.kvs]
    return [(event.kind, event.unit) for event in decoded]


async def test_a_new_unit_is_recorded_with_what_its_text_says(api: Api, store: MemoryStore) -> None:
    text = WEB + "[X-Fleet]\nMachineMetadata=disk=ssd\n"
    done = await submit(api, request(unit("web@1.service", text, DesiredState.LAUNCHED, A="b")))
    assert [(c.name, c.change) for c in done.changes] == [("web@1.service", "created")]
    record = (await records(store))["web@1.service"]
    assert record.digest == digest_of(text.encode())
    assert (record.desired, record.generation) == (DesiredState.LAUNCHED, 0)
    assert record.description == "Front end of web"
    assert record.requirements.metadata[0].key == "disk"
    assert record.variables == {"A": "b"}
    assert (await texts(store))[record.digest] == text.encode()
    assert await events(store) == [("unit.submitted", "web@1.service")]


async def test_a_submission_is_one_revision(api: Api, store: MemoryStore) -> None:
    before = (await store.status()).revision
    await submit(api, request(*(unit(f"u{n}.service", f"# {n}\n{WEB}") for n in range(40))))
    assert (await store.status()).revision == before + 1


async def test_one_bad_unit_of_many_and_nothing_is_written(api: Api, store: MemoryStore) -> None:
    before = (await store.status()).revision
    bad = unit("bad.service", "[Service]\nExecStart=\nType=sometimes\n")
    with pytest.raises(Invalid) as caught:
        await submit(api, request(unit("a.service"), bad, unit("../b.service")))
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {
        "bad.service",
        "../b.service",
    }
    assert (await store.status()).revision == before


async def test_submitting_again_changes_nothing(api: Api, store: MemoryStore) -> None:
    asked = request(unit("a.service", desired=DesiredState.LAUNCHED), unit("b.service"))
    await submit(api, asked)
    before = (await store.status()).revision
    done = await submit(api, asked)
    assert [c.change for c in done.changes] == ["unchanged", "unchanged"]
    assert (await store.status()).revision == before


async def test_another_text_needs_replace(api: Api, store: MemoryStore) -> None:
    await submit(api, request(unit("a.service")))
    with pytest.raises(AlreadyExists, match=r"a\.service"):
        await submit(api, request(unit("a.service", OTHER), unit("b.service")))
    assert list(await records(store)) == ["a.service"]


async def test_replacing_shows_the_difference_and_keeps_what_is_wanted(
    api: Api, store: MemoryStore
) -> None:
    await submit(api, request(unit("a.service", desired=DesiredState.LAUNCHED, PORT="1")))
    done = await submit(api, request(unit("a.service", OTHER, PORT="2"), replace=True))
    (change,) = done.changes
    assert change.change == "changed"
    assert change.diff is not None
    body = [
        line
        for line in change.diff.splitlines()
        if line[:1] in "+-" and line[:2] not in ("++", "--")
    ]
    assert body == [
        "-ExecStart=/bin/sleep 1",
        "-# variable PORT=1",
        "+ExecStart=/bin/sleep 2",
        "+# variable PORT=2",
    ]
    assert (await records(store))["a.service"].desired is DesiredState.LAUNCHED


async def test_other_variables_alone_are_a_change_too(api: Api, store: MemoryStore) -> None:
    await submit(api, request(unit("a.service", PORT="1")))
    with pytest.raises(AlreadyExists):
        await submit(api, request(unit("a.service", PORT="2")))
    done = await submit(api, request(unit("a.service", PORT="2"), replace=True))
    assert done.changes[0].change == "changed"
    assert (await records(store))["a.service"].variables == {"PORT": "2"}


async def test_a_dry_run_says_what_would_change_and_changes_nothing(
    api: Api, store: MemoryStore
) -> None:
    await submit(api, request(unit("a.service"), unit("b.service"), app="shop"))
    before = (await store.status()).revision
    asked = request(
        unit("a.service", OTHER),
        unit("c.service"),
        app="shop",
        prune=True,
        replace=True,
        dry_run=True,
    )
    done = await submit(api, asked)
    assert [(c.name, c.change) for c in done.changes] == [
        ("a.service", "changed"),
        ("c.service", "created"),
        ("b.service", "destroyed"),
    ]
    assert (await store.status()).revision == before == done.revision


async def test_prune_destroys_those_of_the_app_that_are_not_named_and_no_others(
    api: Api, store: MemoryStore
) -> None:
    await submit(api, request(unit("a.service"), unit("b.service"), app="shop"))
    await submit(api, request(unit("c.service"), app="other"))
    await submit(api, request(unit("d.service")))
    await submit(api, request(unit("a.service"), app="shop", prune=True))
    assert sorted(await records(store)) == ["a.service", "c.service", "d.service"]


async def test_prune_without_an_app_is_refused(api: Api) -> None:
    with pytest.raises(Invalid, match="prune needs app"):
        await submit(api, request(unit("a.service"), prune=True))


async def test_a_unit_of_another_app_is_not_taken_over(api: Api) -> None:
    await submit(api, request(unit("a.service"), app="shop"))
    with pytest.raises(Conflict, match="belongs to app shop"):
        await submit(api, request(unit("a.service"), app="other", replace=True))


async def test_a_template_cannot_be_started(api: Api, store: MemoryStore) -> None:
    with pytest.raises(Invalid, match="template"):
        await submit(api, request(unit("a@.service", desired=DesiredState.LAUNCHED)))
    await submit(api, request(unit("a@.service")))
    assert list(await records(store)) == ["a@.service"]


async def test_one_name_twice_is_refused(api: Api) -> None:
    with pytest.raises(Invalid, match="submitted twice"):
        await submit(api, request(unit("a.service"), unit("a.service", OTHER)))


async def test_machine_of_a_unit_that_nobody_has_is_refused_until_somebody_has_it(api: Api) -> None:
    follower = unit("b.service", WEB + "[X-Fleet]\nMachineOf=a.service\n")
    with pytest.raises(Invalid, match=r"a\.service"):
        await submit(api, request(follower))
    await submit(api, request(unit("a.service")))
    await submit(api, request(follower))


async def test_exactly_one_of_text_and_base64_is_given(api: Api, store: MemoryStore) -> None:
    encoded = base64.b64encode(WEB.encode()).decode()
    for wrong in (
        SubmittedUnit(name="a.service"),
        SubmittedUnit(name="a.service", text=WEB, text_base64=encoded),
        SubmittedUnit(name="a.service", text_base64="!"),
    ):
        with pytest.raises(Invalid):
            await submit(api, request(wrong))
    await submit(api, request(SubmittedUnit(name="a.service", text_base64=encoded)))
    assert list((await texts(store)).values()) == [WEB.encode()]


async def test_expect_revision_holds_while_nobody_touched_these_units(
    api: Api, store: MemoryStore
) -> None:
    seen = (await submit(api, request(unit("a.service")))).revision
    await submit(api, request(unit("unrelated.service")))
    await submit(api, request(unit("a.service", OTHER), replace=True, expect_revision=seen))
    with pytest.raises(StaleRevision, match=r"a\.service changed"):
        await submit(api, request(unit("a.service"), replace=True, expect_revision=seen))
    assert (await records(store))["a.service"].digest == digest_of(OTHER.encode())


async def test_expect_revision_refuses_when_a_unit_came_or_went_since(
    api: Api, store: MemoryStore
) -> None:
    seen = (await submit(api, request(unit("a.service")))).revision
    await store.txn([], [base.Delete(keys.unit(UnitName("a.service")))])
    await submit(api, request(unit("b.service")))
    for name in ("a.service", "b.service"):
        with pytest.raises(StaleRevision, match=name):
            await submit(api, request(unit(name, OTHER), replace=True, expect_revision=seen))


async def test_a_thousand_units_arrive_whole_in_chunks(api: Api, store: MemoryStore) -> None:
    asked = request(*(unit(f"u{n}.service", f"# {n}\n{WEB}") for n in range(1000)))
    done = await submit(api, asked)
    assert {c.change for c in done.changes} == {"created"}
    found = await records(store)
    assert len(found) == 1000
    assert {record.digest for record in found.values()} == set(await texts(store))


async def test_large_texts_are_spread_over_transactions_by_their_size(
    api: Api, store: MemoryStore
) -> None:
    asked = request(*(unit(f"u{n}.service", f"# {n}\n{WEB}" + "# x\n" * 200_000) for n in range(4)))
    await submit(api, asked)
    assert len(await texts(store)) == 4


async def test_who_loses_a_race_is_compared_anew_with_what_the_winner_wrote(
    api: Api, store: RacedStore
) -> None:
    store.before_next_txn = lambda: submit(api, request(unit("a.service", OTHER)))
    with pytest.raises(AlreadyExists):
        await submit(api, request(unit("a.service")))
    assert (await records(store))["a.service"].digest == digest_of(OTHER.encode())


async def test_no_text_of_a_large_submission_is_taken_for_unused_in_the_middle_of_it(
    api: Api, store: RacedStore
) -> None:
    async def collect() -> None:
        await texts_module.collect_garbage(store, api.feed)
        store.before_next_txn = collect

    await submit(api, request(unit("gone.service", "# gone\n" + WEB)))
    await store.txn([], [base.Delete(keys.unit(UnitName("gone.service")))])
    store.before_next_txn = collect
    await submit(api, request(*(unit(f"u{n}.service", f"# {n}\n{WEB}") for n in range(300))))
    store.before_next_txn = None
    found = await records(store)
    assert {record.digest for record in found.values()} == set(await texts(store))


async def test_who_loses_a_race_to_the_same_submission_has_nothing_left_to_do(
    api: Api, store: RacedStore
) -> None:
    store.before_next_txn = lambda: submit(api, request(unit("a.service")))
    done = await submit(api, request(unit("a.service")))
    assert [c.change for c in done.changes] == ["unchanged"]
