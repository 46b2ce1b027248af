"""Names that may not be installed: those that the machine has already, and those that no unit file can have.

systemd knows the units that it has in memory, and finds others by the names of files, of templates, of links for aliases.
It is asked only about names that one of these bears: asking has it look for a file, and think of a unit, for each name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from argosy.model.ids import UnitName
from argosy.runtime.systemd.bus import SYSTEMD, Bus, Refused, chunks
from argosy.units import names as unit_names


def find_fault(name: UnitName) -> tuple[str, str] | None:
    """What is wrong with the name of a unit that is to be installed, and what to do about it."""
    fault = unit_names.find_fault(name)
    if fault is not None:
        return fault
    parts = unit_names.parse(name)
    if parts.is_template:
        return "it is a template", "install its instances"
    if parts.type in ("device", "scope"):
        return f"a {parts.type} has no file", "it comes and goes with what it stands for"
    return None


async def find_strangers(
    names: Sequence[UnitName], bus: Bus, *, unit_path: Iterable[Path], loaded: Collection[UnitName]
) -> dict[UnitName, str]:
    """Units of these names that the machine has already, and the file that each comes from.

    unit_path: where systemd looks for files. loaded: what it has in memory.
    """
    found: dict[UnitName, str] = {}
    files = _names_in(unit_path)
    suspected = [
        name
        for name in names
        if find_fault(name) is None
        and (name in loaded or not files.isdisjoint((name, unit_names.parse(name).template)))
    ]
    for some in chunks(suspected):
        # One row for each, in their order. An alias has the name that it stands for in its row.
        [rows] = await bus.call("ListUnitsByNames", "as", some)
        for name, (_, _, load, active, _, _, path, *_) in zip(some, rows, strict=True):
            if load == "not-found" and active == "inactive":
                continue
            try:
                file = (await bus.properties(path, f"{SYSTEMD}.Unit")).get("FragmentPath")
            except Refused:  # it was unloaded meanwhile; its file is still there
                file = None
            # Every slice that anybody names is there, with or without a file.
            if name.endswith(".slice") and active == "inactive" and not file:
                continue
            found[name] = file or load
    return found


def _names_in(directories: Iterable[Path]) -> set[str]:
    """The names of all files in the directories, those that are there."""
    names: set[str] = set()
    for directory in directories:
        with suppress(OSError):
            names.update(os.listdir(directory))  # noqa: PTH208
    return names
