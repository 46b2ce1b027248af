"""Words: splitting as systemd does (which `tests/system` asks it about), and quoting."""

from __future__ import annotations

import os

import pytest

from argosy.units import quoting
from argosy.units.quoting import Escapes
from argosy.units.values import BadValue


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", []),
        ("  \t ", []),
        ("a b\tc", ["a", "b", "c"]),
        ("\"a b\" 'c d'", ["a b", "c d"]),
        ("a'b c'd", ["ab cd"]),
        ("''", [""]),
        (r"\x41\s\t\101é", ["A \tAé"]),
        (r"\xc3\xa9", ["é"]),
        (r"'it\'s'", ["it's"]),
    ],
)
def test_words(value: str, words: list[str]) -> None:
    assert quoting.split(value) == words


def test_words_know_where_they_stand() -> None:
    assert quoting.words(" a 'b c'") == [("a", 1, 2), ("b c", 3, 8)]


def test_bytes_that_form_no_character_survive_to_the_command_line() -> None:
    (word,) = quoting.split(r"\xff\xfe")
    assert os.fsencode(word) == b"\xff\xfe"


@pytest.mark.parametrize(
    ("value", "offset"),
    [
        ("a 'b", 2),
        ('a "b', 2),
        (r"a \q", 2),
        ("a\\", 1),
        (r"\x00", 0),
        (r"\xZ1", 0),
        (r"\ud800", 0),
    ],
)
def test_what_cannot_be_split_is_refused_where_it_begins(value: str, offset: int) -> None:
    with pytest.raises(BadValue) as refused:
        quoting.split(value)
    assert refused.value.offset == offset


def test_escapes_that_do_not_exist_stay_where_systemd_lets_them() -> None:
    assert quoting.split(r"\q '\q' \x", escapes=Escapes.RELAXED) == [r"\q", r"\q", r"\x"]


def test_a_backslash_is_part_of_a_units_name() -> None:
    assert quoting.split(r"dev-a\x2db.device", escapes=Escapes.VERBATIM) == [r"dev-a\x2db.device"]


def test_a_plain_word_is_quoted_as_itself() -> None:
    assert quoting.quote("--publish=80%i:80") == "--publish=80%i:80"
    assert quoting.quote("") == '""'
    assert quoting.quote("a b") == '"a b"'


def test_nothing_can_carry_a_nul() -> None:
    with pytest.raises(BadValue):
        quoting.quote("a\0b")
