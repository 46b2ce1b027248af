"""An `argosy up` of its own for a test: the real command in a state directory under the test's, and what is left of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from argosy.client import Client, Endpoint

ROOT = Path(__file__).parents[2]
ARGOSY = Path(sys.executable).with_name("argosy")
T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, *, seconds: float = 60.0) -> T:
    """What `look` gives once it is true; fails with its last answer after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; last: {answer!r}"
        time.sleep(0.05)


def get(url: str) -> str:
    """The page, or nothing while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class App:
    """An app's directory, and a state directory of its own, `state`, to run it in.

    directory: no other process has this path in its environment; that is how what belongs to the app is found.
    """

    def __init__(self, directory: Path, state: Path) -> None:
        self.directory = directory
        self.state = state
        self.environ = {
            **os.environ,
            "ARGOSY_STATE_DIR": str(self.state),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.environ.pop("ARGOSY_ENDPOINT", None)
        self.client = Client(Endpoint(path=str(self.state / "argosy.sock")))

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run the command to its end; returns what it printed."""
        done = subprocess.run(
            [ARGOSY, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def up(self, *, status: int = 0) -> str:
        return self.run("up", "--detach", str(self.directory), status=status)

    def state_of(self, unit: str) -> str:
        return " ".join(row["active"] for row in self.client.states([unit]))

    def processes(self) -> dict[int, str]:
        """Processes of this app and of its daemon: those that have its directories in their environment or arguments."""
        marks = (str(self.state).encode(), str(self.directory).encode())
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                about = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if any(mark in about for mark in marks) and int(entry.name) != os.getpid():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found

    @contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """Run the body, then `argosy down` if it is up; fails when any process is left, and ends it."""
        try:
            yield
            if self.client.is_there():
                self.run("down")
            deadline = time.monotonic() + 10
            while (left := self.processes()) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert left == {}
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)

    def daemon_pid(self) -> int:
        """Who listens on the socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.state / "argosy.sock"))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder, signed=True)
