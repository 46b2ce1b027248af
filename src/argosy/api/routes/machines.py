"""Machines: how they are, what people want of them, and plans of what that would move."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from argosy.api import views
from argosy.api.access import Access
from argosy.api.machine_schemas import (
    Asked,
    DrainPlan,
    MovesRequest,
    MoveView,
    Ordered,
    OrdersRequest,
    RebalancePlan,
    RebalanceQuery,
    Removed,
    StayingView,
)
from argosy.api.removing import remove_machine
from argosy.api.routing import Route
from argosy.api.schemas import Machines
from argosy.api.services import Api
from argosy.errors import Invalid, NotFound, StaleRevision
from argosy.model.event import Event
from argosy.model.ids import MachineId, UnitName
from argosy.model.moves import Move, MoveOrder
from argosy.model.orders import MachineOrders, Scheduling
from argosy.scheduler.draining import what_would_move
from argosy.scheduler.rebalance import rebalance
from argosy.store import base, codec, keys

ATTEMPTS = 5
_KINDS = {
    Scheduling.OPEN: "machine.opened",
    Scheduling.CORDONED: "machine.cordoned",
    Scheduling.DRAINED: "machine.drained",
}


async def list_machines(api: Api) -> Machines:
    """Every machine that ever registered, in order of id, whether it is there or not."""
    picture = await api.feed.catch_up()
    return Machines(
        revision=picture.revision,
        machines=tuple(views.machine(picture, machine) for machine in sorted(picture.machines)),
    )


async def order_machine(api: Api, machine: str, body: OrdersRequest) -> Ordered:
    """Say what a machine is for (`open`, `cordoned`, `drained`), and change its metadata.

    Cordoned, nothing new is placed on it; drained, what can run elsewhere also moves away.
    """
    if body.for_seconds is not None and body.scheduling in (None, Scheduling.OPEN):
        raise Invalid("only a cordon or a drain can be for a while", hint="give scheduling too")
    if twice := {*body.metadata} & {*body.without, *body.forget}:
        raise Invalid(f"{min(twice)!r} is both set and taken away")
    machine_id = MachineId(machine)
    key = keys.orders(machine_id)
    for _ in range(ATTEMPTS):
        record = await api.services.store.range(keys.machine(machine_id))
        if not record.kvs:
            raise NotFound("there is no such machine", hint="argosy list-machines")
        found = await api.services.store.range(key)
        before, beyond = MachineOrders(machine=machine_id), None
        if found.kvs:
            before = codec.decode(found.kvs[0].value, MachineOrders)
            beyond = codec.beyond(found.kvs[0].value, before)
        after, told = _changed(api, before, body)
        # A machine that is removed meanwhile gets no orders.
        guard = [base.unchanged(record.kvs[0])]
        guard.append(base.unchanged(found.kvs[0]) if found.kvs else base.absent(key))
        events = [api.journal.put(one) for one in told]
        put = base.Put(key, codec.encode(after, beyond=beyond))
        result = await api.services.store.txn(guard, [put, *events])
        if result.succeeded:
            picture = await api.feed.catch_up()
            return Ordered(revision=picture.revision, machine=views.machine(picture, machine_id))
    raise StaleRevision("the machine's orders change all the time", hint="try again")


def _changed(
    api: Api, before: MachineOrders, body: OrdersRequest
) -> tuple[MachineOrders, list[Event]]:
    now = api.services.clock()
    gone = {*body.without, *body.forget}
    metadata = {key: value for key, value in before.metadata.items() if key not in gone}
    without = ({*before.without} | {*body.without}) - {*body.metadata, *body.forget}
    after = msgspec.structs.replace(
        before, metadata={**metadata, **body.metadata}, without=tuple(sorted(without))
    )
    told: list[Event] = []
    if (after.metadata, after.without) != (before.metadata, before.without):
        words = [f"{key}={value}" for key, value in sorted(body.metadata.items())]
        words += [f"without {key}" for key in sorted(body.without)]
        words += [f"{key} as its agent says" for key in sorted(body.forget)]
        told.append(_event(api, before.machine, "machine.labelled", ", ".join(words)))
    if body.scheduling is not None:
        lasts = None if body.for_seconds is None else timedelta(seconds=body.for_seconds)
        after = msgspec.structs.replace(
            after,
            scheduling=body.scheduling,
            until=None if lasts is None else now + lasts,
            reason=body.reason,
            by=api.by,
            at=now,
        )
        words = [body.reason] if body.reason else []
        words += [f"for {lasts}"] if lasts else []
        told.append(_event(api, before.machine, _KINDS[body.scheduling], ", ".join(words)))
    return after, told


def _event(api: Api, machine: MachineId, kind: str, message: str) -> Event:
    now = api.services.clock()
    return Event(at=now, kind=kind, machine=machine, message=message, by=api.by)


async def remove(api: Api, machine: str) -> Removed:
    """Take a machine out of the cluster: its certificate is worth nothing any more, and its units move at once."""
    return Removed(revision=await remove_machine(api, MachineId(machine)))


async def plan_drain(api: Api, machine: str) -> DrainPlan:
    """What draining the machine would move where, and what has no other place. Changes nothing."""
    picture = await api.feed.catch_up()
    if MachineId(machine) not in picture.machines:
        raise NotFound("there is no such machine", hint="argosy list-machines")
    plan = what_would_move(picture.snapshot(), MachineId(machine))
    return DrainPlan(
        revision=picture.revision,
        moves=_moves(plan.moves),
        staying=tuple(StayingView(unit=one.unit, reason=one.reason) for one in plan.staying),
    )


async def plan_rebalance(api: Api, query: RebalanceQuery) -> RebalancePlan:
    """Which units would move to even out how many the machines have. Changes nothing."""
    picture = await api.feed.catch_up()
    moves = rebalance(picture.snapshot(), budget=query.budget)
    return RebalancePlan(revision=picture.revision, moves=_moves(moves))


async def ask_moves(api: Api, body: MovesRequest) -> Asked:
    """Ask for units to go to other machines, each once. What cannot be done is refused in an event `unit.move-refused`."""
    picture = await api.feed.catch_up()
    unknown = sorted({one.unit for one in body.moves} - picture.units.keys())
    if unknown:
        raise NotFound(f"there is no unit {unknown[0]}", hint="argosy list-unit-files")
    strangers = sorted({one.to for one in body.moves} - picture.machines.keys())
    if strangers:
        raise NotFound(f"there is no machine {strangers[0]}", hint="argosy list-machines")
    now = api.services.clock()
    orders = [
        MoveOrder(
            unit=UnitName(one.unit), to=MachineId(one.to), reason=one.reason, by=api.by, at=now
        )
        for one in body.moves
    ]
    for start in range(0, len(orders), base.MAX_TXN_OPS):
        some = orders[start : start + base.MAX_TXN_OPS]
        puts = [base.Put(keys.move(one.unit), codec.encode(one)) for one in some]
        await api.services.store.txn([], puts)
    return Asked(revision=(await api.feed.catch_up()).revision)


def _moves(moves: Iterable[Move]) -> tuple[MoveView, ...]:
    return tuple(
        MoveView(unit=one.unit, before=one.before, after=one.after, reason=one.reason)
        for one in moves
    )


ROUTES = (
    Route(method="GET", path="/v1/machines", handler=list_machines),
    Route(
        method="PATCH",
        path="/v1/machines/{machine}",
        handler=order_machine,
        access=Access.ADMIN,
        errors=(404, 409, 507),
    ),
    Route(
        method="DELETE",
        path="/v1/machines/{machine}",
        handler=remove,
        access=Access.ADMIN,
        errors=(404, 409),
    ),
    Route(
        method="GET",
        path="/v1/machines/{machine}/drain-plan",
        handler=plan_drain,
        errors=(404,),
    ),
    Route(method="GET", path="/v1/rebalance-plan", handler=plan_rebalance),
    Route(
        method="POST",
        path="/v1/moves",
        handler=ask_moves,
        access=Access.ADMIN,
        errors=(404, 507),
    ),
)
