"""Print the text of a unit, byte for byte as it was submitted."""

from __future__ import annotations

import argparse
import json
import sys

from argosy.cli import exits, naming
from argosy.client import Client, unit_text


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a unit of the cluster")


def run(args: argparse.Namespace) -> int:
    unit = Client.find(args.endpoint).unit(naming.unit_name(args.name))
    if args.json:
        print(json.dumps(unit))
        return exits.DONE
    sys.stdout.buffer.write(unit_text(unit))
    sys.stdout.buffer.flush()
    return exits.DONE
