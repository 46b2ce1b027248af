"""Promise 1: losing the brain never hurts the body.

Servers gone, store gone, network cut: every healthy unit keeps running. A machine that reboots meanwhile brings its units
back from its own disk. Absence is never a command.
"""

from datetime import timedelta

import pytest

from argosy.testing.cluster import Cluster, simulate
from argosy.testing.machine import Behaviour

UNITS = ("api.service", "db.service", "web@1.service", "web@2.service", "web@3.service")
AN_HOUR = 3600


async def running_units(cluster: Cluster) -> None:
    for name in UNITS:
        await cluster.submit(name)
    await cluster.settle(within=10)


def each_ran_once(cluster: Cluster) -> bool:
    return all([run.ended for run in cluster.runs(name)] == [None] for name in UNITS)


def test_servers_gone_for_an_hour_stop_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        await running_units(cluster)
        cluster.kill_server("s1")
        await cluster.sleep(AN_HOUR)
        assert each_ran_once(cluster)
        cluster.start_server("s1")
        await cluster.settle(within=60)
        assert each_ran_once(cluster)
        await cluster.expect_quiet()
        assert each_ran_once(cluster)

    simulate(1, story)


def test_a_store_that_is_away_for_an_hour_stops_nothing_then_or_when_it_is_back() -> None:
    async def story(cluster: Cluster) -> None:
        await running_units(cluster)
        cluster.stop_store()
        await cluster.sleep(AN_HOUR)
        assert each_ran_once(cluster)
        cluster.start_store()
        await cluster.settle(within=60)
        await cluster.expect_quiet()
        assert each_ran_once(cluster)

    simulate(1, story, servers=2)


def test_a_machine_cut_off_from_the_servers_keeps_its_units() -> None:
    async def story(cluster: Cluster) -> None:
        await running_units(cluster)
        cluster.cut_off("m1", "m2", "m3")
        await cluster.sleep(AN_HOUR)
        assert each_ran_once(cluster)

    simulate(1, story)


def test_a_machine_that_reboots_with_no_server_in_reach_brings_its_units_back_from_its_disk() -> (
    None
):
    async def story(cluster: Cluster) -> None:
        await running_units(cluster)
        before = {name: cluster.where(name) for name in UNITS}
        cluster.kill_server("s1")
        for name in cluster.nodes:
            cluster.kill_machine(name)
        await cluster.sleep(60)
        assert not any(cluster.where(name) for name in UNITS)
        for name in cluster.nodes:
            cluster.boot_machine(name)
        await cluster.wait_until(lambda: cluster.is_active(*UNITS), within=2)
        assert {name: cluster.where(name) for name in UNITS} == before

    simulate(1, story)


def test_a_unit_that_was_only_loaded_is_not_started_by_a_reboot() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.submit("spare.service", desired="loaded")
        await cluster.settle(within=10)
        [name] = cluster.placed("spare.service")
        cluster.kill_machine(name)
        cluster.boot_machine(name)
        await cluster.settle()
        assert cluster.runs("spare.service") == []

    simulate(1, story)


@pytest.mark.parametrize("seed", range(5))
def test_an_agent_that_is_killed_and_comes_back_bounces_nothing(seed: int) -> None:
    async def story(cluster: Cluster) -> None:
        await running_units(cluster)
        for _ in range(3):
            for node in cluster.nodes.values():
                node.kill_agent()
            await cluster.sleep(5)
            for node in cluster.nodes.values():
                node.start_agent()
            await cluster.sleep(5)
        await cluster.settle()
        assert each_ran_once(cluster)

    simulate(seed, story)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13, 21, 34, 55])
def test_an_agent_killed_at_any_step_of_a_deployment_finishes_it_after_its_return(
    steps: int,
) -> None:
    async def story(cluster: Cluster) -> None:
        node = cluster.nodes["m1"]
        await cluster.sleep(1)
        node.process.strike_after(steps, node.kill_agent)
        for name in UNITS:
            await cluster.submit(name)
        await cluster.wait_until(lambda: not node.is_agent_up, within=60)
        await cluster.sleep(1)
        node.start_agent()
        await cluster.settle(within=30)
        assert each_ran_once(cluster)

    simulate(3, story, machines=1)


def test_what_ended_by_itself_while_nobody_watched_is_reported_and_not_started_again() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.behave("job.service", Behaviour(crashes_after=timedelta(minutes=10)))
        await cluster.submit("job.service")
        await cluster.wait_until(lambda: cluster.is_active("job.service"), within=10)
        cluster.stop_store()
        await cluster.sleep(AN_HOUR)
        cluster.start_store()
        await cluster.settle()
        assert [run.cause for run in cluster.runs("job.service")] == ["crash"]
        assert len(await cluster.events("unit.failed")) == 1

    simulate(1, story)


def test_orders_given_before_an_outage_are_carried_out_after_it() -> None:
    async def story(cluster: Cluster) -> None:
        await running_units(cluster)
        cluster.cut_off("m1", "m2", "m3")
        await cluster.want("api.service", "inactive")
        await cluster.sleep(15)
        assert cluster.where("api.service")
        cluster.reconnect("m1", "m2", "m3")
        await cluster.wait_until(lambda: not cluster.where("api.service"), within=30)

    simulate(1, story)
