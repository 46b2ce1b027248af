"""Diagnostics read like a compiler's and are safe to print."""

from __future__ import annotations

from argosy.units.diagnostics import Problems, did_you_mean


def test_a_diagnostic_names_file_line_and_column_and_the_next_thing_to_do() -> None:
    problems = Problems("web.service")
    problems.error(12, 9, "unknown key 'BindTo'", hint="did you mean 'BindsTo'?")
    assert [str(found) for found in problems.sorted()] == [
        "web.service:12:9: error: unknown key 'BindTo' (did you mean 'BindsTo'?)"
    ]


def test_they_come_in_the_order_of_the_file_and_each_once() -> None:
    problems = Problems("a.service")
    problems.warning(2, 1, "later")
    problems.error(1, 5, "first")
    problems.warning(2, 1, "later")
    assert [found.message for found in problems.sorted()] == ["first", "later"]


def test_the_excerpt_has_a_caret_under_the_column_also_after_tabs() -> None:
    problems = Problems("a.service")
    problems.error(2, 4, "bad")
    (found,) = problems.sorted()
    assert found.excerpt(b"[S]\n\tA=x\n") == "a.service:2:4: error: bad\n    \tA=x\n    \t  ^"


def test_the_excerpt_of_a_long_line_is_cut_around_the_column() -> None:
    problems = Problems("a.service")
    problems.error(1, 5001, "bad")
    (found,) = problems.sorted()
    _, line, caret = found.excerpt(b"a" * 5000 + b"X" + b"b" * 5000).split("\n")
    assert len(line) < 120
    assert line[caret.index("^")] == "X"


def test_control_characters_never_reach_a_terminal() -> None:
    problems = Problems("a\n.service")
    problems.error(1, 1, "value '\x1b[31m'")
    (found,) = problems.sorted()
    assert str(found) == "a?.service:1:1: error: value '?[31m'"
    assert "\x1b" not in found.excerpt(b"\x1b[31mA=1")


def test_a_message_stays_short_however_long_the_value() -> None:
    problems = Problems("a.service")
    problems.error(1, 1, "x" * 1_000_000)
    assert len(problems.sorted()[0].message) <= 400


def test_the_nearest_spelling_is_named_and_a_far_one_is_not() -> None:
    keys = ("MachineOf", "MachineMetadata", "Conflicts")
    assert did_you_mean("machineof", keys) == "did you mean 'MachineOf'?"
    assert did_you_mean("MachineMetdata", keys) == "did you mean 'MachineMetadata'?"
    assert did_you_mean("Zebra", keys) == ""
