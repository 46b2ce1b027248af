"""MACHINE|UNIT: what is meant by a word that may be either, for verbs that go to a machine.

A word with a type is a unit, `web.service`. Another is a machine when it is an address or host name, else a unit when there
is one of that name, else the beginning of a machine's id: `db` may well begin one, and a command must not run elsewhere
than meant. A word that is a machine and a unit that is not on it is refused.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from argosy.cli import naming
from argosy.client import Client, MachineView
from argosy.errors import Conflict, Invalid, NotFound
from argosy.units import names


@dataclass(frozen=True, slots=True)
class Target:
    machine: str
    unit: str
    """The unit that was named; empty when a machine was."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="MACHINE|UNIT", help="a machine, or a unit for its machine"
    )
    parser.add_argument(
        "--machine", metavar="MACHINE", help="which, of a unit on several; id, address or host"
    )


def find(client: Client, args: argparse.Namespace) -> Target:
    """Raises NotFound, Invalid when more than one thing may be meant, Conflict when the unit is on no machine."""
    word: str = args.target
    machines = client.machines()
    wanted = naming.machine_id(machines, args.machine) if args.machine else ""
    name = naming.unit_name(word)
    found = {} if naming.is_glob(word) else {unit["name"]: unit for unit in client.units([name])}
    if name in found:
        on = list(found[name]["machines"])
        called = [] if word == name else _called(machines, word)
        if called and called != on:
            raise Invalid(
                f"{names.shown(word)} is a machine, and a unit that is elsewhere",
                hint=f"write {name} for the unit, or the machine's id",
            )
        return Target(_one(name, on, wanted, machines), "" if called else name)
    if word == name:
        raise NotFound(f"there is no unit {names.shown(word)}", hint="argosy list-unit-files")
    machine = naming.machine_id(machines, word)
    if wanted not in ("", machine):
        raise Invalid("--machine is for units", hint="leave it out")
    return Target(machine, "")


def _called(machines: list[MachineView], word: str) -> list[str]:
    return [one["id"] for one in machines if word in (one["address"], one["hostname"])]


def _one(name: str, on: list[str], wanted: str, machines: list[MachineView]) -> str:
    if wanted:
        if wanted not in on:
            raise NotFound(
                f"{name} is not on that machine", hint=f"look where it is: argosy status {name}"
            )
        return wanted
    if not on:
        raise Conflict(f"{name} is on no machine", hint=f"argosy why {name}")
    if len(on) > 1:
        shown = ", ".join(map(naming.MachineNames(machines), on[:5]))
        raise Invalid(f"{name} is on {len(on)} machines: {shown}", hint="add --machine MACHINE")
    return on[0]
