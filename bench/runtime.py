"""Figures of the process runtime: one start, five hundred at once, memory, idle. Run by `make bench`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from argosy.model.ids import Digest, UnitName
from argosy.model.observed import ActiveState
from argosy.runtime.base import RunnableUnit
from argosy.runtime.process import tree
from argosy.runtime.process.runtime import ProcessRuntime

STARTS = 40
MANY = 500
IDLE_SECONDS = 5.0


def unit(name: str) -> RunnableUnit:
    text = b"[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"
    digest = Digest(hashlib.sha256(text).hexdigest())
    return RunnableUnit(name=UnitName(name), digest=digest, text=text)


def bare_start() -> float:
    """Fork and exec as plainly as Python can."""
    began = time.perf_counter()
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        took = time.perf_counter() - began
        process.kill()
    return took


def supervisors(runtime: ProcessRuntime) -> list[int]:
    mains = [status.main_pid for status in runtime.statuses().values() if status.main_pid]
    return [pid for main in mains if (pid := tree.parent(main))]


def pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0])


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def show(what: str, figure: str, method: str) -> None:
    print(f"{what:<44} {figure:>16}   {method}")


async def one_by_one(runtime: ProcessRuntime) -> None:
    await runtime.install([unit("one.service")])
    took = []
    for _ in range(STARTS):
        began = time.perf_counter()
        await runtime.start([UnitName("one.service")])
        took.append(time.perf_counter() - began)
        await runtime.remove([UnitName("one.service")])
        await runtime.install([unit("one.service")])
    bare = statistics.median(bare_start() for _ in range(STARTS))
    median = statistics.median(took)
    show(
        "start one unit, to its exec, median",
        f"{median * 1e3:.1f} ms",
        f"{STARTS} starts one after the other; bare Popen of the same program {bare * 1e3:.1f} ms",
    )
    await runtime.remove([UnitName("one.service")])


async def many(runtime: ProcessRuntime) -> None:
    names = [UnitName(f"many-{number}.service") for number in range(MANY)]
    began = time.perf_counter()
    await runtime.install([unit(name) for name in names])
    installed = time.perf_counter()
    await runtime.start(names)
    active = time.perf_counter()
    assert all(s.active is ActiveState.ACTIVE for s in runtime.statuses().values())
    show(f"install {MANY} units", f"{installed - began:.2f} s", "one call")
    show(f"start {MANY} units, all executed", f"{active - installed:.2f} s", "one call, no order")
    pids = supervisors(runtime)
    memory = [pss_kib(pid) for pid in pids[:: MANY // 20]]
    show("memory of one supervisor (PSS)", f"{statistics.mean(memory):.0f} KiB", "mean of 20")
    own = pss_kib(os.getpid())
    show("memory of the runtime's process (PSS)", f"{own / 1024:.0f} MiB", "with this script")
    before = cpu_seconds([*pids, os.getpid()])
    await asyncio.sleep(IDLE_SECONDS)
    used = (cpu_seconds([*pids, os.getpid()]) - before) / IDLE_SECONDS
    show(f"idle, {MANY} units running", f"{used:.2%}", f"of a core, over {IDLE_SECONDS:.0f} s")
    began = time.perf_counter()
    await runtime.stop(names)
    show(f"stop {MANY} units, nothing left", f"{time.perf_counter() - began:.2f} s", "one call")


async def measure() -> None:
    with tempfile.TemporaryDirectory(prefix="argosy-bench-") as directory:
        runtime = ProcessRuntime(Path(directory) / "units")
        await runtime.open()
        try:
            await one_by_one(runtime)
            await many(runtime)
        finally:
            await runtime.stop(list(runtime.statuses()))
            await runtime.close()


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
