"""How fast the stores are: durable puts alone and together, reads and watches among 100,000 keys, opening.

What is timed is the store's own call in this process, from the call to its answer: no API, no network. Values have 200
bytes. A put that is answered is on the disk: the time of an fsync on the same disk is printed before and after, because it
varies with whatever else the disk does. Times are on the clock; the best of `ROUNDS` rounds is given beside the median.
With an argument: the directory to measure in.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from platform import python_version

from argosy.store.base import Put, Store, prefix_end
from argosy.store.memory import MemoryStore
from argosy.store.sqlite import SqliteStore

ROUNDS = 5
WRITERS = 64
PUTS_EACH = 200
SINGLES = 500
KEYS = 100_000
WATCHERS = 5_000
VALUE = b"x" * 200
TURN_SECONDS = 0.0008
"""How long the busy event loop of one measurement computes before it looks at its other tasks."""


def main() -> None:
    directory = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(prefix="argosy-bench-", dir=directory) as made:
        where = Path(made)
        print(f"machine: {_processor()}, {os.cpu_count()} cores, Python {python_version()}")
        print(f"disk: 4 KiB appended and synced in {_fsync_milliseconds(where):.2f} ms (median)")
        print(f"method: time on the clock, median (best) of {ROUNDS} rounds; values of 200 bytes")
        asyncio.run(_measure(where))
        print(f"disk: 4 KiB appended and synced in {_fsync_milliseconds(where):.2f} ms (median)")


async def _measure(where: Path) -> None:
    singles = [await _singles(where / f"single{n}.db") for n in range(ROUNDS)]
    medians = sorted(statistics.median(times) for times in singles)
    slowest = statistics.median(sorted(times)[-len(times) // 100] for times in singles)
    _line("sqlite: single put, median", [m * 1000 for m in medians], "ms")
    print(f"  99th percentile {slowest * 1000:.2f} ms")
    rates = [await _together(where / f"together{n}.db") for n in range(ROUNDS)]
    _line(f"sqlite: durable puts, {WRITERS} writers", rates, "puts/s", best=max)
    busy = [await _busy(where / f"busy{n}.db") for n in range(ROUNDS)]
    _line("sqlite: single put, loop never idle, slowest of 50", busy, "ms")
    _line("sqlite: opening with 100,000 keys", [await _opening(where)], "ms")
    memory = MemoryStore()
    puts = [await _fill(memory, f"fill{n}/") for n in range(ROUNDS)]
    _line("memory: puts", puts, "puts/s", best=max)
    _line("range of 10,000 among 500,000 keys", [await _range(memory) for _ in range(ROUNDS)], "ms")
    _line(
        f"one change to one of {WATCHERS} watchers, each of a prefix of its own",
        [await _fan_out(memory) for _ in range(ROUNDS)],
        "ms",
    )
    await memory.close()


async def _singles(path: Path) -> list[float]:
    store = await SqliteStore.open(path)
    times = []
    for number in range(SINGLES):
        began = time.perf_counter()
        await store.txn([], [Put(f"units/{number}", VALUE)])
        times.append(time.perf_counter() - began)
    await store.close()
    return times


async def _together(path: Path) -> float:
    """Puts a second."""
    store = await SqliteStore.open(path)

    async def write(writer: int) -> None:
        for number in range(PUTS_EACH):
            await store.txn([], [Put(f"units/{writer}/{number}", VALUE)])

    began = time.perf_counter()
    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    took = time.perf_counter() - began
    await store.close()
    return WRITERS * PUTS_EACH / took


async def _busy(path: Path) -> float:
    """Milliseconds that the slowest put waits while another task always has something to compute."""
    store = await SqliteStore.open(path)

    async def compute() -> None:
        while True:
            until = time.perf_counter() + TURN_SECONDS
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)

    computing = asyncio.create_task(compute())
    slowest = 0.0
    for number in range(50):
        began = time.perf_counter()
        await store.txn([], [Put(f"units/{number}", VALUE)])
        slowest = max(slowest, time.perf_counter() - began)
    computing.cancel()
    await asyncio.wait([computing])
    await store.close()
    return slowest * 1000


async def _opening(where: Path) -> float:
    store = await SqliteStore.open(where / "opening.db")
    await _fill(store, "units/")
    await store.close()
    began = time.perf_counter()
    store = await SqliteStore.open(where / "opening.db")
    took = time.perf_counter() - began
    await store.close()
    return took * 1000


async def _fill(store: Store, prefix: str) -> float:
    """Write KEYS keys, a hundred at a time; returns puts a second."""
    began = time.perf_counter()
    for keys in _batches(prefix):
        await store.txn([], [Put(key, VALUE) for key in keys])
    return KEYS / (time.perf_counter() - began)


def _batches(prefix: str) -> Iterator[list[str]]:
    for first in range(0, KEYS, 100):
        # spread over the whole order, so that inserting is not always appending
        yield [f"{prefix}{(number * 7919) % KEYS:06}" for number in range(first, first + 100)]


async def _range(store: Store) -> float:
    began = time.perf_counter()
    found = await store.range("fill0/05", "fill0/06")
    assert len(found.kvs) == 10_000
    return (time.perf_counter() - began) * 1000


async def _fan_out(store: Store) -> float:
    """Milliseconds from a put to its event, among watchers that it does not concern."""
    async with AsyncExitStack() as stack:
        watches = []
        for number in range(WATCHERS):
            prefix = f"observed/{number:05}/"
            watch = await stack.enter_async_context(store.watch(prefix, prefix_end(prefix)))
            watches.append(watch)
        began = time.perf_counter()
        await store.txn([], [Put("observed/00042/web.service", VALUE)])
        await _next(watches[42])
        return (time.perf_counter() - began) * 1000


async def _next(watch: AsyncIterator[object]) -> None:
    await anext(watch)


def _fsync_milliseconds(where: Path) -> float:
    times = []
    with (where / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def _line(
    what: str, figures: list[float], unit: str, *, best: Callable[[list[float]], float] = min
) -> None:
    top = best(figures)
    middle = statistics.median(figures)
    form = ",.0f" if middle >= 100 else ".2f"
    print(f"{what}: {middle:{form}} ({top:{form}}) {unit}")


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    main()
