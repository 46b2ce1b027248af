"""Where the kit keeps what is dear to make: the Debian root, the installed wheel, and the disks of running machines.

All of it lies under one directory outside the checkout, `/var/cache/argosy-tests` or `$ARGOSY_TEST_CACHE`, on a file
system that overlayfs can write to (ext4, xfs, btrfs, tmpfs; not another overlay). Deleting the directory costs the time to
build it again and nothing else, once no machine runs.

A finished thing carries the hash of what it was made from in its name and never changes afterwards. It is built beside its
place under a lock and renamed, so that parallel pytest workers build it once and a build that dies leaves nothing that
looks finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from machines import overlay

ONE_DAY = 24 * 3600.0


def directory() -> Path:
    place = Path(os.environ.get("ARGOSY_TEST_CACHE", "/var/cache/argosy-tests"))
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    return place


def digest(*parts: str | bytes) -> str:
    """Twelve hexadecimal digits that change when any part does."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big") + data)
    return sha.hexdigest()[:12]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else on this host is inside `locked` with this name; the kernel gives the lock back if we die."""
    with (directory() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def built(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The finished directory `KIND-KEY`, which `build` fills if nobody has yet.

    Others of the same kind that nobody asked for in the last day are deleted when a new one is built.
    """
    place = directory() / f"{kind}-{key}"
    if not place.exists():
        with locked(kind):
            if not place.exists():
                _delete_unused(kind)
                growing = directory() / f"{kind}-{key}.building"
                growing.mkdir()
                build(growing)
                growing.rename(place)
    os.utime(place)
    return place


def _delete_unused(kind: str) -> None:
    """Old ones, and what builders left that died: none other is at work while we have the lock."""
    for other in directory().glob(f"{kind}-*"):
        is_unfinished = ".building" in other.name
        if is_unfinished or time.time() - other.stat().st_mtime > ONE_DAY:
            overlay.unmount(other)
            shutil.rmtree(other)
