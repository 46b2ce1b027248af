"""Command lines."""

from __future__ import annotations

import pytest

from argosy.units import commands
from argosy.units.values import BadValue


def test_prefixes_are_taken_off_the_path_and_remembered() -> None:
    (command,) = commands.read("-:@/bin/echo zero one")
    assert command.path == "/bin/echo"
    assert command.argv == ("zero", "one")
    assert command.may_fail
    assert not command.expands_variables
    assert commands.read("+/bin/a")[0].privileges == "+"
    assert commands.read("!!/bin/a")[0].privileges == "!!"


def test_a_semicolon_separates_commands_unless_quoted_escaped_or_part_of_a_word() -> None:
    found = commands.read("/bin/a 1 ; /bin/b ';' \\; c; ; /bin/d")
    assert [command.argv for command in found] == [
        ("/bin/a", "1"),
        ("/bin/b", ";", ";", "c;"),
        ("/bin/d",),
    ]


def test_specifiers_are_applied_to_each_word_by_itself() -> None:
    (command,) = commands.read("/bin/echo %i x")
    assert command.map(lambda word: word.replace("%i", "two words")).argv == (
        "/bin/echo",
        "two words",
        "x",
    )


def test_a_trailing_backslash_ends_the_line_as_itself() -> None:
    assert commands.read("/bin/echo a\\")[0].argv == ("/bin/echo", "a\\")


def test_an_empty_line_has_no_command() -> None:
    assert commands.read("") == ()


@pytest.mark.parametrize(
    "value", ["bin/true", "/bin/", "-", "@/bin/a", "--/bin/a", "+!/bin/a", "/bin/a '"]
)
def test_what_systemd_would_not_run_is_refused(value: str) -> None:
    with pytest.raises(BadValue):
        commands.read(value)
