"""Statuses folded from what systemd says, and names as its bus writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.runtime.systemd import bus, states

NAME = UnitName("a.service")


@given(st.text(st.sampled_from("abzAZ09:_.\\@-"), min_size=1))
def test_a_name_survives_the_way_through_an_object_path(name: str) -> None:
    path = bus.unit_path(UnitName(name))
    assert bus.unit_of(path) == name
    assert path.removeprefix(bus.UNIT_PATHS).replace("_", "").isalnum()


def test_paths_are_those_of_systemd() -> None:
    assert bus.unit_path(UnitName("web@1.service")) == bus.UNIT_PATHS + "web_401_2eservice"
    assert bus.unit_path(UnitName("9-a.target")) == bus.UNIT_PATHS + "_39_2da_2etarget"


def test_a_status_is_folded_from_what_changed_and_keeps_the_rest() -> None:
    running = states.folded(
        UnitStatus(name=NAME),
        {
            "ActiveState": "active",
            "SubState": "running",
            "ActiveEnterTimestamp": 1_700_000_000_000_000,
            "InactiveExitTimestamp": 1_699_999_999_000_000,
            "MainPID": 12,
            "NRestarts": 2,
            "Unknown": 1,
        },
    )
    assert running == UnitStatus(
        name=NAME,
        active=ActiveState.ACTIVE,
        sub="running",
        since=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        has_run=True,
        main_pid=12,
        restarts=2,
    )
    again = states.folded(running, {"StatusText": "busy", "ActiveState": "active"})
    assert (again.text, again.since, again.main_pid) == ("busy", running.since, 12)


def test_how_a_process_ended_is_a_code_or_a_signal() -> None:
    for code, status, wanted in (
        (1, 3, (3, None)),
        (2, 9, (None, "SIGKILL")),
        (3, 11, (None, "SIGSEGV")),
        (2, 36, (None, "SIGRTMIN+2")),
        (0, 0, (None, None)),
    ):
        changed = {"ExecMainCode": code, "ExecMainStatus": status}
        found = states.folded(UnitStatus(name=NAME, exit_code=7), changed)
        assert (found.exit_code, found.exit_signal) == wanted


def test_words_of_later_versions_are_taken_for_something_under_way_or_wrong() -> None:
    later = {"ActiveState": "hibernating", "LoadState": "half"}
    found = states.folded(UnitStatus(name=NAME), later)
    assert (found.active, found.load) == (ActiveState.DEACTIVATING, LoadState.ERROR)


def test_the_last_command_that_ended_badly_is_the_one_that_failed() -> None:
    def command(*argv: str, ended: int, status: int, may_fail: bool = False) -> list[object]:
        return [argv[0], list(argv), may_fail, ended - 1, 0, ended, 0, 5, states.CLD_EXITED, status]

    properties = {
        "ExecStartPre": [command("/bin/false", ended=10, status=1, may_fail=True)],
        "ExecStart": [
            command("/bin/true", ended=20, status=0),
            command("/bin/sh", "-c", "it's over", ended=30, status=2),
        ],
        "ExecStopPost": [["/bin/never", ["/bin/never"], False, 0, 0, 0, 0, 0, 0, 0]],
    }
    wanted = "ExecStart=/bin/sh -c 'it\\'s over'"
    assert states.failed_command(properties, "exit-code") == wanted
    assert states.failed_command(properties, "start-limit-hit") == ""
    failed = UnitStatus(
        name=NAME, active=ActiveState.FAILED, failed_command=wanted, last_lines=("x",)
    )
    started = states.folded(failed, {"ActiveState": "activating", "InactiveExitTimestamp": 1})
    assert (started.failed_command, started.last_lines) == ("", ())
