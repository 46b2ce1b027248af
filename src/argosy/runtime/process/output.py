"""One stream of a unit's output: a pipe whose lines go into the log.

All processes of a unit share the pipe, and the supervisor keeps its write end too, so it never ends while the unit has
not. A line without an end is written when its process is over.
"""

from __future__ import annotations

import contextlib
import os
import time

from argosy.runtime.process.logfile import MAX_LINE, LogWriter

_READ_BYTES = 256 * 1024


class Output:
    """The pipe, and the line that has begun and not ended. letter: the stream's in the log."""

    def __init__(self, letter: str, log: LogWriter) -> None:
        self._letter = letter
        self._log = log
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        self._begun = b""

    def fileno(self) -> int:
        return self._read_end

    def read(self) -> bool:
        """Take what is there, at most so much that other work gets its turn. Whether there was something."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._read_end, _READ_BYTES)
        if not data:
            return False
        *lines, self._begun = (self._begun + data).split(b"\n")
        cut = [piece for line in lines for piece in _cut(line)]
        if len(self._begun) >= MAX_LINE:
            *pieces, self._begun = _cut(self._begun)
            cut += pieces
        if cut:
            self._log.write(self._letter, cut, now=time.time_ns() // 1000)
        return True

    def drain(self) -> None:
        """Take what is there now and end the line that has begun: its process is over."""
        for _ in range(64):  # others of the unit may write on for ever
            if not self.read():
                break
        if self._begun:
            self._log.write(self._letter, [self._begun], now=time.time_ns() // 1000)
            self._begun = b""


def _cut(line: bytes) -> list[bytes]:
    """A line in pieces that a log may have; an empty line is one piece."""
    if len(line) <= MAX_LINE:
        return [line]
    return [line[at : at + MAX_LINE] for at in range(0, len(line), MAX_LINE)]
