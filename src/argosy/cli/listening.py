"""Where the processes of units listen, asked of the kernel rather than of the unit files.

Works for processes of the same user on the same machine, which is what `argosy up` runs. Sources: proc(5), the
`/proc/net/tcp` tables, whose addresses are words in the byte order of the machine.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"


def listening(main_pids: Mapping[str, int]) -> dict[str, list[str]]:
    """For each unit, by the pid of its main process: `address:port` of every TCP socket that it or a descendant of it
    listens on, by port. Units that listen nowhere are left out."""
    children = _children()
    sockets: dict[str, str] = {}
    namespaces: set[str] = set()
    found: dict[str, list[str]] = {}
    for unit, pid in main_pids.items():
        inodes: set[str] = set()
        for process in _descendants(pid, children):
            own = _socket_inodes(process)
            inodes |= own
            # The table is the same for all processes of a network namespace, and reading it is slow.
            namespace = _link(f"/proc/{process}/ns/net") if own else ""
            if own and namespace not in namespaces:
                namespaces.add(namespace)
                sockets |= _listening_sockets(process)
        addresses = {sockets[inode] for inode in inodes & sockets.keys()}
        if addresses:
            found[unit] = sorted(addresses, key=lambda a: (int(a.rpartition(":")[2]), a))
    return found


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                # The command, in parentheses, may contain anything: the parent is the second field after it.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _descendants(pid: int, children: Mapping[int, list[int]]) -> Iterable[int]:
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += children.get(process, [])


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = _link(descriptor)
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    return inodes


def _link(path: str | Path) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _listening_sockets(pid: int) -> dict[str, str]:
    sockets = {}
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            for fields in map(str.split, rows):
                if fields[3] == LISTEN:
                    sockets[fields[9]] = _address(fields[1])
    return sockets


def _address(text: str) -> str:
    """`0100007F:1F90` is 127.0.0.1:8080 on a little-endian machine."""
    address, _, port = text.partition(":")
    words = [bytes.fromhex(address[start : start + 8]) for start in range(0, len(address), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    parsed = ipaddress.ip_address(packed)
    host = f"[{parsed}]" if parsed.version == 6 else str(parsed)
    return f"{host}:{int(port, 16)}"
