"""The daemon of `argosy up` as the CLI starts it: in a thread of this process, or as a process in the background.

Either way the CLI then speaks to it as to any server, so that the first `up` and a second one run the same code.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path

from argosy.client import Client
from argosy.daemon.local import LocalSettings, run_local
from argosy.errors import ArgosyError, ServerUnreachable
from argosy.settings import RuntimeKind

READY_SECONDS = 30.0
LOG_TAIL = 5


class Foreground:
    """The daemon in a thread, with an event loop of its own; the main thread is left to the terminal."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="argosy daemon", daemon=True)
        self._problem: BaseException | None = None

    def start(self) -> None:
        """Returns when the API answers. Raises what keeps it from doing so."""
        self._thread.start()
        try:
            self._ready.result(READY_SECONDS)
        except NotInTime:
            raise ServerUnreachable(
                f"the daemon was not ready after {READY_SECONDS:.0f} s"
            ) from None

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def request_stop(self) -> None:
        """Ask that everything stop; returns at once."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the daemon to end; whether it has. Raises what ended it, if nobody asked it to."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            return False
        if self._problem is not None:
            raise self._problem
        return True

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(
                    run_local(
                        self._settings,
                        ready=lambda: self._ready.set_result(None),
                        stop=self._stop,
                    )
                )
            except BaseException as problem:  # the main thread raises it
                cause = _the_one(problem)
                self._problem = cause
                if not self._ready.done():
                    self._ready.set_exception(cause)


def start_background(
    directory: Path, *, listen: str, runtime: RuntimeKind = RuntimeKind.PROCESS
) -> None:
    """Start the daemon as a process that outlives this one; returns when its API answers.

    Raises ServerUnreachable with the end of its log when it ends or is not ready in time.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_path = directory / "daemon.log"
    command = [sys.executable, "-m", "argosy.daemon", f"--directory={directory}"]
    command += [f"--runtime={runtime}", *([f"--listen={listen}"] if listen else [])]
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    client = Client.find(f"unix://{directory / 'argosy.sock'}")
    deadline = time.monotonic() + READY_SECONDS
    while not client.is_there():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log_path.read_text(errors="replace").splitlines()[-LOG_TAIL:]
            raise ServerUnreachable(
                "\n  ".join(["the daemon did not start; its log ends with", *tail]),
                hint=f"the whole log: {log_path}",
            )
        time.sleep(0.02)


def _the_one(problem: BaseException) -> BaseException:
    """The first error of ours inside a group, since a person has use for one only."""
    if isinstance(problem, BaseExceptionGroup):
        ours = problem.subgroup(ArgosyError)
        inner = (ours or problem).exceptions[0]
        return _the_one(inner)
    return problem
