"""Stories that more than one test tells."""

from argosy.model.unit import Requirements, WhenCutOff
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


async def partitions(cluster: Cluster) -> None:
    """Units that must not run twice, on machines and servers that are cut off, reboot, and come back, again and again."""
    chance = running().stream("story")
    single = Requirements(when_cut_off=WhenCutOff.STOP)
    for number in range(4):
        await cluster.submit(f"db@{number}.service", requirements=single)
    await cluster.settle(within=20)
    for _ in range(6):
        node = chance.choice([*cluster.nodes.values()])
        server = chance.choice(cluster.servers)
        match chance.choice(("machine", "reboot", "server", "both")):
            case "machine":
                cluster.cut_off(node.name)
            case "reboot":
                cluster.cut_off(node.name)
                cluster.kill_machine(node.name)
                cluster.boot_machine(node.name)
            case "server":
                server.client.is_cut = True
            case _:
                server.client.is_cut = True
                cluster.cut_off(node.name)
        await cluster.sleep(chance.uniform(5, 40))
        server.client.is_cut = False
        cluster.reconnect(node.name)
        await cluster.sleep(chance.uniform(0, 15))
    cluster.heal()
    await cluster.settle()


async def many_vanish(cluster: Cluster) -> None:
    """Half of the machines at once, and back."""
    for number in range(8):
        await cluster.submit(f"web@{number}.service")
    await cluster.settle(within=20)
    names = running().stream("story").sample(sorted(cluster.nodes), len(cluster.nodes) // 2)
    cluster.cut_off(*names)
    await cluster.sleep(60)
    cluster.heal()
    await cluster.settle()


async def full_disks(cluster: Cluster) -> None:
    """Agents that die with a full disk, and come back without servers."""
    chance = running().stream("story")
    for number in range(4):
        await cluster.submit(f"web@{number}.service")
    await cluster.settle(within=20)
    for number in range(4, 8):
        node = chance.choice([*cluster.nodes.values()])
        node.machine.disk.is_full = True
        await cluster.submit(f"web@{number}.service")
        await cluster.sleep(chance.uniform(0.0, 5.0))
        node.kill_agent()
        cluster.cut_off(node.name)
        node.machine.disk.is_full = False
        node.start_agent()
        await cluster.sleep(chance.uniform(0.0, 15.0))
        cluster.reconnect(node.name)
    cluster.heal()
    await cluster.settle()
