"""What a command line costs: the start of the program, a list of a thousand units, the names behind a Tab.

Method: each command is started as a person starts it, `ROUNDS` times in turn with the others; medians of the time on the
clock, and beside them of processor time, which a busy machine changes less. The server is a process of its own, on a store
in memory that holds `UNITS` units, placed and running.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from argosy.api.cluster import open_cluster
from argosy.api.server import Server
from argosy.api.services import Services
from argosy.client import Client
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from argosy.units.check import digest_of

ROUNDS = 25
UNITS = 1000
MACHINE = MachineId("1" * 32)
TEXT = b"[Service]\nExecStart=/bin/sleep infinity\n"
ARGOSY = str(Path(sys.executable).with_name("argosy"))
BARE = [sys.executable, "-c", "pass"]


class Cost(NamedTuple):
    """Seconds that a command took."""

    clock: float
    processor: float


def main() -> None:
    print(f"machine: {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"method: medians of {ROUNDS} starts of the real command: clock (processor)\n")
    bare, helped = medians([BARE, [ARGOSY, "--help"]])
    report("a bare interpreter", bare)
    above = Cost(helped.clock - bare.clock, helped.processor - bare.processor)
    report("argosy --help, above a bare interpreter", above)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "private" / "argosy.sock"
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(path,))
        server.start()
        try:
            with_a_thousand_units(path)
        finally:
            server.terminate()
            server.join()


def with_a_thousand_units(path: Path) -> None:
    client = Client.find(f"unix://{path}")
    while not client.is_there():
        time.sleep(0.05)
    os.environ["ARGOSY_ENDPOINT"] = f"unix://{path}"
    commands = [
        ["list-units"],
        ["list-unit-files"],
        ["status", "u0500.service"],
        ["complete", "units", "u05"],
    ]
    costs = medians([[ARGOSY, *command] for command in commands])
    for command, cost in zip(commands, costs, strict=True):
        report(f"argosy {' '.join(command)}, of {UNITS} units", cost)


def medians(commands: list[list[str]]) -> list[Cost]:
    """Of each command; taken in turn, so that a busy moment of the machine touches all of them."""
    taken: list[list[Cost]] = [[] for _ in commands]
    for _ in range(ROUNDS):
        for command, costs in zip(commands, taken, strict=True):
            costs.append(measured(command))
    return [
        Cost(*(statistics.median(values) for values in zip(*costs, strict=True))) for costs in taken
    ]


def measured(command: list[str]) -> Cost:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(clock, spent)


def report(what: str, cost: Cost) -> None:
    print(f"{what:<55} {cost.clock * 1000:7.1f} ms  ({cost.processor * 1000:.1f} ms)")


def serve(path: Path) -> None:
    asyncio.run(_serve(path))


async def _serve(path: Path) -> None:
    store = MemoryStore()
    await open_cluster(store, clock=_now)
    digest = digest_of(TEXT)
    names = [UnitName(f"u{number:04}.service") for number in range(UNITS)]
    launched = DesiredState.LAUNCHED
    assigned = tuple(AssignedUnit(name=name, digest=digest, desired=launched) for name in names)
    puts = [
        base.Put(keys.machine(MACHINE), codec.encode(Machine(id=MACHINE, address="10.0.0.1"))),
        base.Put(keys.presence(MACHINE), b""),
        base.Put(keys.text(digest), TEXT),
        base.Put(
            keys.assignment(MACHINE), codec.encode(Assignment(machine=MACHINE, units=assigned))
        ),
    ]
    for name in names:
        unit = Unit(name=name, digest=digest, desired=launched)
        status = UnitStatus(name=name, digest=digest, active=ActiveState.ACTIVE, sub="running")
        observed = Observed(machine=MACHINE, status=status)
        puts.append(base.Put(keys.unit(name), codec.encode(unit)))
        puts.append(base.Put(keys.observed(MACHINE, name), codec.encode(observed)))
    for start in range(0, len(puts), base.MAX_TXN_OPS):
        await store.txn([], puts[start : start + base.MAX_TXN_OPS])
    await Server(Services(store=store, clock=_now), unix=path).run()


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
