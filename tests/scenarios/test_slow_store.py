"""Promise 2: a slow store is not a dead machine.

After a change of leader or a store outage the engine waits one full heartbeat window before it believes that any machine
is lost; when more than a third of the machines (and at least two) vanish together, it moves nothing and says so.
"""

import pytest

from argosy.testing.cluster import Cluster, simulate

UNITS = tuple(f"web@{number}.service" for number in range(1, 7))


async def spread_out(cluster: Cluster) -> dict[str, list[str]]:
    """Six units, evenly on the machines; returns who has which."""
    for name in UNITS:
        await cluster.submit(name)
    await cluster.settle(within=10)
    return {name: cluster.placed(name) for name in UNITS}


def placements(cluster: Cluster) -> dict[str, list[str]]:
    return {name: cluster.placed(name) for name in UNITS}


@pytest.mark.parametrize("seconds", [5, 15, 30, 120])
def test_after_an_outage_of_the_store_no_unit_moves(seconds: int) -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        cluster.stop_store()
        await cluster.sleep(seconds)
        cluster.start_store()
        await cluster.settle()
        await cluster.expect_quiet()
        assert placements(cluster) == before

    simulate(1, story, machines=6, servers=2)


@pytest.mark.parametrize("seconds", [21, 41, 66, 76, 90])
def test_nothing_is_stopped_or_started_anywhere_while_the_store_is_away_or_in_the_minutes_after(
    seconds: int,
) -> None:
    """What fleet did after etcd had been away for so long: 2 to 6 of 9 healthy units were killed and moved, each time."""

    async def story(cluster: Cluster) -> None:
        units = (*UNITS, "web@7.service", "web@8.service", "web@9.service")
        for name in units:
            await cluster.submit(name)
        await cluster.settle(within=10)
        await cluster.sleep(10)
        cluster.stop_store()
        await cluster.sleep(seconds)
        cluster.start_store()
        await cluster.sleep(125)
        assert all(len(cluster.runs(name)) == 1 for name in units)
        assert cluster.is_active(*units)
        assert not await cluster.events("machine.lost")

    for seed in range(3):
        simulate(seed, story, machines=3, servers=3)


def test_a_machine_that_is_slow_to_return_after_an_outage_has_one_heartbeat_window() -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        cluster.stop_store()
        await cluster.sleep(30)
        cluster.cut_off("m1")
        cluster.start_store()
        await cluster.sleep(14)
        cluster.reconnect("m1")
        await cluster.settle()
        assert placements(cluster) == before

    simulate(1, story, machines=6, servers=2)


def test_a_new_leader_does_not_judge_a_machine_that_it_has_just_begun_to_watch() -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        leader = cluster.leader()
        assert leader is not None
        cluster.cut_off("m1")
        cluster.kill_server(leader.name)
        took = await cluster.wait_until(cluster.leader, within=15)
        await cluster.sleep(19 - took / 10)
        assert placements(cluster) == before

    simulate(1, story, machines=6, servers=2)


def test_when_half_of_the_machines_vanish_together_nothing_moves_and_the_engine_says_so() -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        cluster.cut_off("m1", "m2", "m3")
        await cluster.sleep(300)
        assert placements(cluster) == before
        leader = cluster.leader()
        assert leader is not None
        assert len(leader.engine.status.braked) == 3
        assert len(await cluster.events("engine.braked")) == 1
        cluster.reconnect("m1", "m2", "m3")
        await cluster.settle()
        assert placements(cluster) == before
        assert all(len(cluster.runs(name)) == 1 for name in UNITS)

    simulate(1, story, machines=6)


def test_the_brake_holds_over_a_change_of_leader_and_is_let_go_when_fewer_are_gone() -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        cluster.cut_off("m1", "m2", "m3")
        await cluster.wait_until(lambda: cluster.checker.machines.is_braked, within=30)
        leader = cluster.leader()
        assert leader is not None
        cluster.kill_server(leader.name)
        await cluster.sleep(120)
        assert cluster.checker.machines.is_braked
        assert not cluster.checker.machines.lost
        assert placements(cluster) == before
        cluster.reconnect("m1", "m2")
        await cluster.wait_until(lambda: not cluster.checker.machines.is_braked, within=30)
        # One of six may be gone: its units move now.
        await cluster.wait_until(lambda: ["m3"] not in placements(cluster).values(), within=40)
        await cluster.wait_until(lambda: cluster.checker.machines.lost, within=40)
        await cluster.settle()
        assert all(len(cluster.runs(n)) == 1 for n, at in before.items() if at != ["m3"])

    simulate(1, story, machines=6, servers=2)


def test_a_machine_that_people_took_away_is_no_sign_of_a_network_that_fails() -> None:
    async def story(cluster: Cluster) -> None:
        await spread_out(cluster)
        await cluster.remove_machine("m1")
        cluster.kill_machine("m2")
        await cluster.wait_until(lambda: cluster.is_active(*UNITS[1:]), within=25)
        assert not await cluster.events("engine.braked")

    simulate(1, story, machines=4)


def test_two_of_seven_machines_may_be_lost_together_and_their_units_move() -> None:
    async def story(cluster: Cluster) -> None:
        await spread_out(cluster)
        lost = [cluster.placed(name)[0] for name in UNITS[:2]]
        for name in lost:
            cluster.kill_machine(name)
        await cluster.wait_until(lambda: cluster.is_active(*UNITS), within=25)

    simulate(1, story, machines=7)


def test_one_machine_of_two_may_be_lost() -> None:
    async def story(cluster: Cluster) -> None:
        await spread_out(cluster)
        cluster.kill_machine("m1")
        await cluster.wait_until(lambda: cluster.is_active(*UNITS), within=25)
        assert all(machines == ["m2"] for machines in placements(cluster).values())

    simulate(1, story, machines=2)


def test_a_jump_of_the_clock_by_a_day_moves_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        for days in (1, -2, 1):
            cluster.jump_clock(days * 86400)
            await cluster.sleep(60)
        assert placements(cluster) == before
        assert all(len(cluster.runs(name)) == 1 for name in UNITS)

    simulate(1, story, machines=3)


def test_a_server_that_stood_still_for_a_minute_moves_nothing_when_it_goes_on() -> None:
    async def story(cluster: Cluster) -> None:
        before = await spread_out(cluster)
        cluster.pause_server("s1")
        await cluster.sleep(60)
        cluster.resume_server("s1")
        await cluster.settle()
        assert placements(cluster) == before

    simulate(1, story, machines=4)
