"""What people type for units and machines, and what they are shown.

A name without a type is a service, as systemctl has it: `web@1` is `web@1.service`. Globs go to the server as they are and
mean units of the cluster; quote them, or the shell makes files of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from argosy.client import MachineView
from argosy.errors import Invalid, NotFound
from argosy.units import names

SHORT_ID = 8
ABSENT = frozenset({"suspect", "held", "lost"})
"""The states of machines that no server hears of."""


def unit_name(word: str) -> str:
    """The full name, or the glob, that a word means. Checks nothing."""
    word = word.removeprefix("./")
    if word.endswith(names.CONTAINER_SUFFIX):
        return word.removesuffix(names.CONTAINER_SUFFIX) + ".service"
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
        self._away = {
            machine["id"]: f"{machine['state']}: {machine['why']}"
            for machine in machines
            if machine["state"] in ABSENT
        }

    def trouble(self, machine_id: str) -> str:
        """Why what is known of the machine may be out of date; empty when it is there."""
        return self._away.get(machine_id, "")

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


def state_colour(machine: MachineView) -> str:
    if machine["state"] == "ready":
        return "green"
    return "red" if machine["state"] in ABSENT else "yellow"


def is_template(name: str) -> bool:
    return "@." in name
