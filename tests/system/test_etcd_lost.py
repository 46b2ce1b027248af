"""etcd away and back, with the times that people get who set nothing: not a unit is touched. Real machines, real etcd.

fleet's damage came after etcd's return: it believed that every machine was gone, and moved what ran. So units are watched
for two minutes after it, with systemd's journals as the evidence.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from machines.cluster import ETCD, QUICK, SLEEPER, Cluster, cluster
from machines.fixtures import on_machines
from machines.machine import Machine

pytestmark = on_machines

UNITS = [f"u{number}.service" for number in range(9)]


@pytest.mark.timeout(400)
async def test_etcd_away_for_90_seconds_bounces_no_unit_then_or_in_the_two_minutes_after() -> None:
    async with cluster(3, servers=2, etcd=1) as c:
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()
        [member] = c.members
        await member.run(["systemctl", "stop", ETCD])
        await asyncio.sleep(90)
        await member.run(["systemctl", "start", ETCD])
        returned = time.time()
        await c.until(c.all_ready, "every machine is back", seconds=30)
        await c.start_units("new.service", seconds=30)
        await asyncio.sleep(returned + 120 - time.time())
        assert await c.lives("u*.service") == before
        assert await c.deeds(set(UNITS), since=since) == []
        assert [row["state"] for row in await c.ask(lambda client: client.machines())] == [
            "ready"
        ] * 3


async def test_etcd_loses_one_member_of_three_and_nobody_notices_then_two_and_units_run_on() -> (
    None
):
    async with cluster(3, servers=3, etcd=3, settings=QUICK) as c:
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()

        first = await leader_of_etcd(c)
        await first.run(["systemctl", "kill", "--signal=KILL", ETCD])
        await c.start_units("one.service", seconds=15)
        assert await c.all_ready()

        second = next(member for member in c.members if member is not first)
        await second.run(["systemctl", "kill", "--signal=KILL", ETCD])
        # Twice as long as it takes to give a machine up.
        await asyncio.sleep(12)
        assert before.items() <= (await c.lives("u*.service")).items()

        for member in (first, second):
            await member.run(["systemctl", "start", ETCD])
        await c.until(c.all_ready, "every machine is back", seconds=30)
        await c.submit({"two.service": SLEEPER})
        await c.until_active(["two.service"])
        await asyncio.sleep(12)
        assert await c.lives("u*.service") == before
        assert await c.deeds(set(UNITS), since=since) == []


async def leader_of_etcd(c: Cluster) -> Machine:
    for member in c.members:
        status = await member.run(["sh", "-c", "ETCDCTL_API=3 etcdctl endpoint status -w simple"])
        if status.stdout.split(", ")[4] == "true":
            return member
    raise AssertionError("etcd has no leader")
