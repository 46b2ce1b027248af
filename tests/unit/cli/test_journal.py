"""How the journal verb reads times and shows entries; the journal itself is read on real machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from argosy.cli import journal, main
from argosy.cli.terminal import Style
from argosy.client import JournalLine
from argosy.errors import Invalid

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_a_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX-02")  # two hours ahead of UTC
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("10min", "2026-03-14T14:59:26+00:00"),
        ("2h", "2026-03-14T13:09:26+00:00"),
        ("2026-03-14T15:09", "2026-03-14T15:09:00+02:00"),
        ("2026-03-14 15:09:26", "2026-03-14T15:09:26+02:00"),
        ("2026-03-14T15:09:26+00:00", "2026-03-14T17:09:26+02:00"),
        ("2026-03-14", "2026-03-14T00:00:00+02:00"),
    ],
)
def test_since_is_a_length_of_time_or_an_instant_of_the_local_clock(
    text: str, instant: str
) -> None:
    assert journal._since(text, NOW) == instant


@pytest.mark.parametrize("text", ["yesterday", "10 bananas", "", "0001-01-01T00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no time"):
        journal._since(text, NOW)


def test_an_entry_is_its_local_time_and_its_text() -> None:
    line: JournalLine = {
        "at": "2026-03-14T15:09:26Z",
        "unit": "web.service",
        "priority": "err",
        "text": "web[7]: no\nroom",
        "cursor": "c",
    }
    shown = "2026-03-14 17:09:26 web[7]: no\nroom"
    assert journal._text(line, Style(has_colour=False)) == shown
    assert "\x1b[31mweb[7]: no\nroom\x1b[0m" in journal._text(line, Style(has_colour=True))


def test_a_priority_that_is_none_is_refused_before_anybody_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["journal", "one", "--priority", "loud"]) == 64
    assert "there is no priority 'loud'" in capsys.readouterr().err
