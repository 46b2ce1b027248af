"""List units that are on machines, one line for each unit and machine.

NAME may be a glob of the cluster's units, in quotes: argosy list-units 'web@*'. Among the fields, `hash` is of the text
that the cluster has, and `version` of what the machine has: text and variables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from types import MappingProxyType

from argosy.cli import exits, moments, naming, terminal
from argosy.cli.table import Column, Table
from argosy.client import Client, StateView


def _table(
    machine_name: naming.MachineNames, hashes: Mapping[str, str] = MappingProxyType({})
) -> Table[StateView]:
    """hashes: of the units' texts in the cluster, by name."""
    now = moments.now()
    return Table(
        {
            "unit": Column(lambda row: row["name"]),
            "machine": Column(lambda row: machine_name(row["machine"])),
            "load": Column(lambda row: row["load"]),
            "active": Column(lambda row: row["active"], _colour),
            "sub": Column(lambda row: row["sub"], _colour),
            "since": Column(lambda row: moments.ago(row["since"], now)),
            "pid": Column(lambda row: str(row["main_pid"] or "")),
            "result": Column(lambda row: row["result"]),
            "restarts": Column(lambda row: str(row["restarts"])),
            "hash": Column(lambda row: hashes.get(row["name"], "")[:7]),
            "version": Column(lambda row: (row["digest"] or "")[:7]),
        },
        default=("unit", "machine", "active", "sub"),
    )


def _colour(row: StateView) -> str:
    return terminal.STATE_COLOURS.get(row["active"], "")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these units; globs too")
    _table(naming.MachineNames(())).add_options(parser)
    parser.add_argument("-l", "--full", action="store_true", help="whole machine ids")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    rows = client.states(naming.unit_names(args.names))
    if args.json:
        print(json.dumps(rows))
        return exits.DONE
    machine_name = naming.MachineNames(client.machines(), full=args.full)
    hashes = {}
    if "hash" in (args.fields or ""):
        hashes = {unit["name"]: unit["digest"] for unit in client.units()}
    _table(machine_name, hashes).print(
        rows, args, terminal.style(args), when_empty="no unit is on a machine  -> argosy start UNIT"
    )
    return exits.DONE
