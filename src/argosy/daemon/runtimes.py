"""What runs a machine's units: systemd where it runs the host, else plain processes."""

from __future__ import annotations

from pathlib import Path

from argosy.runtime.base import Runtime
from argosy.runtime.process.runtime import ProcessRuntime
from argosy.runtime.systemd.runtime import SystemdRuntime, system_manager
from argosy.settings import RuntimeKind

SYSTEMD_RUNS = Path("/run/systemd/system")
"""There when systemd is the host's service manager (sd_booted(3))."""


def chosen(kind: RuntimeKind) -> RuntimeKind:
    """`auto` as what it means on this host."""
    if kind is not RuntimeKind.AUTO:
        return kind
    return RuntimeKind.SYSTEMD if SYSTEMD_RUNS.is_dir() else RuntimeKind.PROCESS


async def open_runtime(kind: RuntimeKind, directory: Path) -> Runtime:
    """directory: the agent's. Raises RuntimeRefused."""
    runtime: SystemdRuntime | ProcessRuntime
    if chosen(kind) is RuntimeKind.SYSTEMD:
        runtime = SystemdRuntime(system_manager())
    else:
        runtime = ProcessRuntime(directory / "runtime")
    await runtime.open()
    return runtime
