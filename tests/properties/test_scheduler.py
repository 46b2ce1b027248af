"""What holds for every placement, on random small clusters and against the simplest scheduler that is right."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.unit import DesiredState, Unit
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Placed, Refused
from argosy.scheduler.scheduler import place
from argosy.testing.builders import machine, unit
from properties import reference_scheduler, small_clusters

WANTED = [DesiredState.LAUNCHED]
MANY = settings(max_examples=150, deadline=None)


def board_of(machines: list[Machine]) -> Board:
    board = Board()
    for one in machines:
        board.add_machine(one)
        board.set_usable(one.id, True)
    return board


def where(board: Board, units: list[Unit]) -> dict[UnitName, list[MachineId]]:
    return {unit.name: board.machines_of(unit.name) for unit in units}


def cluster_on(board: Board, machines: list[Machine]) -> reference_scheduler.Cluster:
    return {one.id: dict(board.units_on(one.id)) for one in machines}


@MANY
@given(
    small_clusters.machines(),
    small_clusters.units(may_follow=False, may_replace=False, desired=WANTED),
    small_clusters.units(may_follow=False, may_replace=False, desired=WANTED),
)
def test_placements_are_those_of_the_simplest_scheduler(
    machines: list[Machine], first: list[Unit], second: list[Unit]
) -> None:
    board = board_of(machines)
    records = {one.id: one for one in machines}
    cluster: reference_scheduler.Cluster = {one.id: {} for one in machines}
    second = [one for one in second if one.name not in {other.name for other in first}]
    for batch in (first, second):
        place(board, batch)
        expected = reference_scheduler.place_one_by_one(records, records, cluster, batch)
        assert where(board, batch) == expected


@MANY
@given(small_clusters.machines(), small_clusters.units(desired=WANTED))
def test_every_placement_satisfies_every_rule_and_every_refusal_is_true(
    machines: list[Machine], units: list[Unit]
) -> None:
    board = board_of(machines)
    decisions = place(board, units)
    cluster = cluster_on(board, machines)
    records = {one.id: one for one in machines}
    for machine_id, there in cluster.items():
        for one in there.values():
            assert reference_scheduler.may_have(records[machine_id], one, cluster)
    by_name = {one.name: one for one in units}
    refused = [by_name[d.unit] for d in decisions if isinstance(d, Refused)]
    assert {one.name for one in refused} == {u.name for u in units if not board.has(u.name)}
    for one in refused:
        for candidate in machines:
            if one.requirements.replaces:
                continue
            assert not reference_scheduler.may_have(candidate, one, cluster)


@MANY
@given(small_clusters.machines(), small_clusters.units(desired=WANTED))
def test_the_order_of_arrival_does_not_matter(machines: list[Machine], units: list[Unit]) -> None:
    board = board_of(machines)
    decisions = place(board, units)
    shuffled = board_of(machines[::-1])
    assert place(shuffled, units[::-1]) == decisions


@MANY
@given(small_clusters.machines(), small_clusters.units(desired=WANTED))
def test_a_board_is_the_same_after_units_and_machines_came_and_went(
    machines: list[Machine], units: list[Unit]
) -> None:
    board = board_of([*machines, machine("m0", metadata={"zone": "a"}, memory=4096, cpu=4)])
    place(board, units)
    for one in units:
        for machine_id in board.machines_of(one.name):
            board.take(one.name, machine_id)
    board.remove_machine(MachineId("m0"))
    assert board.machines() == sorted(one.id for one in machines)
    assert place(board, units) == place(board_of(machines), units)


@MANY
@given(st.integers(1, 40), st.integers(0, 200))
def test_unconstrained_units_are_spread_to_within_one(count: int, wanted: int) -> None:
    board = board_of([machine(f"m{number:02}") for number in range(count)])
    place(board, [unit(f"web@{number}.service") for number in range(wanted)])
    loads = [len(board.units_on(machine_id)) for machine_id in board.machines()]
    assert max(loads) - min(loads) <= 1


@MANY
@given(small_clusters.machines(), small_clusters.units(desired=WANTED))
def test_an_explanation_counts_every_machine_once(
    machines: list[Machine], units: list[Unit]
) -> None:
    board = board_of(machines)
    for decision in place(board, units):
        if isinstance(decision, Refused) and decision.explanation.refusals:
            counted = Counter[MachineId]()
            for refusal in decision.explanation.refusals:
                assert refusal.count == len(refusal.machines)
                counted.update(refusal.machines)
            assert counted == Counter(one.id for one in machines)


@MANY
@given(small_clusters.machines(), small_clusters.units(desired=WANTED))
def test_each_unit_is_decided_once(machines: list[Machine], units: list[Unit]) -> None:
    decisions = place(board_of(machines), units)
    seen = Counter((type(d), d.unit, d.machine if isinstance(d, Placed) else "") for d in decisions)
    assert all(count == 1 for count in seen.values())
    assert {decision.unit for decision in decisions} == {one.name for one in units}
