"""What is wrong with a unit file, and where: the messages of `units`, in the form that compilers made familiar.

Everything in this package that reads text reports through here and goes on, so that one run shows all that is wrong.
Lines and columns count from 1; a column counts characters, not bytes. A byte that is not UTF-8 counts as one.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Collection, Iterable

import msgspec

from argosy.errors import Invalid


class Severity(enum.StrEnum):
    ERROR = "error"
    """The unit is refused."""
    WARNING = "warning"
    """The unit is accepted, and may not do what its author expects."""


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One thing wrong at one place. Sorts by file, then line, then column."""

    file: str
    line: int
    column: int
    severity: Severity
    message: str
    """One line, without the place."""
    hint: str = ""
    """The next thing to do, often the nearest valid spelling; empty when there is none."""

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        """`web.service:12:9: error: unknown key 'BindTo' in [Unit] (did you mean 'BindsTo'?)`."""
        tail = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}{tail}"

    def excerpt(self, data: bytes) -> str:
        """The message, the line of `data` that it is about, and a caret under its column.

        Control characters in the line are shown as `?`, so that printing it is safe; a long line is cut around the
        column. When `data` has no such line only the message is returned.
        """
        lines = source_lines(data.decode("utf-8", "replace"))
        if not 1 <= self.line <= len(lines):
            return str(self)
        line = "".join(c if c.isprintable() or c == "\t" else "?" for c in lines[self.line - 1])
        start = max(0, self.column - 1 - EXCERPT_WIDTH // 2)
        shown = line[start : start + EXCERPT_WIDTH]
        # Tabs before the column are kept in the caret's line: it stands right whatever the terminal's tab stops.
        indent = "".join("\t" if c == "\t" else " " for c in shown[: self.column - 1 - start])
        return f"{self}\n    {shown}\n    {indent}^"


EXCERPT_WIDTH = 100
LONGEST_MESSAGE = 400


MOST_PROBLEMS = 500
"""Diagnostics about one file after which nobody reads on. It also bounds the search for spellings in a hostile file."""


class TooManyProblems(Invalid):
    """A file has more faults than are worth naming: whoever reads it stops there."""


class Problems:
    """Gathers diagnostics about one file.

    Adding more than MOST_PROBLEMS raises TooManyProblems, once `sorted` has an error that says so.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Diagnostic] = []

    def error(self, line: int, column: int, message: str, *, hint: str = "") -> None:
        self._add(Severity.ERROR, line, column, message, hint)

    def warning(self, line: int, column: int, message: str, *, hint: str = "") -> None:
        self._add(Severity.WARNING, line, column, message, hint)

    def extend(self, others: Iterable[Diagnostic]) -> None:
        self._found.extend(others)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Everything found, in the order of the file, each message once."""
        return tuple(sorted(set(self._found)))

    def _add(self, severity: Severity, line: int, column: int, message: str, hint: str) -> None:
        is_last = len(self._found) >= MOST_PROBLEMS
        if is_last:
            severity, message, hint = Severity.ERROR, "too much is wrong; stopped reading here", ""
        self._found.append(
            Diagnostic(
                file=printable(self.file),
                line=line,
                column=column,
                severity=severity,
                message=printable(message),
                hint=printable(hint),
            )
        )
        if is_last:
            raise TooManyProblems(str(self._found[-1]), problems=tuple(map(str, self._found)))


def printable(text: str) -> str:
    """The text as one line that is safe on a terminal and in a log: `?` for what cannot be printed, and no longer than
    anybody reads.
    """
    if len(text) > LONGEST_MESSAGE:
        text = text[: LONGEST_MESSAGE - 3] + "..."
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def did_you_mean(word: str, candidates: Collection[str], *, cutoff: float = 0.6) -> str:
    """A hint with the candidate nearest to the word, or an empty string when none is near.

    A difference in case alone always counts as near. cutoff: difflib's ratio, 1 is equal.
    """
    nearest = nearest_spelling(word, candidates, cutoff=cutoff)
    return f"did you mean '{nearest}'?" if nearest else ""


def nearest_spelling(word: str, candidates: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """The candidate nearest to the word in spelling, None when none is near enough."""
    word = word[:80]  # difflib is quadratic, and no candidate of ours is longer
    folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def source_lines(text: str) -> list[str]:
    """The lines of a unit file as systemd counts them: LF, CR, CR LF and LF CR all end one (read_line in fileio.c)."""
    lines = text.replace("\r\n", "\n").replace("\n\r", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines
