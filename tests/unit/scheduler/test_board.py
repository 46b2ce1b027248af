"""The board's own promises: what is put is found, and what comes and goes leaves no trace."""

from __future__ import annotations

from argosy.model.ids import MachineId, UnitName
from argosy.scheduler.board import Board
from argosy.testing.builders import machine, snapshot, unit
from unit.scheduler.boards import board, placed, where

M1, M2 = machine("m1"), machine("m2")


def test_a_board_of_a_snapshot_has_its_assignments() -> None:
    state = snapshot(M1, M2, unit("a.service"), on={"m1": ["a.service", "destroyed.service"]})
    made = Board.of(state, frozenset({M1.id}))
    assert sorted(made.units_on(M1.id)) == ["a.service", "destroyed.service"]
    assert (made.is_usable(M1.id), made.is_usable(M2.id)) == (True, False)


def test_a_newer_record_takes_the_place_of_the_older() -> None:
    on = board(M1, on={"m1": [unit("a.service", ports=80)]})
    on.put(unit("a.service", ports=81), M1.id)
    assert placed(on, unit("b.service", ports=80)) == {"b.service": "m1"}
    assert placed(on, unit("c.service", ports=81)) == {}


def test_a_unit_on_a_machine_nobody_knows_is_there_and_the_machine_gets_nothing() -> None:
    on = board(M2, on={"m1": [unit("a.service")]})
    on.set_usable(M1.id, True)
    assert where(on, "a.service") == ["m1"]
    assert placed(on, unit("b.service"), unit("c.service")) == {
        "b.service": "m2",
        "c.service": "m2",
    }
    on.add_machine(M1)
    on.set_usable(M1.id, True)
    assert placed(on, unit("d.service")) == {"d.service": "m1"}


def test_a_machine_that_was_removed_goes_with_its_last_unit() -> None:
    on = board(M1, M2, on={"m1": [unit("a.service")]})
    on.remove_machine(M1.id)
    assert on.machines() == ["m1", "m2"]
    on.take(UnitName("a.service"), M1.id)
    assert on.machines() == ["m2"]


def test_machines_that_join_between_others_leave_every_index_right() -> None:
    ports = [unit(f"p{n}.service", ports=n, memory="1G") for n in (1, 2)]
    on = board(machine("m2", memory="4G"), machine("m4", memory="4G"))
    assert placed(on, *ports) == {"p1.service": "m2", "p2.service": "m4"}
    for name in ("m3", "m1", "m5"):
        on.add_machine(machine(name, memory="4G"))
        on.set_usable(MachineId(name), True)
    again = [unit(f"q{n}.service", ports=n, memory="3.5G", machine_id=f"m{2 * n}") for n in (1, 2)]
    assert placed(on, *again) == {}
    on.remove_machine(MachineId("m3"))
    assert placed(on, unit("r.service", memory="4G", ports=2), unit("s.service", memory="4G")) == {
        "r.service": "m1",
        "s.service": "m5",
    }


def test_a_machine_may_be_asked_about_before_it_is_known() -> None:
    empty = Board()
    assert empty.machine(M1.id) is None
    assert dict(empty.units_on(M1.id)) == {}
    assert empty.machines_of(UnitName("a.service")) == []
