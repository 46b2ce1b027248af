"""The runtime of plain processes: what an agent holds in its hand.

It keeps the installed units, turns requests into transactions of jobs, and mirrors what supervisors say. It decides
nothing about a unit that runs: restarts, timeouts and logs are its supervisor's, which outlives this object and this
process. What surprises: a unit that is down has no supervisor; its last state is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import resource
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any

from argosy.errors import RuntimeRefused
from argosy.model.ids import UnitName
from argosy.model.observed import UnitStatus
from argosy.runtime.base import JobResult, LogLine, RunnableUnit
from argosy.runtime.process import journal, leftovers, machine
from argosy.runtime.process.jobs import JobQueue
from argosy.runtime.process.layout import Layout, read_json
from argosy.runtime.process.links import Spawner, SupervisorLink, connect
from argosy.runtime.process.load import Dependencies, Machine
from argosy.runtime.process.logfile import MAX_BYTES, LogWriter
from argosy.runtime.process.spec import to_json
from argosy.runtime.process.transaction import Graph, Kind, plan
from argosy.runtime.process.units import Installed, Units

HELLO_SECONDS = 5.0
"""How long `open` waits for a supervisor that answers its socket to say how its unit is."""

_NOTHING = Dependencies()


class ProcessRuntime:
    """A `Runtime` (see runtime/base.py) of processes below one directory.

    directory: made when missing, private to its owner, and for one runtime at a time. Its path may be of any length.
    described: what of the machine units may speak of; the machine's own by default.
    log_bytes: how large a file of a unit's log may get; there are two at most.
    """

    def __init__(
        self,
        directory: Path,
        *,
        described: Machine | None = None,
        log_bytes: int = MAX_BYTES,
    ) -> None:
        self._layout = Layout(directory.absolute())
        self._units = Units(self._layout, described or machine.describe())
        self._log_bytes = log_bytes
        self._spawner = Spawner(self._layout)
        self._jobs = JobQueue(self, lambda: self._graph)
        self._graph = Graph({})
        self._subscribers: set[_Subscriber] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = -1
        self._nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._reloads = 0

    # --- opening and closing -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make ready and find the units of the runtime that had this directory before.

        Raises RuntimeRefused when another process has the directory open, or it cannot be used.
        """
        try:
            self._layout.make()
            self._lock = os.open(
                self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            os.close(self._lock)
            raise RuntimeRefused(
                f"{self._layout.directory} is in use by another process",
                hint="stop the other `argosy up` or agent, or use another directory",
            ) from problem
        except OSError as problem:
            raise RuntimeRefused(
                f"{self._layout.directory} cannot be used: {problem.strerror}"
            ) from problem
        self._raise_descriptor_limit()
        self._spawner.start()
        self._units.read()
        self._graph = self._units.graph()
        await asyncio.gather(*(self._find(unit) for unit in self._units.values()))
        for unit in list(self._units.values()):
            self._stop_if_unbound(unit)

    async def close(self) -> None:
        """Let go of everything; units keep running."""
        await self._jobs.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for unit in self._units.values():
            if unit.link is not None:
                unit.link.close()
                unit.link = None
        self._spawner.close()
        for subscriber in self._subscribers:
            subscriber.end()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        resource.setrlimit(resource.RLIMIT_NOFILE, self._nofile)

    def _raise_descriptor_limit(self) -> None:
        """A connection for each running unit: the usual 1024 would be the number of units. Units get the old limit."""
        soft, hard = self._nofile
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    async def _find(self, unit: Installed) -> None:
        """Take up a unit's living supervisor, or what a dead one left."""
        state = read_json(self._layout.state(unit.name))
        if state is None:
            return
        unit.recall(state)
        if unit.is_over:
            return
        link = await connect(self._layout, unit.name, self._make_link(unit))
        if link is not None:
            unit.link = link
            unit.has_heard = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HELLO_SECONDS):
                    await unit.until(lambda: unit.has_heard or unit.link is None)
            if unit.has_heard or unit.link is None:
                return
            link.close()
            unit.link = None
        # It may have come to its end between the two looks.
        unit.recall(read_json(self._layout.state(unit.name)) or state)
        if not unit.is_over:
            await self._bury(unit)

    # --- what there is -----------------------------------------------------------------------------------------

    def statuses(self) -> Mapping[UnitName, UnitStatus]:
        """Every installed unit."""
        return {unit.name: unit.status for unit in self._units.values()}

    @contextlib.asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[frozenset[UnitName]]]:
        """See the contract."""
        subscriber = _Subscriber({unit.name for unit in self._units.values()})
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def install(self, units: Sequence[RunnableUnit]) -> Mapping[UnitName, RuntimeRefused]:
        """See the contract. A text that cannot be loaded is installed, and its status says so."""
        refused: dict[UnitName, RuntimeRefused] = {}
        for unit in units:
            try:
                warnings = self._units.install(unit)
            except RuntimeRefused as problem:
                refused[unit.name] = problem
                continue
            if warnings:
                self._say(unit.name, warnings)
        self._graph = self._units.graph()
        self._tell({unit.name for unit in units} - refused.keys())
        return refused

    async def remove(self, names: Collection[UnitName]) -> None:
        """See the contract. Logs stay until the space is needed."""
        present = [name for name in names if name in self._units]
        if running := [name for name in present if self._units[name].link is not None]:
            await self.stop(running)
        for name in present:
            self._units.remove(name)
        self._graph = self._units.graph()
        journal.prune(self._layout, set(self._units))
        self._tell(set(present))

    # --- requests ----------------------------------------------------------------------------------------------

    async def start(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        return await self._request(names, Kind.START)

    async def stop(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract. With KillMode=process or none the processes that it spares live on, as with systemd."""
        return await self._request(names, Kind.STOP)

    async def restart(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        return await self._request(names, Kind.RESTART)

    async def arm(self, names: Collection[UnitName], *, within: float) -> None:
        """See the contract. The supervisors wait, in boot time, which goes on while the machine sleeps."""
        deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + within
        for unit in [self._units[name] for name in names if name in self._units]:
            unit.armed = deadline
            if unit.link is not None:
                unit.link.send({"do": "arm", "at": deadline})

    async def reload(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        return await self._request(names, Kind.RELOAD)

    async def _request(self, names: Sequence[UnitName], kind: Kind) -> dict[UnitName, JobResult]:
        futures = self._submit(names, kind)
        if futures:
            await asyncio.wait(futures.values())
        return {name: future.result() for name, future in futures.items()}

    def _submit(
        self, names: Sequence[UnitName], kind: Kind
    ) -> dict[UnitName, asyncio.Future[JobResult]]:
        transaction = plan(
            self._graph,
            dict.fromkeys(names),
            kind,
            up=frozenset(unit.name for unit in self._units.values() if unit.link is not None),
            broken=self._units.broken(),
        )
        for name, refusal in transaction.refusals.items():
            self._say(UnitName(name), [f"cannot {kind}: {refusal.reason}"])
        results = self._jobs.submit(transaction)
        for name in names:
            if name not in results:
                refused = transaction.refusals.get(name)
                results[name] = asyncio.get_running_loop().create_future()
                results[name].set_result(JobResult.DONE if refused is None else refused.result)
        return {name: results[name] for name in names}

    # --- what jobs do to a unit (jobs.Operations) --------------------------------------------------------------

    async def start_unit(self, name: str) -> JobResult:
        """Bring a unit up, or wait for what is bringing it up already."""
        unit = self._units.get(name)
        if unit is None:
            return JobResult.FAILED
        while not unit.is_down:
            if unit.active in ("active", "reloading"):
                return JobResult.DONE
            if unit.active == "activating" and unit.link is not None:
                attempt = unit.attempts + (unit.sub == "auto-restart")
                await unit.until(functools.partial(unit.is_decided, attempt))
                if unit.has_started(attempt):
                    return unit.start_result
            else:
                await unit.until(lambda: unit.is_down)
        needed = self._graph.units[name]
        missing = needed.requisite | (needed.binds_to & needed.after)
        for other in missing:
            there = self._units.get(other)
            if there is not None and there.active not in ("active", "reloading"):
                self._say(unit.name, [f"not started, {other} is not active"])
                return JobResult.DEPENDENCY
        return await self._launch(unit)

    async def stop_unit(self, name: str, *, is_restart: bool) -> None:
        """Bring a unit down."""
        unit = self._units.get(name)
        if unit is None:
            return
        if unit.link is not None:
            unit.link.send({"do": "stop", "restart": is_restart})
        await unit.until(lambda: unit.is_down)

    async def reload_unit(self, name: str) -> JobResult:
        """Run a unit's ExecReload."""
        unit = self._units.get(name)
        if unit is None or unit.link is None:
            return JobResult.SKIPPED
        self._reloads += 1
        # Ids only grow, also over lives of the runtime.
        wanted = max(unit.reload_id + 1, self._reloads)
        unit.link.send({"do": "reload", "id": wanted})
        await unit.until(lambda: unit.link is None or unit.reload_id >= wanted)
        if unit.reload_id < wanted:
            return JobResult.CANCELED
        return unit.reload_result

    async def _launch(self, unit: Installed) -> JobResult:
        assert unit.loaded is not None
        launch = {
            "directory": str(self._layout.directory),
            "service": to_json(unit.loaded.service),
            "inherited": self._inherited(unit),
            "nofile": self._nofile,
            "log_bytes": self._log_bytes,
            "limit": unit.limit,
            "result": unit.result,
            "armed": unit.armed,
            "stop_within": unit.stop_within,
        }
        unit.begin()
        try:
            link = await self._spawner.spawn(launch, self._make_link(unit))
        except RuntimeRefused as problem:
            unit.fail()
            self._say(unit.name, [str(problem)])
            return JobResult.FAILED
        unit.link = None if link.is_lost else link
        if unit.armed is not None and unit.armed != launch["armed"]:
            link.send({"do": "arm", "at": unit.armed})
        await unit.until(lambda: unit.is_decided(1))
        return unit.start_result if unit.has_started(1) else JobResult.FAILED

    @staticmethod
    def _inherited(unit: Installed) -> dict[str, str]:
        assert unit.loaded is not None
        wanted = unit.loaded.service.execution.pass_environment
        return {name: os.environ[name] for name in wanted if name in os.environ}

    # --- what supervisors say ----------------------------------------------------------------------------------

    def _make_link(self, unit: Installed) -> Callable[[], SupervisorLink]:
        return lambda: SupervisorLink(
            lambda status: self._on_status(unit, status), lambda link: self._on_lost(unit, link)
        )

    def _on_status(self, unit: Installed, status: dict[str, Any]) -> None:
        was_up = unit.active in ("active", "reloading", "activating")
        restarts = unit.restarts
        unit.hear(status)
        if unit.is_over and unit.link is not None:
            unit.link.close()
            unit.link = None
            state = read_json(self._layout.state(unit.name))
            unit.limit = state["limit"] if state else None
        self._tell({unit.name})
        unit.wake()
        if unit.name not in self._jobs:
            if was_up and unit.active in ("inactive", "failed", "deactivating"):
                self._on_unexpected_stop(unit)
            if unit.restarts > restarts:
                self._restart_dependants(unit)

    def _on_lost(self, unit: Installed, link: SupervisorLink) -> None:
        """A supervisor is gone that had not said that its unit is down: it was killed."""
        if unit.link is not None and unit.link is not link:
            return
        unit.link = None
        unit.burial = self._begin(self._bury(unit), f"bury {unit.name}")

    async def _bury(self, unit: Installed) -> None:
        """End what a dead supervisor left, and say that the unit failed."""
        try:
            state = read_json(self._layout.state(unit.name))
            count = 0
            if state is not None:
                count = await asyncio.to_thread(leftovers.end, state)
                unit.recall(state)
            self._say(
                unit.name,
                [f"the supervisor was killed; {count} of its processes were ended with it"],
            )
            unit.fail()
            self._units.save_state(unit)
        finally:
            unit.burial = None
            unit.wake()
        self._tell({unit.name})
        if unit.name not in self._jobs:
            self._on_unexpected_stop(unit)

    def _on_unexpected_stop(self, unit: Installed) -> None:
        """Units that are bound to this one go down with it, though nobody asked: BindsTo=."""
        bound = [
            UnitName(name)
            for name in self._graph.bound_by.get(unit.name, ())
            if (other := self._units.get(name)) and other.link is not None
        ]
        if bound:
            self._submit(bound, Kind.STOP)

    def _stop_if_unbound(self, unit: Installed) -> None:
        """What it is bound to may have ended while no runtime was there to see it."""
        if unit.link is None:
            return
        for name in self._graph.units.get(unit.name, _NOTHING).binds_to:
            other = self._units.get(name)
            if other is not None and other.active in ("inactive", "failed"):
                self._submit([unit.name], Kind.STOP)
                return

    def _restart_dependants(self, unit: Installed) -> None:
        """A unit that restarted by itself takes those along that require it or are part of it."""
        others = [
            UnitName(name)
            for name in self._graph.go_down_with(unit.name)
            if (other := self._units.get(name))
            and other.link is not None
            and other.active in ("active", "reloading", "activating")
        ]
        if others:
            self._submit(others, Kind.RESTART)

    # --- logs --------------------------------------------------------------------------------------------------

    def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        """See the contract."""
        return journal.read(self._layout, names, lines=lines, follow=follow, after=after)

    def _say(self, name: UnitName, texts: Sequence[str]) -> None:
        """Into a unit's log, while it has no supervisor to write there; else it is told by the next start."""
        unit = self._units.get(name)
        if unit is not None and unit.link is not None:
            return
        writer = LogWriter(self._layout.log(name), max_bytes=self._log_bytes)
        writer.write("a", [text.encode() for text in texts], now=time.time_ns() // 1000)
        writer.close()

    # --- telling -----------------------------------------------------------------------------------------------

    def _tell(self, names: Collection[UnitName]) -> None:
        for subscriber in self._subscribers:
            subscriber.add(names)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Subscriber:
    """One reader of `changes`: the names it has not been given yet."""

    def __init__(self, names: set[UnitName]) -> None:
        self._names = names
        self._is_over = False
        self._wake = asyncio.Event()
        self._wake.set()

    def add(self, names: Collection[UnitName]) -> None:
        self._names.update(names)
        if names:
            self._wake.set()

    def end(self) -> None:
        self._is_over = True
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[frozenset[UnitName]]:
        return self

    async def __anext__(self) -> frozenset[UnitName]:
        await self._wake.wait()
        if self._is_over:
            raise StopAsyncIteration
        self._wake.clear()
        names, self._names = frozenset(self._names), set()
        return names
