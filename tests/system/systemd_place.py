"""The systemd of a test's machine as a place for the runtime, which runs on the host."""

from __future__ import annotations

from pathlib import Path

from argosy.runtime.systemd.place import Place
from machines.machine import Machine


def place_of(machine: Machine) -> Place:
    """Its system manager, until its next boot."""
    inside = ("nsenter", f"--target={machine.leader}", "--mount", "--")
    return Place(
        address=f"unix:path={machine.bus_socket}",
        root=Path(f"/proc/{machine.leader}/root"),
        journalctl=(*inside, "journalctl"),
    )
