"""The runtime contract on a `SimMachine`: what a simulated agent holds of its machine's init system.

A killed agent's runtime does nothing any more (its `Process` is dead); a new one on the same machine finds the units as
they are. Failures are asked for through the machine: `Behaviour` for units, `is_busy` for the init system.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from argosy.errors import RuntimeBusy, RuntimeRefused
from argosy.model.ids import UnitName
from argosy.model.observed import UnitStatus
from argosy.runtime.base import JobResult, LogLine, RunnableUnit
from argosy.testing.loop import WORLD, Process
from argosy.testing.machine import Reader, SimMachine


class SimRuntime:
    """`runtime.base.Runtime` on virtual time."""

    def __init__(self, machine: SimMachine, process: Process = WORLD) -> None:
        self._machine = machine
        self._process = process
        self._boot = machine.boots

    async def open(self) -> None:
        self._check()

    async def close(self) -> None:
        """Nothing to let go of."""

    def statuses(self) -> Mapping[UnitName, UnitStatus]:
        return self._machine.statuses()

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[frozenset[UnitName]]]:
        reader = self._machine.read_changes()
        try:
            yield _each(reader)
        finally:
            self._machine.stop_reading(reader)

    async def install(self, units: Sequence[RunnableUnit]) -> Mapping[UnitName, RuntimeRefused]:
        self._check("install", [unit.name for unit in units])
        refused = {unit.name: self._machine.install(unit) for unit in units}
        return {name: RuntimeRefused(why) for name, why in refused.items() if why}

    async def remove(self, names: Collection[UnitName]) -> None:
        self._check("remove", names)
        await self._carry_out("stop", sorted(names))
        self._check()
        for name in sorted(names):
            self._machine.forget(name)

    async def start(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        self._check("start", names)
        return await self._carry_out("start", names)

    async def stop(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        self._check("stop", names)
        return await self._carry_out("stop", names)

    async def restart(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        self._check("restart", names)
        return await self._carry_out("restart", names)

    async def reload(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        self._check("reload", names)
        return dict.fromkeys(names, JobResult.SKIPPED)

    async def arm(self, names: Collection[UnitName], *, within: float) -> None:
        self._check("arm", names)
        for name in sorted(names):
            self._machine.arm(name, within)

    async def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        found = [line for line in self._machine.lines if line.unit in names and line.cursor > after]
        for line in found if after else found[-lines:]:
            yield line
        if not follow:
            return
        seen = len(self._machine.lines)
        reader = self._machine.read_changes()
        try:
            while True:
                for line in self._machine.lines[seen:]:
                    seen += 1
                    if line.unit in names:
                        yield line
                await reader.take()
        finally:
            self._machine.stop_reading(reader)

    async def _carry_out(
        self, verb: str, names: Sequence[UnitName]
    ) -> Mapping[UnitName, JobResult]:
        """One job for each unit, side by side; they go on when the one who waits here is gone."""
        jobs = {name: self._machine.begin(name, verb) for name in names}
        begun = [job for job in jobs.values() if job is not None]
        if begun:
            await asyncio.wait(begun)
        return {name: _result(job, verb) for name, job in jobs.items()}

    def _check(self, verb: str = "", names: Collection[UnitName] = ()) -> None:
        machine = self._machine
        if self._process.is_dead or not machine.is_on or machine.boots != self._boot:
            raise RuntimeBusy("this agent was killed")
        if machine.is_busy:
            raise RuntimeBusy("the simulated init system does not answer")
        if names:
            machine.witness(machine, verb, names)


def _result(job: asyncio.Task[JobResult] | None, verb: str) -> JobResult:
    if job is None:
        return JobResult.DONE if verb == "stop" else JobResult.FAILED
    return JobResult.CANCELED if job.cancelled() else job.result()


async def _each(reader: Reader) -> AsyncIterator[frozenset[UnitName]]:
    while True:
        yield await reader.take()
