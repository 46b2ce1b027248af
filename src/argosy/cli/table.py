"""Plain columns, as systemctl and fleetctl print them: for eyes, awk and grep alike.

A list verb has a row type and a Table of columns for it. No lines, no cut cells: the last column may run over the edge.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from argosy.cli.terminal import Style, is_terminal, printable
from argosy.errors import Invalid

Row = TypeVar("Row")
GAP = "  "


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """How a column gets its cells."""

    cell: Callable[[Row], str]
    """Empty is shown as `-`, so that the number of words in a line stays the same."""
    colour: Callable[[Row], str] = lambda row: ""


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    columns: Mapping[str, Column[Row]]
    """By field name, lower case; its title is the name in upper case."""
    default: Sequence[str]

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        names = ",".join(self.columns)
        parser.add_argument(
            "--fields",
            metavar="FIELD,...",
            help=f"columns, of {names} (default {','.join(self.default)})",
        )
        parser.add_argument("--no-legend", action="store_true", help="no line of titles")

    def lines(
        self, rows: Iterable[Row], *, fields: str | None, legend: bool, style: Style
    ) -> list[str]:
        """The lines to print. Raises Invalid for a field that there is not."""
        chosen = self._chosen(fields)
        titles = [[name.upper() for name in chosen]] if legend else []
        rows = list(rows)
        cells = titles + [
            [printable(self.columns[name].cell(row)) or "-" for name in chosen] for row in rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        colours = [[""] * len(chosen)] * len(titles)
        if style.has_colour:
            colours += [[self.columns[name].colour(row) for name in chosen] for row in rows]
        else:
            colours += [[""] * len(chosen)] * len(rows)
        return [
            _line(line, widths, painted, style)
            for line, painted in zip(cells, colours, strict=True)
        ]

    def print(
        self, rows: Sequence[Row], args: argparse.Namespace, style: Style, *, when_empty: str
    ) -> None:
        """Print the rows as the options of `add_options` ask. when_empty: told to a person who would see titles only."""
        lines = self.lines(rows, fields=args.fields, legend=not args.no_legend, style=style)
        sys.stdout.write("".join(line + "\n" for line in lines))
        if not rows and is_terminal(sys.stdout):
            print(when_empty, file=sys.stderr)

    def _chosen(self, fields: str | None) -> list[str]:
        if fields is None:
            return list(self.default)
        chosen = [name.strip() for name in fields.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in self.columns]
        if unknown or not chosen:
            raise Invalid(
                f"there is no field {unknown[0]!r}" if unknown else "--fields names no field",
                hint="fields are " + ",".join(self.columns),
            )
        return chosen


def _line(cells: Sequence[str], widths: Sequence[int], colours: Sequence[str], style: Style) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths[:-1], strict=True)]
    parts = [*padded, cells[-1]]
    # Padding is painted along: a colour has no width, the spaces after it have.
    return GAP.join(style.paint(part, colour) for part, colour in zip(parts, colours, strict=True))
