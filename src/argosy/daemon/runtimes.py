"""What runs a machine's units: systemd where it runs the host, else plain processes; for `argosy up`, as the user chose."""

from __future__ import annotations

import os
from pathlib import Path

from argosy.errors import Invalid, RuntimeRefused
from argosy.runtime.base import Runtime
from argosy.runtime.process.runtime import ProcessRuntime
from argosy.runtime.systemd.place import Place, system_manager, user_manager
from argosy.runtime.systemd.runtime import SystemdRuntime
from argosy.settings import RuntimeKind

SYSTEMD_RUNS = Path("/run/systemd/system")
"""There when systemd is the host's service manager (sd_booted(3))."""


def chosen(kind: RuntimeKind) -> RuntimeKind:
    """`auto` as what it means on this host."""
    if kind is not RuntimeKind.AUTO:
        return kind
    return RuntimeKind.SYSTEMD if SYSTEMD_RUNS.is_dir() else RuntimeKind.PROCESS


async def open_runtime(kind: RuntimeKind, directory: Path) -> Runtime:
    """A machine's. directory: the agent's. Raises RuntimeRefused."""
    runtime: SystemdRuntime | ProcessRuntime
    if chosen(kind) is RuntimeKind.SYSTEMD:
        runtime = SystemdRuntime(system_manager(), owner=str(directory))
    else:
        runtime = ProcessRuntime(directory / "runtime")
    await runtime.open()
    return runtime


async def open_runtime_of_user(kind: RuntimeKind, directory: Path) -> Runtime:
    """That of `argosy up`: plain processes, or this user's own systemd.

    directory: the daemon's. Raises RuntimeRefused when there is no such systemd, and Invalid when units of the directory
    run the other way: they would be started a second time.
    """
    processes = ProcessRuntime(directory / "runtime")
    place = _place_of_user()
    systemd = SystemdRuntime(place, owner=str(directory)) if place is not None else None
    if kind is not RuntimeKind.SYSTEMD:
        if systemd is not None and systemd.are_units_installed():
            raise _in_use(directory, "systemd", "--runtime process")
        await processes.open()
        return processes
    if systemd is None:
        raise RuntimeRefused(
            "this user has no systemd of their own: there is no bus in $XDG_RUNTIME_DIR",
            hint="log in as the user rather than by su or sudo, or once as root: "
            f"loginctl enable-linger {os.geteuid()}; or leave --runtime out",
        )
    await _refuse_processes(processes, directory)
    await systemd.open()
    return systemd


def _place_of_user() -> Place | None:
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return user_manager(Path(directory), Path.home())


async def _refuse_processes(processes: ProcessRuntime, directory: Path) -> None:
    if not (directory / "runtime").exists():
        return
    await processes.open()
    try:
        if processes.statuses():
            raise _in_use(directory, "plain processes", "--runtime systemd")
    finally:
        await processes.close()


def _in_use(directory: Path, present: str, wanted: str) -> Invalid:
    word = "systemd" if present == "systemd" else "process"
    return Invalid(
        f"units of {directory} are run by {present} still, left by a daemon that died",
        hint=f"argosy up --runtime {word}, argosy down, then again with {wanted}",
    )
