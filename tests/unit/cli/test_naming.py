"""What words mean."""

from __future__ import annotations

import pytest

from argosy.cli import naming
from argosy.client import MachineView
from argosy.errors import Invalid, NotFound


def machine(machine_id: str, *, address: str = "", hostname: str = "") -> MachineView:
    return {
        "id": machine_id,
        "hostname": hostname,
        "address": address,
        "metadata": {},
        "capacity": {"memory_bytes": 0, "cpu_millis": 0},
        "version": "",
        "registered_at": None,
        "state": "ready",
        "why": "",
        "since": None,
        "scheduling": "open",
        "until": None,
        "units": 0,
    }


MACHINES = [
    machine("113f16a7" + "0" * 24, address="10.0.0.1", hostname="one"),
    machine("113f9999" + "0" * 24, address="10.0.0.2", hostname="two"),
]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("web", "web.service"),
        ("web@1", "web@1.service"),
        ("web.service", "web.service"),
        ("backup.timer", "backup.timer"),
        ("shop.example", "shop.example.service"),
        ("web@*", "web@*"),
        ("./web.service", "web.service"),
    ],
)
def test_a_word_without_a_type_is_a_service(word: str, name: str) -> None:
    assert naming.unit_name(word) == name


def test_a_machine_is_shown_as_fleet_did() -> None:
    assert naming.MachineNames(MACHINES)("113f16a7" + "0" * 24) == "113f16a7.../10.0.0.1"
    assert naming.MachineNames(MACHINES, full=True)("113f16a7" + "0" * 24) == (
        "113f16a7" + "0" * 24 + "/10.0.0.1"
    )


def test_a_machine_that_is_not_known_is_shown_by_its_id_alone() -> None:
    assert naming.MachineNames([])("abcdef" + "0" * 26) == "abcdef00..."


@pytest.mark.parametrize("word", ["113f16", "10.0.0.1", "one", "113f16a7" + "0" * 24])
def test_a_machine_is_meant_by_id_address_or_host(word: str) -> None:
    assert naming.machine_id(MACHINES, word) == "113f16a7" + "0" * 24


def test_a_machine_that_is_not_clear_is_refused() -> None:
    with pytest.raises(Invalid, match="may mean 2 machines: 113f16a7, 113f9999"):
        naming.machine_id(MACHINES, "113f")
    with pytest.raises(NotFound):
        naming.machine_id(MACHINES, "nobody")


def test_a_container_file_holds_a_service() -> None:
    assert naming.unit_name("web.container") == "web.service"
