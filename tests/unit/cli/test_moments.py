"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from argosy.cli import moments

AT = datetime(2026, 3, 14, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (-5, "0s"),
        (59.9, "59s"),
        (60, "1min"),
        (61, "1min 1s"),
        (3600, "1h"),
        (3661, "1h 1min"),
        (86400 * 2 + 3600 * 3 + 60, "2d 3h"),
        (86400 + 1, "1d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, shown: str) -> None:
    assert moments.duration(seconds) == shown


def test_how_long_ago_something_was() -> None:
    assert moments.ago("2026-03-14T11:58:30Z", AT) == "1min 30s ago"
    assert moments.ago(None, AT) == ""
    assert moments.ago("2026-03-14T12:00:09Z", AT) == "0s ago"
