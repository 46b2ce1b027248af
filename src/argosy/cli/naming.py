"""What people type for units and machines, and what they are shown.

A name without a type is a service, as systemctl has it: `web@1` is `web@1.service`. Globs go to the server as they are and
mean units of the cluster; quote them, or the shell makes files of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from argosy.client import Client, MachineView, UnitView
from argosy.errors import Invalid, NotFound
from argosy.units import globs, names

SHORT_ID = 8


def unit_name(word: str) -> str:
    """The full name, or the glob, that a word means. Checks nothing."""
    word = word.removeprefix("./")
    if is_glob(word) or word.rpartition(".")[2] in names.TYPES:
        return word
    return f"{word}.service"


def unit_names(words: Iterable[str]) -> list[str]:
    return [unit_name(word) for word in words]


def is_glob(word: str) -> bool:
    return any(sign in word for sign in "*?[")


class MachineNames:
    """How machines are shown: fleet's `113f16a7.../172.17.8.103`, or all of the id."""

    def __init__(self, machines: Sequence[MachineView], *, full: bool = False) -> None:
        self._addresses = {machine["id"]: machine["address"] for machine in machines}
        self._full = full

    def __call__(self, machine_id: str) -> str:
        address = self._addresses.get(machine_id, "")
        shown = machine_id if self._full else f"{machine_id[:SHORT_ID]}..."
        return f"{shown}/{address}" if address else shown

    def id_only(self, machine_id: str) -> str:
        return machine_id if self._full else f"{machine_id[:SHORT_ID]}..."


def machine_id(machines: Sequence[MachineView], word: str) -> str:
    """The machine that a word means: the beginning of an id, an address or a host name. Raises Invalid, NotFound."""
    found = [
        machine["id"]
        for machine in machines
        if machine["id"].startswith(word) or word in (machine["address"], machine["hostname"])
    ]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(one[:SHORT_ID] for one in found[:5])
        raise Invalid(
            f"{names.shown(word)} may mean {len(found)} machines: {shown}",
            hint="give more of the id: argosy list-machines --full",
        )
    raise NotFound(f"there is no machine {names.shown(word)}", hint="argosy list-machines")


def missing(units: Sequence[UnitView], words: Iterable[str]) -> list[str]:
    """Those of the words, full names and globs, that none of the units is meant by."""
    found = {unit["name"] for unit in units}
    return [
        word
        for word in words
        if word not in found
        and not (is_glob(word) and any(globs.matches(word, name) for name in found))
    ]


def is_template(name: str) -> bool:
    return "@." in name


def without_templates(units: Iterable[UnitView], words: Sequence[str]) -> list[UnitView]:
    """The units but templates, unless a word names one: templates cannot run, so 'web@*' means the instances."""
    return [unit for unit in units if unit["name"] in words or not is_template(unit["name"])]


def not_found(words: Sequence[str], client: Client) -> NotFound:
    """What to raise about `missing` words, with the nearest name that the cluster has."""
    near = difflib.get_close_matches(words[0], [u["name"] for u in client.units()], n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "argosy list-unit-files"
    shown = ", ".join(names.shown(word)[1:-1] for word in words[:5])
    more = f" and {len(words) - 5} more" if len(words) > 5 else ""
    return NotFound(f"no unit of the cluster is called or matches {shown}{more}", hint=hint)
