"""Times that people write, what a request has to wait for, and the code that it ends with."""

from __future__ import annotations

import pytest

from argosy.cli import exits, following
from argosy.cli.judging import Goal, Outcome, Verdict
from argosy.client import Change
from argosy.errors import Invalid
from unit.cli.test_judging import row


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5", 1.5),
        ("5min", 300),
        ("1h", 3600),
        ("250ms", 0.25),
        ("2d", 172800),
        ("0", 0),
    ],
)
def test_a_time_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert following.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "5 days", "1y", "nan", "inf", "1e99"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no time"):
        following.duration(text)


RUNS, FAILED = row("active", "running"), row("failed")
CHANGED: Change = {"name": "web.service", "change": "changed", "diff": "..."}


def test_a_unit_that_runs_is_not_waited_for_twice() -> None:
    wish = following.wishes(Goal.RUNNING, ["web.service"], [RUNS])["web.service"]
    assert (wish.is_new_run, wish.is_new_version) == (False, False)


def test_a_unit_that_does_not_run_must_run_anew() -> None:
    assert following.wishes(Goal.RUNNING, ["web.service"], [FAILED])["web.service"].is_new_run


def test_after_a_restart_a_new_run_is_wanted() -> None:
    wishes = following.wishes(Goal.RUNNING, ["web.service"], [RUNS], is_restart=True)
    assert wishes["web.service"].is_new_run


def test_another_text_must_be_seen_running() -> None:
    wishes = following.wishes(Goal.RUNNING, ["web.service"], [RUNS], changes=[CHANGED])
    assert wishes["web.service"].is_new_version


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], exits.DONE),
        ([Outcome.DONE], exits.DONE),
        ([Outcome.DONE, Outcome.PENDING], exits.CANNOT_PLACE),
        ([Outcome.PENDING, Outcome.FAILED], exits.UNHEALTHY),
        ([Outcome.WAITING], exits.UNHEALTHY),
    ],
)
def test_the_worst_unit_decides_the_exit_code(outcomes: list[Outcome], code: int) -> None:
    verdicts = {str(number): Verdict(one, "") for number, one in enumerate(outcomes)}
    assert following.code(verdicts) == code
