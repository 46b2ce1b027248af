"""What a machine's runtime reports about a unit, in systemd's words. Written by that machine's agent alone."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from argosy.model.ids import Digest, MachineId, UnitName


class LoadState(enum.StrEnum):
    LOADED = "loaded"
    NOT_FOUND = "not-found"
    BAD_SETTING = "bad-setting"
    MASKED = "masked"
    ERROR = "error"


class ActiveState(enum.StrEnum):
    ACTIVE = "active"
    RELOADING = "reloading"
    INACTIVE = "inactive"
    FAILED = "failed"
    ACTIVATING = "activating"
    DEACTIVATING = "deactivating"

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way: active, inactive or failed."""
        return self in (ActiveState.ACTIVE, ActiveState.INACTIVE, ActiveState.FAILED)


class UnitStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A unit on a machine, as its runtime saw it last. Values are those of `systemctl show` (org.freedesktop.systemd1)."""

    name: UnitName
    digest: Digest | None = None
    """Version (`AssignedUnit.version`) of what the runtime has; None for a unit that Argosy did not install."""
    load: LoadState = LoadState.LOADED
    active: ActiveState = ActiveState.INACTIVE
    sub: str = "dead"
    result: str = "success"
    """Why the last run ended: success, exit-code, signal, core-dump, timeout, watchdog, start-limit-hit, protocol,
    resources, exec-condition, oom-kill."""
    exit_code: int | None = None
    """Of the main process's last run, when it exited by itself."""
    exit_signal: str | None = None
    """Name of the signal that ended the main process, `SIGKILL`."""
    failed_command: str = ""
    """The directive and command line that failed, `ExecStartPre=/bin/false`; empty unless failed."""
    main_pid: int | None = None
    since: datetime | None = None
    """When `active` took its present value."""
    restarts: int = 0
    """Automatic restarts since somebody last asked for a start (systemd's NRestarts)."""
    has_run: bool = False
    """Whether it was started since the machine (or, for plain processes, the runtime directory) came up."""
    text: str = ""
    """The unit's own words (sd_notify STATUS=)."""
    altered: str = ""
    """How the unit on the machine differs from what Argosy installed, in words: somebody changed it by hand."""
    cut_off: bool = False
    """Whether it does not run because its machine was cut off: it was stopped when its time was over (`Runtime.arm`)."""
    released: int = 0
    """Of a unit that its assignment lets go (`AssignedUnit.is_leaving`): the fence under which it ended here. It does not
    run, and is not started again, under this fence or a lower one."""
    last_lines: tuple[str, ...] = ()
    """The last lines of its output, at most 20, filled in when it fails."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A status and whose it is: the stored record."""

    machine: MachineId
    status: UnitStatus
