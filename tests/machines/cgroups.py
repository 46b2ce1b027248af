"""A control group for each machine, in every hierarchy that the host has mounted: version 1, 2, or both side by side.

systemd-nspawn puts a machine's processes below the group that it was started in itself. Two machines started from one group
would share their systemd's groups, and each would kill the other's processes.

Freezing and killing use version 2's own files, which exist wherever version 2 is mounted, with or without controllers.
Source: the kernel's admin-guide/cgroup-v2, `cgroup.freeze` and `cgroup.kill` (Linux 5.14).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Where each hierarchy is mounted."""
    if (MOUNT / "cgroup.procs").exists():
        return [MOUNT]
    return [place for place in sorted(MOUNT.iterdir()) if (place / "cgroup.procs").exists()]


def _version2() -> Path:
    for place in hierarchies():
        if (place / "cgroup.controllers").exists():
            return place
    raise LookupError("the machines of the tests need cgroup version 2 mounted on the host")


class Group:
    """The group of one name in all hierarchies."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        for place in hierarchies():
            group = place / self.name
            for step in (*reversed(group.relative_to(place).parents), group.relative_to(place)):
                (place / step).mkdir(exist_ok=True)
                # A cpuset of version 1 begins empty, and then nobody may enter it.
                for name in ("cpuset.cpus", "cpuset.mems"):
                    file = place / step / name
                    if (
                        step.name
                        and not (place / "cgroup.controllers").exists()
                        and file.exists()
                        and not file.read_text().strip()
                    ):
                        file.write_text((file.parent.parent / name).read_text())

    def entrances(self) -> list[Path]:
        """A process that writes its number into each of these files is in the group."""
        return [place / self.name / "cgroup.procs" for place in hierarchies()]

    def pids(self) -> list[int]:
        found: set[int] = set()
        for place in hierarchies():
            for file in (place / self.name).rglob("cgroup.procs"):
                try:
                    found.update(map(int, file.read_text().split()))
                except OSError:  # the group went away meanwhile
                    continue
        return sorted(found)

    def freeze(self, *, is_frozen: bool) -> None:
        """Stop every process where it stands, or let all go on; returns when it is so."""
        group = _version2() / self.name
        (group / "cgroup.freeze").write_text(str(int(is_frozen)))
        deadline = time.monotonic() + 10
        while f"frozen {int(is_frozen)}" not in (group / "cgroup.events").read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is not {'frozen' if is_frozen else 'thawed'}")
            time.sleep(0.002)

    def kill(self) -> None:
        """SIGKILL to every process of the group at once, frozen or not; returns when none is left."""
        file = _version2() / self.name / "cgroup.kill"
        if not file.exists():
            return
        file.write_text("1")
        deadline = time.monotonic() + 10
        while self.pids():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} still has processes: {self.pids()}")
            time.sleep(0.005)

    def remove(self) -> None:
        """Delete the group and the ones below it, which must have no processes."""
        for place in hierarchies():
            group = place / self.name
            if group.is_dir():
                for directory, _, _ in os.walk(group, topdown=False):
                    Path(directory).rmdir()
