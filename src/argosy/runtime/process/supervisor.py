"""The process that has one unit's processes below it, from its start until it is down for good.

Forked by the spawner; reads what to run from the connection it was given, then needs nobody: whoever holds the runtime
may die, the unit and its restarts go on, and the next runtime finds the socket. It waits in one poll for its children,
their output, sd_notify, its clients and two timers, and uses no CPU while nothing happens.

Protocol, both ways one JSON object a line. Up: `{"status": {...}}`, absolute, so that only the newest need arrive. Down:
`{"do": "stop", "restart": bool}`, `{"do": "reload", "id": N}`, `{"do": "arm", "at": boot time}`. A connection that ends
before a status with `"over": true` came is a supervisor that was killed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from argosy.runtime.process import checks, execute, exits, notify, tree
from argosy.runtime.process.layout import Layout, socket_of, write_json
from argosy.runtime.process.lifecycle import ACTIVE_STATES, Lifecycle
from argosy.runtime.process.logfile import LogWriter
from argosy.runtime.process.output import Output
from argosy.runtime.process.spec import Command, Service, from_json

PID_FILE_POLL_SECONDS = 0.05
KILL_AGAIN_SECONDS = 0.1
"""While a forking service has started and its PIDFile= is not there yet. At no other time is anything polled."""


def main(connection: socket.socket) -> None:
    """Run a unit. Returns when it is down; the caller ends the process.

    connection: where the launch comes from, one line of JSON: `directory`, `service` (spec.to_json), `inherited` (the
    runtime's environment), `nofile`, `log_bytes`, and what the unit's last supervisor left: `limit`, `result`.
    """
    launch = _read_launch(connection)
    if launch is None:
        return
    Supervisor(launch, connection).run()


def _read_launch(connection: socket.socket) -> dict[str, Any] | None:
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = connection.recv(1 << 20)
        if not piece:
            return None  # whoever asked for this died before saying what for
        data += piece
    launch: dict[str, Any] = json.loads(data)
    return launch


class Supervisor:
    """One unit's keeper: the `Host` of its lifecycle."""

    def __init__(self, launch: dict[str, Any], connection: socket.socket) -> None:
        self._service: Service = from_json(launch["service"])
        self._inherited: Mapping[str, str] = launch["inherited"]
        self._nofile: tuple[int, int] = (launch["nofile"][0], launch["nofile"][1])
        self._layout = Layout(Path(launch["directory"]))
        self._limit: list[float] = launch["limit"] or [0.0, 0]
        self._boot_id = tree.boot_id()
        self._pid = os.getpid()
        self._start_time = tree.start_time(self._pid)
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._clients: dict[int, _Client] = {}
        self._reports: dict[int, int] = {}
        """Read ends of forked processes' reports, and whose they are."""
        self._deadline = self._watchdog_deadline = self._pid_file_deadline = math.inf
        self._armed: float = launch["armed"] or math.inf
        """When the unit is to end unless it is armed again, and then when what is left of it is killed; boot time, which
        goes on while the machine sleeps."""
        self._stop_within: float | None = launch["stop_within"]
        self._is_cut_off = False
        self._pid_file = ""
        self._main_handle = -1
        self._watched_main = 0
        self._since = time.time_ns() // 1000
        self._invocation = ""
        self._reload_id = 0
        self._is_dirty = True
        self._saved: dict[str, Any] = {}
        self._log = LogWriter(self._layout.log(self._service.name), max_bytes=launch["log_bytes"])
        self._life = Lifecycle(self._service, self)
        self._life.result = launch["result"]
        self._notify: notify.NotifySocket | None = None

        tree.become_subreaper()
        tree.set_title(f"argosy: {self._service.name}")
        self._outputs = [Output("o", self._log), Output("e", self._log)]
        for output in self._outputs:
            self._read_from(output.fileno(), output.read)
        self._streams = execute.Streams(*(output.write_end for output in self._outputs))
        self._wakeup = self._handle_signals()
        self._listener = self._listen()
        self._add_client(connection)

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start the unit and stay until it is down."""
        self._life.start()
        while not self._life.is_over:
            self._settle()
            now = time.monotonic()
            armed_for = self._armed - time.clock_gettime(time.CLOCK_BOOTTIME)
            soonest = min(
                self._deadline,
                self._watchdog_deadline,
                self._pid_file_deadline,
                now + armed_for,
            )
            wait = None if soonest == math.inf else max(0.0, soonest - now) * 1000
            for descriptor, events in self._poll.poll(wait):
                self._dispatch(descriptor, events)
            self._run_timers()
        self._finish()

    def _dispatch(self, descriptor: int, events: int) -> None:
        if client := self._clients.get(descriptor):
            if events & ~select.POLLOUT:
                self._hear(client)
            if events & select.POLLOUT:
                client.flush()
        elif reader := self._readers.get(descriptor):
            reader()

    def _run_timers(self) -> None:
        now = time.monotonic()
        if time.clock_gettime(time.CLOCK_BOOTTIME) >= self._armed:
            self._cut_off()
        if now >= self._deadline:
            self._deadline = math.inf
            self._life.on_timeout()
        if now >= self._watchdog_deadline:
            self._watchdog_deadline = math.inf
            self._life.on_watchdog()
        if now >= self._pid_file_deadline:
            self._pid_file_deadline = now + PID_FILE_POLL_SECONDS
            state = self._life.state
            self._life.on_pid_file()
            if self._life.state != state:
                self._pid_file_deadline = math.inf

    def _cut_off(self) -> None:
        """Nobody armed the unit again: stop it, and after the time that it has for that, kill what is left of it."""
        if not self._is_cut_off:
            self._is_cut_off = self._is_dirty = True
            self.say("stopped: the machine was cut off from the servers for too long")
            self._life.stop()
            self._armed = math.inf
            if self._stop_within is not None:
                self._armed = time.clock_gettime(time.CLOCK_BOOTTIME) + self._stop_within
            return
        # ExecStopPost= may begin more; it gets no more time.
        self._armed += KILL_AGAIN_SECONDS
        tree.kill_below(self._pid, signal.SIGKILL)

    def _settle(self) -> None:
        """After whatever happened: watch the main process there is now, and tell who wants to know."""
        if self._life.main_pid != self._watched_main:
            self._watch_main(self._life.main_pid)
        if self._is_dirty:
            self._is_dirty = False
            line = self._save(is_over=False)
            for client in list(self._clients.values()):
                client.show(line)

    def _finish(self) -> None:
        """Say how it ended, first to the disk: a client that hears of the end may look there."""
        for output in self._outputs:
            output.drain()
        status = self._save(is_over=True)
        # The next supervisor of this unit binds the same name as soon as this end is heard of.
        with contextlib.suppress(OSError):
            os.unlink(self._layout.run / socket_of(self._service.name))
        self._listener.close()
        for client in list(self._clients.values()):
            client.show(status)
            client.finish()

    def _save(self, *, is_over: bool) -> bytes:
        """Put down how things stand; returns the line that tells it to clients."""
        status = self._status(is_over=is_over)
        state = {
            "status": status,
            "boot_id": self._boot_id,
            "invocation": self._invocation,
            "supervisor": [self._pid, self._start_time],
            "processes": [
                [pid, tree.start_time(pid)]
                for pid in (self._life.main_pid, self._life.control_pid)
                if pid
            ],
            "limit": self._limit,
        }
        if state != self._saved:
            self._saved = state
            # A disk that is full must not take the unit down: it is then found by its socket alone.
            with contextlib.suppress(OSError):
                write_json(self._layout.state(self._service.name), state)
        return json.dumps({"status": status}).encode() + b"\n"

    def _status(self, *, is_over: bool) -> dict[str, Any]:
        life = self._life
        end = life.main_exit
        return {
            "digest": self._service.digest,
            "sub": life.state,
            "active": life.active,
            "result": life.result,
            "exit_code": end.code if end else None,
            "exit_signal": exits.signal_name(end.signal) if end and end.signal else None,
            "failed_command": life.failed_command if life.result != "success" else "",
            "main_pid": life.main_pid or None,
            "since": self._since,
            "restarts": life.restarts,
            "text": life.status_text,
            "last_lines": list(self._log.tail) if life.result != "success" else [],
            "attempts": life.attempts,
            "start_result": life.start_result,
            "reload_id": self._reload_id if life.state != "reload" else self._reload_id - 1,
            "reload_result": life.reload_result,
            "has_run": bool(self._invocation),
            "cut_off": self._is_cut_off,
            "over": is_over,
        }

    # --- children ----------------------------------------------------------------------------------------------

    def _handle_signals(self) -> int:
        """SIGCHLD wakes the poll; SIGTERM, as from a machine that goes down, stops the unit properly."""
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self._read_from(read_end, self._on_signal)
        return read_end

    def _on_signal(self) -> None:
        numbers = b""
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._wakeup, 4096)
        if signal.SIGTERM in numbers:
            self.say("the supervisor was told to end, stopping the unit")
            self._life.stop()
        if signal.SIGCHLD in numbers:
            self._reap()

    def _reap(self) -> None:
        # What they said before they died comes first: their messages need them, and their lines stand above ours.
        self._on_notify()
        for output in self._outputs:
            output.read()
        while True:
            try:
                child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                self._life.on_empty()
                return
            if child is None:
                return
            pid = child.si_pid
            self._on_report(pid)
            if pid == self._watched_main:
                self._watch_main(0)
            if pid in (self._life.main_pid, self._life.control_pid):
                for output in self._outputs:
                    output.drain()
                if child.si_code == os.CLD_EXITED:
                    end = exits.Exit(code=child.si_status)
                else:
                    dumped = child.si_code == os.CLD_DUMPED
                    end = exits.Exit(signal=child.si_status, dumped=dumped)
                self._life.on_exit(pid, end)

    def _on_report(self, pid: int) -> None:
        """A process has executed its command, or says why it cannot."""
        report = next((r for r, whose in self._reports.items() if whose == pid), -1)
        if report < 0:
            return
        try:
            data = os.read(report, 4096)
        except BlockingIOError:
            return
        del self._reports[report]
        self._forget(report)
        os.close(report)
        if data:
            self.say(data.decode("utf-8", "replace"))
        else:
            self._life.on_exec(pid)

    def _watch_main(self, pid: int) -> None:
        """Watch a main process that somebody else's child is: its end is no SIGCHLD of ours."""
        if self._main_handle >= 0:
            self._forget(self._main_handle)
            os.close(self._main_handle)
            self._main_handle = -1
        self._watched_main = pid
        if pid and tree.parent(pid) != self._pid:
            with contextlib.suppress(OSError):
                self._main_handle = os.pidfd_open(pid)
                self._read_from(self._main_handle, self._on_main_gone)

    def _on_main_gone(self) -> None:
        pid = self._watched_main
        self._reap()
        if pid and pid == self._life.main_pid:
            self._watch_main(0)
            self._life.on_main_vanished()
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                return
            self._life.on_empty()

    # --- what the lifecycle asks for ---------------------------------------------------------------------------

    def spawn(self, command: Command, variables: Mapping[str, str], *, is_main: bool) -> int:
        """Run a command of the unit."""
        added = {"INVOCATION_ID": self._invocation, **variables}
        access = self._service.notify_access
        if self._notify and (is_main or access in ("all", "exec")):
            added["NOTIFY_SOCKET"] = self._notify.name
        environment = execute.environment(
            self._service.execution, inherited=self._inherited, added=added
        )
        spawned = execute.spawn(
            command,
            self._service.execution,
            variables=environment,
            streams=self._streams,
            default_nofile=self._nofile,
        )
        os.set_blocking(spawned.report, False)
        self._reports[spawned.report] = spawned.pid
        self._read_from(spawned.report, lambda: self._on_report(spawned.pid))
        return spawned.pid

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to one process."""
        return tree.kill(pid, number)

    def signal_rest(self, number: int, *, without: tuple[int, ...]) -> bool:
        """Send a signal to all below but those."""
        return tree.kill_below(self._pid, number, without=without) > 0

    def has_processes(self) -> bool:
        """Whether anybody lives below."""
        return bool(tree.descendants(self._pid))

    def is_descendant(self, pid: int) -> bool:
        """Whether the process is one of the unit's."""
        return tree.is_descendant(pid, self._pid)

    def sole_orphan(self) -> int | None:
        """The one child that we did not fork, if it is one."""
        ours = (self._life.control_pid, self._life.main_pid)
        orphans = [
            pid
            for pid in tree.children(self._pid)
            if pid not in ours and tree.start_time(pid) is not None
        ]
        return orphans[0] if len(orphans) == 1 else None

    def read_pid_file(self, path: str) -> int | None:
        """The pid in a file."""
        try:
            # A unit's processes may write it: a FIFO there must not stop us, a link must not make us read elsewhere.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            text = os.read(descriptor, 64).split(b"\n")[0].strip()
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return int(text) if text.isdigit() and len(text) < 10 else None

    def remove_pid_file(self, path: str) -> None:
        """Out of date now, and some programs would believe it."""
        with contextlib.suppress(OSError):
            os.unlink(path)

    def await_pid_file(self, path: str) -> None:
        """Look for it until it is there or the state ends."""
        self._pid_file = path
        self._pid_file_deadline = time.monotonic() + PID_FILE_POLL_SECONDS

    def arm(self, seconds: float) -> None:
        """Set the state's timer."""
        self._deadline = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Put the state's timer off."""
        if self._deadline != math.inf:
            self._deadline = max(self._deadline, time.monotonic() + seconds)

    def arm_watchdog(self, seconds: float) -> None:
        """Set or stop the watchdog."""
        self._watchdog_deadline = time.monotonic() + seconds if seconds else math.inf

    def may_start(self) -> str:
        """Conditions, asserts, and then the start limit (ratelimit_below): the order of unit_start."""
        failed = checks.first_failure(self._service.checks)
        if failed is not None:
            self.say(f"not started, {failed} does not hold")
            return "assert" if failed.is_assert else "condition"
        interval, burst = self._service.start_limit_seconds, self._service.start_limit_burst
        if interval <= 0 or burst <= 0:
            return ""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        begin, count = self._limit
        if not count or now - begin > interval:
            self._limit = [now, 1]
            return ""
        self._limit = [begin, count + 1]
        return "" if count + 1 <= burst else "start-limit-hit"

    def begins(self) -> None:
        """A new invocation: a new id, a notify socket if the service has access to one."""
        self._invocation = os.urandom(16).hex()
        if self._service.notify_access != "none" and self._notify is None:
            self._notify = notify.NotifySocket(self._invocation)
            self._read_from(self._notify.fileno(), self._on_notify)

    def ended(self, *, restarts: bool) -> None:
        """Take the runtime directories away."""
        keeps = self._service.execution.keeps_runtime_directory
        if keeps == "no" or (keeps == "restart" and not restarts):
            execute.remove_runtime_directories(
                self._service.execution, lambda path: shutil.rmtree(path, ignore_errors=True)
            )

    def changed(self, old: str, new: str) -> None:
        """Remember to tell."""
        self._is_dirty = True
        if ACTIVE_STATES[old] != ACTIVE_STATES[new]:
            self._since = time.time_ns() // 1000
        if old != new:
            self._pid_file_deadline = math.inf

    def say(self, text: str) -> None:
        """Into the unit's log, as Argosy's own word."""
        lines = [line.encode() for line in text.splitlines() if line]
        self._log.write("a", lines, now=time.time_ns() // 1000)

    def _on_notify(self) -> None:
        if self._notify is None:
            return
        messages, descriptors = self._notify.receive()
        try:
            for message in messages:
                self._life.on_notify(message.pid, message.fields)
        finally:
            notify.close_all(descriptors)

    # --- clients -----------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        directory = os.open(self._layout.run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = socket_of(self._service.name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            listener.bind(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.close(directory)
        listener.listen(8)
        self._read_from(listener.fileno(), self._accept)
        return listener

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            self._add_client(connection)
            self._is_dirty = True

    def _add_client(self, connection: socket.socket) -> None:
        client = _Client(connection, self._poll)
        self._clients[connection.fileno()] = client

    def _hear(self, client: _Client) -> None:
        commands = client.receive()
        if commands is None:
            del self._clients[client.descriptor]
            client.close()
            return
        for command in commands:
            if command["do"] == "stop":
                self._life.stop(is_restart=command["restart"])
            elif command["do"] == "reload":
                self._reload_id = command["id"]
                if not self._life.reload():
                    self._life.reload_result = "skipped"
                self._is_dirty = True
            elif command["do"] == "arm" and not self._is_cut_off:
                self._armed = command["at"]

    # --- descriptors -------------------------------------------------------------------------------------------

    def _read_from(self, descriptor: int, reader: Callable[[], object]) -> None:
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.POLLIN)

    def _forget(self, descriptor: int) -> None:
        self._readers.pop(descriptor, None)
        with contextlib.suppress(KeyError):
            self._poll.unregister(descriptor)


class _Client:
    """One connected runtime. It is shown the newest status; older ones that it was too slow for are left out."""

    def __init__(self, connection: socket.socket, poll: select.poll) -> None:
        connection.setblocking(False)
        self.descriptor = connection.fileno()
        self._connection = connection
        self._poll = poll
        self._received = b""
        self._sending = b""
        """What is left of a status that was begun: it must be ended before another one."""
        self._next = b""
        poll.register(self.descriptor, select.POLLIN)

    def receive(self) -> list[dict[str, Any]] | None:
        """The commands that have come; None when the other side is gone."""
        try:
            data = self._connection.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def show(self, line: bytes) -> None:
        """Send a status, now or when there is room."""
        if self._sending:
            self._next = line
        else:
            self._sending = line
        self.flush()

    def flush(self) -> None:
        try:
            while self._sending:
                sent = self._connection.send(self._sending)
                self._sending = self._sending[sent:]
                if not self._sending:
                    self._sending, self._next = self._next, b""
        except BlockingIOError:
            self._poll.modify(self.descriptor, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self._sending = self._next = b""  # its end is read next
        self._poll.modify(self.descriptor, select.POLLIN)

    def finish(self) -> None:
        """Send what is left, but wait no longer than a living runtime could need."""
        self._connection.settimeout(5)
        with contextlib.suppress(OSError):
            self._connection.sendall(self._sending + self._next)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(self.descriptor)
        self._connection.close()
