"""The simulated loop: same seed, same run; another seed, another interleaving; and nothing from outside."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from argosy.testing import loop as sim
from argosy.testing.loop import Deadlock, DiedUnnoticed, OutsideWorld, Process, Runaway, SimLoop


def here() -> SimLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    return loop


async def three_workers() -> tuple[str, str]:
    """The order in which three tasks got their turns, and the digest of the run."""
    order: list[str] = []

    async def work(name: str) -> None:
        for _ in range(5):
            order.append(name)
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(work(name))
    return "".join(order), here().trace.digest()


def test_the_same_seed_is_the_same_run() -> None:
    assert sim.run(7, three_workers) == sim.run(7, three_workers)


def test_other_seeds_are_other_interleavings() -> None:
    assert len({sim.run(seed, three_workers)[0] for seed in range(20)}) > 15


def test_the_digest_does_not_depend_on_the_interpreters_hash_seed() -> None:
    program = (
        "from tests_loop import three_workers; from argosy.testing import loop; "
        "print(loop.run(3, three_workers)[1])"
    )
    program = program.replace("tests_loop", "unit.testing.test_loop")
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "tests"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_an_hour_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return here().time()

    began = time.monotonic()
    assert sim.run(1, main) == 3600
    assert time.monotonic() - began < 5


def test_what_one_task_schedules_keeps_its_order_under_every_seed() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        for number in range(10):
            here().call_soon(seen.append, number)
        await asyncio.sleep(0)
        return seen

    for seed in range(30):
        assert sim.run(seed, main) == list(range(10))


def test_timers_fire_in_the_order_of_their_times() -> None:
    async def main() -> list[float]:
        fired: list[float] = []
        for delay in (3.0, 1.0, 2.0, 1.5):
            here().call_later(delay, fired.append, delay)
        await asyncio.sleep(4)
        return fired

    assert sim.run(1, main) == [1.0, 1.5, 2.0, 3.0]


def test_timeouts_and_cancellation_work_as_everywhere() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(100), 5)
        return here().time()

    assert sim.run(1, main) == 10


def test_a_wait_that_nothing_can_end_is_a_deadlock_and_names_the_waiter() -> None:
    async def wait_for_godot() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(wait_for_godot(), name="vladimir")

    with pytest.raises(Deadlock, match=r"vladimir waits in .*wait_for_godot"):
        sim.run(1, main)


def test_a_loop_that_spins_is_stopped() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Runaway, match="it spins"):
        sim.run(1, main)


def test_a_run_that_never_ends_is_stopped() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with pytest.raises(Runaway):
        sim.run(1, main, max_steps=1000)


def test_a_task_that_dies_unnoticed_fails_the_run() -> None:
    async def die() -> None:
        raise ValueError("nobody looks")

    async def main() -> None:
        asyncio.create_task(die())  # noqa: RUF006 - that nobody keeps it is the point
        await asyncio.sleep(1)

    with pytest.raises(DiedUnnoticed, match="nobody looks"):
        sim.run(1, main)


def test_a_failure_carries_its_seed_and_the_last_lines() -> None:
    async def main() -> None:
        here().trace.note("the lights went out")
        raise ValueError("dark")

    with pytest.raises(ValueError) as caught:
        sim.run(99, main)
    note = "".join(caught.value.__notes__)
    assert "seed 99" in note and "the lights went out" in note


async def open_a_connection() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def use_a_thread() -> None:
    await asyncio.to_thread(len, "abc")


async def run_a_program() -> None:
    await asyncio.to_thread(subprocess.run, ["true"])


async def run_a_program_directly() -> None:
    subprocess.run(["true"], check=True)  # noqa: ASYNC221 - it is refused


async def sleep_for_real() -> None:
    time.sleep(0.01)  # noqa: ASYNC251 - it is refused


@pytest.mark.parametrize(
    "outside",
    [open_a_connection, use_a_thread, run_a_program, run_a_program_directly, sleep_for_real],
)
def test_the_world_outside_is_refused(
    outside: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    with pytest.raises(OutsideWorld):
        sim.run(1, outside)


def test_the_world_outside_is_there_again_after_a_run() -> None:
    sim.run(1, three_workers)
    time.sleep(0)
    subprocess.run(["true"], check=True)


def test_a_jump_of_the_wall_clock_moves_no_timer() -> None:
    async def main() -> tuple[float, timedelta]:
        before = here().wall_clock()
        here().jump_wall_clock(timedelta(days=-1))
        await asyncio.sleep(10)
        return here().time(), here().wall_clock() - before

    assert sim.run(1, main) == (10, timedelta(days=-1, seconds=10))


def test_a_paused_process_stands_still_with_all_its_tasks_and_then_catches_up() -> None:
    async def main() -> tuple[int, int, int]:
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                await asyncio.sleep(1)
                ticks.append(here().time())

        async def start() -> None:
            await asyncio.create_task(tick())

        process = Process("clock")
        here().spawn(process, start(), name="clock")
        await asyncio.sleep(5.5)
        here().pause(process)
        before = len(ticks)
        await asyncio.sleep(10)
        during = len(ticks)
        here().resume(process)
        await asyncio.sleep(2)
        return before, during, len(ticks)

    before, during, after = sim.run(1, main)
    assert (before, during) == (5, 5)
    assert after > 6


def test_a_process_can_be_struck_at_any_of_its_steps() -> None:
    async def main(strike: int) -> list[int]:
        done: list[int] = []

        async def work() -> None:
            for number in range(5):
                done.append(number)
                await asyncio.sleep(0.1)

        process = Process("worker")
        task = here().spawn(process, work(), name="work")

        def cancel() -> None:
            task.cancel()

        process.strike_after(strike, cancel)
        await asyncio.wait([task])
        return done

    seen = [sim.run(1, partial(main, strike)) for strike in (1, 2, 4, 6)]
    assert seen[0] == []
    assert sorted(seen, key=len) == seen
    assert len({len(one) for one in seen}) > 2


@pytest.mark.parametrize("name", ["faults", "delays"])
def test_a_stream_of_randomness_is_its_seed_and_name(name: str) -> None:
    async def main() -> tuple[float, float]:
        return here().stream(name).random(), here().stream(name).random()

    first, again = sim.run(5, main)
    assert first == again
    assert sim.run(6, main)[0] != first
