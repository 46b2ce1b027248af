"""Refusals in words for people, with a change that would help and was tried out."""

from __future__ import annotations

import pytest

from argosy.model.explanation import SHOWN
from argosy.model.ids import MachineId
from argosy.model.machine import Machine
from argosy.model.unit import Unit
from argosy.scheduler.board import Board
from argosy.scheduler.scheduler import place
from argosy.testing.builders import machine, unit
from unit.scheduler.boards import board, refusal

SSD, HDD = {"disk": "ssd"}, {"disk": "hdd"}


def test_each_machine_is_told_under_the_first_rule_that_refuses_it() -> None:
    on = board(
        machine("m1", metadata=HDD),
        machine("m2", metadata=HDD),
        machine("m3", metadata=SSD),
        on={"m3": [unit("other.service", ports=5432)]},
    )
    explanation = refusal(on, unit("db.service", metadata="disk=ssd", ports=5432)).explanation
    assert explanation.summary == (
        "no machine of 3 can run db.service: 2 lack disk=ssd, 1 has no port 5432 free"
    )
    assert [(one.rule, one.detail, one.machines) for one in explanation.refusals] == [
        ("MachineMetadata", "needs disk=ssd, has disk=hdd", ("m1", "m2")),
        ("Port", "port 5432 is taken by other.service", ("m3",)),
    ]
    assert explanation.remedy == "add metadata disk=ssd to machine m1 (m1)"


def test_a_cluster_without_machines_says_so() -> None:
    explanation = refusal(board(), unit("a.service")).explanation
    assert explanation.refusals == ()
    assert explanation.summary == "no machine can run a.service: the cluster has none"


def test_thousands_of_machines_do_not_make_a_record_of_thousands() -> None:
    on = board(*(machine(f"m{n:04}", metadata={"rack": f"r{n}"}) for n in range(3000)))
    explanation = refusal(on, unit("a.service", metadata="rack=none")).explanation
    (only,) = explanation.refusals
    assert (only.count, len(only.machines)) == (3000, SHOWN)
    assert only.detail == "needs rack=none, has rack=r0, r1, r10 and others"


CASES = [
    pytest.param(
        board(machine("m1", metadata={"disk": "hdd", "old": "yes"})),
        unit("a.service", metadata=["disk=ssd", "old!=yes"]),
        "add metadata disk=ssd to and remove metadata old from machine m1 (m1)",
        id="metadata",
    ),
    pytest.param(
        board(machine("m1", metadata={"cores": "4"})),
        unit("a.service", metadata="cores>8"),
        "add metadata cores=9 to machine m1 (m1)",
        id="the smallest number that is greater",
    ),
    pytest.param(
        board(machine("m1"), absent=["m1"]),
        unit("a.service"),
        "bring back machine m1 (m1)",
        id="absent",
    ),
    pytest.param(
        board(
            machine("m1", memory="1G"),
            machine("m2", memory="1G"),
            on={
                "m1": [unit("x.service", memory="900M")],
                "m2": [unit("y.service", memory="600M")],
            },
        ),
        unit("a.service", memory="512M"),
        "free 88M on machine m2 (m2)",
        id="the machine with most memory left",
    ),
    pytest.param(
        board(machine("m1", cpu=1), on={"m1": [unit("x.service", cpu=0.75)]}),
        unit("a.service", cpu=0.5),
        "free 0.25 cores on machine m1 (m1)",
        id="processors",
    ),
    pytest.param(
        board(machine("m1"), on={"m1": [unit("x.service", ports=80)]}),
        unit("a.service", ports=80),
        "free port 80 on machine m1 (m1) (x.service)",
        id="port",
    ),
    pytest.param(
        board(machine("m1"), on={"m1": [unit("x.service", conflicts="a*")]}),
        unit("a.service"),
        "stop x.service on machine m1 (m1)",
        id="conflict",
    ),
    pytest.param(
        board(machine("m1"), on={"m1": [unit("x.service", replaces="a*")]}),
        unit("a.service"),
        "stop x.service on machine m1 (m1)",
        id="replaced",
    ),
    pytest.param(
        board(machine("m1"), on={"m1": [unit("web@1.service")]}),
        unit("web@2.service", max_per_machine=1),
        "add a machine, or raise MaxPerMachine of web@ to 2",
        id="too many of a service",
    ),
    pytest.param(
        board(machine("m1")),
        unit("a.service", machine_of="b.service"),
        "have b.service placed first",
        id="what it follows is nowhere",
    ),
    pytest.param(
        board(machine("m1", metadata=HDD), on={"m1": [unit("x.service", ports=80)]}),
        unit("a.service", metadata="disk=ssd", ports=80),
        "add metadata disk=ssd to machine m1 (m1) and free port 80 on machine m1 (m1) (x.service)",
        id="two things on one machine",
    ),
    pytest.param(
        board(machine("m1", memory="1G")),
        unit("a.service", memory="2G"),
        "",
        id="nothing helps a unit that is larger than every machine",
    ),
    pytest.param(
        board(machine("m1")), unit("a.service", machine_id="m9"), "", id="a machine nobody knows"
    ),
]


@pytest.mark.parametrize(("on", "asking", "remedy"), CASES)
def test_the_remedy_is_the_smallest_change_that_would_help(
    on: Board, asking: Unit, remedy: str
) -> None:
    before = {machine_id: dict(on.units_on(machine_id)) for machine_id in on.machines()}
    assert refusal(on, asking).explanation.remedy == remedy
    assert {machine_id: dict(on.units_on(machine_id)) for machine_id in on.machines()} == before
    assert refusal(on, asking).explanation.remedy == remedy


def test_a_remedy_followed_is_a_unit_placed() -> None:
    on = board(machine("m1", metadata=HDD), machine("m2", metadata=HDD))
    asking = unit("a.service", metadata="disk=ssd")
    assert refusal(on, asking).explanation.remedy == "add metadata disk=ssd to machine m1 (m1)"
    on.add_machine(Machine(id=MachineId("m1"), metadata=SSD))
    assert [decision.unit for decision in place(on, [asking])] == ["a.service"]
    assert on.machines_of(asking.name) == ["m1"]
