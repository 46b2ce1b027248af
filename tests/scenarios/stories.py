"""Stories that more than one test tells."""

from argosy.testing.cluster import Cluster
from argosy.testing.loop import running


async def leader_stands_still_at_work(cluster: Cluster) -> None:
    """With a slow store, the leader stands still in the middle of a decision, for longer than its lease lives."""
    chance = running().stream("story")
    await cluster.settle()
    cluster.store_faults.latency = (0.2, 0.6)
    for number in range(4):
        await cluster.wait_until(cluster.leader, within=60)
        leader = cluster.leader()
        assert leader is not None
        await cluster.submit(f"work@{number}.service")
        await cluster.sleep(chance.uniform(0.0, 1.5))
        running().pause(leader.process)
        await cluster.sleep(chance.uniform(10.0, 16.0))
        running().resume(leader.process)
        await cluster.sleep(3)
    cluster.heal()
    await cluster.settle()
