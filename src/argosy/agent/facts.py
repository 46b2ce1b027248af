"""How this machine is: what `doctor` and `machine show` ask for. Sources: proc(5), statvfs(3)."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from argosy import __version__
from argosy.model.question import Disk, Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsOf:
    """What an agent knows of itself that the machine does not.

    directories: whose file systems matter. certificate_expires: asked each time, since certificates renew themselves.
    """

    clock: Callable[[], datetime]
    runtime: str
    directories: tuple[Path, ...] = (Path("/"),)
    is_exec_allowed: bool = True
    certificate_expires: Callable[[], datetime | None] = lambda: None

    def gather(self) -> Facts:
        """Look. Reads files of the kernel and asks file systems, which may take a moment."""
        memory = _memory()
        at = self.clock()
        return Facts(
            at=at,
            version=__version__,
            runtime=self.runtime,
            kernel=platform.release(),
            booted_at=_booted_at(at),
            load=os.getloadavg(),
            memory_total_bytes=memory.get("MemTotal", 0),
            memory_available_bytes=memory.get("MemAvailable", 0),
            disks=tuple(disks(self.directories)),
            certificate_expires=self.certificate_expires(),
            is_exec_allowed=self.is_exec_allowed,
        )


def _memory() -> dict[str, int]:
    found = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, amount = line.partition(":")
            found[name] = int(amount.split()[0]) * 1024
    return found


def _booted_at(now: datetime) -> datetime | None:
    with suppress(OSError, ValueError):
        return now - timedelta(seconds=float(Path("/proc/uptime").read_text().split()[0]))
    return None


def disks(directories: Iterable[Path]) -> Iterable[Disk]:
    """One for each file system, under the first of the directories that is on it."""
    seen = set()
    for directory in directories:
        with suppress(OSError):
            device = directory.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            found = os.statvfs(directory)
            yield Disk(
                path=str(directory),
                total_bytes=found.f_blocks * found.f_frsize,
                free_bytes=found.f_bavail * found.f_frsize,
                free_inodes_share=found.f_favail / found.f_files if found.f_files else 1.0,
            )
