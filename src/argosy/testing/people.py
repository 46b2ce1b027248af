"""What people ask of a simulated cluster, as the API writes it for them: one transaction for each wish.

Their way to the store has no faults and knows no outage: so what they ask meanwhile is there, and nobody sees it yet.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import msgspec

from argosy.errors import NotFound
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.moves import MoveOrder
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from argosy.testing.invariants import PEOPLE
from argosy.testing.loop import Process, running
from argosy.testing.store import FaultyStore, Ledger, StoreFaults


class People:
    """Everybody who asks for something. Calls on what is not there raise NotFound."""

    def __init__(self, store: MemoryStore, ledger: Ledger) -> None:
        self._ledger = ledger
        self.turn_to(store)

    def turn_to(self, store: MemoryStore) -> None:
        """From now on they ask that store."""
        self._client = FaultyStore(store, Process(PEOPLE), StoreFaults(), self._ledger)

    # --- units --------------------------------------------------------------------------------------------------

    async def submit(
        self,
        name: str,
        *,
        desired: str = "launched",
        text: str = "",
        requirements: Requirements | None = None,
    ) -> None:
        """Create the unit or change it: text and record in one transaction."""
        content = (text or f"[Service]\nExecStart=/bin/{name}\n").encode()
        digest = Digest(hashlib.sha256(content).hexdigest())
        known = await self._client.range(keys.unit(UnitName(name)))
        before = codec.decode(known.kvs[0].value, Unit) if known.kvs else None
        unit = Unit(
            name=UnitName(name),
            digest=digest,
            desired=DesiredState(desired),
            generation=before.generation if before else 0,
            requirements=requirements or (before.requirements if before else Requirements()),
        )
        await self._write(known, unit, base.Put(keys.text(digest), content))
        running().trace.note(f"people: submit {name} {desired} {digest[:8]}")

    async def want(self, name: str, desired: str) -> None:
        """Change the desired state."""
        known, unit = await self._unit(name)
        await self._write(known, msgspec.structs.replace(unit, desired=DesiredState(desired)))
        running().trace.note(f"people: {name} should be {desired}")

    async def restart(self, name: str) -> None:
        """Ask for a restart."""
        known, unit = await self._unit(name)
        await self._write(known, msgspec.structs.replace(unit, generation=unit.generation + 1))
        running().trace.note(f"people: restart {name}")

    async def destroy(self, name: str) -> None:
        known, _ = await self._unit(name)
        await self._client.txn([base.unchanged(known.kvs[0])], [base.Delete(known.kvs[0].key)])
        running().trace.note(f"people: destroy {name}")

    async def move_to(self, unit: str, to: MachineId) -> None:
        """Ask for one unit to go to one machine."""
        order = MoveOrder(unit=UnitName(unit), to=to, by=PEOPLE)
        await self._client.txn([], [base.Put(keys.move(order.unit), codec.encode(order))])
        running().trace.note(f"people: move {unit} to {to[-4:]}")

    # --- machines -----------------------------------------------------------------------------------------------

    async def order_machine(
        self,
        machine: MachineId,
        scheduling: Scheduling,
        *,
        lasting: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Cordon, drain or open it, for so many seconds or until further notice, and give it metadata."""
        now = running().wall_clock()
        orders = MachineOrders(
            machine=machine,
            scheduling=scheduling,
            until=None if lasting is None else now + timedelta(seconds=lasting),
            metadata=metadata or {},
            by=PEOPLE,
            at=now,
        )
        await self._client.txn([], [base.Put(keys.orders(machine), codec.encode(orders))])
        running().trace.note(f"people: {machine[-4:]} is to be {scheduling.value}")

    async def take_away(self, machine: MachineId) -> None:
        """Take a machine out of the cluster: nothing of it stays but what it should run."""
        observed = keys.observed_of(machine)
        ops: list[base.Op] = [
            base.Delete(keys.machine(machine)),
            base.Delete(keys.presence(machine)),
            base.Delete(keys.orders(machine)),
            base.Delete(observed, base.prefix_end(observed)),
        ]
        await self._client.txn([], ops)
        running().trace.note(f"people: remove machine {machine[-4:]}")

    async def _unit(self, name: str) -> tuple[base.RangeResult, Unit]:
        known = await self._client.range(keys.unit(UnitName(name)))
        if not known.kvs:
            raise NotFound(f"there is no unit {name}")
        return known, codec.decode(known.kvs[0].value, Unit)

    async def _write(self, known: base.RangeResult, unit: Unit, *more: base.Op) -> None:
        key = keys.unit(unit.name)
        guard = base.unchanged(known.kvs[0]) if known.kvs else base.absent(key)
        await self._client.txn([guard], [*more, base.Put(key, codec.encode(unit))])
