"""The engine's planner: snapshot in, actions out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from argosy.engine.planner import Scope, Timing, apply_plan, plan
from argosy.model.actions import EngineAction, Place, Settle, Unplace, Update, Wait
from argosy.model.ids import MachineId, UnitName
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState
from argosy.scheduler.board import Board
from argosy.testing.builders import EPOCH, machine, snapshot, unit

LATER = EPOCH + timedelta(hours=1)


def planned(state: Snapshot, *, lost: tuple[str, ...] = ()) -> list[EngineAction]:
    board = Board.of(state, frozenset(state.present & state.machines.keys()))
    silent = dict.fromkeys(map(MachineId, lost), timedelta(minutes=1))
    return plan(state, board, Scope.everything(), Timing(silent=silent))


def moves(actions: list[EngineAction]) -> set[tuple[str, str, str]]:
    return {
        (type(action).__name__, action.unit, action.machine)
        for action in actions
        if isinstance(action, Place | Unplace | Update)
    }


def test_a_launched_unit_is_placed_on_the_machine_with_fewest_units() -> None:
    state = snapshot(
        machine("m1"), machine("m2"), unit("a.service"), unit("b.service"), on={"m1": ["a.service"]}
    )
    assert planned(state) == [
        Place(
            unit=UnitName("b.service"),
            machine=MachineId("m2"),
            reason="fewest units (0) of 2 machines that fit",
        )
    ]


def test_a_unit_that_nobody_wants_active_is_taken_away() -> None:
    idle = unit("a.service", desired=DesiredState.INACTIVE)
    state = snapshot(machine("m1"), idle, on={"m1": ["a.service", "deleted.service"]})
    assert moves(planned(state)) == {
        ("Unplace", "a.service", "m1"),
        ("Unplace", "deleted.service", "m1"),
    }


def test_absence_is_never_a_command() -> None:
    state = snapshot(
        machine("m1"),
        machine("m2"),
        unit("a.service"),
        on={"m1": ["a.service"], "m2": []},
        absent="m1",
    )
    assert planned(state) == []


def test_units_of_a_lost_machine_run_elsewhere() -> None:
    state = snapshot(
        machine("m1"), machine("m2"), unit("a.service"), on={"m1": ["a.service"]}, absent="m1"
    )
    assert moves(planned(state, lost=("m1",))) == {
        ("Unplace", "a.service", "m1"),
        ("Place", "a.service", "m2"),
    }


def test_a_unit_that_no_other_machine_can_have_stays_on_its_lost_machine_with_an_explanation() -> (
    None
):
    pinned = unit("a.service", metadata="disk=ssd")
    state = snapshot(
        machine("m1", metadata={"disk": "ssd"}),
        machine("m2"),
        pinned,
        on={"m1": ["a.service"], "m2": []},
        absent="m1",
    )
    actions = planned(state, lost=("m1",))
    assert [type(action) for action in actions] == [Wait]
    waiting = apply_plan(state, actions, EPOCH)
    assert waiting.assignments == state.assignments
    assert planned(waiting, lost=("m1",)) == []
    assert planned(waiting) == [Settle(unit=pinned.name)]


def test_what_a_person_changed_reaches_the_machine_as_an_update() -> None:
    state = snapshot(machine("m1"), unit("a.service"), on={"m1": ["a.service"]})
    changed = unit("a.service", text="new", desired=DesiredState.LOADED, generation=1)
    after = replace(state, units={changed.name: changed})
    actions = planned(after)
    assert actions == [
        Update(
            unit=changed.name,
            machine=MachineId("m1"),
            reason="its text changed, it is to be loaded, a new start was asked for",
        )
    ]
    (assigned,) = apply_plan(after, actions, LATER).assignments[MachineId("m1")].units
    assert (assigned.digest, assigned.desired, assigned.generation) == (
        changed.digest,
        DesiredState.LOADED,
        1,
    )
    assert (assigned.reason, assigned.placed_at) == ("the test says so", EPOCH)


def test_changed_variables_are_an_update_too() -> None:
    state = snapshot(machine("m1"), unit("a.service"), on={"m1": ["a.service"]})
    changed = unit("a.service", variables={"COLOUR": "blue"})
    after = replace(state, units={changed.name: changed})
    (update,) = planned(after)
    assert isinstance(update, Update)
    assert update.reason == "its variables changed"
    (assigned,) = apply_plan(after, [update], LATER).assignments[MachineId("m1")].units
    assert assigned.variables == {"COLOUR": "blue"}


def test_a_unit_leaves_a_machine_whose_metadata_changed() -> None:
    state = snapshot(
        machine("m1", metadata={"zone": "b"}),
        machine("m2", metadata={"zone": "a"}),
        unit("a.service", metadata="zone=a"),
        on={"m1": ["a.service"]},
    )
    actions = planned(state)
    assert moves(actions) == {("Unplace", "a.service", "m1"), ("Place", "a.service", "m2")}
    assert isinstance(actions[0], Unplace)
    assert actions[0].reason == "MachineMetadata: needs zone=a, has zone=b"


def test_followers_move_with_what_they_follow() -> None:
    state = snapshot(
        machine("m1"),
        machine("m2", metadata={"zone": "a"}),
        unit("app.service", metadata="zone=a"),
        unit("log.service", machine_of="app.service"),
        on={"m1": ["app.service", "log.service"]},
    )
    assert moves(planned(state)) == {
        ("Unplace", "app.service", "m1"),
        ("Unplace", "log.service", "m1"),
        ("Place", "app.service", "m2"),
        ("Place", "log.service", "m2"),
    }


def test_a_follower_of_a_unit_that_was_stopped_for_good_waits_for_it() -> None:
    state = snapshot(
        machine("m1"),
        unit("app.service", desired=DesiredState.INACTIVE),
        unit("log.service", machine_of="app.service"),
        on={"m1": ["app.service", "log.service"]},
    )
    actions = planned(state)
    assert [type(action) for action in actions] == [Unplace, Unplace, Wait]


def test_of_two_in_each_others_way_the_one_whose_text_changed_leaves() -> None:
    state = snapshot(
        machine("m1"),
        machine("m2"),
        unit("a.service"),
        unit("b.service"),
        on={"m1": ["a.service", "b.service"]},
    )
    for name in ("a.service", "b.service"):
        changed = unit(name, conflicts="*")
        after = replace(state, units={**state.units, changed.name: changed})
        assert moves(planned(after)) == {("Unplace", name, "m1"), ("Place", name, "m2")}


def test_a_unit_that_is_replaced_does_not_stay_against_another_rule() -> None:
    state = snapshot(
        machine("m1"),
        unit("a@1.service", max_per_machine=1),
        unit("a@2.service"),
        unit("a@3.service", replaces="a@*.service"),
        on={"m1": ["a@1.service", "a@2.service", "a@3.service"]},
    )
    after = apply_plan(state, planned(state), LATER)
    there = [one.name for one in after.assignments[MachineId("m1")].units]
    assert there == ["a@2.service", "a@3.service"]
    assert planned(after) == []


def test_the_units_of_a_machine_that_was_removed_run_elsewhere() -> None:
    state = snapshot(machine("m2"), unit("a.service"), on={"m1": ["a.service"]})
    actions = planned(state)
    assert moves(actions) == {("Unplace", "a.service", "m1"), ("Place", "a.service", "m2")}
    assert apply_plan(state, actions, LATER).assignments[MachineId("m1")].units == ()


def test_a_unit_that_is_global_no_more_keeps_one_machine_that_is_there() -> None:
    state = snapshot(
        machine("m1"),
        machine("m2"),
        unit("a.service"),
        on={"m1": ["a.service"], "m2": ["a.service"]},
        absent="m1",
    )
    assert moves(planned(state)) == {("Unplace", "a.service", "m1")}


def test_a_global_unit_stays_on_a_lost_machine_because_it_has_no_other_place() -> None:
    state = snapshot(
        machine("m1"), unit("log.service", is_global=True), on={"m1": ["log.service"]}, absent="m1"
    )
    assert planned(state, lost=("m1",)) == []


def test_an_explanation_is_written_when_it_changes_and_keeps_since_when_the_unit_waits() -> None:
    waiting = unit("a.service", metadata="disk=ssd")
    state = snapshot(machine("m1"), waiting)
    first = apply_plan(state, planned(state), EPOCH)
    assert planned(first) == []
    m2 = machine("m2")
    joined = replace(first, machines={**first.machines, m2.id: m2}, present=first.present | {m2.id})
    second = apply_plan(joined, planned(joined), LATER)
    assert second.pending[waiting.name].refusals[0].count == 2
    assert second.pending[waiting.name].since == EPOCH


def test_a_unit_that_waited_is_placed_when_there_is_room_and_its_explanation_goes() -> None:
    blocked, blocker = unit("b.service", conflicts="a*"), unit("a.service")
    state = snapshot(machine("m1"), blocked, blocker, on={"m1": ["a.service"]})
    waiting = apply_plan(state, planned(state), EPOCH)
    stopped = unit("a.service", desired=DesiredState.INACTIVE)
    after = replace(waiting, units={**state.units, stopped.name: stopped})
    board = Board.of(after, frozenset(after.present))
    actions = plan(after, board, Scope(units=frozenset({stopped.name})))
    assert [type(action) for action in actions] == [Unplace, Place, Settle]
    assert apply_plan(after, actions, LATER).pending == {}


def test_the_assignments_of_machines_that_a_plan_does_not_name_are_the_same_records() -> None:
    state = snapshot(
        machine("m1"), machine("m2"), unit("a.service"), unit("b.service"), on={"m1": ["a.service"]}
    )
    after = apply_plan(state, planned(state), LATER)
    assert after.assignments[MachineId("m1")] is state.assignments[MachineId("m1")]


def test_scopes_add_up() -> None:
    one = Scope(units=frozenset({UnitName("a.service")}))
    other = Scope(machines=frozenset({MachineId("m1")}))
    assert one | other == Scope(units=one.units, machines=other.machines)
    assert not Scope.nothing()
    assert one | Scope.nothing()
    assert (one | Scope.everything()).is_everything
