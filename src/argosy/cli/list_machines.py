"""List the cluster's machines: id, address, metadata, and how those are that are not ready.

`argosy machines` says of all how they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from argosy.cli import exits, moments, naming, terminal
from argosy.cli.table import Column, Table
from argosy.client import Client, MachineView

FIELDS = ("machine", "ip", "metadata")
"""fleet's, so that scripts written for it go on."""
WHEN_NOT_READY = ("state", "why")


def _table(machine_name: naming.MachineNames, default: Sequence[str]) -> Table[MachineView]:
    now = moments.now()
    return Table(
        {
            "machine": Column(lambda row: machine_name.id_only(row["id"])),
            "ip": Column(lambda row: row["address"]),
            "metadata": Column(_metadata),
            "hostname": Column(lambda row: row["hostname"]),
            "state": Column(lambda row: row["state"], naming.state_colour),
            "why": Column(lambda row: row["why"]),
            "since": Column(lambda row: moments.ago(row["since"], now)),
            "units": Column(lambda row: str(row["units"])),
            "memory": Column(_memory),
            "cpu": Column(lambda row: f"{row['capacity']['cpu_millis'] / 1000:g}"),
            "version": Column(lambda row: row["version"]),
        },
        default=default,
    )


def _metadata(row: MachineView) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(row["metadata"].items()))


def _memory(row: MachineView) -> str:
    return f"{row['capacity']['memory_bytes'] / 2**30:.1f}G"


def configure(parser: argparse.ArgumentParser) -> None:
    add_options(parser, default=FIELDS)


def run(args: argparse.Namespace) -> int:
    return show(args, default=FIELDS)


def add_options(parser: argparse.ArgumentParser, *, default: Sequence[str]) -> None:
    _table(naming.MachineNames(()), default).add_options(parser)
    parser.add_argument("-l", "--full", action="store_true", help="whole machine ids")


def show(args: argparse.Namespace, *, default: Sequence[str]) -> int:
    rows = Client.find(args.endpoint).machines()
    if args.json:
        print(json.dumps(rows))
        return exits.DONE
    if any(row["state"] != "ready" for row in rows):
        default = [*default, *(one for one in WHEN_NOT_READY if one not in default)]
    machine_name = naming.MachineNames(rows, full=args.full)
    _table(machine_name, default).print(
        rows, args, terminal.style(args), when_empty="there are no machines  -> argosy doctor"
    )
    return exits.DONE
