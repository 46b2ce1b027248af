"""Actions into transactions: the only place that writes assignments and explanations.

Every transaction carries the leader's guard and the revision of each assignment that it replaces, so a plan made on an
older picture writes nothing. What fits is one transaction. A larger plan is split so that whatever is interrupted in
the middle leaves a unit on no machine, never on two: first everything that is taken away, then what is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
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
from argosy.settings import PresenceSettings
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
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    _events_written: int = 0

    async def commit(
        self,
        view: View,
        plan: Sequence[actions.EngineAction],
        at: datetime,
        *,
        silent: Set[MachineId] = frozenset(),
    ) -> None:
        """Carry out a plan made on this very view, and bring the view up to date.

        silent: machines whose silence was believed. What is taken from them is taken only while they are still absent: one
            that has registered meanwhile reads its assignment after that, and must not be told of units that another got.

        Raises LeaseLost when somebody else leads, StaleRevision when an assignment is not what the view says, or a
        silent machine spoke (load the view anew), Indeterminate when it may or may not have happened (load the view anew).
        """
        snapshot = view.snapshot()
        planned = apply_plan(snapshot, plan, at, self.presence)
        after = planned.assignments
        changed = sorted({action.machine for action in plan if isinstance(action, _MOVES)})
        waits = [
            planned.pending[action.unit] for action in plan if isinstance(action, actions.Wait)
        ]
        settled = [action.unit for action in plan if isinstance(action, actions.Settle)]
        moved = [action.unit for action in plan if isinstance(action, actions.Forget)]
        events = self._events(plan, at)
        removals = [a for a in plan if isinstance(a, actions.Unplace | actions.Release)]
        taken = sorted({action.machine for action in removals})
        still_absent = [base.absent(keys.presence(m)) for m in taken if m in silent]
        count = len(changed) + len(waits) + len(settled) + len(moved) + len(events)
        if max(count, len(changed) + len(still_absent)) <= OPS_PER_TXN:
            await self._write(
                view,
                [after[m] for m in changed],
                pending=waits,
                settled=settled,
                moved=moved,
                events=events,
                compares=still_absent,
            )
            return
        without = apply_plan(snapshot, removals, at, self.presence).assignments
        for some in _chunks(taken, OPS_PER_TXN // 2):
            absent = [base.absent(keys.presence(machine)) for machine in some if machine in silent]
            await self._write(view, [without[machine] for machine in some], compares=absent)
        for some in _chunks(changed):
            await self._write(view, [after[machine] for machine in some])
        for explanations in _chunks(waits):
            await self._write(view, pending=explanations)
        for names in _chunks(settled):
            await self._write(view, settled=names)
        for names in _chunks(moved):
            await self._write(view, moved=names)
        for told in _chunks(events):
            await self._write(view, events=told)

    async def record(
        self,
        view: View,
        events: Sequence[Event],
        beliefs: Sequence[base.Put | base.Delete] = (),
        *,
        absent: Set[MachineId] = frozenset(),
        unless_changed: Mapping[str, int] | None = None,
    ) -> int:
        """Write what belongs to no plan: events, and what is believed of machines. Returns the revision it has then.

        absent: machines that must not be there for it. unless_changed: keys, with the revisions of their last changes.
        Raises as `commit`.
        """
        ops = [*beliefs, *(self._put(event) for event in events)]
        compares = [base.absent(keys.presence(machine)) for machine in sorted(absent)]
        compares += (
            base.Compare(key, base.Target.MOD, "=", at)
            for key, at in (unless_changed or {}).items()
        )
        revision = 0
        for start in range(0, max(len(ops), len(compares)), OPS_PER_TXN):
            end = start + OPS_PER_TXN
            revision = await self._write(view, events=ops[start:end], compares=compares[start:end])
        return revision

    async def _write(
        self,
        view: View,
        assignments: Sequence[Assignment] = (),
        *,
        pending: Sequence[Explanation] = (),
        settled: Sequence[UnitName] = (),
        moved: Sequence[UnitName] = (),
        events: Sequence[base.Put | base.Delete] = (),
        compares: Sequence[base.Compare] = (),
    ) -> int:
        compares = [self.guard, *compares]
        for assignment in assignments:
            revision = view.assignment_revisions.get(assignment.machine, 0)
            key = keys.assignment(assignment.machine)
            compares.append(base.Compare(key, base.Target.MOD, "=", revision))
        ops: list[base.Op] = [
            *(base.Put(keys.assignment(one.machine), codec.encode(one)) for one in assignments),
            *(base.Put(keys.pending(one.unit), codec.encode(one)) for one in pending),
            *(base.Delete(keys.pending(name)) for name in settled),
            *(base.Delete(keys.move(name)) for name in moved),
            *events,
        ]
        result = await self.store.txn(compares, ops, [base.Get(keys.LEADER)])
        if not result.succeeded:
            leader = result.responses[0]
            assert isinstance(leader, base.RangeResult)
            if not leader.kvs or leader.kvs[0].create_revision != self.guard.operand:
                raise LeaseLost("another engine leads; nothing was written")
            raise StaleRevision(
                "an assignment changed, or a machine came back; nothing was written"
            )
        view.adopt(
            assignments=assignments,
            pending=pending,
            settled=settled,
            moved=moved,
            revision=result.revision,
        )
        return result.revision

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


_MOVES = (actions.Place, actions.Unplace, actions.Release, actions.Update, actions.Clear)


def _event(action: actions.EngineAction, at: datetime) -> Event | None:
    match action:
        case actions.Place():
            kind, message = "unit.placed", action.reason
        case actions.Unplace():
            kind, message = "unit.unplaced", action.reason
        case actions.Release():
            kind, message = "unit.leaving", f"{action.reason}; it has to end there first"
        case actions.Forget() if action.refusal:
            return Event(
                at=at,
                kind="unit.move-refused",
                unit=action.unit,
                message=f"not moved: {action.refusal}",
                by="engine",
            )
        case actions.Wait():
            return Event(
                at=at,
                kind="unit.pending",
                unit=action.unit,
                message=action.explanation.summary,
                by="engine",
            )
        case actions.Update() | actions.Settle() | actions.Forget() | actions.Clear():
            return None
    return Event(
        at=at, kind=kind, unit=action.unit, machine=action.machine, message=message, by="engine"
    )


def _chunks(items: Sequence[T], size: int = OPS_PER_TXN) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
