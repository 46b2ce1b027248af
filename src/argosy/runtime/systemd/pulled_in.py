"""`[Install]` between units of this runtime: WantedBy= and RequiredBy= as links that last while both units are here.

    /run/systemd/system/shop.target.wants/web.service  ->  ../web.service

`systemctl enable` writes such links for the next boot. Here the agent starts what is wanted, at a boot too, so all that is
left of [Install] is what it says between units that Argosy runs: starting the one pulls in the other. Units of the machine
(multi-user.target) get no link, since they would start units that nobody asked the agent for. Alias=, Also= and
DefaultInstance= have no effect: a unit has one name, and people say which of them run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from argosy.model.ids import UnitName
from argosy.runtime.systemd.unit_files import Owned

DIRECTORIES = {"WantedBy": ".wants", "RequiredBy": ".requires"}

Link = tuple[str, UnitName]
"""A directory, `shop.target.wants`, and the unit that is linked in it."""


def relink(directory: Path, units: Mapping[UnitName, Owned]) -> set[UnitName]:
    """Make the links that these units ask for, take away all others that were made so. Returns the units whose
    dependencies are other ones now. Raises OSError.
    """
    wanted = set(_wanted(units))
    present = set(_present(directory))
    for place, name in wanted - present:
        (directory / place).mkdir(exist_ok=True)
        (directory / place / name).symlink_to(_target(name))
    for place, name in present - wanted:
        (directory / place / name).unlink()
        with suppress(OSError):  # others have links in it
            (directory / place).rmdir()
    return {UnitName(place.rpartition(".")[0]) for place, _ in wanted ^ present}


def _wanted(units: Mapping[UnitName, Owned]) -> Iterator[Link]:
    for owned in units.values():
        for key, other in owned.pulled_in_by:
            if other in units:
                yield other + DIRECTORIES[key], owned.name


def _present(directory: Path) -> Iterator[Link]:
    with os.scandir(directory) as entries:
        places = [one.name for one in entries if one.name.endswith((".wants", ".requires"))]
    for place in places:
        for link in (directory / place).iterdir():
            # Those of `systemctl enable --runtime` are absolute.
            if link.is_symlink() and str(link.readlink()) == _target(UnitName(link.name)):
                yield place, UnitName(link.name)


def _target(name: UnitName) -> str:
    return f"../{name}"
