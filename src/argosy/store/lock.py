"""One server per store: a lock on a file beside it, with the holder's process id in it for the error message.

flock, not a pid file: the kernel lets go of it when the holder dies, however it dies, so there are no stale locks and
nobody has to decide whether a process id is still the same process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from argosy.errors import StoreRefused


class StoreLock:
    """Held from construction to `release`. The file stays: removing it would let two holders lock two files."""

    def __init__(self, store: Path) -> None:
        """Raises StoreRefused when another process (or this one) holds it, or the directory cannot be written."""
        path = store.with_name(store.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as problem:
            raise StoreRefused(
                f"cannot write in the store's directory {path.parent}: {problem.strerror}",
                hint=f"ls -ld {path.parent}",
            ) from problem
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise StoreRefused(
                f"the store {store} is in use by "
                + (f"process {holder}" if holder.isdecimal() else "another process"),
                hint=f"ps -fp {holder}" if holder.isdecimal() else f"fuser -v {path}",
            ) from problem
        with contextlib.suppress(
            OSError
        ):  # on a full disk the lock holds, only without a name on it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)
