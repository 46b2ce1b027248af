"""`argosy up --runtime systemd`: the user's own systemd runs the units, and the daemon may come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from machines.fixtures import machine, on_machines
from machines.machine import Machine
from machines.root import USER

__all__ = ["machine"]
pytestmark = on_machines

APP = f"/home/{USER}/shop"
WEB = """[Service]
Environment=GREETING=hello
ExecStart=/bin/sh -c 'echo "$GREETING from $ARGOSY_APP_DIR"; exec sleep 1000'
"""
STAMP = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo stamped\n"
TICK = "[Timer]\nOnActiveSec=100ms\nAccuracySec=10ms\nUnit=stamp.service\n"


@pytest.fixture
async def lingering(machine: Machine) -> AsyncIterator[Machine]:
    """The machine with a systemd of the user, and an app in the user's home."""
    await machine.run(["loginctl", "enable-linger", USER])
    for name, text in (("web.service", WEB), ("tick.timer", TICK), ("stamp.service", STAMP)):
        await machine.put_file(f"{APP}/{name}", text)
    yield machine
    await argosy(machine, "down", check=False)


async def argosy(machine: Machine, *words: str, check: bool = True) -> str:
    """What a command of the user prints, errors included."""
    done = await machine.run(["argosy", *words], user=USER, check=check)
    return done.stdout + done.stderr


async def systemctl(machine: Machine, *words: str) -> str:
    done = await machine.run(["systemctl", "--user", *words], user=USER, check=False)
    return done.stdout.strip()


async def test_the_users_systemd_runs_the_units(lingering: Machine) -> None:
    await argosy(lingering, "up", "--detach", "--runtime", "systemd", APP)
    names = ["web.service", "tick.timer", "stamp.service"]
    assert await systemctl(lingering, "is-active", *names) == "active\nactive\nactive"
    fragment = await systemctl(lingering, "show", "--property=FragmentPath", "web.service")
    assert fragment == "FragmentPath=/run/user/1000/systemd/user/web.service"
    assert f"hello from {APP}" in await argosy(lingering, "logs", "web.service")
    assert "stamped" in await argosy(lingering, "logs", "stamp.service")
    await argosy(lingering, "down")
    assert await systemctl(lingering, "list-units", "--all", "--no-legend", *names) == ""
    assert await systemctl(lingering, "list-unit-files", "--no-legend", *names) == ""


async def test_a_daemon_that_was_killed_finds_its_units_again_and_no_other_way_is_taken(
    lingering: Machine,
) -> None:
    up = ("up", "--detach", "--runtime", "systemd", APP)
    await argosy(lingering, *up)
    invocation = ("show", "--property=InvocationID,MainPID", "web.service")
    before = await systemctl(lingering, *invocation)
    await lingering.run(["pkill", "-KILL", "-f", "argosy.daemon"])
    said = await argosy(lingering, "up", "--detach", APP, check=False)
    assert "run by systemd still" in said and "argosy up --runtime systemd" in said
    await argosy(lingering, *up)
    assert await systemctl(lingering, *invocation) == before
    said = await argosy(lingering, *up, check=False)
    assert "what runs its units was decided when it started" in said
    await argosy(lingering, "down")
    # What was refused is taken once nothing is left of the other way; the timer is refused by plain processes.
    await argosy(lingering, "up", "--detach", APP, check=False)
    assert "running" in await argosy(lingering, "status", "web.service")
    assert await systemctl(lingering, "is-active", "web.service") == "inactive"


async def test_a_user_without_systemd_is_told_what_to_do(machine: Machine) -> None:
    await machine.put_file("/root/shop/web.service", WEB)
    done = await machine.run(["argosy", "up", "--runtime", "systemd", "/root/shop"], check=False)
    assert done.returncode != 0
    assert "no systemd of their own" in done.stderr and "enable-linger" in done.stderr
    assert "Traceback" not in done.stderr
