"""The engine's planner: snapshot in, actions out."""

from __future__ import annotations

from argosy.engine.planner import Scope, apply_plan, plan
from argosy.model.actions import EngineAction, Place, Settle, Unplace, Update, Wait
from argosy.model.ids import MachineId, UnitName
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState
from argosy.scheduler.board import Board
from argosy.testing.builders import EPOCH, machine, snapshot, unit


def planned(state: Snapshot, *, lost: tuple[str, ...] = ()) -> list[EngineAction]:
    board = Board.of(state, frozenset(state.present & state.machines.keys()))
    return plan(state, board, Scope.everything(), lost=frozenset(map(MachineId, lost)))


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
        machine("m1"), machine("m2"), unit("a.service"), on={"m1": ["a.service"]}, absent="m1"
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
        on={"m1": ["a.service"]},
        absent="m1",
    )
    actions = planned(state, lost=("m1",))
    assert [type(action) for action in actions] == [Wait]
    waiting = apply_plan(state, actions, EPOCH)
    assert waiting.assignments == state.assignments
    assert planned(waiting, lost=("m1",)) == []
    assert planned(waiting) == [Settle(unit=pinned.name)]
