"""A unit's output on disk: lines with times, bounded in length, number of files and size.

A line is `MICROSECONDS LETTER TEXT`: when it was read, `o` for stdout, `e` for stderr or `a` for what Argosy itself says,
and the bytes as they came. Within a unit no two lines have the same time (the later one is moved by a microsecond), so a
time is a place: cursors need no more, and survive rotation. One process writes a unit's log at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_BYTES = 8 * 1024 * 1024
"""Of one file; there are two at most, so a unit's output takes twice that."""
MAX_LINE = 64 * 1024
STREAMS = {"o": "stdout", "e": "stderr", "a": "argosy"}
_BLOCK = 64 * 1024


class Line(NamedTuple):
    """One line as it stands in the file."""

    at: int
    """Microseconds since 1970."""
    letter: str
    text: bytes


class LogWriter:
    """Appends to one unit's log and turns it over when it is full. A disk that is full loses lines, nothing else."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file = -1
        self._size = 0
        self._last = 0
        self.tail: deque[str] = deque(maxlen=20)
        """The last lines of the unit's own output, cut to what a status can carry."""
        with contextlib.suppress(OSError):
            self._open()

    def write(self, letter: str, texts: list[bytes], *, now: int) -> None:
        """Append lines; now: microseconds since 1970."""
        out = bytearray()
        mark = b" " + letter.encode() + b" "
        at = max(now, self._last + 1)
        for text in texts:
            line = b"%d%s%s\n" % (at, mark, text)
            if out and self._size + len(out) + len(line) > self._max_bytes:
                self._append(out)
                out = bytearray()
            out += line
            at += 1
        self._last = at - 1
        if letter != "a":
            self.tail.extend(
                text[:1000].decode("utf-8", "backslashreplace") for text in texts[-20:]
            )
        self._append(out)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, data: bytearray) -> None:
        with contextlib.suppress(OSError):
            if self._size and self._size + len(data) > self._max_bytes:
                self.close()
                os.replace(self._path, _older(self._path))
            if self._file < 0:
                self._open()
            view = memoryview(data)
            while view:
                written = os.write(self._file, view)
                self._size += written
                view = view[written:]

    def _open(self) -> None:
        self._file = os.open(
            self._path,
            os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        self._size = os.fstat(self._file).st_size
        if self._size:
            end = os.pread(self._file, MAX_LINE + 64, max(0, self._size - MAX_LINE - 64))
            lines = end.split(b"\n")
            if lines[-1]:
                os.write(self._file, b"\n")  # a writer was killed within a line
            for line in lines:
                if parsed := _parse(line):
                    self._last = max(self._last, parsed.at)


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _parse(line: bytes) -> Line | None:
    head, _, rest = line.partition(b" ")
    if not head.isdigit() or rest[1:2] != b" " or rest[:1] not in (b"o", b"e", b"a"):
        return None
    return Line(int(head), rest[:1].decode(), rest[2:])


def last_lines(path: Path, count: int) -> list[Line]:
    """The last lines of a unit's log, oldest first."""
    found: list[Line] = []
    for file in (path, _older(path)):
        if len(found) < count:
            found = _tail(file, count - len(found)) + found
    return found


def lines_after(path: Path, at: int) -> Iterator[Line]:
    """All lines of a unit's log that are later than the time, oldest first."""
    for file in (_older(path), path):
        with contextlib.suppress(OSError), file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(_place_of(opened.fileno(), at, size))
            for raw in opened:
                if raw.endswith(b"\n") and (line := _parse(raw[:-1])) and line.at > at:
                    yield line


def _place_of(descriptor: int, at: int, size: int) -> int:
    """Offset of some line at or before the first one later than the time: bisection over blocks."""
    low, high = 0, size
    while high - low > _BLOCK:
        middle = (low + high) // 2
        block = os.pread(descriptor, 2 * MAX_LINE, middle)
        start = block.find(b"\n") + 1
        line = _parse(block[start:].partition(b"\n")[0]) if start else None
        if line is not None and line.at <= at and middle + start < high:
            low = middle + start
        else:
            high = middle
    return low


def _tail(file: Path, count: int) -> list[Line]:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        start = os.fstat(descriptor).st_size
        data = b""
        while start and data.count(b"\n") <= count:
            step = min(start, max(_BLOCK, len(data)))  # doubling: a long look back stays linear
            start -= step
            data = os.pread(descriptor, step, start) + data
    finally:
        os.close(descriptor)
    raw = data.split(b"\n")[:-1]
    if start:
        raw = raw[1:]
    return [line for line in map(_parse, raw[-count:] if count else ()) if line]
