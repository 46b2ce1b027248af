"""The engine: waits until it leads, then turns changes in the store into assignments.

One turn folds what changed into the view, judges presence, plans (pure) and commits. It wakes for a change, for the
moment when a verdict on a machine could change, and for the slow tick, on which everything is looked at anew and
nothing must be found to do.

`Temporary` trouble ends a turn and the view is loaded anew; `LeaseLost` ends the term; anything else ends the engine,
and its daemon with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from argosy.engine import leader, presence
from argosy.engine.commit import Committer
from argosy.engine.planner import Scope, plan
from argosy.engine.view import FIRST_KEY, LAST_KEY, View
from argosy.errors import Conflict, LeaseLost, Temporary
from argosy.model import actions
from argosy.model.event import Event
from argosy.model.ids import MachineId
from argosy.scheduler.board import Board
from argosy.settings import EngineSettings
from argosy.store import base, keys

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine says of itself."""

    name: str
    is_leading: bool
    sentence: str
    """What the last turn did, or what the engine waits for."""
    braked: frozenset[MachineId] = frozenset()
    """Machines that are gone but not given up, because too many vanished together."""


class Engine:
    """One engine on one store. Several may run; one leads.

    name: unique among the engines of the store; short, it becomes part of keys.
    clock: wall-clock time for records that people read; decisions use the loop's clock only.
    """

    def __init__(
        self,
        store: base.Store,
        *,
        name: str,
        clock: Callable[[], datetime],
        settings: EngineSettings | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        self._settings = settings or EngineSettings()
        self.status = EngineStatus(name, is_leading=False, sentence="starting")

    async def run(self) -> None:
        """Lead whenever nobody else does, for ever."""
        while True:
            try:
                async with leader.lead(
                    self._store, name=self._name, ttl=self._settings.leader_ttl
                ) as term:
                    log.info("leading", extra={"action": "lead", "engine": self._name})
                    committer = Committer(self._store, term.guard, self._name)
                    await self._lead(committer)
            except LeaseLost as problem:
                self._say(f"not leading: {problem}", is_leading=False)
            except Temporary as problem:
                self._say(f"waiting for the store: {problem}", is_leading=False)
                await asyncio.sleep(self._settings.retry_after.total_seconds())

    async def _lead(self, committer: Committer) -> None:
        announced = False
        while True:
            try:
                view = await View.load(self._store, self._clock)
                term = _Term(view, committer, self._settings, self._clock)
                if not announced:
                    await term.announce(self._name)
                    announced = True
                async with _inbox(
                    self._store.watch(FIRST_KEY, LAST_KEY, start_revision=view.revision + 1)
                ) as inbox:
                    await self._turn_for_ever(term, inbox)
            except LeaseLost:
                raise
            except (Temporary, Conflict, base.Compacted) as problem:
                # The picture may be wrong: nothing is sent again, everything is read again.
                self._say(f"reading the store again: {problem}", is_leading=True)
                await asyncio.sleep(self._settings.retry_after.total_seconds())

    async def _turn_for_ever(self, term: _Term, inbox: _Inbox) -> None:
        loop = asyncio.get_running_loop()
        full_every = self._settings.full_turn_every.total_seconds()
        next_full = loop.time() + full_every
        sentence = await term.turn(Scope.everything())
        self._say(sentence or "leading; nothing to do", is_leading=True, braked=term.braked)
        while True:
            deadline = min(next_full, term.look_again_at)
            batches = await inbox.take(deadline)
            scope = Scope.nothing()
            for batch in batches:
                scope = scope | term.view.fold(batch, term.board)
            sentence = await term.turn(scope)
            if loop.time() >= next_full:
                await self._full_turn(term)
                next_full = loop.time() + full_every
            if sentence or term.braked != self.status.braked:
                self._say(sentence or _about(term.braked), is_leading=True, braked=term.braked)

    async def _full_turn(self, term: _Term) -> None:
        missed = await term.full_turn()
        if missed:
            log.warning("a full turn found what the turns before it had missed: %s", missed)
        await term.tidy()

    def _say(
        self, sentence: str, *, is_leading: bool, braked: frozenset[MachineId] = frozenset()
    ) -> None:
        log.info("%s", sentence, extra={"action": "turn", "engine": self._name})
        self.status = EngineStatus(
            self._name, is_leading=is_leading, sentence=sentence, braked=braked
        )


class _Term:
    """What the leader knows and does between two loads of its view."""

    def __init__(
        self,
        view: View,
        committer: Committer,
        settings: EngineSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self.view = view
        self.board = Board.of(view.snapshot(), view.usable())
        self.look_again_at = float("inf")
        self.braked: frozenset[MachineId] = frozenset()
        self._committer = committer
        self._settings = settings
        self._clock = clock
        self._lost: frozenset[MachineId] = frozenset()

    async def announce(self, name: str) -> None:
        event = Event(at=self._clock(), kind="engine.leading", message=f"{name} leads", by="engine")
        await self._committer.record(self.view, [event])

    async def turn(self, scope: Scope) -> str:
        """Judge, plan, commit. Returns a sentence about what was done, empty when there was nothing."""
        events = self._judge()
        newly_lost = frozenset(MachineId(event.machine) for event in events if event.machine)
        scope = scope | Scope(machines=newly_lost)
        if events:
            await self._committer.record(self.view, events)
        if not scope:
            return ""
        decided = plan(self.view.snapshot(), self.board, scope, lost=self._lost)
        if not decided:
            return ""
        await self._committer.commit(self.view, decided, self._clock())
        return _sentence(decided)

    async def full_turn(self) -> str:
        """Look at everything with a board made anew from the view."""
        self.board = Board.of(self.view.snapshot(), self.view.usable())
        return await self.turn(Scope.everything())

    async def tidy(self) -> None:
        """Drop the oldest events and old revisions."""
        store = self._committer.store
        events = await store.range(keys.EVENTS, base.prefix_end(keys.EVENTS), keys_only=True)
        surplus = len(events.kvs) - self._settings.events_kept
        if surplus > 0:
            first_kept = events.kvs[surplus].key if surplus < len(events.kvs) else None
            end = first_kept or base.prefix_end(keys.EVENTS)
            await store.txn([self._committer.guard], [base.Delete(keys.EVENTS, end)])
        status = await store.status()
        oldest = status.revision - self._settings.history_kept
        if oldest > status.compacted_revision + self._settings.history_kept // 10:
            await store.compact(oldest)

    def _judge(self) -> list[Event]:
        now = asyncio.get_running_loop().time()
        verdict = self._verdict(now)
        if self.braked and not verdict.braked:
            # Those that vanished together come back one after the other: the last ones get time for it too.
            self.view.trusted_since = now
            verdict = self._verdict(now)
        after = verdict.look_again_after
        self.look_again_at = float("inf") if after is None else now + after.total_seconds()
        events = [
            Event(
                at=self._clock(),
                kind="machine.lost",
                machine=machine,
                message=f"no heartbeat for {self._settings.presence.lost_after.total_seconds():.0f} s; "
                "its units run elsewhere",
                by="engine",
            )
            for machine in sorted(verdict.lost - self._lost)
        ]
        if verdict.braked and not self.braked:
            count = len(verdict.braked)
            message = f"{count} machines vanished together; nothing is moved until they are fewer"
            events.append(
                Event(at=self._clock(), kind="engine.braked", message=message, by="engine")
            )
        self.braked = verdict.braked
        self._lost = verdict.lost
        return events

    def _verdict(self, now: float) -> presence.Verdict:
        absent_for = self.view.absent_for(now)
        return presence.judge(
            absent_for=absent_for,
            hosting=self.view.hosting() if absent_for else frozenset(),
            known_lost=self._lost,
            trusted_for=timedelta(seconds=now - self.view.trusted_since),
            settings=self._settings.presence,
        )


class _Inbox:
    """Batches that a watch has delivered and nobody has folded yet: so that a busy engine folds many in one turn."""

    def __init__(self) -> None:
        self._batches: deque[base.WatchBatch] = deque()
        self._wake = asyncio.Event()
        self._end: BaseException | None = None

    async def fill(self, batches: AsyncIterator[base.WatchBatch]) -> None:
        try:
            async for batch in batches:
                self._batches.append(batch)
                self._wake.set()
            self._end = base.WatchLost("the watch ended")
        except (Temporary, base.Compacted) as problem:
            self._end = problem
        self._wake.set()

    async def take(self, deadline: float) -> list[base.WatchBatch]:
        """Everything delivered, waiting for something until the loop time `deadline`; then perhaps nothing.

        Raises what ended the watch, once everything before that was taken.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline if deadline != float("inf") else None):
                await self._wake.wait()
        if self._end is not None and not self._batches:
            raise self._end
        batches = list(self._batches)
        self._batches.clear()
        if self._end is None:
            self._wake.clear()
        return batches


@asynccontextmanager
async def _inbox(
    watch: AbstractAsyncContextManager[AsyncIterator[base.WatchBatch]],
) -> AsyncIterator[_Inbox]:
    inbox = _Inbox()
    async with watch as batches:
        reader = asyncio.create_task(inbox.fill(batches), name="read the engine's watch")
        try:
            yield inbox
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader


def _about(braked: frozenset[MachineId]) -> str:
    """What is to be said when only the brake has changed."""
    if not braked:
        return "the machines that had vanished together are back or given up"
    return f"nothing is moved: too many machines vanished together, {len(braked)} of them long ago"


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
