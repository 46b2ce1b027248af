"""How fast the store on etcd is: puts alone and together, transactions, ranges, watches, renewals of leases.

Starts an etcd of one member and one of three on this machine and times the store's own calls in this process, from the
call to its answer. Values have 200 bytes, no TLS. etcd writes to the disk of the temporary directory, all members to the
same one, and shares the cores with this script. With an argument: the directory to measure in. Needs `etcd` on PATH.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from platform import python_version

from argosy.settings import EtcdSettings
from argosy.store.base import Put, Store, absent, prefix_end
from argosy.store.etcd.store import EtcdStore

SINGLES = 500
WRITERS = 64
PUTS_EACH = 100
KEYS = 10_000
WATCHERS = 1_000
VALUE = b"x" * 200


def main() -> None:
    directory = sys.argv[1] if len(sys.argv) > 1 else None
    version = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
    print(f"{version.stdout.splitlines()[0]}, {os.cpu_count()} cores, Python {python_version()}")
    print(
        "method: time on the clock, median and 99th percentile of single calls; values of 200 bytes"
    )
    for members in (1, 3):
        with (
            tempfile.TemporaryDirectory(prefix="argosy-bench-", dir=directory) as made,
            _etcd(Path(made), members) as endpoints,
        ):
            print(f"-- {members} member{'s' if members > 1 else ''}")
            started = EtcdSettings(endpoints=endpoints, request_timeout=timedelta(seconds=20))
            asyncio.run(_measure(started))
    print(f"memory of this process at most: {_peak_megabytes():.0f} MB")


async def _measure(settings: EtcdSettings) -> None:
    store = await EtcdStore.connect(settings)
    await _times("put", SINGLES, lambda n: store.txn([], [Put(f"one/{n}", VALUE)]))
    compare = absent("nobody")
    await _times(
        "transaction of 2 compares and 3 puts",
        SINGLES,
        lambda n: store.txn(
            [compare, absent(f"txn/{n}")], [Put(f"txn/{n}{part}", VALUE) for part in ("", "a", "b")]
        ),
    )
    await _times("read of one key", SINGLES, lambda n: store.range(f"one/{n}"))
    await _together(store)
    for first in range(0, KEYS, 100):
        await store.txn([], [Put(f"many/{n:05}", VALUE) for n in range(first, first + 100)])
    await _times("range of 10,000", 10, lambda _: store.range("many/", "many0"))
    await _catch_up(store)
    await _fan_out(store)
    lease = await store.grant(60)
    await _times("renewal of a lease", SINGLES, lambda _: store.keep_alive(lease.id))
    await store.close()


async def _times(what: str, count: int, call: Callable[[int], Awaitable[object]]) -> None:
    times = []
    for number in range(count):
        began = time.perf_counter()
        await call(number)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    print(f"{what}: {statistics.median(times):.2f} ms (99 %: {times[-len(times) // 100]:.2f} ms)")


async def _together(store: Store) -> None:
    async def write(writer: int) -> None:
        for number in range(PUTS_EACH):
            await store.txn([], [Put(f"together/{writer}/{number}", VALUE)])

    rates = []
    for _ in range(3):
        began = time.perf_counter()
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        rates.append(WRITERS * PUTS_EACH / (time.perf_counter() - began))
    print(f"puts of {WRITERS} writers: {statistics.median(rates):,.0f} a second")


async def _catch_up(store: Store) -> None:
    """A watch that resumes 100 transactions of 100 puts back."""
    first = (await store.status()).revision - 99
    began = time.perf_counter()
    events = 0
    async with store.watch("many/", "many0", start_revision=first) as watch:
        while events < KEYS:
            events += len((await anext(watch)).events)
    took = time.perf_counter() - began
    print(f"watch that catches up on 10,000 events: {took * 1000:.0f} ms")


async def _fan_out(store: Store) -> None:
    """From the call of a put to its event, at one of many watchers; the put's own time is in it."""
    async with AsyncExitStack() as stack:
        watches = []
        for number in range(WATCHERS):
            prefix = f"observed/{number:04}/"
            watches.append(await stack.enter_async_context(store.watch(prefix, prefix_end(prefix))))

        async def put_and_see(number: int) -> None:
            watch = watches[number % WATCHERS]
            seen = asyncio.ensure_future(anext(watch))
            await store.txn([], [Put(f"observed/{number % WATCHERS:04}/web.service", VALUE)])
            await seen

        await _times(f"put until one of {WATCHERS:,} watchers has it", SINGLES, put_and_see)


@contextmanager
def _etcd(directory: Path, members: int) -> Iterator[tuple[str, ...]]:
    ports = _free_ports(2 * members)
    cluster = ",".join(f"m{n}=http://127.0.0.1:{ports[2 * n + 1]}" for n in range(members))
    with ExitStack() as running:
        endpoints = []
        for number in range(members):
            client = f"http://127.0.0.1:{ports[2 * number]}"
            peer = f"http://127.0.0.1:{ports[2 * number + 1]}"
            endpoints.append(client)
            process = subprocess.Popen(
                [
                    "etcd",
                    f"--name=m{number}",
                    f"--data-dir={directory / str(number)}",
                    f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster={cluster}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.callback(process.wait)
            running.callback(process.kill)
        yield tuple(endpoints)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
