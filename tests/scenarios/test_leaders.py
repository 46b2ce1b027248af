"""One engine leads; whatever happens to it, the next goes on where it stood, and a former one writes nothing."""

import asyncio

import pytest

from argosy.testing.cluster import Cluster, simulate
from argosy.testing.loop import running
from argosy.testing.members import Server
from scenarios.stories import leader_stands_still_at_work


async def leader_of(cluster: Cluster) -> Server:
    await cluster.wait_until(cluster.leader, within=60)
    leader = cluster.leader()
    assert leader is not None
    return leader


def test_when_the_leader_dies_another_leads_within_its_lease() -> None:
    async def story(cluster: Cluster) -> None:
        leader = await leader_of(cluster)
        cluster.kill_server(leader.name)
        took = await cluster.wait_until(cluster.leader, within=11)
        assert took > 1
        assert (await leader_of(cluster)).name != leader.name

    simulate(1, story, servers=3)


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16, 24, 32, 48])
def test_a_leader_killed_at_any_step_of_its_work_leaves_work_that_the_next_one_finishes(
    steps: int,
) -> None:
    async def story(cluster: Cluster) -> None:
        leader = await leader_of(cluster)
        await cluster.sleep(5)
        leader.process.strike_after(steps, lambda: cluster.kill_server(leader.name))
        names = [f"web@{number}.service" for number in range(1, 11)]
        for name in names:
            await cluster.submit(name)
        await cluster.wait_until(lambda: not leader.is_up, within=60)
        await cluster.wait_until(lambda: cluster.is_active(*names), within=40)
        assert all(len(cluster.runs(name)) == 1 for name in names)

    simulate(steps, story, servers=2)


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_dies_while_it_places_three_hundred_units_leaves_none_out_and_none_twice(
    seed: int,
) -> None:
    async def story(cluster: Cluster) -> None:
        chance = running().stream("story")
        names = [f"web@{number}.service" for number in range(1, 301)]
        leader = await leader_of(cluster)
        await cluster.sleep(5)
        cluster.store_faults.latency = (0.0, 0.05)
        submissions = [cluster.begin(cluster.submit(name)) for name in names]
        await cluster.sleep(chance.uniform(0.0, 0.3))
        leader.process.strike_after(chance.randint(1, 40), lambda: cluster.kill_server(leader.name))
        await asyncio.gather(*submissions)
        await cluster.wait_until(lambda: not leader.is_up, within=60)
        # Its lease, an election, and the work itself.
        await cluster.wait_until(lambda: cluster.is_active(*names), within=20)
        assert all(len(cluster.runs(name)) == 1 for name in names)

    simulate(seed, story, machines=5, servers=2)


@pytest.mark.parametrize("seed", range(10))
def test_a_leader_that_stood_still_past_its_lease_writes_nothing(seed: int) -> None:
    simulate(seed, leader_stands_still_at_work, servers=2)


def test_every_write_may_stay_unanswered_and_all_is_done_once() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.settle()
        cluster.store_faults.indeterminate = 0.5
        names = [f"web@{number}.service" for number in range(1, 11)]
        for name in names:
            await cluster.submit(name)
        await cluster.wait_until(lambda: cluster.is_active(*names), within=60)
        assert all(len(cluster.runs(name)) == 1 for name in names)

    for seed in range(5):
        simulate(seed, story)


def test_watches_that_break_and_revisions_that_are_compacted_lose_no_change() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.settle()
        cluster.store_faults.watch_breaks = 0.3
        names = [f"web@{number}.service" for number in range(1, 11)]
        for name in names:
            await cluster.submit(name)
            await cluster.compact(cluster.checker.revision)
            await cluster.sleep(running().stream(name).uniform(0.0, 2.0))
        await cluster.wait_until(lambda: cluster.is_active(*names), within=60)

    for seed in range(5):
        simulate(seed, story, servers=2)


def test_a_settled_cluster_writes_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        for number in range(20):
            await cluster.submit(f"web@{number}.service")
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(1, story, machines=5, servers=3)


def test_a_new_leader_of_a_settled_cluster_changes_nothing_but_the_record_of_its_leading() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.submit("web.service")
        await cluster.settle()
        before = dict(cluster.checker.assignments)
        cluster.kill_server((await leader_of(cluster)).name)
        await leader_of(cluster)
        await cluster.settle()
        assert cluster.checker.assignments == before
        assert len(cluster.runs("web.service")) == 1

    simulate(1, story, servers=2)
