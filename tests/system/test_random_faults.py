"""A handful of random fault schedules on machines with a real systemd; on virtual time tests/scenarios/test_storms.py has
hundreds.

    ARGOSY_SCHEDULES=20 pytest tests/system/test_random_faults.py

runs so many, each a new one; 417-417 the one of that seed, as far as real time lets it be the same.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from argosy.client import Desired
from argosy.errors import ArgosyError
from machines.cluster import AGENT, ETCD, QUICK, SERVER, Cluster, cluster
from machines.fixtures import on_machines
from machines.locks import LOCK, overlaps
from machines.machine import Machine

pytestmark = [*on_machines, pytest.mark.timeout(300)]

STORM_SECONDS = 45.0
QUIET_SECONDS = 60.0
UNITS = [f"u{number}.service" for number in range(8)]
LOCKS = [f"lock{number}.service" for number in range(3)]


def seeds() -> list[int | None]:
    """Those that were asked for; None for one that the test makes up: all workers have to collect the same tests."""
    chosen = os.environ.get("ARGOSY_SCHEDULES", "2")
    if "-" not in chosen:
        return [None] * int(chosen)
    first, last = map(int, chosen.split("-"))
    return list(range(first, last + 1))


@pytest.mark.parametrize("seed", seeds())
async def test_whatever_fails_nothing_runs_twice_that_must_not_and_all_is_well_in_the_end(
    seed: int | None,
) -> None:
    seed = seed if seed is not None else random.randrange(10**9)
    print(f"ARGOSY_SCHEDULES={seed}-{seed}")
    async with cluster(3, servers=2, etcd=1, settings=QUICK) as c:
        storm = Storm(c, random.Random(seed))
        await c.start_units(*UNITS)
        await c.start_units(*LOCKS, text=LOCK)
        await storm.blow()
        await c.until(c.all_ready, "every machine is back", seconds=QUIET_SECONDS)
        try:
            await c.until(storm.is_as_wanted, "all is as people want it", seconds=QUIET_SECONDS)
        except AssertionError:
            await storm.explain()
            raise
        for lock in LOCKS:
            assert await overlaps(c, lock) == [], storm.done
        # And it stays so: nothing is left that would still move or restart something.
        before = await c.lives("u*.service")
        await asyncio.sleep(8)
        assert await c.lives("u*.service") == before, storm.done
        assert await storm.is_as_wanted(), storm.done


class Storm:
    """Faults and wishes at random, one after the other; several last at a time."""

    def __init__(self, c: Cluster, chance: random.Random) -> None:
        self._c = c
        self._chance = chance
        self._wanted: dict[str, Desired] = dict.fromkeys([*UNITS, *LOCKS], "launched")
        self._one_wish = asyncio.Lock()
        self._one_power_cut = asyncio.Lock()
        self._began = time.monotonic()
        self.done: list[str] = []
        """What happened, for who has to understand it."""

    async def blow(self) -> None:
        """Returns when everything is repaired again, not yet well."""
        faults: list[Callable[[], Awaitable[None]]] = [
            self._kill_agent,
            self._kill_server,
            self._stop_etcd,
            self._cut_off,
            self._cut_power,
            self._slow_network,
            self._skew_clock,
            self._wish,
            self._wish,
            self._wish,
        ]
        under_way: set[asyncio.Task[None]] = set()
        while time.monotonic() - self._began < STORM_SECONDS:
            fault = self._chance.choice(faults)
            under_way.add(asyncio.ensure_future(fault()))
            await asyncio.sleep(self._chance.uniform(0.2, 4.0))
        await asyncio.gather(*under_way)
        self._c.machines.heal()
        for machine in self._c.machines:
            machine.slow()

    async def is_as_wanted(self) -> bool:
        """Whether systemd runs what is wanted, once each, and nothing else; and lists say the same. Raises AssertionError
        with what differs.
        """
        places: dict[str, list[str]] = await self._c.places()
        wanted = {name for name, desired in self._wanted.items() if desired == "launched"}
        wrong = [f"{name} runs on {at}" for name, at in places.items() if len(at) != 1]
        wrong += [f"{name} runs on {places[name]}" for name in places.keys() - wanted]
        wrong += [f"{name} runs nowhere" for name in wanted - places.keys()]
        rows = await self._c.states()
        listed = sorted(row["name"] for row in rows if row["active"] == "active")
        wrong += [f"{listed} are listed"] if listed != sorted(wanted) else []
        assert not wrong, wrong
        return True

    async def explain(self) -> None:
        """Print what the cluster itself says of units that do not run as they should, and of their machines."""
        places = await self._c.places()
        for name in self._wanted:
            if len(places.get(name, ())) != (self._wanted[name] == "launched"):
                for words in (["why", name], ["--json", "list-units", name]):
                    done = await self._c.servers[0].run(["argosy", *words], check=False)
                    print(done.stdout + done.stderr)
        for machine in self._c.machines:
            print(f"--- {machine.name}\n{(await self._c.said(machine))[-3000:]}")

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _kill_agent(self) -> None:
        machine = self._machine()
        self._note(f"{machine.name}: the agent is killed")
        await self._try(machine, "systemctl", "kill", "--signal=KILL", AGENT)

    async def _kill_server(self) -> None:
        machine = self._chance.choice(self._c.servers)
        self._note(f"{machine.name}: the server is killed")
        await self._try(machine, "systemctl", "kill", "--signal=KILL", SERVER)

    async def _stop_etcd(self) -> None:
        [member] = self._c.members
        self._note("etcd stops")
        await self._try(member, "systemctl", "stop", ETCD)
        await asyncio.sleep(self._chance.uniform(0.5, 12))
        self._note("etcd starts")
        await self._try(member, "systemctl", "start", ETCD)

    async def _cut_off(self) -> None:
        away = self._machine()
        self._note(f"{away.name}: cut off")
        self._c.machines.partition([one for one in self._c.machines if one is not away], [away])
        await asyncio.sleep(self._chance.uniform(0.5, 12))
        self._note("no partition any more")
        self._c.machines.heal()

    async def _cut_power(self) -> None:
        machine = self._c.machines["m3"]  # the others have the store and the servers
        async with self._one_power_cut:
            self._note("m3: no power")
            await asyncio.to_thread(machine.kill)
            await asyncio.sleep(self._chance.uniform(0.5, 10))
            self._note("m3: boots")
            await machine.boot()

    async def _slow_network(self) -> None:
        machine = self._machine()
        delay = self._chance.uniform(0.0, 0.2)
        self._note(f"{machine.name}: {delay:.2f} s slower")
        machine.slow(delay=delay, loss=0.01)
        await asyncio.sleep(self._chance.uniform(1, 8))
        machine.slow()

    async def _skew_clock(self) -> None:
        machine = self._machine()
        seconds = self._chance.choice([-3600.0, 3600.0, 0.0])
        self._note(f"{machine.name}: the agent's clock is {seconds:+.0f} s wrong")
        with suppress(Exception):  # it may be off by now
            await machine.skew_clock(seconds, AGENT)

    async def _wish(self) -> None:
        name = self._chance.choice(UNITS)
        desired: Desired = self._chance.choice(["launched", "launched", "inactive"])
        async with self._one_wish:
            self._wanted[name] = desired
            self._note(f"people: {name} is to be {desired}")
            while not await self._is_told(name, desired):
                await asyncio.sleep(0.5)

    async def _is_told(self, name: str, desired: Desired) -> bool:
        for server in self._c.servers:
            with suppress(ArgosyError):
                await self._c.ask(
                    lambda client: client.change([name], desired=desired), server=server
                )
                return True
        return False

    def _machine(self) -> Machine:
        return self._chance.choice(list(self._c.machines))

    async def _try(self, machine: Machine, *words: str) -> None:
        with suppress(Exception):  # a machine that is off has no systemctl
            await machine.run(words, check=False)

    def _note(self, words: str) -> None:
        self.done.append(f"{time.monotonic() - self._began:5.1f} s  {words}")
        print(self.done[-1])
