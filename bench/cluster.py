"""Figures of a cluster on real machines: fleet's own, measured anew on ours.

Boots machines of the tests (docs/testing-machines.md: root, a Debian host), each with a real systemd, set up as
docs/operations-cluster.md says. When something became active says the kernel's clock in systemd's own properties, not what
Argosy believes; it is the same clock as this process's. Run by `make bench`.

`python bench/cluster.py --etcd-away` takes etcd away instead, for 21, 41, 66 and 76 s, twice each, and watches every
cluster for 125 s after the return; eight clusters of three machines, four at a time, some eight minutes.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from machines.cluster import ETCD, SERVER, SLEEPER, Cluster, cluster
from machines.machine import Machine

SINGLES = 100
COMMANDS = 15
MANY = 500
ROUNDS = 3
REST_SECONDS = 60.0
DESTROYED = 50
GOOD, BAD = 20, 5
AWAY_SECONDS = (21, 41, 66, 76)
WATCHED_SECONDS = 125
FIVE_SECONDS = """
[engine.presence]
heartbeat_every = "1s"
suspect_after = "3s"
lost_after = "5s"
patience = "2s"
"""
FAILING = b"[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=0\n"


def show(what: str, figure: str, goal: str = "") -> None:
    print(f"{what:<66} {figure:>20}   {goal}".rstrip(), flush=True)


def quantiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"{1000 * statistics.median(ordered):.0f} / {1000 * high:.0f} ms"


async def became_active(c: Cluster, units: Collection[str]) -> dict[str, float]:
    """When systemd had each unit active, by this process's monotonic clock; those that are."""
    found = {}
    for machine in c.machines:
        if not machine.is_on:
            continue
        properties = "--property=Id,ActiveState,ActiveEnterTimestampMonotonic"
        done = await machine.run(["systemctl", "show", properties, *sorted(units)])
        for block in done.stdout.split("\n\n"):
            shown = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if shown.get("ActiveState") == "active":
                found[shown["Id"]] = int(shown["ActiveEnterTimestampMonotonic"]) / 1e6
    return found


async def all_active(
    c: Cluster, units: Collection[str], *, seconds: float = 60.0
) -> dict[str, float]:
    async def look() -> dict[str, float]:
        found = await became_active(c, units)
        return found if len(found) == len(units) else {}

    return await c.until(look, f"{len(units)} units are active", seconds=seconds)


# --- one unit -----------------------------------------------------------------------------------------------------------


async def one_unit(c: Cluster) -> None:
    took = []
    for number in range(SINGLES):
        name = f"single{number}.service"
        began = time.monotonic()
        await c.submit({name: SLEEPER})
        found = await all_active(c, [name])
        took.append(found[name] - began)
    show("one unit, submit to active, idle cluster (median / p99)", quantiles(took), "60 / 150 ms")
    server = c.servers[0]
    after = []
    for number in range(COMMANDS):
        name = f"command{number}.service"
        await server.put_file(f"/root/{name}", SLEEPER)
        await server.run(["argosy", "start", f"/root/{name}"])
        ended = time.monotonic()
        after.append(ended - (await all_active(c, [name]))[name])
    show("the command has returned, after active (median / p99)", quantiles(after), "20 ms")


async def many_units(c: Cluster) -> None:
    [machine] = c.machines
    ours, theirs = [], []
    for turn in range(ROUNDS):
        units = [f"many{turn}-{number}.service" for number in range(MANY)]
        began = time.monotonic()
        await c.submit(dict.fromkeys(units, SLEEPER))
        ours.append(max((await all_active(c, units)).values()) - began)
        if turn < ROUNDS - 1:
            await gone(c, units)
        script = "\n".join(
            f"cp /root/plain.service /run/systemd/system/plain{turn}-{number}.service"
            for number in range(MANY)
        )
        plain = [f"plain{turn}-{number}.service" for number in range(MANY)]
        await machine.put_file("/root/plain.service", SLEEPER)
        await machine.run(["sh"], input=script)
        began = time.monotonic()
        await machine.run(["systemctl", "start", *plain])
        theirs.append(max((await all_active(c, plain)).values()) - began)
        await machine.run(["systemctl", "stop", *plain])
        await machine.run(["sh", "-c", "rm /run/systemd/system/plain*; systemctl daemon-reload"])
    ratio = statistics.median(ours) / statistics.median(theirs)
    show(f"{MANY} units on one machine, submit to all active", f"{statistics.median(ours):.2f} s")
    show(f"... systemctl start of the same {MANY} files", f"{statistics.median(theirs):.2f} s")
    show("... ratio", f"{ratio:.2f}", "1.25")


async def gone(c: Cluster, units: Sequence[str]) -> float:
    """Destroy them; when neither systemd nor a list has any, in seconds from the request."""
    began = time.monotonic()
    await c.ask(lambda client: client.destroy(units))

    async def look() -> bool:
        listed = {row["name"] for row in await c.states()}
        listed |= {row["name"] for row in await c.ask(lambda client: client.units())}
        return not listed & set(units) and not await became_active(c, units)

    await c.until(look, "they are gone", seconds=120)
    return time.monotonic() - began


async def at_rest(c: Cluster) -> None:
    [machine] = c.machines
    services = {"agent": "argosy-agent.service", "server": SERVER, "etcd": ETCD}
    await asyncio.sleep(5)
    before = {name: await cpu(machine, unit) for name, unit in services.items()}
    await asyncio.sleep(REST_SECONDS)
    goals = {"agent": "0.3 %, 80 MB", "server": "0.3 %, 80 MB", "etcd": "0.5 %"}
    for name, unit in services.items():
        share = 100 * (await cpu(machine, unit) - before[name]) / REST_SECONDS
        pid = (await machine.run(["systemctl", "show", "-P", "MainPID", unit])).stdout.strip()
        status = await machine.read_file(f"/proc/{pid}/status")
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        what = f"{MANY} units at rest for {REST_SECONDS:.0f} s: {name}, share of a core and memory"
        show(what, f"{share:.2f} %, {resident:.0f} MB", goals[name])


async def cpu(machine: Machine, unit: str) -> float:
    """Seconds of processor time so far."""
    return int((await machine.run(["systemctl", "show", "-P", "CPUUsageNSec", unit])).stdout) / 1e9


async def lists(c: Cluster) -> None:
    [machine] = c.machines
    took = []
    for _ in range(COMMANDS):
        began = time.monotonic()
        await machine.run(["argosy", "list-units"])
        took.append(time.monotonic() - began)
    show(f"argosy list-units with {MANY} units (median / p99)", quantiles(took), "94 ms")


async def bad_beside_good(c: Cluster) -> None:
    good = [f"good{number}.service" for number in range(GOOD)]
    beside = [f"beside{number}.service" for number in range(GOOD)]
    bad = {f"a-bad{number}.service": FAILING for number in range(BAD)}
    began = time.monotonic()
    await c.submit(dict.fromkeys(good, SLEEPER))
    alone = max((await all_active(c, good)).values()) - began
    began = time.monotonic()
    await c.submit({**dict.fromkeys(beside, SLEEPER), **bad})
    together = max((await all_active(c, beside)).values()) - began
    show(f"{GOOD} good units, submit to all active", f"{1000 * alone:.0f} ms")
    show(f"... with {BAD} bad ones among them", f"{1000 * together:.0f} ms", "no later")
    await gone(c, [*good, *beside, *bad])


# --- loss ---------------------------------------------------------------------------------------------------------------


async def machine_lost(settings: str, seconds: float) -> None:
    units = [f"u{number}.service" for number in range(9)]
    async with cluster(3, settings=settings) as c:
        await c.start_units(*units)
        dead = c.machines["m3"]
        moved = [unit for unit, at in (await c.places("u*.service")).items() if at == ["m3"]]
        died = time.monotonic()
        dead.kill()
        found = await all_active(c, moved)
        took = max(found.values()) - died
        what = f"machine lost, its units active elsewhere (limit {seconds:.0f} s)"
        show(what, f"{took:.1f} s", f"{seconds + 1:.0f} s")


async def leader_lost() -> None:
    async with cluster(2, servers=2, etcd=1) as c:
        leader = (await c.ask(lambda client: client.status()))["leader"]
        [other] = [server for server in c.servers if server.name != leader]
        dead = next(server for server in c.servers if server.name == leader)
        died = time.monotonic()
        await dead.run(["systemctl", "kill", "--signal=KILL", SERVER])
        await c.submit({"next.service": SLEEPER}, server=other)
        took = (await all_active(c, ["next.service"]))["next.service"] - died
        show("leader killed, the next unit active (lease 10 s)", f"{took:.1f} s", "11 s")


async def etcd_away(seconds: int, gate: asyncio.Semaphore) -> None:
    units = [f"u{number}.service" for number in range(9)]
    async with gate, cluster(3, servers=1, etcd=1) as c:
        await c.start_units(*units)
        before, since = await c.lives("u*.service"), time.time()
        [member] = c.members
        await member.run(["systemctl", "stop", ETCD])
        await asyncio.sleep(seconds)
        await member.run(["systemctl", "start", ETCD])
        await asyncio.sleep(WATCHED_SECONDS)
        after = await c.lives("u*.service")
        touched = await c.deeds(set(units), since=since)
        kept = sum(after.get(key) == life for key, life in before.items())
        figure = f"{kept} of {len(before)} untouched"
        show(f"etcd away for {seconds} s, {WATCHED_SECONDS} s watched", figure, "9 of 9")
        assert after == before
        assert not touched


async def main() -> None:
    if sys.argv[1:] == ["--etcd-away"]:
        gate = asyncio.Semaphore(4)
        await asyncio.gather(*(etcd_away(seconds, gate) for seconds in AWAY_SECONDS * 2))
        return
    async with cluster(3, servers=1, etcd=1) as c:
        await one_unit(c)
    async with cluster(1, servers=1, etcd=1) as c:
        await bad_beside_good(c)
        await many_units(c)
        await at_rest(c)
        await lists(c)
        units = [row["name"] for row in await c.ask(lambda client: client.units())]
        took = await gone(c, units[:DESTROYED])
        show(
            f"{DESTROYED} of {MANY} units destroyed: gone everywhere, lists included",
            f"{took:.2f} s",
            "2 s",
        )
    await machine_lost(FIVE_SECONDS, 5)
    await machine_lost("", 20)
    await leader_lost()


if __name__ == "__main__":
    asyncio.run(main())
