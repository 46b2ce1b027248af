"""Failures in words."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.cli.causes import cause
from unit.cli.test_judging import row


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"active": "active"}, ""),
        (
            {"active": "failed", "result": "exit-code", "exit_code": 1},
            "the main process exited with code 1",
        ),
        (
            {"active": "failed", "result": "exit-code", "exit_code": 0},
            "the main process exited with code 0",
        ),
        (
            {"active": "failed", "result": "signal", "exit_signal": "SIGKILL"},
            "the main process was killed by SIGKILL",
        ),
        (
            {"active": "failed", "result": "core-dump", "exit_signal": "SIGSEGV"},
            "the main process was killed by SIGSEGV and dumped core",
        ),
        (
            {
                "active": "failed",
                "result": "exit-code",
                "exit_code": 217,
                "failed_command": "ExecStart=/x",
            },
            "ExecStart=/x exited with code 217 (no such User=)",
        ),
        (
            {"active": "failed", "result": "timeout", "failed_command": "ExecStartPre=/x"},
            "ExecStartPre=/x took longer than it may (timeout)",
        ),
        (
            {"active": "failed", "result": "start-limit-hit", "exit_code": 2},
            "it was started too often in too short a time (start-limit-hit); last it exited with code 2",
        ),
        ({"active": "failed", "result": "brand-new"}, "it ended with result brand-new"),
        ({"active": "failed"}, "it failed"),
        (
            {"active": "inactive", "load": "not-found"},
            "its file cannot be used on the machine (not-found)",
        ),
    ],
)
def test_what_ended_a_unit(fields: dict[str, Any], words: str) -> None:
    active = fields.pop("active")
    assert cause(row(active, **fields)) == words
