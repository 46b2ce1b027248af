"""Each rule: whom it lets pass, whom it refuses, and in which words."""

from __future__ import annotations

import pytest

from argosy.model.ids import MachineId
from argosy.model.machine import Machine
from argosy.model.unit import Unit
from argosy.scheduler.filters import violation
from argosy.testing.builders import machine, unit
from unit.scheduler.boards import board, placed, refusal

A = machine("m1", cpu=4, memory="2G", metadata={"zone": "a", "disk": "ssd", "cores": "4"})
B = machine("m2", cpu=2, memory="1G", metadata={"zone": "b", "cores": "16"})
HEX = machine("113f16a7a5e14a3fb0a4d4b1a7d5c0de")


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        pytest.param("zone=a", {"m1"}, id="equal"),
        pytest.param("zone in a,b", {"m1", "m2"}, id="values of one key are alternatives"),
        pytest.param("disk!=hdd", {"m1", "m2"}, id="a machine without the key is not equal"),
        pytest.param("zone!=a", {"m2"}, id="not equal"),
        pytest.param("cores>8", {"m2"}, id="numbers compare as numbers"),
        pytest.param("cores<5", {"m1"}, id="less"),
        pytest.param("zone>a", {"m2"}, id="words compare as words"),
        pytest.param("disk>a", {"m1"}, id="greater needs the key"),
    ],
)
def test_metadata_conditions(condition: str, fits: set[str]) -> None:
    on = board(A, B)
    placed(on, unit("all.service", is_global=True, metadata=condition))
    assert {one for one in ("m1", "m2") if on.units_on(MachineId(one))} == fits


def test_conditions_on_different_keys_must_all_hold() -> None:
    assert placed(board(A, B), unit("a.service", metadata=["zone=a", "cores>8"])) == {}


def test_a_machine_is_asked_for_by_its_id_or_its_first_eight_characters() -> None:
    on = board(A, HEX)
    units = [
        unit("full.service", machine_id=HEX.id),
        unit("short.service", machine_id="113f16a7"),
        unit("shorter.service", machine_id="113f"),
        unit("empty.service", machine_id=""),
    ]
    assert placed(on, *units) == {"full.service": HEX.id, "short.service": HEX.id}


def test_conflicts_hold_in_both_directions() -> None:
    shy = unit("shy.service", conflicts="loud*")
    assert placed(board(A, on={"m1": [shy]}), unit("loud.service")) == {}
    assert placed(board(A, on={"m1": [unit("loud.service")]}), shy) == {}


def test_a_unit_does_not_conflict_with_itself() -> None:
    assert placed(board(A), unit("web.service", conflicts="*")) == {"web.service": "m1"}


def test_a_glob_that_nobody_had_before_finds_the_units_that_are_there() -> None:
    on = board(A, B, on={"m1": [unit("web@1.service"), unit("db.service")]})
    assert placed(on, unit("web@2.service", conflicts="web@*.service")) == {"web@2.service": "m2"}


def test_five_units_that_conflict_leave_two_waiting_on_three_machines() -> None:
    on = board(machine("m1"), machine("m2"), machine("m3"))
    units = [unit(f"c@{n}.service", conflicts="c@*.service") for n in range(5)]
    assert placed(on, *units) == {"c@0.service": "m1", "c@1.service": "m2", "c@2.service": "m3"}


def test_a_port_is_had_by_one_unit_of_a_machine() -> None:
    on = board(A, B)
    units = [unit(f"web@{n}.service", ports=[8080, 9090]) for n in range(3)]
    assert placed(on, *units) == {"web@0.service": "m1", "web@1.service": "m2"}
    assert refusal(on, units[2]).explanation.refusals[0].detail == (
        "port 8080 is taken by web@0.service, web@1.service"
    )


def test_at_most_so_many_units_of_a_service_on_a_machine() -> None:
    on = board(A, on={"m1": [unit("other@1.service")]})
    units = [unit(f"web@{n}.service", max_per_machine=2) for n in range(3)]
    assert placed(on, *units) == {"web@0.service": "m1", "web@1.service": "m1"}


def test_a_sibling_that_asks_for_fewer_is_respected() -> None:
    on = board(A, on={"m1": [unit("web@1.service", max_per_machine=1)]})
    assert placed(on, unit("web@2.service")) == {}


def test_reservations_are_not_promised_twice() -> None:
    on = board(A)
    units = [unit(f"db@{n}.service", memory="800M", cpu=1) for n in range(3)]
    assert placed(on, *units) == {"db@0.service": "m1", "db@1.service": "m1"}


def test_the_last_byte_can_be_reserved_and_not_one_more() -> None:
    assert placed(board(B), unit("a.service", memory=1 << 30)) == {"a.service": "m2"}
    assert placed(board(B), unit("a.service", memory=(1 << 30) + 1)) == {}


def test_large_reservations_go_first() -> None:
    units = [unit("a.service", memory="500M"), unit("z.service", memory="1G")]
    assert placed(board(A, B), *units) == {"z.service": "m1", "a.service": "m2"}


def test_a_machine_that_does_not_say_what_it_has_gets_no_reservation() -> None:
    assert placed(board(HEX), unit("a.service", memory=1)) == {}
    assert placed(board(HEX), unit("a.service", cpu=0.1)) == {}


def test_an_absent_machine_gets_nothing_new() -> None:
    assert placed(board(A, B, absent=["m1"]), unit("a.service", metadata="zone=a")) == {}


@pytest.mark.parametrize(
    ("changed", "there", "now", "rule"),
    [
        pytest.param(
            unit("a.service", metadata="zone=b"), [], A, "MachineMetadata", id="metadata changed"
        ),
        pytest.param(unit("a.service", machine_id="m2"), [], A, "MachineID", id="another machine"),
        pytest.param(unit("a.service", machine_of="b.service"), [], A, "MachineOf", id="peer gone"),
        pytest.param(
            unit("a.service", machine_of="b.service"), [unit("b.service")], A, None, id="peer there"
        ),
        pytest.param(
            unit("a.service"), [unit("b.service", conflicts="a*")], A, "Conflicts", id="conflict"
        ),
        pytest.param(
            unit("a.service", ports=80), [unit("b.service", ports=80)], A, "Port", id="port"
        ),
        pytest.param(
            unit("a.service"), [unit("b.service", replaces="a*")], A, "Replaces", id="replaced"
        ),
        pytest.param(
            unit("a.service", memory="1G"),
            [unit("b.service", memory="1.5G")],
            A,
            "Memory",
            id="full",
        ),
        pytest.param(unit("a.service", cpu=5), [], A, "CPU", id="too few processors"),
        pytest.param(
            unit("a.service", ports=80, memory="2G", cpu=4), [], A, None, id="all its own"
        ),
        pytest.param(
            unit("a.service", memory="1G"), [], machine("m1"), None, id="capacity became unknown"
        ),
    ],
)
def test_a_placed_unit_is_told_when_it_may_not_stay(
    changed: Unit, there: list[Unit], now: Machine, rule: str | None
) -> None:
    on = board(now, on={"m1": [changed, *there]}, absent=["m1"])
    found = violation(on, changed, MachineId("m1"))
    assert (found.rule if found else None) == rule
    assert [one.name for one in there] == sorted(
        on.units_on(MachineId("m1")).keys() - {"a.service"}
    )
