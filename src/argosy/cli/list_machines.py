"""List the cluster's machines: id, address, metadata."""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits, moments, naming, terminal
from argosy.cli.table import Column, Table
from argosy.client import Client, MachineView


def _table(machine_name: naming.MachineNames) -> Table[MachineView]:
    now = moments.now()
    return Table(
        {
            "machine": Column(lambda row: machine_name.id_only(row["id"])),
            "ip": Column(lambda row: row["address"]),
            "metadata": Column(_metadata),
            "hostname": Column(lambda row: row["hostname"]),
            "state": Column(lambda row: row["state"], _colour),
            "why": Column(lambda row: row["why"]),
            "since": Column(lambda row: moments.ago(row["since"], now)),
            "units": Column(lambda row: str(row["units"])),
            "memory": Column(_memory),
            "cpu": Column(lambda row: f"{row['capacity']['cpu_millis'] / 1000:g}"),
            "version": Column(lambda row: row["version"]),
        },
        default=("machine", "ip", "metadata"),
    )


def _metadata(row: MachineView) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(row["metadata"].items()))


def _colour(row: MachineView) -> str:
    if row["state"] == "ready":
        return "green"
    return "red" if row["state"] in naming.ABSENT else "yellow"


def _memory(row: MachineView) -> str:
    return f"{row['capacity']['memory_bytes'] / 2**30:.1f}G"


def configure(parser: argparse.ArgumentParser) -> None:
    _table(naming.MachineNames(())).add_options(parser)
    parser.add_argument("-l", "--full", action="store_true", help="whole machine ids")


def run(args: argparse.Namespace) -> int:
    rows = Client.find(args.endpoint).machines()
    if args.json:
        print(json.dumps(rows))
        return exits.DONE
    machine_name = naming.MachineNames(rows, full=args.full)
    _table(machine_name).print(
        rows, args, terminal.style(args), when_empty="there are no machines  -> argosy doctor"
    )
    return exits.DONE
