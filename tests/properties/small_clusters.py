"""Hypothesis strategies for small clusters in which everything that can meet does."""

from __future__ import annotations

from hypothesis import strategies as st

from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState, Unit
from argosy.testing.builders import assignment, machine, snapshot, unit

NAMES = [
    "a@1.service",
    "a@2.service",
    "a@3.service",
    "b@1.service",
    "b@2.service",
    "c.service",
    "d.service",
]
MACHINES = ["m1", "m2", "m3", "m4"]
CONDITIONS = ["zone=a", "zone!=a", "disk=ssd", "cores>2", "cores<8", "zone in a,b"]
GLOBS = ["a@*.service", "b@?.service", "c.service", "[ad]*", "*"]


def machines() -> st.SearchStrategy[list[Machine]]:
    one = st.builds(
        machine,
        st.sampled_from(MACHINES),
        metadata=st.fixed_dictionaries(
            {},
            optional={
                "zone": st.sampled_from("abc"),
                "disk": st.sampled_from(["ssd", "hdd"]),
                "cores": st.sampled_from(["2", "4", "16"]),
            },
        ),
        memory=st.sampled_from([0, 1000, 1024, 3000]),
        cpu=st.sampled_from([0, 1, 2]),
    )
    return st.lists(one, max_size=4, unique_by=lambda machine: machine.id)


def _rarely(values: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.just([]), st.just([]), values)


def units(
    *, may_follow: bool = True, may_replace: bool = True, desired: list[DesiredState] | None = None
) -> st.SearchStrategy[list[Unit]]:
    """Units with any mixture of requirements that the unit-file language lets through."""

    @st.composite
    def one(draw: st.DrawFn) -> Unit:
        name = draw(st.sampled_from(NAMES))
        kind = draw(st.sampled_from(["free", "free", "free", "global", "pinned"]))
        others = [other for other in NAMES if other != name]
        follows: list[str] = []
        conflicts: list[str] = []
        replaces: list[str] = []
        if kind == "free" and may_follow:
            follows = draw(_rarely(st.lists(st.sampled_from(others), max_size=2, unique=True)))
        if kind != "pinned":
            conflicts = draw(_rarely(st.lists(st.sampled_from(GLOBS), max_size=2, unique=True)))
        if kind == "free" and may_replace and not conflicts:
            replaces = draw(_rarely(st.lists(st.sampled_from(GLOBS), max_size=1)))
        return unit(
            name,
            desired=draw(st.sampled_from(desired or list(DesiredState))),
            generation=draw(st.sampled_from([0, 0, 1])),
            variables=draw(st.sampled_from([{}, {}, {"A": "1"}])),
            is_global=kind == "global",
            machine_id=draw(st.sampled_from(MACHINES)) if kind == "pinned" else None,
            machine_of=follows,
            conflicts=conflicts,
            replaces=replaces,
            metadata=draw(_rarely(st.lists(st.sampled_from(CONDITIONS), max_size=2, unique=True))),
            memory=draw(st.sampled_from([0, 0, 0, 500, 512, 1000])),
            cpu=draw(st.sampled_from([0, 0, 0.5])),
            ports=draw(st.sampled_from([(), (), (), (80,), (80, 443)])),
            spread=draw(st.sampled_from([(), (), ("zone",), ("zone", "disk")])),
            max_per_machine=draw(st.sampled_from([None, None, 1, 2])),
        )

    return st.lists(one(), max_size=7, unique_by=lambda unit: unit.name)


@st.composite
def snapshots(draw: st.DrawFn) -> tuple[Snapshot, frozenset[MachineId]]:
    """A cluster in any state, also in states that no plan leads to; and the machines in it that are lost."""
    present = draw(machines())
    known = draw(units())
    absent = draw(st.sets(st.sampled_from(MACHINES), max_size=2)) & {m.id for m in present}
    lost = draw(st.sets(st.sampled_from(sorted(absent)))) if absent else set()
    assigned: dict[str, list[str]] = {}
    for machine_id in draw(st.sets(st.sampled_from(MACHINES))):
        assigned[machine_id] = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    state = snapshot(*present, *known, on=assigned, absent=absent)
    outdated = draw(units())
    there = {machine_id: set(names) for machine_id, names in assigned.items()}
    assignments = dict(state.assignments)
    for old in outdated:
        for machine_id, names in there.items():
            if old.name in names:
                records = {**state.units, old.name: old}
                assignments[MachineId(machine_id)] = assignment(
                    machine_id,
                    *(records.get(UnitName(name)) or unit(name) for name in sorted(names)),
                )
    return (
        Snapshot(
            revision=1,
            units=state.units,
            machines=state.machines,
            present=state.present,
            absent_since=state.absent_since,
            assignments=assignments,
        ),
        frozenset(MachineId(name) for name in lost),
    )
