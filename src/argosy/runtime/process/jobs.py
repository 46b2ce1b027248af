"""Jobs under way: at most one for a unit, each in a task, waiting for those that go before it.

As in systemd a job that another is submitted over is canceled when they do not agree, and joined when they do; a start
that fails fails the starts that required it. What a job does to its unit is the runtime's (`Operations`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from argosy.runtime.base import JobResult
from argosy.runtime.process.transaction import Graph, Kind, Transaction


class Operations(Protocol):
    """What can be done to a unit. Each returns when it has been done."""

    async def start_unit(self, name: str) -> JobResult: ...

    async def stop_unit(self, name: str, *, is_restart: bool) -> None: ...

    async def reload_unit(self, name: str) -> JobResult: ...


class Job:
    """One thing to be done to one unit."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.done: asyncio.Future[JobResult] = asyncio.get_running_loop().create_future()
        self.step: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when those who wait for this job should look again: it ended, or a restart has stopped."""
        self.task: asyncio.Task[None] | None = None

    def finish(self, result: JobResult) -> None:
        """End the job with a result, whatever it was at."""
        if not self.done.done():
            self.done.set_result(result)
        if not self.step.done():
            self.step.set_result(None)
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def become_start(self) -> None:
        self.kind = Kind.START
        step, self.step = self.step, asyncio.get_running_loop().create_future()
        step.set_result(None)


class JobQueue:
    """The jobs of one runtime. graph: the units as they are now."""

    def __init__(self, operations: Operations, graph: Callable[[], Graph]) -> None:
        self._operations = operations
        self._graph = graph
        self._jobs: dict[str, Job] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._jobs

    def submit(self, transaction: Transaction) -> dict[str, asyncio.Future[JobResult]]:
        """Begin the transaction's jobs; their results by unit."""
        jobs = {name: self._take(name, kind) for name, kind in transaction.jobs.items()}
        # Only now: each task looks at all jobs to see which of them go first.
        for job in jobs.values():
            if job.task is None:
                job.task = asyncio.create_task(self._run(job), name=f"{job.kind} {job.name}")
        return {name: job.done for name, job in jobs.items()}

    async def close(self) -> None:
        """Forget all jobs. What they began goes on."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for job in list(self._jobs.values()):
            job.finish(JobResult.CANCELED)
        self._jobs.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, name: str, kind: Kind) -> Job:
        present = self._jobs.get(name)
        if present is not None:
            joins = kind is present.kind or (
                kind in (Kind.START, Kind.RELOAD) and present.kind in (Kind.START, Kind.RESTART)
            )
            if joins:
                return present
            present.finish(JobResult.CANCELED)
        job = self._jobs[name] = Job(name, kind)
        return job

    async def _run(self, job: Job) -> None:
        result = JobResult.FAILED
        try:
            await self._turn_of(job)
            if job.kind is Kind.RESTART:
                await self._operations.stop_unit(job.name, is_restart=True)
                job.become_start()
                await self._turn_of(job)
            result = await self._perform(job)
        finally:
            if self._jobs.get(job.name) is job:
                del self._jobs[job.name]
            if result is not JobResult.DONE and job.kind is Kind.START and not job.done.done():
                self._fail_dependants(job.name)
            job.finish(result)

    async def _perform(self, job: Job) -> JobResult:
        match job.kind:
            case Kind.STOP:
                await self._operations.stop_unit(job.name, is_restart=False)
                return JobResult.DONE
            case Kind.RELOAD:
                return await self._operations.reload_unit(job.name)
        return await self._operations.start_unit(job.name)

    async def _turn_of(self, job: Job) -> None:
        """Wait until no job that goes first is left."""
        while True:
            graph = self._graph()
            first = [
                other.step
                for name in graph.neighbours(job.name)
                if (other := self._jobs.get(name))
                and graph.goes_first(name, other.kind, job.name, job.kind)
            ]
            if not first:
                return
            await asyncio.wait(first)

    def _fail_dependants(self, name: str) -> None:
        for other in self._graph().fail_with(name):
            job = self._jobs.get(other)
            if job is not None and job.kind is Kind.START:
                del self._jobs[other]
                job.finish(JobResult.DEPENDENCY)
                self._fail_dependants(other)
