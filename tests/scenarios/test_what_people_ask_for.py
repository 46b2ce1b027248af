"""Promises 7, 9 and 10 where they meet the whole cluster: every decision has a reason, one bad unit harms nobody else,
and what people ask for is declarative: asked once, done once.
"""

from datetime import timedelta

import pytest

from argosy.model.explanation import Explanation
from argosy.model.ids import UnitName
from argosy.model.orders import Scheduling
from argosy.model.unit import Condition, Operator, Requirements
from argosy.store import codec, keys
from argosy.testing.cluster import Cluster, simulate
from argosy.testing.machine import Behaviour

GOOD = tuple(f"good@{number}.service" for number in range(1, 6))


async def explanation(cluster: Cluster, name: str) -> Explanation:
    found = await cluster.store.range(keys.pending(UnitName(name)))
    return codec.decode(found.kvs[0].value, Explanation)


def test_a_unit_that_no_machine_can_run_says_why_and_what_would_help() -> None:
    async def story(cluster: Cluster) -> None:
        needs = Requirements(metadata=(Condition("region", Operator.EQUAL, ("eu",)),))
        await cluster.submit("db.service", requirements=needs)
        await cluster.settle(within=10)
        why = await explanation(cluster, "db.service")
        assert why.refusals[0].count == 3
        assert "region=eu" in why.summary
        assert "region=eu" in why.remedy

    simulate(1, story)


def test_every_placement_carries_its_reason() -> None:
    async def story(cluster: Cluster) -> None:
        for name in GOOD:
            await cluster.submit(name)
        await cluster.settle(within=10)
        units = [u for one in cluster.checker.assignments.values() for u in one.units]
        assert len(units) == len(GOOD)
        assert all(unit.reason and unit.placed_at for unit in units)

    simulate(1, story)


def test_a_restart_is_asked_once_and_done_once_whoever_dies_meanwhile() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.submit("web.service")
        await cluster.settle(within=10)
        [name] = cluster.where("web.service")
        cluster.cut_off(name)
        await cluster.restart("web.service")
        await cluster.sleep(5)
        assert len(cluster.runs("web.service")) == 1
        cluster.reconnect(name)
        await cluster.wait_until(lambda: len(cluster.runs("web.service")) == 2, within=10)
        await cluster.settle()
        cluster.nodes[name].kill_agent()
        cluster.nodes[name].start_agent()
        cluster.kill_server("s1")
        cluster.start_server("s1")
        await cluster.settle()
        assert [run.cause for run in cluster.runs("web.service")] == ["restart", ""]

    simulate(1, story)


def test_a_unit_that_ended_is_started_again_only_when_somebody_asks() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.behave("job.service", Behaviour(crashes_after=timedelta(seconds=5)))
        await cluster.submit("job.service")
        await cluster.sleep(600)
        assert len(cluster.runs("job.service")) == 1
        await cluster.restart("job.service")
        await cluster.sleep(600)
        assert len(cluster.runs("job.service")) == 2

    simulate(1, story)


def test_units_that_fail_hang_or_cannot_be_installed_delay_no_other() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.behave("fails*", Behaviour(fails_to_start=True))
        cluster.behave("hangs*", Behaviour(hangs=True))
        cluster.behave("broken*", Behaviour(install_error="Unknown section"))
        cluster.behave("sticks*", Behaviour(stop_takes=timedelta(seconds=90)))
        for number in range(5):
            for kind in ("fails", "hangs", "broken", "sticks"):
                await cluster.submit(f"{kind}@{number}.service")
        await cluster.sleep(5)
        for number in range(5):
            await cluster.want(f"sticks@{number}.service", "inactive")
        for name in GOOD:
            await cluster.submit(name)
        await cluster.wait_until(lambda: cluster.is_active(*GOOD), within=1)
        await cluster.settle(within=100)
        await cluster.expect_quiet()

    simulate(1, story, machines=1)


def test_an_init_system_that_does_not_answer_stops_one_machine_and_no_other() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.nodes["m1"].machine.is_busy = True
        for name in GOOD:
            await cluster.submit(name)
        await cluster.sleep(5)
        assert all(cluster.is_active(n) for n in GOOD if cluster.placed(n) != ["m1"])
        cluster.nodes["m1"].machine.is_busy = False
        await cluster.settle(within=10)

    simulate(1, story)


def test_the_states_inactive_loaded_and_launched_mean_the_same_in_every_order() -> None:
    async def story(cluster: Cluster) -> None:
        orders = ("loaded", "launched", "inactive", "launched", "loaded", "inactive", "loaded")
        await cluster.submit("web.service", desired="inactive")
        for desired in orders:
            await cluster.want("web.service", desired)
            await cluster.settle(within=10)
            assert bool(cluster.where("web.service")) == (desired == "launched")
            assert bool(cluster.placed("web.service")) == (desired != "inactive")

    simulate(1, story)


def test_a_change_of_mind_before_the_stop_has_ended_starts_the_unit_again() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.behave("web.service", Behaviour(stop_takes=timedelta(seconds=8)))
        await cluster.submit("web.service", text="[Service]\nExecStart=/bin/one\n")
        await cluster.settle(within=10)
        await cluster.submit("web.service", text="[Service]\nExecStart=/bin/two\n")
        await cluster.sleep(2)
        await cluster.submit("web.service", text="[Service]\nExecStart=/bin/one\n")
        await cluster.settle(within=30)
        assert cluster.is_active("web.service")

    simulate(1, story)


def test_a_destroyed_unit_leaves_nothing_behind() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.submit("web.service")
        await cluster.settle(within=10)
        await cluster.destroy("web.service")
        await cluster.settle(within=10)
        assert cluster.where("web.service") == []
        assert not any(node.machine.statuses() for node in cluster.nodes.values())
        assert not any(cluster.checker.observed.values())

    simulate(1, story)


def test_one_submission_after_another_leaves_the_last_text_running_everywhere() -> None:
    async def story(cluster: Cluster) -> None:
        for version in range(20):
            await cluster.submit("web.service", text=f"[Service]\nExecStart=/bin/web {version}\n")
        await cluster.settle(within=20)
        assert cluster.is_active("web.service")

    for seed in range(5):
        simulate(seed, story)


@pytest.mark.parametrize("trouble", ["the clock is set back", "the next leader's clock is slow"])
def test_an_order_that_is_over_stays_over_whatever_the_clocks_say(trouble: str) -> None:
    async def story(cluster: Cluster) -> None:
        for name in GOOD:
            await cluster.submit(name)
        await cluster.settle(within=10)
        await cluster.order("m1", Scheduling.DRAINED, lasting=60)
        await cluster.wait_until(
            lambda: not any(cluster.placed(name) == ["m1"] for name in GOOD), within=20
        )
        await cluster.sleep(90)
        for name in GOOD:
            await cluster.move(name, "m1")
        await cluster.wait_until(
            lambda: all(cluster.placed(name) == ["m1"] for name in GOOD), within=10
        )
        if trouble == "the clock is set back":
            cluster.jump_clock(-3600)
        leader = cluster.leader()
        assert leader is not None
        other = next(server for server in cluster.servers if server is not leader)
        if trouble == "the next leader's clock is slow":
            cluster.set_clock_wrong(other.name, -3600)
        cluster.kill_server(leader.name)
        await cluster.wait_until(cluster.leader, within=20)
        await cluster.sleep(120)
        assert all(cluster.placed(name) == ["m1"] for name in GOOD)

    simulate(1, story, servers=2)
