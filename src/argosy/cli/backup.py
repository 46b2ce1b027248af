"""Write all records of the cluster, as they are now, to a file: units, texts, placements, tokens (hashed), machines.

The server goes on meanwhile. Keep ca.key and ca.crt of a server's directory with it: they are not in the file, and without
them the machines of a restored cluster have to join anew.
"""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits, patience, places
from argosy.client import Client
from argosy.store.backup import read_backup, replace_file


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=places.path, metavar="FILE", help="replaced whole, if it is there"
    )


def run(args: argparse.Namespace) -> int:
    with patience.told(args, "reading the records"):
        replace_file(args.file, [Client.find(args.endpoint).backup()])
        header, contents = read_backup(args.file)
    said = {
        "file": str(args.file),
        "cluster": header.cluster.id,
        "revision": header.revision,
        "records": len(contents.records),
    }
    if args.json:
        print(json.dumps(said))
    else:
        print(f"{said['records']} records of cluster {header.cluster.id} are in {args.file}")
    return exits.DONE
