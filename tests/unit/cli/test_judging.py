"""When a wait is over, and how it ended: units and states in, verdicts out."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.cli.judging import Goal, Outcome, Situation, Verdict, Wish
from argosy.client import Explanation, StateView, UnitView, WatchItem

NAME = "web.service"


def unit(desired: str = "launched", *machines: str, **more: Any) -> UnitView:
    view: UnitView = {
        "name": NAME,
        "digest": "d1",
        "desired": desired,  # type: ignore[typeddict-item]
        "current": "inactive",
        "generation": 0,
        "app": None,
        "submitted_at": None,
        "description": "",
        "global": False,
        "machines": list(machines),
        "pending": None,
    }
    view.update(more)  # type: ignore[typeddict-item]
    return view


def row(active: str, sub: str = "", **more: Any) -> StateView:
    view: StateView = {
        "machine": "m1",
        "name": NAME,
        "digest": "d1",
        "load": "loaded",
        "active": active,
        "sub": sub or active,
        "result": "success",
        "exit_code": None,
        "exit_signal": None,
        "failed_command": "",
        "main_pid": None,
        "since": None,
        "restarts": 0,
        "has_run": True,
        "altered": "",
        "cut_off": False,
        "released": 0,
        "text": "",
        "last_lines": [],
    }
    view.update(more)  # type: ignore[typeddict-item]
    return view


def judge(wish: Wish, one: UnitView | None, *rows: StateView) -> Verdict:
    return Situation([one] if one else [], rows).judge(NAME, wish, lambda machine: machine)


RUNNING = Wish(Goal.RUNNING)
FAILED_BEFORE = row("failed", result="exit-code", exit_code=1, since="t1")
ACTIVE_BEFORE = row("active", "running", since="t1", main_pid=1)


@pytest.mark.parametrize(
    ("state", "outcome", "text"),
    [
        pytest.param(row("active", "running"), Outcome.DONE, "running on m1", id="running"),
        pytest.param(
            row("active", "exited"),
            Outcome.DONE,
            "ran and stays active on m1",
            id="RemainAfterExit",
        ),
        pytest.param(
            row("inactive", "dead"), Outcome.DONE, "ran and ended on m1", id="oneshot that ended"
        ),
        pytest.param(
            row("inactive", "dead", has_run=False),
            Outcome.WAITING,
            "not started yet on m1",
            id="installed only",
        ),
        pytest.param(
            row("activating", "start-pre"),
            Outcome.WAITING,
            "activating (start-pre) on m1",
            id="pre",
        ),
        pytest.param(
            row("activating", "auto-restart", result="signal", exit_signal="SIGSEGV"),
            Outcome.WAITING,
            "to be restarted on m1: the main process was killed by SIGSEGV",
            id="crashes again and again",
        ),
        pytest.param(
            row("failed", result="exit-code", exit_code=3, failed_command="ExecStartPre=/x"),
            Outcome.FAILED,
            "failed: ExecStartPre=/x exited with code 3",
            id="failed",
        ),
        pytest.param(
            row("inactive", load="bad-setting"),
            Outcome.FAILED,
            "its file cannot be used on the machine (bad-setting)",
            id="cannot be loaded",
        ),
        pytest.param(
            row("inactive", result="exec-condition"),
            Outcome.DONE,
            "it was not to be started, says ExecCondition=",
            id="condition",
        ),
    ],
)
def test_a_start_is_judged_by_the_state(state: StateView, outcome: Outcome, text: str) -> None:
    verdict = judge(RUNNING, unit("launched", "m1"), state)
    assert (verdict.outcome, verdict.text) == (outcome, text)


def test_a_unit_without_a_machine_waits_for_one() -> None:
    assert judge(RUNNING, unit()).text == "waiting for a machine"


def test_a_unit_that_no_machine_fits_is_pending_with_its_explanation() -> None:
    why: Explanation = {"unit": NAME, "refusals": [], "summary": "no", "remedy": "", "since": None}
    verdict = judge(RUNNING, unit(pending=why))
    assert (verdict.outcome, verdict.text, verdict.explanation) == (Outcome.PENDING, "no", why)


def test_the_failure_from_before_a_start_is_no_failure_of_it() -> None:
    wish = Wish(Goal.RUNNING, before={"m1": FAILED_BEFORE}, is_new_run=True)
    placed = unit("launched", "m1")
    assert judge(wish, placed, FAILED_BEFORE).outcome is Outcome.WAITING
    again = row("failed", result="exit-code", exit_code=1, since="t2")
    assert judge(wish, placed, again).outcome is Outcome.FAILED


def test_the_run_from_before_a_restart_is_not_the_new_one() -> None:
    wish = Wish(Goal.RUNNING, before={"m1": ACTIVE_BEFORE}, is_new_run=True)
    placed = unit("launched", "m1")
    assert judge(wish, placed, ACTIVE_BEFORE).outcome is Outcome.WAITING
    anew = row("active", "running", since="t2", main_pid=2)
    assert judge(wish, placed, anew).outcome is Outcome.DONE


def test_a_start_of_what_runs_is_done_at_once() -> None:
    wish = Wish(Goal.RUNNING, before={"m1": ACTIVE_BEFORE})
    assert judge(wish, unit("launched", "m1"), ACTIVE_BEFORE).outcome is Outcome.DONE


def test_the_old_text_running_proves_nothing_about_the_new_one() -> None:
    wish = Wish(Goal.RUNNING, before={"m1": ACTIVE_BEFORE}, is_new_version=True)
    placed = unit("launched", "m1")
    stopped = row("inactive", "dead", since="t2")
    assert judge(wish, placed, stopped).outcome is Outcome.WAITING
    assert judge(wish, placed, row("active", digest="d2")).outcome is Outcome.DONE


def test_the_slowest_machine_decides() -> None:
    placed = unit("launched", "m1", "m2")
    one, two = row("active", "running"), row("activating", "start", machine="m2")
    assert judge(RUNNING, placed, one).text == "on its way to m2"
    assert judge(RUNNING, placed, one, two).text == "activating (start) on m2"
    two = row("active", "running", machine="m2")
    assert judge(RUNNING, placed, one, two).text == "running on m1 and 1 more"


def test_somebody_who_wants_otherwise_meanwhile_ends_the_wait() -> None:
    verdict = judge(RUNNING, unit("inactive"))
    assert (verdict.outcome, verdict.text) == (
        Outcome.FAILED,
        "somebody wants it inactive meanwhile",
    )
    assert judge(RUNNING, None).text == "was destroyed by somebody meanwhile"


def test_a_stop_is_done_when_nothing_runs_anywhere() -> None:
    stop, placed = Wish(Goal.STOPPED), unit("loaded", "m1")
    running = row("deactivating", "stop-sigterm")
    assert judge(stop, placed, running).text == "deactivating (stop-sigterm) on m1"
    assert judge(stop, placed, row("inactive", "dead")) == Verdict(Outcome.DONE, "stopped")
    killed = row("failed", result="timeout")
    assert judge(stop, placed, killed).text == "stopped; it took longer than it may (timeout)"


def test_a_load_is_done_when_the_machine_has_the_file() -> None:
    load, placed = Wish(Goal.LOADED), unit("loaded", "m1")
    assert judge(load, placed).text == "on its way to m1"
    assert judge(load, placed, row("inactive", digest=None)).outcome is Outcome.WAITING
    assert judge(load, placed, row("inactive", has_run=False)).text == "loaded on m1"


def test_an_unload_is_done_when_no_machine_has_it() -> None:
    unload = Wish(Goal.UNLOADED)
    assert judge(unload, unit("inactive", "m1")).text == "being taken off its machine"
    assert judge(unload, unit("inactive"), row("inactive")).outcome is Outcome.WAITING
    assert judge(unload, unit("inactive")) == Verdict(Outcome.DONE, "unloaded")
    assert judge(unload, None) == Verdict(Outcome.DONE, "destroyed")
    assert judge(unload, None, row("active")).outcome is Outcome.WAITING


def test_a_machine_that_refuses_a_unit_fails_it_with_its_words() -> None:
    situation = Situation([unit("launched", "m1")])
    told = {"unit": NAME, "kind": "unit.refused", "message": "no such user", "machine": "m1"}
    assert situation.fold(WatchItem("event", 2, told)) == NAME
    verdict = situation.judge(NAME, RUNNING, str)
    assert (verdict.outcome, verdict.text) == (Outcome.FAILED, "m1 refuses it: no such user")


def test_what_a_watch_tells_replaces_what_was_known() -> None:
    situation = Situation([unit("launched", "m1")], [row("activating", "start")])
    assert situation.fold(WatchItem("state", 2, dict(row("active", "running")))) == NAME
    assert situation.judge(NAME, RUNNING, str).outcome is Outcome.DONE
    gone = {"name": NAME, "machine": "m1", "deleted": True}
    situation.fold(WatchItem("state", 3, gone))
    assert situation.judge(NAME, RUNNING, str).text == "on its way to m1"
    situation.fold(WatchItem("unit", 4, {"name": NAME, "deleted": True}))
    assert situation.judge(NAME, RUNNING, str).outcome is Outcome.FAILED
    assert situation.fold(WatchItem("machine", 5, {"id": "m1"})) is None


def test_only_waiting_never_stands() -> None:
    for outcome in Outcome:
        assert (Verdict(outcome, "").stands_after_seconds < 10) is (outcome is not Outcome.WAITING)


AWAY = Wish(Goal.AWAY, away_from="m1")
GLOBAL: UnitView = {**unit(), "global": True}
ELSEWHERE = row("active", "running", machine="m2")


@pytest.mark.parametrize(
    ("one", "rows", "outcome", "text"),
    [
        pytest.param(
            unit("launched", "m1"),
            [row("active", "running")],
            Outcome.WAITING,
            "still on m1",
            id="not moved yet",
        ),
        pytest.param(
            unit("launched", "m2"),
            [row("deactivating", "stop-sigterm"), ELSEWHERE],
            Outcome.WAITING,
            "leaving: deactivating (stop-sigterm) on m1",
            id="it still stops on the old machine",
        ),
        pytest.param(
            unit("launched", "m2"), [], Outcome.WAITING, "on its way to m2", id="not there yet"
        ),
        pytest.param(
            unit("launched", "m2"), [ELSEWHERE], Outcome.DONE, "running on m2", id="moved"
        ),
        pytest.param(
            unit("loaded", "m2"),
            [row("inactive", "dead", machine="m2")],
            Outcome.DONE,
            "loaded on m2",
            id="moved, and was not to run",
        ),
        pytest.param(
            unit("launched", "m2"),
            [row("failed", machine="m2", result="exit-code", exit_code=1)],
            Outcome.FAILED,
            "failed: the main process exited with code 1",
            id="moved, and fails there",
        ),
        pytest.param(unit(), [], Outcome.WAITING, "waiting for a machine", id="between machines"),
        pytest.param(GLOBAL, [], Outcome.DONE, "is gone", id="global, and on no other"),
        pytest.param(unit("inactive"), [], Outcome.DONE, "is gone", id="nobody wants it any more"),
        pytest.param(None, [], Outcome.DONE, "is gone", id="destroyed meanwhile"),
    ],
)
def test_a_unit_is_away_once_it_left_and_is_elsewhere_as_it_is_wanted(
    one: UnitView | None, rows: list[StateView], outcome: Outcome, text: str
) -> None:
    verdict = judge(AWAY, one, *rows)
    assert (verdict.outcome, verdict.text) == (outcome, text)


def test_a_move_that_was_refused_is_not_waited_for() -> None:
    situation = Situation([unit("launched", "m1")], [row("active", "running")])
    told = {"unit": NAME, "kind": "unit.move-refused", "message": "not moved: m2 is full"}
    situation.fold(WatchItem("event", 1, told))
    verdict = situation.judge(NAME, AWAY, lambda machine: machine)
    assert (verdict.outcome, verdict.text) == (Outcome.FAILED, "not moved: m2 is full")
