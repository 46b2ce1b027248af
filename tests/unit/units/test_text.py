"""Unit files as text: systemd's rules for lines, every byte and every place kept."""

from __future__ import annotations

import pytest

from argosy.units.text import MAX_BYTES, UnitText


def parse(text: str | bytes) -> UnitText:
    return UnitText.parse(text.encode() if isinstance(text, str) else text, file="a.service")


def messages(unit: UnitText) -> list[str]:
    return [str(found) for found in unit.diagnostics]


def test_keys_and_values_are_trimmed_and_cut_at_the_first_equals_sign() -> None:
    unit = parse("[Service]\n  Environment\t= A=1 B=2  \n")
    (entry,) = unit.entries
    assert (entry.section, entry.key, entry.value) == ("Service", "Environment", "A=1 B=2")
    assert (entry.line, entry.column) == (2, 3)
    assert entry.position() == (2, 17)


def test_a_trailing_backslash_joins_lines_with_a_space_and_keeps_the_next_lines_blanks() -> None:
    assert parse("[S]\nA=one\\\n  two\n").values("S", "A") == ("one   two",)


def test_an_escaped_backslash_at_the_end_of_a_line_continues_nothing() -> None:
    unit = parse("[S]\nA=one\\\\\nB=two\\\\\\\nthree\n")
    assert unit.values("S", "A") == ("one\\\\",)
    assert unit.values("S", "B") == ("two\\\\ three",)


def test_comments_within_a_continued_value_are_dropped_and_an_empty_line_ends_it() -> None:
    unit = parse("[S]\nA=one\\\n# no\\\n ; no\ntwo\nB=x\\\n\nC=y\n")
    assert unit.values("S", "A") == ("one two",)
    assert unit.values("S", "B") == ("x",)
    assert unit.values("S", "C") == ("y",)


def test_a_continuation_that_the_file_ends_in_still_counts() -> None:
    assert parse("[S]\nA=one \\").values("S", "A") == ("one",)


def test_a_place_within_a_continued_value_is_found_again() -> None:
    text = "[S]\nA=one\\\n# comment\n  two\n"
    (entry,) = parse(text).entries
    at = entry.position(entry.value.index("two"))
    assert text.split("\n")[at.line - 1][at.column - 1 :] == "two"
    assert entry.position(0) == (2, 3)
    assert entry.last_line == 4


def test_an_empty_assignment_takes_back_what_came_before() -> None:
    unit = parse("[S]\nA=1\nA=2\nA=\nA=3\nB=1\nB=\n")
    assert unit.values("S", "A") == ("3",)
    assert unit.last("S", "A") == "3"
    assert unit.values("S", "B") == ()
    assert unit.last("S", "B") is None
    assert [entry.value for entry in unit.entries] == ["1", "2", "", "3", "1", ""]


def test_a_section_opened_again_goes_on() -> None:
    unit = parse("[A]\nK=1\n[B]\nK=x\n[A]\nK=2\n")
    assert unit.values("A", "K") == ("1", "2")
    assert unit.sections == ("A", "B")
    assert len(unit.headings) == 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r"])
def test_every_line_end_that_systemd_knows_ends_a_line(end: str) -> None:
    unit = parse(end.join(["[S]", "A=one\\", "two", "B=3", ""]))
    assert unit.values("S", "A") == ("one two",)
    assert unit.assigned("S", "B")[0].line == 4
    assert not unit.diagnostics


def test_a_byte_order_mark_is_skipped() -> None:
    unit = parse("\ufeff[S]\nA=1\n")
    assert unit.values("S", "A") == ("1",)
    assert unit.headings[0].column == 2


def test_a_line_that_is_not_utf8_is_an_error_at_its_byte_and_the_rest_is_read() -> None:
    unit = parse(b"[S]\nA=gr\xfcn\nB=1\n")
    assert messages(unit) == [
        "a.service:2:5: error: not valid UTF-8; systemd would ignore the line (save the file as UTF-8)"
    ]
    assert unit.values("S", "A") == ()
    assert unit.values("S", "B") == ("1",)


@pytest.mark.parametrize("control", ["\0", "\x07", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_errors_also_in_comments(control: str) -> None:
    (found,) = parse(f"[S]\n# bell {control}\n").diagnostics
    assert (found.line, found.column) == (2, 8)
    assert f"U+{ord(control):04X}" in found.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[Service\n", "a.service:1:1: error: a section's heading must end with ']'"),
        ("[\n", "a.service:1:1: error: a section's heading must end with ']'"),
        ("[S]\nExecStart\n", "a.service:2:1: error: no '=' in the line"),
        ("[S]\n =x\n", "a.service:2:2: error: no key before '='"),
        ("A=1\n[S]\n", "a.service:1:1: warning: text before the first section is ignored"),
    ],
)
def test_what_systemd_would_ignore_or_refuse_is_said_with_its_place(
    text: str, message: str
) -> None:
    (found,) = messages(parse(text))
    assert found.startswith(message)


def test_a_file_over_the_limit_is_refused_unread_and_one_at_the_limit_is_read() -> None:
    head = b"[S]\nA="
    fits = parse(head + b"x" * (MAX_BYTES - len(head)))
    assert not fits.diagnostics
    assert len(fits.last("S", "A") or "") == MAX_BYTES - len(head)
    too_large = parse(head + b"x" * MAX_BYTES)
    assert not too_large.entries
    assert too_large.diagnostics[0].is_error


def test_the_bytes_come_back_as_they_were() -> None:
    data = b"\xef\xbb\xbf[S]\r\nA = 1 \\\r\n\xff\n\r\n# end"
    unit = parse(data)
    assert bytes(unit) == data
    assert b"".join(unit.raw_lines()) == data
