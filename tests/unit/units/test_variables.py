"""environments/NAME.env."""

from __future__ import annotations

import pytest

from argosy.units import variables


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    found, wrong = variables.parse(text.encode(), file="e.env")
    return found, [f"{one.line}:{one.column}: {one.message}" for one in wrong]


def test_lines_are_key_and_value_and_the_last_holds() -> None:
    assert parse("# comment\n; too\n\nA=1\n B = two words \nA=2\nEMPTY=\n") == (
        {"A": "2", "B": "two words", "EMPTY": ""},
        [],
    )


def test_quotes_around_a_whole_value_are_taken_off() -> None:
    text = 'A=\' x \'\nB="it\'s"\nC=\'{"json": "$x"}\'\nD=a=b#c\n'
    assert parse(text)[0] == {"A": " x ", "B": "it's", "C": '{"json": "$x"}', "D": "a=b#c"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("export A=1", "1:1: 'export A' is no name of a variable"),
        ("1A=x", "1:1: '1A' is no name of a variable"),
        ("A", "1:1: no '=' in the line"),
        ('A="x', "1:3: quotes and backslashes"),
        ("A=x\\n", "1:3: quotes and backslashes"),
        ("A=a'b'c", "1:3: quotes and backslashes"),
        ('A="$B"', "1:3: quotes and backslashes"),
        ("A=\x1b", "1:3: the value has a control character"),
    ],
)
def test_what_programs_read_differently_is_an_error(line: str, message: str) -> None:
    found, wrong = parse(line)
    assert found == {}
    assert wrong[0].startswith(message)


def test_a_file_that_is_not_text_is_an_error() -> None:
    found, (wrong,) = variables.parse(b"A=1\nB=\xff\n", file="e.env")
    assert found == {}
    assert wrong.line == 2
