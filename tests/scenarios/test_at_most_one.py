"""Promise 3: a unit with `WhenCutOff=stop` never runs twice, whoever is cut off, dead, paused or late.

That it never does is checked at every moment (S1 in `argosy.testing.invariants`); these stories make it tempting.
"""

from datetime import timedelta

import pytest

from argosy.model.ids import UnitName
from argosy.model.unit import Requirements, WhenCutOff
from argosy.testing.cluster import Cluster, simulate
from argosy.testing.machine import Behaviour

DB = "db.service"
ONE = Requirements(when_cut_off=WhenCutOff.STOP)


async def one_database(cluster: Cluster, needs: Requirements = ONE) -> str:
    await cluster.submit(DB, requirements=needs)
    await cluster.settle(within=10)
    return cluster.where(DB)[0]


def test_a_machine_that_is_cut_off_stops_it_before_it_runs_elsewhere() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.cut_off(old)
        await cluster.wait_until(lambda: not cluster.where(DB), within=14)
        await cluster.wait_until(lambda: cluster.where(DB), within=15)
        first, second = cluster.runs(DB)
        assert first.cause == "cut off"
        assert first.ended is not None
        assert 1 <= second.began - first.ended <= 15
        assert second.fence > first.fence

    for seed in range(10):
        simulate(seed, story)


def test_a_partition_that_heals_after_the_move_leaves_it_where_it_is() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.cut_off(old)
        await cluster.wait_until(lambda: cluster.where(DB) not in ([], [old]), within=30)
        cluster.reconnect(old)
        await cluster.settle(within=20)
        assert len(cluster.runs(DB)) == 2

    simulate(1, story)


@pytest.mark.parametrize("seconds", [3, 6, 9, 12, 14, 16, 18, 20, 22, 24, 26])
def test_a_partition_of_any_length_never_makes_two(seconds: int) -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.cut_off(old)
        await cluster.sleep(seconds)
        cluster.reconnect(old)
        await cluster.settle(within=60)
        assert cluster.is_active(DB)

    for seed in range(5):
        simulate(seed, story)


def test_it_ends_although_its_agent_is_dead() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.nodes[old].kill_agent()
        await cluster.wait_until(lambda: cluster.where(DB) not in ([], [old]), within=30)
        cluster.nodes[old].start_agent()
        await cluster.settle(within=20)
        assert cluster.where(DB) != [old]

    simulate(1, story)


def test_it_ends_although_its_agent_stands_still() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.pause_agent(old)
        await cluster.wait_until(lambda: cluster.where(DB) not in ([], [old]), within=30)
        cluster.resume_agent(old)
        await cluster.settle(within=20)
        assert cluster.where(DB) != [old]

    for seed in range(5):
        simulate(seed, story)


def test_an_agent_that_is_back_in_time_goes_on_with_it() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        for _ in range(5):
            cluster.nodes[old].kill_agent()
            await cluster.sleep(4)
            cluster.nodes[old].start_agent()
            await cluster.sleep(4)
        assert len(cluster.runs(DB)) == 1

    simulate(1, story)


def test_what_was_stopped_by_a_short_cut_is_started_again_in_its_place() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.stop_store()
        await cluster.wait_until(lambda: not cluster.where(DB), within=16)
        cluster.start_store()
        await cluster.wait_until(lambda: cluster.where(DB) == [old], within=15)
        assert [run.cause for run in cluster.runs(DB)] == ["cut off", ""]

    simulate(1, story, machines=1)


def test_a_machine_that_reboots_without_servers_does_not_start_it() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.kill_server("s1")
        cluster.kill_machine(old)
        cluster.boot_machine(old)
        await cluster.sleep(300)
        assert cluster.where(DB) == []
        cluster.start_server("s1")
        await cluster.wait_until(lambda: cluster.where(DB) == [old], within=30)

    simulate(1, story)


def test_a_longer_move_after_lets_it_run_through_a_longer_cut() -> None:
    async def story(cluster: Cluster) -> None:
        needs = Requirements(when_cut_off=WhenCutOff.STOP, move_after=timedelta(minutes=5))
        await one_database(cluster, needs)
        cluster.stop_store()
        await cluster.sleep(120)
        cluster.start_store()
        await cluster.settle()
        assert len(cluster.runs(DB)) == 1

    simulate(1, story)


def test_a_planned_move_waits_until_the_old_machine_has_ended_it() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.behave(DB, Behaviour(stop_takes=timedelta(seconds=3)))
        old = await one_database(cluster)
        await cluster.drain(old)
        await cluster.wait_until(lambda: UnitName(DB) in cluster.checker.pending, within=2)
        await cluster.wait_until(lambda: cluster.is_active(DB), within=10)
        first, second = cluster.runs(DB)
        assert first.ended is not None
        assert first.ended <= second.began < first.ended + 0.5
        assert second.fence > first.fence
        await cluster.settle(within=10)

    simulate(1, story)


def test_a_planned_move_from_a_machine_that_is_cut_off_waits_until_it_must_have_ended_there() -> (
    None
):
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.cut_off(old)
        await cluster.drain(old)
        await cluster.wait_until(lambda: cluster.where(DB) not in ([], [old]), within=30)
        cluster.reconnect(old)
        await cluster.settle(within=20)

    for seed in range(5):
        simulate(seed, story)


def test_destroyed_and_submitted_again_it_is_still_one() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.behave(DB, Behaviour(stop_takes=timedelta(seconds=4)))
        await one_database(cluster)
        await cluster.destroy(DB)
        await cluster.sleep(0.5)
        await cluster.submit("other.service")
        await cluster.submit(DB, requirements=ONE)
        await cluster.settle(within=20)
        assert len(cluster.runs(DB)) == 2

    simulate(1, story)


def test_a_machine_that_was_removed_while_it_was_cut_off_gets_time_to_end_it() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        cluster.cut_off(old)
        await cluster.sleep(1)
        await cluster.remove_machine(old)
        await cluster.wait_until(lambda: cluster.where(DB) not in ([], [old]), within=30)

    for seed in range(5):
        simulate(seed, story)


def test_after_a_restore_from_a_backup_there_is_still_one_and_its_fence_has_grown() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        backup = await cluster.backup()
        cluster.cut_off(old)
        await cluster.wait_until(lambda: cluster.where(DB) not in ([], [old]), within=40)
        cluster.reconnect(old)
        await cluster.settle(within=20)
        await cluster.restore(backup)
        await cluster.settle(within=90)
        assert cluster.is_active(DB)

    for seed in range(10):
        simulate(seed, story, servers=2)


def test_another_store_restarts_nothing_and_the_fences_go_on_growing() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster)
        await cluster.migrate()
        await cluster.settle(within=30)
        await cluster.expect_quiet()
        assert len(cluster.runs(DB)) == 1
        await cluster.drain(old)
        await cluster.settle(within=30)
        first, second = cluster.runs(DB)
        assert second.fence > first.fence

    simulate(1, story, servers=2)


def test_a_unit_that_may_run_twice_keeps_running_where_it_is_cut_off() -> None:
    async def story(cluster: Cluster) -> None:
        old = await one_database(cluster, Requirements())
        cluster.cut_off(old)
        await cluster.wait_until(lambda: len(cluster.where(DB)) == 2, within=30)

    simulate(1, story)
