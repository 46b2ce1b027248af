"""Which systemd runs the units, and where its files are: that of the system, or a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from argosy.runtime.systemd import bus


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A manager and its files.

    root: where the machine's file system is for this process; `/` unless it looks into a container.
    overrides: the directories that systemd prefers to `units`, and that people write to (systemd.unit(5), "Unit File
    Load Path"; `systemctl set-property` writes to the ones named control).
    """

    address: str
    is_user: bool = False
    root: Path = Path("/")
    units: Path = Path("/run/systemd/system")
    overrides: tuple[Path, ...] = (
        Path("/etc/systemd/system.control"),
        Path("/run/systemd/system.control"),
        Path("/etc/systemd/system"),
    )
    directory: Path = Path("/run/argosy-agent")
    """Not below /run/argosy, which goes with the server of the same host."""
    journalctl: tuple[str, ...] = ("journalctl",)

    def below_root(self, path: Path) -> Path:
        return self.root / path.relative_to("/")


def system_manager() -> Place:
    """This host's systemd."""
    return Place(address=bus.system_bus())


def user_manager(runtime_directory: Path, home: Path) -> Place | None:
    """This user's systemd, None where there is none."""
    address = bus.user_bus()
    if address is None:
        return None
    return Place(
        address=address,
        is_user=True,
        units=runtime_directory / "systemd/user",
        overrides=(
            home / ".config/systemd/user.control",
            runtime_directory / "systemd/user.control",
            home / ".config/systemd/user",
            Path("/etc/systemd/user"),
        ),
        directory=runtime_directory / "argosy-agent",
        journalctl=("journalctl",),
    )
