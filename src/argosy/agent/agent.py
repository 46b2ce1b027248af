"""A machine's loop: follow the assignment, bring the machine to it, report what runs.

Three tasks that share little. `_follow` takes newer assignments from the servers onto the disk; `_act` compares and
acts, on every assignment, every change that the runtime tells of and a slow tick; `_report` tells the servers, at least
once per heartbeat. Only `_act` needs no server: with the assignment and the texts on the disk it runs on its own.

An agent that ends, by whatever way, stops nothing; but units that must not run twice end by themselves when no agent has
been answered for too long (`permit.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import ChainMap
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from argosy.agent import containers
from argosy.agent.disk import Disk
from argosy.agent.link import ServerLink
from argosy.agent.permit import Permit, stopping_seconds
from argosy.agent.planner import Started, has_processes, plan
from argosy.agent.reporter import Reporter
from argosy.errors import (
    ArgosyError,
    Invalid,
    NotAllowed,
    NotFound,
    RuntimeBusy,
    RuntimeRefused,
    Temporary,
    Unauthenticated,
)
from argosy.model import actions
from argosy.model.assignment import EPOCH_BITS, AssignedUnit
from argosy.model.ids import Digest, UnitName
from argosy.model.link import Delivery, Registered
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.model.unit import DesiredState
from argosy.runtime.base import JobResult, RunnableUnit, Runtime
from argosy.settings import AgentSettings

log = logging.getLogger(__name__)


class Agent:
    """The agent of one machine.

    runtime: opened; the caller closes it after `run` has ended.
    clock: wall-clock time, for records only.
    """

    def __init__(
        self,
        link: ServerLink,
        runtime: Runtime,
        disk: Disk,
        machine: Machine,
        *,
        clock: Callable[[], datetime],
        settings: AgentSettings | None = None,
        find_engine: containers.FindEngine = containers.installed_engine,
    ) -> None:
        self._link = link
        self._runtime = runtime
        self._disk = disk
        self._find_engine = find_engine
        self._machine = machine
        self._settings = settings or AgentSettings()
        self._permit = Permit()
        self._reporter = Reporter(
            link,
            self._statuses,
            machine,
            clock=clock,
            settings=self._settings,
            registered=self._on_registered,
            answered=self._on_answered,
        )
        held, self._started = disk.load()
        # The disk may be the copy of another machine's.
        is_own = held is not None and held.assignment.machine == machine.id
        self._delivery = held if is_own else None
        self._assigned: dict[UnitName, AssignedUnit] = {}
        """The units of the assignment, by name."""
        self._touched: set[UnitName] = set()
        """Units to look at in the next turn."""
        self._wake = asyncio.Event()
        self._busy: set[UnitName] = set()
        """Units with a stop, removal or installation under way: left alone until it has ended."""
        self._not_before: dict[UnitName, float] = {}
        """Loop time before which a unit that could not be installed is not tried again."""
        self._refusals: dict[UnitName, str] = {}
        """Why units could not be installed the last time: told once, however often it is tried again."""
        self._asked: dict[UnitName, Started] = {}
        """Starts asked for in this life of the agent: each once, however long the runtime takes to show it."""
        self._jobs: set[asyncio.Task[None]] = set()
        self._stream: asyncio.Timeout | None = None
        """Around the stream of assignments: its end is moved to now when the assignment has to be read anew."""
        self._asked_at = 0.0
        self._has_heard = False
        """Whether a server has told, in this life, of the assignment that is held. What the disk says may be older than
        what was done before, when it was full then: until that is known, nothing is stopped that runs.
        """
        self._is_kept = True
        """Whether the disk has the assignment that is held."""
        self._saving: asyncio.TimerHandle | None = None
        """A write to the disk that is to come."""

    async def run(self) -> None:
        """Run until cancelled. Raises what ended one of its tasks: an agent with a dead part is no agent."""
        if self._delivery is not None:
            self._take_over()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name="follow the assignment")
                tasks.create_task(self._watch_runtime(), name="watch the runtime")
                tasks.create_task(self._act(), name="act")
                tasks.create_task(self._reporter.run(), name="report")
        finally:
            if self._saving is not None:
                self._save_now()
            for job in self._jobs:
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    # --- following ----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(None) as self._stream:
                    await self._read_stream()
                continue
            except TimeoutError:
                continue
            except (Temporary, Unauthenticated, NotAllowed) as problem:
                log.info("no server to follow: %s", problem)
            await asyncio.sleep(self._settings.retry_after.total_seconds())

    async def _read_stream(self) -> None:
        """Returns when what it reads has to be asked for anew."""
        asked_at = self._asked_at = asyncio.get_running_loop().time()
        async with self._link.assignments() as deliveries:
            async for delivery in deliveries:
                self._accept(delivery)
                held = self._delivery
                if held is not None and _rank(delivery) >= _rank(held):
                    self._permit.read(delivery, asked_at=asked_at)
                    self._touch(self._single())
                    if not self._has_heard:
                        self._has_heard = True
                        self._touch_everything()
                if self._permit.is_outdated(asked_at):
                    return

    def _accept(self, delivery: Delivery) -> None:
        """Take an assignment if it is this machine's and newer than the one held: it never goes backwards."""
        if delivery.assignment.machine != self._machine.id:
            log.error("an assignment for machine %s was sent here", delivery.assignment.machine)
            return
        held = self._delivery
        if held is not None:
            if delivery.cluster != held.cluster:
                log.error("an assignment of another cluster (%s) was sent here", delivery.cluster)
                return
            if _rank(delivery) <= _rank(held):
                return
        self._delivery = delivery
        self._save_assignment()
        # What was held back is tried at once, also where the assignment says the same of it as before.
        self._touch(self._not_before)
        self._not_before.clear()
        before = self._assigned
        self._take_over()
        changed = [
            name
            for name in before.keys() | self._assigned.keys()
            if before.get(name) != self._assigned.get(name)
        ]
        self._touch(changed)
        # Those that are to be let go and are not here are told of at once, and forgotten when they are let go.
        leaving = {n for held in (before, self._assigned) for n in changed if _is_leaving(held, n)}
        self._reporter.note(leaving)

    def _take_over(self) -> None:
        assert self._delivery is not None
        self._assigned = {unit.name: unit for unit in self._delivery.assignment.units}
        self._permit.take_units(self._assigned.values())
        self._forget_starts()
        self._recognize()

    # --- units that must not run twice --------------------------------------------------------------------------

    def _single(self) -> list[UnitName]:
        """The assigned units that are stopped when this machine is cut off."""
        return [u.name for u in self._assigned.values() if u.stop_within_seconds is not None]

    async def _on_registered(self, answer: Registered, sent_at: float) -> None:
        now = asyncio.get_running_loop().time()
        self._permit.registered(answer, sent_at=sent_at, now=now)
        await self._let_run_on()

    async def _on_answered(self, sent_at: float) -> None:
        self._permit.answered(sent_at=sent_at, now=asyncio.get_running_loop().time())
        await self._let_run_on()

    async def _let_run_on(self) -> None:
        """Units that run have more time now. Reads the assignment anew when that may be out of date by now."""
        if self._stream is not None and self._permit.is_outdated(self._asked_at):
            with suppress(RuntimeError):  # it has ended by itself
                self._stream.reschedule(asyncio.get_running_loop().time())
        statuses = self._runtime.statuses()
        running = [n for n in self._single() if n in statuses and has_processes(statuses[n])]
        try:
            await self._arm(running)
        except (RuntimeBusy, RuntimeRefused, OSError) as problem:
            log.warning("units that must not run twice cannot be given more time: %s", problem)

    async def _arm(self, names: Iterable[UnitName]) -> None:
        """Have units end when nobody answers for too long."""
        held, now = self._delivery, asyncio.get_running_loop().time()
        by_time: dict[float, list[UnitName]] = {}
        for name in names:
            unit = self._assigned.get(name)
            if unit is not None and held is not None and unit.stop_within_seconds is not None:
                left = self._permit.seconds_left(unit, held, now)
                if left is not None:
                    by_time.setdefault(left, []).append(name)
        for left, together in by_time.items():
            await self._runtime.arm(together, within=left)

    def _may_start(self, name: UnitName) -> bool:
        unit, held = self._assigned.get(name), self._delivery
        if unit is None or held is None or unit.stop_within_seconds is None:
            return True
        # Its fence is renewed once nobody can run any more what a restore has undone.
        is_fenced = not unit.fence or unit.fence >> EPOCH_BITS >= held.restored
        now = asyncio.get_running_loop().time()
        return is_fenced and self._permit.may_start(unit, held, now)

    def _statuses(self) -> Mapping[UnitName, UnitStatus]:
        """What the machine has, and what it let go."""
        there = self._runtime.statuses()
        released = {
            unit.name: UnitStatus(name=unit.name, load=LoadState.NOT_FOUND, released=unit.fence)
            for unit in self._assigned.values()
            if unit.is_leaving and unit.name not in there and unit.name not in self._busy
        }
        return {**there, **released} if released else there

    def _touch(self, names: Iterable[UnitName]) -> None:
        self._touched.update(names)
        self._wake.set()

    async def _watch_runtime(self) -> None:
        async with self._runtime.changes() as changes:
            async for names in changes:
                self._reporter.note(names)
                self._remember(name for name in names if self._has_begun(name))
                # What was stopped by being cut off has not ended: it is started again when it may be.
                self._unremember(name for name in names if self._is_cut_off(name))
                self._touch(names)

    # --- acting -------------------------------------------------------------------------------------------------

    async def _act(self) -> None:
        loop = asyncio.get_running_loop()
        full_every = self._settings.full_turn_every.total_seconds()
        next_full = loop.time() + full_every
        self._touch_everything()
        while True:
            self._turn()
            try:
                async with asyncio.timeout_at(min([next_full, *self._not_before.values()])):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if loop.time() >= next_full:
                next_full = loop.time() + full_every
                self._touch_everything()
                self._forget_texts()

    def _touch_everything(self) -> None:
        self._touch(self._assigned.keys() | self._runtime.statuses().keys())

    def _turn(self) -> None:
        """Set under way what is to be done now with the units that were touched. Waits for nothing."""
        if self._delivery is None:
            return
        now = asyncio.get_running_loop().time()
        over = {name for name, at in self._not_before.items() if at <= now}
        for name in over:
            del self._not_before[name]
        # Those held back come again when their work ends or their time is over.
        names = (self._touched | over) - self._busy - self._not_before.keys()
        self._touched.clear()
        steps = [
            step
            for step in plan(
                self._assigned,
                self._runtime.statuses(),
                ChainMap(self._asked, self._started),
                names=names,
            )
            if not self._is_asked(step) and self._is_allowed(step)
        ]
        if not self._has_heard:
            ending = (actions.Stop, actions.Remove, actions.Restart)
            held_back = {step.unit for step in steps if isinstance(step, ending)}
            steps = [step for step in steps if step.unit not in held_back]
        leaving = {step.unit for step in steps if isinstance(step, actions.Remove)}
        stopping = leaving | {step.unit for step in steps if isinstance(step, actions.Stop)}
        self._unremember(stopping)
        for name in sorted(stopping):
            self._begin(self._stop(name, remove=name in leaving), f"stop {name}", busy={name})
        # What is stopped to be replaced is installed by the turn that its end wakes, and started by the one after.
        rest = [step for step in steps if step.unit not in stopping]
        installs = [step for step in rest if isinstance(step, actions.Install)]
        if installs:
            busy = {step.unit for step in installs}
            self._begin(self._install(installs), f"install {len(busy)} units", busy=busy)
        starts = [
            step
            for step in rest
            if isinstance(step, actions.Start | actions.Restart) and step.unit not in self._busy
        ]
        if starts:
            self._start(starts)
        for step in steps:
            if not isinstance(step, actions.Start | actions.Restart) or step in starts:
                log.info("%s %s: %s", type(step).__name__.lower(), step.unit, step.reason)

    def _recognize(self) -> None:
        """Units that run as they are assigned, and of which nobody remembers the start (the disk was full then), have had
        the one that is asked for now. Otherwise they would miss every restart that is asked for later.
        """
        statuses = self._runtime.statuses()
        known = self._started.keys() | self._asked.keys() | self._busy
        for name in self._assigned.keys() & statuses.keys() - known:
            unit, status = self._assigned[name], statuses[name]
            is_up = status.active in (ActiveState.ACTIVE, ActiveState.ACTIVATING)
            is_wanted = unit.desired is DesiredState.LAUNCHED and status.digest == unit.version
            if is_up and is_wanted:
                self._started[name] = Started(version=unit.version, generation=unit.generation)
                self._save_soon()

    def _forget_starts(self) -> None:
        """A unit that is not to be launched loses its memory of having been, so that the next launch starts it."""
        launched = {
            unit.name for unit in self._assigned.values() if unit.desired is DesiredState.LAUNCHED
        }
        forgotten = self._started.keys() - launched
        if forgotten:
            self._started = {n: s for n, s in self._started.items() if n in launched}
            self._save_soon()
        self._asked = {n: s for n, s in self._asked.items() if n in launched}
        self._refusals = {n: why for n, why in self._refusals.items() if n in self._assigned}

    def _is_asked(self, step: actions.AgentAction) -> bool:
        return isinstance(step, actions.Start) and self._asked.get(step.unit) == _started(step)

    def _is_allowed(self, step: actions.AgentAction) -> bool:
        is_start = isinstance(step, actions.Start | actions.Restart)
        return not is_start or self._may_start(step.unit)

    def _is_cut_off(self, name: UnitName) -> bool:
        status = self._runtime.statuses().get(name)
        return status is not None and status.cut_off and not has_processes(status)

    def _begin(self, work: Coroutine[Any, Any, None], name: str, *, busy: Set[UnitName]) -> None:
        """Do the work in a task of its own; its failure holds these units back for a while and harms nobody else."""
        self._busy |= busy

        async def job() -> None:
            try:
                await work
            except (RuntimeBusy, RuntimeRefused, Temporary, OSError) as problem:
                log.warning("%s: %s", name, problem)
                self._hold_back(busy)
            finally:
                self._busy -= busy
                self._touch(busy)
                self._reporter.note(busy)

        task = asyncio.create_task(job(), name=name)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        # A job that is cancelled before its first step never awaits its work.
        task.add_done_callback(lambda _: work.close())

    async def _stop(self, name: UnitName, *, remove: bool) -> None:
        await self._runtime.stop([name])
        # Stopping may have taken long: what is wanted again by now is for the next turn.
        unit = self._assigned.get(name)
        if remove and (unit is None or unit.desired is DesiredState.INACTIVE):
            await self._runtime.remove([name])

    async def _install(self, installs: Sequence[actions.Install]) -> None:
        wanted = [self._assigned[step.unit] for step in installs if step.unit in self._assigned]
        texts = await self._texts({unit.digest for unit in wanted})
        # Fetching may have taken long: what is wanted otherwise by now is for the next turn.
        wanted = [unit for unit in wanted if self._assigned.get(unit.name) == unit]
        units: list[RunnableUnit] = []
        refused: dict[UnitName, ArgosyError] = {}
        for unit in wanted:
            if unit.digest in texts:
                try:
                    units.append(self._runnable(unit, texts[unit.digest]))
                except (Invalid, RuntimeRefused) as problem:
                    refused[unit.name] = problem
        refused.update(await self._runtime.install(units))
        for name in [unit.name for unit in wanted if unit.digest in texts]:
            self._tell_refusal(name, str(refused[name]) if name in refused else "")
        self._hold_back(unit.name for unit in wanted if unit.digest not in texts)
        self._hold_back(refused)

    def _runnable(self, unit: AssignedUnit, text: bytes) -> RunnableUnit:
        return RunnableUnit(
            name=unit.name,
            digest=unit.version,
            text=containers.rendered(unit.name, text, self._find_engine),
            environment=environment(unit, self._machine),
            stop_within=stopping_seconds(unit),
        )

    def _tell_refusal(self, name: UnitName, problem: str) -> None:
        """Log and report a refusal once, not with each try; an empty one ends it."""
        if problem and problem != self._refusals.get(name):
            log.warning("%s cannot be installed: %s", name, problem)
            self._reporter.tell("unit.refused", name, problem)
        self._refusals[name] = problem

    def _start(self, steps: Sequence[actions.Start | actions.Restart]) -> None:
        """Ask for the starts, as one transaction so that the units' own order holds, and remember having asked.

        The disk remembers once the runtime shows that it has begun: an agent that dies before that asks again, which is
        better than a start that somebody wanted and nobody carries out.
        """
        for kind in (actions.Start, actions.Restart):
            wanted = {step.unit: _started(step) for step in steps if isinstance(step, kind)}
            if wanted:
                self._asked |= wanted
                word = kind.__name__.lower()
                self._begin(self._ask(word, wanted), f"{word} {len(wanted)} units", busy=set())

    async def _ask(self, word: str, wanted: Mapping[UnitName, Started]) -> None:
        names = list(wanted)
        try:
            await self._arm(names)
            asked = self._runtime.start if word == "start" else self._runtime.restart
            results = await asked(names)
        except (RuntimeBusy, RuntimeRefused, OSError):
            for name in names:
                self._asked.pop(name, None)
            self._hold_back(names)
            raise
        self._remember(name for name in names if self._asked.get(name) == wanted[name])
        for name, result in results.items():
            if result is not JobResult.DONE:
                log.info("%s of %s ended: %s", word, name, result.value)
            if result is JobResult.DEPENDENCY:
                why = "not started: a unit that it requires did not start"
                self._reporter.tell("unit.not-started", name, why)

    def _has_begun(self, name: UnitName) -> bool:
        """Whether the runtime shows that it does what it was asked for. One that is merely active may be the one from
        before a restart.
        """
        status = self._runtime.statuses().get(name)
        active = ActiveState.INACTIVE if status is None else status.active
        is_first = name not in self._started and active is ActiveState.ACTIVE
        return is_first or active in (ActiveState.ACTIVATING, ActiveState.DEACTIVATING)

    def _remember(self, names: Iterable[UnitName]) -> None:
        """Keep on the disk that these have had the starts that they were asked for."""
        begun = {name: self._asked[name] for name in names if name in self._asked}
        if any(self._started.get(name) != started for name, started in begun.items()):
            self._started |= begun
            self._save_soon()

    def _unremember(self, names: Iterable[UnitName]) -> None:
        """What this agent stops has had no start: the old text may be wanted again before the stop has ended, or before
        an agent that is killed meanwhile is back. So the disk knows it first.
        """
        remembered = [name for name in names if self._forget_start(name)]
        if remembered:
            self._save_now()

    def _forget_start(self, name: UnitName) -> bool:
        asked, started = self._asked.pop(name, None), self._started.pop(name, None)
        return asked is not None or started is not None

    def _save_soon(self) -> None:
        """Keep on the disk what was started, soon, so that many starts are one write."""
        self._save_after(self._settings.coalesce_for)

    def _save_after(self, delay: timedelta) -> None:
        if self._saving is None:
            loop = asyncio.get_running_loop()
            self._saving = loop.call_later(delay.total_seconds(), self._save_now)

    def _save_now(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
        if not self._is_kept:
            self._save_assignment()
        try:
            self._disk.save_started(self._started)
        except OSError as problem:
            log.error("what was started cannot be kept on the disk: %s", problem)
            self._save_after(self._settings.retry_after)

    def _save_assignment(self) -> None:
        """One that cannot be kept is obeyed all the same, and written when there is room."""
        assert self._delivery is not None
        try:
            self._disk.save_assignment(self._delivery)
        except OSError as problem:
            self._is_kept = False
            log.error("the assignment is obeyed but cannot be kept on the disk: %s", problem)
            self._save_after(self._settings.retry_after)
        else:
            self._is_kept = True

    def _forget_texts(self) -> None:
        if self._delivery is not None:
            self._disk.keep_texts({unit.digest for unit in self._delivery.assignment.units})

    async def _texts(self, digests: set[Digest]) -> dict[Digest, bytes]:
        """The texts that can be had now: from the disk, else from a server."""
        texts: dict[Digest, bytes] = {}
        for digest in sorted(digests):
            text = self._disk.text(digest)
            if text is None:
                try:
                    text = await self._link.text(digest)
                except (NotFound, Temporary, Unauthenticated, NotAllowed) as problem:
                    log.warning("the text %s cannot be had: %s", digest[:12], problem)
                    continue
                if hashlib.sha256(text).hexdigest() != digest:
                    log.error("a server sent another text for %s: it is not used", digest[:12])
                    continue
                self._keep_text(digest, text)
            texts[digest] = text
        return texts

    def _keep_text(self, digest: Digest, text: bytes) -> None:
        try:
            self._disk.save_text(digest, text)
        except OSError as problem:
            log.error("the text %s cannot be kept on the disk: %s", digest[:12], problem)

    def _hold_back(self, names: Iterable[UnitName]) -> None:
        later = asyncio.get_running_loop().time() + self._settings.retry_after.total_seconds()
        self._not_before.update(dict.fromkeys(names, later))


def _started(step: actions.Start | actions.Restart) -> Started:
    return Started(version=step.version, generation=step.generation)


def _rank(delivery: Delivery) -> tuple[int, int]:
    return delivery.epoch, delivery.revision


def _is_leaving(assigned: Mapping[UnitName, AssignedUnit], name: UnitName) -> bool:
    unit = assigned.get(name)
    return unit is not None and unit.is_leaving


def environment(unit: AssignedUnit, machine: Machine) -> dict[str, str]:
    """The variables that a unit gets, below those of its own text."""
    prefix, at, instance = unit.name.rpartition(".")[0].partition("@")
    variables = {
        "ARGOSY_UNIT": unit.name,
        "ARGOSY_SERVICE": prefix,
        "ARGOSY_MACHINE_ID": machine.id,
        "ARGOSY_MACHINE_IP": machine.address,
    }
    if at:
        variables["ARGOSY_INSTANCE"] = instance
    if unit.fence:
        variables["ARGOSY_FENCE"] = str(unit.fence)
    return variables | unit.variables
