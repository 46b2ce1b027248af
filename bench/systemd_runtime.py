"""Figures of the systemd runtime: many starts against systemctl and Docker, rest, removal, bad units among good ones.

Boots a machine of the tests (docs/testing-machines.md: root, a Debian host) and speaks to its systemd from outside, by bus
and files, in this process. What is compared runs in the same machine, in turns; other work on the host disturbs both, so
ratios are shown of the medians and of the fastest. Run by `make bench`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from argosy.model.ids import Digest, UnitName
from argosy.model.observed import ActiveState
from argosy.runtime.base import RunnableUnit
from argosy.runtime.systemd.runtime import SystemdRuntime
from argosy.units import container
from argosy.units.text import UnitText
from machines.kit import Machines
from machines.machine import Machine
from system.systemd_place import place_of

MANY = 500
ROUNDS = 5
REST_SECONDS = 20.0
REMOVED = 50
GOOD, BAD = 20, 5
CONTAINERS = 50
DOCKERS_AT_ONCE = 8
UNITS = Path("run/systemd/system")
SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"
NEVER_READY = "[Service]\nType=notify\nExecStart=/bin/sleep 1000\n"
CRASHING = "[Service]\nRestart=always\nExecStart=/bin/false\n"
RUN_BY_HAND = (
    "[Service]\nExecStart=/usr/bin/docker run --rm --name %p-%i --network none argosy-bench "
    "/bin/busybox sleep 1000\nExecStop=/usr/bin/docker kill %p-%i\n"
)
CONTAINER = "[Container]\nImage=argosy-bench\nNetwork=none\nExec=/bin/busybox sleep 1000\n"


def unit(name: str, text: str) -> RunnableUnit:
    data = text.encode()
    digest = Digest(hashlib.sha256(data).hexdigest())
    return RunnableUnit(name=UnitName(name), digest=digest, text=data)


def show(what: str, figure: str, method: str = "") -> None:
    print(f"{what:<62} {figure:>10}   {method}".rstrip(), flush=True)


def show_ratio(ours: Sequence[float], theirs: Sequence[float]) -> None:
    ratio = statistics.median(ours) / statistics.median(theirs)
    show("  ratio", f"{ratio:.2f}", f"of the fastest {min(ours) / min(theirs):.2f}; goal 1.25")


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def until_active(runtime: SystemdRuntime, names: Sequence[UnitName]) -> None:
    async with runtime.changes() as changes:
        async for _ in changes:
            statuses = runtime.statuses()
            if all(statuses[name].active is ActiveState.ACTIVE for name in names):
                return


async def by_runtime(runtime: SystemdRuntime, units: Sequence[RunnableUnit]) -> None:
    names = [one.name for one in units]
    await runtime.install(units)
    await runtime.start(names)
    await until_active(runtime, names)


async def by_systemctl(machine: Machine, units: Sequence[RunnableUnit]) -> None:
    directory = Path(f"/proc/{machine.leader}/root") / UNITS
    for one in units:
        (directory / one.name).write_bytes(one.text)
    await machine.run(["systemctl", "start", *(one.name for one in units)], timeout=300)


async def without(machine: Machine, units: Sequence[RunnableUnit]) -> None:
    names = [one.name for one in units]
    await machine.run(["systemctl", "stop", *names], timeout=300)
    await machine.run(["rm", "--", *(f"/{UNITS / name}" for name in names)])
    await machine.run(["systemctl", "daemon-reload"])


async def many(machine: Machine, runtime: SystemdRuntime) -> None:
    units = [unit(f"many-{number}.service", SLEEP) for number in range(MANY)]
    ours: list[float] = []
    theirs: list[float] = []
    processor: list[float] = []
    for _ in range(ROUNDS):
        theirs.append(await timed(lambda: by_systemctl(machine, units)))
        await without(machine, units)
        used = time.process_time()
        ours.append(await timed(lambda: by_runtime(runtime, units)))
        processor.append(time.process_time() - used)
        if len(ours) < ROUNDS:
            await runtime.remove([one.name for one in units])
    median, theirs_median = statistics.median(ours), statistics.median(theirs)
    show(
        f"{MANY} units: files, `systemctl start` of all",
        f"{theirs_median:.2f} s",
        f"until it returns; median of {ROUNDS}; fastest {min(theirs):.2f} s",
    )
    show(
        f"{MANY} units: installed, started, known to be active",
        f"{median:.2f} s",
        f"in turns with the former; fastest {min(ours):.2f} s; "
        f"{statistics.median(processor):.2f} s of the runtime's processor time",
    )
    show_ratio(ours, theirs)


async def rest(runtime: SystemdRuntime) -> None:
    used = time.process_time()
    await asyncio.sleep(REST_SECONDS)
    share = (time.process_time() - used) / REST_SECONDS
    assert len(runtime.statuses()) == MANY
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show(
        f"at rest with {MANY} units",
        f"{share:.3%}",
        f"of a core, this process over {REST_SECONDS:.0f} s; {memory:.0f} MB at most, script included",
    )


async def removal(runtime: SystemdRuntime) -> None:
    names = [UnitName(f"many-{number}.service") for number in range(REMOVED)]
    took = await timed(lambda: runtime.remove(names))
    show(f"{REMOVED} of {MANY} running units stopped and removed", f"{took:.2f} s", "goal 2 s")
    await runtime.remove(list(runtime.statuses()))


async def bad_among_good(runtime: SystemdRuntime) -> None:
    good = [unit(f"good-{number}.service", SLEEP) for number in range(GOOD)]
    bad = [
        unit(f"bad-{number}.service", NEVER_READY if number % 2 else CRASHING)
        for number in range(BAD)
    ]
    more = [unit(f"more-{number}.service", SLEEP) for number in range(BAD)]
    alone: list[float] = []
    together: list[float] = []
    for _ in range(ROUNDS * 4):
        for took, others in ((alone, more), (together, bad)):
            units = [*others, *good]
            await runtime.install(units)
            starting = asyncio.create_task(runtime.start([one.name for one in units]))
            took.append(await timed(lambda: until_active(runtime, [one.name for one in good])))
            await runtime.remove([one.name for one in units])
            await starting
    show(
        f"{GOOD} good units after {BAD} good ones of the same call",
        f"{statistics.median(alone) * 1e3:.0f} ms",
        f"until known to be active; median of {len(alone)}",
    )
    show(
        f"{GOOD} good units after {BAD} bad ones of the same call",
        f"{statistics.median(together) * 1e3:.0f} ms",
        "three that crash and restart for ever, two that never get ready",
    )


async def containers(machine: Machine, runtime: SystemdRuntime) -> None:
    await make_image(machine)
    rendered = container.render(
        UnitText.parse(CONTAINER.encode()),
        "shop@1.service",
        engine=container.ContainerEngine(container.Engine.DOCKER, "/usr/bin/docker"),
    ).decode()
    by_hand = [unit(f"hand@{number}.service", RUN_BY_HAND) for number in range(CONTAINERS)]
    units = [unit(f"shop@{number}.service", rendered) for number in range(CONTAINERS)]
    run = (
        f"seq {CONTAINERS} | xargs -P{DOCKERS_AT_ONCE} -I% docker run -d --rm --name bare-% "
        "--network none argosy-bench /bin/busybox sleep 1000"
    )
    # As a unit, because what `machine.run` starts has the host's share of the processor, not the machine's.
    words = ["systemd-run", "--quiet", "--wait", "sh", "-c", run]
    bare: list[float] = []
    hand: list[float] = []
    ours: list[float] = []
    for _ in range(3):
        bare.append(await timed(lambda: machine.run(words, timeout=300)))
        await machine.run(["sh", "-c", "docker rm -f $(docker ps -q)"], timeout=300)

        hand.append(await timed(lambda: until_all_run(machine, runtime, by_hand)))
        await runtime.remove([one.name for one in by_hand])
        ours.append(await timed(lambda: until_all_run(machine, runtime, units)))
        await runtime.remove([one.name for one in units])
    show(
        f"{CONTAINERS} containers by `docker run -d`, {DOCKERS_AT_ONCE} at a time",
        f"{statistics.median(bare):.1f} s",
        "an image of one file, without network; median of 3",
    )
    show(
        f"{CONTAINERS} containers by units with `ExecStart=docker run`",
        f"{statistics.median(hand):.1f} s",
        "until `docker ps` has all; in turns with the former",
    )
    show_ratio(hand, bare)
    show(
        f"{CONTAINERS} containers by units from a .container file",
        f"{statistics.median(ours):.1f} s",
        "the same; before each `docker run` a `docker rm -f`",
    )
    show_ratio(ours, bare)


async def until_all_run(
    machine: Machine, runtime: SystemdRuntime, units: Sequence[RunnableUnit]
) -> None:
    await by_runtime(runtime, units)
    count = f'while [ "$(docker ps -q | wc -l)" -lt {len(units)} ]; do sleep 0.05; done'
    await machine.run(["sh", "-c", count], timeout=300)


async def make_image(machine: Machine) -> None:
    """Of busybox alone: machines have no route to a registry."""
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox-static is not installed"
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(busybox, "bin/busybox")
        await machine.put_file("/root/image.tar", archive.read_bytes())
    await machine.run(["systemctl", "start", "docker.service"])
    await machine.run(["docker", "import", "/root/image.tar", "argosy-bench"])


async def measure() -> None:
    async with Machines(1, argosy=False, docker=True) as machines:
        [machine] = machines
        version = (await machine.run(["systemctl", "--version"])).stdout.splitlines()[0]
        print(f"{version}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
        runtime = SystemdRuntime(place_of(machine))
        await runtime.open()
        try:
            await many(machine, runtime)
            await rest(runtime)
            await removal(runtime)
            await bad_among_good(runtime)
            await containers(machine, runtime)
        finally:
            await runtime.remove(list(runtime.statuses()))
            await runtime.close()


def main() -> None:
    if os.geteuid() != 0:
        print("left out: machines of the tests need root")
        return
    asyncio.run(measure())


if __name__ == "__main__":
    main()
