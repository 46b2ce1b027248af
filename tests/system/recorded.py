"""A cluster as records: two machines with a running, a failed, a finished and a waiting unit, at fixed instants.

What the verbs show of it is compared as text. The server is the real one; only engine and agents are not there, so that
nothing moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.event import Event
from argosy.model.explanation import Explanation, Refusal
from argosy.model.ids import AppName, MachineId, UnitName
from argosy.model.machine import Capacity, Machine
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.runtime.base import LogLine
from argosy.store import base, codec, keys
from argosy.units.check import digest_of

AT = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
ONE, TWO = MachineId("113f16a7" + "1" * 24), MachineId("2c5a0d3e" + "2" * 24)
TEXT = b"# A text with a byte that is no UTF-8: \xff\n[Service]\nExecStart=/bin/sleep inf\n"
DIGEST = digest_of(TEXT)

MACHINES = (
    Machine(
        id=ONE,
        hostname="one",
        address="10.0.0.1",
        metadata={"zone": "a", "disk": "ssd"},
        capacity=Capacity(memory_bytes=8 * 2**30, cpu_millis=4000),
        version="0.1.0",
        registered_at=AT,
    ),
    Machine(id=TWO, hostname="two", registered_at=AT),
)
SHOP = AppName("shop")
LAUNCHED = DesiredState.LAUNCHED
UNITS = (
    Unit(name=UnitName("agent.service"), digest=DIGEST, desired=LAUNCHED,
         requirements=Requirements(is_global=True)),
    Unit(name=UnitName("db.service"), digest=DIGEST, desired=LAUNCHED, description="Data base"),
    Unit(name=UnitName("migrate.service"), digest=DIGEST, desired=LAUNCHED, app=SHOP,
         description="Brings the tables up to date"),
    Unit(name=UnitName("old.service"), digest=DIGEST),
    Unit(name=UnitName("web@.service"), digest=DIGEST, app=SHOP),
    Unit(name=UnitName("web@1.service"), digest=DIGEST, desired=LAUNCHED, app=SHOP,
         description="Front \x1b[31mend"),
)  # fmt: skip
STATUSES = {
    (ONE, "agent.service"): UnitStatus(
        name=UnitName("agent.service"), digest=DIGEST, active=ActiveState.ACTIVE, sub="running",
        main_pid=11, since=AT, has_run=True,
    ),
    (TWO, "agent.service"): UnitStatus(
        name=UnitName("agent.service"), digest=DIGEST, active=ActiveState.ACTIVATING,
        sub="auto-restart", result="exit-code", exit_code=127, since=AT, restarts=2, has_run=True,
    ),
    (ONE, "migrate.service"): UnitStatus(
        name=UnitName("migrate.service"), digest=DIGEST, active=ActiveState.FAILED, sub="failed",
        result="exit-code", exit_code=1, failed_command="ExecStart=/srv/migrate", since=AT,
        has_run=True, last_lines=("reading prices.csv", "line 3: no number: 'x'"),
    ),
    (ONE, "web@1.service"): UnitStatus(
        name=UnitName("web@1.service"), digest=DIGEST, active=ActiveState.ACTIVE, sub="running",
        main_pid=4711, since=AT, has_run=True, text="3 clients",
    ),
}  # fmt: skip
WAITING = Explanation(
    unit=UnitName("db.service"),
    refusals=(
        Refusal(rule="Memory", detail="needs 16G, 8G are free", machines=(ONE,), count=1),
        Refusal(
            rule="MachineMetadata", detail="needs disk=ssd, has no disk", machines=(TWO,), count=1
        ),
    ),
    summary="no machine of 2 can run db.service: 1 lacks memory, 1 lacks disk=ssd",
    remedy="free 8G on machine 113f16a7 (one)",
    since=AT,
)
EVENTS = (
    Event(at=AT, kind="machine.joined", machine=ONE, message="one joined", by="agent"),
    Event(at=AT, kind="unit.submitted", unit="web@1.service", message="wanted launched", by="api"),
    Event(at=AT + timedelta(seconds=1), kind="unit.placed", unit="web@1.service", machine=ONE,
          message="fewest units", by="engine"),
    Event(at=AT + timedelta(seconds=2), kind="unit.failed", unit="migrate.service", machine=ONE,
          message="exited with 1", by="agent"),
)  # fmt: skip
OUTPUT = (
    LogLine(at=AT, unit=UnitName("web@1.service"), text="listening", cursor="1"),
    LogLine(at=AT + timedelta(seconds=1), unit=UnitName("migrate.service"), cursor="2",
            text="line 3: no number: 'x'"),
    LogLine(at=AT + timedelta(seconds=2), unit=UnitName("migrate.service"), cursor="3",
            text="failed with result 'exit-code'", stream="argosy"),
)  # fmt: skip


async def write(store: base.Store) -> None:
    """Put all of the above into the store."""
    placed = {
        machine: tuple(
            AssignedUnit(
                name=unit.name, digest=unit.digest, desired=unit.desired,
                reason="fewest units of 2 machines that fit", placed_at=AT,
            )
            for unit in UNITS
            if (machine, unit.name) in STATUSES
        )
        for machine in (ONE, TWO)
    }  # fmt: skip
    puts = [base.Put(keys.machine(one.id), codec.encode(one)) for one in MACHINES]
    puts += [
        base.Put(keys.assignment(machine), codec.encode(Assignment(machine=machine, units=units)))
        for machine, units in placed.items()
    ]
    puts.append(base.Put(keys.presence(ONE), b""))
    puts.append(base.Put(keys.text(DIGEST), TEXT))
    puts += [base.Put(keys.unit(unit.name), codec.encode(unit)) for unit in UNITS]
    puts += [
        base.Put(
            keys.observed(machine, UnitName(name)),
            codec.encode(Observed(machine=machine, status=status)),
        )
        for (machine, name), status in STATUSES.items()
    ]
    puts.append(base.Put(keys.pending(WAITING.unit), codec.encode(WAITING)))
    puts += [
        base.Put(keys.event(event.at, writer="test", number=number), codec.encode(event))
        for number, event in enumerate(EVENTS)
    ]
    await store.txn([], puts)


class Output:
    """What machine ONE has printed, with the contract of `Runtime`; nothing new comes."""

    def statuses(self) -> Mapping[UnitName, UnitStatus]:
        return {UnitName(name): status for (_, name), status in STATUSES.items()}

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[frozenset[UnitName]]]:
        async def once() -> AsyncIterator[frozenset[UnitName]]:
            yield frozenset(self.statuses())
            await asyncio.Event().wait()

        yield once()

    async def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        wanted = [line for line in OUTPUT if line.unit in names and line.cursor > after]
        for line in wanted if after else wanted[-lines:]:
            yield line
        if follow:
            await asyncio.Event().wait()
