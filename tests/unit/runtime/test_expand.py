"""Variables in command lines and environment files, as systemd reads them (checked against env-util.c, env-file.c)."""

from __future__ import annotations

import pytest

from argosy.runtime.process import envfile
from argosy.runtime.process.expand import expand

VARIABLES = {"A": "1", "TWO": "two words", "QUOTED": "'a b' c\\ d \"e", "EMPTY": ""}


@pytest.mark.parametrize(
    ("word", "words"),
    [
        pytest.param("$A", ["1"], id="a word of its own"),
        pytest.param("$TWO", ["two", "words"], id="is split at blanks"),
        pytest.param(
            "$QUOTED", ["a b", "c d", "e"], id="quotes and backslashes hold, an open one ends"
        ),
        pytest.param("$EMPTY", [], id="empty is no word"),
        pytest.param("$MISSING", [], id="unset is no word"),
        pytest.param("${TWO}", ["two words"], id="in braces it is never split"),
        pytest.param("${MISSING}", [""], id="unset in braces is an empty word"),
        pytest.param("x${A}y${A}z", ["x1y1z"], id="braces count within a word"),
        pytest.param("x$A", ["x$A"], id="without braces a variable is a whole word"),
        pytest.param("$A/x", [], id="so this names a variable that cannot be"),
        pytest.param("$$A", ["$A"], id="two dollars are one"),
        pytest.param("x$$${A}", ["x$1"], id="and do not hide what follows"),
        pytest.param("${A:-x}", ["${A:-x}"], id="the shell's forms are left alone"),
        pytest.param("${A", ["${A"], id="an open brace is left alone"),
        pytest.param("100$", ["100$"], id="a dollar at the end is one"),
    ],
)
def test_a_word_is_expanded(word: str, words: list[str]) -> None:
    assert expand(["program", word], VARIABLES) == ["program", *words]


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        pytest.param(b"A=1\nB=2", {"A": "1", "B": "2"}, id="plain, also without a last newline"),
        pytest.param(b" A = 1 \t\n", {"A": "1"}, id="blanks around are trimmed"),
        pytest.param(b"# A=1\n; B=2\nC=3\n", {"C": "3"}, id="comments"),
        pytest.param(b"# goes on \\\nA=1\n", {}, id="a backslash continues a comment"),
        pytest.param(b"A='a b '\n", {"A": "a b "}, id="single quotes keep blanks"),
        pytest.param(b'A="a \\" \\\\ \\n"\n', {"A": 'a " \\ \\n'}, id="double quotes escape few"),
        pytest.param(b"A='x'\"y\"z\n", {"A": "xyz"}, id="quotes stand side by side"),
        pytest.param(b"A=x'y'\n", {"A": "x'y'"}, id="a quote within a value is itself"),
        pytest.param(
            b"A=one \\\n two\n", {"A": "one  two"}, id="a value goes on after a backslash"
        ),
        pytest.param(b"A='one\ntwo'\n", {"A": "one\ntwo"}, id="quotes hold lines together"),
        pytest.param(b"A=x\\ \n", {"A": "x "}, id="an escaped blank stays"),
        pytest.param(b"A=1 # no comment\n", {"A": "1 # no comment"}, id="no comments after values"),
        pytest.param(b"export A=1\n1B=2\nC-D=3\nE\n", {}, id="what is no name is passed over"),
        pytest.param(b"A=1\nA=2\n", {"A": "2"}, id="the last one counts"),
        pytest.param(b"A=\n", {"A": ""}, id="empty"),
        pytest.param(b"A=1\r\nB=2\r\n", {"A": "1", "B": "2"}, id="other line ends"),
    ],
)
def test_an_environment_file_is_read(text: bytes, variables: dict[str, str]) -> None:
    assert envfile.parse(text) == variables
