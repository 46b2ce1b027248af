"""Tells the servers what runs on the machine: changes soon and together, and an empty report as a heartbeat.

After trouble the next report is a full one, because nobody knows how much of the last one arrived: the server compares
it with what it has and writes the difference. Each answer lets units run on that must not run twice (`permit.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime

from argosy.agent.link import ServerLink
from argosy.errors import ArgosyError, Conflict, NotAllowed, Temporary, Unauthenticated
from argosy.model.event import Event
from argosy.model.ids import UnitName
from argosy.model.link import Registered, Report
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, UnitStatus
from argosy.settings import AgentSettings

log = logging.getLogger(__name__)
LONGEST_HEARTBEAT = 3600.0
EVENTS_HELD = 1000
"""How many events wait for a server at most; the oldest go first."""


class Reporter:
    """One machine's reports.

    statuses: every unit that the machine has to tell of, now.
    registered, answered: called when a server took a registration, or a report, with when it was sent (loop time).
    """

    def __init__(
        self,
        link: ServerLink,
        statuses: Callable[[], Mapping[UnitName, UnitStatus]],
        machine: Machine,
        *,
        clock: Callable[[], datetime],
        settings: AgentSettings,
        registered: Callable[[Registered, float], Awaitable[None]],
        answered: Callable[[float], Awaitable[None]],
    ) -> None:
        self._link = link
        self._statuses = statuses
        self._registered = registered
        self._answered = answered
        self._heartbeat = settings.heartbeat_every.total_seconds()
        self._machine = machine
        self._clock = clock
        self._settings = settings
        self._changed: set[UnitName] = set()
        self._events: list[Event] = []
        self._reported: dict[UnitName, UnitStatus] = {}
        self._wake = asyncio.Event()

    def note(self, names: Iterable[UnitName]) -> None:
        """These units' statuses may have changed."""
        self._changed.update(names)
        self._wake.set()

    def tell(self, kind: str, unit: UnitName, message: str) -> None:
        """Send an event along with the next report."""
        event = Event(
            at=self._clock(),
            kind=kind,
            unit=unit,
            machine=self._machine.id,
            message=message,
            by="agent",
        )
        self._events = [*self._events[-EVENTS_HELD + 1 :], event]
        self._wake.set()

    async def run(self) -> None:
        """Register, then report, for ever; again from the start after any trouble."""
        while True:
            try:
                sent_at = asyncio.get_running_loop().time()
                answer = await self._link.register(self._machine)
                self._heartbeat = min(max(answer.heartbeat_seconds, 0.1), LONGEST_HEARTBEAT)
                await self._registered(answer, sent_at)
                await self._report(full=True)
                while True:
                    await self._wait()
                    await self._report(full=False)
            except (Temporary, Conflict) as problem:
                log.info(
                    "cannot report: %s%s", problem, f"; {problem.hint}" if problem.hint else ""
                )
                await asyncio.sleep(self._settings.retry_after.total_seconds())
            except (Unauthenticated, NotAllowed) as problem:
                log.error("this machine is not one of the cluster: %s", problem)
                await asyncio.sleep(self._settings.refused_after.total_seconds())

    async def _wait(self) -> None:
        """Until something changed, and a little longer so that what changes together is told together."""
        try:
            async with asyncio.timeout(self._heartbeat):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._settings.coalesce_for.total_seconds())

    async def _report(self, *, full: bool) -> None:
        self._wake.clear()
        statuses = self._statuses()
        names = set(statuses) if full else self._changed
        self._changed = set()
        changed = [
            statuses[name]
            for name in sorted(names & statuses.keys())
            if full or statuses[name] != self._reported.get(name)
        ]
        gone = sorted((names | self._reported.keys() if full else names) - statuses.keys())
        events = [*self._events, *(e for e in map(self._event, changed) if e is not None)]
        self._events = []
        sent_at = asyncio.get_running_loop().time()
        try:
            await self._link.report(
                Report(changed=tuple(changed), gone=tuple(gone), events=tuple(events), full=full)
            )
        except ArgosyError:
            self._changed |= names
            self._events = events[-EVENTS_HELD:]
            raise
        self._reported.update({status.name: status for status in changed})
        for name in gone:
            self._reported.pop(name, None)
        await self._answered(sent_at)

    def _event(self, status: UnitStatus) -> Event | None:
        """What people may ask about later: that it became active, failed, or stopped."""
        before = self._reported.get(status.name)
        if not status.active.is_settled or (before and before.active is status.active):
            return None
        if before is None and status.active is ActiveState.INACTIVE:
            return None
        return Event(
            at=status.since or self._clock(),
            kind=f"unit.{status.active.value}",
            unit=status.name,
            machine=self._machine.id,
            message=_in_words(status),
            by="agent",
        )


def _in_words(status: UnitStatus) -> str:
    """`failed: exit-code 3 in ExecStart=/bin/false`, `active (running)`."""
    words = f"{status.active.value} ({status.sub})"
    if status.active is not ActiveState.FAILED:
        return words
    words = f"failed: {status.result}"
    if status.exit_code is not None:
        words += f" {status.exit_code}"
    if status.exit_signal:
        words += f" {status.exit_signal}"
    return f"{words} in {status.failed_command}" if status.failed_command else words
