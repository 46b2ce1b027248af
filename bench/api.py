"""The API with a thousand units placed and running: what a list costs by the client and by the CLI, what a change costs
until every watch has it, and what submitting costs.

Method: the server in a process of its own on a store in memory, so that the figures are the API's and not the disk's;
the client here. Medians of `ROUNDS` calls over the unix socket, each on a connection of its own; the CLI is started as a
person starts it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from argosy.api.cluster import open_cluster
from argosy.api.gate import MachineGate
from argosy.api.server import Server
from argosy.api.services import Services
from argosy.api.sessions import Sessions
from argosy.client import Client, Stream, Submission, WatchItem
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.ids import MachineId, UnitName
from argosy.model.link import Report
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, UnitStatus
from argosy.model.unit import DesiredState
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from argosy.units.check import digest_of

UNITS = 1000
ROUNDS = 15
WATCHERS = 100
MACHINE = MachineId("1" * 32)
TEXT = b"[Unit]\nDescription=Unit of a thousand\n[Service]\nExecStart=/bin/sleep infinity\n"


def main() -> None:
    print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores,", end=" "
    )
    print(f"Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "private" / "argosy.sock"
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(path,))
        server.start()
        try:
            client = Client.find(f"unix://{path}")
            while not client.is_there():
                time.sleep(0.05)
            submit(client)
            lists(client)
            by_cli(path)
            watches(client)
        finally:
            server.terminate()
            server.join()


def submit(client: Client) -> None:
    units = [Submission(f"u{number:04}.service", TEXT, "launched") for number in range(UNITS)]
    started = time.perf_counter()
    client.submit(units)
    report(f"submit {UNITS} units in one request", time.perf_counter() - started)
    wait_until_placed(client)
    more = iter(range(10**6))
    report(
        "submit one unit",
        median(lambda: client.submit([Submission(f"m{next(more)}.service", TEXT)])),
    )
    client.destroy(["m*"])


def lists(client: Client) -> None:
    report(f"list {UNITS} units", median(client.units))
    report(f"list {UNITS} states", median(client.states))
    report("one unit with its text", median(lambda: client.unit("u0500.service")))


def by_cli(path: Path) -> None:
    argosy = str(Path(sys.executable).with_name("argosy"))
    environment = os.environ | {"ARGOSY_ENDPOINT": f"unix://{path}"}

    def run() -> None:
        subprocess.run([argosy, "list-units"], env=environment, check=True, capture_output=True)

    report(f"argosy list-units of {UNITS} units", median(run))


def watches(client: Client) -> None:
    """From the request of a change until the last of all watches has it."""
    streams = [client.watch() for _ in range(WATCHERS)]
    for stream in streams:
        next(stream)

    def change() -> None:
        threads = [threading.Thread(target=until_event, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        client.change(["u0500.service"], restart=True)
        for thread in threads:
            thread.join()

    report(f"one change, until {WATCHERS} watches have it", median(change))
    for stream in streams:
        stream.close()


def until_event(stream: Stream[WatchItem]) -> None:
    while next(stream).kind != "event":
        pass


def wait_until_placed(client: Client) -> None:
    while len(client.states()) < UNITS:
        time.sleep(0.05)


def median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def report(what: str, seconds: float) -> None:
    print(f"{what:<45} {seconds * 1000:8.1f} ms")


def serve(path: Path) -> None:
    asyncio.run(_serve(path))


async def _serve(path: Path) -> None:
    store = MemoryStore()
    await open_cluster(store, clock=now)
    sessions = Sessions(store, name="bench", clock=now)
    gate = MachineGate(sessions, MACHINE, holder="bench")
    await gate.register(Machine(id=MACHINE, hostname="bench"))
    server = Server(Services(store=store, clock=now), unix=path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sessions.run())
        tasks.create_task(server.run())
        tasks.create_task(_run_what_is_submitted(store, gate))


async def _run_what_is_submitted(store: base.Store, gate: MachineGate) -> None:
    """Stands for engine and agent: once all are there, places every unit on the machine and reports it active."""
    units = keys.UNITS, base.prefix_end(keys.UNITS)
    async with store.watch(*units) as batches:
        while (await store.range(*units, keys_only=True)).total < UNITS:
            await anext(batches)
    digest = digest_of(TEXT)
    names = [UnitName(f"u{number:04}.service") for number in range(UNITS)]
    assigned = tuple(
        AssignedUnit(name=name, digest=digest, desired=DesiredState.LAUNCHED) for name in names
    )
    record = codec.encode(Assignment(machine=MACHINE, units=assigned))
    await store.txn([], [base.Put(keys.assignment(MACHINE), record)])
    statuses = tuple(
        UnitStatus(name=name, digest=digest, active=ActiveState.ACTIVE, sub="running", since=now())
        for name in names
    )
    await gate.report(Report(changed=statuses, full=True))


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
