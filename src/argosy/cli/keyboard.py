"""What a person or a pipe gives to a command that runs on a machine, passed on by a thread.

The thread waits for input and for a wake-up at once, so that it ends when the command has ended, not at the next key.
"""

from __future__ import annotations

import os
import select
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from argosy.client import Execution
from argosy.errors import ArgosyError

CHUNK_BYTES = 64 * 1024


class Keyboard:
    """Passes on what can be read from a descriptor, as long as the body of its `with` runs."""

    def __init__(self, execution: Execution, descriptor: int) -> None:
        self._execution = execution
        self._descriptor = descriptor
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._has_ended = False
        self._is_resized = False
        self._thread = threading.Thread(target=self._run, name="input", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended = True
        self._notify()
        # A send that waits for a command that does not read ends with the connection, which is closed next.
        self._thread.join(0.2)
        if not self._thread.is_alive():
            os.close(self._woken)
            os.close(self._wake)

    def resized(self) -> None:
        """The terminal has another size. May be called from a signal handler."""
        self._is_resized = True
        self._notify()

    def _notify(self) -> None:
        try:
            os.write(self._wake, b"\0")
        except BlockingIOError:
            return  # it is awake

    def _run(self) -> None:
        try:
            while not self._has_ended:
                self._pass_on()
        except (ArgosyError, OSError):
            # The command has ended, or the connection: whoever reads the output learns how.
            return

    def _pass_on(self) -> None:
        watched = [self._woken] if self._descriptor < 0 else [self._woken, self._descriptor]
        ready, _, _ = select.select(watched, [], [])
        if self._woken in ready:
            os.read(self._woken, CHUNK_BYTES)
        if self._has_ended:
            return
        if self._is_resized and self._descriptor >= 0:
            self._is_resized = False
            size = os.get_terminal_size(self._descriptor)
            self._execution.resize(size.lines, size.columns)
        if self._descriptor in ready:
            data = os.read(self._descriptor, CHUNK_BYTES)
            self._execution.send(data, is_end=not data)
            if not data:
                self._descriptor = -1


@contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Every key goes to the command, also Ctrl-C, until the body ends."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
