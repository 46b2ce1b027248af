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
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from argosy.engine import leader
from argosy.engine.commit import Committer
from argosy.engine.leading import Leading
from argosy.engine.planner import Scope
from argosy.engine.view import FIRST_KEY, LAST_KEY, View
from argosy.errors import Conflict, LeaseLost, StoreFull, Temporary
from argosy.model.ids import MachineId
from argosy.settings import EngineSettings
from argosy.store import base

log = logging.getLogger(__name__)
LONGEST_BREAK = 0.1
"""Seconds between two turns, at most, while there is something to do."""


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
        turned: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """turned: told after each turn how many seconds it took, with its writes."""
        self._store = store
        self._name = name
        self._clock = clock
        self._settings = settings or EngineSettings()
        self._turned = turned
        self.status = EngineStatus(name, is_leading=False, sentence="starting")

    async def run(self) -> None:
        """Lead whenever nobody else does, for ever."""
        while True:
            try:
                async with leader.lead(
                    self._store, name=self._name, ttl=self._settings.leader_ttl
                ) as term:
                    log.info("leading", extra={"action": "lead", "engine": self._name})
                    committer = Committer(
                        self._store, term.guard, self._name, self._settings.presence
                    )
                    await self._lead(committer)
            except LeaseLost as problem:
                self._say(f"not leading: {problem}", is_leading=False)
            except (Temporary, StoreFull) as problem:
                self._say(f"waiting for the store: {problem}", is_leading=False)
                await asyncio.sleep(self._settings.retry_after.total_seconds())

    async def _lead(self, committer: Committer) -> None:
        announced = False
        while True:
            try:
                view = await View.load(self._store, self._clock)
                leading = Leading(view, committer, self._settings, self._clock)
                if not announced:
                    await leading.announce(self._name)
                    announced = True
                async with _inbox(
                    self._store.watch(
                        FIRST_KEY,
                        LAST_KEY,
                        start_revision=view.revision + 1,
                        with_previous=False,
                    )
                ) as inbox:
                    await self._turn_for_ever(leading, inbox)
            except LeaseLost:
                raise
            except (Temporary, Conflict, StoreFull, base.Compacted) as problem:
                # The picture may be wrong: nothing is sent again, everything is read again.
                self._say(f"reading the store again: {problem}", is_leading=True)
                await asyncio.sleep(self._settings.retry_after.total_seconds())

    async def _turn_for_ever(self, leading: Leading, inbox: _Inbox) -> None:
        loop = asyncio.get_running_loop()
        full_every = self._settings.full_turn_every.total_seconds()
        next_full = loop.time() + full_every
        sentence = await leading.turn(Scope.everything())
        self._say(sentence or "leading; nothing to do", is_leading=True, braked=leading.braked)
        while True:
            deadline = min(next_full, leading.look_again_at)
            batches = await inbox.take(deadline)
            scope = Scope.nothing()
            began = loop.time()
            for batch in batches:
                scope = scope | leading.view.fold(batch, leading.board)
            sentence = await leading.turn(scope)
            took = loop.time() - began
            self._turned(took)
            if loop.time() >= next_full:
                await self._full_turn(leading)
                next_full = loop.time() + full_every
            if sentence or leading.braked != self.status.braked:
                self._say(
                    sentence or _about(leading.braked), is_leading=True, braked=leading.braked
                )
            # Machines are answered by the same process: it gets as much time as the engine took, and what comes meanwhile
            # is decided together.
            await asyncio.sleep(min(took, LONGEST_BREAK))

    async def _full_turn(self, leading: Leading) -> None:
        missed = await leading.full_turn()
        if missed:
            log.warning("a full turn found what the turns before it had missed: %s", missed)
        await leading.tidy()

    def _say(
        self, sentence: str, *, is_leading: bool, braked: frozenset[MachineId] = frozenset()
    ) -> None:
        log.info("%s", sentence, extra={"action": "turn", "engine": self._name})
        self.status = EngineStatus(
            self._name, is_leading=is_leading, sentence=sentence, braked=braked
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
