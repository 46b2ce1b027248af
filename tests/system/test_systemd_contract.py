"""The systemd runtime keeps the contract of runtimes: `tests/contract/test_runtime.py` runs in a machine, on both managers.

The tests run inside, from this very checkout, because they look at processes and files that only the machine sees.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.runtime_kit import ROOTS_JOURNALCTL
from machines.fixtures import booted, on_machines
from machines.machine import Machine
from machines.root import USER

pytestmark = on_machines

CHECKOUT = Path(__file__).parents[2]
INTERPRETER = Path(sys.base_prefix)
"""What the checkout's virtual environment runs on; a machine has its own in /usr, of the same Debian."""
PYTEST = "-q -n0 -p no:cacheprovider --tb=short tests/contract/test_runtime.py"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    shared = [place for place in (CHECKOUT, INTERPRETER) if place != Path("/usr")]
    with booted(1, argosy=False, shared=shared) as machines:
        [only] = machines
        yield only


async def test_the_manager_of_the_system_keeps_the_contract(machine: Machine) -> None:
    await run_contract(machine, "systemd", user="root")


async def test_the_manager_of_a_user_keeps_the_contract(machine: Machine) -> None:
    await machine.run(["loginctl", "enable-linger", USER])
    # The interpreter may be in root's home.
    await machine.run(["chmod", "o+x", *map(str, (*CHECKOUT.parents, *INTERPRETER.parents))])
    program = f"/usr/local/bin/{ROOTS_JOURNALCTL}"
    await machine.run(["install", "--mode=4755", "/usr/bin/journalctl", program])
    await run_contract(machine, "systemd-user", user=USER)


async def run_contract(machine: Machine, runtime: str, *, user: str) -> None:
    done = await machine.run(
        ["sh", "-c", f"cd {CHECKOUT} && exec .venv/bin/python -m pytest {PYTEST}"],
        user=user,
        env={"ARGOSY_TEST_RUNTIME": runtime, "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=150,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"in the machine:\n{done.stdout}{done.stderr}", pytrace=False)
    assert " passed" in done.stdout
