"""Numbers that kits of one host share out among themselves, and what the dead left behind.

A kit's number names everything that it makes on the host: its directory below the cache (disks, mounts), its control
groups, its network namespaces and subnet. It holds the lock of its directory as long as it lives; the kernel gives that
lock back when its process dies, however it dies. So whoever gets the lock of a directory that exists may delete all that
carries its number: nobody uses it any more. Processes are only ever found by their control group.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from machines import cache, network, overlay
from machines.cgroups import Group

NUMBERS = range(256)


class Claim:
    """A number that is ours until `release`."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self.directory = _directory(number)
        self._lock = lock

    def release(self) -> None:
        """Kill, unmount and delete everything that carries the number, then give it back."""
        try:
            _clear(self.number)
        finally:
            os.close(self._lock)


def claim() -> Claim:
    """A number of our own; deletes what kits of dead processes left."""
    sweep()
    with cache.locked("running"):
        for number in NUMBERS:
            if not _directory(number).exists() and network.is_free(number):
                _directory(number).mkdir(parents=True)
                lock = _try_lock(number)
                assert lock is not None, "a directory that we made is locked by somebody else"
                return Claim(number, lock)
    raise RuntimeError(f"all {len(NUMBERS)} numbers of machine kits on this host are in use")


def sweep() -> None:
    """Delete what kits left whose processes are dead."""
    with cache.locked("running"):
        for directory in sorted(_running().iterdir()):
            number = int(directory.name)
            lock = _try_lock(number)
            if lock is not None:
                try:
                    _clear(number)
                finally:
                    os.close(lock)


def group(number: int, machine: str) -> Group:
    """The control group of a machine of that kit."""
    return Group(f"argosy-tests-{number}/{machine}")


def _running() -> Path:
    place = cache.directory() / "running"
    place.mkdir(exist_ok=True)
    return place


def _directory(number: int) -> Path:
    return _running() / str(number)


def _try_lock(number: int) -> int | None:
    """The lock of the directory, or None while its owner lives. Not inherited by programs that we start."""
    handle = os.open(_directory(number), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _clear(number: int) -> None:
    everything = Group(f"argosy-tests-{number}")
    everything.kill()
    everything.remove()
    network.remove(number)
    directory = _directory(number)
    for root in directory.glob("*/root"):
        overlay.unmount(root)
    shutil.rmtree(directory)
