"""A machine without its agent: power, disk, and the init system that runs units whether an agent lives or not.

`SimMachine` outlives agents and their runtime objects. Its jobs go on when the agent that asked for them is killed; a
power cut ends everything at once and a boot begins with no unit, as with units in /run. Every run of every unit stands in
`history`, which is what `invariants.py` looks at.
"""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import hashlib
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from argosy.agent.planner import Started
from argosy.model.ids import Digest, UnitName
from argosy.model.link import Delivery
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.runtime.base import JobResult, LogLine, RunnableUnit
from argosy.testing.loop import WORLD, Process, in_process, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How units behave on the machines of a simulation."""

    start_takes: timedelta = timedelta(milliseconds=50)
    stop_takes: timedelta = timedelta(milliseconds=50)
    install_error: str = ""
    """Why the runtime refuses to install it; empty: it does not."""
    fails_to_start: bool = False
    hangs: bool = False
    """Starting never ends, until it is stopped."""
    crashes_after: timedelta | None = None
    """Once started, it ends by itself, as failed."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One life of a unit on a machine, from the start of its first process to the end of its last."""

    unit: UnitName
    machine: str
    version: Digest
    began: float
    """Virtual seconds."""
    ended: float | None = None
    cause: str = ""
    """Why it ended: `stop`, `restart`, `crash`, `failed to start`, `cut off`, `power`."""
    fence: int = 0
    """ARGOSY_FENCE as it was given to it; 0 for one that has none."""


@dataclass(slots=True)
class _Unit:
    """What the init system knows of a unit."""

    status: UnitStatus
    run: Run | None = None
    job: asyncio.Task[JobResult] | None = None
    crash: asyncio.TimerHandle | None = None
    text: bytes = b""
    fence: int = 0
    stop_within: float | None = None
    armed: asyncio.TimerHandle | None = None
    """What stops it when nobody arms it again: of the init system, so no agent is needed for it."""


class MemoryDisk:
    """`agent.disk.Disk` that survives its machine's reboots, and can be full."""

    def __init__(self) -> None:
        self.is_full = False
        self.delivery: Delivery | None = None
        self.started: dict[UnitName, Started] = {}
        self._texts: dict[Digest, bytes] = {}

    def copy_from(self, other: MemoryDisk) -> None:
        """Become an image of another disk."""
        self.delivery, self.started = other.delivery, dict(other.started)
        self._texts = dict(other._texts)

    def held_by(self, process: Process) -> FencedDisk:
        """The disk as that process sees it."""
        return FencedDisk(self, process)

    def load(self) -> tuple[Delivery | None, dict[UnitName, Started]]:
        return self.delivery, dict(self.started)

    def save_assignment(self, delivery: Delivery) -> None:
        self._check_room()
        self.delivery = delivery

    def save_started(self, started: Mapping[UnitName, Started]) -> None:
        self._check_room()
        self.started = dict(started)

    def text(self, digest: Digest) -> bytes | None:
        text = self._texts.get(digest)
        return text if text is not None and hashlib.sha256(text).hexdigest() == digest else None

    def save_text(self, digest: Digest, text: bytes) -> None:
        self._check_room()
        self._texts[digest] = text

    def keep_texts(self, digests: Collection[Digest]) -> None:
        self._texts = {d: text for d, text in self._texts.items() if d in digests}

    def _check_room(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "the simulated disk is full")


class FencedDisk:
    """The disk as one life of an agent holds it: nothing is written once that agent was killed."""

    def __init__(self, disk: MemoryDisk, process: Process) -> None:
        self._disk = disk
        self._process = process

    def load(self) -> tuple[Delivery | None, dict[UnitName, Started]]:
        return self._disk.load()

    def save_assignment(self, delivery: Delivery) -> None:
        if not self._process.is_dead:
            self._disk.save_assignment(delivery)

    def save_started(self, started: Mapping[UnitName, Started]) -> None:
        if not self._process.is_dead:
            self._disk.save_started(started)

    def text(self, digest: Digest) -> bytes | None:
        return self._disk.text(digest)

    def save_text(self, digest: Digest, text: bytes) -> None:
        if not self._process.is_dead:
            self._disk.save_text(digest, text)

    def keep_texts(self, digests: Collection[Digest]) -> None:
        if not self._process.is_dead:
            self._disk.keep_texts(digests)


@dataclass(slots=True)
class Rules:
    """Which units behave how: the first glob that matches."""

    rules: dict[str, Behaviour] = field(default_factory=dict)

    def of(self, name: UnitName) -> Behaviour:
        for pattern, behaviour in self.rules.items():
            if fnmatch.fnmatchcase(name, pattern):
                return behaviour
        return Behaviour()


class SimMachine:
    """One machine's power, disk and init system.

    name: for people; empty: its host name.
    witness: told of every call that an agent makes: verb and unit names.
    began: told of every run as it begins.
    """

    def __init__(
        self,
        record: Machine,
        *,
        name: str = "",
        rules: Rules | None = None,
        witness: Callable[[SimMachine, str, Collection[UnitName]], None] = lambda *_: None,
        began: Callable[[Run], None] = lambda _: None,
    ) -> None:
        self.record = record
        self.name = name or record.hostname or record.id[:8]
        self.clock_error = timedelta()
        """How much its wall clock is ahead."""
        self.disk = MemoryDisk()
        self.rules = rules or Rules()
        self.is_on = True
        self.is_busy = False
        """The init system answers nothing."""
        self.boots = 1
        self.history: list[Run] = []
        self.lines: list[LogLine] = []
        self.witness = witness
        self._began = began
        self._units: dict[UnitName, _Unit] = {}
        self._readers: list[Reader] = []

    # --- looking ------------------------------------------------------------------------------------------------

    def wall_clock(self) -> datetime:
        return running().wall_clock() + self.clock_error

    def statuses(self) -> dict[UnitName, UnitStatus]:
        return {name: unit.status for name, unit in self._units.items()}

    def running(self) -> list[Run]:
        """Runs that have not ended."""
        return [unit.run for unit in self._units.values() if unit.run is not None]

    def read_changes(self) -> Reader:
        reader = Reader(frozenset(self._units))
        self._readers.append(reader)
        return reader

    def stop_reading(self, reader: Reader) -> None:
        self._readers.remove(reader)

    # --- power --------------------------------------------------------------------------------------------------

    def cut_power(self) -> None:
        """Everything that runs ends, nothing is asked."""
        self.is_on = False
        for unit in self._units.values():
            if unit.job is not None:
                unit.job.cancel()
            _disarm(unit)
            self._end_run(unit, "power")
        self._units.clear()
        running().trace.note(f"{self.name}: power cut")

    def boot(self) -> None:
        """Power on again: the disk is as it was, no unit is there."""
        self.is_on = True
        self.boots += 1
        running().trace.note(f"{self.name}: boots")

    # --- what a runtime asks ------------------------------------------------------------------------------------

    def install(self, unit: RunnableUnit) -> str:
        """Returns why not, empty when it is installed."""
        behaviour = self.rules.of(unit.name)
        if behaviour.install_error:
            return behaviour.install_error
        known = self._units.get(unit.name)
        if known is None:
            status = UnitStatus(name=unit.name, digest=unit.digest, load=LoadState.LOADED)
            self._units[unit.name] = _Unit(status)
        else:
            known.status = msgspec.structs.replace(known.status, digest=unit.digest)
            _disarm(known)
        installed = self._units[unit.name]
        installed.text = unit.text
        installed.fence = int(unit.environment.get("ARGOSY_FENCE", "0"))
        installed.stop_within = unit.stop_within
        self._tell(unit.name)
        return ""

    def forget(self, name: UnitName) -> None:
        unit = self._units.pop(name, None)
        if unit is not None:
            _disarm(unit)
            self._tell(name)

    def arm(self, name: UnitName, within: float) -> None:
        """Stop the unit so many seconds from now, unless it is armed again before."""
        unit = self._units.get(name)
        if unit is not None:
            _disarm(unit)
            with in_process(WORLD):
                unit.armed = asyncio.get_running_loop().call_later(within, self._cut_off, unit)

    def _cut_off(self, unit: _Unit) -> None:
        unit.armed = None
        if unit.run is not None:
            running().trace.note(f"{self.name}: the time of {unit.status.name} is over")
            self.begin(unit.status.name, "cut off")

    def begin(self, name: UnitName, verb: str) -> asyncio.Task[JobResult] | None:
        """Set a job going, in the place of the one under way; None when there is no such unit."""
        unit = self._units.get(name)
        if unit is None:
            return None
        if unit.job is not None and not unit.job.done():
            unit.job.cancel()
        jobs: dict[str, Callable[[_Unit], Coroutine[Any, Any, JobResult]]] = {
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "cut off": self._stop_cut_off,
        }
        with in_process(WORLD):
            unit.job = asyncio.create_task(jobs[verb](unit), name=f"{verb} {name} on {self.name}")
        return unit.job

    async def _start(self, unit: _Unit) -> JobResult:
        if unit.status.active is ActiveState.ACTIVE:
            return JobResult.DONE
        behaviour = self.rules.of(unit.status.name)
        if unit.run is None:
            unit.run = Run(
                unit=unit.status.name,
                machine=self.record.id,
                version=unit.status.digest or Digest(""),
                began=running().time(),
                fence=unit.fence,
            )
            self.history.append(unit.run)
            self._began(unit.run)
        self._set(unit, ActiveState.ACTIVATING, "start", has_run=True)
        await self._pass(timedelta.max if behaviour.hangs else behaviour.start_takes)
        if behaviour.fails_to_start:
            self._end_run(unit, "failed to start")
            self._set(unit, ActiveState.FAILED, "failed", result="exit-code", exit_code=1)
            return JobResult.FAILED
        self._set(unit, ActiveState.ACTIVE, "running")
        if behaviour.crashes_after is not None:
            seconds = behaviour.crashes_after.total_seconds()
            unit.crash = asyncio.get_running_loop().call_later(seconds, self._crash, unit)
        return JobResult.DONE

    async def _stop(self, unit: _Unit, cause: str = "stop") -> JobResult:
        if unit.run is None:
            return JobResult.DONE
        self._set(unit, ActiveState.DEACTIVATING, "stop-sigterm")
        takes = self.rules.of(unit.status.name).stop_takes
        if unit.stop_within is not None:
            takes = min(takes, timedelta(seconds=unit.stop_within))
        await self._pass(takes)
        self._end_run(unit, cause)
        self._set(unit, ActiveState.INACTIVE, "dead", cut_off=cause == "cut off")
        return JobResult.DONE

    async def _stop_cut_off(self, unit: _Unit) -> JobResult:
        return await self._stop(unit, "cut off")

    async def _restart(self, unit: _Unit) -> JobResult:
        await self._stop(unit, "restart")
        return await self._start(unit)

    def _crash(self, unit: _Unit) -> None:
        if unit.status.active is ActiveState.ACTIVE:
            self._end_run(unit, "crash")
            self._set(unit, ActiveState.FAILED, "failed", result="signal", exit_signal="SIGSEGV")

    async def _pass(self, time: timedelta) -> None:
        if time is timedelta.max:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(time.total_seconds())

    def _end_run(self, unit: _Unit, cause: str) -> None:
        if unit.crash is not None:
            unit.crash.cancel()
            unit.crash = None
        if unit.run is not None:
            unit.run.ended, unit.run.cause, unit.run = running().time(), cause, None

    def _set(
        self,
        unit: _Unit,
        active: ActiveState,
        sub: str,
        *,
        result: str = "success",
        exit_code: int | None = None,
        exit_signal: str | None = None,
        has_run: bool | None = None,
        cut_off: bool = False,
    ) -> None:
        unit.status = msgspec.structs.replace(
            unit.status,
            active=active,
            sub=sub,
            result=result,
            exit_code=exit_code,
            exit_signal=exit_signal,
            since=self.wall_clock(),
            has_run=unit.status.has_run if has_run is None else has_run,
            cut_off=cut_off,
        )
        self._log(unit.status.name, f"{active.value} ({sub})")
        self._tell(unit.status.name)

    def _log(self, name: UnitName, text: str) -> None:
        at = self.wall_clock()
        cursor = f"{len(self.lines) + 1:09d}"
        self.lines.append(LogLine(at=at, unit=name, text=text, stream="argosy", cursor=cursor))
        running().trace.note(f"{self.name}: {name} {text}")

    def _tell(self, name: UnitName) -> None:
        for reader in self._readers:
            reader.add(name)


def _disarm(unit: _Unit) -> None:
    if unit.armed is not None:
        unit.armed.cancel()
        unit.armed = None


class Reader:
    """Names of units whose status changed, gathered until somebody takes them; the first time, all."""

    def __init__(self, names: frozenset[UnitName]) -> None:
        self._names = set(names)
        self._event = asyncio.Event()
        self._event.set()

    def add(self, name: UnitName) -> None:
        self._names.add(name)
        self._event.set()

    async def take(self) -> frozenset[UnitName]:
        await self._event.wait()
        self._event.clear()
        names, self._names = frozenset(self._names), set()
        return names


def each_running(machines: Collection[SimMachine]) -> Iterator[Run]:
    """All runs of all machines that have not ended."""
    for machine in machines:
        yield from machine.running()
