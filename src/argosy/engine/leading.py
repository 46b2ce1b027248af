"""What the leader knows and does between two loads of its view: judge, plan, commit, and what has to wait for time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from argosy.engine import presence
from argosy.engine.commit import Committer
from argosy.engine.pace import Pace
from argosy.engine.planner import Scope, Timing, plan
from argosy.engine.view import View
from argosy.model import actions
from argosy.model.event import Event
from argosy.model.ids import MachineId
from argosy.model.lost import Brake, LostMachine
from argosy.model.orders import Scheduling
from argosy.scheduler.board import Board
from argosy.settings import EngineSettings
from argosy.store import base, codec, keys

EVENTS_AT_ONCE = 200
"""How many events are dropped in a transaction. Whoever follows the store is told of each with what it said, which etcd
looks up one by one: twenty thousand in one were half a minute in which nobody heard of anything else."""


class Leading:
    """One unbroken time of leading with one view.

    Until `presence` says otherwise, what the engine before this one believed of machines still holds.
    """

    def __init__(
        self,
        view: View,
        committer: Committer,
        settings: EngineSettings,
        clock: Callable[[], datetime],
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.view = view
        self.board = Board.of(view.snapshot(), view.usable())
        self.look_again_at = float("inf")
        """Loop time at which a turn could find something to do without any event."""
        self._committer = committer
        self._settings = settings
        self._clock = clock
        self._pace = Pace(settings, now)
        self._silent: dict[MachineId, timedelta] = {}
        self._told: dict[MachineId, timedelta] = {}
        """Silences that were told of, at the revision `_told_at`."""
        self._told_at = 0
        self._may_leave: dict[MachineId, int] = {}
        self._closed = self._closed_now()
        self._is_calm = True
        unfenced = view.unfenced_for(settings.presence)
        self._fences_from = now + unfenced.total_seconds() if unfenced is not None else now
        self._may_fence = self._had_fences = unfenced is None

    @property
    def braked(self) -> frozenset[MachineId]:
        """Machines that are silent and not given up, because too many vanished together."""
        brake = self.view.brake
        return frozenset(brake.machines) if brake is not None else frozenset()

    async def announce(self, name: str) -> None:
        event = Event(at=self._clock(), kind="engine.leading", message=f"{name} leads", by="engine")
        await self._committer.record(self.view, [event])

    async def turn(self, scope: Scope) -> str:
        """Judge, plan, commit. Returns a sentence about what was done, empty when there was nothing."""
        now = asyncio.get_running_loop().time()
        scope = scope | Scope(machines=frozenset(self.view.pass_time(self.board)))
        await self._end_orders()
        verdict = await self._confirmed(self._judge(now), now)
        await self._record(verdict)
        self._notice_returns(now)
        timing = self._timing(verdict, now)
        scope = scope | self._woken_by(timing)
        decided = plan(self.view.snapshot(), self.board, scope, timing) if scope else []
        if decided:
            await self._committer.commit(
                self.view, decided, self._clock(), silent=timing.silent.keys()
            )
            self._pace.set_out(decided, self.view.scheduling, now, may_level=timing.may_level)
        elif timing.may_level:
            self._pace.found_even()
        self.view.wait_for(self._pace.under_way)
        self.look_again_at = self._next_look(verdict, now)
        return _sentence(decided)

    async def full_turn(self) -> str:
        """Look at everything with a board made anew from the view."""
        self.board = Board.of(self.view.snapshot(), self.view.usable())
        return await self.turn(Scope.everything())

    async def tidy(self) -> None:
        """Drop the oldest events and old revisions."""
        store = self._committer.store
        end = base.prefix_end(keys.EVENTS)
        events = await store.range(keys.EVENTS, end, keys_only=True)
        surplus = max(0, len(events.kvs) - self._settings.events_kept)
        for first in range(0, surplus, EVENTS_AT_ONCE):
            kept = min(first + EVENTS_AT_ONCE, surplus)
            until = events.kvs[kept].key if kept < len(events.kvs) else end
            await store.txn([self._committer.guard], [base.Delete(keys.EVENTS, until)])
        status = await store.status()
        oldest = status.revision - self._settings.history_kept
        if oldest > status.compacted_revision + self._settings.history_kept // 10:
            await store.compact(oldest)

    # --- judging ------------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> presence.Verdict:
        verdict = self._verdict(now, braked=self.braked)
        if self.braked and not verdict.braked:
            # Those that vanished together come back one after the other: the last ones get time for it too.
            self.view.trusted_since = now
            verdict = self._verdict(now, braked=frozenset())
        return verdict

    async def _confirmed(self, verdict: presence.Verdict, now: float) -> presence.Verdict:
        """Act on a silence only on a picture that has all that happened until after it was noticed.

        The watch may be slow, or this engine may have stood still: machines may be back, or so many gone that it is time
        for the brake. So the silence is told of first, as an event, and what is done about it waits for the watch to bring
        that very event.
        """
        view, settings = self.view, self._settings.presence
        news = {
            machine: limit
            for machine, limit in verdict.silent.items()
            if self._silent.get(machine, timedelta()) < limit
            and not (machine in view.lost and limit <= settings.lost_after)
        }
        self._told = {m: limit for m, limit in self._told.items() if news.get(m) == limit}
        untold = news.keys() - self._told.keys()
        if untold:
            at = self._clock()
            events = [
                Event(
                    at=at,
                    kind="machine.silent",
                    machine=machine,
                    message=f"no heartbeat for {news[machine].total_seconds():.0f} s",
                    by="engine",
                )
                for machine in sorted(untold)
            ]
            self._told_at = await self._committer.record(view, events, absent=untold)
            self._told = news
        if not news or view.revision >= self._told_at:
            return verdict
        return self._verdict(now, braked=self.braked, is_current=False)

    def _verdict(
        self, now: float, *, braked: frozenset[MachineId], is_current: bool = True
    ) -> presence.Verdict:
        """is_current: whether the picture is; on another one no new silence is believed."""
        settings = self._settings.presence
        absent_for = self.view.absent_for(now)
        hosting = self.view.hosting(settings) if absent_for else {}
        self._is_calm = not absent_for.keys() & hosting.keys()
        return presence.judge(
            absent_for=absent_for,
            hosting=hosting,
            known_lost=self.view.lost.keys() - self.view.back,
            known_braked=braked,
            trusted_for=timedelta(seconds=now - self.view.trusted_since if is_current else 0.0),
            settings=settings,
            removed=self.view.removed(),
        )

    async def _record(self, verdict: presence.Verdict) -> None:
        """Write what is believed now, as far as it differs from what is written."""
        view, at = self.view, self._clock()
        events: list[Event] = []
        ops: list[base.Put | base.Delete] = []
        silence = f"no heartbeat for {self._settings.presence.lost_after.total_seconds():.0f} s"
        given_up = {
            machine: LostMachine(machine=machine, since=at, reason=silence)
            for machine in sorted(verdict.lost - view.lost.keys())
        }
        for machine, record in given_up.items():
            ops.append(base.Put(keys.lost(machine), codec.encode(record)))
            words = f"{silence}; its units run elsewhere"
            events.append(
                Event(at=at, kind="machine.lost", machine=machine, message=words, by="engine")
            )
        returned = sorted(view.lost.keys() - verdict.lost)
        ops += (base.Delete(keys.lost(machine)) for machine in returned)
        brake = view.brake
        if verdict.braked != self.braked:
            brake = None
            if verdict.braked:
                count, of = len(verdict.braked), len(view.hosting(self._settings.presence))
                words = (
                    f"{count} of {of} machines with units vanished together: "
                    "nothing is moved until fewer are gone"
                )
                since = view.brake.since if view.brake is not None else at
                brake = Brake(machines=tuple(sorted(verdict.braked)), since=since, message=words)
                ops.append(base.Put(keys.BRAKE, codec.encode(brake)))
                if view.brake is None:
                    events.append(Event(at=at, kind="engine.braked", message=words, by="engine"))
            else:
                ops.append(base.Delete(keys.BRAKE))
        if not ops:
            return
        await self._committer.record(view, events, ops, absent=given_up.keys())
        view.back.difference_update(returned)
        view.lost = {m: r for m, r in (view.lost | given_up).items() if m not in returned}
        view.brake = brake
        if any(view.is_there(machine) for machine in returned):
            self._pace.came_back(asyncio.get_running_loop().time())

    async def _end_orders(self) -> None:
        """Write down which orders are over, so that they are over by every clock."""
        at = self._clock()
        for ended in self.view.ended_orders():
            machine = ended.opened.machine
            told = Event(
                at=at,
                kind="machine.opened",
                machine=machine,
                message="the time for which it was closed is over",
                by="engine",
            )
            key = keys.orders(machine)
            revision = await self._committer.record(
                self.view,
                [told],
                [base.Put(key, codec.encode(ended.opened))],
                unless_changed={key: ended.revision},
            )
            self.view.opened([ended], revision)

    # --- what time brings ---------------------------------------------------------------------------------------

    def _notice_returns(self, now: float) -> None:
        """People opened machines, and units arrived."""
        closed = self._closed_now()
        if self._closed - closed:
            self._pace.came_back(now)
        self._closed = closed
        self._pace.failed(self.view.failed(self._pace.under_way))
        self._pace.arrived(self.view.settled(self._pace.under_way))

    def _timing(self, verdict: presence.Verdict, now: float) -> Timing:
        self._may_fence = self._may_fence or now >= self._fences_from
        view = self.view
        drained = [
            machine
            for machine, state in view.scheduling.items()
            if state is Scheduling.DRAINED and view.is_there(machine)
        ]
        is_calm = self._is_calm and not verdict.braked and not view.has_leaving
        return Timing(
            silent=verdict.silent,
            may_leave=self._pace.may_leave(drained, now),
            may_level=self._pace.may_level(now, is_calm=is_calm),
            may_fence=self._may_fence,
            presence=self._settings.presence,
        )

    def _woken_by(self, timing: Timing) -> Scope:
        """What to look at because time has passed."""
        machines = {m for m, limit in timing.silent.items() if self._silent.get(m) != limit}
        machines |= {m for m, n in timing.may_leave.items() if self._may_leave.get(m, 0) < n}
        self._silent = dict(timing.silent)
        self._may_leave = dict(timing.may_leave)
        scope = Scope(machines=frozenset(machines))
        is_everything = timing.may_level > 0 or (self._may_fence and not self._had_fences)
        self._had_fences = self._may_fence
        return scope | Scope.everything() if is_everything else scope

    def _next_look(self, verdict: presence.Verdict, now: float) -> float:
        times = [self._pace.next_look(now)]
        waits = (verdict.look_again_after, self.view.next_end())
        times += (now + wait.total_seconds() for wait in waits if wait is not None)
        if not self._may_fence:
            times.append(self._fences_from)
        return min(times)

    def _closed_now(self) -> frozenset[MachineId]:
        return frozenset(self.view.scheduling)


def _sentence(decided: Sequence[actions.EngineAction]) -> str:
    """What a plan did, for the log and `doctor`: `placed 3, took away 1, 2 wait for a machine`."""
    words = (
        (actions.Place, "placed {}"),
        (actions.Unplace, "took away {}"),
        (actions.Update, "updated {}"),
        (actions.Wait, "{} wait for a machine"),
    )
    counts = ((text, sum(isinstance(action, kind) for action in decided)) for kind, text in words)
    return ", ".join(text.format(count) for text, count in counts if count)
