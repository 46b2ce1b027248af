"""Which of the machines that fit: fleet's rule, spreading, followers, and making way."""

from __future__ import annotations

from argosy.model.ids import MachineId, UnitName
from argosy.scheduler.decisions import Displaced, Placed, Refused
from argosy.scheduler.scheduler import place
from argosy.testing.builders import machine, unit
from unit.scheduler.boards import board, placed, placement, refusal, where

M1, M2, M3 = machine("m1"), machine("m2"), machine("m3")


def test_the_machine_with_fewest_units_and_of_these_the_smallest_id() -> None:
    on = board(M3, M2, M1, on={"m1": [unit("a.service")]})
    assert placement(on, unit("b.service")) == Placed(
        UnitName("b.service"), MachineId("m2"), "fewest units (0) of 3 machines that fit"
    )


def test_global_units_are_everywhere_and_count_as_load() -> None:
    on = board(M1, machine("m2", metadata={"role": "db"}))
    units = [unit("log.service", is_global=True, metadata="role=db"), unit("web.service")]
    assert placed(on, *units) == {"log.service": "m2", "web.service": "m1"}


def test_a_global_unit_comes_to_machines_that_lack_it() -> None:
    log = unit("log.service", is_global=True)
    on = board(M1, M2, on={"m1": [log]})
    assert placement(on, log).machine == "m2"
    assert place(on, [log]) == []


def test_of_two_conflicting_global_units_the_one_that_runs_stays() -> None:
    old = unit("z.service", is_global=True)
    on = board(M1, M2, on={"m1": [old], "m2": [old]})
    assert (
        "conflicts"
        in refusal(on, unit("a.service", is_global=True, conflicts="z*")).explanation.summary
    )


def test_siblings_are_spread_evenly_over_zones_before_load_counts() -> None:
    on = board(
        machine("m1", metadata={"zone": "a"}),
        machine("m2", metadata={"zone": "a"}),
        machine("m3", metadata={"zone": "b"}),
        on={"m3": [unit(f"busy{n}.service") for n in range(5)]},
    )
    units = [unit(f"web@{n}.service", spread="zone") for n in range(4)]
    assert placed(on, *units) == {
        "web@0.service": "m1",
        "web@1.service": "m3",
        "web@2.service": "m2",
        "web@3.service": "m3",
    }


def test_spreading_is_a_wish_and_never_leaves_a_unit_without_a_machine() -> None:
    on = board(machine("m1", metadata={"zone": "a"}), machine("m2", metadata={"zone": "b"}))
    units = [unit(f"web@{n}.service", spread="zone", metadata="zone=a") for n in range(3)]
    assert set(placed(on, *units).values()) == {"m1"}


def test_a_follower_is_placed_with_what_it_follows_in_whatever_order_they_came() -> None:
    pair = [unit("a.service", machine_of="z.service"), unit("z.service")]
    on = board(M1, M2, on={"m1": [unit("busy.service")]})
    assert placed(on, *pair) == {"a.service": "m2", "z.service": "m2"}


def test_a_chain_goes_where_all_of_it_fits() -> None:
    chain = [
        unit("app.service"),
        unit("log.service", machine_of="app.service", metadata="disk=ssd"),
        unit("ship.service", machine_of="log.service", memory="1G"),
    ]
    on = board(
        M1,
        machine("m2", metadata={"disk": "ssd"}),
        machine("m3", memory="2G", metadata={"disk": "ssd"}),
    )
    assert set(placed(on, *chain).values()) == {"m3"}


def test_a_target_runs_even_where_its_follower_cannot() -> None:
    on = board(M1)
    pair = [unit("app.service"), unit("log.service", machine_of="app.service", metadata="disk=ssd")]
    assert placed(on, *pair) == {"app.service": "m1"}


def test_a_unit_that_follows_two_brings_them_together() -> None:
    on = board(M1, M2)
    units = [
        unit("one.service"),
        unit("two.service"),
        unit("both.service", machine_of=["one.service", "two.service"]),
    ]
    assert len(set(placed(on, *units).values())) == 1


def test_units_that_follow_each_other_are_told_that_they_never_run() -> None:
    pair = [unit("a.service", machine_of="b.service"), unit("b.service", machine_of="a.service")]
    explanations = [d.explanation for d in place(board(M1), pair) if isinstance(d, Refused)]
    never = "can never be placed: MachineOf goes round in a circle,"
    assert [one.summary for one in explanations] == [
        f"a.service {never} a.service follows b.service follows a.service",
        f"b.service {never} b.service follows a.service follows b.service",
    ]
    assert explanations[0].remedy == "remove MachineOf=b.service from a.service"


def test_what_is_replaced_moves_to_the_least_loaded_other_machine_that_fits_it() -> None:
    old = unit("old.service", metadata="zone=a")
    zone = {"zone": "a"}
    on = board(
        machine("m1", metadata=zone),
        machine("m2", metadata={"zone": "b"}),
        machine("m3", metadata=zone),
        on={"m1": [old], "m3": [unit("busy.service")]},
    )
    new = unit("new.service", replaces="old.service", machine_id="m1")
    decision = placement(on, new)
    assert decision.displaced == (
        Displaced(old.name, MachineId("m1"), MachineId("m3"), "makes way for new.service"),
    )
    assert (where(on, "old.service"), where(on, "new.service")) == (["m3"], ["m1"])


def test_nothing_is_taken_down_to_make_way_if_it_has_no_other_place() -> None:
    on = board(M1, on={"m1": [unit("old.service")]})
    explanation = refusal(on, unit("new.service", replaces="old*")).explanation
    assert explanation.refusals[0].rule == "Replaces"
    assert where(on, "old.service") == ["m1"]


def test_followers_of_what_makes_way_come_along() -> None:
    old, tail = unit("old.service"), unit("tail.service", machine_of="old.service")
    on = board(M1, M2, on={"m1": [old, tail]})
    place(on, [unit("new.service", replaces="old*", machine_id="m1")])
    assert (where(on, "old.service"), where(on, "tail.service")) == (["m2"], ["m2"])


def test_a_unit_does_not_come_to_a_machine_that_it_would_have_to_leave_again() -> None:
    on = board(M1, M2, on={"m1": [unit("new.service", replaces="old*")], "m2": [unit("a.service")]})
    assert placement(on, unit("old.service")).machine == "m2"


def test_two_that_replace_each_other_do_not_care() -> None:
    pair = [unit("a.service", replaces="b*"), unit("b.service", replaces="a*")]
    assert placed(board(M1), *pair) == {"a.service": "m1", "b.service": "m1"}


def test_room_left_by_a_unit_that_made_way_is_used_at_once() -> None:
    old = unit("old.service", ports=80)
    on = board(M1, M2, on={"m1": [old]})
    units = [
        unit("new.service", replaces="old*", metadata="zone!=x", conflicts=(), machine_id=None),
        unit("fixed.service", ports=80, machine_id="m1"),
    ]
    on.put(unit("busy.service"), MachineId("m2"))
    assert placed(on, *units) == {"new.service": "m1", "fixed.service": "m1"}
    assert where(on, "old.service") == ["m2"]
