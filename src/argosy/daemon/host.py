"""This host as a machine of a cluster: its id, which boot of it this is, its address, what it has to give.

Two machines from one image have the same id and the same certificate. What tells them apart is the boot: each has an id
of its own in the kernel (random(4), proc(5)), which no image carries.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from argosy import __version__
from argosy.agent.connection import address_of
from argosy.errors import Invalid, StoreRefused
from argosy.model.ids import MachineId
from argosy.model.machine import Capacity, Machine
from argosy.settings import MachineSettings

ID_OF_THE_HOST = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FIRST_PROCESS = Path("/proc/1/stat")
_ID = re.compile(r"[0-9a-f]{32}")
SOMEWHERE = ("192.0.2.1", 9)
"""An address that is nobody's (RFC 5737): the way there is the way everywhere."""


def machine_of(settings: MachineSettings) -> Machine:
    """This host as its agent describes it. Raises Invalid for a bad id or server in the settings."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        id=machine_id(settings),
        hostname=platform.node(),
        address=settings.address or _remembered_address(settings),
        metadata=dict(settings.metadata),
        capacity=Capacity(
            memory_bytes=settings.memory_bytes or memory,
            cpu_millis=settings.cpu_millis or 1000 * (os.cpu_count() or 1),
        ),
        version=__version__,
    )


def machine_id(settings: MachineSettings) -> MachineId:
    """From the settings, else /etc/machine-id, else one that is made once and kept. Raises Invalid for one that is none."""
    if settings.machine_id:
        return _checked(settings.machine_id, "machine_id in agent.toml")
    own = settings.directory / "machine-id"
    for path in (own, ID_OF_THE_HOST):
        with suppress(FileNotFoundError):
            text = path.read_text().strip()
            # An image that gets its id at its first boot says so with a word (machine-id(5)).
            if text and text != "uninitialized":
                return _checked(text, str(path))
    new = MachineId(secrets.token_hex(16))
    own.write_text(new + "\n")
    return new


def holder_of(machine: MachineId) -> str:
    """Tells this machine, in this boot, from any other that has its id.

    Containers of one host may have its boot id in common, but not the moment at which their first process started.
    Source: proc_pid_stat(5), field 22.
    """
    marks = [str(machine)]
    with suppress(OSError):
        marks.append(BOOT_ID.read_text().strip())
    with suppress(OSError, IndexError):
        # Behind the name of the program, which may contain anything.
        marks.append(FIRST_PROCESS.read_text().rpartition(")")[2].split()[19])
    return hashlib.sha256(" ".join(marks).encode()).hexdigest()


def address_towards(urls: Iterable[str]) -> str:
    """The address from which this host reaches the first of these servers that it has a way to; empty for none.

    Nothing is sent: the kernel is asked for the way.
    """
    ways = []
    for url in urls:
        with suppress(OSError):
            ways += [info[4][:2] for info in socket.getaddrinfo(*address_of(url))]
    for way in [*ways, SOMEWHERE]:
        family = socket.AF_INET6 if ":" in str(way[0]) else socket.AF_INET
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(way)
            return str(sock.getsockname()[0])
    return ""


def names_of_this_host() -> tuple[str, ...]:
    """Its address and its name, as others may know it."""
    found = (address_towards(()), platform.node())
    return tuple(name for name in dict.fromkeys(found) if name)


def make_private(directory: Path) -> None:
    """Make a directory for this user alone, or see that it is one. Raises Invalid."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as problem:
        raise Invalid(f"{directory} cannot be used: {problem.strerror}") from problem
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Invalid(
            f"{directory} must belong to you alone; whoever can write there runs programs as you",
            hint=f"chmod 700 {directory}",
        )


def lock(directory: Path) -> int:
    """A descriptor that holds the directory for one process until it is closed. Raises StoreRefused when another has it."""
    descriptor = os.open(
        directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreRefused(
            f"{directory} is in use by another process", hint="systemctl status argosy-agent"
        ) from None
    return descriptor


def _remembered_address(settings: MachineSettings) -> str:
    """The address towards the servers; the last one that there was while there is none: a boot without a network."""
    path = settings.directory / "address"
    found = address_towards(settings.servers)
    with suppress(OSError):
        if not found:
            return path.read_text().strip()[:64]
        path.write_text(found + "\n")
    return found


def _checked(text: str, where: str) -> MachineId:
    if not _ID.fullmatch(text):
        raise Invalid(f"{where} is no machine id: it should be 32 hex digits, not {text[:64]!r}")
    return MachineId(text)
