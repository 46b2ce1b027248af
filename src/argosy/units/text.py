"""A unit file's text: every byte kept, every entry with its place, read by systemd's rules.

This level knows what a line is, not what a key means. The rules are those of systemd's conf-parser.c (checked against
version 252 by `tests/system/test_units_systemd.py`):

* LF, CR, CR LF and LF CR end a line. A byte order mark at the start is skipped.
* A line whose first non-blank is `#` or `;` is a comment, also in the middle of a continued line, where it is dropped.
* A backslash that ends a line, and is not itself escaped, becomes a space and the next line follows it, blanks and all.
* `[Section]` opens a section; opened again, it goes on. `Key=Value` is cut at the first `=`, both sides trimmed of blanks.
* A line that is not UTF-8 is ignored. systemd says so in its journal; here it is an error.

What surprises: an entry's value may come from several lines, so a place within a value is asked of the entry.
"""

from __future__ import annotations

import bisect
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from argosy.units.diagnostics import Diagnostic, Problems, TooManyProblems

MAX_BYTES = 1024 * 1024
"""Largest unit file accepted. systemd's own limit for one line is the same (LONG_LINE_MAX)."""

BLANKS = " \t"

_LINE_END = re.compile(r"\r\n|\n\r|\n|\r")
_RAW_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n\r|\n|\r|\Z)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BOM = "\ufeff"
_NOT_UTF8 = re.compile(
    # Bytes that did not decode, and the code points that systemd's unichar_is_valid refuses.
    "[\udc80-\udcff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(
        f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(1, 17)
    )
    + "]"
)


class Position(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


class Piece(NamedTuple):
    """Where a stretch of a joined line comes from: the stretch begins at `offset`."""

    offset: int
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One `Key=Value`."""

    section: str
    key: str
    value: str
    """Continued lines joined, blanks around it trimmed; quotes, escapes and specifiers as written."""
    line: int
    """Of the key."""
    column: int
    """Of the key."""
    last_line: int
    """Of the end of the value: systemd's messages name this one."""
    pieces: tuple[Piece, ...]
    """Where the value's characters stand, by ascending offset into the value; the first has offset 0 or less."""

    def position(self, offset: int = 0) -> Position:
        """Where the value's character at the offset stands in the file."""
        piece = self.pieces[
            max(0, bisect.bisect_right(self.pieces, offset, key=lambda p: p.offset) - 1)
        ]
        return Position(piece.line, piece.column + offset - piece.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """One `[Section]` line."""

    name: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitText:
    """A unit file as it was read. `bytes(unit)` are exactly the bytes it was made from."""

    file: str
    data: bytes
    headings: tuple[Heading, ...]
    entries: tuple[Entry, ...]
    """In the order of the file, also those of sections unknown here and those with empty values."""
    diagnostics: tuple[Diagnostic, ...]
    """What is wrong with the text as text; what keys and values mean is judged elsewhere."""
    _by_key: Mapping[tuple[str, str], tuple[Entry, ...]]

    @classmethod
    def parse(cls, data: bytes, *, file: str = "unit") -> UnitText:
        """Read a unit file. Never raises: what is wrong is in `diagnostics`, and the rest of the file is still read.

        Takes time proportional to the length of the text. Of a text over MAX_BYTES nothing is read.
        """
        problems = Problems(file)
        reader = _Reader(problems)
        if len(data) > MAX_BYTES:
            problems.error(
                1, 1, f"the file has {len(data)} bytes, a unit file may have {MAX_BYTES}"
            )
        else:
            with contextlib.suppress(TooManyProblems):
                reader.read(data.decode("utf-8", "surrogateescape"))
        return cls(
            file=file,
            data=data,
            headings=tuple(reader.headings),
            entries=tuple(reader.entries),
            diagnostics=problems.sorted(),
            _by_key=_index(reader.entries),
        )

    def __bytes__(self) -> bytes:
        return self.data

    def raw_lines(self) -> list[bytes]:
        """The file's lines with their ends, as positions count them; together they are the file."""
        return [line for line in _RAW_LINE.findall(self.data) if line]

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections, each once, in the order in which they first appear."""
        return tuple(dict.fromkeys(heading.name for heading in self.headings))

    def has_section(self, section: str) -> bool:
        return any(heading.name == section for heading in self.headings)

    def heading(self, section: str) -> Heading | None:
        """The first line that opens the section."""
        return next((heading for heading in self.headings if heading.name == section), None)

    def assigned(self, section: str, key: str) -> tuple[Entry, ...]:
        """The entries of a key that hold: those after its last empty assignment, in order. None of them is empty."""
        return self._by_key.get((section, key), ())

    def values(self, section: str, key: str) -> tuple[str, ...]:
        """The values of a key that hold, as `assigned`."""
        return tuple(entry.value for entry in self._by_key.get((section, key), ()))

    def last(self, section: str, key: str) -> str | None:
        """The value of a key that takes one: the last assigned, None when there is none or it was reset."""
        entries = self._by_key.get((section, key))
        return entries[-1].value if entries else None


def _index(entries: list[Entry]) -> dict[tuple[str, str], tuple[Entry, ...]]:
    gathered: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        held = gathered.setdefault((entry.section, entry.key), [])
        if entry.value:
            held.append(entry)
        else:
            held.clear()
    return {where: tuple(held) for where, held in gathered.items()}


class _Reader:
    """Goes through the lines once, joining what is continued."""

    def __init__(self, problems: Problems) -> None:
        self.headings: list[Heading] = []
        self.entries: list[Entry] = []
        self._problems = problems
        self._section: str | None = None
        self._has_stray_text = False
        self._parts: list[str] = []
        self._pieces: list[Piece] = []
        self._length = 0

    def read(self, text: str) -> None:
        lines = _LINE_END.split(text)
        if lines[-1] == "":
            lines.pop()
        is_clean = not _CONTROL.search(text)
        may_have_bom = _BOM in text
        for number, line in enumerate(lines, start=1):
            if not is_clean and (control := _CONTROL.search(line)):
                self._problems.error(
                    number,
                    control.start() + 1,
                    f"control character U+{ord(control[0]):04X}",
                    hint="only tab, line feed and carriage return are allowed",
                )
            if line.lstrip(BLANKS)[:1] in ("#", ";"):
                continue
            column = 1
            if may_have_bom and line.startswith(_BOM):
                line, column, may_have_bom = line[1:], 2, False
            is_continued = line.endswith("\\") and _ends_in_odd_backslash(line)
            if is_continued:
                line = line[:-1] + " "
            self._pieces.append(Piece(self._length, number, column))
            self._parts.append(line)
            self._length += len(line)
            if not is_continued:
                self._end_of_logical_line(number)
        if self._parts:
            self._end_of_logical_line(len(lines))

    def _end_of_logical_line(self, last_line: int) -> None:
        joined = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
        pieces = self._pieces
        self._parts, self._pieces, self._length = [], [], 0
        content = joined.strip(BLANKS)
        if not content:
            return
        start = len(joined) - len(joined.lstrip(BLANKS))
        line, column = _locate(pieces, start)
        if bad := _NOT_UTF8.search(content):
            self._problems.error(
                *_locate(pieces, start + bad.start()),
                "not valid UTF-8; systemd would ignore the line",
                hint="save the file as UTF-8",
            )
        elif content[0] == "[":
            self._heading(content, line, column)
        elif self._section is None:
            self._warn_of_stray_text(line, column)
        else:
            self._assignment(joined, start, pieces, last_line)

    def _heading(self, content: str, line: int, column: int) -> None:
        if content[-1] != "]" or len(content) < 2:
            self._problems.error(
                line, column, "a section's heading must end with ']'", hint="write it as [Service]"
            )
            # What follows belongs to no section that anybody meant: better silent than wrong.
            self._section = ""
            return
        self._section = content[1:-1]
        self.headings.append(Heading(name=self._section, line=line, column=column))

    def _warn_of_stray_text(self, line: int, column: int) -> None:
        if not self._has_stray_text:
            what = "text before the first section is ignored"
            self._problems.warning(line, column, what, hint="begin with [Unit]")
        self._has_stray_text = True

    def _assignment(self, joined: str, start: int, pieces: list[Piece], last_line: int) -> None:
        assert self._section is not None
        line, column = _locate(pieces, start)
        equals = joined.find("=", start)
        key = joined[start:equals].rstrip(BLANKS) if equals >= 0 else ""
        if not key:
            what = "no '=' in the line" if equals < 0 else "no key before '='"
            self._problems.error(
                line, column, f"{what}; systemd would ignore it", hint="write Key=Value"
            )
            return
        raw = joined[equals + 1 :]
        value = raw.strip(BLANKS)
        value_start = equals + 1 + len(raw) - len(raw.lstrip(BLANKS))
        self.entries.append(
            Entry(
                section=self._section,
                key=key,
                value=value,
                line=line,
                column=column,
                last_line=last_line,
                pieces=_pieces_from(pieces, value_start),
            )
        )


def _ends_in_odd_backslash(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _locate(pieces: list[Piece], offset: int) -> Position:
    piece = pieces[max(0, bisect.bisect_right(pieces, offset, key=lambda p: p.offset) - 1)]
    return Position(piece.line, piece.column + offset - piece.offset)


def _pieces_from(pieces: list[Piece], start: int) -> tuple[Piece, ...]:
    """The pieces that the text from `start` is made of, with offsets relative to it."""
    first = max(0, bisect.bisect_right(pieces, start, key=lambda p: p.offset) - 1)
    return tuple(Piece(offset - start, line, column) for offset, line, column in pieces[first:])
