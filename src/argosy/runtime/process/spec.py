"""A service as a supervisor runs it: what `load.py` makes of a unit's text, and what crosses over as JSON.

No text is left to parse here, except where systemd itself reads it late: environment files and variables in command
lines are read each time a command is run. Times are seconds, `inf` is never. Imports nothing of ours.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""systemd's DEFAULT_PATH where /bin may not be a link into /usr."""


@dataclass(slots=True, kw_only=True)
class Command:
    """One command line of an Exec directive."""

    directive: str
    """`ExecStartPre`."""
    line: str
    """As written, for people."""
    path: str
    """Absolute, or a name to be looked for in the search path."""
    argv: list[str]
    """With specifiers expanded; variables are not."""
    ignores_failure: bool = False
    expands_variables: bool = True
    is_privileged: bool = False
    """`+` or `!`: User= and Group= are not applied."""

    def __str__(self) -> str:
        return f"{self.directive}={self.line}"


@dataclass(slots=True, kw_only=True)
class ExitSet:
    """Exit codes and signal numbers, as in SuccessExitStatus."""

    codes: list[int] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Check:
    """One Condition or Assert."""

    directive: str
    """Without its `Condition` or `Assert`: `PathExists`."""
    parameter: str
    is_assert: bool = False
    is_trigger: bool = False
    """`|`: of the triggers one is enough."""
    is_negated: bool = False

    def __str__(self) -> str:
        marks = "|" * self.is_trigger + "!" * self.is_negated
        return (
            f"{'Assert' if self.is_assert else 'Condition'}{self.directive}={marks}{self.parameter}"
        )


@dataclass(slots=True, kw_only=True)
class Directories:
    """One of RuntimeDirectory, StateDirectory, CacheDirectory, LogsDirectory, ConfigurationDirectory."""

    variable: str
    """`RUNTIME_DIRECTORY`."""
    base: str
    names: list[str]
    mode: int = 0o755
    exit_code: int = 233
    """What a process ends with that could not make it (systemd.exec(5), "Process Exit Codes")."""


@dataclass(slots=True, kw_only=True)
class Execution:
    """How the processes of a service are run: systemd.exec(5)."""

    environment: dict[str, str] = field(default_factory=dict)
    environment_files: list[tuple[str, bool]] = field(default_factory=list)
    """Path, and whether it may be missing."""
    pass_environment: list[str] = field(default_factory=list)
    unset_environment: list[str] = field(default_factory=list)
    working_directory: str = ""
    """Absolute, `~` for the user's home, or empty for the default."""
    may_lack_working_directory: bool = False
    user: str = ""
    group: str = ""
    supplementary_groups: list[str] = field(default_factory=list)
    umask: int = 0o022
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    """`NOFILE` to its soft and hard limit."""
    nice: int | None = None
    oom_score_adjust: int | None = None
    ignores_sigpipe: bool = True
    directories: list[Directories] = field(default_factory=list)
    keeps_runtime_directory: str = "no"
    """RuntimeDirectoryPreserve: no, restart or yes."""
    standard_input: str = "null"
    """`null` or `file:PATH`."""
    standard_output: str = "journal"
    """`null`, `journal`, `inherit`, or `file:`, `append:`, `truncate:` with a path."""
    standard_error: str = "inherit"


@dataclass(slots=True, kw_only=True)
class Service:
    """Everything that a supervisor needs to know of a unit."""

    name: str
    digest: str = ""
    type: str = "simple"
    """simple, exec, oneshot, forking or notify."""
    commands: dict[str, list[Command]] = field(default_factory=dict)
    """By directive: ExecCondition, ExecStartPre, ExecStart, ExecStartPost, ExecReload, ExecStop, ExecStopPost."""
    checks: list[Check] = field(default_factory=list)
    execution: Execution = field(default_factory=Execution)
    remains_after_exit: bool = False
    pid_file: str = ""
    guesses_main_pid: bool = True
    notify_access: str = "none"
    restart: str = "no"
    restart_seconds: float = 0.1
    start_limit_seconds: float = 10.0
    start_limit_burst: int = 5
    timeout_start_seconds: float = 90.0
    timeout_stop_seconds: float = 90.0
    timeout_abort_seconds: float = 90.0
    runtime_max_seconds: float = math.inf
    watchdog_seconds: float = 0.0
    """0 is no watchdog."""
    kill_mode: str = "control-group"
    kill_signal: int = 15
    restart_kill_signal: int = 15
    final_kill_signal: int = 9
    watchdog_signal: int = 6
    sends_sigkill: bool = True
    sends_sighup: bool = False
    success: ExitSet = field(default_factory=ExitSet)
    restart_prevent: ExitSet = field(default_factory=ExitSet)
    restart_force: ExitSet = field(default_factory=ExitSet)


def to_json(service: Service) -> dict[str, Any]:
    """As plain values for `json.dumps`."""
    return dataclasses.asdict(service)


def from_json(plain: Mapping[str, Any]) -> Service:
    """The inverse of `to_json`, also after a trip through JSON. Trusts what it is given: only our own processes send it."""
    execution = plain["execution"]
    return Service(
        **{
            **plain,
            "commands": {
                directive: [Command(**command) for command in commands]
                for directive, commands in plain["commands"].items()
            },
            "checks": [Check(**check) for check in plain["checks"]],
            "execution": Execution(
                **{
                    **execution,
                    "environment_files": [
                        (path, may) for path, may in execution["environment_files"]
                    ],
                    "limits": {
                        name: (soft, hard) for name, (soft, hard) in execution["limits"].items()
                    },
                    "directories": [Directories(**d) for d in execution["directories"]],
                }
            ),
            **{
                key: ExitSet(**plain[key])
                for key in ("success", "restart_prevent", "restart_force")
            },
        }
    )
