"""Actions into transactions: the only place that writes assignments and explanations.

Every transaction carries the leader's guard and the revision of each assignment that it replaces, so a plan made on an
older picture writes nothing. What fits is one transaction. A larger plan is split so that whatever is interrupted in
the middle leaves a unit on no machine, never on two: first everything that is taken away, then what is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from argosy.engine.planner import apply_plan
from argosy.engine.view import View
from argosy.errors import LeaseLost, StaleRevision
from argosy.model import actions
from argosy.model.assignment import Assignment
from argosy.model.event import Event
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.store import base, codec, keys

T = TypeVar("T")

OPS_PER_TXN = base.MAX_TXN_OPS - 8
EVENTS_PER_PLAN = 1000
"""A plan with more actions is told as one event: the reasons stand in the assignments themselves."""


@dataclass(slots=True)
class Committer:
    """Writes plans for one term of leading."""

    store: base.Store
    guard: base.Compare
    writer: str
    """Short name of this engine, part of the keys of its events."""
    _events_written: int = 0

    async def commit(self, view: View, plan: Sequence[actions.EngineAction], at: datetime) -> None:
        """Carry out a plan made on this very view, and bring the view up to date.

        Raises LeaseLost when somebody else leads, StaleRevision when an assignment is not what the view says (load the
        view anew), Indeterminate when it may or may not have happened (load the view anew).
        """
        snapshot = view.snapshot()
        planned = apply_plan(snapshot, plan, at)
        after = planned.assignments
        changed = sorted({action.machine for action in plan if isinstance(action, _MOVES)})
        waits = [
            planned.pending[action.unit] for action in plan if isinstance(action, actions.Wait)
        ]
        settled = [action.unit for action in plan if isinstance(action, actions.Settle)]
        events = self._events(plan, at)
        if len(changed) + len(waits) + len(settled) + len(events) <= OPS_PER_TXN:
            await self._write(view, [after[m] for m in changed], waits, settled, events)
            return
        removals = [action for action in plan if isinstance(action, actions.Unplace)]
        without = apply_plan(snapshot, removals, at).assignments
        taken = sorted({action.machine for action in removals})
        await self._write_assignments(view, taken, without)
        await self._write_assignments(view, changed, after)
        for some in _chunks(waits):
            await self._write(view, [], some, [], [])
        for names in _chunks(settled):
            await self._write(view, [], [], names, [])
        for told in _chunks(events):
            await self._write(view, [], [], [], told)

    async def record(self, view: View, events: Sequence[Event]) -> None:
        """Write events that belong to no plan. Raises as `commit`."""
        await self._write(view, [], [], [], [self._put(event) for event in events])

    async def _write_assignments(
        self, view: View, machines: Sequence[MachineId], after: Mapping[MachineId, Assignment]
    ) -> None:
        for some in _chunks(machines):
            await self._write(view, [after[machine] for machine in some], [], [], [])

    async def _write(
        self,
        view: View,
        assignments: Sequence[Assignment],
        pending: Sequence[Explanation],
        settled: Sequence[UnitName],
        events: Sequence[base.Put],
    ) -> None:
        compares = [self.guard]
        for assignment in assignments:
            revision = view.assignment_revisions.get(assignment.machine, 0)
            key = keys.assignment(assignment.machine)
            compares.append(base.Compare(key, base.Target.MOD, "=", revision))
        ops: list[base.Op] = [
            *(base.Put(keys.assignment(one.machine), codec.encode(one)) for one in assignments),
            *(base.Put(keys.pending(one.unit), codec.encode(one)) for one in pending),
            *(base.Delete(keys.pending(name)) for name in settled),
            *events,
        ]
        result = await self.store.txn(compares, ops, [base.Get(keys.LEADER)])
        if not result.succeeded:
            leader = result.responses[0]
            assert isinstance(leader, base.RangeResult)
            if not leader.kvs or leader.kvs[0].create_revision != self.guard.operand:
                raise LeaseLost("another engine leads; nothing was written")
            raise StaleRevision("an assignment changed since it was read; nothing was written")
        view.adopt(
            assignments=assignments, pending=pending, settled=settled, revision=result.revision
        )

    def _events(self, plan: Sequence[actions.EngineAction], at: datetime) -> list[base.Put]:
        told = [event for event in (_event(action, at) for action in plan) if event is not None]
        if len(told) > EVENTS_PER_PLAN:
            text = f"{len(told)} decisions in one turn; the reasons stand with each unit"
            told = [Event(at=at, kind="engine.turn", message=text, by="engine")]
        return [self._put(event) for event in told]

    def _put(self, event: Event) -> base.Put:
        self._events_written += 1
        key = keys.event(event.at, writer=self.writer, number=self._events_written)
        return base.Put(key, codec.encode(event))


_MOVES = (actions.Place, actions.Unplace, actions.Update)


def _event(action: actions.EngineAction, at: datetime) -> Event | None:
    match action:
        case actions.Place():
            kind, message = "unit.placed", action.reason
        case actions.Unplace():
            kind, message = "unit.unplaced", action.reason
        case actions.Wait():
            return Event(
                at=at,
                kind="unit.pending",
                unit=action.unit,
                message=action.explanation.summary,
                by="engine",
            )
        case actions.Update() | actions.Settle():
            return None
    return Event(
        at=at, kind=kind, unit=action.unit, machine=action.machine, message=message, by="engine"
    )


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + OPS_PER_TXN] for start in range(0, len(items), OPS_PER_TXN))
