"""Processes in /proc: who descends from whom, who is alive, and since when.

A supervisor is a *child subreaper* (prctl(2), PR_SET_CHILD_SUBREAPER): whatever below it loses its parent becomes its
child, so its descendants are exactly the processes of its unit, whatever they did with sessions and process groups.
A pid alone names a process only while it lives; together with its start time it does for ever (until the next boot).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make this process the parent of every descendant that loses its own."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def set_title(title: str) -> None:
    """What `ps` shows for this process: its argument area overwritten, cut to the room there is, and its name."""
    stat = _stat("self")
    if stat is not None:
        # Fields 48 and 49 of proc(5): arg_start, arg_end; stat begins with field 3.
        start, end = int(stat[45]), int(stat[46])
        room = end - start - 1
        if start and room > 0:
            data = title.encode()[:room]
            ctypes.memmove(start, data.ljust(room, b"\0"), room)
    _libc.prctl(_PR_SET_NAME, title.encode()[:15], 0, 0, 0)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot. None when there is none, or only its zombie."""
    stat = _stat(pid)
    if stat is None or stat[0] in (b"Z", b"X"):
        return None
    return int(stat[19])


def parent(pid: int) -> int | None:
    """Also of a zombie. None when the process is gone."""
    stat = _stat(pid)
    return None if stat is None else int(stat[1])


def is_descendant(pid: int, ancestor: int) -> bool:
    current: int | None = pid
    for _ in range(1000):  # /proc is read while it changes: a chain of reused pids must end, too
        if current == ancestor:
            return current != pid
        if current is None or current <= 1:
            return False
        current = parent(current)
    return False


def children(pid: int) -> list[int]:
    """Its children, zombies among them; those that come or go meanwhile may be missed."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
        except FileNotFoundError:
            if os.path.exists(f"/proc/{pid}/task/{task}"):
                # A kernel without CONFIG_PROC_CHILDREN.
                return [other for other in every_pid() if parent(other) == pid]
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """All below it, parents before children, without zombies. A snapshot: ask again until nothing new is found."""
    found: list[int] = []
    queue = children(pid)
    for current in queue:
        queue += children(current)
        if start_time(current) is not None:
            found.append(current)
    return found


def every_pid() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def with_environment(entry: str) -> list[int]:
    """Processes whose initial environment has exactly this `NAME=value`, as far as we may look."""
    wanted = entry.encode()
    found = []
    for pid in every_pid():
        with contextlib.suppress(OSError):
            if wanted in _read(f"/proc/{pid}/environ").split(b"\0"):
                found.append(pid)
    return found


def kill(pid: int, number: int) -> bool:
    """Send a signal, then SIGCONT so that a stopped process gets it. Returns whether there was a process to send it to."""
    try:
        os.kill(pid, number)
        if number not in (signal.SIGKILL, signal.SIGCONT, signal.SIGSTOP, 0):
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kill_below(ancestor: int, number: int, *, without: Iterable[int] = ()) -> int:
    """Send a signal to every descendant, once each, until a look finds no new one: a process that forks while it is
    looked for is found by the next look. Returns how many were sent it.
    """
    seen = set(without)
    count = 0
    while new := [pid for pid in descendants(ancestor) if pid not in seen]:
        seen.update(new)
        count += sum(kill(pid, number) for pid in new)
    return count


def _stat(pid: int | str) -> list[bytes] | None:
    """/proc/PID/stat from its third field on: the second, the name, may have blanks and brackets in it."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _read(path: str) -> bytes:
    # os.open because this is called hundreds of times in a stop: half the time of pathlib's.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)
