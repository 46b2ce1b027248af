"""The life of one service: systemd's state machine (service.c of version 252), without any I/O.

The supervisor tells what happened (`on_...`), the machine acts through its `Host`. Names of states, results and the
order of steps are systemd's, and each method is the function of service.c that it is named after: read the two side by
side. What surprises: a main process that ends takes the rest of the unit along, an ExecStop also runs after a service
ended by itself, and a start that fails is over (its job has failed) also when Restart= tries again.
"""

from __future__ import annotations

from collections.abc import Mapping
from signal import SIGHUP, SIGKILL
from typing import Protocol

from argosy.runtime.process.execute import SetupFailed
from argosy.runtime.process.exits import (
    UNKNOWN_EXIT,
    Exit,
    result_of,
    shall_restart,
    signal_name,
)
from argosy.runtime.process.spec import Command, Service

ACTIVE_STATES: Mapping[str, str] = {
    "dead": "inactive",
    "condition": "activating",
    "start-pre": "activating",
    "start": "activating",
    "start-post": "activating",
    "running": "active",
    "exited": "active",
    "reload": "reloading",
    "stop": "deactivating",
    "stop-watchdog": "deactivating",
    "stop-sigterm": "deactivating",
    "stop-sigkill": "deactivating",
    "stop-post": "deactivating",
    "final-watchdog": "deactivating",
    "final-sigterm": "deactivating",
    "final-sigkill": "deactivating",
    "failed": "failed",
    "auto-restart": "activating",
}
"""From a service's sub-state to its unit's active state."""

_STARTING = ("condition", "start-pre", "start", "start-post")
_KILLING = ("stop-watchdog", "stop-sigterm", "stop-sigkill")
_FINAL = ("final-watchdog", "final-sigterm", "final-sigkill")
_STOPPING = ("stop", *_KILLING, "stop-post", *_FINAL)
_WATCHED = ("start-post", "running", "reload")


class Host(Protocol):
    """What the machine asks of the process that it lives in."""

    def spawn(self, command: Command, variables: Mapping[str, str], *, is_main: bool) -> int:
        """Run the command; the pid. Raises SetupFailed."""
        ...

    def signal(self, pid: int, number: int) -> bool:
        """Whether there was a process to send it to."""
        ...

    def signal_rest(self, number: int, *, without: tuple[int, ...]) -> bool:
        """Send to every descendant but these; whether there was one."""
        ...

    def has_processes(self) -> bool:
        """Whether any descendant is left."""
        ...

    def is_descendant(self, pid: int) -> bool: ...

    def sole_orphan(self) -> int | None:
        """The one process that lost its parent and was left to us; None when there is none or more than one."""
        ...

    def read_pid_file(self, path: str) -> int | None:
        """The pid in the file, None when there is none to be had."""
        ...

    def remove_pid_file(self, path: str) -> None: ...

    def await_pid_file(self, path: str) -> None:
        """Look again from time to time, and call `on_pid_file`, until the state changes."""
        ...

    def arm(self, seconds: float) -> None:
        """Call `on_timeout` after so long, instead of what was asked before; `inf` is never."""
        ...

    def extend(self, seconds: float) -> None:
        """Let the timer not end before so long from now."""
        ...

    def arm_watchdog(self, seconds: float) -> None:
        """Call `on_watchdog` after so long; 0 is never."""
        ...

    def may_start(self) -> str:
        """Empty, or why not: `condition`, `assert` or `start-limit-hit`. Counts as a try at the start limit."""
        ...

    def begins(self) -> None:
        """A new invocation begins."""
        ...

    def ended(self, *, restarts: bool) -> None:
        """The service is down: runtime directories go."""
        ...

    def changed(self, old: str, new: str) -> None:
        """The state is another, or something else about the service is (then both are the same)."""
        ...

    def say(self, text: str) -> None:
        """A line for people, into the unit's log."""
        ...


class Lifecycle:
    """One service, from its first start until it is down and nothing will restart it."""

    def __init__(self, service: Service, host: Host) -> None:
        self.service = service
        self.state = "dead"
        self.result = "success"
        self.reload_result = "success"
        self.main_pid = 0
        self.control_pid = 0
        self.main_exit: Exit | None = None
        self.restarts = 0
        self.failed_command = ""
        self.status_text = ""
        self.attempts = 0
        """Starts tried, the first and the automatic ones."""
        self.start_result: str | None = None
        """How the last attempt's start job ended: done or failed; None while it goes on."""
        self._host = host
        self._is_main_known = False
        self._main_commands: list[Command] = []
        """What of ExecStart runs now and is still to run; the first is the one whose process is `main_pid`."""
        self._control_commands: list[Command] = []
        self._forbids_restart = False
        self._is_restart_job = False
        self._notified = ""
        self._watchdog_seconds = service.watchdog_seconds

    @property
    def active(self) -> str:
        return ACTIVE_STATES[self.state]

    @property
    def is_over(self) -> bool:
        """Whether it is down for good: only a new start, of a new machine, brings it back."""
        return self.state in ("dead", "failed")

    # --- what people ask for -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. The machine is new, or restarts automatically."""
        self.attempts += 1
        self.start_result = None
        match self._host.may_start():
            case "condition":
                self.start_result = "done"
                self._set_state("dead")
                return
            case "assert":
                self.start_result = "failed"
                self._set_state("dead")
                return
            case "start-limit-hit":
                self._host.say("start request repeated too quickly")
                self._enter_dead("start-limit-hit", may_restart=False)
                return
        self.result = self.reload_result = "success"
        self.main_exit = None
        self.main_pid = 0
        self._is_main_known = False
        self._forbids_restart = False
        self.failed_command = self.status_text = self._notified = ""
        self._watchdog_seconds = self.service.watchdog_seconds
        self._host.begins()
        self._enter_condition()

    def stop(self, *, is_restart: bool = False) -> None:
        """Bring it down, for a later start when `is_restart`. Restart= does not apply any more."""
        self._forbids_restart = True
        self._is_restart_job = is_restart
        if self.state == "auto-restart":
            self._set_state("dead")
        elif self.state in (*_STARTING, "reload"):
            self._enter_signal("stop-sigterm", "success")
        elif self.state in ("running", "exited"):
            self._enter_stop("success")

    def reload(self) -> bool:
        """Run ExecReload; False when there is none, or the service is not running."""
        commands = self.service.commands.get("ExecReload", [])
        if not commands or self.state not in ("running", "exited"):
            return False
        self.reload_result = "success"
        self._unwatch_control()
        try:
            self._run_control(commands, self.service.timeout_start_seconds)
        except SetupFailed as problem:
            self._host.say(f"cannot reload: {problem}")
            self.reload_result = "resources"
            self._enter_running("success")
        else:
            self._set_state("reload")
        return True

    # --- what happens ------------------------------------------------------------------------------------------

    def on_exit(self, pid: int, end: Exit) -> None:
        """A child ended: service_sigchld_event."""
        commands = self._control_commands if pid == self.control_pid else []
        # What is not the service itself is not a daemon either: being ended by SIGTERM is a failure of it.
        is_command = any(command.directive != "ExecStart" for command in commands[:1])
        result = result_of(
            end,
            is_oneshot=self.service.type == "oneshot" or is_command,
            success=self.service.success,
        )
        if pid == self.main_pid:
            self._on_main_exit(end, result)
        elif pid == self.control_pid:
            self._on_control_exit(end, result)

    def on_main_vanished(self) -> None:
        """The main process was not ours, and is gone: how it ended is not known."""
        self._on_main_exit(UNKNOWN_EXIT, "success")

    def on_exec(self, pid: int) -> None:
        """A process has executed its command."""
        if self.service.type == "exec" and pid == self.main_pid and self.state == "start":
            self._enter_start_post()

    def on_empty(self) -> None:
        """No process is left: service_notify_cgroup_empty_event."""
        nobody = not self.main_pid and not self.control_pid
        if self.state == "start" and self.service.type == "notify" and nobody:
            self._enter_stop_post("protocol")
        elif self.state in ("start", "start-post") and self.service.pid_file and nobody:
            if self._is_main_known:
                return
            self._host.say(f"nobody wrote PIDFile={self.service.pid_file}")
            if self.state == "start":
                self._enter_stop_post("protocol")
            else:
                self._enter_stop("protocol")
        elif self.state == "running":
            self._enter_running("success")
        elif self.state in _KILLING and nobody:
            self._enter_stop_post("success")
        elif self.state in ("stop-post", *_FINAL) and nobody:
            self._enter_dead("success", may_restart=True)

    def on_pid_file(self) -> None:
        """The file that was waited for may be there."""
        if not self._load_pid_file():
            return
        if self.state == "start":
            self._enter_start_post()
        elif self.state == "start-post":
            self._enter_running("success")

    def on_timeout(self) -> None:
        """The timer ended: service_dispatch_timer."""
        sends_sigkill = self.service.sends_sigkill
        state = self.state
        if state in _STARTING:
            self._host.say(f"{state} timed out, terminating")
            self._note_failure(self._running_command())
            self._enter_signal("stop-sigterm", "timeout")
        elif state == "running":
            self._host.say("RuntimeMaxSec= is over, stopping")
            self._enter_stop("timeout")
        elif state == "reload":
            self._host.say("reload timed out, killing its process")
            self._kill_control()
            self.reload_result = "timeout"
            self._notified = ""
            self._enter_running("success")
        elif state == "stop":
            self._host.say("ExecStop timed out, terminating")
            self._note_failure(self._running_command())
            self._enter_signal("stop-sigterm", "timeout")
        elif state in ("stop-watchdog", "stop-sigterm"):
            self._host.say(f"{state} timed out" + (", killing" if sends_sigkill else ""))
            if sends_sigkill:
                self._enter_signal("stop-sigkill", "timeout")
            else:
                self._enter_stop_post("timeout")
        elif state == "stop-sigkill":
            self._host.say("processes are still there after SIGKILL, going on")
            self._enter_stop_post("timeout")
        elif state == "stop-post":
            self._host.say("ExecStopPost timed out, terminating")
            self._note_failure(self._running_command())
            self._enter_signal("final-sigterm", "timeout")
        elif state in ("final-watchdog", "final-sigterm") and sends_sigkill:
            self._host.say(f"{state} timed out, killing")
            self._enter_signal("final-sigkill", "timeout")
        elif state in _FINAL:
            self._host.say("processes are still there, giving up")
            self._enter_dead("timeout", may_restart=state == "final-sigkill")
        elif state == "auto-restart":
            self.restarts += 1
            self._host.say(f"restart {self.restarts}")
            self.start()

    def on_watchdog(self) -> None:
        """The service was silent for longer than WatchdogSec."""
        self._host.say("watchdog timed out, aborting")
        self._enter_signal("stop-watchdog", "watchdog")

    def on_notify(self, pid: int, fields: Mapping[str, str]) -> None:
        """A message of sd_notify(3): service_notify_message. pid: who sent it, as the kernel says."""
        if not self._may_notify(pid):
            return
        if "MAINPID" in fields and self.state in ("start", "start-post", "running", "reload"):
            self._take_main_pid(fields["MAINPID"])
        if fields.get("STOPPING") == "1":
            self._notified = "stopping"
            if self.state == "running":
                self._enter_stop_by_notify()
        if fields.get("READY") == "1":
            self._notified = "ready"
            if self.service.type == "notify" and self.state == "start":
                self._enter_start_post()
            elif self.state == "reload" and not self.control_pid:
                self._enter_running("success")
        if fields.get("RELOADING") == "1" and fields.get("READY") != "1":
            self._notified = "reloading"
            if self.state == "running":
                self._enter_reload_by_notify()
        if "STATUS" in fields and fields["STATUS"] != self.status_text:
            self.status_text = fields["STATUS"]
            self._host.changed(self.state, self.state)
        if fields.get("EXTEND_TIMEOUT_USEC", "").isdigit() and self.state in (
            *_STARTING,
            *_STOPPING,
            "running",
        ):
            self._host.extend(int(fields["EXTEND_TIMEOUT_USEC"]) / 1e6)
        if fields.get("WATCHDOG_USEC", "").isdigit():
            self._watchdog_seconds = int(fields["WATCHDOG_USEC"]) / 1e6
            self._reset_watchdog()
        if fields.get("WATCHDOG") == "1":
            self._reset_watchdog()
        elif fields.get("WATCHDOG") == "trigger" and self.state in _WATCHED:
            self.on_watchdog()

    # --- ends of processes -------------------------------------------------------------------------------------

    def _on_main_exit(self, end: Exit, result: str) -> None:
        self.main_pid = 0
        self._is_main_known = True
        self.main_exit = end
        # Of a forking service the process that was started is judged: its `-` holds for the daemon, too.
        judged = self._main_commands or self.service.commands.get("ExecStart", [])
        if judged and judged[0].ignores_failure:
            result = "success"
        if result != "success":
            self._host.say(f"main process ended, {end}")
            self._note_failure(judged[0] if judged else None)
        self._add_result(result)
        if self._main_commands[1:] and self.service.type == "oneshot" and result == "success":
            self._run_next_main()
            return
        self._main_commands = []
        state = self.state
        if state in ("start-post", "reload"):
            if not self.control_pid:
                self._enter_stop(result)
        elif state == "start" and self.service.type == "oneshot":
            if result == "success":
                self._enter_start_post()
            else:
                self._enter_signal("stop-sigterm", result)
        elif state == "start" and self.service.type == "notify":
            if result != "success":
                self._enter_signal("stop-sigterm", result)
            elif not self.service.remains_after_exit or self.service.notify_access == "main":
                self._host.say("the main process ended before it said that it is ready")
                self._enter_signal("stop-sigterm", "protocol")
        elif state in ("start", "running"):
            self._enter_running(result)
        elif not self.control_pid:
            self._on_last_exit(result)
        self._host.changed(self.state, self.state)

    def _on_control_exit(self, end: Exit, result: str) -> None:
        self.control_pid = 0
        commands, self._control_commands = self._control_commands, []
        if commands and commands[0].ignores_failure:
            result = "success"
        state = self.state
        if state == "condition" and result == "exit-code" and (end.code or 0) < 255:
            result = "exec-condition"
        if result not in ("success", "exec-condition"):
            what = commands[0] if commands else None
            self._host.say(f"{what.directive if what else 'control process'} ended, {end}")
            if state != "reload":
                self._note_failure(what)
        if state != "reload":
            self._add_result(result)
        if result == "success" and commands[1:]:
            self._run_next_control(commands[1:])
            return
        is_well = result == "success"
        if state == "condition":
            self._enter_start_pre() if is_well else self._enter_signal("stop-sigterm", result)
        elif state == "start-pre":
            self._enter_start() if is_well else self._enter_signal("stop-sigterm", result)
        elif state == "start" and self.service.type == "forking":
            self._on_forked(result)
        elif state == "start-post":
            self._on_start_post_done(result)
        elif state == "reload":
            self.reload_result = result
            if is_well:
                self._load_pid_file()
            self._enter_running("success")
        elif state == "stop":
            self._enter_signal("stop-sigterm", result)
        elif not self.main_pid:
            self._on_last_exit(result)

    def _on_last_exit(self, result: str) -> None:
        """Neither a main nor a control process is left in a state that waits for their ends."""
        if self.state in _KILLING:
            self._enter_stop_post(result)
        elif self.state == "stop-post":
            self._enter_signal("final-sigterm", result)
        elif self.state in _FINAL and not self._has_rest():
            self._enter_dead(result, may_restart=True)

    def _on_forked(self, result: str) -> None:
        """The process that ExecStart= began has ended, and should have left a daemon."""
        if result != "success":
            self._enter_signal("stop-sigterm", result)
        elif self.service.pid_file:
            has_post = bool(self.service.commands.get("ExecStartPost"))
            if self._load_pid_file() or has_post:  # ExecStartPost= may be what writes it
                self._enter_start_post()
            elif self._host.has_processes():
                self._host.await_pid_file(self.service.pid_file)
            else:
                self._host.say(f"nobody wrote PIDFile={self.service.pid_file}")
                self._enter_signal("stop-sigterm", "protocol")
        else:
            self._search_main_pid()
            self._enter_start_post()

    def _on_start_post_done(self, result: str) -> None:
        if result != "success":
            self._enter_signal("stop-sigterm", result)
        elif self.service.pid_file and not self._load_pid_file():
            if self._host.has_processes():
                self._host.await_pid_file(self.service.pid_file)
            else:
                self._host.say(f"nobody wrote PIDFile={self.service.pid_file}")
                self._enter_stop("protocol")
        else:
            if not self.service.pid_file:
                self._search_main_pid()
            self._enter_running("success")

    # --- states ------------------------------------------------------------------------------------------------

    def _enter_condition(self) -> None:
        commands = self.service.commands.get("ExecCondition", [])
        if not commands:
            self._enter_start_pre()
            return
        try:
            self._run_control(commands, self.service.timeout_start_seconds)
        except SetupFailed as problem:
            self._give_up("ExecCondition", problem)
            self._enter_dead("resources", may_restart=True)
        else:
            self._set_state("condition")

    def _enter_start_pre(self) -> None:
        self._unwatch_control()
        commands = self.service.commands.get("ExecStartPre", [])
        if not commands:
            self._enter_start()
            return
        try:
            self._run_control(commands, self.service.timeout_start_seconds)
        except SetupFailed as problem:
            self._give_up("ExecStartPre", problem)
            self._enter_dead("resources", may_restart=True)
        else:
            self._set_state("start-pre")

    def _enter_start(self) -> None:
        self._unwatch_control()
        commands = self.service.commands.get("ExecStart", [])
        kind = self.service.type
        if not commands:  # a oneshot with nothing but an ExecStop
            self._set_state("start")
            self._enter_start_post()
            return
        timeout = self.service.timeout_start_seconds if kind != "simple" else float("inf")
        try:
            if kind == "forking":
                self._run_control(commands, timeout)
            else:
                self._run_main(commands, timeout)
        except SetupFailed as problem:
            self._give_up("ExecStart", problem)
            self._enter_signal("stop-sigterm", "resources")
            return
        if kind == "simple":
            self._enter_start_post()
        else:
            self._set_state("start")

    def _enter_start_post(self) -> None:
        self._unwatch_control()
        self._reset_watchdog(is_entering=True)
        commands = self.service.commands.get("ExecStartPost", [])
        if not commands:
            self._enter_running("success")
            return
        try:
            self._run_control(commands, self.service.timeout_start_seconds)
        except SetupFailed as problem:
            self._give_up("ExecStartPost", problem)
            self._enter_stop("resources")
        else:
            self._set_state("start-post")

    def _enter_running(self, result: str) -> None:
        self._add_result(result)
        self._unwatch_control()
        if self.result != "success":
            self._enter_signal("stop-sigterm", result)
        elif self._is_good():
            if self._notified == "reloading":
                self._enter_reload_by_notify()
            elif self._notified == "stopping":
                self._enter_stop_by_notify()
            else:
                self._host.arm(self.service.runtime_max_seconds)
                self._set_state("running")
        elif self.service.remains_after_exit:
            self._host.arm(float("inf"))
            self._set_state("exited")
        else:
            self._enter_stop("success")

    def _enter_reload_by_notify(self) -> None:
        self._host.arm(self.service.timeout_start_seconds)
        self._set_state("reload")

    def _enter_stop_by_notify(self) -> None:
        self._host.arm(self.service.timeout_stop_seconds)
        self._set_state("stop-sigterm")

    def _enter_stop(self, result: str) -> None:
        self._add_result(result)
        self._unwatch_control()
        commands = self.service.commands.get("ExecStop", [])
        if not commands:
            self._enter_signal("stop-sigterm", "success")
            return
        try:
            self._run_control(commands, self.service.timeout_stop_seconds)
        except SetupFailed as problem:
            self._give_up("ExecStop", problem)
            self._enter_signal("stop-sigterm", "resources")
        else:
            self._set_state("stop")

    def _enter_signal(self, state: str, result: str) -> None:
        self._add_result(result)
        is_watchdog = state in ("stop-watchdog", "final-watchdog")
        if self._kill(state):
            service = self.service
            self._host.arm(
                service.timeout_abort_seconds if is_watchdog else service.timeout_stop_seconds
            )
            self._set_state(state)
        elif state in ("stop-watchdog", "stop-sigterm") and self.service.sends_sigkill:
            self._enter_signal("stop-sigkill", "success")
        elif state in _KILLING:
            self._enter_stop_post("success")
        elif state in ("final-watchdog", "final-sigterm") and self.service.sends_sigkill:
            self._enter_signal("final-sigkill", "success")
        else:
            self._enter_dead("success", may_restart=True)

    def _enter_stop_post(self, result: str) -> None:
        self._add_result(result)
        self._unwatch_control()
        commands = self.service.commands.get("ExecStopPost", [])
        if not commands:
            self._enter_signal("final-sigterm", "success")
            return
        try:
            self._run_control(commands, self.service.timeout_stop_seconds)
        except SetupFailed as problem:
            self._give_up("ExecStopPost", problem)
            self._enter_signal("final-sigterm", "resources")
        else:
            self._set_state("stop-post")

    def _enter_dead(self, result: str, *, may_restart: bool) -> None:
        self._add_result(result)
        restarts = (
            may_restart
            and not self._forbids_restart
            and shall_restart(self.service, result=self.result, main=self.main_exit)
        )
        is_failure = self.result not in ("success", "exec-condition")
        if is_failure:
            self._host.say(f"failed with result '{self.result}'")
        if self.service.pid_file:
            self._host.remove_pid_file(self.service.pid_file)
        self._host.ended(restarts=restarts)
        self._host.arm(float("inf"))
        if restarts:
            if self.start_result is None:
                self.start_result = "failed" if is_failure else "done"
            self._host.arm(self.service.restart_seconds)
            self._set_state("auto-restart")
        else:
            self._set_state("failed" if is_failure else "dead")

    def _set_state(self, state: str) -> None:
        old, self.state = self.state, state
        if state in ("dead", "failed", "auto-restart", "running", "exited"):
            self._unwatch_control()
        if state not in _WATCHED:
            self._host.arm_watchdog(0)
        if self.start_result is None:
            if state == "failed":
                self.start_result = "failed"
            elif state == "dead" or ACTIVE_STATES[state] in ("active", "reloading"):
                self.start_result = "done"
        self._host.changed(old, state)

    # --- processes ---------------------------------------------------------------------------------------------

    def _run_main(self, commands: list[Command], timeout: float) -> None:
        self._host.arm(timeout)
        self.main_pid = self._host.spawn(commands[0], self._variables("ExecStart"), is_main=True)
        self._main_commands = commands
        self._is_main_known = True

    def _run_next_main(self) -> None:
        try:
            self._run_main(self._main_commands[1:], self.service.timeout_start_seconds)
        except SetupFailed as problem:
            self._give_up("ExecStart", problem)
            self._main_commands = []
            self._enter_stop("resources")
        else:
            self._host.changed(self.state, self.state)

    def _run_control(self, commands: list[Command], timeout: float) -> None:
        self._host.arm(timeout)
        # A forking service's ExecStart is a control command that is told what a main process is told.
        directive = commands[0].directive
        self.control_pid = self._host.spawn(
            commands[0], self._variables(directive), is_main=directive == "ExecStart"
        )
        self._control_commands = commands

    def _run_next_control(self, commands: list[Command]) -> None:
        timeout = (
            self.service.timeout_start_seconds
            if self.state in (*_STARTING, "reload")
            else self.service.timeout_stop_seconds
        )
        try:
            self._run_control(commands, timeout)
        except SetupFailed as problem:
            self._give_up(commands[0].directive, problem)
            if self.state in _STARTING:
                self._enter_signal("stop-sigterm", "resources")
            elif self.state == "stop-post":
                self._enter_signal("final-sigterm", "resources")
            elif self.state == "reload":
                self.reload_result = "resources"
                self._enter_running("success")
            else:
                self._enter_signal("stop-sigterm", "resources")
        else:
            self._host.changed(self.state, self.state)

    def _variables(self, directive: str) -> dict[str, str]:
        """What systemd tells a process of its service (service_spawn_internal)."""
        variables: dict[str, str] = {}
        if self.main_pid:
            variables["MAINPID"] = str(self.main_pid)
        if directive in ("ExecStop", "ExecStopPost"):
            variables["SERVICE_RESULT"] = self.result
            end = self.main_exit
            if end is not None and end.signal is None:
                variables |= {"EXIT_CODE": "exited", "EXIT_STATUS": str(end.code)}
            elif end is not None and end.signal is not None:
                variables["EXIT_CODE"] = "dumped" if end.dumped else "killed"
                variables["EXIT_STATUS"] = signal_name(end.signal).removeprefix("SIG")
        if directive == "ExecStart" and self._watchdog_seconds:
            variables["WATCHDOG_USEC"] = str(int(self._watchdog_seconds * 1e6))
        return variables

    def _kill(self, state: str) -> bool:
        """Send what the state sends to whom KillMode= names; whether there is somebody whose end to wait for."""
        service = self.service
        if service.kill_mode == "none":
            return False
        is_last = state in ("stop-sigkill", "final-sigkill")
        if is_last:
            number = service.final_kill_signal
        elif state in ("stop-watchdog", "final-watchdog"):
            number = service.watchdog_signal
        elif state == "stop-sigterm" and self._is_restart_job:
            number = service.restart_kill_signal
        else:
            number = service.kill_signal
        numbers = [number]
        if service.sends_sighup and not is_last and number != SIGHUP:
            numbers.append(SIGHUP)
        known = tuple(pid for pid in (self.main_pid, self.control_pid) if pid)
        waits = False
        for number in numbers:
            for pid in known:
                waits |= self._host.signal(pid, number)
            if service.kill_mode == "control-group" or (service.kill_mode == "mixed" and is_last):
                waits |= self._host.signal_rest(number, without=known)
        return waits

    def _kill_control(self) -> None:
        if self.control_pid:
            self._host.signal(self.control_pid, SIGKILL)

    def _is_good(self) -> bool:
        """Whether there is something that runs: the main process, or anything where that is not known."""
        return bool(self.main_pid) if self._is_main_known else self._host.has_processes()

    def _has_rest(self) -> bool:
        """Whether somebody is left whom this state has to see gone (systemd asks the control group)."""
        return self.service.kill_mode in ("control-group", "mixed") and self._host.has_processes()

    def _search_main_pid(self) -> None:
        if not self._is_main_known and self.service.guesses_main_pid:
            pid = self._host.sole_orphan()
            if pid is not None:
                self._set_main_pid(pid)

    def _load_pid_file(self) -> bool:
        """Take the main process from PIDFile=, if it is there and names one of ours."""
        path = self.service.pid_file
        if not path:
            return False
        pid = self._host.read_pid_file(path)
        if pid is None:
            return False
        if pid == self.control_pid or not self._host.is_descendant(pid):
            self._host.say(f"PIDFile={path} names process {pid}, which is not one of this unit")
            return False
        self._set_main_pid(pid)
        return True

    def _take_main_pid(self, text: str) -> None:
        pid = int(text) if text.isdigit() and len(text) < 10 else 0
        if pid == self.main_pid:
            return
        if pid and self._host.is_descendant(pid):
            self._set_main_pid(pid)
            self._host.changed(self.state, self.state)
        else:
            self._host.say(f"MAINPID={text} is not one of this unit's processes")

    def _set_main_pid(self, pid: int) -> None:
        self.main_pid = pid
        self._is_main_known = True

    def _may_notify(self, pid: int) -> bool:
        match self.service.notify_access:
            case "all":
                return self._host.is_descendant(pid)
            case "exec":
                return pid in (self.main_pid, self.control_pid)
            case "main":
                return pid == self.main_pid
        return False

    def _reset_watchdog(self, *, is_entering: bool = False) -> None:
        if is_entering or self.state in _WATCHED:
            self._host.arm_watchdog(self._watchdog_seconds)

    def _unwatch_control(self) -> None:
        self.control_pid = 0
        self._control_commands = []

    def _add_result(self, result: str) -> None:
        """The first thing that went wrong is the result."""
        if self.result == "success":
            self.result = result

    def _running_command(self) -> Command | None:
        running = self._control_commands or self._main_commands
        return running[0] if running else None

    def _note_failure(self, command: Command | None) -> None:
        if command is not None and not self.failed_command:
            self.failed_command = str(command)

    def _give_up(self, directive: str, problem: SetupFailed) -> None:
        self._host.say(f"cannot run {directive}: {problem}")
        if not self.failed_command:
            commands = self.service.commands[directive]
            self.failed_command = str(commands[0])
