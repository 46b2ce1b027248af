"""How far the services that Argosy installs could reach, by systemd's own judgement, is not more than the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argosy.daemon import units
from machines.fixtures import machine, on_machines
from machines.machine import Machine

__all__ = ["machine"]
pytestmark = on_machines

PAGE = Path(__file__).parents[2] / "docs/operations-cluster.md"
UNITS = Path(units.__path__[0])


@pytest.mark.parametrize("name", ["argosy-agent.service", "argosy-server.service"])
async def test_a_service_is_no_more_exposed_than_shown(machine: Machine, name: str) -> None:
    shown = re.search(rf"^\| `{name}` \| ([0-9.]+) ", PAGE.read_text(), re.MULTILINE)
    assert shown is not None, f"{PAGE.name} does not show {name}"
    await machine.put_file(f"/etc/systemd/system/{name}", (UNITS / name).read_text())
    judged = await machine.run(["systemd-analyze", "security", "--no-pager", name])
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert found is not None, judged.stdout
    assert float(found[1]) <= float(shown[1])
