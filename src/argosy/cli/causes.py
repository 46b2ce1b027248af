"""Why a unit failed, in words, from what its runtime reported.

Source of the results: systemd.service(5) and `systemctl show -p Result`; of the exit codes from 200: systemd.exec(5),
"Process Exit Codes".
"""

from __future__ import annotations

from collections.abc import Mapping

from argosy.client import StateView

_SETUP_CODES: Mapping[int, str] = {
    200: "cannot change to WorkingDirectory=",
    201: "cannot set Nice=",
    203: "the program cannot be executed: is it there, is it executable?",
    205: "cannot set a Limit...=",
    209: "cannot set up StandardOutput=",
    214: "cannot set the scheduling",
    216: "no such Group=",
    217: "no such User=",
    226: "cannot set up the namespaces",
    233: "cannot create RuntimeDirectory=",
    238: "cannot create StateDirectory=",
}
_SHELL_CODES: Mapping[int, str] = {
    126: "a shell's way to say: not executable",
    127: "a shell's way to say: command not found",
}
_RESULTS: Mapping[str, str] = {
    "timeout": "took longer than it may (timeout)",
    "watchdog": "did not say in time that it is alive (watchdog)",
    "start-limit-hit": "was started too often in too short a time (start-limit-hit)",
    "protocol": "did not do what its Type= promises (protocol)",
    "resources": "could not be set up on the machine (resources)",
    "oom-kill": "was killed because memory ran out (oom-kill)",
    "exec-condition": "was not to be started, says ExecCondition=",
}


def cause(row: StateView) -> str:
    """What ended it, `ExecStart=/bin/false exited with code 1`; empty when nothing went wrong."""
    if row["load"] != "loaded":
        return f"its file cannot be used on the machine ({row['load']})"
    if row["result"] == "success":
        return "it failed" if row["active"] == "failed" else ""
    subject = row["failed_command"] or "the main process"
    exited = _exit(row)
    if row["result"] in ("exit-code", "signal", "core-dump"):
        return f"{subject} {exited or row['result']}"
    words = _RESULTS.get(row["result"], f"ended with result {row['result']}")
    return f"{row['failed_command'] or 'it'} {words}" + (f"; last it {exited}" if exited else "")


def _exit(row: StateView) -> str:
    if row["exit_signal"]:
        dumped = " and dumped core" if row["result"] == "core-dump" else ""
        return f"was killed by {row['exit_signal']}{dumped}"
    code = row["exit_code"]
    if code is None or (code == 0 and row["result"] != "exit-code"):
        return ""
    meaning = _SETUP_CODES.get(code) or _SHELL_CODES.get(code)
    return f"exited with code {code}" + (f" ({meaning})" if meaning else "")
