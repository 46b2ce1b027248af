"""Pure: from the picture to what people get to see."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from argosy.api.picture import Changed, Picture
from argosy.api.schemas import (
    CapacityView,
    EventView,
    ExplanationView,
    Gone,
    MachineState,
    MachineView,
    PlacementView,
    RefusalView,
    StateView,
    UnitDetail,
    UnitView,
)
from argosy.model.event import Event
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.observed import UnitStatus
from argosy.model.orders import Scheduling


def unit(picture: Picture, name: UnitName) -> UnitView:
    return UnitView(**_unit_fields(picture, name))  # type: ignore[arg-type]


def unit_detail(picture: Picture, name: UnitName, text: bytes) -> UnitDetail:
    shown = text.decode(errors="backslashreplace")
    exact: str | msgspec.UnsetType = msgspec.UNSET
    if shown.encode() != text:
        exact = base64.b64encode(text).decode()
    return UnitDetail(
        text=shown,
        text_base64=exact,
        variables=picture.units[name].variables,
        **_unit_fields(picture, name),  # type: ignore[arg-type]
    )


def _unit_fields(picture: Picture, name: UnitName) -> dict[str, object]:
    record = picture.units[name]
    pending = picture.pending.get(name)
    return {
        "name": name,
        "digest": record.digest,
        "desired": record.desired,
        "current": picture.current(name),
        "generation": record.generation,
        "app": record.app,
        "submitted_at": record.submitted_at,
        "description": record.description,
        "is_global": record.requirements.is_global,
        "machines": tuple(sorted(picture.placements.get(name, ()))),
        "pending": explanation(pending) if pending else None,
    }


def explanation(record: Explanation) -> ExplanationView:
    return ExplanationView(
        unit=record.unit,
        refusals=tuple(
            RefusalView(rule=one.rule, detail=one.detail, machines=one.machines, count=one.count)
            for one in record.refusals
        ),
        summary=record.summary,
        remedy=record.remedy,
        since=record.since,
    )


def state(machine: MachineId, status: UnitStatus) -> StateView:
    return StateView(
        machine=machine,
        **{name: getattr(status, name) for name in status.__struct_fields__},
    )


def states(
    picture: Picture, names: Iterable[UnitName], only: MachineId | None
) -> Iterator[StateView]:
    """Rows in the order of `names`, then of machines."""
    for name in names:
        for machine, status in sorted(picture.statuses.get(name, {}).items()):
            if only in (None, machine) and not picture.is_leaving(name, machine):
                yield state(machine, status)


def machine(picture: Picture, machine_id: MachineId) -> MachineView:
    record = picture.machine(machine_id)
    state, why, since = machine_state(picture, machine_id)
    orders = picture.orders.get(machine_id)
    scheduling = orders.scheduling_at(picture.now()) if orders else Scheduling.OPEN
    return MachineView(
        id=record.id,
        hostname=record.hostname,
        address=record.address,
        metadata=record.metadata,
        capacity=CapacityView(
            memory_bytes=record.capacity.memory_bytes, cpu_millis=record.capacity.cpu_millis
        ),
        version=record.version,
        registered_at=record.registered_at,
        state=state,
        why=why,
        since=since,
        scheduling=scheduling,
        until=orders.until if orders and scheduling is not Scheduling.OPEN else None,
        units=len(picture.assignments.get(machine_id, ())),
    )


def machine_state(
    picture: Picture, machine_id: MachineId
) -> tuple[MachineState, str, datetime | None]:
    """How a machine is, why, and since when. That it is not there comes before what people want it for."""
    if lost := picture.lost.get(machine_id):
        return "lost", lost.reason or "silent for too long: its units run elsewhere", lost.since
    if machine_id not in picture.present:
        since = picture.presence_since.get(machine_id)
        if picture.brake and machine_id in picture.brake.machines:
            return "held", picture.brake.message, picture.brake.since
        return "suspect", "no server hears of it; its units stay where they are", since
    orders = picture.orders.get(machine_id)
    scheduling = orders.scheduling_at(picture.now()) if orders else Scheduling.OPEN
    if orders is None or scheduling is Scheduling.OPEN:
        return "ready", "", picture.presence_since.get(machine_id)
    why = f"by {orders.by}" if orders.by else "asked for"
    why += f": {orders.reason}" if orders.reason else ""
    if scheduling is Scheduling.CORDONED:
        return "cordoned", why, orders.at
    return "draining" if picture.assignments.get(machine_id) else "drained", why, orders.at


def placements(picture: Picture, name: UnitName) -> Iterator[PlacementView]:
    for machine_id, assigned in sorted(picture.placements.get(name, {}).items()):
        yield PlacementView(
            machine=machine_id, reason=assigned.reason, placed_at=assigned.placed_at
        )


def event(key: str, record: Event) -> EventView:
    return EventView(
        key=key,
        at=record.at,
        kind=record.kind,
        unit=record.unit,
        machine=record.machine,
        message=record.message,
        by=record.by,
    )


class Message(NamedTuple):
    """One thing that a watch tells."""

    kind: str
    unit: str
    """What the watch's globs are held against; empty for what belongs to no unit, which every watch gets."""
    revision: int
    data: bytes


def messages(picture: Picture, changed: Changed) -> list[Message]:
    """How everything is now that has changed: first machines, then units, then states, then events."""
    told: list[tuple[str, str, msgspec.Struct]] = [
        ("machine", "", _machine_or_gone(picture, machine_id))
        for machine_id in sorted(changed.machines)
    ]
    told += [("unit", name, _unit_or_gone(picture, name)) for name in sorted(changed.units)]
    told += [
        ("state", name, _state_or_gone(picture, name, m)) for name, m in sorted(changed.states)
    ]
    told += [("event", record.unit, event(key, record)) for key, record in changed.events]
    return [
        Message(kind, name, changed.revision, msgspec.json.encode(view))
        for kind, name, view in told
    ]


def _machine_or_gone(picture: Picture, machine_id: MachineId) -> MachineView | Gone:
    is_there = machine_id in picture.machines
    return machine(picture, machine_id) if is_there else Gone(id=machine_id)


def _unit_or_gone(picture: Picture, name: UnitName) -> UnitView | Gone:
    return unit(picture, name) if name in picture.units else Gone(name=name)


def _state_or_gone(picture: Picture, name: UnitName, machine_id: MachineId) -> StateView | Gone:
    status = picture.statuses.get(name, {}).get(machine_id)
    if status is None or picture.is_leaving(name, machine_id):
        return Gone(name=name, machine=machine_id)
    return state(machine_id, status)
