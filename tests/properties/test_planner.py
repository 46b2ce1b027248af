"""What holds for every plan, from any state of a small cluster, also from states that no plan leads to."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.engine.planner import Scope, Timing, apply_plan, plan
from argosy.model.actions import EngineAction, Place, Unplace, Update, Wait
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState, Unit
from argosy.scheduler.board import Board
from argosy.testing.builders import EPOCH
from properties import reference_scheduler, small_clusters

MANY = settings(max_examples=100, deadline=None)
LATER = EPOCH + timedelta(hours=1)
State = tuple[Snapshot, frozenset[MachineId]]


def timing(lost: frozenset[MachineId]) -> Timing:
    return Timing(silent=dict.fromkeys(lost, timedelta(minutes=1)))


def board_of(state: Snapshot) -> Board:
    return Board.of(state, frozenset(state.present & state.machines.keys()))


def full_plan(state: Snapshot, lost: frozenset[MachineId]) -> list[EngineAction]:
    return plan(state, board_of(state), Scope.everything(), timing(lost))


def settled(state: Snapshot, lost: frozenset[MachineId]) -> Snapshot:
    return apply_plan(state, full_plan(state, lost), LATER)


def places(state: Snapshot) -> dict[UnitName, list[MachineId]]:
    found: dict[UnitName, list[MachineId]] = {}
    for machine_id in sorted(state.assignments):
        for assigned in state.assignments[machine_id].units:
            found.setdefault(assigned.name, []).append(machine_id)
    return found


def cluster_of(state: Snapshot) -> reference_scheduler.Cluster:
    cluster: reference_scheduler.Cluster = {machine_id: {} for machine_id in state.machines}
    for name, machine_ids in places(state).items():
        for machine_id in machine_ids:
            cluster[machine_id][name] = state.units[name]
    return cluster


@MANY
@given(small_clusters.snapshots())
def test_after_a_plan_nothing_is_left_to_do(given_state: State) -> None:
    state, lost = given_state
    assert full_plan(settled(state, lost), lost) == []


@MANY
@given(small_clusters.snapshots())
def test_a_unit_is_on_one_machine_and_only_if_somebody_wants_it(given_state: State) -> None:
    state, lost = given_state
    for name, machine_ids in places(settled(state, lost)).items():
        unit = state.units[name]
        assert unit.desired is not DesiredState.INACTIVE
        assert unit.requirements.is_global or len(machine_ids) == 1


@MANY
@given(small_clusters.snapshots())
def test_every_assignment_satisfies_every_rule(given_state: State) -> None:
    state, lost = given_state
    cluster = cluster_of(settled(state, lost))
    for machine_id, there in cluster.items():
        for unit in there.values():
            machine = state.machines[machine_id]
            assert reference_scheduler.may_have(machine, unit, cluster, is_settled=True)


@MANY
@given(small_clusters.snapshots())
def test_a_unit_waits_only_if_no_machine_can_have_it(given_state: State) -> None:
    state, lost = given_state
    after = settled(state, lost)
    cluster = cluster_of(after)
    everywhere = places(after)
    wanted = {u.name for u in state.units.values() if u.desired is not DesiredState.INACTIVE}
    nowhere = wanted - everywhere.keys()
    assert nowhere <= after.pending.keys() <= wanted
    for name in after.pending:
        unit = state.units[name]
        if not unit.requirements.replaces:
            for machine_id in state.present:
                machine = state.machines[machine_id]
                assert not reference_scheduler.may_have(machine, unit, cluster)


@MANY
@given(small_clusters.snapshots())
def test_assignments_say_what_the_units_say(given_state: State) -> None:
    state, lost = given_state
    after = settled(state, lost)
    for assignment in after.assignments.values():
        for assigned in assignment.units:
            unit = state.units[assigned.name]
            told = (assigned.digest, assigned.variables, assigned.desired, assigned.generation)
            assert told == (unit.digest, unit.variables, unit.desired, unit.generation)


@MANY
@given(small_clusters.snapshots())
def test_what_leaves_an_absent_machine_was_unwanted_or_against_a_rule_there(
    given_state: State,
) -> None:
    state, _ = given_state
    before = places(state)
    cluster: reference_scheduler.Cluster = {machine_id: {} for machine_id in state.machines}
    for name, machine_ids in before.items():
        for machine_id in machine_ids:
            if machine_id in cluster and name in state.units:
                cluster[machine_id][name] = state.units[name]
    for action in full_plan(state, frozenset()):
        if not isinstance(action, Unplace) or action.machine in state.present:
            continue
        unit = state.units.get(action.unit)
        if unit is None or unit.desired is DesiredState.INACTIVE:
            continue
        if action.machine not in state.machines or len(before[unit.name]) > 1:
            continue  # the machine was removed, or the unit was on two
        others = cluster[action.machine].values()
        assert (
            unit.requirements.machine_of
            or any(reference_scheduler.makes_way(unit, other) for other in others)
            or not reference_scheduler.may_have(
                state.machines[action.machine], unit, cluster, is_settled=True
            )
        )


@MANY
@given(small_clusters.snapshots())
def test_equal_snapshots_give_equal_plans_in_whatever_order_they_were_filled(
    given_state: State,
) -> None:
    state, lost = given_state
    backwards = Snapshot(
        revision=state.revision,
        units=dict(reversed(list(state.units.items()))),
        machines=dict(reversed(list(state.machines.items()))),
        present=state.present,
        absent_since=state.absent_since,
        assignments=dict(reversed(list(state.assignments.items()))),
    )
    assert full_plan(backwards, lost) == full_plan(state, lost)


@MANY
@given(small_clusters.snapshots())
def test_the_board_ends_as_the_plan_leaves_the_cluster(given_state: State) -> None:
    state, lost = given_state
    board = board_of(state)
    after = apply_plan(state, plan(state, board, Scope.everything(), timing(lost)), LATER)
    assert {name: board.machines_of(name) for name in board.names()} == places(after)


@settings(max_examples=200, deadline=None)
@given(
    small_clusters.snapshots(),
    small_clusters.units(),
    small_clusters.machines(),
    st.sets(st.sampled_from(small_clusters.NAMES), max_size=2),
    st.sets(st.sampled_from(small_clusters.MACHINES), max_size=2),
)
def test_looking_at_what_changed_finds_what_looking_at_everything_finds(
    given_state: State,
    changed_units: list[Unit],
    changed_machines: list[Machine],
    destroyed: set[str],
    flapping: set[str],
) -> None:
    state, lost = given_state
    board = board_of(state)
    state = apply_plan(state, plan(state, board, Scope.everything(), timing(lost)), LATER)

    units = {**state.units, **{unit.name: unit for unit in changed_units[:2]}}
    for name in destroyed:
        units.pop(UnitName(name), None)
    machines = {**state.machines, **{machine.id: machine for machine in changed_machines[:2]}}
    present = (state.present | {m.id for m in changed_machines[:2]}) ^ (machines.keys() & flapping)
    after = Snapshot(
        revision=2,
        units=units,
        machines=machines,
        present=frozenset(present),
        assignments=state.assignments,
        pending=state.pending,
    )
    lost_now = frozenset(lost - present)
    for machine_id, machine in machines.items():
        board.add_machine(machine)
        board.set_usable(machine_id, machine_id in present)
    touched = {m for m in machines if machines[m] is not state.machines.get(m)}
    scope = Scope(
        units=frozenset(
            n for n in {*units, *state.units} if units.get(n) is not state.units.get(n)
        ),
        machines=frozenset(touched | (present ^ state.present)),
    )
    if scope:
        incremental = plan(after, board, scope, timing(lost_now))
        assert incremental == full_plan(after, lost_now)


@MANY
@given(small_clusters.snapshots())
def test_each_action_is_one_that_its_reader_can_follow(given_state: State) -> None:
    """Unplace from where it is, Update where it stays, Place where it is not; each with a reason."""
    state, lost = given_state
    where = places(state)
    for action in full_plan(state, lost):
        if isinstance(action, Place | Unplace | Update):
            is_there = action.machine in where.get(action.unit, [])
            assert is_there is not isinstance(action, Place)
            assert action.reason
        if isinstance(action, Wait):
            assert action.explanation.summary
