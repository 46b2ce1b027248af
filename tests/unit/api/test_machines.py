"""Orders for machines over the API: what they do to the records, and how a machine is then shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from argosy.errors import Invalid, NotFound
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.lost import Brake, LostMachine
from argosy.model.machine import Machine
from argosy.model.moves import MoveOrder
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from unit.api.serving import Running, running

ONE, TWO = MachineId("1" * 32), MachineId("2" * 32)
DIGEST = Digest("d" * 64)
AT = datetime(2026, 3, 14, tzinfo=UTC)


def unit(name: str) -> Unit:
    return Unit(name=UnitName(name), digest=DIGEST, desired=DesiredState.LAUNCHED)


def assigned(name: str, *, fence: int = 0, is_wanted: bool = True) -> AssignedUnit:
    desired = DesiredState.LAUNCHED if is_wanted else DesiredState.INACTIVE
    return AssignedUnit(name=UnitName(name), digest=DIGEST, desired=desired, fence=fence)


def assignment(machine: MachineId, *units: AssignedUnit) -> base.Put:
    record = Assignment(machine=machine, units=units)
    return base.Put(keys.assignment(machine), codec.encode(record))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        machines = (Machine(id=ONE, metadata={"zone": "a", "disk": "ssd"}), Machine(id=TWO))
        puts = [base.Put(keys.machine(one.id), codec.encode(one)) for one in machines]
        puts += [base.Put(keys.presence(one.id), b"holder") for one in machines]
        names = [f"u{number}.service" for number in range(6)]
        puts += [base.Put(keys.unit(UnitName(name)), codec.encode(unit(name))) for name in names]
        puts += [assignment(ONE, *map(assigned, names)), assignment(TWO)]
        await server.store.txn([], puts)
        yield server


async def state(server: Running, machine: MachineId = ONE) -> tuple[str, str]:
    rows = await server.call(lambda client: client.machines())
    [row] = [row for row in rows if row["id"] == machine]
    return row["state"], row["why"]


async def orders(server: Running) -> MachineOrders:
    found = await server.store.range(keys.orders(ONE))
    return codec.decode(found.kvs[0].value, MachineOrders)


async def test_a_cordoned_machine_says_by_whom_why_and_until_when(server: Running) -> None:
    answer = await server.call(
        lambda client: client.order_machine(
            ONE, scheduling="cordoned", for_seconds=3600, reason="new disk"
        )
    )
    assert answer["state"] == "cordoned"
    assert answer["why"].endswith(": new disk")
    assert answer["until"] is not None
    record = await orders(server)
    assert record.until is not None
    assert timedelta(minutes=59) < record.until - datetime.now(UTC) <= timedelta(hours=1)
    [event] = await server.call(lambda client: client.events(machine=ONE))
    assert (event["kind"], event["message"]) == ("machine.cordoned", "new disk, for 1:00:00")


async def test_an_order_that_has_run_out_is_no_order(server: Running) -> None:
    over = MachineOrders(machine=ONE, scheduling=Scheduling.DRAINED, until=AT)
    await server.store.txn([], [base.Put(keys.orders(ONE), codec.encode(over))])
    assert await state(server) == ("ready", "")


async def test_a_drained_machine_is_draining_while_it_has_units(server: Running) -> None:
    await server.call(lambda client: client.order_machine(ONE, scheduling="drained"))
    assert (await state(server))[0] == "draining"
    await server.store.txn([], [assignment(ONE)])
    assert (await state(server))[0] == "drained"
    await server.call(lambda client: client.order_machine(ONE, scheduling="open"))
    assert (await state(server))[0] == "ready"


async def test_what_the_engine_believes_of_a_silent_machine_is_its_state(server: Running) -> None:
    await server.call(lambda client: client.order_machine(ONE, scheduling="drained"))
    await server.store.txn([], [base.Delete(keys.presence(ONE))])
    assert (await state(server))[0] == "suspect"
    brake = Brake(machines=(ONE,), since=AT, message="2 of 2 machines vanished together")
    await server.store.txn([], [base.Put(keys.BRAKE, codec.encode(brake))])
    assert await state(server) == ("held", "2 of 2 machines vanished together")
    lost = LostMachine(machine=ONE, since=AT, reason="silent for 20 s")
    changes: list[base.Op] = [base.Delete(keys.BRAKE), base.Put(keys.lost(ONE), codec.encode(lost))]
    await server.store.txn([], changes)
    assert await state(server) == ("lost", "silent for 20 s")


async def test_metadata_of_people_wins_and_can_be_taken_back(server: Running) -> None:
    async def metadata(**changes: object) -> dict[str, str]:
        answer = await server.call(
            lambda client: client.order_machine(ONE, **changes)  # type: ignore[arg-type]
        )
        return answer["metadata"]

    assert await metadata(metadata={"zone": "b", "rack": "7"}, without=["disk"]) == {
        "zone": "b",
        "rack": "7",
    }
    assert await metadata(metadata={"disk": "nvme"}) == {"zone": "b", "rack": "7", "disk": "nvme"}
    assert await metadata(forget=["zone", "rack", "disk"]) == {"zone": "a", "disk": "ssd"}
    assert (await orders(server)).metadata == {}


async def test_wrong_orders_are_refused(server: Running) -> None:
    with pytest.raises(NotFound):
        await server.call(lambda client: client.order_machine("3" * 32, scheduling="drained"))
    with pytest.raises(Invalid, match="for a while"):
        await server.call(lambda client: client.order_machine(ONE, for_seconds=5))
    with pytest.raises(Invalid, match="both set and taken away"):
        await server.call(
            lambda client: client.order_machine(ONE, metadata={"a": "b"}, without=["a"])
        )
    with pytest.raises(Invalid):
        await server.call(lambda client: client.order_machine(ONE, metadata={"a=b": "c"}))


async def test_a_drain_is_planned_before_it_is_asked_for(server: Running) -> None:
    plan = await server.call(lambda client: client.plan_drain(ONE))
    assert [move["unit"] for move in plan["moves"]] == [f"u{number}.service" for number in range(6)]
    assert {move["after"] for move in plan["moves"]} == {TWO}
    assert (await state(server))[0] == "ready"
    await server.store.txn([], [base.Delete(keys.presence(TWO))])
    plan = await server.call(lambda client: client.plan_drain(ONE))
    assert plan["moves"] == []
    assert len(plan["staying"]) == 6


async def test_rebalancing_is_planned_within_a_budget_and_asked_for_as_moves(
    server: Running,
) -> None:
    moves = await server.call(lambda client: client.plan_rebalance(budget=2))
    assert len(moves) == 2
    asked = [(move["unit"], TWO, move["reason"]) for move in moves]
    await server.call(lambda client: client.ask_moves(asked))
    found = await server.store.range(keys.MOVES, base.prefix_end(keys.MOVES))
    written = [codec.decode(kv.value, MoveOrder) for kv in found.kvs]
    assert [(one.unit, one.to) for one in written] == [(unit, to) for unit, to, _ in asked]
    with pytest.raises(NotFound):
        await server.call(lambda client: client.ask_moves([("none.service", TWO, "")]))


async def test_a_removed_machine_is_gone(server: Running) -> None:
    await server.call(lambda client: client.remove_machine(TWO))
    rows = await server.call(lambda client: client.machines())
    assert [row["id"] for row in rows] == [ONE]
    with pytest.raises(NotFound):
        await server.call(lambda client: client.remove_machine(TWO))


async def test_a_machine_that_a_unit_leaves_is_none_that_it_is_on(server: Running) -> None:
    name = UnitName("u0.service")
    seen = UnitStatus(name=name, digest=DIGEST, active=ActiveState.DEACTIVATING)
    await server.store.txn(
        [],
        [
            assignment(ONE, assigned(name, fence=7, is_wanted=False)),
            base.Put(keys.observed(ONE, name), codec.encode(Observed(machine=ONE, status=seen))),
        ],
    )
    [shown] = await server.call(lambda client: client.units([name]))
    assert shown["machines"] == []
    assert await server.call(lambda client: client.states([name])) == []
