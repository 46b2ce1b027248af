"""Builders of unit files for the tests of this directory."""

from __future__ import annotations

from argosy.units.check import Checked, check

RUNS = "[Service]\nExecStart=/bin/true\n"


def unit(name: str, sections: str = "") -> Checked:
    """A unit that runs something and has the sections."""
    return check(name, (RUNS + sections).encode())


def errors(checked: Checked) -> list[str]:
    """Without the file's name: `LINE:COLUMN: message`, and the hint in brackets."""
    return [
        f"{found.line}:{found.column}: {found.message}" + (f" ({found.hint})" if found.hint else "")
        for found in checked.errors
    ]
