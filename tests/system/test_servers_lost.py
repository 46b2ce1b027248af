"""Servers and agents that die, stand still and are upgraded while units run: on machines with a real systemd."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from argosy.errors import ArgosyError
from machines.cluster import AGENT, QUICK, SERVER, SLEEPER, Cluster, cluster
from machines.fixtures import on_machines
from machines.machine import Machine

pytestmark = on_machines

UNITS = [f"u{number}.service" for number in range(9)]
VERSION = "/opt/argosy/lib/python3.11/site-packages/argosy/__init__.py"


async def test_every_server_gone_for_a_minute_bounces_no_unit() -> None:
    async with cluster(3, servers=2, etcd=1) as c:
        await c.start_units(*UNITS)
        await c.start_units("failing.service", text=SLEEPER + b"Restart=always\n")
        before = await c.lives("u*.service")
        since = time.time()
        await each(c.servers, "kill", "--signal=KILL", SERVER)
        await each(c.servers, "stop", SERVER)
        # What fails meanwhile is systemd's to restart, and needs nobody.
        [place] = (await c.places("failing.service"))["failing.service"]
        await c.machines[place].run(["systemctl", "kill", "--signal=KILL", "failing.service"])
        await asyncio.sleep(60)
        assert await c.places("failing.service") == {"failing.service": [place]}
        await each(c.servers, "start", SERVER)
        await c.until(c.all_ready, "every machine is back", seconds=30)
        await c.submit({"new.service": SLEEPER})
        await c.until_active(["new.service"])
        # fleet's damage came after the return. Here: its patience has run out, and nothing has happened.
        await asyncio.sleep(25)
        assert await c.lives("u*.service") == before
        assert await c.deeds(set(UNITS), since=since) == []


async def test_a_leader_that_dies_in_the_middle_of_placing_300_units_is_followed_by_one_that_goes_on() -> (
    None
):
    units = [f"many{number}.service" for number in range(300)]
    async with cluster(3, servers=2, etcd=1, settings=QUICK) as c:
        leader = await leading(c)
        [other] = [server for server in c.servers if server is not leader]

        async def submit_one_by_one() -> None:
            for unit in units:
                await c.submit({unit: SLEEPER}, server=other)

        submission = asyncio.create_task(submit_one_by_one())

        async def some_are_placed() -> bool:
            return len(await c.states(server=other)) > 100

        await c.until(some_are_placed, "some units are placed", seconds=20)
        await leader.run(["systemctl", "kill", "--signal=KILL", SERVER])
        assert not submission.done()
        await submission
        await c.until_active(units)
        assert await c.runs_once(units)
        # No unit was started twice, or on two machines, on the way.
        deeds = await c.deeds(set(units))
        assert len(deeds) == 300, [deed for deed in deeds if "started" not in deed][:10]


async def test_an_agent_that_dies_in_the_middle_of_starting_100_units_starts_each_once() -> None:
    units = [f"many{number}.service" for number in range(100)]
    async with cluster(1, settings=QUICK) as c:
        machine = c.machines["m1"]
        # Each takes a little longer than the one before: two seconds for all.
        slow = "[Service]\nExecStartPre=/bin/sleep {}\nExecStart=/bin/sleep infinity\n"
        await c.submit({unit: slow.format(n / 50).encode() for n, unit in enumerate(units)})

        async def some_run() -> bool:
            return 10 < len(await c.lives("many*.service")) < 90

        await c.until(some_run, "some units run", seconds=10)
        await machine.run(["systemctl", "kill", "--signal=KILL", AGENT])
        assert len(await c.lives("many*.service")) < 100
        await c.until_active(units)
        started = [deed.split(" s: ")[1] for deed in await c.deeds(set(units))]
        assert sorted(started) == sorted(f"m1 started {unit}" for unit in units)


async def test_servers_and_agents_are_upgraded_under_load_and_no_unit_notices() -> None:
    async with cluster(3, servers=2, etcd=1, settings=QUICK) as c:
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()
        stop = asyncio.Event()
        load = asyncio.create_task(keep_changing(c, stop))
        for machine in c.machines:
            await machine.run(["sed", "-i", 's/^__version__ = .*/__version__ = "99.0.0"/', VERSION])
            for unit in [SERVER, AGENT] if machine in c.servers else [AGENT]:
                await machine.run(["systemctl", "restart", unit])
                await c.until(c.all_ready, f"all are back after {machine.name}", seconds=30)
        stop.set()
        changes = await load
        assert changes >= 10
        versions = {row["version"] for row in await c.ask(lambda client: client.machines())}
        assert versions == {"99.0.0"}
        await c.until(
            lambda: c.runs_once([f"change{n}.service" for n in range(changes)]), "all changes"
        )
        assert await c.lives("u*.service") == before
        assert await c.deeds(set(UNITS), since=since) == []


async def keep_changing(c: Cluster, stop: asyncio.Event) -> int:
    """Submit and start units, one after the other, at whichever server takes them. Returns how many."""
    count = 0
    while not stop.is_set():
        for server in c.servers:
            with suppress(ArgosyError):
                await c.submit({f"change{count}.service": SLEEPER}, server=server)
                count += 1
                break
        await asyncio.sleep(0.1)
    return count


async def leading(c: Cluster) -> Machine:
    name = (await c.ask(lambda client: client.status()))["leader"]
    return next(server for server in c.servers if server.name == name)


async def each(machines: list[Machine], *words: str) -> None:
    await asyncio.gather(*(machine.run(["systemctl", *words]) for machine in machines))
