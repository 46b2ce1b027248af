"""Colours and what may not reach a terminal."""

from __future__ import annotations

import argparse
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.cli import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def has_colour(stream: io.StringIO, *, no_color: bool = False) -> bool:
    return terminal.style(argparse.Namespace(no_color=no_color), stream).has_colour


def test_colours_are_for_terminals_only() -> None:
    assert has_colour(Terminal())
    assert not has_colour(io.StringIO())


def test_who_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_colour(Terminal(), no_color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())


def test_a_dumb_terminal_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colour(Terminal())


def test_output_keeps_its_colours_and_loses_all_other_control() -> None:
    line = "\x1b[31mred\x1b[0m \x1b]0;title\x07\rover"
    assert terminal.output_line(line, has_colour=True) == (
        "\x1b[31mred\x1b[0m ?]0;title??over\x1b[0m"
    )
    assert terminal.output_line(line, has_colour=False) == "red ?]0;title??over"


@given(st.text())
def test_nothing_printable_says_can_control_a_terminal(text: str) -> None:
    assert terminal.printable(text).isprintable()


@given(st.text())
def test_an_output_line_has_no_control_but_colours(text: str) -> None:
    shown = terminal.output_line(text, has_colour=True)
    assert terminal.output_line(shown, has_colour=False).isprintable()
    assert "\n" not in shown


def test_long_text_ends_in_dots() -> None:
    assert terminal.shortened("abcdefgh", 6) == "abc..."
    assert terminal.shortened("abcdef", 6) == "abcdef"
