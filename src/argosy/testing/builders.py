"""Short ways to say what a test is about: a machine, a unit, a cluster. Everything not said has a plain default.

snapshot(machine("m1", disk="ssd"), unit("web@1.service", conflicts="web@*.service"), on={"m1": ["db.service"]})
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Capacity, Machine
from argosy.model.snapshot import Snapshot
from argosy.model.unit import Condition, DesiredState, Operator, Requirements, Unit

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
"""When everything in a test happens that has to have happened at some time."""


def machine(
    name: str,
    *,
    cpu: float = 0,
    memory: int | str = 0,
    metadata: Mapping[str, str] | None = None,
    address: str = "",
) -> Machine:
    """A machine whose id is the name itself, so that tests read well.

    cpu: cores. memory: bytes, or `512M`, `2G`. Both 0: the machine does not say what it has.
    """
    return Machine(
        id=MachineId(name),
        hostname=name,
        address=address,
        metadata=dict(metadata or {}),
        capacity=Capacity(memory_bytes=in_bytes(memory), cpu_millis=round(cpu * 1000)),
    )


def unit(
    name: str,
    *,
    desired: DesiredState = DesiredState.LAUNCHED,
    text: str | None = None,
    generation: int = 0,
    variables: Mapping[str, str] | None = None,
    metadata: Iterable[str] | str = (),
    machine_id: str | None = None,
    machine_of: Iterable[str] | str = (),
    conflicts: Iterable[str] | str = (),
    replaces: Iterable[str] | str = (),
    is_global: bool = False,
    memory: int | str = 0,
    cpu: float = 0,
    ports: Iterable[int] | int = (),
    spread: Iterable[str] | str = (),
    max_per_machine: int | None = None,
) -> Unit:
    """A unit that people want launched.

    metadata: conditions as in `Require=`: `disk=ssd`, `disk!=hdd`, `cores>4`, `zone in a,b`.
    text: what its digest is made of; None makes it of the requirements, so that a unit that asks for other things has
        another text.
    Where several values are possible, one alone may be given without a list.
    """
    requirements = Requirements(
        machine_id=machine_id,
        machine_of=tuple(UnitName(target) for target in _several(machine_of)),
        metadata=tuple(condition(text) for text in _several(metadata)),
        conflicts=_several(conflicts),
        replaces=_several(replaces),
        is_global=is_global,
        memory_bytes=in_bytes(memory),
        cpu_millis=round(cpu * 1000),
        ports=(ports,) if isinstance(ports, int) else tuple(ports),
        spread=_several(spread),
        max_per_machine=max_per_machine,
    )
    return Unit(
        name=UnitName(name),
        digest=digest(text if text is not None else repr(requirements)),
        desired=desired,
        generation=generation,
        variables=dict(variables or {}),
        requirements=requirements,
    )


def snapshot(
    *records: Machine | Unit | Explanation,
    on: Mapping[str, Iterable[str]] | None = None,
    absent: Iterable[str] | str = (),
    revision: int = 1,
) -> Snapshot:
    """A cluster of machines and units (and explanations of waiting units), in any order.

    on: for each machine that has an assignment, the names of its units. They are assigned with the text and the desired
        state of their records; a name without a record is that of a unit that was destroyed.
    absent: machines that are not there. All others are.
    """
    machines = {record.id: record for record in records if isinstance(record, Machine)}
    units = {record.name: record for record in records if isinstance(record, Unit)}
    pending = {record.unit: record for record in records if isinstance(record, Explanation)}
    gone = {MachineId(name) for name in _several(absent)}
    return Snapshot(
        revision=revision,
        units=units,
        machines=machines,
        present=frozenset(machines.keys() - gone),
        absent_since=dict.fromkeys(sorted(gone), EPOCH),
        assignments={
            MachineId(name): assignment(name, *(_record(one, units) for one in sorted(names)))
            for name, names in (on or {}).items()
        },
        pending=pending,
    )


def assignment(machine_name: str, *units: Unit) -> Assignment:
    """The assignment of a machine that has these units."""
    return Assignment(
        machine=MachineId(machine_name),
        units=tuple(
            AssignedUnit(
                name=one.name,
                digest=one.digest,
                desired=one.desired,
                generation=one.generation,
                variables=one.variables,
                reason="the test says so",
                placed_at=EPOCH,
            )
            for one in sorted(units, key=lambda one: one.name)
        ),
    )


def condition(text: str) -> Condition:
    """A condition on metadata as people write it: `disk=ssd`, `disk!=hdd`, `cores>4`, `zone in a,b`."""
    key, word, values = text.partition(" in ")
    if word:
        return Condition(key, Operator.IN, tuple(values.split(",")))
    for operator in (Operator.NOT_EQUAL, Operator.LESS, Operator.GREATER, Operator.EQUAL):
        key, sign, value = text.partition(operator.value)
        if sign:
            return Condition(key, operator, (value,))
    raise ValueError(f"not a condition: {text}")


def digest(text: str) -> Digest:
    return Digest(hashlib.sha256(text.encode()).hexdigest())


def in_bytes(amount: int | str) -> int:
    """`512M` and the like in bytes."""
    if isinstance(amount, int):
        return amount
    number, letter = amount[:-1], amount[-1]
    return round(float(number) * (1 << 10 * (1 + "KMGT".index(letter))))


def _record(name: str, units: Mapping[UnitName, Unit]) -> Unit:
    return units.get(UnitName(name)) or unit(name)


def _several(values: Iterable[str] | str) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)
