"""Who has a TCP port, for the error that it is taken. Sources: proc(5), `/proc/net/tcp` and `/proc/PID/fd`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LISTENS = "0A"


def holder_of(port: int) -> str | None:
    """`redis-server (pid 812)`; None when it cannot be found: other users' processes show their files to root only."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and wanted & _open_files(process):
            with suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def _open_files(process: Path) -> set[str]:
    files = set()
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                files.add(str(descriptor.readlink()))
    return files
