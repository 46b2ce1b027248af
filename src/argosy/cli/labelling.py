"""machine set, machine unset: changes of a machine's metadata."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from argosy.cli import exits, naming, ordering, terminal
from argosy.client import Client, MachineView

NONE: Mapping[str, str] = MappingProxyType({})


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "machine", metavar="MACHINE", help="beginning of its id, address or host name"
    )


def label(
    args: argparse.Namespace,
    *,
    metadata: Mapping[str, str] = NONE,
    without: Sequence[str] = (),
    forget: Sequence[str] = (),
) -> int:
    client = Client.find(args.endpoint)
    machine = naming.machine_id(client.machines(), args.machine)
    after = client.order_machine(machine, metadata=metadata, without=without, forget=forget)
    if args.json:
        print(json.dumps(after))
    else:
        print(f"{ordering.shown(after)} has {metadata_of(after) or 'no metadata'}")
    return exits.DONE


def metadata_of(machine: MachineView) -> str:
    """`disk=ssd,zone=b`."""
    pairs = sorted(machine["metadata"].items())
    return terminal.printable(",".join(f"{key}={value}" for key, value in pairs))
