"""Machines that die, are cut off, come back and are copied, each with a real systemd.

Times are `QUICK`'s: silent for 3 s a machine is suspect, for 6 s it is lost.
"""

from __future__ import annotations

import time

from machines.cluster import AGENT, QUICK, SERVER, Cluster, cluster
from machines.fixtures import on_machines
from machines.locks import LOCK, lives_of, overlaps
from machines.machine import Machine

pytestmark = on_machines

UNITS = [f"u{number}.service" for number in range(9)]
EVERYWHERE = b"[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n"
MOVED_WITHIN = 7.0
"""The configured time, and one second."""


async def test_a_machine_that_is_cut_off_runs_on_while_the_others_take_its_units_over() -> None:
    """fleet's connectivity-loss test, and what the rest of the cluster does meanwhile."""
    async with cluster(3, settings=QUICK) as c:
        away = c.machines["m3"]
        await c.start_units(*UNITS)
        await c.start_everywhere("global.service", EVERYWHERE)
        before = await c.lives()
        mine = {unit for machine, unit in before if machine == "m3"} - {"global.service"}
        assert len(mine) == 3

        since = time.time()
        cut_off(c, away)
        await c.until(lambda: taken_over(c, mine), "its units run elsewhere", seconds=15)
        assert await c.last_start(mine, since=since) < MOVED_WITHIN
        assert await c.state_of(away) == "lost"
        assert before.items() <= (await c.lives()).items()  # nobody has touched what ran

        healed = time.time()
        c.machines.heal()
        await c.until(lambda: c.runs_once(UNITS), "each unit runs once", seconds=15)
        await c.until(lambda: c.is_in_state(away, "ready"), "m3 is back", seconds=15)
        # It stops what moved away. Nothing else is touched, there or elsewhere.
        done = {words.split(" s: ")[1] for words in await c.deeds(UNITS, since=healed)}
        assert done == {f"m3 stopping {unit}" for unit in mine}
        assert await c.deeds(["global.service"], since=since) == []


async def test_the_units_of_a_dead_machine_run_elsewhere_in_time_and_it_comes_back_without() -> (
    None
):
    async with cluster(3, settings=QUICK) as c:
        dead = c.machines["m3"]
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()
        dead.kill()
        await c.until(lambda: c.runs_once(UNITS), "each unit runs once", seconds=15)
        assert await c.last_start(UNITS, since=since) < MOVED_WITHIN
        assert await c.state_of(dead) == "lost"
        after = await c.lives("u*.service")
        assert {
            key: life for key, life in before.items() if key[0] != "m3"
        }.items() <= after.items()

        await dead.boot()
        await c.until(lambda: c.is_in_state(dead, "ready"), "m3 is back", seconds=15)
        await c.until(lambda: c.runs_once(UNITS), "each unit runs once", seconds=15)
        assert await c.lives("u*.service") == after


async def test_a_machine_that_boots_with_no_server_in_reach_brings_all_its_units_back() -> None:
    async with cluster(3, settings=QUICK) as c:
        away = c.machines["m2"]
        await c.start_units(*UNITS)
        await c.start_everywhere("global.service", EVERYWHERE)
        mine = {unit for machine, unit in await c.lives() if machine == "m2"}
        assert len(mine) == 4
        away.pull_cable()
        await away.reboot()

        async def is_back() -> bool:
            return {unit for machine, unit in await c.lives() if machine == "m2"} == mine

        await c.until(is_back, "every unit of m2 runs again", seconds=10)


async def test_of_a_unit_that_stops_when_cut_off_there_are_never_two() -> None:
    async with cluster(3, settings=QUICK) as c:
        away = c.machines["m3"]
        names = await start_locks(c, 3)
        [lock] = [name for name in names if await c.runs_on(name, [away])]
        for _ in range(2):
            cut_off(c, away)
            await c.until(lambda: taken_over(c, {lock}), "it runs elsewhere", seconds=20)
            c.machines.heal()
            await c.until(lambda: c.is_in_state(away, "ready"), "m3 is back", seconds=15)
            await bring(c, lock, away)
        lives = await lives_of(c, lock)
        assert [life.machine == "m3" for life in lives] == [True, False] * 2 + [True]
        assert await overlaps(c, lock) == []


async def test_what_ran_on_a_frozen_machine_has_an_older_fence_and_ends_when_it_thaws() -> None:
    """Nothing on a machine that stands still can end a unit: that is what fencing tokens are for."""
    async with cluster(3, settings=QUICK) as c:
        frozen = c.machines["m3"]
        names = await start_locks(c, 3)
        [lock] = [name for name in names if await c.runs_on(name, [frozen])]
        frozen.freeze()

        async def runs_elsewhere() -> bool:
            rows = [row for row in await c.states() if row["name"] == lock]
            return any(row["active"] == "active" and row["machine"] != c.ids["m3"] for row in rows)

        await c.until(runs_elsewhere, "it runs elsewhere", seconds=20)
        frozen.thaw()
        thawed = time.time()
        await c.until(lambda: c.is_in_state(frozen, "ready"), "m3 is back", seconds=15)
        await c.until(lambda: c.runs_once([lock]), "it runs once", seconds=10)
        old, new = sorted(await lives_of(c, lock), key=lambda life: life.fence)
        assert (old.machine, new.machine == "m3") == ("m3", False)
        assert (
            old.last - thawed < 3.0
        )  # systemd gives it TimeoutStopSec=1, once it sees that its time is over


async def test_a_copy_of_a_machine_is_refused_and_the_original_does_not_notice() -> None:
    async with cluster(2, settings=QUICK) as c:
        original = c.machines["m2"]
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()
        copy = await c.machines.clone(original, "m2copy")

        async def is_refused() -> bool:
            return "systemd-id128 new" in await c.said(copy)

        await c.until(is_refused, "the copy is told what to do", seconds=15)
        assert before.items() <= (await c.lives("u*.service")).items()
        assert [words for words in await c.deeds(UNITS, since=since) if " m2 " in words] == []
        assert await c.state_of(original) == "ready"
        # What is asked of the machine, and what is new for it, is the original's.
        told = await c.machines["m1"].run(["argosy", "exec", c.ids["m2"], "--", "hostname"])
        assert told.stdout == "m2\n"
        await c.start_units("later1.service", "later2.service")
        assert {*(await c.places("later*.service"))["later1.service"]} <= {"m1", "m2"}
        assert all("m2copy" not in at for at in (await c.places("later*.service")).values())

        # The way out that it was told.
        await copy.run(["sh", "-c", "systemd-id128 new >/etc/machine-id"])
        await c.join(copy, await c.token("machine"), "--again")
        await c.until(lambda: c.is_in_state(copy, "ready"), "the copy is a machine", seconds=15)
        await c.until(lambda: c.runs_once(UNITS), "each unit runs once", seconds=15)
        assert before.items() <= (await c.lives("u*.service")).items()


async def test_nothing_moves_while_more_than_a_third_of_the_machines_is_gone() -> None:
    async with cluster(4, settings=QUICK) as c:
        gone = [c.machines["m3"], c.machines["m4"]]
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()
        cut_off(c, *gone)

        async def are(state: str) -> bool:
            return {await c.state_of(machine) for machine in gone} == {state}

        await c.until(lambda: are("held"), "both are held", seconds=15)
        shown = await c.machines["m1"].run(
            ["argosy", "list-machines", "--fields=hostname,state,why"]
        )
        assert "2 of 4" in shown.stdout
        c.machines.heal()
        await c.until(lambda: are("ready"), "both are back", seconds=15)
        assert await c.lives("u*.service") == before
        assert await c.deeds(UNITS, since=since) == []


async def test_clocks_that_are_an_hour_wrong_move_nothing_and_keep_nobody_out() -> None:
    async with cluster(3, settings=QUICK) as c:
        server, behind, ahead = c.machines
        await c.start_units(*UNITS)
        before = await c.lives("u*.service")
        since = time.time()
        await server.skew_clock(-3600, SERVER)
        await behind.skew_clock(-3600, AGENT)
        await ahead.skew_clock(+3600, AGENT)
        await c.until(c.all_ready, "every machine is back", seconds=20)
        await server.skew_clock(+3600, SERVER)  # while it runs
        late = await c.machines.add("m4")
        await c.join(late, await c.token("machine", "--expires=1d"))
        await c.until(c.all_ready, "another one has joined", seconds=20)
        await c.start_units("new.service")
        assert await c.lives("u*.service") == before
        assert await c.deeds(UNITS, since=since) == []
        told = await server.run(["argosy", "doctor"], check=False)
        assert "clock" in told.stdout


def cut_off(c: Cluster, *away: Machine) -> None:
    c.machines.partition([machine for machine in c.machines if machine not in away], away)


async def taken_over(c: Cluster, units: set[str]) -> bool:
    places = await c.places()
    return all(set(places.get(unit, ())) - {"m3"} for unit in units)


async def start_locks(c: Cluster, count: int) -> list[str]:
    names = [f"lock{number}.service" for number in range(count)]
    await c.start_units(*names, text=LOCK)
    return names


async def bring(c: Cluster, unit: str, machine: Machine) -> None:
    """Have it moved there, as people would."""
    move = [(unit, c.ids[machine.name], "for the test")]
    await c.ask(lambda client: client.ask_moves(move))
    await c.until(lambda: c.runs_on(unit, [machine]), f"it runs on {machine.name}", seconds=15)
