"""How a process ended, and what systemd makes of it: clean or not, which result, restart or not. Pure.

Sources: exit-status.c and service.c of systemd 252 (is_clean_exit, service_shall_restart), systemd.service(5) for the
table of Restart=, systemd.exec(5) for the names of exit codes.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from argosy.runtime.process.spec import ExitSet, Service

CLEAN_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE})
"""Ends of a daemon that nobody calls a failure; of a oneshot they are one."""

CODES = {
    "SUCCESS": 0, "FAILURE": 1, "INVALIDARGUMENT": 2, "NOTIMPLEMENTED": 3, "NOPERMISSION": 4,
    "NOTINSTALLED": 5, "NOTCONFIGURED": 6, "NOTRUNNING": 7,
    "USAGE": 64, "DATAERR": 65, "NOINPUT": 66, "NOUSER": 67, "NOHOST": 68, "UNAVAILABLE": 69,
    "SOFTWARE": 70, "OSERR": 71, "OSFILE": 72, "CANTCREAT": 73, "IOERR": 74, "TEMPFAIL": 75,
    "PROTOCOL": 76, "NOPERM": 77, "CONFIG": 78,
    "CHDIR": 200, "NICE": 201, "FDS": 202, "EXEC": 203, "MEMORY": 204, "LIMITS": 205,
    "OOM_ADJUST": 206, "SIGNAL_MASK": 207, "STDIN": 208, "STDOUT": 209, "CHROOT": 210,
    "IOPRIO": 211, "TIMERSLACK": 212, "SECUREBITS": 213, "SETSCHEDULER": 214, "CPUAFFINITY": 215,
    "GROUP": 216, "USER": 217, "CAPABILITIES": 218, "CGROUP": 219, "SETSID": 220, "CONFIRM": 221,
    "STDERR": 222, "PAM": 224, "NETWORK": 225, "NAMESPACE": 226, "NO_NEW_PRIVILEGES": 227,
    "SECCOMP": 228, "SELINUX_CONTEXT": 229, "PERSONALITY": 230, "APPARMOR_PROFILE": 231,
    "ADDRESS_FAMILIES": 232, "RUNTIME_DIRECTORY": 233, "CHOWN": 235, "SMACK_PROCESS_LABEL": 236,
    "KEYRING": 237, "STATE_DIRECTORY": 238, "CACHE_DIRECTORY": 239, "LOGS_DIRECTORY": 240,
    "CONFIGURATION_DIRECTORY": 241, "NUMA_POLICY": 242, "CREDENTIALS": 243, "BPF": 245,
    "EXCEPTION": 255,
}  # fmt: skip
"""Names that SuccessExitStatus and its like accept, systemd.exec(5)."""

CODE_NAMES = {code: name for name, code in CODES.items()}


class Exit(NamedTuple):
    """How a process ended: with an exit code, or by a signal."""

    code: int | None = None
    signal: int | None = None
    dumped: bool = False

    def __str__(self) -> str:
        """`status=203/EXEC`, `signal=SIGKILL`."""
        if self.signal is not None:
            return f"signal={signal_name(self.signal)}" + (" (core dumped)" if self.dumped else "")
        name = CODE_NAMES.get(self.code or 0)
        return f"status={self.code}/{name}" if name else f"status={self.code}"


UNKNOWN_EXIT = Exit(code=0)
"""Of a main process that was somebody else's child: nobody told us, and systemd takes it for a success."""


def signal_name(number: int) -> str:
    """`SIGKILL`, `SIGRTMIN+3`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def contains(exits: ExitSet, end: Exit) -> bool:
    if end.signal is not None:
        return end.signal in exits.signals
    return end.code in exits.codes


def result_of(end: Exit, *, is_oneshot: bool, success: ExitSet) -> str:
    """`success`, or why it is none: systemd's service results."""
    if contains(success, end) or end.code == 0:
        return "success"
    if end.signal is None:
        return "exit-code"
    if end.dumped:
        return "core-dump"
    return "success" if end.signal in CLEAN_SIGNALS and not is_oneshot else "signal"


def shall_restart(service: Service, *, result: str, main: Exit | None) -> bool:
    """What Restart= says to an end that nobody asked for. main: of the main process, if there was one."""
    if main is not None:
        if contains(service.restart_prevent, main):
            return False
        if contains(service.restart_force, main):
            return True
    match service.restart:
        case "always":
            return result != "exec-condition"
        case "on-success":
            return result == "success"
        case "on-failure":
            return result not in ("success", "exec-condition")
        case "on-abnormal":
            return result not in ("success", "exit-code", "exec-condition")
        case "on-abort":
            return result in ("signal", "core-dump")
        case "on-watchdog":
            return result == "watchdog"
    return False
