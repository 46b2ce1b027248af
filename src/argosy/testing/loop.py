"""An asyncio event loop on virtual time, whose every choice comes from one seed.

Nothing waits: when no callback is ready, the clock jumps to the next timer. Among ready callbacks the seed chooses, so
that each seed is another interleaving, and the same seed is the same run, to the last step (`Trace.digest`).

What is kept of asyncio's order: callbacks that one task (or one callback) schedules run in the order it scheduled them.
What is not: which of several tasks goes first. Code that is right only because of that order is right by accident.

Tasks belong to a `Process`, inherited by the tasks they start. A process can be stopped and continued (SIGSTOP, a
virtual machine that is migrated) and can be struck at any of its steps. `cluster.py` makes servers and agents of these.
Sockets, threads, programs and `time.sleep` are refused with `OutsideWorld`.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import hashlib
import heapq
import random
import sys
import threading
import time
import weakref
from bisect import insort
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NoReturn, TypeVar
from unittest import mock

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Wall-clock time at virtual time 0."""
MAX_STEPS = 20_000_000
MAX_STEPS_AT_ONCE = 200_000
"""Steps without the clock moving, after which a run counts as spinning."""
COLLECT_EVERY = 200_000
"""Steps between two garbage collections: at fixed places, because finalizers are part of the run."""


class SimulationError(Exception):
    """The simulated program did something that no correct one does."""


class Deadlock(SimulationError):
    """Nothing is ready, no timer is set, and the main coroutine has not ended."""


class Runaway(SimulationError):
    """More steps than any sensible run has, or very many without the clock moving."""


class OutsideWorld(SimulationError):
    """Somebody asked for a socket, a thread, a program or real time inside a simulation."""


class DiedUnnoticed(SimulationError):
    """A task ended with an error that nobody looked at."""


class Process:
    """What is stopped, continued and struck together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_paused = False
        self.is_dead = False
        """Killed: what its tasks still call on the way to their ends must have no effect (see `cluster.py`)."""
        self.steps = 0
        """Steps taken so far."""
        self._strike_at: int | None = None
        self._strike: Callable[[], None] | None = None

    def strike_after(self, steps: int, strike: Callable[[], None]) -> None:
        """Call `strike` in the place of its `steps`-th next step; that step runs after it, if it still can."""
        self._strike_at = self.steps + steps
        self._strike = strike

    def spare(self) -> None:
        """No strike that is still to come will come."""
        self._strike = None

    def tick(self) -> None:
        """One step is about to be taken: the loop's business."""
        self.steps += 1
        if self._strike_at == self.steps and self._strike is not None:
            strike, self._strike = self._strike, None
            strike()


WORLD = Process("world")
"""Whatever belongs to no simulated process: the scenario, the store, the machines' own hardware."""
_process: contextvars.ContextVar[Process] = contextvars.ContextVar("process", default=WORLD)


class Trace:
    """What happened, as a running digest and as the last lines for people."""

    def __init__(self, time: Callable[[], float], *, keep: int = 400) -> None:
        self._time = time
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=keep)

    def step(self, lane: int, time: float) -> None:
        self._hash.update(b"%d@%r\n" % (lane, time))

    def note(self, line: str) -> None:
        """Something that a person would want to read."""
        self._hash.update(line.encode())
        self.lines.append(f"{self._time():10.3f}  {line}")

    def digest(self) -> str:
        """Equal for equal runs."""
        return self._hash.hexdigest()


class _Lane:
    """Handles that must keep their order: a task's steps, or the callbacks that one task has scheduled."""

    __slots__ = ("across", "handles", "number", "process")

    def __init__(self, number: int, process: Process) -> None:
        self.number = number
        self.process = process
        self.handles: deque[asyncio.Handle] = deque()
        self.across: dict[Process, _Lane] = {}
        """For callbacks of other processes that this lane's handles schedule."""


_number = attrgetter("number")


class SimLoop(asyncio.BaseEventLoop):
    """The loop. Of BaseEventLoop's private parts it replaces `_run_once` only, the seam that every loop fills.

    seed: of every choice. `stream(name)` gives further sources of randomness of the same seed.
    """

    def __init__(self, seed: int, *, max_steps: int = MAX_STEPS) -> None:
        super().__init__()
        self.seed = seed
        self.steps = 0
        self._max_steps = max_steps
        self._choice = self.stream("order of tasks")
        self._now = 0.0
        self._wall_offset = timedelta()
        self._steps_now = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, _Lane]] = []
        self._timer_numbers = 0
        self._lane_numbers = 0
        self._runnable: list[_Lane] = []
        """By number, because asyncio keeps tasks in sets: the order in which they become ready is that of addresses."""
        self._held: dict[Process, list[_Lane]] = {}
        """What would be runnable, of paused processes."""
        self._lanes: weakref.WeakKeyDictionary[asyncio.Task[Any], _Lane] = (
            weakref.WeakKeyDictionary()
        )
        self._task_names = 0
        self._running_lane = self._new_lane(WORLD)
        self.unnoticed: list[str] = []
        """What asyncio would have logged: tasks that died and nobody asked."""
        self.trace = Trace(self.time)
        self.set_exception_handler(lambda _, context: self._note_unnoticed(context))

    # --- time and chance ----------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def wall_clock(self) -> datetime:
        """What a clock on the wall shows; it may jump, `time` never does."""
        return EPOCH + timedelta(seconds=self._now) + self._wall_offset

    def jump_wall_clock(self, by: timedelta) -> None:
        """Somebody set the clock."""
        self._wall_offset += by

    def stream(self, name: str) -> random.Random:
        """A source of randomness of its own: drawing from it changes no other."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - must be reproducible

    # --- processes ----------------------------------------------------------------------------------------------

    def spawn(
        self, process: Process, coroutine: Coroutine[Any, Any, T], *, name: str
    ) -> asyncio.Task[T]:
        """A task in that process; what it starts belongs to the process too."""
        context = contextvars.copy_context()
        context.run(_process.set, process)
        return self.create_task(coroutine, name=name, context=context)

    def pause(self, process: Process) -> None:
        """No task of the process takes another step until `resume`. Its timers come due meanwhile."""
        process.is_paused = True
        held = self._held.setdefault(process, [])
        held += [lane for lane in self._runnable if lane.process is process]
        self._runnable = [lane for lane in self._runnable if lane.process is not process]

    def resume(self, process: Process) -> None:
        process.is_paused = False
        for lane in self._held.pop(process, []):
            insort(self._runnable, lane, key=_number)

    def wind_up(self) -> None:
        """Cancel every task that is left and run them to their ends."""
        for process in [*self._held]:
            self.resume(process)
        self._max_steps = self.steps + MAX_STEPS_AT_ONCE
        self._steps_now = 0
        left = sorted(asyncio.all_tasks(self), key=lambda task: self._lanes[task].number)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.wait(left))
        self.run_until_complete(self.shutdown_asyncgens())

    # --- what asyncio calls -------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready(handle, self._lane_for(callback, context))
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """There is one thread. Python itself calls this to close generators that nobody holds any more."""
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_numbers += 1
        lane = self._lane_for(callback, context)
        heapq.heappush(self._timers, (when, self._timer_numbers, handle, lane))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """As asyncio's, but unnamed tasks are numbered per loop and not per interpreter."""
        self._task_names += 1
        label = f"task-{self._task_names}" if name is None else str(name)
        return super().create_task(coro, name=label, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    def _process_events(self, event_list: object) -> None:
        """There are none: nothing comes from outside."""

    # --- the heart ----------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        while not self._runnable:
            self._advance()
        self._count()
        lane = self._take_lane()
        handle = lane.handles.popleft()
        if lane.handles:
            insort(self._runnable, lane, key=_number)
        if handle.cancelled():
            return
        lane.process.tick()
        self.trace.step(lane.number, self._now)
        self._running_lane = lane
        handle._run()  # noqa: SLF001 - there is no other way to run a handle, and every loop does it so

    def _advance(self) -> None:
        """To the next timer's time; all timers of that time become ready."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            raise Deadlock(self._waiting())
        if self._timers[0][0] > self._now:
            self._now = self._timers[0][0]
            self._steps_now = 0
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle, lane = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._make_ready(handle, lane)

    def _take_lane(self) -> _Lane:
        count = len(self._runnable)
        return self._runnable.pop(self._choice.randrange(count) if count > 1 else 0)

    def _make_ready(self, handle: asyncio.Handle, lane: _Lane) -> None:
        lane.handles.append(handle)
        if len(lane.handles) == 1:
            if lane.process.is_paused:
                self._held[lane.process].append(lane)
            else:
                insort(self._runnable, lane, key=_number)

    def _lane_for(
        self, callback: Callable[..., object], context: contextvars.Context | None
    ) -> _Lane:
        """A task's own lane for its steps, the lane of whoever schedules it for anything else."""
        process = _process.get() if context is None else context.get(_process, WORLD)
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            lane = self._lanes.get(owner)
            if lane is None:
                lane = self._lanes[owner] = self._new_lane(process)
            return lane
        running = self._running_lane
        if running.process is process:
            return running
        if process not in running.across:
            running.across[process] = self._new_lane(process)
        return running.across[process]

    def _new_lane(self, process: Process) -> _Lane:
        self._lane_numbers += 1
        return _Lane(self._lane_numbers, process)

    def _count(self) -> None:
        self.steps += 1
        self._steps_now += 1
        if self.steps > self._max_steps:
            raise Runaway(f"{self.steps} steps, and no end at virtual second {self._now:.3f}")
        if self._steps_now > MAX_STEPS_AT_ONCE:
            raise Runaway(f"{self._steps_now} steps at virtual second {self._now:.3f}: it spins")
        if self.steps % COLLECT_EVERY == 0:
            gc.collect()

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        lines = [f"  {task.get_name()} waits in {_place(task)}" for task in tasks]
        return "nothing is ready and no timer is set\n" + "\n".join(lines)

    def _note_unnoticed(self, context: dict[str, Any]) -> None:
        problem = context.get("exception")
        self.unnoticed.append(f"{context.get('message')}: {problem!r}")


@contextmanager
def in_process(process: Process) -> Iterator[None]:
    """Timers and tasks made inside belong to that process: what a call sets going in another process lives there."""
    token = _process.set(process)
    try:
        yield
    finally:
        _process.reset(token)


def running() -> SimLoop:
    """The loop of the running simulation."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop), "this is for simulations: argosy.testing.loop.run"
    return loop


def run(seed: int, main: Callable[[], Coroutine[Any, Any, T]], *, max_steps: int = MAX_STEPS) -> T:
    """Run the coroutine on a loop of its own to its end, then cancel what it left running.

    An error leaves with the seed and the last lines of the trace as its note. Raises DiedUnnoticed when a task ended
    with an error that nobody awaited.
    """
    loop = SimLoop(seed, max_steps=max_steps)
    with _closed_world():
        try:
            try:
                result = loop.run_until_complete(main())
            finally:
                loop.wind_up()
            if loop.unnoticed:
                raise DiedUnnoticed("\n".join(loop.unnoticed))
        except BaseException as problem:
            lines = "\n".join(loop.trace.lines)
            problem.add_note(f"seed {seed}, {loop.steps} steps; what happened last:\n{lines}")
            raise
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    return result


def _place(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    if not frames:
        return "no frame"
    code = frames[-1].f_code
    return f"{code.co_qualname} ({code.co_filename}:{frames[-1].f_lineno})"


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OutsideWorld(f"{name} inside a simulation")

    return refuse


for _name in (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "run_in_executor",
    "sock_connect",
    "subprocess_exec",
    "subprocess_shell",
):
    setattr(SimLoop, _name, _refusing(_name))

_AUDITED = ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.posix_spawn")
_is_closed = False
_is_hooked = False


def _audit(event: str, _: tuple[object, ...]) -> None:
    if _is_closed and event in _AUDITED:
        raise OutsideWorld(f"{event} inside a simulation")


@contextmanager
def _closed_world() -> Iterator[None]:
    """Refuse the world outside, and keep the garbage collector from running finalizers at moments of its own.

    Sockets and programs are refused by an audit hook, which also sees those that C code opens (Python cannot take a
    hook away again, so it asks a flag); sleeping and threads, which Python 3.11 does not audit, by replacement.
    """
    global _is_closed, _is_hooked
    if not _is_hooked:
        sys.addaudithook(_audit)
        _is_hooked = True
    had_gc = gc.isenabled()
    gc.collect()
    gc.disable()
    _is_closed = True
    try:
        with (
            mock.patch.object(time, "sleep", _refusing("time.sleep")),
            mock.patch.object(threading.Thread, "start", _refusing("a thread")),
        ):
            yield
    finally:
        _is_closed = False
        if had_gc:
            gc.enable()
