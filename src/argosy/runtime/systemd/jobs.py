"""Starts and stops under way: each is a job of systemd, and its end is a signal with the job's path.

The signal may come before the answer that names the job has been looked at, so ends are kept as long as any call is under
way. At most JOBS_AT_ONCE jobs are asked for at a time (see `bus.py` for why there is a bound at all); the names of one
call go out in an order in which each comes after what it has to wait for, so that the bound never holds up a unit for one
that has not been asked for yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from argosy.errors import RuntimeBusy
from argosy.model.ids import UnitName
from argosy.runtime.base import JobResult
from argosy.runtime.systemd.bus import Bus, Refused

JOBS_AT_ONCE = 100

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
        self._window = asyncio.Semaphore(JOBS_AT_ONCE)
        self._calling = 0
        self._ended: dict[str, str] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def run(self, method: str, names: Sequence[UnitName]) -> dict[UnitName, JobResult]:
        """Ask for a job for each of the names, in their order; returns when all have ended.

        Raises RuntimeBusy when the connection was lost: what was asked for may still happen.
        """
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[JobResult]] = []
        try:
            for name in names:
                await self._window.acquire()
                task = loop.create_task(self._run(method, name), name=f"{method} {name}")
                task.add_done_callback(lambda _: self._window.release())
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

    async def _run(self, method: str, name: UnitName) -> JobResult:
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
            ended = await asyncio.shield(future)
        return _RESULTS.get(ended, JobResult.FAILED)


def _refused(method: str, problem: Refused) -> JobResult:
    if problem.name == "NoSuchUnit" and method == "StopUnit":
        return JobResult.DONE
    if problem.name == "JobTypeNotApplicable":
        return JobResult.SKIPPED
    return JobResult.FAILED
