"""Columns: what scripts and eyes rely on."""

from __future__ import annotations

import pytest

from argosy.cli.table import Column, Table
from argosy.cli.terminal import Style
from argosy.errors import Invalid

PLAIN = Style(has_colour=False)
Pair = tuple[str, str]
TABLE: Table[Pair] = Table(
    {
        "unit": Column(lambda row: row[0]),
        "active": Column(lambda row: row[1], lambda row: "red" if row[1] == "failed" else ""),
    },
    default=("unit", "active"),
)
ROWS = [("web@1.service", "active"), ("db.service", ""), ("x.service", "failed")]


def lines(fields: str | None = None, *, legend: bool = True, style: Style = PLAIN) -> list[str]:
    return TABLE.lines(ROWS, fields=fields, legend=legend, style=style)


def test_columns_are_aligned_and_an_empty_cell_is_a_dash() -> None:
    assert lines() == [
        "UNIT           ACTIVE",
        "web@1.service  active",
        "db.service     -",
        "x.service      failed",
    ]


def test_without_legend_the_titles_are_gone() -> None:
    assert lines(legend=False)[0] == "web@1.service  active"


def test_fields_choose_and_order_columns() -> None:
    assert lines("active,unit")[1] == "active  web@1.service"


@pytest.mark.parametrize("fields", ["unit,nonsense", "", ","])
def test_fields_that_are_none_are_refused_with_those_there_are(fields: str) -> None:
    with pytest.raises(Invalid) as caught:
        lines(fields)
    assert caught.value.hint == "fields are unit,active"


def test_colours_change_no_column() -> None:
    coloured = lines(style=Style(has_colour=True))
    assert coloured[3] == "x.service      \x1b[31mfailed\x1b[0m"
    assert coloured[1] == "web@1.service  active"


def test_no_rows_leave_the_titles() -> None:
    assert TABLE.lines([], fields=None, legend=True, style=PLAIN) == ["UNIT  ACTIVE"]
    assert TABLE.lines([], fields=None, legend=False, style=PLAIN) == []


def test_a_cell_cannot_break_its_line() -> None:
    shown = TABLE.lines([("a\nb", "\x1b[2J")], fields=None, legend=False, style=PLAIN)
    assert shown == ["a?b  ?[2J"]
