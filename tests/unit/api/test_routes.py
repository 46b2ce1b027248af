"""What the reading routes show of a cluster with a machine, a unit that runs, one that failed and one that waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.datastructures import QueryParams

from argosy.api import openapi
from argosy.api.app import ROUTES
from argosy.api.candidates import verify
from argosy.api.cluster import open_cluster
from argosy.api.routes.about import status, version
from argosy.api.routes.events import list_events
from argosy.api.routes.machines import list_machines
from argosy.api.routes.states import list_states
from argosy.api.routes.units import get_unit, list_units
from argosy.api.routes.why import why
from argosy.api.routing import decode_query
from argosy.api.schemas import (
    EventsQuery,
    StatesQuery,
    SubmitRequest,
    SubmittedUnit,
    UnitsQuery,
    VerifiedUnit,
    VerifyRequest,
)
from argosy.api.services import Api
from argosy.api.submit import submit
from argosy.errors import Invalid, NotFound, StoreRefused
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.explanation import Explanation, Refusal
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.unit import DesiredState
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from argosy.units.check import digest_of
from unit.api.conftest import NOW, clock

WEB = "[Unit]\nDescription=Front end\n[Service]\nExecStart=/bin/sleep 1\n"
MACHINE = MachineId("1" * 32)


@pytest.fixture
async def cluster(api: Api, store: MemoryStore) -> Api:
    for app, name in (("shop", "web.service"), ("shop", "db.service"), ("lab", "gpu.service")):
        unit = SubmittedUnit(name=name, text=WEB, desired=DesiredState.LAUNCHED)
        await submit(api, SubmitRequest(units=(unit,), app=app))
    digest = digest_of(WEB.encode())
    placed = ("db.service", "web.service")
    assigned = tuple(
        AssignedUnit(
            name=UnitName(name),
            digest=digest,
            desired=DesiredState.LAUNCHED,
            reason="least loaded of 1",
            placed_at=NOW,
        )
        for name in placed
    )
    refusal = Refusal(rule="MachineMetadata", detail="needs gpu=yes", machines=(MACHINE,), count=1)
    waiting = Explanation(
        unit=UnitName("gpu.service"),
        refusals=(refusal,),
        summary="no machine of 1",
        remedy="add gpu=yes",
    )
    states = {"web.service": ActiveState.ACTIVE, "db.service": ActiveState.FAILED}
    await store.txn(
        [],
        [
            base.Put(keys.machine(MACHINE), codec.encode(Machine(id=MACHINE, hostname="m1"))),
            base.Put(keys.presence(MACHINE), b"here"),
            base.Put(
                keys.assignment(MACHINE),
                codec.encode(Assignment(machine=MACHINE, units=assigned)),
            ),
            base.Put(keys.pending(waiting.unit), codec.encode(waiting)),
            *(
                base.Put(
                    keys.observed(MACHINE, UnitName(name)),
                    codec.encode(
                        Observed(
                            machine=MACHINE,
                            status=UnitStatus(name=UnitName(name), digest=digest, active=active),
                        )
                    ),
                )
                for name, active in states.items()
            ),
            *(
                base.Put(
                    keys.event(NOW + timedelta(seconds=second), writer="t", number=second),
                    codec.encode(
                        Event(
                            at=NOW + timedelta(seconds=second),
                            kind="unit.active",
                            unit="web.service",
                            machine=MACHINE,
                            message=f"run {second}",
                        )
                    ),
                )
                for second in range(1, 41)
            ),
        ],
    )
    return api


async def test_units_show_how_far_they_are_and_why_not_further(cluster: Api) -> None:
    page = await list_units(cluster, UnitsQuery())
    assert [(u.name, u.current, u.machines) for u in page.units] == [
        ("db.service", DesiredState.LAUNCHED, (MACHINE,)),
        ("gpu.service", DesiredState.INACTIVE, ()),
        ("web.service", DesiredState.LAUNCHED, (MACHINE,)),
    ]
    assert [u.pending.summary if u.pending else None for u in page.units] == [
        None,
        "no machine of 1",
        None,
    ]
    assert {u.description for u in page.units} == {"Front end"}


async def test_units_can_be_asked_for_by_glob_and_by_app(cluster: Api) -> None:
    by_glob = await list_units(cluster, UnitsQuery(name=("w*", "gpu.service")))
    by_app = await list_units(cluster, UnitsQuery(app="shop"))
    assert [u.name for u in by_glob.units] == ["gpu.service", "web.service"]
    assert [u.name for u in by_app.units] == ["db.service", "web.service"]
    assert (await list_units(cluster, UnitsQuery(name=("nope*",)))).units == ()


async def test_the_last_page_says_that_it_is_the_last(cluster: Api) -> None:
    first = await list_units(cluster, UnitsQuery(limit=2))
    second = await list_units(cluster, UnitsQuery(limit=2, after=first.after))
    assert [len(page.units) for page in (first, second)] == [2, 1]
    assert second.after is None
    assert (await list_units(cluster, UnitsQuery(limit=3))).after is None


async def test_states_are_rows_of_unit_and_machine(cluster: Api) -> None:
    everything = await list_states(cluster, StatesQuery())
    assert [(row.name, row.machine, row.active) for row in everything.states] == [
        ("db.service", MACHINE, ActiveState.FAILED),
        ("web.service", MACHINE, ActiveState.ACTIVE),
    ]
    elsewhere = await list_states(cluster, StatesQuery(machine="2" * 32))
    assert elsewhere.states == ()
    web = await list_states(cluster, StatesQuery(name=("web*",)))
    assert [row.name for row in web.states] == ["web.service"]


async def test_machines_say_whether_they_are_there_and_what_they_have(
    cluster: Api, store: MemoryStore
) -> None:
    (here,) = (await list_machines(cluster)).machines
    assert (here.hostname, here.state, here.units) == ("m1", "ready", 2)
    await store.txn([], [base.Delete(keys.presence(MACHINE))])
    (gone,) = (await list_machines(cluster)).machines
    assert (gone.state, gone.since) == ("suspect", NOW)


async def test_why_tells_the_reasons_of_a_placed_unit_and_its_last_events(cluster: Api) -> None:
    told = await why(cluster, "web.service")
    assert [(p.machine, p.reason) for p in told.placements] == [(MACHINE, "least loaded of 1")]
    assert told.explanation is None
    assert [row.active for row in told.statuses] == [ActiveState.ACTIVE]
    assert [event.message for event in told.events] == [f"run {n}" for n in range(21, 41)]


async def test_why_tells_what_a_waiting_unit_waits_for(cluster: Api) -> None:
    told = await why(cluster, "gpu.service")
    assert told.explanation is not None
    assert told.explanation.remedy == "add gpu=yes"
    assert told.explanation.refusals[0].machines == (MACHINE,)
    with pytest.raises(NotFound):
        await why(cluster, "nope.service")


async def test_events_are_the_newest_oldest_first_or_those_after_a_key(cluster: Api) -> None:
    newest = (await list_events(cluster, EventsQuery(unit="web*", limit=3))).events
    assert [event.message for event in newest] == ["run 38", "run 39", "run 40"]
    following = await list_events(cluster, EventsQuery(limit=2, after=newest[0].key))
    assert [event.message for event in following.events] == ["run 39", "run 40"]
    nothing = await list_events(cluster, EventsQuery(after=newest[-1].key))
    assert nothing.events == ()


async def test_events_can_be_asked_for_by_kind_and_machine(cluster: Api) -> None:
    submitted = (await list_events(cluster, EventsQuery(kind="unit.submitted"))).events
    assert [event.unit for event in submitted] == ["web.service", "db.service", "gpu.service"]
    assert (await list_events(cluster, EventsQuery(machine="2" * 32))).events == ()


async def test_a_text_that_is_no_utf8_is_shown_and_given_exactly(
    api: Api, store: MemoryStore
) -> None:
    text = b"# caf\xe9\n"
    digest = digest_of(text)
    unit = SubmittedUnit(name="a.service", text=WEB)
    await submit(api, SubmitRequest(units=(unit,)))
    record = (await store.range(keys.unit(UnitName("a.service")))).kvs[0]
    changed = record.value.replace(digest_of(WEB.encode()).encode(), digest.encode())
    await store.txn([], [base.Put(keys.text(digest), text), base.Put(record.key, changed)])
    shown = await get_unit(api, "a.service")
    assert (shown.text, shown.text_base64) == ("# caf\\xe9\n", "IyBjYWbpCg==")


async def test_version_and_status_speak_of_the_cluster(cluster: Api) -> None:
    assert len((await version(cluster)).cluster) == 32
    told = await status(cluster)
    assert (told.machines, told.units, told.engine) == (1, 3, None)


def nothing(text: bytes) -> tuple[()]:
    return ()


async def test_verify_shows_what_submitting_would_say(cluster: Api) -> None:
    bad = VerifiedUnit(name="a.service", text='[Service]\nExecStart="open\n')
    found = (
        await verify(VerifyRequest(units=(bad,)), known=(), find_unhonoured=nothing)
    ).diagnostics
    assert [(one.file, one.line, one.severity) for one in found] == [("a.service", 2, "error")]


async def test_what_is_said_of_a_template_is_said_once_for_its_instances() -> None:
    text = WEB + "Colour=red\n"
    units = tuple(VerifiedUnit(name=f"web@{n}.service", text=text) for n in range(5))
    found = (
        await verify(VerifyRequest(units=units), known=(), find_unhonoured=nothing)
    ).diagnostics
    assert len(found) == 1


async def test_an_empty_store_gets_one_cluster_however_many_open_it() -> None:
    store = MemoryStore()
    first = await open_cluster(store, clock=clock)
    assert await open_cluster(store, clock=clock) == first


async def test_a_store_of_a_newer_layout_is_refused() -> None:
    store = MemoryStore()
    newer = Cluster(id="0" * 32, created_at=NOW, layout=99)
    await store.txn([], [base.Put(keys.CLUSTER, codec.encode(newer))])
    with pytest.raises(StoreRefused, match="layout 99"):
        await open_cluster(store, clock=clock)


async def test_a_store_with_records_of_no_cluster_is_refused_and_left_alone() -> None:
    store = MemoryStore()
    await store.txn([], [base.Put(keys.machine(MACHINE), b"{}")])
    with pytest.raises(StoreRefused):
        await open_cluster(store, clock=clock)
    assert not (await store.range(keys.CLUSTER)).kvs


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("limit=0", "limit: "),
        ("limit=many", "limit: "),
        ("limit=1&limit=2", "limit: given 2 times"),
        ("app=", "app: "),
        ("after=x", "after: "),
        ("nmae=x&name=y", "nmae: there is no such parameter"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_query(QueryParams(query), UnitsQuery)
    assert caught.value.problems[0].startswith(problem)


def test_a_parameter_may_be_repeated_where_it_is_a_list() -> None:
    decoded = decode_query(QueryParams("name=a&name=b&limit=5"), UnitsQuery)
    assert decoded == UnitsQuery(name=("a", "b"), limit=5)


def test_the_document_is_the_same_each_time() -> None:
    assert openapi.document(ROUTES) == openapi.document(ROUTES)
