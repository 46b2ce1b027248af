"""Pure: what systemd's properties say of a unit, as a UnitStatus.

systemd tells of each change with the properties that changed, those of the service before those of the unit, so a status
is folded from them and nothing is asked for; only the command that failed has to be looked up.
Source: org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from argosy.model.observed import ActiveState, LoadState, UnitStatus

CLD_EXITED = 1
"""waitid(2): the process exited by itself; other codes are signals."""

ENTERED: Mapping[ActiveState, str] = {
    ActiveState.ACTIVE: "ActiveEnterTimestamp",
    ActiveState.RELOADING: "ActiveEnterTimestamp",
    ActiveState.INACTIVE: "InactiveEnterTimestamp",
    ActiveState.FAILED: "InactiveEnterTimestamp",
    ActiveState.ACTIVATING: "InactiveExitTimestamp",
    ActiveState.DEACTIVATING: "ActiveExitTimestamp",
}

COMMANDS = (
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
)


def folded(status: UnitStatus, changed: Mapping[str, Any]) -> UnitStatus:
    """The status after these properties changed. Others than it shows are passed over."""
    new: dict[str, Any] = {}
    if "ActiveState" in changed:
        new["active"] = active_state(changed["ActiveState"])
        entered = changed.get(ENTERED[new["active"]], 0)
        if new["active"] is not status.active or status.since is None:
            new["since"] = instant(entered)
    if "SubState" in changed:
        new["sub"] = changed["SubState"]
    if "LoadState" in changed:
        new["load"] = load_state(changed["LoadState"])
    if changed.get("InactiveExitTimestamp"):
        new["has_run"] = True
    if "Result" in changed:
        new["result"] = changed["Result"]
    if "MainPID" in changed:
        new["main_pid"] = changed["MainPID"] or None
    if "NRestarts" in changed:
        new["restarts"] = changed["NRestarts"]
    if "StatusText" in changed:
        new["text"] = changed["StatusText"]
    if "ExecMainCode" in changed:
        new |= _how_it_ended(changed["ExecMainCode"], changed.get("ExecMainStatus", 0))
    if new.get("active", status.active) is not ActiveState.FAILED:
        new |= {"failed_command": "", "last_lines": ()}
    return msgspec.structs.replace(status, **new)


def failed_command(properties: Mapping[str, Any], result: str) -> str:
    """`ExecStartPre=/bin/false` of a service's command lists: the last one that ended badly. Empty when none did.

    Each command is (path, argv, ignore errors, start, start monotonic, exit, exit monotonic, pid, code, status).
    """
    if result not in ("exit-code", "signal", "core-dump", "timeout", "watchdog", "oom-kill"):
        return ""
    worst: tuple[int, str] = (0, "")
    for directive in COMMANDS:
        for path, argv, is_ignored, _, started, _, ended, pid, code, status in properties.get(
            directive, ()
        ):
            if not pid or is_ignored or (code == CLD_EXITED and status == 0):
                continue
            words = " ".join(_shown(word) for word in [path, *argv[1:]])
            worst = max(worst, (ended or started, f"{directive}={words}"))
    return worst[1]


def active_state(word: str) -> ActiveState:
    try:
        return ActiveState(word)
    except ValueError:
        # `maintenance` and what later versions add: not at rest, and nobody's order to act.
        return ActiveState.DEACTIVATING


def load_state(word: str) -> LoadState:
    try:
        return LoadState(word)
    except ValueError:
        return LoadState.ERROR


def instant(microseconds: int) -> datetime | None:
    return datetime.fromtimestamp(microseconds / 1e6, UTC) if microseconds else None


def _how_it_ended(code: int, status: int) -> dict[str, Any]:
    if code == 0:
        return {"exit_code": None, "exit_signal": None}
    if code == CLD_EXITED:
        return {"exit_code": status, "exit_signal": None}
    try:
        name = signal.Signals(status).name
    except ValueError:
        name = f"SIGRTMIN+{status - signal.SIGRTMIN}"
    return {"exit_code": None, "exit_signal": name}


def _shown(word: str) -> str:
    plain: Sequence[str] = "'\" \t\\$;"
    if word and not any(sign in word for sign in plain):
        return word
    return "'" + word.replace("'", "\\'") + "'"
