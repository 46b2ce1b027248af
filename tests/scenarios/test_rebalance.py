"""After a machine has come back, units move to it by themselves: one at a time, long after, and only while all is well."""

from datetime import timedelta

from argosy.model.ids import MachineId
from argosy.model.unit import Requirements, WhenCutOff
from argosy.testing.cluster import Cluster, simulate
from argosy.testing.loop import running
from argosy.testing.machine import Behaviour

UNITS = tuple(f"web@{number}.service" for number in range(1, 9))
QUIET = 300.0
"""Seconds without any change before the first one moves: `EngineSettings.rebalance_after`."""


def loads(cluster: Cluster) -> list[int]:
    """How many units each machine runs, the fewest first."""
    return sorted(
        sum(cluster.where(name) == [machine] for name in UNITS) for machine in cluster.nodes
    )


async def one_machine_comes_back_empty(cluster: Cluster) -> float:
    """Eight units on m2 and m3, none on m1, which has just come back; returns when that was."""
    for name in UNITS:
        await cluster.submit(name)
    await cluster.settle(within=10)
    await cluster.sleep(30)
    cluster.kill_machine("m1")
    await cluster.wait_until(lambda: cluster.is_active(*UNITS), within=30)
    await cluster.sleep(60)
    cluster.boot_machine("m1")
    returned = running().time()
    await cluster.settle()
    assert loads(cluster) == [0, 4, 4]
    cluster.checker.moves.clear()
    return returned


def moves(cluster: Cluster) -> list[tuple[float, MachineId]]:
    return [(at, machine) for at, _, machine in cluster.checker.moves]


def test_nothing_moves_for_five_minutes_and_then_one_unit_after_the_other() -> None:
    async def story(cluster: Cluster) -> None:
        for name in UNITS:
            cluster.behave(name, Behaviour(start_takes=timedelta(seconds=5)))
        returned = await one_machine_comes_back_empty(cluster)
        await cluster.sleep(QUIET - 20)
        assert moves(cluster) == []
        await cluster.wait_until(lambda: loads(cluster) == [2, 3, 3], within=60)
        (first, _), (second, _) = moves(cluster)
        assert QUIET <= first - returned <= QUIET + 10
        assert second - first >= 5  # it had to be up first
        m1 = cluster.nodes["m1"].machine.record.id
        assert {machine for _, machine in moves(cluster)} == {m1}
        await cluster.expect_quiet()

    simulate(1, story)


def test_it_waits_while_people_change_things() -> None:
    async def story(cluster: Cluster) -> None:
        await one_machine_comes_back_empty(cluster)
        for number in range(4):
            await cluster.sleep(QUIET / 2)
            await cluster.restart(UNITS[number])
        assert moves(cluster) == []
        await cluster.sleep(QUIET + 10)
        assert loads(cluster) == [2, 3, 3]

    simulate(1, story)


def test_it_waits_while_any_machine_is_silent() -> None:
    async def story(cluster: Cluster) -> None:
        await one_machine_comes_back_empty(cluster)
        for _ in range(8):
            await cluster.sleep(60)
            cluster.cut_off("m2")
            await cluster.sleep(11)
            cluster.reconnect("m2")
        assert moves(cluster) == []

    simulate(1, story)


def test_a_unit_that_fails_where_it_arrives_is_the_last_that_moves() -> None:
    async def story(cluster: Cluster) -> None:
        await one_machine_comes_back_empty(cluster)
        cluster.behave("web@*", Behaviour(fails_to_start=True))
        await cluster.sleep(QUIET * 4)
        assert len(moves(cluster)) == 1

    simulate(1, story)


def test_a_unit_that_hangs_where_it_arrives_keeps_the_others_where_they_are_for_a_minute() -> None:
    async def story(cluster: Cluster) -> None:
        await one_machine_comes_back_empty(cluster)
        cluster.behave("web@*", Behaviour(hangs=True))
        await cluster.wait_until(lambda: moves(cluster), within=QUIET + 10)
        await cluster.sleep(50)
        assert len(moves(cluster)) == 1

    simulate(1, story)


def test_a_machine_that_people_opened_again_is_filled_in_the_same_way() -> None:
    async def story(cluster: Cluster) -> None:
        for name in UNITS:
            await cluster.submit(name)
        await cluster.drain("m1")
        await cluster.settle(within=60)
        assert loads(cluster) == [0, 4, 4]
        await cluster.undrain("m1")
        await cluster.sleep(QUIET - 10)
        assert loads(cluster) == [0, 4, 4]
        await cluster.sleep(30)
        assert loads(cluster) == [2, 3, 3]

    simulate(1, story)


def test_units_that_would_be_down_in_between_stay() -> None:
    async def story(cluster: Cluster) -> None:
        single = Requirements(when_cut_off=WhenCutOff.STOP)
        for name in UNITS:
            await cluster.submit(name, requirements=single)
        await cluster.drain("m1")
        await cluster.settle(within=60)
        await cluster.undrain("m1")
        await cluster.sleep(QUIET * 2)
        assert loads(cluster) == [0, 4, 4]

    simulate(1, story)
