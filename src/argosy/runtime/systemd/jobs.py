"""Starts and stops under way: each is a job of systemd, and its end is a signal with the job's path.

The signal may come before the answer that names the job has been looked at, so ends are kept as long as any call is under
way. There is a bound on jobs under way (`bus.py` says why), and nobody good is to wait for it: starts and stops have one
each, so that what hangs can be stopped; a job that takes long moves out of the way of those behind it; and the names of one
call go out so that each comes after what it has to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from argosy.errors import RuntimeBusy
from argosy.model.ids import UnitName
from argosy.runtime.base import JobResult
from argosy.runtime.systemd.bus import Bus, Refused

QUICK_JOBS, SLOW_JOBS = 60, 150
"""Of starts and of stops. Together they stay well below the bus's 512."""
SLOW_SECONDS = 0.5

_RESULTS: Mapping[str, JobResult] = {
    "done": JobResult.DONE,
    "canceled": JobResult.CANCELED,
    "timeout": JobResult.TIMEOUT,
    "failed": JobResult.FAILED,
    "dependency": JobResult.DEPENDENCY,
    "skipped": JobResult.SKIPPED,
    "invalid": JobResult.SKIPPED,
    "assert": JobResult.FAILED,
    "unsupported": JobResult.FAILED,
    "collected": JobResult.CANCELED,
    "once": JobResult.FAILED,
}
"""Source: org.freedesktop.systemd1(5), JobRemoved. A condition that does not hold is `done` for systemd."""


class Jobs:
    """The jobs that were asked for through one bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._starts = _Window()
        self._stops = _Window()
        self._calling = 0
        self._ended: dict[str, str] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def run(self, method: str, names: Sequence[UnitName]) -> dict[UnitName, JobResult]:
        """Ask for a job for each of the names, in their order; returns when all have ended.

        Raises RuntimeBusy when the connection was lost: what was asked for may still happen.
        """
        window = self._stops if method == "StopUnit" else self._starts
        tasks: list[asyncio.Task[JobResult]] = []
        try:
            for name in names:
                place = await window.enter()
                task = asyncio.create_task(self._run(method, name, place), name=f"{method} {name}")
                task.add_done_callback(place.leave)
                tasks.append(task)
            return dict(zip(names, await asyncio.gather(*tasks), strict=True))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def removed(self, job: str, result: str) -> None:
        """A job has ended."""
        waiting = self._waiting.pop(job, None)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(result)
        elif self._calling:
            self._ended[job] = result

    def lose(self) -> None:
        """The connection was lost, and with it the ends of all jobs."""
        self._ended.clear()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(RuntimeBusy("the connection to systemd was lost"))

    async def _run(self, method: str, name: UnitName, place: _Place) -> JobResult:
        self._calling += 1
        try:
            [job] = await self._bus.call(method, "ss", name, "replace")
            ended = self._ended.get(job)
            if ended is None:
                # Two who ask for the same are given the same job.
                new = asyncio.get_running_loop().create_future()
                future = self._waiting.setdefault(job, new)
        except Refused as problem:
            return _refused(method, problem)
        finally:
            self._calling -= 1
            if not self._calling:
                self._ended.clear()
        if ended is None:
            ended = await place.wait(future)
        return _RESULTS.get(ended, JobResult.FAILED)


class _Window:
    """How many jobs of a kind are under way: quick ones, and others that have turned out to take long."""

    def __init__(self) -> None:
        self.quick = asyncio.Semaphore(QUICK_JOBS)
        self.slow = 0

    async def enter(self) -> _Place:
        await self.quick.acquire()
        return _Place(self)


class _Place:
    """A job's place in a window."""

    def __init__(self, window: _Window) -> None:
        self._window = window
        self._is_slow = False

    async def wait(self, ended: asyncio.Future[str]) -> str:
        """Wait for the job's end, which others may wait for, too; in another place once that takes long."""
        while not ended.done():
            await asyncio.wait([ended], timeout=None if self._is_slow else SLOW_SECONDS)
            if not ended.done() and self._window.slow < SLOW_JOBS:
                self._is_slow = True
                self._window.slow += 1
                self._window.quick.release()
        return ended.result()

    def leave(self, _: object) -> None:
        if self._is_slow:
            self._window.slow -= 1
        else:
            self._window.quick.release()


def _refused(method: str, problem: Refused) -> JobResult:
    if problem.name == "NoSuchUnit" and method == "StopUnit":
        return JobResult.DONE
    if problem.name == "JobTypeNotApplicable":
        return JobResult.SKIPPED
    return JobResult.FAILED
