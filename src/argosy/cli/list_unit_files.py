"""List the cluster's units: what is wanted of each (DSTATE), how far it is (STATE), and on which machine (TARGET).

NAME may be a glob, in quotes: argosy list-unit-files 'web@*'.
"""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits, moments, naming, terminal
from argosy.cli.table import Column, Table
from argosy.client import Client, UnitView


def _table(machine_name: naming.MachineNames) -> Table[UnitView]:
    now = moments.now()
    return Table(
        {
            "unit": Column(lambda row: row["name"]),
            "hash": Column(lambda row: row["digest"][:7]),
            "dstate": Column(lambda row: row["desired"]),
            "state": Column(_state, _colour),
            "target": Column(lambda row: _target(row, machine_name)),
            "desc": Column(lambda row: row["description"]),
            "global": Column(lambda row: str(row["global"]).lower()),
            "app": Column(lambda row: row["app"] or ""),
            "since": Column(lambda row: moments.ago(row["submitted_at"], now)),
        },
        default=("unit", "hash", "dstate", "state", "target"),
    )


def _state(row: UnitView) -> str:
    # fleet's rule: a global unit has no single state.
    if row["global"]:
        return ""
    return "pending" if row["pending"] else row["current"]


def _colour(row: UnitView) -> str:
    if row["pending"]:
        return "yellow"
    return "green" if row["current"] == "launched" else ""


def _target(row: UnitView, machine_name: naming.MachineNames) -> str:
    return "global" if row["global"] else ",".join(map(machine_name, row["machines"]))


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these units; globs too")
    _table(naming.MachineNames(())).add_options(parser)
    parser.add_argument("-l", "--full", action="store_true", help="whole machine ids")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    rows = client.units(naming.unit_names(args.names))
    if args.json:
        print(json.dumps(rows))
        return exits.DONE
    machine_name = naming.MachineNames(client.machines(), full=args.full)
    _table(machine_name).print(
        rows, args, terminal.style(args), when_empty="there are no units  -> argosy start FILE"
    )
    return exits.DONE
