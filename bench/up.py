"""`argosy up` end to end: one unit from submission to process, five hundred at once, and the cost of having them.

Method: a real daemon (`argosy up --detach`) in a temporary state directory, real processes. A unit notes the instant at
which its process runs (`date +%s%N`); the same command spawned directly is subtracted. Idle CPU and memory are the
kernel's figures for the daemon's process, and for it with all its supervisors.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from argosy.client import Client, Submission

ARGOSY = [str(Path(sys.executable).with_name("argosy"))]
RUNS = 40
UNITS = 500
IDLE_SECONDS = 20
TICK = os.sysconf("SC_CLK_TCK")
TIMEOUT = 60.0


def main() -> None:
    print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores,", end=" "
    )
    print(f"Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with daemon(directory) as client:
            one_unit(client, directory)
        with daemon(directory / "many") as client:
            many_units(client, directory)


@contextmanager
def daemon(directory: Path) -> Iterator[Client]:
    state = directory / "state"
    app = directory / "first"
    app.mkdir(parents=True)
    (app / "first.service").write_text("[Service]\nExecStart=/bin/sleep infinity\n")
    environment = os.environ | {"ARGOSY_STATE_DIR": str(state)}
    subprocess.run(
        [*ARGOSY, "up", "--detach", str(app)], env=environment, check=True, capture_output=True
    )
    try:
        yield Client.find(f"unix://{state}/argosy.sock")
    finally:
        subprocess.run([*ARGOSY, "down"], env=environment, check=True, capture_output=True)


def one_unit(client: Client, directory: Path) -> None:
    spawned, submitted = [], []
    for number in range(RUNS):
        stamp = directory / f"stamp-{number}"
        script = f"date +%s%N > {stamp}.new && mv {stamp}.new {stamp} && exec sleep infinity"
        began = time.time_ns()
        process = subprocess.Popen(["/bin/sh", "-c", script])
        spawned.append(wait_for(stamp) - began)
        process.kill()
        process.wait()
        stamp.unlink()
        text = f"[Service]\nExecStart=/bin/sh -c '{script.replace('%', '%%')}'\n"
        began = time.time_ns()
        client.submit([Submission(f"one-{number}.service", text.encode(), "launched")])
        submitted.append(wait_for(stamp) - began)
    bare, whole = (statistics.median(times) / 1e6 for times in (spawned, submitted))
    print(f"submit to process running, idle, median of {RUNS}: {whole:.1f} ms;", end=" ")
    print(f"spawned directly {bare:.1f} ms; on top: {whole - bare:.1f} ms (goal < 25)")


def many_units(client: Client, directory: Path) -> None:
    state = directory / "many" / "state"
    app = directory / "five-hundred"
    app.mkdir()
    for number in range(UNITS):
        text = "[Service]\nExecStart=/bin/sleep infinity\n"
        (app / f"u{number:03}.service").write_text(text)
    environment = os.environ | {"ARGOSY_STATE_DIR": str(state)}
    began = time.monotonic()
    command = [*ARGOSY, "up", "--detach", str(app)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    took = time.monotonic() - began
    active = sum(one["active"] == "active" for one in client.states(["u*.service"]))
    print(f"{active} of {UNITS} units active after {took:.2f} s (goal < 5)")
    pid = int((state / "store.db.lock").read_text().split()[0])
    processes = [pid, *descendants(pid)]
    before = {process: cpu_seconds(process) for process in processes}
    time.sleep(IDLE_SECONDS)
    used = {process: cpu_seconds(process) - before[process] for process in processes}
    print(
        f"idle CPU over {IDLE_SECONDS} s: daemon {used[pid] / IDLE_SECONDS:.2%} of a core", end=""
    )
    print(f" (goal < 0.5 %); with its supervisors {sum(used.values()) / IDLE_SECONDS:.2%}")
    print(f"memory: daemon {resident(pid, 'Rss') / 1e6:.0f} MB resident (goal < 150);", end=" ")
    total = sum(resident(process, "Pss") for process in processes)
    print(
        f"{len(processes)} processes with supervisors and units, {total / 1e6:.0f} MB in proportion"
    )


def wait_for(stamp: Path) -> int:
    deadline = time.monotonic() + TIMEOUT
    while not stamp.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing ran: {stamp}")
        time.sleep(0.0005)
    return int(stamp.read_text())


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int, kind: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
