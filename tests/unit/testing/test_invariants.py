"""The checker notices each thing that must never happen, told to it directly."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Delivery
from argosy.model.lost import LostMachine
from argosy.model.machine import Machine
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.runtime.base import RunnableUnit
from argosy.store import base, codec, keys
from argosy.testing import loop as sim
from argosy.testing.invariants import PEOPLE, Checker
from argosy.testing.loop import EPOCH, Process
from argosy.testing.machine import SimMachine
from argosy.testing.store import Ledger, Write

M1, M2 = MachineId("1" * 32), MachineId("2" * 32)
WEB, DB = UnitName("web.service"), UnitName("db.service")
TEXT = Digest("a" * 64)


class World(NamedTuple):
    checker: Checker
    ledger: Ledger

    def write(self, by: str, *records: tuple[str, bytes]) -> None:
        """One transaction, seen by the checker."""
        revision = self.checker.revision + 1
        if by:
            self.ledger.wrote(revision, Write(Process(by), (), ()))
        events = tuple(
            base.WatchEvent(
                base.EventKind.PUT, base.KeyValue(key, value, revision, revision, 1), None
            )
            for key, value in records
        )
        self.checker.fold(base.WatchBatch(revision, events))

    def submit(self, name: UnitName, requirements: Requirements | None = None) -> None:
        unit = Unit(
            name=name,
            digest=TEXT,
            desired=DesiredState.LAUNCHED,
            requirements=requirements or Requirements(),
        )
        self.write(PEOPLE, (keys.unit(name), codec.encode(unit)))

    def assign(self, machine: MachineId, *names: UnitName, by: str = "s1.1") -> None:
        self.write(by, (keys.assignment(machine), codec.encode(assignment(machine, *names))))


def assignment(machine: MachineId, *names: UnitName, version: Digest = TEXT) -> Assignment:
    units = (AssignedUnit(name=n, digest=version, desired=DesiredState.LAUNCHED) for n in names)
    return Assignment(machine=machine, units=tuple(units))


def delivery(revision: int, *names: UnitName, version: Digest = TEXT) -> Delivery:
    record = assignment(M1, *names, version=version)
    return Delivery(cluster="c", epoch=1, revision=revision, assignment=record)


def verdict(story: Callable[[World], None]) -> str:
    """Which invariant the story breaks, and how; empty when none."""

    async def main() -> str:
        ledger = Ledger()
        world = World(Checker(ledger), ledger)
        for machine in (M1, M2):
            record = Machine(id=machine, hostname="m" + machine[0])
            world.write("s1.1", (keys.machine(machine), codec.encode(record)))
        world.write("s1.1", (keys.LEADER, b"s1.1"))
        story(world)
        return str(world.checker.broken or "")

    return sim.run(1, main)


def test_a_unit_on_two_machines() -> None:
    def story(world: World) -> None:
        world.submit(WEB)
        world.assign(M1, WEB)
        world.assign(M2, WEB)

    assert verdict(story) == "S1: web.service is assigned to m1 and m2"


def test_a_global_unit_may_be_on_two_machines() -> None:
    def story(world: World) -> None:
        world.submit(WEB, Requirements(is_global=True))
        world.assign(M1, WEB)
        world.assign(M2, WEB)

    assert verdict(story) == ""


@pytest.mark.parametrize(
    ("requirements", "rule"),
    [
        (Requirements(conflicts=("db.*",)), "Conflicts"),
        (Requirements(memory_bytes=1), "memory"),
        (Requirements(machine_id="2222"), "MachineID"),
        (Requirements(machine_of=(UnitName("other.service"),)), "MachineOf"),
        (Requirements(ports=(80,)), "ports"),
    ],
)
def test_a_unit_where_its_own_requirements_forbid_it(requirements: Requirements, rule: str) -> None:
    def story(world: World) -> None:
        world.submit(DB, Requirements(ports=(80,)))
        world.submit(WEB, requirements)
        world.assign(M1, DB, WEB)

    assert verdict(story).startswith("S2: ")
    assert verdict(story).endswith(f"on m1: {rule}")


def test_an_engine_that_writes_while_another_leads() -> None:
    def story(world: World) -> None:
        world.submit(WEB)
        world.assign(M1, WEB, by="s2.1")

    assert verdict(story).startswith("S3: s2.1 wrote ['assignments/")


def test_a_server_that_changes_what_people_want() -> None:
    def story(world: World) -> None:
        unit = Unit(name=WEB, digest=TEXT)
        world.write("s1.1", (keys.unit(WEB), codec.encode(unit)))

    assert verdict(story).startswith("S5: s1.1 wrote ['units/web.service']")


def test_an_assignment_given_up_early_on_a_machine_that_fell_silent() -> None:
    def story(world: World) -> None:
        world.submit(WEB)
        world.write("s1.1", (keys.presence(M1), b""))
        world.assign(M1, WEB)
        revision = world.checker.revision + 1
        gone = base.KeyValue(keys.presence(M1), b"", 0, revision, 0)
        batch = (base.WatchEvent(base.EventKind.DELETE, gone, None),)
        world.checker.fold(base.WatchBatch(revision, batch))
        world.checker._changed_at[WEB] = -100.0
        world.assign(M1)

    assert verdict(story).startswith("P2: web.service left m1 after 9.0 s of silence")


def act(machine: SimMachine, world: World, verb: str, name: UnitName) -> None:
    world.checker.acted(machine, verb, [name])


def machine_with(world: World, *told: Delivery) -> SimMachine:
    machine = SimMachine(Machine(id=M1, hostname="m1"))
    machine.install(RunnableUnit(name=WEB, digest=TEXT, text=b""))
    world.checker.agent_began(machine)
    for one in told:
        world.checker.told(machine, one)
    return machine


def test_a_stop_that_no_assignment_asks_for() -> None:
    def story(world: World) -> None:
        act(machine_with(world, delivery(5, WEB)), world, "stop", WEB)

    assert verdict(story) == "S6: m1: stop web.service: no assignment it was told says so"


def test_a_stop_that_only_an_older_assignment_asks_for() -> None:
    def story(world: World) -> None:
        act(machine_with(world, delivery(5, WEB), delivery(4)), world, "stop", WEB)

    expected = "S4: m1: stop web.service: an assignment older than its newest says so"
    assert verdict(story) == expected


def test_a_stop_without_any_assignment() -> None:
    def story(world: World) -> None:
        act(machine_with(world), world, "stop", WEB)

    assert verdict(story).startswith("S6")


def test_a_start_of_somebody_elses_unit() -> None:
    def story(world: World) -> None:
        act(machine_with(world, delivery(5, WEB)), world, "start", DB)

    assert verdict(story).startswith("S7: m1: start db.service")


@pytest.mark.parametrize(
    "asked_for",
    [
        pytest.param(delivery(6), id="gone from the assignment"),
        pytest.param(delivery(6, WEB, version=Digest("b" * 64)), id="another version"),
    ],
)
def test_a_stop_that_the_newest_assignment_asks_for_is_right(asked_for: Delivery) -> None:
    def story(world: World) -> None:
        act(machine_with(world, delivery(5, WEB), asked_for), world, "stop", WEB)

    assert verdict(story) == ""


def test_a_restart_that_nobody_asked_for() -> None:
    def story(world: World) -> None:
        machine = machine_with(world, delivery(5, WEB))
        act(machine, world, "start", WEB)
        act(machine, world, "restart", WEB)

    assert verdict(story).startswith("S6: m1: restart web.service")


def settled(world: World, name: UnitName, machine: MachineId) -> None:
    """The unit has been on the machine, which is there, for a long time."""
    world.submit(name)
    world.write("s1.1", (keys.presence(machine), b""))
    world.assign(machine, name)
    world.checker._changed_at[name] = -100.0


def test_a_unit_that_leaves_a_machine_that_is_well_though_nobody_wanted_it_to() -> None:
    def story(world: World) -> None:
        settled(world, WEB, M1)
        world.assign(M1)

    assert verdict(story) == "L4: web.service left m1 and nobody wanted it to"


def test_a_unit_may_leave_a_machine_that_is_drained_and_none_may_come_to_it() -> None:
    def orders(world: World) -> None:
        drained = MachineOrders(machine=M1, scheduling=Scheduling.DRAINED)
        world.write(PEOPLE, (keys.orders(M1), codec.encode(drained)))

    def leaves(world: World) -> None:
        settled(world, WEB, M1)
        orders(world)
        world.assign(M1)

    def comes(world: World) -> None:
        orders(world)
        world.checker.machines._history[M1][:] = world.checker.machines._history[M1][-1:]
        world.submit(WEB)
        world.assign(M1, WEB)

    assert verdict(leaves) == ""
    assert verdict(comes) == "S2: ['web.service'] on m1, which is closed"


def test_two_machines_of_two_that_are_given_up_together() -> None:
    def story(world: World) -> None:
        settled(world, WEB, M1)
        settled(world, DB, M2)
        lost = [LostMachine(machine=machine, since=EPOCH) for machine in (M1, M2)]
        world.write("s1.1", *((keys.lost(one.machine), codec.encode(one)) for one in lost))

    assert verdict(story) == "L5: m1, m2 vanished together, of 2"
