"""The simulated runtime keeps the contract where the agent relies on it, and fails when it is asked to."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from argosy.errors import RuntimeBusy
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState
from argosy.runtime.base import JobResult, RunnableUnit
from argosy.testing import loop as sim
from argosy.testing.loop import Process, running
from argosy.testing.machine import Behaviour, SimMachine
from argosy.testing.runtime import SimRuntime

T = TypeVar("T")
WEB = UnitName("web.service")


def unit(name: UnitName = WEB, version: str = "a") -> RunnableUnit:
    return RunnableUnit(name=name, digest=Digest(version * 64), text=b"[Service]\n")


def on_a_machine(story: Callable[[SimMachine], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        return await story(SimMachine(Machine(id=MachineId("1" * 32), hostname="m1")))

    return sim.run(1, main)


def behave(machine: SimMachine, behaviour: Behaviour) -> None:
    machine.rules.rules["*"] = behaviour


def test_a_unit_goes_through_the_states_of_systemd() -> None:
    async def story(machine: SimMachine) -> list[str]:
        runtime = SimRuntime(machine)
        await runtime.install([unit()])
        await runtime.start([WEB])
        await runtime.stop([WEB])
        return [line.text.partition(" ")[0] for line in machine.lines]

    assert on_a_machine(story) == ["activating", "active", "deactivating", "inactive"]


def test_units_outlive_the_runtime_that_started_them() -> None:
    async def story(machine: SimMachine) -> None:
        first = Process("agent.1")
        runtime = SimRuntime(machine, first)
        await runtime.install([unit()])
        start = asyncio.create_task(runtime.start([WEB]))
        await asyncio.sleep(0.01)
        first.is_dead = True
        start.cancel()
        await asyncio.sleep(1)
        with pytest.raises(RuntimeBusy):
            await runtime.stop([WEB])
        second = SimRuntime(machine, Process("agent.2"))
        await second.open()
        assert second.statuses()[WEB].active is ActiveState.ACTIVE
        assert len(machine.history) == 1

    on_a_machine(story)


def test_a_power_cut_ends_everything_and_a_boot_begins_with_nothing() -> None:
    async def story(machine: SimMachine) -> None:
        runtime = SimRuntime(machine)
        await runtime.install([unit()])
        await runtime.start([WEB])
        machine.cut_power()
        machine.boot()
        assert machine.history[0].cause == "power"
        assert SimRuntime(machine).statuses() == {}
        with pytest.raises(RuntimeBusy):
            await runtime.start([WEB])

    on_a_machine(story)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        pytest.param(Behaviour(fails_to_start=True), JobResult.FAILED, id="fails"),
        pytest.param(Behaviour(), JobResult.DONE, id="works"),
    ],
)
def test_a_start_ends_as_the_unit_behaves(behaviour: Behaviour, expected: JobResult) -> None:
    async def story(machine: SimMachine) -> JobResult:
        behave(machine, behaviour)
        runtime = SimRuntime(machine)
        await runtime.install([unit()])
        return (await runtime.start([WEB]))[WEB]

    assert on_a_machine(story) is expected


def test_a_hanging_start_is_ended_by_a_stop() -> None:
    async def story(machine: SimMachine) -> None:
        behave(machine, Behaviour(hangs=True))
        runtime = SimRuntime(machine)
        await runtime.install([unit()])
        start = asyncio.create_task(runtime.start([WEB]))
        await asyncio.sleep(3600)
        assert not start.done()
        await runtime.stop([WEB])
        assert (await start)[WEB] is JobResult.CANCELED
        assert machine.running() == []

    on_a_machine(story)


def test_a_unit_crashes_when_it_was_told_to() -> None:
    async def story(machine: SimMachine) -> None:
        behave(machine, Behaviour(crashes_after=timedelta(seconds=7)))
        runtime = SimRuntime(machine)
        await runtime.install([unit()])
        await runtime.start([WEB])
        await asyncio.sleep(8)
        assert runtime.statuses()[WEB].active is ActiveState.FAILED
        [run] = machine.history
        assert run.cause == "crash"
        assert run.ended == pytest.approx(7.05)

    on_a_machine(story)


def test_a_refused_installation_names_the_unit_and_installs_the_others() -> None:
    async def story(machine: SimMachine) -> None:
        bad = UnitName("bad.service")
        machine.rules.rules["bad*"] = Behaviour(install_error="no such section")
        runtime = SimRuntime(machine)
        refused = await runtime.install([unit(), unit(bad)])
        assert {name: str(why) for name, why in refused.items()} == {bad: "no such section"}
        assert set(runtime.statuses()) == {WEB}

    on_a_machine(story)


def test_a_running_unit_keeps_running_when_its_text_is_replaced() -> None:
    async def story(machine: SimMachine) -> None:
        runtime = SimRuntime(machine)
        await runtime.install([unit(version="a")])
        await runtime.start([WEB])
        await runtime.install([unit(version="b")])
        assert runtime.statuses()[WEB].active is ActiveState.ACTIVE
        await runtime.restart([WEB])
        assert [run.version[0] for run in machine.history] == ["a", "b"]

    on_a_machine(story)


def test_changes_are_told_together_and_the_first_time_all() -> None:
    async def story(machine: SimMachine) -> None:
        runtime = SimRuntime(machine)
        await runtime.install([unit(), unit(UnitName("db.service"))])
        async with runtime.changes() as changes:
            assert await anext(changes) == {WEB, "db.service"}
            await runtime.start([WEB])
            assert await anext(changes) == {WEB}

    on_a_machine(story)


def test_logs_follow() -> None:
    async def story(machine: SimMachine) -> list[str]:
        runtime = SimRuntime(machine)
        await runtime.install([unit()])
        await runtime.start([WEB])
        seen: list[str] = []

        async def follow() -> None:
            async for line in runtime.logs([WEB], lines=1, follow=True):
                seen.append(line.text)  # noqa: PERF401 - it never ends, and is looked at meanwhile

        task = asyncio.create_task(follow())
        await asyncio.sleep(1)
        await runtime.stop([WEB])
        await asyncio.sleep(1)
        task.cancel()
        return seen

    expected = ["active (running)", "deactivating (stop-sigterm)", "inactive (dead)"]
    assert on_a_machine(story) == expected


def test_a_busy_init_system_refuses_every_call() -> None:
    async def story(machine: SimMachine) -> None:
        machine.is_busy = True
        with pytest.raises(RuntimeBusy):
            await SimRuntime(machine).open()
        with pytest.raises(RuntimeBusy):
            await SimRuntime(machine).install([unit()])
        assert running().time() == 0

    on_a_machine(story)
