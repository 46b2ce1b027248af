"""The picture: folded change by change it is what a new one loads."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.api import views
from argosy.api.picture import END_KEY, FIRST_KEY, Picture
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, Observed, UnitStatus
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from unit.api.conftest import clock

UNITS = [UnitName(f"{letter}.service") for letter in "abc"]
MACHINES = [MachineId(digit * 32) for digit in "12"]
DIGEST = Digest("d" * 64)


def unit(name: UnitName, desired: DesiredState) -> base.Put:
    return base.Put(keys.unit(name), codec.encode(Unit(name=name, digest=DIGEST, desired=desired)))


def assignment(machine: MachineId, names: set[UnitName], desired: DesiredState) -> base.Put:
    units = tuple(AssignedUnit(name=n, digest=DIGEST, desired=desired) for n in sorted(names))
    return base.Put(
        keys.assignment(machine), codec.encode(Assignment(machine=machine, units=units))
    )


def observed(machine: MachineId, name: UnitName, active: ActiveState) -> base.Put:
    status = UnitStatus(name=name, digest=DIGEST, active=active)
    return base.Put(
        keys.observed(machine, name), codec.encode(Observed(machine=machine, status=status))
    )


names = st.sampled_from(UNITS)
machines = st.sampled_from(MACHINES)
desired_states = st.sampled_from(DesiredState)
operations = st.one_of(
    st.builds(unit, names, desired_states),
    st.builds(assignment, machines, st.sets(names), desired_states),
    st.builds(observed, machines, names, st.sampled_from(ActiveState)),
    st.builds(
        lambda name: base.Put(keys.pending(name), codec.encode(Explanation(unit=name))), names
    ),
    st.builds(
        lambda machine: base.Put(keys.machine(machine), codec.encode(Machine(id=machine))), machines
    ),
    st.builds(lambda machine: base.Put(keys.presence(machine), b"x"), machines),
    st.builds(lambda name: base.Delete(keys.unit(name)), names),
    st.builds(lambda machine: base.Delete(keys.assignment(machine)), machines),
    st.builds(lambda machine, name: base.Delete(keys.observed(machine, name)), machines, names),
    st.builds(lambda name: base.Delete(keys.pending(name)), names),
    st.builds(lambda machine: base.Delete(keys.presence(machine)), machines),
)


def shown(picture: Picture) -> dict[str, object]:
    """Everything of a picture that an answer can show, but since when machines are there."""
    picture.presence_since.clear()
    return {
        "revision": picture.revision,
        "order": picture.sorted_units(),
        "units": {name: views.unit(picture, name) for name in picture.units},
        "states": list(views.states(picture, sorted(picture.statuses), None)),
        "machines": {one: views.machine(picture, one) for one in picture.machines},
        "placements": {name: list(views.placements(picture, name)) for name in UNITS},
        "present": picture.present,
    }


@settings(deadline=None, max_examples=150)
@given(st.lists(operations, min_size=1, max_size=25))
def test_a_picture_folded_from_changes_is_the_one_that_is_loaded_from_the_store(
    ops: list[base.Op],
) -> None:
    async def compare() -> None:
        store = MemoryStore()
        await store.txn([], [base.Put(keys.LEADER, b"somebody")])
        folded = await Picture.load(store, clock)
        async with store.watch(FIRST_KEY, END_KEY, start_revision=folded.revision + 1) as batches:
            for op in ops:
                await store.txn([], [op])
            newest = (await store.status()).revision
            while folded.revision < newest:
                folded.fold(await anext(batches))
        assert shown(folded) == shown(await Picture.load(store, clock))
        await store.close()

    asyncio.run(compare())


def test_a_unit_is_as_far_as_the_last_of_its_machines() -> None:
    picture = Picture(clock)
    name = UNITS[0]

    def fold(revision: int, *puts: base.Put) -> set[UnitName]:
        events = tuple(
            base.WatchEvent(
                base.EventKind.PUT,
                base.KeyValue(put.key, put.value, revision, revision, 1),
                None,
            )
            for put in puts
        )
        return picture.fold(base.WatchBatch(revision, events)).units

    fold(1, unit(name, DesiredState.LAUNCHED))
    assert picture.current(name) is DesiredState.INACTIVE
    fold(2, *(assignment(machine, {name}, DesiredState.LAUNCHED) for machine in MACHINES))
    assert picture.current(name) is DesiredState.INACTIVE
    assert fold(3, observed(MACHINES[0], name, ActiveState.ACTIVE)) == set()
    assert picture.current(name) is DesiredState.INACTIVE
    assert fold(4, observed(MACHINES[1], name, ActiveState.INACTIVE)) == {name}
    assert picture.current(name) is DesiredState.LOADED
    assert fold(5, observed(MACHINES[1], name, ActiveState.FAILED)) == {name}
    assert picture.current(name) is DesiredState.LAUNCHED
