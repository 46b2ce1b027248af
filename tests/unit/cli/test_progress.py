"""The display of a wait, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from argosy.cli.judging import Outcome, Verdict
from argosy.cli.progress import Progress
from argosy.cli.terminal import Style
from argosy.client import StateView
from unit.cli.test_judging import row

NAMES = ["a.service", "web@1.service"]


class Screen(io.StringIO):
    """Keeps what a terminal would show, for the two control sequences that the display uses."""

    encoding = "utf-8"

    @property
    def shown(self) -> list[str]:
        lines: list[str] = []
        for piece in self.getvalue().split("\x1b["):
            command = (
                piece[: piece.index("F") + 1] if piece[:2].rstrip("F").isdigit() else piece[:1]
            )
            if command.endswith("F"):
                lines = lines[: len(lines) - int(command[:-1])]
                piece = piece[len(command) :]
            elif command == "J" and self.getvalue().startswith("\x1b["):
                piece = piece[1:]
            lines += piece.splitlines()
        return lines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def progress(screen: Screen, clock: Clock, *, is_live: bool) -> Progress:
    return Progress(
        NAMES,
        style=Style(has_colour=False),
        machine_name=str,
        stream=screen,
        is_live=is_live,
        clock=clock,
    )


WAITING = Verdict(Outcome.WAITING, "on its way to m1")
RUNS = Verdict(Outcome.DONE, "running on m1")


def failed(*output: str) -> Verdict:
    state: StateView = row("failed", last_lines=list(output))
    return Verdict(Outcome.FAILED, "failed: it exited with code 1", state)


def test_a_terminal_s_lines_are_rewritten_in_place(clock: Clock) -> None:
    screen = Screen()
    display = progress(screen, clock, is_live=True)
    display.observe("a.service", WAITING)
    display.observe("web@1.service", WAITING)
    display.tick()
    clock.now += 1.5
    display.observe("a.service", RUNS)
    display.tick()
    assert [line[2:] for line in screen.shown] == [
        "a.service      running on m1  1.5s",
        "web@1.service  on its way to m1  1.5s",
    ]
    display.observe("web@1.service", RUNS)
    display.finish()
    assert screen.shown == [
        "✓ a.service      running on m1  1.5s",
        "✓ web@1.service  running on m1  1.5s",
    ]


def test_elsewhere_nothing_is_rewritten_and_what_passes_quickly_is_not_told(clock: Clock) -> None:
    screen = Screen()
    display = progress(screen, clock, is_live=False)
    display.observe("a.service", WAITING)
    display.tick()
    assert screen.getvalue() == ""
    display.observe("a.service", RUNS)
    clock.now += 0.3
    display.tick()
    display.tick()
    display.finish()
    assert screen.getvalue() == "✓ a.service      running on m1\n"


def test_elsewhere_what_is_waited_for_is_told_after_a_while(clock: Clock) -> None:
    screen = Screen()
    display = progress(screen, clock, is_live=False)
    display.observe("a.service", WAITING)
    clock.now += 1.1
    display.tick()
    display.observe("a.service", RUNS)
    display.finish()
    assert screen.getvalue().splitlines() == [
        "· a.service      on its way to m1",
        "✓ a.service      running on m1",
    ]


def test_a_failure_shows_the_last_output(clock: Clock) -> None:
    screen = Screen()
    display = progress(screen, clock, is_live=False)
    display.observe("a.service", failed("first", "se\x1b[2Jcond"))
    display.finish()
    assert screen.getvalue().splitlines() == [
        "✗ a.service      failed: it exited with code 1",
        "    | first",
        "    | se?[2Jcond",
    ]


def test_without_utf8_the_signs_are_words(clock: Clock) -> None:
    screen = Screen()
    screen.encoding = "ascii"
    display = progress(screen, clock, is_live=False)
    display.observe("a.service", RUNS)
    display.finish()
    assert screen.getvalue() == "ok       a.service      running on m1\n"


def test_many_units_fit_a_small_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "8")
    monkeypatch.setenv("COLUMNS", "40")
    names = [f"u{number:03}.service" for number in range(100)]
    screen = Screen()
    display = Progress(
        names,
        style=Style(has_colour=False),
        machine_name=str,
        stream=screen,
        is_live=True,
        clock=clock,
    )
    for number, name in enumerate(names):
        display.observe(name, RUNS if number < 90 else Verdict(Outcome.WAITING, "x" * 100))
    display.tick()
    assert len(screen.shown) <= 6
    assert screen.shown[-1] == "90 of 100 done"
    assert max(map(len, screen.shown)) <= 40
